/* Differential expression of perturbed cells against control cells: a table of (target, gene) rows, its computation and its file
   (METRICS, "On differential expression"). */
#ifndef PERTURBDIFF_EVALUATION_DIFFERENTIAL_H
#define PERTURBDIFF_EVALUATION_DIFFERENTIAL_H

#include <perturbdiff/evaluation/genecolumns.h>

/* Rows (target, gene) at [t * genes + g]. Owned by the table. */
typedef struct {
  PetscInt       targets, genes;
  char         **target, **gene;                            /* (targets) in the order of the file, (genes) */
  PetscInt64    *target_cells, *reference_cells;            /* (targets) cells of the perturbation and of the control */
  double        *target_mean, *reference_mean;              /* (targets, genes) geometric means in counts: expm1(mean of log1p values) */
  double        *log2_fold_change, *percent_change;         /* infinite where only the reference is 0 or only the target; 0 where both are */
  double        *p_value, *statistic, *fdr;                 /* two-sided Wilcoxon rank-sum; U of the perturbed cells; Benjamini-Hochberg */
  unsigned char *dropped;                                   /* (targets, genes) 1: no such row (low counts, or not in a file that was read) */
  PetscBool      single;                                    /* means were computed in single precision and are written so */
} DifferentialTable;

/* False discovery rate below which a gene counts as differentially expressed. */
#define DIFFERENTIAL_SIGNIFICANT 0.05f

/* differential_create - a table whose values are not set (numbers of cells are zero), without rows dropped; names are copied. differential_drop_all - zeros in all rows, which are dropped. Not
   collective. */
PetscErrorCode differential_create(PetscInt targets, char *const *target, PetscInt genes, char *const *gene, DifferentialTable *table);
void           differential_drop_all(DifferentialTable *table);
PetscErrorCode differential_destroy(DifferentialTable *table);

/* Row of a target, -1: none. */
PetscInt differential_target(const DifferentialTable *table, const char *target);

/* Is the gene significant for the target? Compared in single precision, as cell-eval does. */
static inline PetscBool differential_significant(const DifferentialTable *table, PetscInt target, PetscInt gene)
{
  const size_t at = (size_t)target * (size_t)table->genes + (size_t)gene;
  return !table->dropped[at] && (float)table->fdr[at] < DIFFERENTIAL_SIGNIFICANT ? PETSC_TRUE : PETSC_FALSE;
}

/* differential_read - such a file, or any CSV with the columns target, feature, log2_fold_change, p_value and fdr (others may be
   missing and are then NaN); the same table on all ranks, targets and genes in the order of first appearance. Collective. User errors:
   columns missing, a row twice, values that are not numbers. */
PetscErrorCode differential_read(MPI_Comm comm, const char *path, DifferentialTable *table);

/* rank_sum_test - Mann-Whitney U of a gene's values in a, sorted, against b, and its two-sided p-value: normal approximation, corrected for ties and by 1/2 for continuity, 1 where all
   values are equal. Not collective. */
void rank_sum_test(const GeneColumns *a, const GeneRuns *b, PetscInt gene, double *u, double *p_value);

#endif
