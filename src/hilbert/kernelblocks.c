/* Kernel values of cells with landmarks: products of a block of cells, turned into distances and kernel values. */
#include <perturbdiff/hilbert/distances.h>
#include "hilbert/nystrom_internal.h"
#include <cblas.h>
#include <omp.h>
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>

/* Cells of a block, landmarks of a tile: a tile of products stays in the cache until it holds kernel values. */
enum { BLOCK_CELLS = 256, TILE_LANDMARKS = 512 };

typedef struct {
  double *rows, *square, *values;
  Real   *single, *products;
} Scratch;

double nystrom_visit_bytes(PetscInt64 m, PetscInt dimension)
{
  return (double)BLOCK_CELLS * (sizeof(double) * ((double)dimension + 1 + (double)m) + sizeof(Real) * ((double)dimension + TILE_LANDMARKS));
}

/* Products of a tile in values become kernel values, row by row from i on to end. */
static void finish_rows(const Nystrom *n, const Scratch *s, PetscInt i, PetscInt end, PetscInt first, PetscInt count)
{
  const PetscInt d            = n->dimension;
  const double   cancellation = n->precision == PRODUCTS_DOUBLE ? CANCELLATION_DOUBLE : CANCELLATION_SINGLE;

  for (; i < end; i++) {
    double *row = s->values + (size_t)i * (size_t)n->landmarks + (size_t)first;
    distances_finish(count, d, cancellation, s->rows + (size_t)i * (size_t)d, s->square[i], n->rows + (size_t)first * (size_t)d, n->square + first, row);
    kernel_apply(&n->kernel, count, s->square[i], n->square + first, row, row);
  }
}

/* Each thread has its own products: BLAS's threads and waiting OpenMP threads would take each other's cores. */
static void values_by_double(const Nystrom *n, const Scratch *s, PetscInt cells)
{
  const PetscInt d = n->dimension, m = n->landmarks, threads = omp_get_max_threads();
  const PetscInt tile         = PetscMin(TILE_LANDMARKS, (m + threads - 1) / threads);
  const int      blas_threads = openblas_get_num_threads();

  openblas_set_num_threads(1);
#pragma omp parallel for schedule(dynamic, 1)
  for (PetscInt first = 0; first < m; first += tile) {
    const PetscInt count = PetscMin(tile, m - first);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, cells, count, d, 1, s->rows, d, n->rows + (size_t)first * (size_t)d, d, 0, s->values + first, m);
    finish_rows(n, s, 0, cells, first, count);
  }
  openblas_set_num_threads(blas_threads);
}

static PetscErrorCode values_by_single(const Nystrom *n, const Scratch *s, PetscInt cells)
{
  const PetscInt d = n->dimension, m = n->landmarks;

  PetscFunctionBeginUser;
  for (size_t k = 0; k < (size_t)cells * (size_t)d; k++) s->single[k] = (Real)s->rows[k];
  for (PetscInt first = 0; first < m; first += TILE_LANDMARKS) {
    const PetscInt count = PetscMin(TILE_LANDMARKS, m - first);
    PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, cells, count, d, 1, s->single, d, (const Real *)n->single + (size_t)first * (size_t)d, d, 0, s->products, count));
#pragma omp parallel for schedule(dynamic, 8)
    for (PetscInt i = 0; i < cells; i++) {
      for (PetscInt j = 0; j < count; j++) s->values[(size_t)i * (size_t)m + (size_t)(first + j)] = (double)s->products[(size_t)i * (size_t)count + (size_t)j];
      finish_rows(n, s, i, i + 1, first, count);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode visit_blocks(const Nystrom *n, const Scratch *s, PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, KernelVisitor visit, void *context)
{
  PetscFunctionBeginUser;
  for (PetscInt64 done = 0; done < count; done += BLOCK_CELLS) {
    const PetscInt cells = (PetscInt)PetscMin(BLOCK_CELLS, count - done);
    PetscCall(groups_rows(groups, group, first + done, cells, s->rows, n->dimension, s->square));
    if (n->precision == PRODUCTS_DOUBLE) values_by_double(n, s, cells);
    else PetscCall(values_by_single(n, s, cells));
    PetscCall(visit(context, &(KernelBlock){.first = first + done, .cells = cells, .square = s->square, .values = s->values}));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_visit(const Nystrom *n, PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, KernelVisitor visit, void *context)
{
  const size_t   b = (size_t)PetscMin(BLOCK_CELLS, PetscMax(1, count)), d = (size_t)n->dimension;
  const PetscBool single = n->precision == PRODUCTS_SINGLE ? PETSC_TRUE : PETSC_FALSE;
  Scratch        s = {0};
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(b * d, &s.rows, b, &s.square, b * (size_t)n->landmarks, &s.values));
  PetscCall(PetscMalloc2(single ? b * d : 1, &s.single, single ? b * TILE_LANDMARKS : 1, &s.products));
  code = visit_blocks(n, &s, groups, group, first, count, visit, context);
  PetscCall(PetscFree3(s.rows, s.square, s.values));
  PetscCall(PetscFree2(s.single, s.products));
  PetscFunctionReturn(code);
}

CellGroup sample_run(const CellGroup *group, PetscInt64 most, uint64_t seed, PetscInt index)
{
  CellGroup run = *group;

  if (group->cells > most) {
    const RandomStream stream = random_stream(seed, RANDOM_EMBED, STREAM_RUNS, (uint32_t)index, 0);
    run.first += (PetscInt64)random_below(&stream, 0, (uint64_t)(group->cells - most + 1));
    run.cells = most;
  }
  return run;
}
