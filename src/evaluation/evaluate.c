/* Scores of predicted files, baselines and the ceiling in every group; groups dealt over ranks. */
#include "evaluation/analyses_internal.h"
#include "evaluation/evaluation_state.h"
#include "evaluation/pair_internal.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/runtime.h>
#include <string.h>

/* Cells of each population that the baseline cme embeds, at most. */
enum { EMBEDDING_CELLS = 256 };

/* Mean change (genes) of cells from a control. */
static void mean_changes(PetscInt64 n, const double *cells, PetscInt genes, const double *control, double *change)
{
  for (PetscInt g = 0; g < genes; g++) change[g] = 0;
  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt g = 0; g < genes; g++) change[g] += cells[i * genes + g];
  for (PetscInt g = 0; g < genes; g++) change[g] = change[g] / (double)n - control[g];
}

/* One row of a group: cells predicted for it. */
typedef struct {
  PetscInt64 count;
  double    *cells;
} Candidate;

/* Mean of the control that a prediction in a slot is compared with: its own file's, the real ones' where that has none. */
static const double *control_of_prediction(const Evaluation *e, PetscInt f, PetscInt slot)
{
  const PetscInt   control = e->slots.paired[slot];
  const SlotCells *cells = e->file_cells[f].cells[control] ? &e->file_cells[f] : &e->real_cells;

  return cells->mean + (size_t)e->slots.control_row[control] * (size_t)e->genes;
}

static PetscErrorCode prediction_cells(const Evaluation *e, PetscInt f, PetscInt slot, Candidate *candidate)
{
  const SparseRows *rows = &e->file_cells[f].rows[slot];

  PetscFunctionBeginUser;
  candidate->count = rows->rows;
  PetscCall(PetscMalloc1(rows->rows * e->genes, &candidate->cells));
  sparserows_dense(rows, rows->rows, NULL, candidate->cells);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluation_baseline_cells(Evaluation *e, PetscInt baseline, PetscInt group, PetscInt64 count, double *predicted)
{
  PetscFunctionBeginUser;
  if (e->store) {
    const PetscInt all = cellstore_table(e->store)->gene.count;
    double        *cells;

    PetscCall(PetscMalloc1(count * all, &cells));
    PetscCall(baseline_cells(e->baseline[baseline], group, count, cells));
    for (PetscInt64 i = 0; i < count; i++)
      for (PetscInt g = 0; g < all; g++)
        if (e->position[g] >= 0) predicted[i * e->genes + e->position[g]] = cells[i * all + g];
    PetscCall(PetscFree(cells));
  } else {
    const SparseRows *controls = &e->real_cells.rows[e->slots.paired[e->group_slot[group]]];
    PetscInt64       *order;

    PetscCall(PetscMalloc1(count, &order));
    for (PetscInt64 i = 0; i < count; i++) {
      const RandomStream stream = random_stream(e->options->seed, RANDOM_EVALUATE, 1, (uint32_t)group, (uint32_t)(i / controls->rows));
      order[i] = (PetscInt64)random_permuted(&stream, (uint64_t)controls->rows, (uint64_t)(i % controls->rows));
    }
    sparserows_dense(controls, count, order, predicted);
    PetscCall(PetscFree(order));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sorted genes of the control a prediction is compared with: its own file's, the real ones for baselines and files without (f = -1). Groups of one control come one after
   the other, so that the last one is kept. */
static PetscErrorCode sorted_control(Evaluation *e, PetscInt f, PetscInt slot, const GeneRuns **sorted)
{
  const PetscInt control = e->slots.paired[slot];

  PetscFunctionBeginUser;
  if (f >= 0 && !e->file_cells[f].cells[control]) f = -1;
  const SparseRows *rows = f < 0 ? &e->real_cells.rows[control] : &e->file_cells[f].rows[control];
  if (e->sorted_slot[f + 1] != control) {
    GeneColumns columns;

    PetscCall(generuns_destroy(&e->sorted[f + 1]));
    PetscCall(genecolumns_create(rows, e->genes, &columns));
    PetscCall(genecolumns_sort(&columns, 0, e->genes));
    PetscCall(generuns_create(&columns, &e->sorted[f + 1]));
    PetscCall(genecolumns_destroy(&columns));
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
  sparserows_dense(rows, 2 * half, order, dense);
  PetscCall(population_scores(half, dense, half, dense + half * e->genes, e->genes, control, control, scores));
  const AnalysedRow analysed = {.count = half, .count_real = half, .cells = dense + half * e->genes, .real = dense};
  if (t->analyses) PetscCall(analyses_row(t->analyses, t, group, row, &analysed));
  PetscCall(PetscFree2(order, dense));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Predictions of a group, from their sparse rows. change: the real one (genes), then those of all rows. */
static PetscErrorCode score_predictions(const Evaluation *e, PetscInt k, ScoreTable *t, double *change)
{
  const PetscInt    slot = e->group_slot[k];
  const SparseRows *real = &e->real_cells.rows[slot];
  const double     *control = e->real_cells.mean + (size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes;

  PetscFunctionBeginUser;
  t->cells_real[k] = real->rows;
  for (PetscInt r = 0; r < e->options->predictions; r++) {
    const size_t      at = (size_t)r * (size_t)t->groups + (size_t)k;
    const SparseRows *predicted = &e->file_cells[r].rows[slot];

    PetscCall(population_scores_of_rows(real, predicted, e->genes, control, control_of_prediction(e, r, slot), &t->scores[at], change, change + (size_t)(r + 1) * (size_t)e->genes));
    t->cells_predicted[at] = predicted->rows;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All other rows of a group, and what is analysed of its cells; change as above. */
static PetscErrorCode score_others(Evaluation *e, PetscInt k, ScoreTable *t, double *change)
{
  const PetscInt     slot = e->group_slot[k], predictions = e->options->predictions;
  const SparseRows  *rows = &e->real_cells.rows[slot];
  const double      *control = e->real_cells.mean + (size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes;
  const PetscBool    analysed = t->analyses && analyses_need_cells(t->analyses, k) ? PETSC_TRUE : PETSC_FALSE;
  double            *real = NULL;
  const GeneRuns     *sorted = NULL;

  PetscFunctionBeginUser;
  if (analysed || t->rows > predictions) {
    PetscCall(PetscMalloc1(rows->rows * e->genes, &real));
    sparserows_dense(rows, rows->rows, NULL, real);
  }
  if (e->contrasts) PetscCall(sorted_control(e, -1, slot, &sorted));
  if (t->analyses) PetscCall(analyses_begin_group(t->analyses, t, k, rows->rows, real, sorted));
  for (PetscInt r = 0; r < t->rows; r++) {
    const size_t at = (size_t)r * (size_t)t->groups + (size_t)k;
    double      *own = change + (size_t)(r + 1) * (size_t)e->genes;
    Candidate    candidate = {0, NULL};

    if (t->kind[r] == ROW_CEILING) {
      PetscCall(score_halves(e, k, slot, r, control, t, &t->cells_predicted[at], &t->scores[at]));
      PetscCall(PetscArraycpy(own, change, e->genes));
      continue;
    }
    if (t->kind[r] == ROW_PREDICTION) {
      candidate.count = t->cells_predicted[at];
      if (analysed) PetscCall(prediction_cells(e, r, slot, &candidate));
    } else {
      /* As many cells as are real. */
      candidate.count = rows->rows;
      PetscCall(PetscMalloc1(rows->rows * e->genes, &candidate.cells));
      PetscCall(evaluation_baseline_cells(e, r - predictions, k, rows->rows, candidate.cells));
      PetscCall(population_scores(rows->rows, real, candidate.count, candidate.cells, e->genes, control, control, &t->scores[at]));
      t->cells_predicted[at] = candidate.count;
      mean_changes(candidate.count, candidate.cells, e->genes, control, own);
    }
    if (e->contrasts) PetscCall(sorted_control(e, r < predictions ? r : -1, slot, &sorted));
    const AnalysedRow given = {.count = candidate.count, .count_real = rows->rows, .cells = candidate.cells, .real = real, .control = sorted};
    if (t->analyses) PetscCall(analyses_row(t->analyses, t, k, r, &given));
    PetscCall(PetscFree(candidate.cells));
  }
  if (t->analyses) PetscCall(analyses_end_group(t->analyses, t, k, rows->rows, real));
  PetscCall(PetscFree(real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations shown are those that move furthest: by the norm of the real mean change. */
static PetscErrorCode own_strengths(Evaluation *e, double *strength, double *change)
{
  PetscFunctionBeginUser;
  for (PetscInt begin = 0, end; begin < e->groups; begin = end) {
    PetscCall(evaluation_load_batch(e, begin, PETSC_FALSE, &end));
    for (PetscInt k = begin; k < end; k++) {
      const PetscInt    slot = e->group_slot[k];
      const SparseRows *rows = &e->real_cells.rows[slot];

      if (e->owner[k] != e->rank) continue;
      for (PetscInt g = 0; g < e->genes; g++) change[g] = -e->real_cells.mean[(size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes + (size_t)g];
      for (int64_t i = 0; i < rows->offset[rows->rows]; i++) change[rows->column[i]] += sparserows_get(rows, i) / (double)rows->rows;
      for (PetscInt g = 0; g < e->genes; g++) strength[k] += change[g] * change[g];
      PetscCall(evaluation_free_rows(e, slot));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_shown(Evaluation *e, ScoreTable *t)
{
  double *strength, *change;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(e->groups, &strength, e->genes, &change));
  PetscCallAgree(e->comm, own_strengths(e, strength, change));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, strength, (PetscMPIInt)e->groups, MPI_DOUBLE, MPI_SUM, e->comm));
  PetscCall(shown_choose(t->analyses, t, strength));
  PetscCall(PetscFree2(strength, change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A batch of own groups: where their changes are kept. */
typedef struct {
  const Evaluation *evaluation;
  ScoreTable       *table;
  size_t            width;
  PetscInt         *group;
  double           *kept;
} ScoredGroups;

static PetscErrorCode score_one(void *context, PetscInt64 i)
{
  const ScoredGroups *s = context;

  PetscFunctionBeginUser;
  PetscCall(score_predictions(s->evaluation, s->group[i], s->table, s->kept + (size_t)i * s->width));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own groups, batch by batch; kept (own groups, width): their changes. Not collective. */
static PetscErrorCode score_own(Evaluation *e, ScoreTable *t, size_t width, double *kept)
{
  ScoredGroups  s = {e, t, width, NULL, kept};
  const int     threads = threads_that_allocate(), blas_threads = openblas_get_num_threads();
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(evaluation_load_controls(e));
  PetscCall(PetscMalloc1(e->groups, &s.group));
  for (PetscInt begin = 0, end; begin < e->groups; begin = end) {
    PetscInt count = 0;

    PetscCall(evaluation_load_batch(e, begin, PETSC_TRUE, &end));
    for (PetscInt k = begin; k < end; k++)
      if (e->owner[k] == e->rank) s.group[count++] = k;
    openblas_set_num_threads(1);
    code = threads_each(count < threads ? 1 : threads, count, score_one, &s);
    openblas_set_num_threads(blas_threads);
    PetscCall(code);
    for (PetscInt i = 0; i < count; i++) {
      PetscCall(score_others(e, s.group[i], t, s.kept + (size_t)i * width));
      PetscCall(evaluation_free_rows(e, e->group_slot[s.group[i]]));
    }
    s.kept += (size_t)count * width;
  }
  PetscCall(PetscFree(s.group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank its groups; changes go to rank 0 group by group, so that their sums do not depend on the number of ranks. */
static PetscErrorCode score_all(Evaluation *e, ScoreTable *t)
{
  const PetscMPIInt width = (PetscMPIInt)((t->rows + 1) * e->genes);
  double           *change, *kept;
  PetscInt          own = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < e->groups; k++) own += e->owner[k] == e->rank;
  PetscCall(PetscCalloc2((size_t)own * (size_t)width, &kept, width, &change));
  PetscCallAgree(e->comm, score_own(e, t, (size_t)width, kept));
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
  PetscCall(pairmetrics_destroy(&t->metrics));
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
  for (PetscInt f = 0; f <= e->options->predictions; f++) PetscCall(generuns_destroy(&e->sorted[f]));
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
  PetscCall(evaluation_open_all(&e, &real));
  PetscCall(evaluation_match_genes(&e));
  PetscCall(evaluation_prepare_groups(&e, &real));
  PetscCall(learn_baselines(&e));
  PetscCall(table_create(&e, table));
  if (options->analysis) PetscCall(analyses_create(comm, options->analysis, options->seed, table, &table->analyses));
  /* Writes files: after all that a mistake of the user may stop. */
  if (options->pair && options->pair->profile != PROFILE_NONE) PetscCall(evaluation_pairs(&e, table, &table->metrics));
  if (options->analysis && options->analysis->shown > 0) PetscCall(choose_shown(&e, table));
  PetscCall(score_all(&e, table));
  PetscCall(close_all(&e, &real));
  PetscFunctionReturn(PETSC_SUCCESS);
}
