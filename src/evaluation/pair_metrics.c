/* Metrics of cell-eval of all rows of a score table, side by side. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>

PetscBool metric_shared(Metric metric) { return metric == SPEARMAN_SIG || metric == PEARSON_EDISTANCE ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode pairmetrics_create(const ScoreTable *t, PetscInt types, PetscInt predictions, PairMetrics **made)
{
  PairMetrics *m;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(made));
  m = *made;
  m->rows = t->rows;
  m->types = types;
  PetscCall(PetscMalloc2(t->groups, &m->perturbation, t->groups, &m->cell_type));
  /* Populations of one perturbation and cell type, of several batches, are one. */
  for (PetscInt k = 0; k < t->groups; k++) {
    PetscInt j = 0;
    while (j < m->groups && (strcmp(m->perturbation[j], t->label[0][k]) || strcmp(m->cell_type[j], t->label[1][k]))) j++;
    if (j < m->groups) continue;
    m->perturbation[m->groups] = t->label[0][k];
    m->cell_type[m->groups++] = t->label[1][k];
  }
  const size_t values = (size_t)m->rows * (size_t)m->groups * METRICS;
  PetscCall(PetscMalloc1(values, &m->value));
  for (size_t i = 0; i < values; i++) m->value[i] = NAN;
  PetscCall(PetscCalloc1(types, &m->real));
  m->genes = t->genes;
  m->sides = predictions ? 1 + predictions : 0;
  const size_t sums = (size_t)m->sides * (size_t)m->groups;
  PetscCall(PetscMalloc3(sums * (size_t)m->genes, &m->mean, sums, &m->within, sums, &m->across));
  for (size_t i = 0; i < sums; i++) m->within[i] = m->across[i] = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairmetrics_release(PairMetrics *m)
{
  PetscFunctionBeginUser;
  for (PetscInt t = 0; m->real && t < m->types; t++) {
    RealSummary *real = &m->real[t];

    if (real->there) {
      PetscCall(filesummary_destroy(&real->summary));
      PetscCall(deal_destroy(&real->deal));
    }
    if (real->halved) {
      PetscCall(PetscFree(real->ceiling.label));
      PetscCall(metrictable_destroy(&real->ceiling));
    }
  }
  PetscCall(PetscFree(m->real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairmetrics_destroy(PairMetrics **metrics)
{
  PetscFunctionBeginUser;
  if (!*metrics) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(pairmetrics_release(*metrics));
  PetscCall(PetscFree2((*metrics)->perturbation, (*metrics)->cell_type));
  PetscCall(PetscFree((*metrics)->value));
  PetscCall(PetscFree3((*metrics)->mean, (*metrics)->within, (*metrics)->across));
  PetscCall(PetscFree(*metrics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The group of a perturbation, -1: none. Both are sorted, about: the one after `last` is looked at first. */
static PetscInt group_of(const PairMetrics *m, const char *perturbation, const char *cell_type, PetscInt last)
{
  for (PetscInt tried = 0, k = last; tried < m->groups; tried++, k = (k + 1) % m->groups)
    if (!strcmp(m->perturbation[k], perturbation) && !strcmp(m->cell_type[k], cell_type)) return k;
  return -1;
}

PetscErrorCode pairmetrics_keep(PairMetrics *m, PetscInt row, const char *cell_type, const MetricTable *table)
{
  PetscFunctionBeginUser;
  for (PetscInt p = 0, last = 0; p < table->perturbations; p++) {
    const PetscInt k = group_of(m, table->label[p], cell_type, last);

    if (k < 0) continue;
    last = k;
    for (int i = 0; i < METRICS; i++) {
      const size_t from = (size_t)p * METRICS + (size_t)i;
      if (table->present[i] && !table->missing[from]) m->value[((size_t)row * (size_t)m->groups + (size_t)k) * METRICS + (size_t)i] = table->value[from];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode keep_side(PairMetrics *m, PetscInt side, PetscInt group, const PopulationSums *sums, PetscInt p)
{
  const size_t at = (size_t)side * (size_t)m->groups + (size_t)group, genes = (size_t)m->genes;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(m->mean + at * genes, sums->mean + (size_t)p * genes, genes));
  m->within[at] = sums->within[p];
  if (sums->across) m->across[at] = sums->across[p];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairmetrics_keep_sums(PairMetrics *m, PetscInt row, const char *cell_type, const MetricTable *table, const PopulationSums *real, const PopulationSums *predicted)
{
  PetscFunctionBeginUser;
  if (row + 1 >= m->sides || !real->within || !predicted->across) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt p = 0, last = 0; p < table->perturbations; p++) {
    const PetscInt k = group_of(m, table->label[p], cell_type, last);

    if (k < 0) continue;
    last = k;
    PetscCall(keep_side(m, 0, k, real, p));
    PetscCall(keep_side(m, 1 + row, k, predicted, p));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool pairmetrics_found(const PairMetrics *m, PetscInt row, PetscInt group, const double **real, const double **predicted, double *energy_distance)
{
  if (!m || row + 1 >= m->sides) return PETSC_FALSE;
  const size_t at = (size_t)(1 + row) * (size_t)m->groups + (size_t)group;

  if (isnan(m->across[at])) return PETSC_FALSE;
  *real = m->mean + (size_t)group * (size_t)m->genes;
  *predicted = m->mean + at * (size_t)m->genes;
  *energy_distance = 2 * m->across[at] - m->within[group] - m->within[at];
  return PETSC_TRUE;
}
