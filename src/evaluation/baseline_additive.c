/* The additive baseline: mean changes as effects of perturbation and cell type, by least squares. */
#include "evaluation/baseline_internal.h"
#include <perturbdiff/runtime.h>
#include <petscblaslapack.h>

/* Normal equations of b after a is eliminated: (N - n n'/n_p) b = sums about the mean of each perturbation; n[p][c] populations, N their sums over p.
   matrix (C,C) and right (G,C) row-major, right being column-major (C,G) for LAPACK. */
static PetscErrorCode additive_equations(const CellStoreTable *table, const double *means, const Covariates *condition, double *matrix, double *right)
{
  const PetscInt types = table->cell_type.count, genes = table->gene.count, treatments = table->perturbation.count;
  double        *count, *mean;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)treatments * types, &count, genes, &mean));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    if (baseline_teaches(table, p, condition)) count[p->perturbation * types + p->cell_type]++;
  }
  for (PetscInt t = 0; t < treatments; t++) {
    const double *n = count + (size_t)t * types;
    double        total = 0;

    for (PetscInt c = 0; c < types; c++) total += n[c];
    if (total == 0) continue;
    for (PetscInt c = 0; c < types; c++) {
      matrix[c * types + c] += n[c];
      for (PetscInt d = 0; d < types; d++) matrix[c * types + d] -= n[c] * n[d] / total;
    }
    PetscCall(PetscArrayzero(mean, genes));
    for (PetscInt k = 0; k < table->populations; k++) {
      const Population *p = &table->population[k];
      if (p->perturbation != t || !baseline_teaches(table, p, condition)) continue;
      const double *treated = means + (size_t)k * genes, *control = means + (size_t)p->control * genes;
      for (PetscInt g = 0; g < genes; g++) {
        mean[g] += (treated[g] - control[g]) / total;
        right[(size_t)g * types + p->cell_type] += treated[g] - control[g];
      }
    }
    for (PetscInt g = 0; g < genes; g++)
      for (PetscInt c = 0; c < types; c++) right[(size_t)g * types + c] -= n[c] * mean[g];
  }
  PetscCall(PetscFree2(count, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Least-squares solution of smallest norm: the level that a and b share goes to a, and b of a cell type without populations is zero. */
static PetscErrorCode solve_smallest(PetscInt n, PetscInt columns, double *matrix, double *right)
{
  PetscBLASInt order, sides, lwork, rank, info;
  double      *singular, *work, cut = 1e-10;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &order));
  PetscCall(PetscBLASIntCast(columns, &sides));
  lwork = 5 * order + PetscMax(2 * order, sides);
  PetscCall(PetscMalloc2(order, &singular, lwork, &work));
  PetscCallBLAS("LAPACKgelss", LAPACKgelss_(&order, &order, &sides, matrix, &order, right, &order, singular, &cut, &rank, work, &lwork, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK gelss: info %d", (int)info);
  PetscCall(PetscFree2(singular, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_additive_shift(const CellStoreTable *table, const double *means, const Covariates *condition, double *shift)
{
  const PetscInt perturbation = condition->level[0], cell_type = condition->level[1];
  const PetscInt types = table->cell_type.count, genes = table->gene.count;
  double        *matrix, *effect;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)types * types, &matrix, (size_t)types * genes, &effect));
  PetscCall(additive_equations(table, means, condition, matrix, effect));
  PetscCall(solve_smallest(types, genes, matrix, effect));
  /* a_p = mean over the populations of p of (change - b). */
  PetscCall(PetscArrayzero(shift, genes));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    if (p->perturbation != perturbation || !baseline_teaches(table, p, condition)) continue;
    const double *treated = means + (size_t)k * genes, *control = means + (size_t)p->control * genes;
    for (PetscInt g = 0; g < genes; g++) shift[g] += treated[g] - control[g] - effect[(size_t)g * types + p->cell_type];
    count++;
  }
  for (PetscInt g = 0; g < genes; g++) shift[g] = (count ? shift[g] / count : 0) + effect[(size_t)g * types + cell_type];
  PetscCall(PetscFree2(matrix, effect));
  PetscFunctionReturn(PETSC_SUCCESS);
}

