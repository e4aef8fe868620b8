/* Metrics of cell-eval of all rows of a score table, side by side. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>

PetscBool metric_shared(Metric metric) { return metric == SPEARMAN_SIG || metric == PEARSON_EDISTANCE ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode pairmetrics_create(const ScoreTable *t, PetscInt types, PairMetrics **made)
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
  PetscCall(PetscFree(*metrics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairmetrics_keep(PairMetrics *m, PetscInt row, const char *cell_type, const MetricTable *table)
{
  PetscFunctionBeginUser;
  for (PetscInt p = 0, k = 0; p < table->perturbations; p++) {
    /* Both are sorted, about: the next one is looked at first. */
    PetscInt tried = 0;
    while (tried < m->groups && (strcmp(m->perturbation[k], table->label[p]) || strcmp(m->cell_type[k], cell_type))) {
      k = (k + 1) % m->groups;
      tried++;
    }
    if (tried == m->groups) continue;
    for (int i = 0; i < METRICS; i++) {
      const size_t from = (size_t)p * METRICS + (size_t)i;
      if (table->present[i] && !table->missing[from]) m->value[((size_t)row * (size_t)m->groups + (size_t)k) * METRICS + (size_t)i] = table->value[from];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
