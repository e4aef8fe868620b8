/* Products of sparse cells with panels of dense ones. */
#include <perturbdiff/hilbert/sparseproducts.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
  #include <immintrin.h>
  #define HAVE_SPARSE_KERNEL 1
#else
  #define HAVE_SPARSE_KERNEL 0
#endif

/* A register tile is one sparse cell x a panel: LANES vectors of 8. SLAB genes of a panel, 36 KiB, stay in the first cache while the sparse cells pass by. */
enum { LANES = SPARSE_PANEL / 8, SLAB = 48, CACHE_LINE = 64 };

/* Measured: 50 to 70 GF/s a core of products with values that are not zero against 83 to 95 GF/s of dense ones. (Where slabs were summed in single precision, single means of distances moved by a unit
   in their last place, and pearson_edistance by 4e-7.) */
static const double densest = 0.65;

static PetscBool has_kernel(void)
{
#if HAVE_SPARSE_KERNEL
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return PETSC_TRUE;
#endif
  return PETSC_FALSE;
}

PetscBool sparseproducts_pay(double density) { return has_kernel() && density < densest ? PETSC_TRUE : PETSC_FALSE; }

/* Vectors that hold so many cells of a panel, among those that the kernel is made for: the last panel of some cells takes about as long as it has cells. */
static int lanes_for(PetscInt64 columns) { return columns > 80 ? LANES : columns > 64 ? 10 : columns > 32 ? 8 : columns > 8 ? 4 : 1; }

static PetscInt64 slabs_of(PetscInt dimension) { return ((PetscInt64)dimension + SLAB - 1) / SLAB; }

/* How many of the entries from e on follow each other within a slab: where columns ascend, all that the cell has in it. */
static inline int64_t run_in_slab(const SparseRows *rows, int64_t e, int64_t end)
{
  const int32_t first = rows->column[e] / SLAB * SLAB;
  int64_t       k = e + 1;

  while (k < end && (uint32_t)(rows->column[k] - first) < SLAB) k++;
  return k - e;
}

/* next (slabs, cells): where the values of each cell in each slab go, moved to their end. */
VECTOR_CLONES static void fill_cells(const SparseRows *rows, int64_t *restrict next, int32_t *restrict place, double *restrict value)
{
  for (PetscInt64 i = 0; i < rows->rows; i++)
    for (int64_t e = rows->offset[i], run; e < rows->offset[i + 1]; e += run) {
      int64_t *at = next + rows->column[e] / SLAB * rows->rows + i;

      run = run_in_slab(rows, e, rows->offset[i + 1]);
      for (int64_t k = 0; k < run; k++) place[*at + k] = rows->column[e + k] * SPARSE_PANEL;
      if (rows->wide)
        for (int64_t k = 0; k < run; k++) value[*at + k] = rows->wide[e + k];
      else
        for (int64_t k = 0; k < run; k++) value[*at + k] = (double)rows->value[e + k];
      *at += run;
    }
}

PetscErrorCode sparsecells_create(const SparseRows *rows, PetscInt dimension, SparseCells *cells)
{
  const PetscInt64 n = rows->rows, slabs = slabs_of(dimension);
  const int64_t    entries = n ? rows->offset[n] - rows->offset[0] : 0;
  int64_t         *end, *next, before = 0;

  PetscFunctionBeginUser;
  PetscCheck(dimension <= INT32_MAX / SPARSE_PANEL, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%lld genes", (long long)dimension);
  *cells = (SparseCells){.cells = n, .dimension = dimension};
  PetscCall(PetscCalloc1(slabs * n + 1, &cells->begin));
  PetscCall(PetscMalloc1(entries, &cells->place));
  PetscCall(PetscMalloc1(entries, &cells->value));
  /* Counted one place further on, so that filling moves each end to the begin of the next. */
  end = cells->begin + 1;
  PetscCall(PetscCalloc1(slabs, &next));
  for (PetscInt64 i = 0; i < n; i++) {
    for (int64_t e = rows->offset[i], run; e < rows->offset[i + 1]; e += run) {
      run = run_in_slab(rows, e, rows->offset[i + 1]);
      next[rows->column[e] / SLAB] += run;
    }
    for (PetscInt64 s = 0; s < slabs; s++) {
      end[s * n + i] = next[s];
      next[s] = 0;
    }
  }
  for (PetscInt64 k = 0; k < slabs * n; k++) {
    const int64_t count = end[k];
    end[k] = before;
    before += count;
  }
  fill_cells(rows, end, cells->place, cells->value);
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sparsecells_destroy(SparseCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(cells->begin));
  PetscCall(PetscFree(cells->place));
  PetscCall(PetscFree(cells->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void sparsepanel_fill(const SparseCells *y, PetscInt64 first, double *panel)
{
  const PetscInt64 slabs = slabs_of(y->dimension), end = PetscMin(first + SPARSE_PANEL, y->cells);
  const size_t     used = (size_t)lanes_for(end - first) * 8 * sizeof *panel;

  for (PetscInt64 s = 0; s < slabs; s++) {
    const int64_t *begin = y->begin + s * y->cells;
    for (PetscInt64 g = s * SLAB; g < PetscMin((s + 1) * SLAB, y->dimension); g++) memset(panel + g * SPARSE_PANEL, 0, used);
    for (PetscInt64 i = first; i < end; i++)
      for (int64_t e = begin[i]; e < begin[i + 1]; e++) panel[y->place[e] + i - first] = y->value[e];
  }
}

/* product (count, SPARSE_PANEL) += the part of one slab, whose values of cell i are [begin[i], begin[i + 1]); the first slab's sets it. */
static void add_slab(PetscInt64 count, const int64_t *restrict begin, const int32_t *restrict place, const double *restrict value, const double *restrict panel, PetscBool first,
                     double *restrict product)
{
  for (PetscInt64 i = 0; i < count; i++, product += SPARSE_PANEL) {
    if (first) memset(product, 0, SPARSE_PANEL * sizeof *product);
    for (int64_t e = begin[i]; e < begin[i + 1]; e++)
      for (int j = 0; j < SPARSE_PANEL; j++) product[j] += value[e] * panel[place[e] + j];
  }
}

#if HAVE_SPARSE_KERNEL
/* The same in registers, of the first 8 * lanes cells of the panel. Meanwhile the next slab comes from memory: `lines` of it, from `ahead` on, for every cell. */
__attribute__((target("avx512f"), always_inline)) static inline void add_lanes(const int lanes, PetscInt64 count, const int64_t *restrict begin, const int32_t *restrict place,
                                                                               const double *restrict value, const double *restrict panel, const char *ahead, PetscInt64 lines, PetscBool first,
                                                                               double *restrict product)
{
  for (PetscInt64 i = 0; i < count; i++, product += SPARSE_PANEL) {
    __m512d sum[LANES];

    for (PetscInt64 k = 0; k < lines; k++, ahead += CACHE_LINE) __builtin_prefetch(ahead, 0, 2);
  #pragma GCC unroll 12
    for (int j = 0; j < lanes; j++) sum[j] = first ? _mm512_setzero_pd() : _mm512_load_pd(product + 8 * j);
  #pragma GCC unroll 2
    for (int64_t e = begin[i]; e < begin[i + 1]; e++) {
      const double *y = panel + place[e];
      const __m512d x = _mm512_set1_pd(value[e]);
  #pragma GCC unroll 12
      for (int j = 0; j < lanes; j++) sum[j] = _mm512_fmadd_pd(x, _mm512_load_pd(y + 8 * j), sum[j]);
    }
  #pragma GCC unroll 12
    for (int j = 0; j < lanes; j++) _mm512_store_pd(product + 8 * j, sum[j]);
  }
}

__attribute__((target("avx512f"))) static void add_slab_512(int lanes, PetscInt64 count, const int64_t *restrict begin, const int32_t *restrict place, const double *restrict value,
                                                            const double *restrict panel, const char *ahead, PetscInt64 lines, PetscBool first, double *restrict product)
{
  switch (lanes) {
  case 1: add_lanes(1, count, begin, place, value, panel, ahead, lines, first, product); break;
  case 4: add_lanes(4, count, begin, place, value, panel, ahead, lines, first, product); break;
  case 10: add_lanes(10, count, begin, place, value, panel, ahead, lines, first, product); break;
  case 8: add_lanes(8, count, begin, place, value, panel, ahead, lines, first, product); break;
  default: add_lanes(LANES, count, begin, place, value, panel, ahead, lines, first, product);
  }
}
#endif

void sparse_products(const SparseCells *x, PetscInt64 first, PetscInt64 count, const double *panel, PetscInt64 columns, double *product)
{
  const PetscInt64 slabs = slabs_of(x->dimension);

  if (count < 1) return;
  for (PetscInt64 s = 0; s < slabs; s++) {
    const int64_t  *begin = x->begin + s * x->cells + first;
    const PetscBool set = s ? PETSC_FALSE : PETSC_TRUE;
#if HAVE_SPARSE_KERNEL
    if (has_kernel()) {
      add_slab_512(lanes_for(columns), count, begin, x->place, x->value, panel, (const char *)(panel + (size_t)(s + 1) * SLAB * SPARSE_PANEL), (SLAB * LANES + count - 1) / count, set, product);
      continue;
    }
#endif
    add_slab(count, begin, x->place, x->value, panel, set, product);
  }
}
