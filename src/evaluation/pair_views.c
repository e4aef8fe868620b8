/* Which cells of the two files are compared with which: all of them, or those of one cell type. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

/* Cells of each perturbation (by the code of the axes) in one cell type; -1: of all types. */
static PetscErrorCode count_cells(const Axes *axes, PetscInt64 cells, const int64_t *key, PetscInt type, PetscInt64 *count)
{
  PetscInt code[AXES];

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(count, axes->count[0]));
  for (PetscInt64 i = 0; i < cells; i++) {
    if (key[i] < 0) continue;
    axes_codes(axes, key[i], code);
    if (type < 0 || code[1] == type) count[code[0]]++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Key of every cell of a store that the predicted cells are set against, -1 of others: populations that are not predicted, and controls of other batches than the predicted
   file has, where it has some of the cell type. */
static PetscErrorCode keys_of_store(const CellStore *store, const Axes *axes, const GroupedFile *predicted, int64_t **key)
{
  const CellStoreTable *table = cellstore_table(store);
  KeyTable              there;
  unsigned char        *controls; /* (cell types) */
  PetscInt              code[AXES];

  PetscFunctionBeginUser;
  PetscCall(keytable_create(predicted->cells, predicted->key, &there));
  PetscCall(PetscCalloc1(axes->count[1], &controls));
  for (PetscInt k = 0; k < there.count; k++) {
    axes_codes(axes, there.key[k], code);
    if (code[0] == axes->control) controls[code[1]] = 1;
  }
  PetscCall(PetscMalloc1(table->cells, key));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    const int64_t     of_population = axes_key(axes, p->perturbation, p->cell_type, p->batch);
    const PetscBool   any = p->perturbation == axes->control && !controls[p->cell_type] ? PETSC_TRUE : PETSC_FALSE;
    const PetscBool   kept = any || key_find(there.count, there.key, of_population) >= 0 ? PETSC_TRUE : PETSC_FALSE;
    for (PetscInt64 i = 0; i < p->cells; i++) (*key)[p->first_cell + i] = kept ? of_population : -1;
  }
  PetscCall(PetscFree(controls));
  PetscCall(keytable_destroy(&there));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void in_type(const Axes *axes, PetscInt type, char *text, size_t size)
{
  text[0] = '\0';
  if (type >= 0) snprintf(text, size, " of %s '%s'", axes->column[1], axes->label[1][type]);
}

/* Perturbations that one has and the other lacks. */
static PetscErrorCode refuse_missing(const Axes *axes, PetscInt type, const char *with, const PetscInt64 *have, const char *without, const PetscInt64 *lack)
{
  const char *first[3] = {"", "", ""};
  char        where[300];
  PetscInt    missing = 0, all = 0;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < axes->count[0]; c++) {
    if (!have[c] || c == axes->control) continue;
    all++;
    if (!lack[c] && missing++ < 3) first[missing - 1] = axes->label[0][c];
  }
  in_type(axes, type, where, sizeof where);
  if (missing)
    return error_user("%s: no cells%s of %lld of the %lld perturbations of %s ('%s'%s%s%s%s%s%s%s); give files with the same, or -profile none", without, where,
                      (long long)missing, (long long)all, with, first[0], missing > 1 ? ", '" : "", first[1], missing > 1 ? "'" : "", missing > 2 ? ", '" : "",
                      first[2], missing > 2 ? "'" : "", missing > 3 ? ", ..." : "");
  if (have[axes->control] && !lack[axes->control])
    return error_user("%s: no cells%s with the control label '%s' in column '%s', which %s has; add control cells, or -profile none", without, where,
                      axes->label[0][axes->control], axes->column[0], with);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A label of the column that no cell has, as a file keeps it after cells were taken away. */
static PetscErrorCode refuse_empty(const GroupedFile *file, const char *column)
{
  const AnnColumn *labels = &file->column[0];
  PetscInt64      *count;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(labels->levels, &count));
  for (PetscInt64 i = 0; i < labels->count; i++)
    if (labels->code[i] >= 0) count[labels->code[i]]++;
  for (PetscInt l = 0; l < labels->levels; l++)
    if (!count[l] && *labels->level[l])
      return error_user("%s: category '%s' of column '%s' has no cells; remove unused categories, or -profile none", file->path, labels->level[l], column);
  PetscCall(PetscFree(count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Perturbations in the order of their labels, the control last. */
typedef struct {
  const char *label;
  PetscInt    code;
} Labelled;

static int by_label(const void *a, const void *b) { return strcmp(((const Labelled *)a)->label, ((const Labelled *)b)->label); }

static PetscErrorCode list_perturbations(const Axes *axes, const PetscInt64 *count, PetscInt *perturbations, Labelled **list)
{
  PetscInt n = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(axes->count[0] + 1, list));
  for (PetscInt c = 0; c < axes->count[0]; c++)
    if (count[c] && c != axes->control && *axes->label[0][c]) (*list)[n++] = (Labelled){axes->label[0][c], c};
  qsort(*list, (size_t)n, sizeof **list, by_label);
  (*list)[n] = (Labelled){axes->label[0][axes->control], axes->control};
  *perturbations = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Order in which a file names its labels: categories as they stand, other labels sorted. */
static PetscErrorCode order_of_file(const GroupedFile *file, PetscInt perturbations, const Labelled *list, PetscInt *order)
{
  PetscInt n = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; !file && k < perturbations; k++) order[n++] = k;
  for (PetscInt l = 0; file && l < file->column[0].levels; l++) {
    const Labelled  wanted = {file->column[0].level[l], 0};
    const Labelled *found = bsearch(&wanted, list, (size_t)perturbations, sizeof *list, by_label);
    if (found) order[n++] = (PetscInt)(found - list);
  }
  PetscCheck(n == perturbations, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Labels of a file without a place");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode view_create(const Axes *axes, GroupedFile *file, CellStore *store, const int32_t *position, PetscInt genes, const int64_t *key,
                                  PetscInt type, PetscInt perturbations, const Labelled *list, CellView *view)
{
  PetscInt *place, code[AXES];

  PetscFunctionBeginUser;
  *view = (CellView){.path = file ? file->path : cellstore_path(store),
                     .file = file,
                     .store = store,
                     .position = position,
                     .perturbations = perturbations,
                     .genes = genes,
                     .cells = file ? file->cells : cellstore_table(store)->cells,
                     .single = file && file->wide ? PETSC_FALSE : PETSC_TRUE,
                     .dense = file && !anndata_exists(file->file, "X/indptr") ? PETSC_TRUE : PETSC_FALSE};
  PetscCall(PetscMalloc1(axes->count[0], &place));
  for (PetscInt c = 0; c < axes->count[0]; c++) place[c] = -1;
  for (PetscInt k = 0; k <= perturbations; k++) place[list[k].code] = k;
  PetscCall(PetscMalloc2(view->cells, &view->group, perturbations + 1, &view->order));
  for (PetscInt64 i = 0; i < view->cells; i++) {
    view->group[i] = -1;
    if (key[i] < 0) continue;
    axes_codes(axes, key[i], code);
    if (type < 0 || code[1] == type) view->group[i] = (int32_t)place[code[0]];
  }
  PetscCall(PetscFree(place));
  PetscCall(order_of_file(file, perturbations, list, view->order));
  PetscCall(cellview_count(view));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A view of cells that are made, with the control cells of the real ones. */
static PetscErrorCode view_create_made(const CellMaker *maker, CellView *real, PetscInt type, const Labelled *list, CellView *view)
{
  const PetscInt n = real->perturbations;

  PetscFunctionBeginUser;
  *view = (CellView){.path = maker->name, .lender = real, .maker = maker, .type = type, .perturbations = n, .genes = real->genes, .single = PETSC_TRUE};
  PetscCall(PetscMalloc1(n, &view->code));
  PetscCall(PetscMalloc2(0, &view->group, n + 1, &view->order));
  PetscCall(PetscCalloc2(n + 1, &view->group_cells, n + 1, &view->group_entries));
  for (PetscInt k = 0; k < n; k++) {
    view->code[k] = list[k].code;
    view->order[k] = k;
    view->group_cells[k] = maker->count(maker->context, list[k].code, type);
    view->group_entries[k] = view->group_cells[k] * view->genes;
  }
  view->group_cells[n] = real->group_cells[n];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Perturbations and control cells of one cell type, -1: of all cells; AnnData files must have the same. */
static PetscErrorCode match_type(const RealCells *real, const GroupedFile *predicted, const int64_t *real_key, PetscInt type, PetscInt64 *in_real,
                                 PetscInt64 *in_predicted)
{
  const Axes      *axes = real->axes;
  const PetscInt64 real_count = real->file ? real->file->cells : cellstore_table(real->store)->cells;

  PetscFunctionBeginUser;
  PetscCall(count_cells(axes, real_count, real_key, type, in_real));
  PetscCall(count_cells(axes, predicted->cells, predicted->key, type, in_predicted));
  if (real->file) {
    PetscCall(refuse_missing(axes, type, real->real, in_real, predicted->path, in_predicted));
    PetscCall(refuse_missing(axes, type, predicted->path, in_predicted, real->real, in_real));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The tables of one cell type, or with check_only what match_type refuses. */
static PetscErrorCode evaluate_type(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const CellMaker *maker, const int64_t *real_key, PetscInt type,
                                    PairPlace place, PetscBool check_only, const PairOptions *options, const char *folder)
{
  const Axes      *axes = real->axes;
  PetscInt64      *in_real, *in_predicted;
  PetscInt         perturbations = 0;
  Labelled        *list;
  CellView         view[2];
  char           **label, prefix[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(axes->count[0], &in_real, axes->count[0], &in_predicted));
  PetscCall(match_type(real, predicted, real_key, type, in_real, in_predicted));
  if (options->ceiling && in_real[axes->control] == 1) {
    char where[300];
    in_type(axes, type, where, sizeof where);
    return error_user("%s: one control cell%s; the ceiling needs two halves of them, or -ceiling false", real->real, where);
  }
  if (check_only) {
    PetscCall(PetscFree2(in_real, in_predicted));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(list_perturbations(axes, in_predicted, &perturbations, &list));
  if (!perturbations || !in_real[axes->control]) {
    PetscCall(log_line(comm, "  no tables%s%s: no %s cells", type < 0 ? "" : " of ", type < 0 ? "" : axes->label[1][type],
                       perturbations ? "real control" : "perturbed"));
  } else {
    PetscCall(view_create(axes, real->file, real->store, real->position, real->genes, real_key, type, perturbations, list, &view[0]));
    if (maker) PetscCall(view_create_made(maker, &view[0], type, list, &view[1]));
    else PetscCall(view_create(axes, predicted, NULL, predicted->position, real->genes, predicted->key, type, perturbations, list, &view[1]));
    if (!in_predicted[axes->control]) {
      view[1].lender = &view[0];
      view[1].group_cells[perturbations] = view[0].group_cells[perturbations];
    }
    PetscCall(PetscMalloc1(perturbations + 1, &label));
    for (PetscInt k = 0; k <= perturbations; k++) label[k] = axes->label[0][list[k].code];
    PetscCall(PetscSNPrintf(prefix, sizeof prefix, "%s%s%s", options->prefix, type >= 0 && *options->prefix ? "_" : "",
                            type >= 0 ? axes->label[1][type] : ""));
    place.type = PetscMax(type, 0);
    place.cell_type = type < 0 ? "" : axes->label[1][type];
    PetscCall(pair_tables(comm, &view[0], &view[1], label, (char *const *)real->gene, &place, options, folder, prefix));
    PetscCall(PetscFree(label));
    for (int s = 0; s < 2; s++) PetscCall(cellview_destroy(&view[s]));
  }
  PetscCall(PetscFree(list));
  PetscCall(PetscFree2(in_real, in_predicted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode has_type(const Axes *axes, const GroupedFile *file, PetscInt type, PetscBool *has)
{
  PetscInt code[AXES];

  PetscFunctionBeginUser;
  *has = PETSC_FALSE;
  for (PetscInt64 i = 0; i < file->cells && !*has; i++) {
    if (file->key[i] < 0) continue;
    axes_codes(axes, file->key[i], code);
    if (code[1] == type) *has = PETSC_TRUE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode refuse_genes(const RealCells *real, const GroupedFile *predicted)
{
  const char *const *name;
  const char        *first[3] = {"", "", ""};
  PetscInt           missing = 0;

  PetscFunctionBeginUser;
  if (!real->file || real->genes == real->all_genes) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(anndata_gene_names(real->file->file, &name));
  for (PetscInt64 g = 0; g < real->all_genes; g++)
    if (real->position[g] < 0 && missing++ < 3) first[missing - 1] = name[g];
  return error_user("%s: %lld of the %lld genes of %s are not in it (%s%s%s%s%s); give files with the same genes, or -profile none", predicted->path,
                    (long long)missing, (long long)real->all_genes, real->real, first[0], missing > 1 ? ", " : "", first[1], missing > 2 ? ", " : "", first[2]);
}

/* Values of an embedding must be numbers. */
static PetscErrorCode refuse_values(GroupedFile *file, const char *key, PetscInt64 begin, PetscInt64 end)
{
  PetscInt64 step;

  PetscFunctionBeginUser;
  PetscCall(anndata_rows_for_bytes(file->file, file->memory.chunk, &step));
  for (PetscInt64 first = begin; first < end; first += step) {
    SparseRows rows;
    PetscInt64 row = 0;
    int64_t    e = 0;

    PetscCall(anndata_read_rows(file->file, first, PetscMin(step, end - first), &rows));
    while (e < rows.offset[rows.rows] && isfinite(sparserows_get(&rows, e))) e++;
    while (row < rows.rows && rows.offset[row + 1] <= e) row++;
    if (row < rows.rows) {
      const double wrong = sparserows_get(&rows, e);
      PetscCall(sparserows_free(&rows));
      return error_user("%s: value %g in row %lld of obsm/%s; an embedding must be finite", file->path, wrong, (long long)(first + row + 1), key);
    }
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode refuse_embedding(MPI_Comm comm, GroupedFile *file, const char *key, PetscInt64 *columns)
{
  char        path[512];
  PetscInt64  cells;
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscSNPrintf(path, sizeof path, "obsm/%s", key));
  PetscCall(anndata_select(file->file, path));
  PetscCall(anndata_shape(file->file, &cells, columns));
  PetscCallAgree(comm, refuse_values(file, key, cells * rank / size, cells * (rank + 1) / size));
  PetscCall(anndata_select(file->file, "X"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode refuse_embeddings(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const char *key)
{
  GroupedFile *const file[2] = {real->file, predicted};
  PetscInt64         columns[2];

  PetscFunctionBeginUser;
  if (!*key) PetscFunctionReturn(PETSC_SUCCESS);
  if (!real->file) return error_user("-embedding %s: %s is a cell store, which has none; give AnnData files", key, real->real);
  for (int s = 0; s < 2; s++) PetscCall(refuse_embedding(comm, file[s], key, &columns[s]));
  if (columns[0] != columns[1])
    return error_user("-embedding %s: %lld columns in %s but %lld in %s", key, (long long)columns[0], real->real, (long long)columns[1], predicted->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The tables of every cell type, or with check_only what cannot be compared. */
static PetscErrorCode evaluate_types(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const CellMaker *maker, PairPlace place, PetscBool check_only,
                                     const PairOptions *options, const char *folder)
{
  const Axes    *axes = real->axes;
  int64_t       *key = NULL;
  const int64_t *real_key;

  PetscFunctionBeginUser;
  if (!real->file) PetscCall(keys_of_store(real->store, axes, predicted, &key));
  real_key = key ? key : real->file->key;
  if (!*axes->column[1]) PetscCall(evaluate_type(comm, real, predicted, maker, real_key, -1, place, check_only, options, folder));
  for (PetscInt type = 0; *axes->column[1] && type < axes->count[1]; type++) {
    PetscBool in_real = PETSC_FALSE, in_predicted;
    PetscCall(has_type(axes, predicted, type, &in_predicted));
    if (real->file) PetscCall(has_type(axes, real->file, type, &in_real));
    if (in_real && !in_predicted)
      return error_user("%s: no cells of %s '%s', which %s has; give files with the same, or -profile none", predicted->path, axes->column[1],
                        axes->label[1][type], real->real);
    if (in_predicted) PetscCall(evaluate_type(comm, real, predicted, maker, real_key, type, place, check_only, options, folder));
  }
  PetscCall(PetscFree(key));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pair_check(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const PairOptions *options)
{
  PetscFunctionBeginUser;
  PetscCall(refuse_genes(real, predicted));
  if (real->file) {
    PetscCall(refuse_empty(real->file, real->axes->column[0]));
    PetscCall(refuse_empty(predicted, real->axes->column[0]));
  }
  PetscCall(evaluate_types(comm, real, predicted, NULL, (PairPlace){0}, PETSC_TRUE, options, ""));
  PetscCall(refuse_embeddings(comm, real, predicted, options->embedding));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pair_evaluate(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const CellMaker *maker, PairPlace place, const PairOptions *options,
                             const char *folder)
{
  PetscFunctionBeginUser;
  PetscCall(evaluate_types(comm, real, predicted, maker, place, PETSC_FALSE, options, folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}
