/* Gram matrix of the mean embeddings of populations, K_ij = <mu_i, mu_j> = mean of k over the pairs of cells of i and j, and the discrepancies it gives
   (HILBERT, "What embed computes", 1). */
#ifndef PERTURBDIFF_HILBERT_GRAM_H
#define PERTURBDIFF_HILBERT_GRAM_H

#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/hilbert/kernel.h>
#include <perturbdiff/hilbert/pairs.h>

typedef struct {
  PetscInt    populations;
  PetscInt64 *cells;    /* (N) */
  Kernel      kernel;
  double     *self;     /* (N) mean of k(x,x) over a population's cells */
  BlockMatrix product;  /* (N,N) K: V-statistics, a cell with itself included */
  BlockMatrix distance; /* (N,N) mean Euclidean distance of all pairs */
} Gram;

/* V: a cell paired with itself counts (never negative); U: it does not (unbiased, may be negative). */
typedef enum { STATISTIC_V, STATISTIC_U } Statistic;

/* gram_assemble - K and mean distances of the groups in one pass over all pairs. Memory: pairs_bytes(plan) + gram_bytes. Collective on grid->comm. Results do not
   depend on the ranks but by rounding (1e-12). gram_destroy: safe on a zeroed one. */
PetscErrorCode gram_assemble(const BlockGrid *grid, const Kernel *kernel, PetscInt groups, const CellGroup *group, const PairPlan *plan, Gram *gram);
PetscErrorCode gram_destroy(Gram *gram);
double         gram_bytes(const BlockGrid *grid, PetscInt64 populations);

/* gram_mmd - MMD^2_ij = K_ii + K_jj - 2 K_ij (Gretton et al. 2012, JMLR 13, eq. 5); for STATISTIC_U K_ii without the pairs of a cell with itself (eq. 3). Zero on the diagonal.
   Created here, destroyed by the caller. Collective. Program error: STATISTIC_U with a population of one cell. */
PetscErrorCode gram_mmd(const Gram *gram, Statistic statistic, BlockMatrix *mmd);
/* gram_energy - energy distance 2 D_ij - D_ii - D_jj, D mean distances: pertpy's edistance. Created here. Collective. */
PetscErrorCode gram_energy(const Gram *gram, BlockMatrix *energy);

#endif
