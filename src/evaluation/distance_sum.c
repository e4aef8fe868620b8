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

/* Few pairs, by the operations of their products: in double at once. Their float sums round to others when a distance moves in its eighth digit, and the fewer
   they are the more of that is left in their mean; 1e-9 of it for more pairs. */
static const double few_operations = 5e8;

/* Rows [first, first + rows) of the matrix of distances of the cells of a and b. */
typedef struct {
  DenseCells    *a, *b;
  PetscBool      single;
  PetscInt64     m, first, rows, most, height;
  float         *product; /* (height, m) */
  double        *square;  /* (height, m) */
  float         *narrow;  /* (most, m) the distances, of single precision */
  double        *wide;    /* (most, m) the distances where they are not single */
  PetscBool      exact;   /* products in double */
  PetscErrorCode code;    /* of an allocation */
} Stream;

/* |x-y|^2 = |x|^2 + |y|^2 - 2 x.y of centred cells, -1 where that is below CANCELLATION_CENTRED of |x|^2 + |y|^2, whose rounding it then is not far from;
   returns how many are. */
VECTOR_CLONES static PetscInt row_squares(PetscInt64 n, double norm, const double *restrict norms, const float *restrict product, double *restrict square)
{
  PetscInt near = 0;

#pragma omp simd reduction(+ : near)
  for (PetscInt64 j = 0; j < n; j++) {
    const double both = norm + norms[j], d = both - 2 * (double)product[j];
    const int    close = !(d >= CANCELLATION_CENTRED * both);
    square[j] = close ? -1 : d;
    near += close;
  }
  return near;
}

VECTOR_CLONES static void square_roots(PetscInt64 n, const double *restrict square, float *restrict narrow, double *restrict wide)
{
  if (narrow)
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) narrow[j] = sqrtf((float)square[j]);
  else
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) wide[j] = sqrt(square[j]);
}

/* Squared distances (rows, columns) that products of centred cells do not give: those marked -1, or all where that is less work, from the cells as they are. */
static PetscErrorCode mend(Stream *s, PetscInt64 row, PetscInt64 rows, PetscInt64 column, PetscInt64 columns, PetscInt64 near)
{
  const PetscInt genes = s->a->genes;

  PetscFunctionBeginUser;
  PetscCall(densecells_widen(s->a));
  PetscCall(densecells_widen(s->b));
  const double *x = s->a->wide + (size_t)row * (size_t)genes, *y = s->b->wide + (size_t)column * (size_t)genes;
  const PetscBool all = near > rows * columns / PRODUCT_PAYS ? PETSC_TRUE : PETSC_FALSE;
  if (all) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns, genes, 1, x, genes, y, genes, 0, s->square, (blasint)columns);
  for (PetscInt64 i = 0; i < rows; i++) {
    const double *cell = x + (size_t)i * (size_t)genes;
    double       *square = s->square + i * columns;
    if (all) distances_finish((PetscInt)columns, genes, CANCELLATION_DOUBLE, cell, s->a->wide_square[row + i], y, s->b->wide_square + column, square);
    else distances_mend((PetscInt)columns, genes, cell, y, square);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Distances of a's cells [row, row + rows) from b's [column, column + columns). */
static PetscErrorCode rectangle(Stream *s, PetscInt64 row, PetscInt64 rows, PetscInt64 column, PetscInt64 columns)
{
  const PetscInt genes = s->a->genes;
  PetscInt64     near = 0;

  PetscFunctionBeginUser;
  if (!columns) PetscFunctionReturn(PETSC_SUCCESS);
  if (s->exact) near = rows * columns;
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns, genes, 1, s->a->narrow + (size_t)row * (size_t)genes, genes,
                s->b->narrow + (size_t)column * (size_t)genes, genes, 0, s->product, (blasint)columns);
  for (PetscInt64 i = 0; i < rows && !s->exact; i++) {
    double    *square = s->square + i * columns;
    PetscInt64 same = row + i - column;
    near += row_squares(columns, s->a->square[row + i], s->b->square + column, s->product + i * columns, square);
    if (s->a != s->b || same < 0 || same >= columns) continue;
    near -= square[same] < 0;
    square[same] = 0;
  }
  if (near) PetscCall(mend(s, row, rows, column, columns, near));
  for (PetscInt64 i = 0; i < rows; i++) {
    const size_t     at = (size_t)(row + i - s->first) * (size_t)s->m + (size_t)column;
    const PetscInt64 same = row + i - column;
    if (s->a == s->b && same >= 0 && same < columns) s->square[i * columns + same] = 0;
    square_roots(columns, s->square + i * columns, s->single ? s->narrow + at : NULL, s->single ? NULL : s->wide + at);
  }
  PetscCall(PetscLogFlops(2. * (double)rows * (double)columns * genes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A cell with itself and its mirror image: the square of the block's rows and the same columns is made above its diagonal. */
static PetscErrorCode symmetric_rows(Stream *s)
{
  const PetscInt64 first = s->first, end = s->first + s->rows;

  PetscFunctionBeginUser;
  for (PetscInt64 row = first; row < end; row += s->height) {
    const PetscInt64 rows = PetscMin(s->height, end - row);
    PetscCall(rectangle(s, row, rows, 0, first));
    PetscCall(rectangle(s, row, rows, row, s->m - row));
    for (PetscInt64 j = row; j < end; j++)
      for (PetscInt64 i = row; i < PetscMin(row + rows, j); i++) {
        const size_t above = (size_t)(i - first) * (size_t)s->m + (size_t)j, below = (size_t)(j - first) * (size_t)s->m + (size_t)i;
        if (s->single) s->narrow[below] = s->narrow[above];
        else s->wide[below] = s->wide[above];
      }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode fill_block(Stream *s, PetscInt64 first)
{
  PetscFunctionBeginUser;
  s->first = first;
  s->rows = PetscMin(s->most, s->a->cells - first);
  if (s->a == s->b) {
    PetscCall(symmetric_rows(s));
  } else {
    for (PetscInt64 row = 0; row < s->rows; row += s->height) PetscCall(rectangle(s, first + row, PetscMin(s->height, s->rows - row), 0, s->m));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
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
    if (row < s->first || row >= s->first + s->rows) s->code = fill_block(s, row);
    if (s->code) return 0;
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

PetscErrorCode distance_part(DenseCells *a, DenseCells *b, PetscInt parts, PetscInt part, double *sum)
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
  s.exact = 2. * (double)a->cells * (double)m * a->genes < few_operations ? PETSC_TRUE : PETSC_FALSE;
  s.height = PetscMin(PetscMin(a == b ? PetscMax(SQUARE_ROWS, s.most / 8) : PRODUCT_ROWS, PetscMax(LEAST, BLOCK / 4 / m)), s.most);
  PetscCall(PetscMalloc2(s.height * m, &s.product, s.height * m, &s.square));
  if (s.single) PetscCall(PetscMalloc1(s.most * m, &s.narrow));
  else PetscCall(PetscMalloc1(s.most * m, &s.wide));
  *sum = tree_sum(&s, start, pairs);
  PetscCall(s.code);
  PetscCall(PetscFree2(s.product, s.square));
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
