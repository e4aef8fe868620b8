/* Scores of predicted files, baselines and the ceiling in every group, and what is analysed there: groups dealt over ranks, and on a rank over threads. */
#include "evaluation/analyses_internal.h"
#include "evaluation/evaluation_state.h"
#include "evaluation/pair_internal.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/threads.h>
#include <string.h>

/* Own groups. What a batch of them needs is read before its tasks begin, or by the task where cells are kept in memory. */
typedef struct {
  Evaluation *e;
  ScoreTable *t;
  PetscInt    count, *group;
  size_t      width;
  double     *change; /* (count, width) mean changes from the control: the real one (genes), then those of all rows */
  PetscInt    first;  /* of the batch */
  PetscBool   loads, frees; /* a task its group's rows */
  PetscInt   *shown;        /* what is shown */
} Scoring;

static const double *real_control(const Evaluation *e, PetscInt slot)
{
  return e->real_cells.mean + (size_t)e->slots.control_row[e->slots.paired[slot]] * (size_t)e->genes;
}

/* Mean of the control that a prediction in a slot is compared with: its own file's, the real ones' where that has none. */
static const double *control_of_prediction(const Evaluation *e, PetscInt f, PetscInt slot)
{
  const PetscInt   control = e->slots.paired[slot];
  const SlotCells *cells = e->file_cells[f].cells[control] ? &e->file_cells[f] : &e->real_cells;

  return cells->mean + (size_t)e->slots.control_row[control] * (size_t)e->genes;
}

static PetscErrorCode dense_rows(const SparseRows *rows, PetscInt64 count, const PetscInt64 *order, double **dense)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)count * (size_t)rows->columns, dense));
  sparserows_dense(rows, count, order, *dense);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- predictions, from their sparse rows ----------------------------------------------------------------------------------------- */

static PetscErrorCode score_predictions(const Evaluation *e, PetscInt k, ScoreTable *t, double *change)
{
  const PetscInt    slot = e->group_slot[k];
  const SparseRows *rows = &e->real_cells.rows[slot];
  const double     *control = real_control(e, slot);
  RealPopulation    real;

  PetscFunctionBeginUser;
  t->cells_real[k] = rows->rows;
  PetscCall(realpopulation_create(rows, e->genes, &real));
  for (PetscInt g = 0; g < e->genes; g++) change[g] = real.mean[g] - control[g];
  for (PetscInt r = 0; r < e->options->predictions; r++) {
    const size_t      at = (size_t)r * (size_t)t->groups + (size_t)k;
    const SparseRows *predicted = &e->file_cells[r].rows[slot];

    PetscCall(population_scores_of_rows(&real, predicted, control, control_of_prediction(e, r, slot), &t->scores[at], change + (size_t)(r + 1) * (size_t)e->genes));
    t->cells_predicted[at] = predicted->rows;
  }
  PetscCall(realpopulation_destroy(&real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same from what the tables of cell-eval have found of these cells; false where they have not found all: then it is to be done anew. */
static PetscBool take_predictions(const Evaluation *e, PetscInt k, ScoreTable *t, double *change)
{
  const PetscInt slot = e->group_slot[k];
  const double  *control = real_control(e, slot), *real = NULL, *predicted;
  double         energy;

  t->cells_real[k] = e->real_cells.cells[slot];
  for (PetscInt r = 0; r < e->options->predictions; r++) {
    const size_t at = (size_t)r * (size_t)t->groups + (size_t)k;

    if (!pairmetrics_found(t->metrics, r, k, &real, &predicted, &energy)) return PETSC_FALSE;
    population_scores_of_means(e->genes, real, control, predicted, control_of_prediction(e, r, slot), energy, &t->scores[at], change + (size_t)(r + 1) * (size_t)e->genes);
    t->cells_predicted[at] = e->file_cells[r].cells[slot];
  }
  for (PetscInt g = 0; real && g < e->genes; g++) change[g] = real[g] - control[g];
  return real ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode predictions_task(void *context, PetscInt64 i)
{
  const Scoring *s = context;
  const PetscInt at = s->first + (PetscInt)i, k = s->group[at];
  double        *change = s->change + (size_t)at * s->width;

  PetscFunctionBeginUser;
  if (!take_predictions(s->e, k, s->t, change)) {
    if (s->loads) PetscCall(evaluation_load_kept(s->e, k));
    PetscCall(score_predictions(s->e, k, s->t, change));
  }
  if (s->frees) PetscCall(evaluation_free_rows(s->e, s->e->group_slot[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tasks for `count` groups of the batch by so many threads, BLAS's of which are ours. Where there are fewer groups than threads all of these share the work of one. */
static PetscErrorCode each_group(Scoring *s, int threads, PetscInt count, PetscErrorCode (*task)(void *, PetscInt64))
{
  const int      blas_threads = openblas_get_num_threads();
  PetscErrorCode code;

  PetscFunctionBeginUser;
  openblas_set_num_threads(1);
  code = threads_each(count < threads ? 1 : threads, count, task, s);
  openblas_set_num_threads(blas_threads);
  PetscFunctionReturn(code);
}

/* ---- baselines and halves of the real cells -------------------------------------------------------------------------------------- */

/* Mean change (genes) of cells from a control. */
static void mean_changes(PetscInt64 n, const double *cells, PetscInt genes, const double *control, double *change)
{
  for (PetscInt g = 0; g < genes; g++) change[g] = 0;
  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt g = 0; g < genes; g++) change[g] += cells[i * genes + g];
  for (PetscInt g = 0; g < genes; g++) change[g] = change[g] / (double)n - control[g];
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

/* As many cells as are real. */
static PetscErrorCode baseline_of_row(Evaluation *e, PetscInt row, PetscInt k, double **cells)
{
  const PetscInt64 count = e->real_cells.rows[e->group_slot[k]].rows;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)count * (size_t)e->genes, cells));
  PetscCall(evaluation_baseline_cells(e, row - e->options->predictions, k, count, *cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Two disjoint halves of floor(n/2) real cells, one after the other. */
static PetscErrorCode halves_of_group(const Evaluation *e, PetscInt k, PetscInt64 *half, double **cells)
{
  const SparseRows  *rows = &e->real_cells.rows[e->group_slot[k]];
  const RandomStream stream = random_stream(e->options->seed, RANDOM_EVALUATE, 0, (uint32_t)k, 0);
  PetscInt64        *order;

  PetscFunctionBeginUser;
  *half = rows->rows / 2;
  PetscCall(PetscMalloc1(2 * *half, &order));
  for (PetscInt64 i = 0; i < 2 * *half; i++) order[i] = (PetscInt64)random_permuted(&stream, (uint64_t)rows->rows, (uint64_t)i);
  PetscCall(dense_rows(rows, 2 * *half, order, cells));
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode score_halves(const Evaluation *e, PetscInt k, const double *control, PetscInt64 *half, PopulationScores *scores)
{
  double *cells;

  PetscFunctionBeginUser;
  PetscCall(halves_of_group(e, k, half, &cells));
  *scores = (PopulationScores){NAN, NAN, NAN, NAN, NAN};
  if (*half) PetscCall(population_scores(*half, cells, *half, cells + *half * e->genes, e->genes, control, control, scores));
  PetscCall(PetscFree(cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All rows but the predictions; change as in Scoring. Their distances use the threads, and MPI: one group after the other. */
static PetscErrorCode score_others(Evaluation *e, PetscInt k, ScoreTable *t, double *change)
{
  const PetscInt    slot = e->group_slot[k];
  const SparseRows *rows = &e->real_cells.rows[slot];
  const double     *control = real_control(e, slot);
  double           *real, *cells;

  PetscFunctionBeginUser;
  if (t->rows == e->options->predictions) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(dense_rows(rows, rows->rows, NULL, &real));
  for (PetscInt r = e->options->predictions; r < t->rows; r++) {
    const size_t at = (size_t)r * (size_t)t->groups + (size_t)k;
    double      *own = change + (size_t)(r + 1) * (size_t)e->genes;

    if (t->kind[r] == ROW_CEILING) {
      PetscCall(score_halves(e, k, control, &t->cells_predicted[at], &t->scores[at]));
      PetscCall(PetscArraycpy(own, change, e->genes));
      continue;
    }
    PetscCall(baseline_of_row(e, r, k, &cells));
    PetscCall(population_scores(rows->rows, real, rows->rows, cells, e->genes, control, control, &t->scores[at]));
    t->cells_predicted[at] = rows->rows;
    mean_changes(rows->rows, cells, e->genes, control, own);
    PetscCall(PetscFree(cells));
  }
  PetscCall(PetscFree(real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- analyses of all groups ------------------------------------------------------------------------------------------------------ */

/* File whose control a prediction is compared with: its own, f = -1 for the real one, of baselines and of files without. */
static PetscInt file_of_control(const Evaluation *e, PetscInt f, PetscInt control) { return f >= 0 && e->file_cells[f].cells[control] ? f : -1; }

/* Genes sorted of a control in all files, as far as they have it: kept until another is needed. Groups of one control come one after the other. */
static PetscErrorCode sort_controls(Evaluation *e, PetscInt control)
{
  PetscFunctionBeginUser;
  for (PetscInt f = -1; f < e->options->predictions; f++) {
    GeneColumns columns;

    if (e->sorted_slot[f + 1] == control || file_of_control(e, f, control) != f) continue;
    PetscCall(generuns_destroy(&e->sorted[f + 1]));
    PetscCall(genecolumns_create(f < 0 ? &e->real_cells.rows[control] : &e->file_cells[f].rows[control], e->genes, &columns));
    PetscCall(genecolumns_sort(&columns, 0, e->genes));
    PetscCall(generuns_create(&columns, &e->sorted[f + 1]));
    PetscCall(genecolumns_destroy(&columns));
    e->sorted_slot[f + 1] = control;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const GeneRuns *sorted_control(const Evaluation *e, PetscInt f, PetscInt slot)
{
  return e->contrasts ? &e->sorted[file_of_control(e, f, e->slots.paired[slot]) + 1] : NULL;
}

static PetscErrorCode analyse_row(Evaluation *e, PetscInt k, PetscInt r, ScoreTable *t, const double *real, GroupAnalysis *w)
{
  const PetscInt    slot = e->group_slot[k];
  const PetscInt64  count = e->real_cells.rows[slot].rows;
  const SparseRows *predicted = t->kind[r] == ROW_PREDICTION ? &e->file_cells[r].rows[slot] : NULL;
  PetscInt64        half;
  double           *cells;

  PetscFunctionBeginUser;
  if (t->kind[r] == ROW_CEILING) {
    PetscCall(halves_of_group(e, k, &half, &cells));
    PetscCall(analyses_row(t->analyses, t, w, r, &(AnalysedRow){.count = half, .count_real = half, .cells = cells + half * e->genes, .real = cells}));
  } else {
    if (predicted) PetscCall(dense_rows(predicted, predicted->rows, NULL, &cells));
    else PetscCall(baseline_of_row(e, r, k, &cells));
    const AnalysedRow given = {
        .count = predicted ? predicted->rows : count, .count_real = count, .cells = cells, .real = real, .control = sorted_control(e, predicted ? r : -1, slot)};
    PetscCall(analyses_row(t->analyses, t, w, r, &given));
  }
  PetscCall(PetscFree(cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode analyse_task(void *context, PetscInt64 i)
{
  const Scoring    *s = context;
  Evaluation       *e = s->e;
  ScoreTable       *t = s->t;
  const PetscInt    k = s->group[s->first + (PetscInt)i], slot = e->group_slot[k];
  const SparseRows *rows = &e->real_cells.rows[slot];
  GroupAnalysis     w;
  double           *real;

  PetscFunctionBeginUser;
  PetscCall(dense_rows(rows, rows->rows, NULL, &real));
  PetscCall(analyses_begin_group(t->analyses, t, k, rows->rows, real, sorted_control(e, -1, slot), &w));
  for (PetscInt r = 0; r < t->rows; r++) PetscCall(analyse_row(e, k, r, t, real, &w));
  PetscCall(analyses_end_group(t->analyses, t, &w, rows->rows, real));
  PetscCall(PetscFree(real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Threads that analyse groups of the batch at the same time within the memory for cells. */
static int threads_for_analyses(const Scoring *s, PetscInt count)
{
  const Evaluation *e = s->e;
  double            most = 1;

  if (!analyses_use_threads(s->t->analyses, s->t)) return 1;
  for (PetscInt i = 0; i < count; i++) {
    const PetscInt slot = e->group_slot[s->group[s->first + i]];
    PetscInt64     cells = e->real_cells.rows[slot].rows;

    for (PetscInt f = 0; f < e->options->predictions; f++) cells = PetscMax(cells, e->file_cells[f].rows[slot].rows);
    most = PetscMax(most, analyses_bytes(s->t->analyses, e->genes, cells));
  }
  return (int)PetscMax(1, PetscMin((double)threads_that_allocate(), cellmemory_of(e->options->memory).batch / most));
}

/* Groups of the batch, those of one control at a time. */
static PetscErrorCode analyse_batch(Scoring *s, PetscInt count)
{
  const PetscInt first = s->first;
  const int      threads = threads_for_analyses(s, count);

  PetscFunctionBeginUser;
  for (PetscInt begin = first, end; begin < first + count; begin = end) {
    const PetscInt control = s->e->slots.paired[s->e->group_slot[s->group[begin]]];

    for (end = begin + 1; end < first + count; end++)
      if (s->e->contrasts && s->e->slots.paired[s->e->group_slot[s->group[end]]] != control) break;
    if (s->e->contrasts) PetscCall(sort_controls(s->e, control));
    s->first = begin;
    if (threads == 1 || end - begin < threads) PetscCall(threads_each(1, end - begin, analyse_task, s));
    else PetscCall(each_group(s, threads, end - begin, analyse_task));
  }
  s->first = first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own groups, batch by batch; one batch of all where each task reads and forgets its own cells. Not collective. */
static PetscErrorCode score_own(Scoring *s)
{
  const PetscBool analysed = s->t->analyses && analyses_need_cells(s->t->analyses) ? PETSC_TRUE : PETSC_FALSE;
  const PetscBool predictions = !analysed && s->t->rows == s->e->options->predictions ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(evaluation_load_controls(s->e));
  s->frees = predictions;
  s->loads = predictions && evaluation_is_kept(s->e) ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt taken; s->first < s->count; s->first += taken) {
    taken = s->count;
    if (!s->loads) PetscCall(evaluation_load_batch(s->e, s->count - s->first, s->group + s->first, &taken));
    PetscCall(each_group(s, threads_that_allocate(), taken, predictions_task));
    if (predictions) continue;
    for (PetscInt i = s->first; i < s->first + taken; i++) PetscCall(score_others(s->e, s->group[i], s->t, s->change + (size_t)i * s->width));
    if (analysed) PetscCall(analyse_batch(s, taken));
    for (PetscInt i = s->first; i < s->first + taken; i++) PetscCall(evaluation_free_rows(s->e, s->e->group_slot[s->group[i]]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the strongest populations --------------------------------------------------------------------------------------------------- */

/* Populations shown are those that move furthest: by the norm of the real mean change. */
static PetscErrorCode choose_shown(const Scoring *s)
{
  const Evaluation *e = s->e;
  double           *strength;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(e->groups, &strength));
  for (PetscInt i = 0; i < s->count; i++)
    for (PetscInt g = 0; g < e->genes; g++) strength[s->group[i]] += PetscSqr(s->change[(size_t)i * s->width + (size_t)g]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, strength, (PetscMPIInt)e->groups, MPI_DOUBLE, MPI_SUM, e->comm));
  PetscCall(shown_choose(s->t->analyses, s->t, strength));
  PetscCall(PetscFree(strength));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some of the cells predicted for a group. */
static PetscErrorCode draw_row(Evaluation *e, PetscInt k, PetscInt r, const ScoreTable *t, ShownCells *drawn)
{
  const uint32_t key = analyses_key(t, k);
  PetscInt64     order[SHOWN_CELLS];

  PetscFunctionBeginUser;
  if (t->kind[r] == ROW_PREDICTION) {
    const SparseRows *rows = &e->file_cells[r].rows[e->group_slot[k]];

    drawn->cells = shown_order(t->analyses, key, 1, rows->rows, order);
    PetscCall(dense_rows(rows, drawn->cells, order, &drawn->x));
  } else {
    double *cells;

    PetscCall(baseline_of_row(e, r, k, &cells));
    drawn->cells = shown_order(t->analyses, key, 1, e->real_cells.rows[e->group_slot[k]].rows, order);
    PetscCall(PetscMalloc1((size_t)drawn->cells * (size_t)e->genes, &drawn->x));
    for (PetscInt i = 0; i < drawn->cells; i++) PetscCall(PetscArraycpy(drawn->x + (size_t)i * (size_t)e->genes, cells + order[i] * e->genes, e->genes));
    PetscCall(PetscFree(cells));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some cells of a group, and what figures show of them. */
static PetscErrorCode show_group(const Scoring *s, PetscInt k)
{
  const ScoreTable *t = s->t;
  const SparseRows *rows = &s->e->real_cells.rows[s->e->group_slot[k]];
  ShownGroup        drawn = {.group = k};
  PetscInt64        order[SHOWN_CELLS];

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(t->rows, &drawn.row));
  drawn.real.cells = shown_order(t->analyses, analyses_key(t, k), 0, rows->rows, order);
  PetscCall(dense_rows(rows, drawn.real.cells, order, &drawn.real.x));
  for (PetscInt r = 0; r < t->rows; r++)
    if (t->analyses->shown_row[r]) PetscCall(draw_row(s->e, k, r, t, &drawn.row[r]));
  PetscCall(shown_calibration(t->analyses, t, &drawn));
  PetscCall(shown_components(t->analyses, t, &drawn));
  PetscCall(shown_free(t, &drawn));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode shown_task(void *context, PetscInt64 i)
{
  const Scoring *s = context;
  const PetscInt k = s->shown[s->first + (PetscInt)i];

  PetscFunctionBeginUser;
  if (s->loads) PetscCall(evaluation_load_kept(s->e, k));
  PetscCall(show_group(s, k));
  PetscCall(evaluation_free_rows(s->e, s->e->group_slot[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own groups that are shown: their cells again, as in score_own. As many at a time as there are threads and memory: of each some cells of each row are held. Not collective. */
static PetscErrorCode show_own(Scoring *s)
{
  const double bytes = (double)(s->t->rows + 1) * SHOWN_CELLS * (double)s->e->genes * sizeof(double), most = cellmemory_of(s->e->options->memory).batch / bytes;
  const int    threads = (int)PetscMax(1, PetscMin((double)threads_that_allocate(), most));
  PetscInt     count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->count, &s->shown));
  for (PetscInt i = 0; i < s->count; i++)
    if (s->t->analyses->shown[s->group[i]]) s->shown[count++] = s->group[i];
  s->loads = evaluation_is_kept(s->e);
  s->first = 0;
  for (PetscInt taken; s->first < count; s->first += taken) {
    taken = count;
    if (!s->loads) PetscCall(evaluation_load_batch(s->e, PetscMin(threads, count - s->first), s->shown + s->first, &taken));
    PetscCall(each_group(s, threads, taken, shown_task));
  }
  PetscCall(PetscFree(s->shown));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- together -------------------------------------------------------------------------------------------------------------------- */

/* Changes go to rank 0 group by group, so that their sums do not depend on the number of ranks. */
static PetscErrorCode gather_changes(const Scoring *s)
{
  const Evaluation *e = s->e;
  ScoreTable       *t = s->t;
  const PetscMPIInt width = (PetscMPIInt)s->width;
  double           *change;
  PetscInt          own = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(width, &change));
  for (PetscInt k = 0; k < e->groups; k++) {
    const double *mine = e->owner[k] == e->rank ? s->change + (size_t)own++ * s->width : NULL;
    if (e->rank == 0 && !mine) PetscCallMPI(MPI_Recv(change, width, MPI_DOUBLE, e->owner[k], 0, e->comm, MPI_STATUS_IGNORE));
    if (e->rank && mine) PetscCallMPI(MPI_Send(mine, width, MPI_DOUBLE, 0, 0, e->comm));
    if (e->rank) continue;
    if (!mine) mine = change;
    if (t->analyses) PetscCall(shown_keep_changes(t->analyses, t, k, mine));
    for (PetscInt g = 0; g < e->genes; g++) t->change_real[g] += mine[g] / e->groups;
    for (PetscMPIInt i = 0; i < width - (PetscMPIInt)e->genes; i++) t->change[i] += mine[e->genes + i] / e->groups;
  }
  PetscCall(PetscFree(change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluation_score(Evaluation *e, ScoreTable *t)
{
  Scoring s = {.e = e, .t = t, .width = (size_t)(t->rows + 1) * (size_t)e->genes};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(e->groups, &s.group));
  for (PetscInt k = 0; k < e->groups; k++)
    if (e->owner[k] == e->rank) s.group[s.count++] = k;
  for (PetscInt i = 0; t->analyses && i < s.count; i++) analyses_leave_out(t->analyses, t, s.group[i]);
  PetscCall(PetscCalloc1((size_t)s.count * s.width, &s.change));
  PetscCallAgree(e->comm, score_own(&s));
  if (t->analyses && t->analyses->options->shown > 0) {
    PetscCall(choose_shown(&s));
    PetscCallAgree(e->comm, show_own(&s));
  }
  PetscCall(gather_changes(&s));
  PetscCall(PetscFree(s.change));
  PetscCall(PetscFree(s.group));
  /* Each entry is set on one rank and zero on the others: the sums are exact. */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->scores, (PetscMPIInt)(t->rows * t->groups * POPULATION_SCORES), MPI_DOUBLE, MPI_SUM, e->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->cells_predicted, (PetscMPIInt)(t->rows * t->groups), MPIU_INT64, MPI_SUM, e->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->cells_real, (PetscMPIInt)t->groups, MPIU_INT64, MPI_SUM, e->comm));
  if (t->analyses) PetscCall(analyses_join(t->analyses, t, e->owner));
  PetscFunctionReturn(PETSC_SUCCESS);
}
