/* Sums of Euclidean distances in the order of numpy: pairwise summation over the row-major matrix of distances (METRICS, pearson_edistance). In single
   precision that order shows in the sixth digit of small energy distances. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <petscblaslapack.h>

enum { ROWS = 128, LEAF = 128 };

/* Distances are made for ROWS rows of a at a time and taken in order. */
typedef struct {
  PetscInt64    n, m, first; /* first: row of a that stands in the block's first row */
  const double *a, *b;
  PetscInt      genes;
  PetscBool     same, single;
  double       *block, *square_a, *square_b;
  PetscInt64    rows; /* of the block */
} Stream;

static void squares(PetscInt64 n, PetscInt genes, const double *x, double *square)
{
  for (PetscInt64 i = 0; i < n; i++) {
    double sum = 0;
    for (PetscInt g = 0; g < genes; g++) sum += x[i * genes + g] * x[i * genes + g];
    square[i] = sum;
  }
}

static PetscErrorCode fill_block(Stream *s, PetscInt64 first)
{
  const double minus_two = -2, zero = 0;
  PetscBLASInt columns, rows, inner;

  PetscFunctionBeginUser;
  s->first = first;
  s->rows = PetscMin(ROWS, s->n - first);
  PetscCall(PetscBLASIntCast((PetscInt)s->m, &columns));
  PetscCall(PetscBLASIntCast((PetscInt)s->rows, &rows));
  PetscCall(PetscBLASIntCast(s->genes, &inner));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &columns, &rows, &inner, &minus_two, s->b, &inner, s->a + first * s->genes, &inner, &zero, s->block, &columns));
  for (PetscInt64 i = 0; i < s->rows; i++) {
    double      *row = s->block + i * s->m;
    const double square = s->square_a[first + i];
    if (s->single)
      for (PetscInt64 j = 0; j < s->m; j++) row[j] = (double)sqrtf(PetscMax((float)(row[j] + square + s->square_b[j]), 0));
    else
      for (PetscInt64 j = 0; j < s->m; j++) row[j] = sqrt(PetscMax(row[j] + square + s->square_b[j], 0));
    if (s->same) row[first + i] = 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The distances at [start, start + count) of the row-major matrix, count <= LEAF. */
static PetscErrorCode take(Stream *s, PetscInt64 start, PetscInt64 count, double *value)
{
  PetscFunctionBeginUser;
  for (PetscInt64 k = 0; k < count;) {
    const PetscInt64 row = (start + k) / s->m, column = (start + k) % s->m, run = PetscMin(count - k, s->m - column);
    if (row < s->first || row >= s->first + s->rows) PetscCall(fill_block(s, row));
    for (PetscInt64 j = 0; j < run; j++) value[k + j] = s->block[(row - s->first) * s->m + column + j];
    k += run;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A leaf of numpy's sum: eight running sums, then the rest. */
#define LEAF_SUM(name, type)                                                                         \
  static double name(PetscInt64 n, const double *x)                                                  \
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
LEAF_SUM(leaf_single, float)
LEAF_SUM(leaf_double, double)

static double add(double a, double b, PetscBool single) { return single ? (double)((float)a + (float)b) : a + b; }

static PetscInt64 left_half(PetscInt64 n) { return n / 2 - n / 2 % 8; }

double numpy_sum(PetscInt64 n, const double *value, PetscBool single)
{
  if (n <= LEAF) return single ? leaf_single(n, value) : leaf_double(n, value);
  return add(numpy_sum(left_half(n), value, single), numpy_sum(n - left_half(n), value + left_half(n), single), single);
}

static PetscErrorCode tree_sum(Stream *s, PetscInt64 start, PetscInt64 n, double *sum)
{
  double value[LEAF], left, right;

  PetscFunctionBeginUser;
  if (n <= LEAF) {
    PetscCall(take(s, start, n, value));
    *sum = s->single ? leaf_single(n, value) : leaf_double(n, value);
  } else {
    PetscCall(tree_sum(s, start, left_half(n), &left));
    PetscCall(tree_sum(s, start + left_half(n), n - left_half(n), &right));
    *sum = add(left, right, s->single);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distance_part(PetscInt64 n, const double *a, PetscInt64 m, const double *b, PetscInt genes, PetscBool same, PetscBool single, PetscInt parts,
                             PetscInt part, double *sum)
{
  Stream     s = {.n = n, .m = m, .first = -1, .a = a, .b = b, .genes = genes, .same = same, .single = single};
  PetscInt64 start = 0, pairs = n * m;

  PetscFunctionBeginUser;
  *sum = 0;
  /* Down the tree to the branch: a leaf on the way is the branch of its leftmost part alone. */
  for (PetscInt half = parts / 2; half; half /= 2) {
    if (pairs <= LEAF) {
      if (part % (2 * half)) PetscFunctionReturn(PETSC_SUCCESS);
      break;
    }
    if (part & half) start += left_half(pairs);
    pairs = part & half ? pairs - left_half(pairs) : left_half(pairs);
  }
  PetscCall(PetscMalloc3(ROWS * m, &s.block, n, &s.square_a, m, &s.square_b));
  squares(n, genes, a, s.square_a);
  squares(m, genes, b, s.square_b);
  PetscCall(tree_sum(&s, start, pairs, sum));
  PetscCall(PetscFree3(s.block, s.square_a, s.square_b));
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
