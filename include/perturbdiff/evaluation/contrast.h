/* Genes of one population against its control: what questions and gene sets are answered from. */
#ifndef PERTURBDIFF_EVALUATION_CONTRAST_H
#define PERTURBDIFF_EVALUATION_CONTRAST_H

#include <perturbdiff/data/anndata.h>
#include <perturbdiff/evaluation/differential.h>

/* Values above zero of every gene, ascending. */
typedef struct {
  PetscInt64 cells;
  PetscInt   genes;
  int64_t   *offset; /* (genes + 1) */
  double    *value;
} SortedGenes;

/* sortedgenes_create - from rows whose columns are the genes, in any order. sortedgenes_of_dense - from (cells, genes). Not collective. */
PetscErrorCode sortedgenes_create(const SparseRows *rows, PetscInt genes, SortedGenes *sorted);
PetscErrorCode sortedgenes_of_dense(PetscInt64 cells, const double *rows, PetscInt genes, SortedGenes *sorted);
PetscErrorCode sortedgenes_destroy(SortedGenes *sorted);

/* Rank-sum test of every gene (differential.h) with its false discovery rate over the genes; score = -log10 p with the sign of U - n1 n2 / 2, 0 where p is 1:
   positive where the gene is higher in the population. p below the least double counts as that. */
typedef struct {
  PetscInt genes;
  double  *p_value, *fdr, *score;
} GeneContrast;

/* contrast_create - of two populations on the same genes; arrays (genes) are the contrast's. contrast_significant: as differential_significant. Not collective. */
PetscErrorCode contrast_create(const SortedGenes *population, const SortedGenes *control, GeneContrast *contrast);
PetscErrorCode contrast_destroy(GeneContrast *contrast);
static inline PetscBool contrast_significant(const GeneContrast *contrast, PetscInt gene)
{
  return (float)contrast->fdr[gene] < DIFFERENTIAL_SIGNIFICANT ? PETSC_TRUE : PETSC_FALSE;
}

#endif
