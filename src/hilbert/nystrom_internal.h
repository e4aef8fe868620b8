/* Kernel values of cells with landmarks, streamed; runs of cells that stand for their groups. */
#ifndef HILBERT_NYSTROM_INTERNAL_H
#define HILBERT_NYSTROM_INTERNAL_H

#include <perturbdiff/hilbert/nystrom.h>

/* What random streams of RANDOM_EMBED are for (their step; 0: cells sampled for the median). Append only. */
enum { STREAM_LANDMARKS = 16, STREAM_PILOT, STREAM_LEVERAGE, STREAM_GROUPS, STREAM_RUNS };

/* k of some cells with all landmarks. */
typedef struct {
  PetscInt64    first; /* position of the first cell */
  PetscInt      cells;
  const double *square; /* (cells) |x|^2 */
  double       *values; /* (cells, m) row-major; the visitor may overwrite it */
} KernelBlock;
typedef PetscErrorCode (*KernelVisitor)(void *context, const KernelBlock *block);

/* nystrom_visit - cells at positions [first, first + count) in blocks. Inside the products and maps the OpenMP threads work; visit is called by one thread. Not collective. */
PetscErrorCode nystrom_visit(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, KernelVisitor visit, void *context);

/* Bytes of the blocks of a visit. */
double nystrom_visit_bytes(PetscInt64 m, PetscInt dimension);

/* nystrom_load - rows and norms of the landmarks; everything of nystrom_create but the factor. Not collective. */
PetscErrorCode nystrom_load(const Kernel *kernel, ProductPrecision precision, PetscInt groups, const CellGroup *group, PetscInt m, const PetscInt64 *landmark, Nystrom *nystrom);
/* nystrom_kernel_matrix - K_mm, its lower triangle, created here; mean of its diagonal. Collective. */
PetscErrorCode nystrom_kernel_matrix(const BlockGrid *grid, const Nystrom *nystrom, BlockMatrix *matrix, double *diagonal_mean);

/* nystrom_kernel_means - means of k_m over groups, (groups, m), created here: nystrom_embeddings before the solve. Collective. */
PetscErrorCode nystrom_kernel_means(const Nystrom *nystrom, PetscInt groups, const CellGroup *group, BlockMatrix *means, double *self);

/* sample_run - a run of at most `most` cells of the group, its start keyed by seed and index. */
CellGroup sample_run(const CellGroup *group, PetscInt64 most, uint64_t seed, PetscInt index);

#endif
