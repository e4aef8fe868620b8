/* Genes of one population against its control. */
#include <float.h>
#include <math.h>
#include <perturbdiff/evaluation/contrast.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime/error.h>

PetscErrorCode contrast_create(const GeneColumns *population, const GeneRuns *control, GeneContrast *c)
{
  PetscFunctionBeginUser;
  c->genes = population->genes;
  PetscCall(PetscMalloc3(c->genes, &c->p_value, c->genes, &c->fdr, c->genes, &c->score));
  for (PetscInt g = 0; g < c->genes; g++) {
    double u;

    rank_sum_test(population, control, g, &u, &c->p_value[g]);
    const double middle = (double)population->cells * (double)control->cells / 2, size = -log10(PetscMax(c->p_value[g], DBL_MIN));
    c->score[g] = u > middle ? size : u < middle ? -size : 0;
  }
  PetscCall(false_discovery_rates(c->genes, c->p_value, NULL, c->fdr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode contrast_destroy(GeneContrast *c)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(c->p_value, c->fdr, c->score));
  PetscFunctionReturn(PETSC_SUCCESS);
}
