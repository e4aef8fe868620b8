/* Products of sparse cells with panels of dense ones. */
#include <float.h>
#include <omp.h>
#include <perturbdiff/hilbert/sparseproducts.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
  #include <immintrin.h>
  #define HAVE_SPARSE_KERNEL 1
#else
  #define HAVE_SPARSE_KERNEL 0
#endif

/* A register tile is a pair of sparse cells x a panel: two times LANES vectors of 8. SLAB genes of a panel, 28 KiB in double precision, stay in the first cache while the sparse cells pass by; values of single
   precision are kept as such and widened slab by slab. The narrower a panel, the more genes are summed before the tile goes back to memory: 7 x 64 is a tenth quicker than 12 x 40 (Zen 4), 6 x 64 no
   quicker any more. A set of genes is a word of 64 bits. */
enum { LANES = SPARSE_PANEL / 8, SLAB = 64, CACHE_LINE = 64 };

/* In counts of molecules, and what is made of them, about half of a cell's values that are not zero are its smallest, one molecule: its unit. Values are kept as multiples of it, so that of half of
   them the panel is added without a product, by adders that are not the multipliers (Zen 4 and 5) beside these. Sums are multiplied by the unit at last. It pays where more than one of UNITS_PAY values
   is its cell's unit. LEAST_UNIT keeps away from what has no inverse. */
enum { UNITS_PAY = 4 };
#define LEAST_UNIT 1e-30f

/* Loads of a panel limit what one cell alone gets to two thirds of a core's products; where both cells of a pair have a value, one load serves two. Measured without units (AMD EPYC, Zen 4, 57 GF/s a
   core), of products with values that are not zero: 34 GF/s where a tenth of them are, 51 of a half, 56 of all. With units that half of the values are, 60 of a half. Zen 5 (117 GF/s a core), by tiles of
   12 x 40 without units: 43, 78, 105; one cell at a time 70 of a half; OpenBLAS 81 of all. (Where slabs were summed in single precision, single means of distances moved by a unit in their last place, and
   pearson_edistance by 4e-7.) */
PetscBool sparseproducts_pay(void)
{
#if HAVE_SPARSE_KERNEL
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return PETSC_TRUE;
#endif
  return PETSC_FALSE;
}

/* Vectors that hold so many cells of a panel, among those that the kernel is made for: the last panel of some cells takes about as long as it has cells. */
static int lanes_for(PetscInt64 columns) { return columns > 32 ? LANES : columns > 8 ? 4 : 1; }

static PetscInt64 slabs_of(PetscInt dimension) { return ((PetscInt64)dimension + SLAB - 1) / SLAB; }

static inline uint32_t bits_of(float value)
{
  uint32_t bits;

  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* A cell's unit, its smallest positive value, and how many of its values are that. Bits of positive numbers ascend as these do; less one, those of zero and of negative numbers come after them. */
VECTOR_CLONES static int64_t find_unit(const float *value, int64_t values, double *unit)
{
  uint32_t least = UINT32_MAX;
  int64_t  units = 0;
  float    smallest;

  for (int64_t e = 0; e < values; e++) least = PetscMin(least, bits_of(value[e]) - 1);
  least++;
  memcpy(&smallest, &least, sizeof smallest);
  *unit = 1;
  if (!(smallest > LEAST_UNIT && smallest <= FLT_MAX)) return 0;
  *unit = (double)smallest;
  for (int64_t e = 0; e < values; e++) units += value[e] == smallest;
  return units;
}

/* |x|^2 of a row. */
VECTOR_CLONES static double square_of(const SparseRows *rows, PetscInt64 i)
{
  const int64_t begin = rows->offset[i], end = rows->offset[i + 1];
  double        sum = 0;

  if (rows->wide)
#pragma omp simd reduction(+ : sum)
    for (int64_t e = begin; e < end; e++) sum += rows->wide[e] * rows->wide[e];
  else
#pragma omp simd reduction(+ : sum)
    for (int64_t e = begin; e < end; e++) sum += (double)rows->value[e] * (double)rows->value[e];
  return sum;
}

/* Genes of a slab that a cell has, and those of them where it has its unit. */
typedef struct {
  uint64_t present, one;
} Genes;

/* What a cell has of a gene, a byte of a slab's. */
enum { PRESENT = 1, ONE = 2 };

/* Genes of a slab that are marked so, PRESENT or ONE: of 8 bytes at a time a bit of each, side by side: byte i's, shifted by 56 - 7 i, becomes bit i of the highest byte, and no two meet. */
static inline uint64_t marked(const uint8_t *marks, uint64_t as)
{
  uint64_t set = 0, eight;

  for (int g = 0; g < SLAB; g += 8) {
    memcpy(&eight, marks + g, sizeof eight);
    set |= ((eight / as & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56) << g;
  }
  return set;
}

/* Which genes of each slab a cell has: genes (slabs), by marks (slabs * SLAB). */
VECTOR_CLONES static void mark_genes(const SparseRows *rows, PetscInt64 i, PetscInt64 slabs, const double *unit, uint8_t *restrict marks, Genes *restrict genes)
{
  const int64_t  begin = rows->offset[i], end = rows->offset[i + 1];
  const uint32_t of_cell = unit ? bits_of((float)unit[i]) : 0;

  memset(marks, 0, (size_t)slabs * SLAB);
  if (unit)
    for (int64_t e = begin; e < end; e++) marks[rows->column[e]] = (uint8_t)(PRESENT + ONE * (bits_of(rows->value[e]) == of_cell));
  else
    for (int64_t e = begin; e < end; e++) marks[rows->column[e]] = PRESENT;
  for (PetscInt64 s = 0; s < slabs; s++, marks += SLAB) genes[s] = (Genes){marked(marks, PRESENT), unit ? marked(marks, ONE) : 0};
}

static inline int genes_in(uint64_t set) { return __builtin_popcountll(set); }

/* Which genes of a pair are in which lists: those where both cells have their unit and those where both are given are zipped as far as they go, and what is left of the former in halves. */
typedef struct {
  uint64_t ones, given, second_given, first_given, first, second;
} Kinds;

static inline Kinds kinds_of(Genes x, Genes y)
{
  const uint64_t both = x.present & y.present;

  return (Kinds){x.one & y.one, both & ~(x.one | y.one), both & x.one & ~y.one, both & y.one & ~x.one, x.present & ~y.present, y.present & ~x.present};
}

/* The parts of all pairs, slab after slab, and the ends of places and values; genes (cells rounded up to even, slabs). */
VECTOR_CLONES static void count_parts(PetscInt64 slabs, PetscInt64 pairs, const Genes *genes, SparsePart *part, int64_t *places, int64_t *values)
{
  *places = *values = 0;
  for (PetscInt64 s = 0; s < slabs; s++)
    for (PetscInt64 p = 0; p < pairs; p++, part++) {
      const Kinds kinds = kinds_of(genes[2 * p * slabs + s], genes[(2 * p + 1) * slabs + s]);
      const int   ones = genes_in(kinds.ones), given = genes_in(kinds.given), zipped = PetscMin(ones, (ones + given) / 2), both = ones + given - 2 * zipped;
      const int   second_given = genes_in(kinds.second_given), first_given = genes_in(kinds.first_given), first = genes_in(kinds.first), second = genes_in(kinds.second);
      const int   others = second_given + first_given + first + second;

      *part = (SparsePart){*places, *values, (uint8_t)zipped, (uint8_t)second_given, (uint8_t)first_given, (uint8_t)both, (uint8_t)first, (uint8_t)second};
      *places += 2 * zipped + both + others;
      *values += 2 * (zipped + both) + others;
    }
}

static inline void put_value(SparseCells *cells, int64_t at, double value)
{
  if (cells->wide) cells->wide[at] = value;
  else cells->value[at] = (float)value;
}

/* Genes of a set, and one value of each, or of both cells side by side; x, y: of the slab's genes. */
static inline void put_genes(uint64_t set, const double *x, const double *y, int64_t *place, int64_t *value, SparseCells *cells)
{
  for (; set; set &= set - 1) {
    const int g = __builtin_ctzll(set);

    cells->place[(*place)++] = (uint16_t)(g * SPARSE_PANEL);
    put_value(cells, (*value)++, x[g]);
    if (y) put_value(cells, (*value)++, y[g]);
  }
}

__attribute__((always_inline)) static inline void put_part(const SparsePart *part, Kinds kinds, const double *x, const double *y, SparseCells *cells)
{
  int64_t place = part->begin, value = part->value;

  for (int n = genes_in(kinds.given); n < part->zipped; n++) {
    kinds.given |= kinds.ones & -kinds.ones;
    kinds.ones &= kinds.ones - 1;
  }
  for (int n = 0; n < part->zipped; n++, kinds.ones &= kinds.ones - 1, kinds.given &= kinds.given - 1) {
    const int one = __builtin_ctzll(kinds.ones), given = __builtin_ctzll(kinds.given);

    cells->place[place++] = (uint16_t)(one * SPARSE_PANEL);
    cells->place[place++] = (uint16_t)(given * SPARSE_PANEL);
    put_value(cells, value++, x[given]);
    put_value(cells, value++, y[given]);
  }
  put_genes(kinds.second_given, y, NULL, &place, &value, cells);
  put_genes(kinds.first_given, x, NULL, &place, &value, cells);
  put_genes(kinds.ones | kinds.given, x, y, &place, &value, cells);
  put_genes(kinds.first, x, NULL, &place, &value, cells);
  put_genes(kinds.second, y, NULL, &place, &value, cells);
}

/* dense (2, dimension): the values of both, zero where they have none or not looked at. */
VECTOR_CLONES static void put_pair(const SparseRows *rows, PetscInt64 pair, PetscInt dimension, const Genes *genes, double *dense, SparseCells *cells)
{
  const PetscInt64 slabs = slabs_of(dimension), pairs = (rows->rows + 1) / 2;
  double *const    x = dense, *const y = dense + dimension;

  for (PetscInt64 i = 2 * pair; i < PetscMin(2 * pair + 2, rows->rows); i++) {
    const double  per_unit = cells->unit ? 1 / cells->unit[i] : 1;
    double *const of_cell = i % 2 ? y : x;

    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) of_cell[rows->column[e]] = sparserows_get(rows, e) * per_unit;
  }
  for (PetscInt64 s = 0; s < slabs; s++) {
    const Kinds kinds = kinds_of(genes[2 * pair * slabs + s], genes[(2 * pair + 1) * slabs + s]);

    put_part(cells->part + s * pairs + pair, kinds, x + s * SLAB, y + s * SLAB, cells);
  }
}

/* All that one look at each row tells: its unit, its square, its genes; marks: for each thread (slabs, SLAB). Units are forgotten where too few values are one. */
static PetscErrorCode look_at_rows(const SparseRows *rows, int threads, PetscInt64 slabs, uint8_t *marks, Genes *genes, SparseCells *cells, double *square)
{
  const int64_t entries = rows->rows ? rows->offset[rows->rows] - rows->offset[0] : 0;
  int64_t       units = 0;

  PetscFunctionBeginUser;
  if (!rows->wide) {
    PetscCall(PetscMalloc1(rows->rows + 1, &cells->unit));
    cells->unit[rows->rows] = 1;
  }
#pragma omp parallel for num_threads(threads) reduction(+ : units)
  for (PetscInt64 i = 0; i < rows->rows; i++) {
    if (cells->unit) units += find_unit(rows->value + rows->offset[i], rows->offset[i + 1] - rows->offset[i], cells->unit + i);
    if (square) square[i] = square_of(rows, i);
    mark_genes(rows, i, slabs, cells->unit, marks + omp_get_thread_num() * slabs * SLAB, genes + i * slabs);
  }
  if (rows->rows % 2) memset(genes + rows->rows * slabs, 0, (size_t)slabs * sizeof *genes);
  if (units * UNITS_PAY > entries || !cells->unit) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(cells->unit));
  for (PetscInt64 k = 0; k < rows->rows * slabs; k++) genes[k].one = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sparsecells_create(const SparseRows *rows, PetscInt dimension, SparseCells *cells, double *square)
{
  const PetscInt64 slabs = slabs_of(dimension), pairs = (rows->rows + 1) / 2;
  const int        threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  int64_t          places, values;
  Genes           *genes;
  uint8_t         *marks;
  double          *dense;

  PetscFunctionBeginUser;
  *cells = (SparseCells){.cells = rows->rows, .dimension = dimension};
  PetscCall(PetscMalloc2(2 * pairs * slabs, &genes, threads * slabs * SLAB, &marks));
  PetscCall(look_at_rows(rows, threads, slabs, marks, genes, cells, square));
  PetscCall(PetscMalloc1(slabs * pairs, &cells->part));
  count_parts(slabs, pairs, genes, cells->part, &places, &values);
  PetscCall(PetscMalloc1(places, &cells->place));
  if (rows->wide || cells->unit) PetscCall(PetscMalloc1(values, &cells->wide));
  else PetscCall(PetscMalloc1(values, &cells->value));
  PetscCall(PetscMalloc1((size_t)threads * 2 * (size_t)dimension, &dense));
#pragma omp parallel for num_threads(threads)
  for (PetscInt64 p = 0; p < pairs; p++) put_pair(rows, p, dimension, genes, dense + (size_t)omp_get_thread_num() * 2 * (size_t)dimension, cells);
  PetscCall(PetscFree(dense));
  PetscCall(PetscFree2(genes, marks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sparsecells_destroy(SparseCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(cells->part));
  PetscCall(PetscFree(cells->place));
  PetscCall(PetscFree(cells->unit));
  PetscCall(PetscFree(cells->value));
  PetscCall(PetscFree(cells->wide));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A value that is given, of cell k of a pair, as it was before it was divided by the cell's unit: single precision forgets what errors of rounding that left. */
static inline double given(const SparseCells *cells, const double *unit, int k, int64_t at)
{
  if (cells->value) return (double)cells->value[at];
  return unit ? (double)(float)(cells->wide[at] * unit[k]) : cells->wide[at];
}

/* What to do with a value of cell k of a pair, at a gene's place. */
typedef void Take(void *to, int64_t place, int k, double value);

/* All values of a part; compiled for each of what is done with them. */
__attribute__((always_inline)) static inline void each_value(const SparseCells *cells, const SparsePart *part, const double *unit, Take *take, void *to)
{
  const uint16_t *place = cells->place + part->begin;
  int64_t         at = part->value;

  for (int n = 0; n < part->zipped; n++, place += 2, at += 2)
    for (int k = 0; k < 2; k++) {
      take(to, place[0], k, unit[k]);
      take(to, place[1], k, given(cells, unit, k, at + k));
    }
  for (int n = 0; n < part->second_given + part->first_given; n++, place++, at++) {
    const int k = n < part->second_given;
    take(to, *place, 1 - k, unit[1 - k]);
    take(to, *place, k, given(cells, unit, k, at));
  }
  for (int n = 0; n < part->both; n++, place++, at += 2)
    for (int k = 0; k < 2; k++) take(to, *place, k, given(cells, unit, k, at + k));
  for (int n = 0; n < part->first + part->second; n++, place++, at++) {
    const int k = n >= part->first;
    take(to, *place, k, given(cells, unit, k, at));
  }
}

static const double *units_of(const SparseCells *cells, PetscInt64 first) { return cells->unit ? cells->unit + first : NULL; }

/* Where one cell of a pair goes. */
typedef struct {
  int     k;
  double  sign, *genes;
} Cell;

static inline void add_to_cell(void *to, int64_t place, int k, double value)
{
  const Cell *cell = to;

  if (k == cell->k) cell->genes[place / SPARSE_PANEL] += cell->sign * value;
}

void sparsecells_add(const SparseCells *cells, PetscInt64 i, double sign, double *cell)
{
  const PetscInt64 slabs = slabs_of(cells->dimension), pairs = (cells->cells + 1) / 2;

  for (PetscInt64 s = 0; s < slabs; s++) {
    Cell to = {(int)(i % 2), sign, cell + s * SLAB};
    each_value(cells, cells->part + s * pairs + i / 2, units_of(cells, i - i % 2), add_to_cell, &to);
  }
}

static inline void set_value(void *column, int64_t place, int k, double value)
{
  ((float *)column)[place + k] = (float)value;
}

static inline void set_wide(void *column, int64_t place, int k, double value)
{
  ((double *)column)[place + k] = value;
}

void sparsepanel_fill(const SparseCells *y, PetscInt64 first, const SparsePanel *panel)
{
  const PetscInt64 slabs = slabs_of(y->dimension), pairs = (y->cells + 1) / 2, end = PetscMin(first + SPARSE_PANEL, y->cells);
  const size_t     used = (size_t)lanes_for(end - first) * 8;

  for (PetscInt64 s = 0; s < slabs; s++) {
    const size_t slab = (size_t)s * SLAB * SPARSE_PANEL, after = (size_t)PetscMin((s + 1) * SLAB, y->dimension) * SPARSE_PANEL;

    for (size_t row = slab; row < after; row += SPARSE_PANEL)
      if (panel->wide) memset(panel->wide + row, 0, used * sizeof *panel->wide);
      else memset(panel->value + row, 0, used * sizeof *panel->value);
    for (PetscInt64 p = first / 2; p < (end + 1) / 2; p++) {
      const SparsePart *part = y->part + s * pairs + p;
      const size_t      column = slab + (size_t)(2 * p - first);

      if (panel->wide) each_value(y, part, units_of(y, 2 * p), set_wide, panel->wide + column);
      else each_value(y, part, units_of(y, 2 * p), set_value, panel->value + column);
    }
  }
}

/* What all pairs of a slab add: product (2 * pairs, SPARSE_PANEL) += values x panel; the first slab's sets it, and the last slab's multiplies it by the units. */
typedef struct {
  const SparseCells *cells;
  PetscInt64         pairs;
  const SparsePart  *part;
  const double      *panel; /* the slab of it */
  const char        *ahead; /* the next slab, which comes from memory meanwhile: `lines` of cache for every pair */
  PetscInt64         lines;
  PetscBool          sets, ends;
  const double      *unit; /* from the first pair's on, or NULL */
  double            *product;
} Slab;

/* What a pair's values times a panel are added to. */
typedef struct {
  double       *product;
  const double *panel;
} Sum;

static inline void add_value(void *to, int64_t place, int k, double value)
{
  const Sum *sum = to;

  for (int j = 0; j < SPARSE_PANEL; j++) sum->product[k * SPARSE_PANEL + j] += value * sum->panel[place + j];
}

/* With the values as they were: without units in the sums. */
static void add_slab(const Slab *slab)
{
  Sum sum = {slab->product, slab->panel};

  if (slab->sets) memset(sum.product, 0, (size_t)(2 * slab->pairs) * SPARSE_PANEL * sizeof *sum.product);
  for (PetscInt64 p = 0; p < slab->pairs; p++, sum.product += 2 * SPARSE_PANEL)
    each_value(slab->cells, slab->part + p, slab->unit ? slab->unit + 2 * p : NULL, add_value, &sum);
}

#if HAVE_SPARSE_KERNEL
  #define EACH_LANE _Pragma("GCC unroll 7") for (int j = 0; j < lanes; j++)
/* A list, by steps that take so many genes and values each. */
  #define EACH_STEP(count, genes, values) for (int n = (count); n; n--, place += (genes), narrow ? (void)(value += (values)) : (void)(wide += (values)))
/* A value of a step, in all places of a vector. */
  #define SPREAD(k) (narrow ? _mm512_cvtps_pd(_mm256_set1_ps(value[k])) : _mm512_set1_pd(wide[k]))
/* A vector of a step's gene, loaded once: GCC would load it again for every instruction that takes it. */
  #define LOAD(y, k)                                                  \
    __m512d y = _mm512_load_pd(panel + place[k] + 8 * j);       \
    __asm__("" : "+v"(y))

/* sums (lanes) += units and values that are given x the panel, list by list. */
  #define ADD_ZIPPED(first, second, count)                            \
    EACH_STEP(count, 2, 2) {                                          \
      const __m512d x0 = SPREAD(0), x1 = SPREAD(1);                   \
      EACH_LANE {                                                     \
        LOAD(one, 0);                                                 \
        LOAD(other, 1);                                               \
        first[j] = _mm512_add_pd(first[j], one);                      \
        second[j] = _mm512_add_pd(second[j], one);                    \
        first[j] = _mm512_fmadd_pd(x0, other, first[j]);              \
        second[j] = _mm512_fmadd_pd(x1, other, second[j]);            \
      }                                                               \
    }
  #define ADD_MIXED(one, other, count)                                \
    EACH_STEP(count, 1, 1) {                                          \
      const __m512d x = SPREAD(0);                                    \
      EACH_LANE {                                                     \
        LOAD(y, 0);                                                   \
        one[j] = _mm512_add_pd(one[j], y);                            \
        other[j] = _mm512_fmadd_pd(x, y, other[j]);                   \
      }                                                               \
    }
  #define ADD_BOTH(first, second, count)                              \
    _Pragma("GCC unroll 2") EACH_STEP(count, 1, 2) {                  \
      const __m512d x0 = SPREAD(0), x1 = SPREAD(1);                   \
      EACH_LANE {                                                     \
        LOAD(y, 0);                                                   \
        first[j] = _mm512_fmadd_pd(x0, y, first[j]);                  \
        second[j] = _mm512_fmadd_pd(x1, y, second[j]);                \
      }                                                               \
    }
  #define ADD_SINGLE(sum, count)                                      \
    _Pragma("GCC unroll 4") EACH_STEP(count, 1, 1) {                  \
      const __m512d x = SPREAD(0);                                    \
      EACH_LANE sum[j] = _mm512_fmadd_pd(x, _mm512_load_pd(panel + place[0] + 8 * j), sum[j]); \
    }

/* The same in registers, of the first 8 * lanes cells of the panel; narrow: values in single precision, which have no units. */
__attribute__((target("avx512f"), always_inline)) static inline void add_lanes(const int lanes, const int narrow, const Slab *slab)
{
  const uint16_t *place = slab->cells->place + slab->part->begin;
  const float    *value = narrow ? slab->cells->value + slab->part->value : NULL;
  const double   *wide = narrow ? NULL : slab->cells->wide + slab->part->value, *const panel = slab->panel, *unit = slab->ends ? slab->unit : NULL;
  const char     *ahead = slab->ahead;
  double         *product = slab->product;

  for (const SparsePart *part = slab->part, *last = part + slab->pairs; part < last; part++, product += 2 * SPARSE_PANEL) {
    __m512d first[LANES], second[LANES];

    for (PetscInt64 k = 0; k < slab->lines; k++, ahead += CACHE_LINE) __builtin_prefetch(ahead, 0, 2);
    EACH_LANE {
      first[j] = slab->sets ? _mm512_setzero_pd() : _mm512_load_pd(product + 8 * j);
      second[j] = slab->sets ? _mm512_setzero_pd() : _mm512_load_pd(product + SPARSE_PANEL + 8 * j);
    }
    if (!narrow) {
      ADD_ZIPPED(first, second, part->zipped)
      ADD_MIXED(first, second, part->second_given)
      ADD_MIXED(second, first, part->first_given)
    }
    ADD_BOTH(first, second, part->both)
    ADD_SINGLE(first, part->first)
    ADD_SINGLE(second, part->second)
    if (unit) {
      const __m512d x0 = _mm512_set1_pd(*unit++), x1 = _mm512_set1_pd(*unit++);
      EACH_LANE {
        first[j] = _mm512_mul_pd(first[j], x0);
        second[j] = _mm512_mul_pd(second[j], x1);
      }
    }
    EACH_LANE {
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
  default: ADD_LANES(LANES);
  }
}
#endif

/* So many genes of a panel in double precision, of the first columns. */
VECTOR_CLONES static void widen(PetscInt64 genes, int columns, const float *restrict value, double *restrict wide)
{
  for (PetscInt64 g = 0; g < genes; g++, value += SPARSE_PANEL, wide += SPARSE_PANEL)
#pragma omp simd
    for (int j = 0; j < columns; j++) wide[j] = (double)value[j];
}

void sparse_products(const SparseCells *x, PetscInt64 first, PetscInt64 count, const SparsePanel *panel, PetscInt64 columns, double *product)
{
  const PetscInt64 slabs = slabs_of(x->dimension), pairs = (x->cells + 1) / 2, mine = (count + 1) / 2;
  const int        lanes = lanes_for(columns);
  const size_t     values = (size_t)SLAB * SPARSE_PANEL, bytes = sparsepanel_bytes(SLAB, panel->wide ? PETSC_TRUE : PETSC_FALSE);
  double           wide[SLAB * SPARSE_PANEL] __attribute__((aligned(CACHE_LINE)));

  if (count < 1) return;
  for (PetscInt64 s = 0; s < slabs; s++) {
    if (!panel->wide) widen(PetscMin(SLAB, x->dimension - s * SLAB), 8 * lanes, panel->value + (size_t)s * values, wide);
    const Slab slab = {.cells = x,
                       .pairs = mine,
                       .part = x->part + s * pairs + first / 2,
                       .panel = panel->wide ? panel->wide + (size_t)s * values : wide,
                       .ahead = (const char *)(panel->wide ? (const void *)panel->wide : panel->value) + (size_t)(s + 1) * bytes,
                       .lines = ((PetscInt64)(bytes / CACHE_LINE) + mine - 1) / mine,
                       .sets = s ? PETSC_FALSE : PETSC_TRUE,
                       .ends = s == slabs - 1 ? PETSC_TRUE : PETSC_FALSE,
                       .unit = units_of(x, first),
                       .product = product};
#if HAVE_SPARSE_KERNEL
    if (sparseproducts_pay()) {
      add_slab_512(lanes, &slab);
      continue;
    }
#endif
    add_slab(&slab);
  }
}
