/* The files of an evaluation: opened, matched, and read batch by batch of groups. */
#include "evaluation/evaluation_state.h"
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/threads.h>
#include <string.h>

PetscErrorCode evaluate_is_store(MPI_Comm comm, const char *path, PetscBool *store)
{
  hid_t     h5;
  char     *format;
  PetscBool found;

  PetscFunctionBeginUser;
  *store = PETSC_FALSE;
  PetscCall(file_open(comm, path, "AnnData file or cell store", &h5));
  PetscCall(h5_read_attribute_string(h5, "format", &format, &found));
  if (found) {
    PetscCall(PetscStrcmp(format, "perturbdiff-cells", store));
    PetscCall(PetscFree(format));
  }
  H5Check(H5Fclose(h5));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_columns(Evaluation *e)
{
  const EvaluateOptions *o = e->options;
  const CellStoreTable  *table = e->store ? cellstore_table(e->store) : NULL;
  const char *const      given[AXES] = {o->perturbation_column, o->cell_type_column, o->batch_column};
  const char *const      standard[AXES] = {table ? table->perturbation_column : "perturbation", table ? table->cell_type_column : "",
                                      table ? table->batch_column : ""};

  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) e->column[a] = *given[a] ? given[a] : standard[a];
  e->control = *o->control ? o->control : table ? table->perturbation.name[table->control] : "control";
  if (table && strcmp(e->control, table->perturbation.name[table->control])) {
    return error_user("-control %s: the control label of %s is '%s'", e->control, o->real, table->perturbation.name[table->control]);
  }
  for (int a = 1; table && a < AXES; a++) {
    if (!*e->column[a] && (a == 1 ? table->cell_type : table->batch).count > 1)
      return error_user("%s: made without a %s column; give %s", o->real, a == 1 ? "cell type" : "batch", a == 1 ? "-cell_type_column" : "-batch_column");
  }
  for (PetscInt b = 0; !table && b < o->baselines; b++) {
    if (o->baseline[b] != BASELINE_CONTROL) {
      return error_user("-baselines %s: needs training populations; give the cell store made by prepare as -real, or -baselines control",
                        baseline_name[o->baseline[b]]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode say_scales(const Evaluation *e)
{
  const char *log_file = NULL;

  PetscFunctionBeginUser;
  for (PetscInt f = -1; f < e->options->predictions; f++) {
    const GroupedFile *file = f < 0 ? &e->real : &e->file[f];
    if (f < 0 && e->store) continue;
    if (file->counts && file->type_library) PetscCall(log_line(e->comm, "  %s: counts, brought to the median of their cell type, log1p", file->path));
    else if (file->counts) PetscCall(log_line(e->comm, "  %s: counts, brought to %g a cell, log1p", file->path, file->library_size));
    if (!file->counts && f >= 0) log_file = file->path;
  }
  if (log_file && !e->store && e->real.counts && e->options->library_size <= 0) {
    PetscCall(log_line(e->comm, "  note: %s holds log values and %s counts; where the log values are of 10000 a cell, give -library_size 10000", log_file,
                       e->real.path));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A prediction to be opened while the file before it is scanned. */
typedef struct {
  Evaluation *e;
  PetscInt    f;
} NextFile;

static PetscErrorCode open_next(void *context)
{
  const NextFile        *next = context;
  Evaluation            *e = next->e;
  const EvaluateOptions *o = e->options;

  PetscFunctionBeginUser;
  if (next->f < o->predictions) PetscCall(groupedfile_open(e->comm, o->predicted[next->f], e->column, o->memory, &e->file[next->f]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All predictions; each file, the real one (f = -1) included, is scanned while the next is opened: HDF5 keeps one core busy. */
static PetscErrorCode scan_all(Evaluation *e, double library)
{
  NextFile next = {e, 0};

  PetscFunctionBeginUser;
  if (e->store) PetscCall(open_next(&next));
  for (PetscInt f = e->store ? 0 : -1; f < e->options->predictions; f++) {
    next.f = f + 1;
    PetscCall(groupedfile_scan(e->comm, library, open_next, &next, f < 0 ? &e->real : &e->file[f]));
    if (f >= 0) PetscCall(groupedfile_keys(&e->file[f], e->options->real, &e->axes));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Open all files; axes, groups, genes. */
PetscErrorCode evaluation_open_all(Evaluation *e, KeyTable *real)
{
  const EvaluateOptions *o = e->options;
  PetscBool              store;

  PetscFunctionBeginUser;
  PetscCall(evaluate_is_store(e->comm, o->real, &store));
  if (store) PetscCall(cellstore_open(e->comm, o->real, &e->store));
  PetscCall(choose_columns(e));
  const CellStoreTable *table = e->store ? cellstore_table(e->store) : NULL;
  const double          library = o->library_size > 0 ? o->library_size : table ? table->library_size : 0;
  if (!table) PetscCall(groupedfile_open(e->comm, o->real, e->column, o->memory, &e->real));
  if (table)
    PetscCall(axes_of_store(table, e->column, &e->axes));
  else
    PetscCall(axes_of_file(&e->real, e->control, e->column, &e->axes));
  PetscCall(PetscCalloc2(o->predictions, &e->file, o->predictions, &e->file_cells));
  PetscCall(scan_all(e, library));
  if (table) {
    int64_t *key;
    PetscCall(PetscMalloc1(table->populations, &key));
    for (PetscInt k = 0; k < table->populations; k++) {
      const Population *p = &table->population[k];
      key[k] = p->cells ? axes_key(&e->axes, p->perturbation, p->cell_type, p->batch) : -1;
    }
    PetscCall(keytable_create(table->populations, key, real));
    for (PetscInt k = 0; k < table->populations; k++)
      if (key[k] >= 0) real->cells[key_find(real->count, real->key, key[k])] = table->population[k].cells;
    PetscCall(PetscFree(key));
  } else {
    PetscCall(groupedfile_keys(&e->real, o->real, &e->axes));
    PetscCall(keytable_create(e->real.cells, e->real.key, real));
  }
  PetscCall(say_scales(e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluation_match_genes(Evaluation *e)
{
  const char *const *name;
  PetscInt64         count;

  PetscFunctionBeginUser;
  if (e->store) {
    count = cellstore_table(e->store)->gene.count;
    name = (const char *const *)cellstore_table(e->store)->gene.name;
  } else {
    count = e->real.genes;
    PetscCall(anndata_gene_names(e->real.file, &name));
  }
  PetscCall(PetscMalloc1(count, &e->position));
  PetscCall(genes_match(e->options->real, count, name, e->options->predictions, e->file, e->position, &e->genes, &e->gene));
  for (PetscInt g = 0; g < e->genes; g++) {
    char *copy;
    PetscCall(PetscStrallocpy(e->gene[g], &copy));
    e->gene[g] = copy;
  }
  if (!e->store) PetscCall(PetscArraycpy(e->real.position, e->position, count));
  if (e->genes < count)
    PetscCall(log_line(e->comm, "  %s: %lld of %lld genes are predicted; the real cells are restricted to them after scaling", e->options->real,
                       (long long)e->genes, (long long)count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pairs of cells are what costs. */
static PetscErrorCode deal_groups(Evaluation *e, const KeyTable *real, const KeyTable *predicted)
{
  double *cost;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(e->groups, &cost));
  for (PetscInt k = 0; k < e->groups; k++) {
    const int64_t key = e->slots.key[e->group_slot[k]];
    const double cells = (double)real->cells[key_find(real->count, real->key, key)] + (double)predicted->cells[key_find(predicted->count, predicted->key, key)];
    cost[k] = cells * cells;
  }
  PetscCall(deal_to_least(e->groups, cost, e->size, e->owner));
  PetscCall(PetscFree(cost));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Means of the controls of the real file (f = 0), or of a predicted one. */
static PetscErrorCode controls_task(void *context, PetscInt64 f)
{
  Evaluation *e = context;

  PetscFunctionBeginUser;
  if (f) PetscCall(groupedfile_controls(&e->file[f - 1], &e->slots, e->genes, &e->file_cells[f - 1]));
  else if (!e->store) PetscCall(groupedfile_controls(&e->real, &e->slots, e->genes, &e->real_cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Threads for that: HDF5 serves one. */
static int threads_for_controls(const Evaluation *e)
{
  PetscBool plain = e->store || e->real.plain ? PETSC_TRUE : PETSC_FALSE;

  for (PetscInt f = 0; f < e->options->predictions; f++) plain = plain && e->file[f].plain ? PETSC_TRUE : PETSC_FALSE;
  return plain ? threads_that_allocate() : 1;
}

/* Groups, their owners, the means of their controls. */
PetscErrorCode evaluation_prepare_groups(Evaluation *e, const KeyTable *real)
{
  const EvaluateOptions *o = e->options;
  KeyTable              *predicted;
  int64_t               *group;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(o->predictions, &predicted));
  for (PetscInt f = 0; f < o->predictions; f++) PetscCall(keytable_create(e->file[f].cells, e->file[f].key, &predicted[f]));
  PetscCall(groups_match(o->predictions, predicted, e->file, o->real, real, &e->axes, &e->groups, &group));
  PetscCall(slots_create(e->groups, group, real, o->real, &e->axes, &e->slots));
  PetscCall(PetscMalloc2(e->groups, &e->group_slot, e->groups, &e->owner));
  for (PetscInt k = 0; k < e->groups; k++) e->group_slot[k] = key_find(e->slots.count, e->slots.key, group[k]);
  PetscCall(deal_groups(e, real, &predicted[0]));
  if (e->store) {
    PetscCall(cellstore_means(e->store, e->comm, &e->means));
    PetscCall(storecells_controls(e->store, e->means, &e->axes, &e->slots, e->position, e->genes, &e->real_cells));
  }
  PetscCallAgree(e->comm, threads_each(threads_for_controls(e), 1 + o->predictions, controls_task, e));
  if (!e->store) PetscCall(slotcells_list(&e->real, &e->slots, &e->real_cells));
  for (PetscInt f = 0; f < o->predictions; f++) {
    PetscCall(slotcells_list(&e->file[f], &e->slots, &e->file_cells[f]));
    PetscCall(keytable_destroy(&predicted[f]));
  }
  PetscCall(PetscFree(predicted));
  PetscCall(PetscFree(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of the wanted slots: of the real cells, and of the predicted ones where `predicted`. Not collective. */
static PetscErrorCode load_rows(Evaluation *e, const unsigned char *wanted, PetscBool predicted)
{
  PetscFunctionBeginUser;
  if (e->store) PetscCall(storecells_load(e->store, &e->axes, &e->slots, e->position, e->genes, wanted, e->real_cells.rows));
  else PetscCall(groupedfile_load(&e->real, &e->slots, e->genes, wanted, e->real_cells.rows));
  for (PetscInt f = 0; predicted && f < e->options->predictions; f++)
    PetscCall(groupedfile_load(&e->file[f], &e->slots, e->genes, wanted, e->file_cells[f].rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Controls that own groups need as cells stay: analyses compare with them; without a store the baseline "control" draws from the real ones. */
PetscErrorCode evaluation_load_controls(Evaluation *e)
{
  unsigned char *wanted;

  PetscFunctionBeginUser;
  if (!e->contrasts && (e->store || !e->options->baselines)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(e->slots.count, &wanted));
  for (PetscInt k = 0; k < e->groups; k++)
    if (e->owner[k] == e->rank) wanted[e->slots.paired[e->group_slot[k]]] = 1;
  PetscCall(load_rows(e, wanted, e->contrasts));
  PetscCall(PetscFree(wanted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes of a group's rows in all files. */
static double group_bytes(const Evaluation *e, PetscInt k)
{
  const PetscInt slot = e->group_slot[k];
  double         bytes = sparserows_bytes(e->real_cells.cells[slot], e->real_cells.entries[slot], e->real_cells.wide);

  for (PetscInt f = 0; f < e->options->predictions; f++)
    bytes += sparserows_bytes(e->file_cells[f].cells[slot], e->file_cells[f].entries[slot], e->file_cells[f].wide);
  return bytes;
}

PetscBool evaluation_is_kept(const Evaluation *e)
{
  PetscBool kept = e->store || groupedfile_is_kept(&e->real) ? PETSC_TRUE : PETSC_FALSE;

  for (PetscInt f = 0; f < e->options->predictions; f++) kept = kept && groupedfile_is_kept(&e->file[f]) ? PETSC_TRUE : PETSC_FALSE;
  return kept;
}

PetscErrorCode evaluation_load_kept(Evaluation *e, PetscInt k)
{
  const PetscInt slot = e->group_slot[k];

  PetscFunctionBeginUser;
  if (e->store) PetscCall(storecells_load_slot(e->store, &e->axes, &e->slots, e->position, e->genes, slot, &e->real_cells.rows[slot]));
  else PetscCall(slotcells_load_kept(&e->real, slot, e->genes, &e->real_cells));
  for (PetscInt f = 0; f < e->options->predictions; f++) PetscCall(slotcells_load_kept(&e->file[f], slot, e->genes, &e->file_cells[f]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  Evaluation     *e;
  const PetscInt *group;
} KeptGroups;

static PetscErrorCode load_one(void *context, PetscInt64 i)
{
  const KeptGroups *groups = context;

  PetscFunctionBeginUser;
  PetscCall(evaluation_load_kept(groups->e, groups->group[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells that are not kept are read in one pass. */
PetscErrorCode evaluation_load_batch(Evaluation *e, PetscInt count, const PetscInt *group, PetscInt *taken)
{
  const CellMemory limits = cellmemory_of(e->options->memory);
  const PetscBool  kept = evaluation_is_kept(e);
  unsigned char   *wanted;
  double           bytes = 0;

  PetscFunctionBeginUser;
  for (*taken = 0; *taken < count; ++*taken) {
    bytes += group_bytes(e, group[*taken]);
    if (*taken && bytes > (kept ? limits.small_batch : limits.batch)) break;
  }
  if (kept) {
    KeptGroups groups = {e, group};
    PetscCall(threads_each(threads_that_allocate(), *taken, load_one, &groups));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscCalloc1(e->slots.count, &wanted));
  for (PetscInt i = 0; i < *taken; i++) wanted[e->group_slot[group[i]]] = 1;
  PetscCall(load_rows(e, wanted, PETSC_TRUE));
  PetscCall(PetscFree(wanted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluation_free_rows(Evaluation *e, PetscInt slot)
{
  PetscFunctionBeginUser;
  PetscCall(sparserows_free(&e->real_cells.rows[slot]));
  for (PetscInt f = 0; f < e->options->predictions; f++) PetscCall(sparserows_free(&e->file_cells[f].rows[slot]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
