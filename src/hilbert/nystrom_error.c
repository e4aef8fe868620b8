/* What the landmarks leave out, on a sample; the covariance operator within groups. */
#include "hilbert/nystrom_internal.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/random.h>

/* Bytes of a panel of the covariance that every rank sums. */
enum { PANEL_BYTES = 1 << 25 };

static double mmd(const double *gram, PetscInt n, PetscInt i, PetscInt j)
{
  return gram[(size_t)i * (size_t)n + (size_t)i] + gram[(size_t)j * (size_t)n + (size_t)j] - 2 * gram[(size_t)i * (size_t)n + (size_t)j];
}

/* Sampled groups: all, or `most` drawn without replacement. */
static PetscErrorCode sample_groups(PetscInt groups, const CellGroup *group, PetscInt most, PetscInt64 cells, uint64_t seed, CellGroup *sample)
{
  const RandomStream stream = random_stream(seed, RANDOM_EMBED, STREAM_GROUPS, 0, 0);

  for (PetscInt k = 0; k < most; k++) {
    const PetscInt i = groups > most ? (PetscInt)random_permuted(&stream, (uint64_t)groups, (uint64_t)k) : k;
    sample[k]        = sample_run(&group[i], cells, seed, i);
  }
  return PETSC_SUCCESS;
}

/* Mean of |phi|^2 over all sampled cells, a few at a time. */
static PetscErrorCode mean_square(const Nystrom *n, PetscInt groups, const CellGroup *group, double *mean)
{
  enum { AT_ONCE = 1024 };
  const PetscInt64 cells = groups_cells(groups, group);
  double           sum   = 0;

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < cells; first += AT_ONCE) {
    BlockMatrix features;
    PetscCall(nystrom_features(n, groups, group, first, PetscMin(AT_ONCE, cells - first), &features));
    for (int j = 0; j < features.local_columns; j++) {
      const double *column = features.values + (size_t)j * (size_t)features.ld;
      sum += cblas_ddot(features.local_rows, column, 1, column, 1);
    }
    PetscCall(blockmatrix_destroy(&features));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, n->factor.grid->comm));
  *mean = sum / (double)cells;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_error(const Nystrom *n, PetscInt groups, const CellGroup *group, PetscInt groups_most, PetscInt64 cells_most, uint64_t seed, NystromError *error)
{
  const PetscInt count = PetscMin(groups, groups_most);
  CellGroup     *sample;
  BlockMatrix    embeddings, product;
  double        *exact, *projected, *self, square = 0, total = 0, wrong = 0, size = 0, worst = 0, largest = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(count, &sample, count * count, &exact, count * count, &projected, count, &self));
  PetscCall(sample_groups(groups, group, count, cells_most, seed, sample));
  *error = (NystromError){.groups = count, .cells = groups_cells(count, sample)};
  PetscCall(kernel_means(n->factor.grid->comm, &n->kernel, count, sample, exact, self));
  PetscCall(nystrom_embeddings(n, count, sample, &embeddings, NULL));
  PetscCall(nystrom_gram(&embeddings, &product));
  PetscCall(blockmatrix_replicate(&product, 0, count, projected));
  for (PetscInt i = 0; i < count; i++) {
    total += self[i] * (double)sample[i].cells;
    for (PetscInt j = 0; j < count; j++) {
      const size_t at = (size_t)i * (size_t)count + (size_t)j;
      wrong += (exact[at] - projected[at]) * (exact[at] - projected[at]);
      size += exact[at] * exact[at];
      worst   = PetscMax(worst, fabs(mmd(exact, count, i, j) - mmd(projected, count, i, j)));
      largest = PetscMax(largest, mmd(exact, count, i, j));
    }
  }
  PetscCall(mean_square(n, count, sample, &square));
  error->gram     = size > 0 ? sqrt(wrong / size) : 0;
  error->mmd      = largest > 0 ? worst / largest : 0;
  error->residual = total > 0 ? 1 - square * (double)error->cells / total : 0;
  PetscCall(blockmatrix_destroy(&embeddings));
  PetscCall(blockmatrix_destroy(&product));
  PetscCall(PetscFree4(sample, exact, projected, self));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Covariance within groups ---- */

typedef struct {
  PetscInt         m, groups, at;
  const CellGroup *group;
  PetscInt64       start;
  double          *moment; /* (m,m) row-major, lower triangle: sum of k_m k_m' / (groups * cells of the group) */
} Moments;

static PetscErrorCode add_moments(void *context, const KernelBlock *block)
{
  Moments *s = context;

  for (PetscInt i = 0; i < block->cells; i++) {
    while (block->first + i >= s->start + s->group[s->at].cells) s->start += s->group[s->at++].cells;
    cblas_dscal(s->m, 1 / sqrt((double)s->groups * (double)s->group[s->at].cells), block->values + (size_t)i * (size_t)s->m, 1);
  }
  cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, s->m, block->cells, 1, block->values, s->m, 1, s->moment, s->m);
  return PETSC_SUCCESS;
}

/* The moments of all ranks, both triangles, onto the grid. */
static PetscErrorCode add_up_moments(Moments *s, BlockMatrix *matrix)
{
  const size_t   m    = (size_t)s->m;
  const PetscInt rows = (PetscInt)PetscMax(1, PetscMin(m, PANEL_BYTES / (sizeof(double) * m)));

  PetscFunctionBeginUser;
  for (size_t i = 0; i < m; i++)
    for (size_t j = i + 1; j < m; j++) s->moment[i * m + j] = s->moment[j * m + i];
  for (PetscInt first = 0; first < s->m; first += rows) PetscCall(blockmatrix_add_panel(matrix, first, PetscMin(rows, s->m - first), s->moment + (size_t)first * m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_covariance(const Nystrom *n, PetscInt groups, const CellGroup *group, PetscInt64 most, uint64_t seed, BlockMatrix *covariance)
{
  const BlockGrid *grid = n->factor.grid;
  Moments          s    = {.m = n->landmarks, .groups = groups};
  CellGroup       *run;
  BlockMatrix      means;
  long long        first, own;
  PetscErrorCode   code;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(groups, &run));
  for (PetscInt i = 0; i < groups; i++) run[i] = sample_run(&group[i], most, seed, i);
  s.group = run;
  share_of(groups_cells(groups, run), grid->rank, grid->ranks, &first, &own);
  PetscCall(PetscCalloc1((size_t)s.m * (size_t)s.m, &s.moment));
  code = nystrom_visit(n, groups, run, first, own, add_moments, &s);
  PetscCallAgree(grid->comm, code);
  PetscCall(blockmatrix_create(grid, n->landmarks, n->landmarks, covariance));
  PetscCall(add_up_moments(&s, covariance));
  PetscCall(PetscFree(s.moment));
  PetscCall(nystrom_kernel_means(n, groups, run, &means, NULL));
  PetscCall(blockmatrix_product(PETSC_TRUE, PETSC_FALSE, -1. / groups, &means, &means, 1, covariance));
  PetscCall(blockmatrix_destroy(&means));
  PetscCall(PetscFree(run));
  PetscCall(blockmatrix_triangular_solve(PETSC_TRUE, PETSC_FALSE, 1, &n->factor, covariance));
  PetscCall(blockmatrix_triangular_solve(PETSC_FALSE, PETSC_TRUE, 1, &n->factor, covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
