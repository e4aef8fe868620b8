/* Choice of landmark cells. */
#include "hilbert/nystrom_internal.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/hilbert/spectrum.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/random.h>
#include <stdlib.h>

enum { PILOT_MOST = 1024 };

static int by_position(const void *a, const void *b)
{
  const PetscInt64 x = *(const PetscInt64 *)a, y = *(const PetscInt64 *)b;
  return (x > y) - (x < y);
}

static void choose_uniform(PetscInt64 cells, PetscInt m, uint64_t seed, uint32_t purpose, PetscInt64 *landmark)
{
  const RandomStream stream = random_stream(seed, RANDOM_EMBED, purpose, 0, 0);

  for (PetscInt j = 0; j < m; j++) landmark[j] = (PetscInt64)random_permuted(&stream, (uint64_t)cells, (uint64_t)j);
}

/* ---- Stratified ---- */

typedef struct {
  PetscInt64 cells, start;
  PetscInt   group;
} Stratum;

static int by_size(const void *a, const void *b)
{
  const Stratum *x = a, *y = b;
  return x->cells != y->cells ? (x->cells < y->cells ? -1 : 1) : (x->group > y->group) - (x->group < y->group);
}

/* Smallest groups first: what a group cannot give is shared out among those after it. */
static PetscErrorCode choose_stratified(PetscInt groups, const CellGroup *group, PetscInt m, uint64_t seed, PetscInt64 *landmark)
{
  Stratum   *stratum;
  PetscInt64 start = 0;
  PetscInt   chosen = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(groups, &stratum));
  for (PetscInt i = 0; i < groups; i++, start += group[i - 1].cells) stratum[i] = (Stratum){group[i].cells, start, i};
  qsort(stratum, (size_t)groups, sizeof *stratum, by_size);
  for (PetscInt i = 0; i < groups; i++) {
    const PetscInt     quota  = (PetscInt)PetscMin(stratum[i].cells, (m - chosen) / (groups - i));
    const RandomStream stream = random_stream(seed, RANDOM_EMBED, STREAM_LANDMARKS, (uint32_t)stratum[i].group + 1, 0);
    for (PetscInt j = 0; j < quota; j++) landmark[chosen++] = stratum[i].start + (PetscInt64)random_permuted(&stream, (uint64_t)stratum[i].cells, (uint64_t)j);
  }
  PetscCall(PetscFree(stratum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- By leverage ---- */

typedef struct {
  double     key;
  PetscInt64 position;
} Draw;

static int by_key(const void *a, const void *b)
{
  const Draw *x = a, *y = b;
  return x->key != y->key ? (x->key > y->key ? -1 : 1) : (x->position > y->position) - (x->position < y->position);
}

typedef struct {
  const Kernel *kernel;
  PetscInt      pilot;
  const double *factor; /* (pilot, pilot) row-major: lower triangle of the Cholesky factor of K_ss + lambda s I */
  double        scale;  /* lambda n */
  uint64_t      seed;
  PetscInt64    first;
  Draw         *draw;
} Leverage;

static PetscErrorCode draw_block(void *context, const KernelBlock *block)
{
  Leverage    *l = context;
  const size_t s = (size_t)l->pilot;

  /* Rows become L^-1 k_s(x): values L^-T. */
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, block->cells, l->pilot, 1, l->factor, l->pilot, block->values, l->pilot);
  for (PetscInt i = 0; i < block->cells; i++) {
    const PetscInt64   position = block->first + i;
    const RandomStream stream   = random_stream(l->seed, RANDOM_EMBED, STREAM_LEVERAGE, (uint32_t)(position >> 32), (uint32_t)position);
    const double       self     = kernel_self(l->kernel, block->square[i]), projected = cblas_ddot(l->pilot, block->values + (size_t)i * s, 1, block->values + (size_t)i * s, 1);
    /* What rounding leaves of 0 still has a chance. */
    const double leverage = PetscMin(1, PetscMax(self - projected, 1e-12 * PetscMax(self, 1e-300)) / l->scale);

    l->draw[position - l->first] = (Draw){log(random_uniform(&stream, 0)) / leverage, position};
  }
  return PETSC_SUCCESS;
}

/* lambda with d_eff(lambda) = wanted, by bisection of its logarithm. */
static double lambda_of(PetscInt count, const double *eigenvalue, double wanted)
{
  double low = log(1e-16 * eigenvalue[0]), high = log(1e4 * eigenvalue[0]);

  for (int i = 0; i < 60; i++) {
    const double middle = (low + high) / 2;
    if (effective_dimension(count, eigenvalue, exp(middle)) > wanted) low = middle;
    else high = middle;
  }
  return exp(high);
}

/* Factor of K_ss + lambda s I, row-major, on every rank; lambda. */
static PetscErrorCode pilot_factor(MPI_Comm comm, const Nystrom *pilot, PetscInt m, double *factor, double *lambda)
{
  const PetscInt s = pilot->landmarks;
  const double   fewer = PetscMin(m, s);
  BlockGrid     *grid;
  BlockMatrix    matrix;
  double         mean, *eigenvalue;
  PetscInt       failed;

  PetscFunctionBeginUser;
  PetscCall(blockgrid_create(comm, s, &grid));
  PetscCall(PetscMalloc1(s, &eigenvalue));
  PetscCall(nystrom_kernel_matrix(grid, pilot, &matrix, &mean));
  PetscCall(operator_spectrum(&matrix, eigenvalue));
  PetscCall(blockmatrix_destroy(&matrix));
  if (!(eigenvalue[0] > 0)) PetscFunctionReturn(error_user("-landmark_choice leverage: the kernel is 0 for all %d sampled cells", (int)s));
  *lambda = lambda_of(s, eigenvalue, fewer / log(fewer + 1)) / s;
  PetscCall(nystrom_kernel_matrix(grid, pilot, &matrix, &mean));
  for (int j = 0; j < matrix.local_columns; j++)
    for (int i = 0; i < matrix.local_rows; i++)
      if (blockmatrix_row(&matrix, i) == blockmatrix_column(&matrix, j)) matrix.values[(size_t)j * (size_t)matrix.ld + (size_t)i] += *lambda * s;
  PetscCall(blockmatrix_cholesky(&matrix, &failed));
  PetscCheck(!failed, comm, PETSC_ERR_LIB, "Pilot set: leading minor of order %d is not positive", (int)failed);
  PetscCall(blockmatrix_replicate(&matrix, 0, s, factor));
  PetscCall(blockmatrix_destroy(&matrix));
  PetscCall(blockgrid_destroy(&grid));
  PetscCall(PetscFree(eigenvalue));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The m largest keys of all ranks; `own` of this rank sorted. */
static PetscErrorCode largest_keys(MPI_Comm comm, PetscInt m, PetscInt own, const Draw *draw, PetscInt64 *landmark)
{
  int         ranks, *count, *from, bytes = (int)(PetscMin(m, own) * (PetscInt)sizeof(Draw));
  PetscInt64  total = 0;
  Draw       *all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(PetscMalloc2(ranks, &count, ranks, &from));
  PetscCallMPI(MPI_Allgather(&bytes, 1, MPI_INT, count, 1, MPI_INT, comm));
  for (int r = 0; r < ranks; r++) {
    from[r] = (int)total;
    total += count[r];
    PetscCheck(total < PETSC_MPI_INT_MAX, comm, PETSC_ERR_ARG_OUTOFRANGE, "More draws in one message than MPI can count");
  }
  PetscCall(PetscMalloc(total, &all));
  PetscCallMPI(MPI_Allgatherv(draw, bytes, MPI_BYTE, all, count, from, MPI_BYTE, comm));
  qsort(all, (size_t)total / sizeof(Draw), sizeof(Draw), by_key);
  for (PetscInt j = 0; j < m; j++) landmark[j] = all[j].position;
  PetscCall(PetscFree(all));
  PetscCall(PetscFree2(count, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_by_leverage(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, PetscInt m, uint64_t seed, PetscInt64 *landmark)
{
  const PetscInt64 cells = groups_cells(groups, group);
  const PetscInt   s     = (PetscInt)PetscMin(cells, PILOT_MOST);
  Leverage         l     = {.kernel = kernel, .pilot = s, .seed = seed};
  Nystrom          pilot;
  PetscInt64      *position;
  double          *factor, lambda = 0;
  long long        first, own;
  int              rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(PetscMalloc1(s, &position));
  choose_uniform(cells, s, seed, STREAM_PILOT, position);
  PetscCallAgree(comm, nystrom_load(kernel, PRODUCTS_DOUBLE, groups, group, s, position, &pilot));
  PetscCall(PetscFree(position));
  share_of(cells, rank, ranks, &first, &own);
  PetscCall(PetscMalloc2((size_t)s * (size_t)s, &factor, own + 1, &l.draw));
  PetscErrorCode code = pilot_factor(comm, &pilot, m, factor, &lambda);
  if (!code) {
    l.factor = factor;
    l.scale  = lambda * (double)cells;
    l.first  = first;
    code     = error_agree(comm, nystrom_visit(&pilot, groups, group, first, own, draw_block, &l));
  }
  if (!code) {
    qsort(l.draw, (size_t)own, sizeof *l.draw, by_key);
    PetscCall(largest_keys(comm, m, (PetscInt)PetscMin(own, m), l.draw, landmark));
  }
  PetscCall(PetscFree2(factor, l.draw));
  PetscCall(nystrom_destroy(&pilot));
  PetscFunctionReturn(code);
}

PetscErrorCode landmarks_choose(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, LandmarkChoice choice, PetscInt m, uint64_t seed, PetscInt64 *landmark)
{
  const PetscInt64 cells = groups_cells(groups, group);

  PetscFunctionBeginUser;
  if (m > cells) PetscFunctionReturn(error_user("-landmarks %d: there are %lld cells; take as many or fewer", (int)m, (long long)cells));
  switch (choice) {
  case LANDMARKS_UNIFORM: choose_uniform(cells, m, seed, STREAM_LANDMARKS, landmark); break;
  case LANDMARKS_STRATIFIED: PetscCall(choose_stratified(groups, group, m, seed, landmark)); break;
  case LANDMARKS_LEVERAGE: PetscCall(choose_by_leverage(comm, kernel, groups, group, m, seed, landmark)); break;
  }
  qsort(landmark, (size_t)m, sizeof *landmark, by_position);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double landmarks_bytes(MPI_Comm comm, PetscInt64 cells, PetscInt dimension, PetscInt m)
{
  const double s     = PetscMin((double)cells, PILOT_MOST);
  int          ranks = 1;

  MPI_Comm_size(comm, &ranks);
  /* Pilot cells, factor, the workspace of the eigenvalues; keys of this rank's cells and the largest of all ranks. */
  return sizeof(double) * s * ((double)dimension + 7 * s) + nystrom_visit_bytes((PetscInt64)s, dimension) + sizeof(Draw) * ((double)cells / ranks + (double)m * ranks);
}
