/* Baselines: cells for a condition from training populations alone, without a network. */
#include "evaluation/baseline_internal.h"
#include <math.h>
#include <perturbdiff/data.h>
#include <perturbdiff/runtime.h>

const char *const baseline_name[BASELINES] = {"control", "mean_shift", "perturbation_mean", "additive", "ridge", "nearest", "cme"};

struct Baseline {
  CellStore            *store;
  const CellStoreTable *table;
  const double         *means;
  BaselineOptions       options;
  PetscInt              conditions;
  Covariates           *condition;
  BaselineWeights       weights; /* of ridge and cme */
};

/* Mean change over the training perturbations of the cell type; over all where it has none. */
static PetscErrorCode perturbation_mean_shift(const Baseline *b, const Covariates *condition, double *shift)
{
  const CellStoreTable *table = b->table;
  const PetscInt        genes = table->gene.count;
  PetscInt              count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(shift, genes));
  for (int any = 0; any < 2 && !count; any++)
    for (PetscInt k = 0; k < table->populations; k++) {
      const Population *p = &table->population[k];
      if (!baseline_teaches(table, p, condition) || (!any && p->cell_type != condition->level[1])) continue;
      const double *treated = b->means + (size_t)k * (size_t)genes, *control = b->means + (size_t)p->control * (size_t)genes;
      for (PetscInt g = 0; g < genes; g++) shift[g] += treated[g] - control[g];
      count++;
    }
  for (PetscInt g = 0; count && g < genes; g++) shift[g] /= count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Training population of the most similar perturbation, among these the one whose control mean is nearest to the condition's; -1: none resembles it. */
static PetscInt nearest_population(const Baseline *b, const Covariates *condition, PetscInt control)
{
  const CellStoreTable *table = b->table;
  const PetscInt        genes = table->gene.count, perturbation = condition->level[0];
  const double         *here = b->means + (size_t)control * (size_t)genes;
  PetscInt              nearest = -1;
  double                least = INFINITY, most = 0;

  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    const double      similar = b->options.similarity ? b->options.similarity[(size_t)perturbation * (size_t)table->perturbation.count + (size_t)p->perturbation]
                                                      : p->perturbation == perturbation;
    double            square = 0;
    if (!baseline_teaches(table, p, condition) || similar <= 0 || similar < most) continue;
    for (PetscInt g = 0; g < genes; g++) {
      const double difference = b->means[(size_t)p->control * (size_t)genes + (size_t)g] - here[g];
      square += difference * difference;
    }
    if (similar > most || square < least) {
      most = similar;
      least = square;
      nearest = k;
    }
  }
  return nearest;
}

/* count cells of a population: without replacement, and once all are used in another random order. */
static PetscErrorCode draw_cells(const CellStore *store, const Population *from, uint64_t seed, uint32_t condition, PetscInt64 count, double *cells)
{
  const PetscInt genes = cellstore_table(store)->gene.count;
  Real          *row;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(genes, &row));
  for (PetscInt64 i = 0; i < count; i++) {
    const RandomStream stream = random_stream(seed, RANDOM_EVALUATE, 1, condition, (uint32_t)(i / from->cells));
    const PetscInt64   cell = from->first_cell + (PetscInt64)random_permuted(&stream, (uint64_t)from->cells, (uint64_t)(i % from->cells));
    PetscCall(cellstore_dense(store, 1, &cell, 1, row, genes));
    for (PetscInt g = 0; g < genes; g++) cells[i * genes + g] = (double)row[g];
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Change of the mean: sum over training populations of weight times change. */
static PetscErrorCode weighted_shift(const Baseline *b, PetscInt condition, double *shift)
{
  const PetscInt genes = b->table->gene.count, n = b->weights.populations;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(shift, genes));
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt k = b->weights.population[i];
    const double   weight = b->weights.weights[(size_t)condition * (size_t)n + (size_t)i];
    const double  *treated = b->means + (size_t)k * (size_t)genes, *control = b->means + (size_t)b->table->population[k].control * (size_t)genes;
    for (PetscInt g = 0; g < genes; g++) shift[g] += weight * (treated[g] - control[g]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells of a mixture of training populations: of each the share nearest to its weight (systematic resampling), drawn without replacement. */
static PetscErrorCode mixture_cells(const Baseline *b, PetscInt condition, uint32_t key, PetscInt64 count, double *cells)
{
  const PetscInt     genes = b->table->gene.count, n = b->weights.populations;
  const RandomStream stream = random_stream(b->options.seed, RANDOM_EVALUATE, 2, key, 0);
  const double       start = random_uniform(&stream, 0);
  double             sum = 0;
  PetscInt64         done = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) {
    sum += b->weights.weights[(size_t)condition * (size_t)n + (size_t)i];
    const PetscInt64 end = i + 1 < n ? PetscMin(count, (PetscInt64)floor(sum * (double)count + start)) : count;
    if (end > done) PetscCall(draw_cells(b->store, &b->table->population[b->weights.population[i]], b->options.seed, key, end - done, cells + done * genes));
    done = PetscMax(done, end);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number of a condition that its draws are keyed by. */
static uint32_t condition_number(const CellStoreTable *table, const Covariates *c)
{
  return (uint32_t)((c->level[0] * table->cell_type.count + c->level[1]) * table->batch.count + c->level[2]);
}

static PetscErrorCode condition_shift(const Baseline *b, PetscInt condition, double *shift)
{
  const Covariates *c = &b->condition[condition];
  PetscInt          averaged;

  PetscFunctionBeginUser;
  if (b->options.method == BASELINE_MEAN_SHIFT) PetscCall(center_shift(b->table, b->means, NULL, c->level[0], c->level[1], c->level[2], shift, &averaged));
  else if (b->options.method == BASELINE_PERTURBATION_MEAN) PetscCall(perturbation_mean_shift(b, c, shift));
  else if (b->options.method == BASELINE_ADDITIVE) PetscCall(baseline_additive_shift(b->table, b->means, c, shift));
  else PetscCall(weighted_shift(b, condition, shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_cells(const Baseline *b, PetscInt condition, PetscInt64 count, double *cells)
{
  const CellStoreTable *table = b->table;
  const Covariates     *c = &b->condition[condition];
  const BaselineMethod  method = b->options.method;
  const PetscInt        genes = table->gene.count, control = control_pair(table, c->level[1], c->level[2]);
  const uint32_t        key = condition_number(table, c);
  PetscInt              from = control;
  double               *shift;

  PetscFunctionBeginUser;
  if (method == BASELINE_CME && b->weights.populations > 1) {
    PetscCall(mixture_cells(b, condition, key, count, cells));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (method == BASELINE_NEAREST) {
    const PetscInt nearest = nearest_population(b, c, control);
    if (nearest >= 0) from = nearest;
  }
  PetscCall(draw_cells(b->store, &table->population[from], b->options.seed, key, count, cells));
  if (method == BASELINE_CONTROL || method == BASELINE_NEAREST || method == BASELINE_CME) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(genes, &shift));
  PetscCall(condition_shift(b, condition, shift));
  for (PetscInt64 i = 0; i < count; i++)
    for (PetscInt g = 0; g < genes; g++) cells[i * genes + g] = PetscMax(cells[i * genes + g] + shift[g], 0);
  PetscCall(PetscFree(shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_conditions(const CellStore *store, PetscInt conditions, const Covariates *condition)
{
  const CellStoreTable *table = cellstore_table(store);

  for (PetscInt i = 0; i < conditions; i++) {
    const PetscInt control = control_pair(table, condition[i].level[1], condition[i].level[2]);
    if (control < 0 || !table->population[control].cells)
      return error_user("%s: no control cells for cell type '%s' and batch '%s'", cellstore_path(store), table->cell_type.name[condition[i].level[1]],
                        table->batch.name[condition[i].level[2]]);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode baseline_create(MPI_Comm comm, CellStore *store, const double *means, const BaselineOptions *options, PetscInt conditions, const Covariates *condition,
                               Baseline **baseline)
{
  Baseline *b;

  PetscFunctionBeginUser;
  *baseline = NULL;
  PetscCall(check_conditions(store, conditions, condition));
  PetscCall(PetscNew(&b));
  *baseline = b;
  b->store = store;
  b->table = cellstore_table(store);
  b->means = means;
  b->options = *options;
  b->conditions = conditions;
  PetscCall(PetscMalloc1(conditions, &b->condition));
  PetscCall(PetscArraycpy(b->condition, condition, conditions));
  if (options->method == BASELINE_RIDGE) PetscCall(baseline_ridge_weights(comm, store, means, options, conditions, condition, &b->weights));
  if (options->method == BASELINE_CME) PetscCall(baseline_cme_weights(comm, store, options, conditions, condition, &b->weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_destroy(Baseline **baseline)
{
  PetscFunctionBeginUser;
  if (!*baseline) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(baseline_weights_free(&(*baseline)->weights));
  PetscCall(PetscFree((*baseline)->condition));
  PetscCall(PetscFree(*baseline));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *baseline_note(const Baseline *baseline) { return baseline->weights.note; }
