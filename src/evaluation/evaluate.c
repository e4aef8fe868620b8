/* Scores of predicted files, baselines and the ceiling in every group; groups dealt over ranks. */
#include "evaluation/analyses_internal.h"
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <string.h>

/* Cells of each population that the baseline cme embeds, at most. */
enum { EMBEDDING_CELLS = 256 };

/* Everything an evaluation holds while it runs. */
typedef struct {
  MPI_Comm               comm;
  PetscMPIInt            rank, size;
  const EvaluateOptions *options;
  const char            *column[AXES];
  const char            *control;
  CellStore             *store; /* NULL: the real cells come from a file */
  double                *means; /* of the store's populations */
  Baseline             **baseline; /* (baselines), of a store */
  GroupedFile            real, *file;
  Axes                   axes;
  SlotList               slots;
  PetscInt               groups, genes;
  PetscInt              *group_slot; /* (groups) */
  PetscMPIInt           *owner;      /* (groups) */
  const char           **gene;       /* scored genes; names copied, for those of a file go when another of its matrices is selected */
  int32_t               *position;   /* (real genes) */
  SlotCells              real_cells, *file_cells;
  PetscBool              contrasts;               /* the analyses need the cells of the controls */
  PetscInt              *sorted_slot;             /* (1 + files) control whose genes are sorted, of the real cells and of each file; -1: none */
  SortedGenes           *sorted;
} Evaluation;

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
    if (file->counts) PetscCall(log_line(e->comm, "  %s: counts, brought to %g a cell, log1p", file->path, file->library_size));
    if (!file->counts && f >= 0) log_file = file->path;
  }
  if (log_file && !e->store && e->real.counts && e->options->library_size <= 0) {
    PetscCall(log_line(e->comm, "  note: %s holds log values and %s counts; where the log values are of 10000 a cell, give -library_size 10000", log_file,
                       e->real.path));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Open all files; axes, groups, genes. */
static PetscErrorCode open_all(Evaluation *e, KeyTable *real)
{
  const EvaluateOptions *o = e->options;
  PetscBool              store;

  PetscFunctionBeginUser;
  PetscCall(evaluate_is_store(e->comm, o->real, &store));
  if (store) PetscCall(cellstore_open(e->comm, o->real, &e->store));
  PetscCall(choose_columns(e));
  const CellStoreTable *table = e->store ? cellstore_table(e->store) : NULL;
  const double          library = o->library_size > 0 ? o->library_size : table ? table->library_size : 0;
  if (!table) PetscCall(groupedfile_open(e->comm, o->real, e->column, library, &e->real));
  if (table)
    PetscCall(axes_of_store(table, e->column, &e->axes));
  else
    PetscCall(axes_of_file(&e->real, e->control, e->column, &e->axes));
  PetscCall(PetscCalloc2(o->predictions, &e->file, o->predictions, &e->file_cells));
  for (PetscInt f = 0; f < o->predictions; f++) {
    PetscCall(groupedfile_open(e->comm, o->predicted[f], e->column, library, &e->file[f]));
    PetscCall(groupedfile_keys(&e->file[f], o->real, &e->axes));
  }
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

static PetscErrorCode match_genes(Evaluation *e)
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

/* Groups, their owners, and the cells each rank needs. */
static PetscErrorCode load_all(Evaluation *e, const KeyTable *real)
{
  const EvaluateOptions *o = e->options;
  KeyTable              *predicted;
  int64_t               *group;
  unsigned char         *own, *with_control;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(o->predictions, &predicted));
  for (PetscInt f = 0; f < o->predictions; f++) PetscCall(keytable_create(e->file[f].cells, e->file[f].key, &predicted[f]));
  PetscCall(groups_match(o->predictions, predicted, e->file, o->real, real, &e->axes, &e->groups, &group));
  PetscCall(slots_create(e->groups, group, real, o->real, &e->axes, &e->slots));
  PetscCall(PetscMalloc2(e->groups, &e->group_slot, e->groups, &e->owner));
  for (PetscInt k = 0; k < e->groups; k++) e->group_slot[k] = key_find(e->slots.count, e->slots.key, group[k]);
  PetscCall(deal_groups(e, real, &predicted[0]));
  PetscCall(PetscCalloc2(e->slots.count, &own, e->slots.count, &with_control));
  for (PetscInt k = 0; k < e->groups; k++) {
    if (e->owner[k] != e->rank) continue;
    own[e->group_slot[k]] = with_control[e->group_slot[k]] = 1;
    /* Without a store the baseline "control" draws from these. */
    if (e->contrasts || (!e->store && o->baselines)) with_control[e->slots.paired[e->group_slot[k]]] = 1;
  }
  if (e->store) PetscCall(cellstore_means(e->store, e->comm, &e->means));
  PetscCallAgree(e->comm, e->store ? slotcells_of_store(e->store, e->means, &e->axes, &e->slots, e->position, e->genes, e->contrasts ? with_control : own, &e->real_cells)
                                   : groupedfile_load(&e->real, &e->slots, e->genes, with_control, &e->real_cells));
  for (PetscInt f = 0; f < o->predictions; f++) {
    PetscCallAgree(e->comm, groupedfile_load(&e->file[f], &e->slots, e->genes, e->contrasts ? with_control : own, &e->file_cells[f]));
    PetscCall(keytable_destroy(&predicted[f]));
  }
  PetscCall(PetscFree(predicted));
  PetscCall(PetscFree(group));
  PetscCall(PetscFree2(own, with_control));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Dense copy (rows, genes) of cells first, first + step, ... in the order given; order NULL: as they are. */
static void dense_rows(const SparseRows *rows, PetscInt64 count, const PetscInt64 *order, PetscInt genes, double *dense)
{
  memset(dense, 0, (size_t)count * (size_t)genes * sizeof *dense);
  for (PetscInt64 i = 0; i < count; i++) {
    const PetscInt64 row = order ? order[i] : i;
    for (int64_t k = rows->offset[row]; k < rows->offset[row + 1]; k++) dense[i * genes + rows->column[k]] = (double)rows->value[k];
  }
}

static double mean_change(PetscInt64 n, const double *cells, PetscInt genes, PetscInt gene, double control)
{
  double sum = 0;
  for (PetscInt64 i = 0; i < n; i++) sum += cells[i * genes + gene];
  return sum / (double)n - control;
}

/* One row of a group: cells predicted for it and the control mean they are compared with. */
typedef struct {
  PetscInt64    count;
  double       *cells;
  const double *control;
} Candidate;

static PetscErrorCode prediction_cells(Evaluation *e, PetscInt f, PetscInt slot, const double *control_real, Candidate *candidate)
{
  const SparseRows *rows = &e->file_cells[f].rows[slot];
  const PetscInt    control = e->slots.paired[slot];

  PetscFunctionBeginUser;
  candidate->count = rows->rows;
  PetscCall(PetscMalloc1(rows->rows * e->genes, &candidate->cells));
  dense_rows(rows, rows->rows, NULL, e->genes, candidate->cells);
  candidate->control = e->file_cells[f].cells[control] ? e->file_cells[f].mean + (size_t)e->slots.control_row[control] * (size_t)e->genes : control_real;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many cells as are real. */
static PetscErrorCode predict_by_baseline(Evaluation *e, PetscInt baseline, PetscInt group, PetscInt slot, PetscInt64 count, Candidate *candidate)
{
  const SparseRows *controls = &e->real_cells.rows[e->slots.paired[slot]];

  PetscFunctionBeginUser;
  candidate->count = count;
  PetscCall(PetscMalloc1(count * e->genes, &candidate->cells));
  if (e->store) {
    const PetscInt all = cellstore_table(e->store)->gene.count;
    double        *cells;

    PetscCall(PetscMalloc1(count * all, &cells));
    PetscCall(baseline_cells(e->baseline[baseline], group, count, cells));
    for (PetscInt64 i = 0; i < count; i++)
      for (PetscInt g = 0; g < all; g++)
        if (e->position[g] >= 0) candidate->cells[i * e->genes + e->position[g]] = cells[i * all + g];
    PetscCall(PetscFree(cells));
  } else {
    PetscInt64 *order;
    PetscCall(PetscMalloc1(count, &order));
    for (PetscInt64 i = 0; i < count; i++) {
      const RandomStream stream = random_stream(e->options->seed, RANDOM_EVALUATE, 1, (uint32_t)group, (uint32_t)(i / controls->rows));
      order[i] = (PetscInt64)random_permuted(&stream, (uint64_t)controls->rows, (uint64_t)(i % controls->rows));
    }
    dense_rows(controls, count, order, e->genes, candidate->cells);
    PetscCall(PetscFree(order));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sorted genes of the control a prediction is compared with: its own file's, the real ones for baselines and files without (f = -1). Groups of one control come one after
   the other, so that the last one is kept. */
static PetscErrorCode sorted_control(Evaluation *e, PetscInt f, PetscInt slot, const SortedGenes **sorted)
{
  const PetscInt control = e->slots.paired[slot];

  PetscFunctionBeginUser;
  if (f >= 0 && !e->file_cells[f].cells[control]) f = -1;
  const SparseRows *rows = f < 0 ? &e->real_cells.rows[control] : &e->file_cells[f].rows[control];
  if (e->sorted_slot[f + 1] != control) {
    PetscCall(sortedgenes_destroy(&e->sorted[f + 1]));
    PetscCall(sortedgenes_create(rows, e->genes, &e->sorted[f + 1]));
    e->sorted_slot[f + 1] = control;
  }
  *sorted = &e->sorted[f + 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Two disjoint halves of floor(n/2) real cells against each other. */
static PetscErrorCode score_halves(Evaluation *e, PetscInt group, PetscInt slot, PetscInt row, const double *control, ScoreTable *t, PetscInt64 *cells,
                                   PopulationScores *scores)
{
  const SparseRows  *rows = &e->real_cells.rows[slot];
  const PetscInt64   half = rows->rows / 2;
  const RandomStream stream = random_stream(e->options->seed, RANDOM_EVALUATE, 0, (uint32_t)group, 0);
  PetscInt64        *order;
  double            *dense;

  PetscFunctionBeginUser;
  *cells = half;
  if (!half) {
    *scores = (PopulationScores){NAN, NAN, NAN, NAN, NAN};
    if (t->analyses) PetscCall(analyses_row(t->analyses, t, group, row, &(AnalysedRow){0}));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc2(2 * half, &order, 2 * half * e->genes, &dense));
  for (PetscInt64 i = 0; i < 2 * half; i++) order[i] = (PetscInt64)random_permuted(&stream, (uint64_t)rows->rows, (uint64_t)i);
  dense_rows(rows, 2 * half, order, e->genes, dense);
  PetscCall(population_scores(half, dense, half, dense + half * e->genes, e->genes, control, control, scores));
  const AnalysedRow analysed = {.count = half, .count_real = half, .cells = dense + half * e->genes, .real = dense};
  if (t->analyses) PetscCall(analyses_row(t->analyses, t, group, row, &analysed));
  PetscCall(PetscFree2(order, dense));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode score_group(Evaluation *e, PetscInt k, ScoreTable *t, double *change_real, double *change)
{
  const PetscInt    slot = e->group_slot[k];
  const SparseRows *rows = &e->real_cells.rows[slot];
  const double     *control = e->real_cells.mean + (size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes;
  double           *real;
  const SortedGenes *sorted = NULL;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(rows->rows * e->genes, &real));
  dense_rows(rows, rows->rows, NULL, e->genes, real);
  if (e->contrasts) PetscCall(sorted_control(e, -1, slot, &sorted));
  if (t->analyses) PetscCall(analyses_begin_group(t->analyses, t, k, rows->rows, real, sorted));
  for (PetscInt g = 0; g < e->genes; g++) change_real[g] = mean_change(rows->rows, real, e->genes, g, control[g]);
  t->cells_real[k] = rows->rows;
  for (PetscInt r = 0; r < t->rows; r++) {
    const size_t at = (size_t)r * (size_t)t->groups + (size_t)k;
    Candidate    candidate = {0, NULL, control};

    if (t->kind[r] == ROW_CEILING) {
      PetscCall(score_halves(e, k, slot, r, control, t, &t->cells_predicted[at], &t->scores[at]));
      for (PetscInt g = 0; g < e->genes; g++) change[(size_t)r * e->genes + g] = change_real[g];
      continue;
    }
    if (t->kind[r] == ROW_PREDICTION)
      PetscCall(prediction_cells(e, r, slot, control, &candidate));
    else
      PetscCall(predict_by_baseline(e, r - e->options->predictions, k, slot, rows->rows, &candidate));
    PetscCall(population_scores(rows->rows, real, candidate.count, candidate.cells, e->genes, control, candidate.control, &t->scores[at]));
    t->cells_predicted[at] = candidate.count;
    if (e->contrasts) PetscCall(sorted_control(e, r < e->options->predictions ? r : -1, slot, &sorted));
    const AnalysedRow analysed = {.count = candidate.count, .count_real = rows->rows, .cells = candidate.cells, .real = real, .control = sorted};
    if (t->analyses) PetscCall(analyses_row(t->analyses, t, k, r, &analysed));
    for (PetscInt g = 0; g < e->genes; g++) change[(size_t)r * e->genes + g] = mean_change(candidate.count, candidate.cells, e->genes, g, candidate.control[g]);
    PetscCall(PetscFree(candidate.cells));
  }
  if (t->analyses) PetscCall(analyses_end_group(t->analyses, t, k, rows->rows, real));
  PetscCall(PetscFree(real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations shown are those that move furthest: by the norm of the real mean change. */
static PetscErrorCode choose_shown(Evaluation *e, ScoreTable *t)
{
  double *strength, *change;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(e->groups, &strength, e->genes, &change));
  for (PetscInt k = 0; k < e->groups; k++) {
    const PetscInt    slot = e->group_slot[k];
    const SparseRows *rows = &e->real_cells.rows[slot];

    if (e->owner[k] != e->rank) continue;
    for (PetscInt g = 0; g < e->genes; g++) change[g] = -e->real_cells.mean[(size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes + (size_t)g];
    for (int64_t i = 0; i < rows->offset[rows->rows]; i++) change[rows->column[i]] += (double)rows->value[i] / (double)rows->rows;
    for (PetscInt g = 0; g < e->genes; g++) strength[k] += change[g] * change[g];
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, strength, (PetscMPIInt)e->groups, MPI_DOUBLE, MPI_SUM, e->comm));
  PetscCall(shown_choose(t->analyses, t, strength));
  PetscCall(PetscFree2(strength, change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank its groups; changes go to rank 0 group by group, so that their sums do not depend on the number of ranks. */
static PetscErrorCode score_all(Evaluation *e, ScoreTable *t)
{
  const PetscMPIInt width = (PetscMPIInt)((t->rows + 1) * e->genes);
  double           *change, *kept;
  PetscInt          own = 0;
  PetscErrorCode    code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < e->groups; k++) own += e->owner[k] == e->rank;
  PetscCall(PetscCalloc2((size_t)own * (size_t)width, &kept, width, &change));
  own = 0;
  for (PetscInt k = 0; k < e->groups && !code; k++) {
    if (e->owner[k] != e->rank) continue;
    double *mine = kept + (size_t)own++ * (size_t)width;
    code = score_group(e, k, t, mine, mine + e->genes);
  }
  PetscCallAgree(e->comm, code);
  own = 0;
  for (PetscInt k = 0; k < e->groups; k++) {
    const double *mine = e->owner[k] == e->rank ? kept + (size_t)own++ * (size_t)width : NULL;
    if (e->rank == 0 && !mine) PetscCallMPI(MPI_Recv(change, width, MPI_DOUBLE, e->owner[k], 0, e->comm, MPI_STATUS_IGNORE));
    if (e->rank && mine) PetscCallMPI(MPI_Send(mine, width, MPI_DOUBLE, 0, 0, e->comm));
    if (e->rank) continue;
    if (!mine) mine = change;
    if (t->analyses) PetscCall(shown_keep_changes(t->analyses, t, k, mine));
    for (PetscInt g = 0; g < e->genes; g++) t->change_real[g] += mine[g] / e->groups;
    for (PetscMPIInt i = 0; i < width - (PetscMPIInt)e->genes; i++) t->change[i] += mine[e->genes + i] / e->groups;
  }
  PetscCall(PetscFree2(kept, change));
  /* Each entry is set on one rank and zero on the others: the sums are exact. */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->scores, (PetscMPIInt)(t->rows * t->groups * POPULATION_SCORES), MPI_DOUBLE, MPI_SUM, e->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->cells_predicted, (PetscMPIInt)(t->rows * t->groups), MPIU_INT64, MPI_SUM, e->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->cells_real, (PetscMPIInt)t->groups, MPIU_INT64, MPI_SUM, e->comm));
  if (t->analyses) PetscCall(analyses_join(t->analyses, t, e->owner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode name_rows(const EvaluateOptions *o, ScoreTable *t)
{
  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < t->rows; r++) {
    const PetscInt baseline = r - o->predictions;
    t->kind[r] = baseline < 0 ? ROW_PREDICTION : baseline < o->baselines ? ROW_BASELINE : ROW_CEILING;
    PetscCall(PetscStrallocpy(baseline < 0 ? o->model[r] : baseline < o->baselines ? baseline_name[o->baseline[baseline]] : "ceiling", &t->model[r]));
    t->repeat[r] = 1;
    for (PetscInt q = 0; q < r; q++) {
      if (strcmp(t->model[q], t->model[r])) continue;
      if (t->kind[r] != ROW_PREDICTION)
        return error_user("-predicted: the name '%s' is taken by a row of the table; give the file another name, such as model=FILE", t->model[r]);
      t->repeat[r]++;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the baselines learn, for all groups. */
static PetscErrorCode learn_baselines(Evaluation *e)
{
  const EvaluateOptions *o = e->options;
  Covariates            *condition;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(o->baselines, &e->baseline));
  if (!e->store) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(e->groups, &condition));
  for (PetscInt k = 0; k < e->groups; k++) axes_codes(&e->axes, e->slots.key[e->group_slot[k]], condition[k].level);
  for (PetscInt b = 0; b < o->baselines; b++) {
    const BaselineOptions options = {.method = o->baseline[b], .seed = o->seed, .embedding_cells = EMBEDDING_CELLS};
    PetscCall(baseline_create(e->comm, e->store, e->means, &options, e->groups, condition, &e->baseline[b]));
    if (*baseline_note(e->baseline[b])) PetscCall(log_line(e->comm, "  %s: %s", baseline_name[o->baseline[b]], baseline_note(e->baseline[b])));
  }
  PetscCall(PetscFree(condition));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode table_create(const Evaluation *e, ScoreTable *t)
{
  const EvaluateOptions *o = e->options;

  PetscFunctionBeginUser;
  t->rows = o->predictions + o->baselines + (o->ceiling ? 1 : 0);
  t->groups = e->groups;
  t->genes = e->genes;
  t->axes = 0;
  for (int a = 0; a < AXES; a++) t->axes |= *e->column[a] ? 1 << a : 0;
  PetscCall(PetscCalloc3(t->rows, &t->model, t->rows, &t->repeat, t->rows, &t->kind));
  PetscCall(PetscCalloc3(t->groups, &t->cells_real, t->rows * t->groups, &t->cells_predicted, t->rows * t->groups, &t->scores));
  PetscCall(PetscCalloc3(t->genes, &t->gene, t->genes, &t->change_real, (size_t)t->rows * (size_t)t->genes, &t->change));
  for (PetscInt g = 0; g < t->genes; g++) PetscCall(PetscStrallocpy(e->gene[g], &t->gene[g]));
  for (int a = 0; a < AXES; a++) {
    PetscCall(PetscCalloc1(t->groups, &t->label[a]));
    for (PetscInt k = 0; k < t->groups; k++) {
      PetscInt code[AXES];
      axes_codes(&e->axes, e->slots.key[e->group_slot[k]], code);
      PetscCall(PetscStrallocpy(*e->column[a] ? e->axes.label[a][code[a]] : "", &t->label[a][k]));
    }
  }
  PetscCall(name_rows(o, t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode scoretable_destroy(ScoreTable *t)
{
  PetscFunctionBeginUser;
  PetscCall(analyses_destroy(t, &t->analyses));
  for (PetscInt r = 0; r < t->rows; r++) PetscCall(PetscFree(t->model[r]));
  for (PetscInt g = 0; g < t->genes; g++) PetscCall(PetscFree(t->gene[g]));
  for (int a = 0; a < AXES; a++) PetscCall(strings_free(t->groups, &t->label[a]));
  PetscCall(PetscFree3(t->model, t->repeat, t->kind));
  PetscCall(PetscFree3(t->cells_real, t->cells_predicted, t->scores));
  PetscCall(PetscFree3(t->gene, t->change_real, t->change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode close_all(Evaluation *e, KeyTable *real)
{
  PetscFunctionBeginUser;
  for (PetscInt f = 0; f <= e->options->predictions; f++) PetscCall(sortedgenes_destroy(&e->sorted[f]));
  PetscCall(PetscFree2(e->sorted, e->sorted_slot));
  for (PetscInt f = 0; f < e->options->predictions; f++) {
    PetscCall(slotcells_destroy(&e->slots, &e->file_cells[f]));
    PetscCall(groupedfile_close(&e->file[f]));
  }
  PetscCall(slotcells_destroy(&e->slots, &e->real_cells));
  PetscCall(PetscFree2(e->file, e->file_cells));
  PetscCall(PetscFree2(e->group_slot, e->owner));
  for (PetscInt g = 0; g < e->genes; g++) PetscCall(PetscFree(e->gene[g]));
  PetscCall(PetscFree(e->gene));
  PetscCall(PetscFree(e->position));
  for (PetscInt b = 0; b < e->options->baselines; b++) PetscCall(baseline_destroy(&e->baseline[b]));
  PetscCall(PetscFree(e->baseline));
  PetscCall(PetscFree(e->means));
  PetscCall(slots_destroy(&e->slots));
  PetscCall(axes_destroy(&e->axes));
  PetscCall(keytable_destroy(real));
  if (e->store)
    PetscCall(cellstore_close(&e->store));
  else
    PetscCall(groupedfile_close(&e->real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The tables of each prediction: into the folder, or a sub-folder for each of several. */
static PetscErrorCode make_pair_tables(Evaluation *e)
{
  const EvaluateOptions *o = e->options;
  const RealCells        real = {.real = o->real,
                                 .axes = &e->axes,
                                 .file = e->store ? NULL : &e->real,
                                 .store = e->store,
                                 .position = e->position,
                                 .all_genes = e->store ? 0 : e->real.genes,
                                 .genes = e->genes,
                                 .gene = e->gene};

  PetscFunctionBeginUser;
  for (PetscInt f = 0; f < o->predictions; f++) {
    char     folder[PETSC_MAX_PATH_LEN];
    PetscInt repeat = 1;

    for (PetscInt q = 0; q < f; q++) repeat += !strcmp(o->model[q], o->model[f]);
    if (o->predictions == 1)
      PetscCall(PetscStrncpy(folder, o->pair->folder, sizeof folder));
    else if (repeat == 1)
      PetscCall(PetscSNPrintf(folder, sizeof folder, "%s/%s", o->pair->folder, o->model[f]));
    else
      PetscCall(PetscSNPrintf(folder, sizeof folder, "%s/%s_%lld", o->pair->folder, o->model[f], (long long)repeat));
    PetscCall(pair_evaluate(e->comm, &real, &e->file[f], o->pair, folder));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluate_files(MPI_Comm comm, const EvaluateOptions *options, ScoreTable *table)
{
  Evaluation e = {.comm = comm, .options = options};
  KeyTable   real = {0, NULL, NULL};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &e.rank));
  PetscCallMPI(MPI_Comm_size(comm, &e.size));
  PetscCall(PetscMemzero(table, sizeof *table));
  e.contrasts = options->analysis && (*options->analysis->questions || *options->analysis->genesets) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscCalloc2(options->predictions + 1, &e.sorted, options->predictions + 1, &e.sorted_slot));
  for (PetscInt f = 0; f <= options->predictions; f++) e.sorted_slot[f] = -1;
  PetscCall(open_all(&e, &real));
  PetscCall(match_genes(&e));
  PetscCall(load_all(&e, &real));
  PetscCall(learn_baselines(&e));
  PetscCall(table_create(&e, table));
  if (options->analysis) PetscCall(analyses_create(comm, options->analysis, options->seed, table, &table->analyses));
  /* Writes files: after all that a mistake of the user may stop. */
  if (options->pair && options->pair->profile != PROFILE_NONE) PetscCall(make_pair_tables(&e));
  if (options->analysis && options->analysis->shown > 0) PetscCall(choose_shown(&e, table));
  PetscCall(score_all(&e, table));
  PetscCall(close_all(&e, &real));
  PetscFunctionReturn(PETSC_SUCCESS);
}
