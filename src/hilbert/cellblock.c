/* Cells made dense in rows or in panels, and products of them. */
#include "hilbert/cellblock.h"
#include <cblas.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
  #include <immintrin.h>
  #define HAVE_PANEL_KERNEL 1
#else
  #define HAVE_PANEL_KERNEL 0
#endif

/* A register tile is SLICE cells x a panel. GROUP panels y are taken at a time, DEPTH values of the dimension long, so that they stay in half a cache of 1 MiB while HELD cells x pass by.
   LOADED: cells packed at a time. */
enum { SLICE = 8, DEPTH = 500, HELD = 21 * CELLBLOCK_STEP, GROUP = 4, LOADED = 8 * CELLBLOCK_STEP, CACHE_LINE = 64 };

CellLayout cellblock_layout(void)
{
#if HAVE_PANEL_KERNEL
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return CELLBLOCK_PANELS;
#endif
  return CELLBLOCK_ROWS;
}

/* Room of so many cells, filled up to a whole panel. */
static double filled(double cells) { return (double)CELLBLOCK_STEP * ((PetscInt64)cells / CELLBLOCK_STEP + 1); }

double cellblock_bytes(double capacity, PetscInt dimension)
{
  return sizeof(double) * (filled(capacity) * dimension + capacity + (double)PetscMin(LOADED, capacity) * dimension) + CACHE_LINE;
}

PetscErrorCode cellblock_create(CellLayout layout, PetscInt capacity, PetscInt dimension, CellBlock *block)
{
  const size_t bytes = (size_t)filled(capacity) * (size_t)dimension * sizeof(double) + CACHE_LINE;
  char        *memory;

  PetscFunctionBeginUser;
  *block = (CellBlock){.layout = layout, .capacity = capacity, .dimension = dimension};
  PetscCall(PetscMalloc1(bytes, &memory));
  memory_large_pages(memory, bytes);
  PetscCall(PetscMalloc1(capacity, &block->square));
  block->memory = memory;
  block->values = (double *)(void *)(memory + (CACHE_LINE - (uintptr_t)memory % CACHE_LINE) % CACHE_LINE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellblock_destroy(CellBlock *block)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(block->memory));
  PetscCall(PetscFree(block->square));
  block->values = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Value k of cell i lies at cell_at(b, i)[k * stride_of(b)]. */
static const double *cell_at(const CellBlock *b, PetscInt i)
{
  const size_t d = (size_t)b->dimension, place = (size_t)i;
  return b->layout == CELLBLOCK_ROWS ? b->values + place * d : b->values + place / CELLBLOCK_STEP * CELLBLOCK_STEP * d + place % CELLBLOCK_STEP;
}

static size_t stride_of(const CellBlock *b) { return b->layout == CELLBLOCK_ROWS ? 1 : CELLBLOCK_STEP; }

/* Up to CELLBLOCK_STEP rows into a panel. */
static void pack(PetscInt count, PetscInt dimension, const double *restrict rows, double *restrict panel)
{
  const size_t d = (size_t)dimension;

  for (size_t k = 0; k < d; k++) {
    for (size_t i = 0; i < (size_t)count; i++) panel[k * CELLBLOCK_STEP + i] = rows[i * d + k];
    for (size_t i = (size_t)count; i < CELLBLOCK_STEP; i++) panel[k * CELLBLOCK_STEP + i] = 0;
  }
}

PetscErrorCode cellblock_load(PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt count, CellBlock *b)
{
  const PetscInt d = b->dimension;
  double        *rows;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCheck(count <= b->capacity, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "%d cells for a block of %d", (int)count, (int)b->capacity);
  if (b->layout == CELLBLOCK_ROWS) {
    PetscCall(groups_rows(groups, group, first, count, b->values, d, b->square));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1((size_t)PetscMin(LOADED, count) * (size_t)d, &rows));
  for (PetscInt done = 0; done < count && !code; done += LOADED) {
    const PetscInt now = PetscMin(LOADED, count - done);

    code = groups_rows(groups, group, first + done, now, rows, d, b->square + done);
#pragma omp parallel for schedule(static)
    for (PetscInt i = 0; i < now; i += CELLBLOCK_STEP) pack(PetscMin(CELLBLOCK_STEP, now - i), d, rows + (size_t)i * (size_t)d, b->values + (size_t)(done + i) * (size_t)d);
  }
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(code);
}

#if HAVE_PANEL_KERNEL
/* c (SLICE, CELLBLOCK_STEP; row stride ld) = or += products of the cells x (SLICE of a panel) and y (a panel) over n values of the dimension. Goto and van de Geijn 2008 (ACM TOMS 34, 12). */
__attribute__((target("avx512f"))) static void multiply(PetscInt n, const double *restrict x, const double *restrict y, PetscBool add, double *restrict c, size_t ld)
{
  __m512d sum[SLICE][3];

  #pragma GCC unroll 8
  for (int i = 0; i < SLICE; i++)
  #pragma GCC unroll 3
    for (int j = 0; j < 3; j++) sum[i][j] = add ? _mm512_loadu_pd(c + (size_t)i * ld + 8 * j) : _mm512_setzero_pd();
  #pragma GCC unroll 2
  for (PetscInt k = 0; k < n; k++, x += CELLBLOCK_STEP, y += CELLBLOCK_STEP) {
    const __m512d y0 = _mm512_load_pd(y), y1 = _mm512_load_pd(y + 8), y2 = _mm512_load_pd(y + 16);
  #pragma GCC unroll 8
    for (int i = 0; i < SLICE; i++) {
      const __m512d own = _mm512_set1_pd(x[i]);
      sum[i][0]         = _mm512_fmadd_pd(own, y0, sum[i][0]);
      sum[i][1]         = _mm512_fmadd_pd(own, y1, sum[i][1]);
      sum[i][2]         = _mm512_fmadd_pd(own, y2, sum[i][2]);
    }
  }
  #pragma GCC unroll 8
  for (int i = 0; i < SLICE; i++)
  #pragma GCC unroll 3
    for (int j = 0; j < 3; j++) _mm512_storeu_pd(c + (size_t)i * ld + 8 * j, sum[i][j]);
}

/* A register tile of which only cells [row, row + rows) x [column, column + columns) are wanted. */
static void multiply_edge(const CellBlock *x, PetscInt slice, PetscInt row, PetscInt rows, const CellBlock *y, PetscInt panel, PetscInt column, PetscInt columns, double *product, size_t ld)
{
  double         all[SLICE * CELLBLOCK_STEP];
  const PetscInt top = PetscMax(slice, row), bottom = PetscMin(slice + SLICE, row + rows), left = PetscMax(panel, column), right = PetscMin(panel + CELLBLOCK_STEP, column + columns);

  multiply(x->dimension, cell_at(x, slice), cell_at(y, panel), PETSC_FALSE, all, CELLBLOCK_STEP);
  for (PetscInt i = top; i < bottom; i++)
    memcpy(product + (size_t)(i - row) * ld + (size_t)(left - column), all + (i - slice) * CELLBLOCK_STEP + left - panel, (size_t)(right - left) * sizeof *all);
}

/* One product of register tiles over values [k, k + DEPTH) of the dimension. */
static void multiply_tile(const CellBlock *x, PetscInt i, PetscInt row, PetscInt rows, const CellBlock *y, PetscInt j, PetscInt column, PetscInt columns, PetscInt k, double *product, size_t ld)
{
  const size_t from = (size_t)k * CELLBLOCK_STEP;

  if (i >= row && i + SLICE <= row + rows && j >= column && j + CELLBLOCK_STEP <= column + columns)
    multiply(PetscMin(DEPTH, x->dimension - k), cell_at(x, i) + from, cell_at(y, j) + from, k ? PETSC_TRUE : PETSC_FALSE, product + (size_t)(i - row) * ld + (size_t)(j - column), ld);
  else if (!k) multiply_edge(x, i, row, rows, y, j, column, columns, product, ld);
}

static void products_of_panels(const CellBlock *x, PetscInt row, PetscInt rows, const CellBlock *y, PetscInt column, PetscInt columns, double *product, size_t ld)
{
  const PetscInt row_end = row + rows, end = column + columns;

  for (PetscInt held = row / SLICE * SLICE; held < row_end; held += HELD)
    for (PetscInt k = 0; k < x->dimension; k += DEPTH)
      for (PetscInt first = column / CELLBLOCK_STEP * CELLBLOCK_STEP; first < end; first += GROUP * CELLBLOCK_STEP)
        for (PetscInt i = held; i < PetscMin(row_end, held + HELD); i += SLICE)
          for (PetscInt j = first; j < PetscMin(end, first + GROUP * CELLBLOCK_STEP); j += CELLBLOCK_STEP) multiply_tile(x, i, row, rows, y, j, column, columns, k, product, ld);
}
#endif

void cellblock_products(const CellBlock *x, PetscInt row, PetscInt rows, const CellBlock *y, PetscInt column, PetscInt columns, double *product, PetscInt ld)
{
  const PetscInt d = x->dimension;

  if (rows < 1 || columns < 1) return;
#if HAVE_PANEL_KERNEL
  if (x->layout == CELLBLOCK_PANELS) {
    products_of_panels(x, row, rows, y, column, columns, product, (size_t)ld);
    return;
  }
#endif
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, d, 1, cell_at(x, row), d, cell_at(y, column), d, 0, product, ld);
}

double cellblock_squared_difference(const CellBlock *x, PetscInt i, const CellBlock *y, PetscInt j)
{
  const double *a = cell_at(x, i), *b = cell_at(y, j);
  const size_t  stride = stride_of(x), end = (size_t)x->dimension * stride;
  double        sum = 0;

  for (size_t k = 0; k < end; k += stride) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}
