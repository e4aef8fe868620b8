/* Genes of one population against its control: what questions and gene sets are answered from. */
#ifndef PERTURBDIFF_EVALUATION_CONTRAST_H
#define PERTURBDIFF_EVALUATION_CONTRAST_H

#include <perturbdiff/evaluation/differential.h>

/* Rank-sum test of every gene (differential.h) with its false discovery rate over the genes; score = -log10 p with the sign of U - n1 n2 / 2, 0 where p is 1:
   positive where the gene is higher in the population. p below the least double counts as that. */
typedef struct {
  PetscInt genes;
  double  *p_value, *fdr, *score;
} GeneContrast;

/* contrast_create - of a population, its genes sorted, against a control with the same genes; arrays (genes) are the contrast's. contrast_significant: as differential_significant. Not collective. */
PetscErrorCode contrast_create(const GeneColumns *population, const GeneRuns *control, GeneContrast *contrast);
PetscErrorCode contrast_destroy(GeneContrast *contrast);
static inline PetscBool contrast_significant(const GeneContrast *contrast, PetscInt gene)
{
  return (float)contrast->fdr[gene] < DIFFERENTIAL_SIGNIFICANT ? PETSC_TRUE : PETSC_FALSE;
}

#endif
