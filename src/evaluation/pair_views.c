/* Which cells of the two files are compared with which: all of them, or those of one cell type. */
#include "evaluation/pair_internal.h"
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
                     .single = file && anndata_is_double(file->file) ? PETSC_FALSE : PETSC_TRUE,
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

PetscErrorCode pair_evaluate(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const CellMaker *maker, PairPlace place, const PairOptions *options,
                             const char *folder)
{
  const Axes *axes = real->axes;
  int64_t    *key = NULL;

  PetscFunctionBeginUser;
  PetscCall(refuse_genes(real, predicted));
  if (real->file) {
    PetscCall(refuse_empty(real->file, axes->column[0]));
    PetscCall(refuse_empty(predicted, axes->column[0]));
  } else {
    PetscCall(keys_of_store(real->store, axes, predicted, &key));
  }
  /* All that can be refused first: no table is written of an input that will be refused. */
  for (int pass = 0; pass < 2; pass++) {
    const PetscBool check_only = pass ? PETSC_FALSE : PETSC_TRUE;

    if (!*axes->column[1]) PetscCall(evaluate_type(comm, real, predicted, maker, key ? key : real->file->key, -1, place, check_only, options, folder));
    for (PetscInt type = 0; *axes->column[1] && type < axes->count[1]; type++) {
      PetscBool in_real = PETSC_FALSE, in_predicted;
      PetscCall(has_type(axes, predicted, type, &in_predicted));
      if (real->file) PetscCall(has_type(axes, real->file, type, &in_real));
      if (in_real && !in_predicted)
        return error_user("%s: no cells of %s '%s', which %s has; give files with the same, or -profile none", predicted->path, axes->column[1],
                          axes->label[1][type], real->real);
      if (in_predicted) PetscCall(evaluate_type(comm, real, predicted, maker, key ? key : real->file->key, type, place, check_only, options, folder));
    }
  }
  PetscCall(PetscFree(key));
  PetscFunctionReturn(PETSC_SUCCESS);
}
