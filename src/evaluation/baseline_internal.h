/* Shared between the baselines (internal to the room). */
#ifndef EVALUATION_BASELINE_INTERNAL_H
#define EVALUATION_BASELINE_INTERNAL_H

#include <perturbdiff/evaluation/baseline.h>

/* A perturbed population that may be learnt from, other than the condition itself (NULL: any). */
static inline PetscBool baseline_teaches(const CellStoreTable *table, const Population *p, const Covariates *condition)
{
  const PetscBool itself = condition && p->perturbation == condition->level[0] && p->cell_type == condition->level[1] && p->batch == condition->level[2] ? PETSC_TRUE : PETSC_FALSE;
  return p->split == SPLIT_TRAIN && p->perturbation != table->control && p->control >= 0 && p->cells && !itself ? PETSC_TRUE : PETSC_FALSE;
}

/* What the regressions predict for each condition: a weight of every training population. */
typedef struct {
  PetscInt    populations;
  PetscInt   *population; /* (populations) index in the store */
  Covariates *covariates; /* (populations) */
  double     *weights;    /* (conditions, populations); of cme: of the mixture */
  char        note[160];
} BaselineWeights;

/* Collective, the same on all ranks. With fewer than two training populations the weights are zero. */
PetscErrorCode baseline_ridge_weights(MPI_Comm comm, const CellStore *store, const double *means, const BaselineOptions *options, PetscInt conditions, const Covariates *condition,
                                      BaselineWeights *result);
PetscErrorCode baseline_cme_weights(MPI_Comm comm, const CellStore *store, const BaselineOptions *options, PetscInt conditions, const Covariates *condition, BaselineWeights *result);
PetscErrorCode baseline_weights_free(BaselineWeights *weights);

#endif
