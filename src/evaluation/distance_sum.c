/* Sums of Euclidean distances in the order of numpy: pairwise summation over the row-major matrix of distances (METRICS, pearson_edistance). In single
   precision that order shows in the sixth digit of small energy distances. */
#include "evaluation/pair_internal.h"
#include <perturbdiff/hilbert/distances.h>
#include <cblas.h>
#include <math.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>

/* Distances are made for some rows at a time: at most BLOCK values where that leaves LEAST rows; products of PRODUCT_ROWS rows, where the
   matrix is symmetric of an eighth of the rows, at least SQUARE_ROWS. LEAF: of the sum's tree. */
enum { PRODUCT_ROWS = 256, SQUARE_ROWS = 48, LEAST = 16, BLOCK = 1 << 23, LEAF = 128 };

/* Rows [first, first + rows) of the matrix of distances of the cells of a and b. */
typedef struct {
  const DenseCells *a, *b;
  PetscBool         single;
  PetscInt64        m, first, rows, most, height;
  double           *square; /* (height, m) */
  float            *narrow; /* (most, m) the distances, of single precision */
  double           *wide;   /* (most, m) the distances where they are not single */
  double            flops;
} Stream;

VECTOR_CLONES static void square_roots(PetscInt64 n, const double *restrict square, float *restrict narrow, double *restrict wide)
{
  if (narrow)
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) narrow[j] = sqrtf((float)square[j]);
  else
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) wide[j] = sqrt(square[j]);
}

/* Distances of a's cells [row, row + rows) from b's [column, column + columns). Products in double even where the distances are single: numpy's float sums round
   to others when a distance moves in its eighth digit, by up to 1e-6 of an energy distance. */
static void rectangle(Stream *s, PetscInt64 row, PetscInt64 rows, PetscInt64 column, PetscInt64 columns)
{
  const PetscInt genes = s->a->genes;
  const double  *x = s->a->value + (size_t)row * (size_t)genes, *y = s->b->value + (size_t)column * (size_t)genes;

  if (!columns) return;
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns, genes, 1, x, genes, y, genes, 0, s->square, (blasint)columns);
  for (PetscInt64 i = 0; i < rows; i++) {
    const size_t     at = (size_t)(row + i - s->first) * (size_t)s->m + (size_t)column;
    const PetscInt64 same = row + i - column;
    double          *square = s->square + i * columns;
    distances_finish((PetscInt)columns, genes, CANCELLATION_DOUBLE, x + (size_t)i * (size_t)genes, s->a->square[row + i], y, s->b->square + column, square);
    if (s->a == s->b && same >= 0 && same < columns) square[same] = 0;
    square_roots(columns, square, s->single ? s->narrow + at : NULL, s->single ? NULL : s->wide + at);
  }
  s->flops += 2. * (double)rows * (double)columns * genes;
}

/* A cell with itself and its mirror image: the square of the block's rows and the same columns is made above its diagonal. */
static void symmetric_rows(Stream *s)
{
  const PetscInt64 first = s->first, end = s->first + s->rows;

  for (PetscInt64 row = first; row < end; row += s->height) {
    const PetscInt64 rows = PetscMin(s->height, end - row);
    rectangle(s, row, rows, 0, first);
    rectangle(s, row, rows, row, s->m - row);
    for (PetscInt64 j = row; j < end; j++)
      for (PetscInt64 i = row; i < PetscMin(row + rows, j); i++) {
        const size_t above = (size_t)(i - first) * (size_t)s->m + (size_t)j, below = (size_t)(j - first) * (size_t)s->m + (size_t)i;
        if (s->single) s->narrow[below] = s->narrow[above];
        else s->wide[below] = s->wide[above];
      }
  }
}

static void fill_block(Stream *s, PetscInt64 first)
{
  s->first = first;
  s->rows = PetscMin(s->most, s->a->cells - first);
  if (s->a == s->b) {
    symmetric_rows(s);
  } else {
    for (PetscInt64 row = 0; row < s->rows; row += s->height) rectangle(s, first + row, PetscMin(s->height, s->rows - row), 0, s->m);
  }
}

/* A leaf of numpy's sum: eight running sums, then the rest. */
#define LEAF_SUM(name, from, type)                                                                   \
  static double name(PetscInt64 n, const from *x)                                                    \
  {                                                                                                  \
    type       sum = 0, r[8];                                                                        \
    PetscInt64 i = 0;                                                                                \
    if (n >= 8) {                                                                                    \
      for (int j = 0; j < 8; j++) r[j] = (type)x[j];                                                 \
      for (i = 8; i < n - n % 8; i += 8)                                                             \
        for (int j = 0; j < 8; j++) r[j] += (type)x[i + j];                                          \
      sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));                       \
    }                                                                                                \
    for (; i < n; i++) sum += (type)x[i];                                                            \
    return (double)sum;                                                                              \
  }
LEAF_SUM(leaf_single, double, float)
LEAF_SUM(leaf_double, double, double)
LEAF_SUM(leaf_floats, float, float)

static double add(double a, double b, PetscBool single) { return single ? (double)((float)a + (float)b) : a + b; }

static PetscInt64 left_half(PetscInt64 n) { return n / 2 - n / 2 % 8; }

double numpy_sum(PetscInt64 n, const double *value, PetscBool single)
{
  if (n <= LEAF) return single ? leaf_single(n, value) : leaf_double(n, value);
  return add(numpy_sum(left_half(n), value, single), numpy_sum(n - left_half(n), value + left_half(n), single), single);
}

/* The sum of the distances at [start, start + count) of the row-major matrix, count <= LEAF. */
static double leaf(Stream *s, PetscInt64 start, PetscInt64 count)
{
  float  narrow[LEAF];
  double wide[LEAF];

  for (PetscInt64 k = 0; k < count;) {
    const PetscInt64 row = (start + k) / s->m, column = (start + k) % s->m, run = PetscMin(count - k, s->m - column);
    if (row < s->first || row >= s->first + s->rows) fill_block(s, row);
    const size_t at = (size_t)(row - s->first) * (size_t)s->m + (size_t)column;
    if (run == count) return s->single ? leaf_floats(count, s->narrow + at) : leaf_double(count, s->wide + at);
    if (s->single) memcpy(narrow + k, s->narrow + at, (size_t)run * sizeof *narrow);
    else memcpy(wide + k, s->wide + at, (size_t)run * sizeof *wide);
    k += run;
  }
  return s->single ? leaf_floats(count, narrow) : leaf_double(count, wide);
}

static double tree_sum(Stream *s, PetscInt64 start, PetscInt64 n)
{
  if (n <= LEAF) return leaf(s, start, n);
  const double left = tree_sum(s, start, left_half(n)), right = tree_sum(s, start + left_half(n), n - left_half(n));
  return add(left, right, s->single);
}

PetscErrorCode distance_part(const DenseCells *a, const DenseCells *b, PetscInt parts, PetscInt part, double *sum)
{
  const PetscInt64 m = b->cells;
  Stream           s = {.a = a, .b = b, .m = m, .first = -1, .single = a->single};
  PetscInt64       start = 0, pairs = a->cells * m;

  PetscFunctionBeginUser;
  *sum = 0;
  PetscCheck(m <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%lld cells", (long long)m);
  /* Down the tree to the branch: a leaf on the way is the branch of its leftmost part alone. */
  for (PetscInt half = parts / 2; half; half /= 2) {
    if (pairs <= LEAF) {
      if (part % (2 * half)) PetscFunctionReturn(PETSC_SUCCESS);
      break;
    }
    if (part & half) start += left_half(pairs);
    pairs = part & half ? pairs - left_half(pairs) : left_half(pairs);
  }
  /* No more rows than the part has: its last ones would be made in vain. */
  s.most = PetscMin(PetscMax(LEAST, BLOCK / m), (start + pairs - 1) / m - start / m + 1);
  s.height = PetscMin(PetscMin(a == b ? PetscMax(SQUARE_ROWS, s.most / 8) : PRODUCT_ROWS, PetscMax(LEAST, BLOCK / 4 / m)), s.most);
  PetscCall(PetscMalloc1(s.height * m, &s.square));
  if (s.single) PetscCall(PetscMalloc1(s.most * m, &s.narrow));
  else PetscCall(PetscMalloc1(s.most * m, &s.wide));
  *sum = tree_sum(&s, start, pairs);
  PetscCall(PetscLogFlops(s.flops));
  PetscCall(PetscFree(s.square));
  PetscCall(PetscFree(s.narrow));
  PetscCall(PetscFree(s.wide));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double join(PetscInt parts, const double *sum, PetscInt64 pairs, PetscBool single)
{
  if (parts == 1 || pairs <= LEAF) return sum[0];
  return add(join(parts / 2, sum, left_half(pairs), single), join(parts / 2, sum + parts / 2, pairs - left_half(pairs), single), single);
}

double distance_join(PetscInt parts, const double *sum, PetscInt64 pairs, PetscBool single)
{
  const double mean = join(parts, sum, pairs, single) / (double)pairs;
  return single ? (double)(float)mean : mean;
}
