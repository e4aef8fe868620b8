/* Nystrom features of a kernel: cells seen through their kernel values with m landmark cells (Williams & Seeger 2001; HILBERT, "What embed computes", 2). */
#ifndef PERTURBDIFF_HILBERT_NYSTROM_H
#define PERTURBDIFF_HILBERT_NYSTROM_H

#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/hilbert/kernel.h>

typedef enum {
  LANDMARKS_UNIFORM,    /* every cell equally likely, without replacement */
  LANDMARKS_STRATIFIED, /* equal numbers from every group, all cells of groups that have fewer */
  LANDMARKS_LEVERAGE    /* without replacement by approximate ridge leverage scores */
} LandmarkChoice;

/* landmarks_choose - positions of m cells over the groups laid end to end, ascending, keyed by seed and position, the same on all ranks. Leverage of a cell from a uniform
   pilot set of s = min(n, 1024) cells, l(x) = (k(x,x) - k_s(x)' (K_ss + lambda s I)^-1 k_s(x)) / (lambda n), at most 1 (Rudi et al. 2018, "On fast leverage score sampling",
   arXiv 1810.13258, eq. 3; Alaoui & Mahoney 2015, arXiv 1411.0306), lambda where the pilot set's effective dimension is q / log q, q = min(m, s); drawn by the largest
   log(u) / l(x) (Efraimidis & Spirakis 2006). Collective on comm. User error: m above the number of cells. */
PetscErrorCode landmarks_choose(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, LandmarkChoice choice, PetscInt m, uint64_t seed, PetscInt64 *landmark);
/* Bytes a rank needs for the choice by leverage among n cells. */
double landmarks_bytes(MPI_Comm comm, PetscInt64 cells, PetscInt dimension, PetscInt m);

/* Products of cells and landmarks in double, or single, with distances below 3 % of |x|^2 + |y|^2 from the cells themselves in double. */
typedef enum { PRODUCTS_DOUBLE, PRODUCTS_SINGLE } ProductPrecision;

/* phi(x) = L^-1 k_m(x), L L' = K_mm + jitter I, so that phi(x)'phi(y) is k projected on the landmarks' span. */
typedef struct {
  Kernel           kernel;
  ProductPrecision precision;
  PetscInt         landmarks, dimension;
  PetscInt64      *landmark; /* (m) positions, ascending */
  double          *rows;     /* (m, dimension) on every rank */
  double          *square;   /* (m) */
  void            *single;   /* rows as Real, for PRODUCTS_SINGLE */
  double           jitter;   /* added to the diagonal; 0 where K_mm is positive definite to m times the rounding unit */
  BlockMatrix      factor;   /* (m,m) L, zeros above the diagonal */
  PetscBool        progress; /* set by the caller: rank 0 says how far embeddings are, and the time left */
} Nystrom;

/* nystrom_create - landmarks by position in the groups. jitter: 0, else the first of 1e-12, 1e-11, ... (single precision from 1e-7 on: above the noise of the products)
   times the mean of the diagonal with which K_mm has a Cholesky factor. grid: lives longer than the result. Collective on grid->comm. User error: damaged store, no factor with
   any jitter. nystrom_destroy: safe on a zeroed one. */
PetscErrorCode nystrom_create(const BlockGrid *grid, const Kernel *kernel, ProductPrecision precision, PetscInt groups, const CellGroup *group, PetscInt m, const PetscInt64 *landmark,
                              Nystrom *nystrom);
PetscErrorCode nystrom_destroy(Nystrom *nystrom);
/* Bytes a rank needs: nystrom_create, and a pass over `cells` cells of `groups` groups into embeddings. */
double nystrom_bytes(const BlockGrid *grid, PetscInt64 m, PetscInt dimension, PetscInt64 groups);

/* nystrom_embeddings - mean of phi over each group, (groups, m), created here; self (groups; may be NULL): mean of k(x,x). Cells are dealt over the ranks and read once; the mean of
   L^-1 k_m is L^-1 of the mean, so that one solve with a right side a group is enough. Collective. */
PetscErrorCode nystrom_embeddings(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, BlockMatrix *embeddings, double *self);
/* nystrom_gram - Gram matrix of embeddings, (groups, groups), created here. Collective. */
PetscErrorCode nystrom_gram(const BlockMatrix *embeddings, BlockMatrix *gram);
/* nystrom_features - phi of the cells at positions [first, first + count), (count, m), created here. Collective. */
PetscErrorCode nystrom_features(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, BlockMatrix *features);
/* nystrom_covariance - covariance operator of cells within groups in the coordinates phi, (m,m), created here: mean over groups of the covariance (divisor n) of phi over a run of at
   most `most` cells of each, its start keyed by seed. Collective; a rank needs m^2 doubles. */
PetscErrorCode nystrom_covariance(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, PetscInt64 most, uint64_t seed, BlockMatrix *covariance);
/* nystrom_values - value[(x - first) * functions + a] = sum_j coefficient[j * functions + a] k(x, landmark j) - constant[a] of this rank's cells, positions [first, first + count) by
   share_of of all cells. Not collective but for the agreement on errors on comm. */
PetscErrorCode nystrom_values(MPI_Comm comm, const Nystrom *nystrom, PetscInt groups, const CellGroup *group, PetscInt functions, const double *coefficient, const double *constant,
                              double *value);

/* How far the projected Gram matrix is from the exact one, on runs of cells (keyed by seed) of some groups. */
typedef struct {
  PetscInt   groups;
  PetscInt64 cells;
  double     gram;     /* |G - G'| / |G|, Frobenius norm over the sampled groups */
  double     mmd;      /* largest |MMD^2 - MMD'^2| / largest MMD^2; 0 for one group */
  double     residual; /* mean of k(x,x) - |phi(x)|^2 over the mean of k(x,x): the part of a cell's squared norm outside the landmarks' span */
} NystromError;

/* nystrom_error - exact sums over all pairs of at most `groups_most` groups, `cells_most` cells of each. Collective. */
PetscErrorCode nystrom_error(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, PetscInt groups_most, PetscInt64 cells_most, uint64_t seed, NystromError *error);

#endif
