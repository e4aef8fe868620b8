/* Products of sparse cells with panels of dense ones. */
#include <omp.h>
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

/* A register tile is a pair of sparse cells x a panel: two times LANES vectors of 8. SLAB genes of a panel, 30 KiB, stay in the first cache while the sparse cells pass by. */
enum { LANES = SPARSE_PANEL / 8, SLAB = 40, CACHE_LINE = 64 };

/* Loads of a panel limit what one cell alone gets to two thirds of a core's products; where both cells of a pair have a value, one load serves two. Measured (AMD EPYC, Zen 5, 117 GF/s a core), of
   products with values that are not zero: 43 GF/s where a tenth of them are, 78 of a half, 90 of three quarters, 105 of all; one cell at a time 70 of a half; OpenBLAS 81 of all. (Where slabs were
   summed in single precision, single means of distances moved by a unit in their last place, and pearson_edistance by 4e-7.) */
PetscBool sparseproducts_pay(void)
{
#if HAVE_SPARSE_KERNEL
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return PETSC_TRUE;
#endif
  return PETSC_FALSE;
}

/* Vectors that hold so many cells of a panel, among those that the kernel is made for: the last panel of some cells takes about as long as it has cells. */
static int lanes_for(PetscInt64 columns) { return columns > 80 ? LANES : columns > 64 ? 10 : columns > 32 ? 8 : columns > 8 ? 4 : 1; }

static PetscInt64 slabs_of(PetscInt dimension) { return ((PetscInt64)dimension + SLAB - 1) / SLAB; }

/* Which genes of each slab a cell has: present (slabs), zero before. Where columns ascend, a slab's are together. */
VECTOR_CLONES static void mark_genes(const SparseRows *rows, PetscInt64 i, uint64_t *restrict present)
{
  int32_t  slab = 0;
  uint64_t set = 0;

  for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
    const int32_t s = rows->column[e] / SLAB;

    if (s != slab) {
      present[slab] |= set;
      slab = s;
      set = 0;
    }
    set |= UINT64_C(1) << (rows->column[e] - s * SLAB);
  }
  present[slab] |= set;
}

static inline int genes_in(uint64_t set) { return __builtin_popcountll(set); }

/* The parts of all pairs, slab after slab; present (cells rounded up to even, slabs). */
VECTOR_CLONES static void count_parts(PetscInt64 slabs, PetscInt64 pairs, const uint64_t *present, SparsePart *part)
{
  int64_t end = 0;

  for (PetscInt64 s = 0; s < slabs; s++)
    for (PetscInt64 p = 0; p < pairs; p++, part++) {
      const uint64_t first = present[2 * p * slabs + s], second = present[(2 * p + 1) * slabs + s];

      *part = (SparsePart){.begin = end, .both = genes_in(first & second), .first = genes_in(first & ~second)};
      end += genes_in(first) + genes_in(second);
    }
  part->begin = end;
}

static inline void put_value(SparseCells *cells, int64_t at, double value)
{
  if (cells->wide) cells->wide[at] = value;
  else cells->value[at] = (float)value;
}

static inline double value_of(const SparseCells *cells, int64_t at) { return cells->wide ? cells->wide[at] : (double)cells->value[at]; }

/* Entries of a slab's genes in a set: a value of each, x, or of both cells side by side; x, y: of the slab's genes. */
static inline int64_t put_entries(uint64_t set, PetscInt values, const double *x, const double *y, int64_t at, SparseCells *cells)
{
  for (; set; set &= set - 1, at += values) {
    const int g = __builtin_ctzll(set);

    cells->place[at] = (uint16_t)(g * SPARSE_PANEL);
    put_value(cells, at, x[g]);
    if (values == 2) put_value(cells, at + 1, y[g]);
  }
  return at;
}

/* dense (2, dimension): the values of both, zero where they have none or not looked at. */
VECTOR_CLONES static void put_pair(const SparseRows *rows, PetscInt64 pair, PetscInt dimension, const uint64_t *present, double *dense, SparseCells *cells)
{
  const PetscInt64 slabs = slabs_of(dimension), pairs = (rows->rows + 1) / 2;
  double *const    x = dense, *const y = dense + dimension;

  for (PetscInt64 i = 2 * pair; i < PetscMin(2 * pair + 2, rows->rows); i++)
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) dense[(i - 2 * pair) * dimension + rows->column[e]] = sparserows_get(rows, e);
  for (PetscInt64 s = 0; s < slabs; s++) {
    const uint64_t first = present[2 * pair * slabs + s], second = present[(2 * pair + 1) * slabs + s];
    int64_t        at = cells->part[s * pairs + pair].begin;

    at = put_entries(first & second, 2, x + s * SLAB, y + s * SLAB, at, cells);
    at = put_entries(first & ~second, 1, x + s * SLAB, NULL, at, cells);
    put_entries(second & ~first, 1, y + s * SLAB, NULL, at, cells);
  }
}

PetscErrorCode sparsecells_create(const SparseRows *rows, PetscInt dimension, SparseCells *cells)
{
  const PetscInt64 slabs = slabs_of(dimension), pairs = (rows->rows + 1) / 2;
  const int64_t    entries = rows->rows ? rows->offset[rows->rows] - rows->offset[0] : 0;
  const int        threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  uint64_t        *present;
  double          *dense;

  PetscFunctionBeginUser;
  *cells = (SparseCells){.cells = rows->rows, .dimension = dimension};
  PetscCall(PetscMalloc1(slabs * pairs + 1, &cells->part));
  PetscCall(PetscMalloc1(entries, &cells->place));
  if (rows->wide) PetscCall(PetscMalloc1(entries, &cells->wide));
  else PetscCall(PetscMalloc1(entries, &cells->value));
  PetscCall(PetscCalloc1(2 * pairs * slabs, &present));
  PetscCall(PetscMalloc1((size_t)threads * 2 * (size_t)dimension, &dense));
#pragma omp parallel for num_threads(threads)
  for (PetscInt64 i = 0; i < rows->rows; i++) mark_genes(rows, i, present + i * slabs);
  count_parts(slabs, pairs, present, cells->part);
#pragma omp parallel for num_threads(threads)
  for (PetscInt64 p = 0; p < pairs; p++) put_pair(rows, p, dimension, present, dense + (size_t)omp_get_thread_num() * 2 * (size_t)dimension, cells);
  PetscCall(PetscFree(dense));
  PetscCall(PetscFree(present));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sparsecells_destroy(SparseCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(cells->part));
  PetscCall(PetscFree(cells->place));
  PetscCall(PetscFree(cells->value));
  PetscCall(PetscFree(cells->wide));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries [begin, end) of a list, `values` of each, into the columns from `column` on. */
static inline void fill_columns(const SparseCells *y, int64_t begin, int64_t end, PetscInt values, double *column)
{
  for (int64_t e = begin; e < end; e += values)
    for (PetscInt k = 0; k < values; k++) column[y->place[e] + k] = value_of(y, e + k);
}

void sparsepanel_fill(const SparseCells *y, PetscInt64 first, double *panel)
{
  const PetscInt64 slabs = slabs_of(y->dimension), pairs = (y->cells + 1) / 2, end = PetscMin(first + SPARSE_PANEL, y->cells);
  const size_t     used = (size_t)lanes_for(end - first) * 8 * sizeof *panel;

  for (PetscInt64 s = 0; s < slabs; s++) {
    for (PetscInt64 g = s * SLAB; g < PetscMin((s + 1) * SLAB, y->dimension); g++) memset(panel + g * SPARSE_PANEL, 0, used);
    for (PetscInt64 p = first / 2; p < (end + 1) / 2; p++) {
      const SparsePart *part = y->part + s * pairs + p;
      const int64_t     only = part->begin + 2 * part->both;
      double *const     column = panel + s * SLAB * SPARSE_PANEL + 2 * p - first;

      fill_columns(y, part->begin, only, 2, column);
      fill_columns(y, only, only + part->first, 1, column);
      fill_columns(y, only + part->first, part[1].begin, 1, column + 1);
    }
  }
}

/* What all pairs of a slab add: product (2 * pairs, SPARSE_PANEL) += values x panel; the first slab's sets it. */
typedef struct {
  const SparseCells *cells;
  PetscInt64         pairs;
  const SparsePart  *part;
  const double      *panel; /* the slab of it */
  const char        *ahead; /* the next slab, which comes from memory meanwhile: `lines` of it for every pair */
  PetscInt64         lines;
  PetscBool          sets;
  double            *product;
} Slab;

static void add_slab(const Slab *slab)
{
  const SparsePart *part = slab->part;
  double           *product = slab->product;

  if (slab->sets) memset(product, 0, (size_t)(2 * slab->pairs) * SPARSE_PANEL * sizeof *product);
  for (PetscInt64 p = 0; p < slab->pairs; p++, part++, product += 2 * SPARSE_PANEL) {
    const int64_t only = part->begin + 2 * part->both;

    for (int64_t e = part->begin; e < part[1].begin; e += e < only ? 2 : 1) {
      const double *y = slab->panel + slab->cells->place[e];

      for (int j = 0; j < SPARSE_PANEL; j++) {
        if (e < only + part->first) product[j] += value_of(slab->cells, e) * y[j];
        if (e < only || e >= only + part->first) product[SPARSE_PANEL + j] += value_of(slab->cells, e < only ? e + 1 : e) * y[j];
      }
    }
  }
}

#if HAVE_SPARSE_KERNEL
/* A value in all places of a vector. */
  #define SPREAD(e) (narrow ? _mm512_cvtps_pd(_mm256_set1_ps(value[e])) : _mm512_set1_pd(wide[e]))
/* sum (lanes) += the values [e, end) of one cell x the panel. */
  #define ADD_ONE(sum, end)                                                                                                    \
    _Pragma("GCC unroll 4") for (; e < (end); e++)                                                                             \
    {                                                                                                                          \
      const double *y = panel + place[e];                                                                                      \
      const __m512d x = SPREAD(e);                                                                                             \
      _Pragma("GCC unroll 12") for (int j = 0; j < lanes; j++) sum[j] = _mm512_fmadd_pd(x, _mm512_load_pd(y + 8 * j), sum[j]); \
    }

/* The same in registers, of the first 8 * lanes cells of the panel; narrow: values in single precision. */
__attribute__((target("avx512f"), always_inline)) static inline void add_lanes(const int lanes, const int narrow, const Slab *slab)
{
  const uint16_t *const place = slab->cells->place;
  const float *const    value = slab->cells->value;
  const double *const   wide = slab->cells->wide, *const panel = slab->panel;
  const char           *ahead = slab->ahead;
  double               *product = slab->product;
  int64_t               e = slab->part->begin;

  for (const SparsePart *part = slab->part, *last = part + slab->pairs; part < last; part++, product += 2 * SPARSE_PANEL) {
    const int64_t only = e + 2 * part->both;
    __m512d       first[LANES], second[LANES];

    for (PetscInt64 k = 0; k < slab->lines; k++, ahead += CACHE_LINE) __builtin_prefetch(ahead, 0, 2);
  #pragma GCC unroll 12
    for (int j = 0; j < lanes; j++) {
      first[j] = slab->sets ? _mm512_setzero_pd() : _mm512_load_pd(product + 8 * j);
      second[j] = slab->sets ? _mm512_setzero_pd() : _mm512_load_pd(product + SPARSE_PANEL + 8 * j);
    }
  #pragma GCC unroll 2
    for (; e < only; e += 2) {
      const double *y = panel + place[e];
      const __m512d x0 = SPREAD(e), x1 = SPREAD(e + 1);
  #pragma GCC unroll 12
      for (int j = 0; j < lanes; j++) {
        const __m512d of_panel = _mm512_load_pd(y + 8 * j);
        first[j] = _mm512_fmadd_pd(x0, of_panel, first[j]);
        second[j] = _mm512_fmadd_pd(x1, of_panel, second[j]);
      }
    }
    ADD_ONE(first, only + part->first)
    ADD_ONE(second, part[1].begin)
  #pragma GCC unroll 12
    for (int j = 0; j < lanes; j++) {
      _mm512_store_pd(product + 8 * j, first[j]);
      _mm512_store_pd(product + SPARSE_PANEL + 8 * j, second[j]);
    }
  }
}

/* Compiled for both kinds of values. */
  #define ADD_LANES(lanes) slab->cells->wide ? add_lanes(lanes, 0, slab) : add_lanes(lanes, 1, slab)
__attribute__((target("avx512f"))) static void add_slab_512(int lanes, const Slab *slab)
{
  switch (lanes) {
  case 1: ADD_LANES(1); break;
  case 4: ADD_LANES(4); break;
  case 8: ADD_LANES(8); break;
  case 10: ADD_LANES(10); break;
  default: ADD_LANES(LANES);
  }
}
#endif

void sparse_products(const SparseCells *x, PetscInt64 first, PetscInt64 count, const double *panel, PetscInt64 columns, double *product)
{
  const PetscInt64 slabs = slabs_of(x->dimension), pairs = (x->cells + 1) / 2, mine = (count + 1) / 2;

  if (count < 1) return;
  for (PetscInt64 s = 0; s < slabs; s++) {
    const double *const of_slab = panel + (size_t)s * SLAB * SPARSE_PANEL;
    const Slab          slab = {.cells = x,
                                .pairs = mine,
                                .part = x->part + s * pairs + first / 2,
                                .panel = of_slab,
                                .ahead = (const char *)(of_slab + (size_t)SLAB * SPARSE_PANEL),
                                .lines = (SLAB * LANES + mine - 1) / mine,
                                .sets = s ? PETSC_FALSE : PETSC_TRUE,
                                .product = product};
#if HAVE_SPARSE_KERNEL
    if (sparseproducts_pay()) {
      add_slab_512(lanes_for(columns), &slab);
      continue;
    }
#endif
    add_slab(&slab);
  }
}
