/* Sums of Euclidean distances in the order of numpy: pairwise summation over the row-major matrix of distances (METRICS, pearson_edistance). In single
   precision that order shows in the sixth digit of small energy distances. */
#include "evaluation/pair_internal.h"
#include <perturbdiff/runtime/error.h>
#include <string.h>

/* Distances are made for some rows at a time: at most BLOCK values where that leaves LEAST rows. LEAF: of the sum's tree. */
enum { LEAST = 16, BLOCK = 1 << 23, LEAF = 128 };

/* Rows [first, first + rows) of the matrix of distances. */
typedef struct {
  DistanceRows distances;
  PetscBool    single;
  PetscInt64   m, first, rows, most;
  double       total; /* of the distances in double precision of all rows so far, where these are there */
} Stream;

/* sum and the distances of some rows, row by row. */
static double add_rows(double sum, PetscInt64 rows, PetscInt64 m, const double *distance)
{
  for (PetscInt64 i = 0; i < rows; i++) {
    double of_row = 0;
    for (PetscInt64 j = 0; j < m; j++) of_row += distance[i * m + j];
    sum += of_row;
  }
  return sum;
}

static void fill_block(Stream *s, PetscInt64 first)
{
  s->first = first;
  s->rows = PetscMin(s->most, s->distances.a->cells - first);
  distancerows_fill(&s->distances, s->first, s->rows);
  if (s->distances.wide) s->total = add_rows(s->total, s->rows, s->m, s->distances.wide);
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
  const DistanceRows *d = &s->distances;
  float               narrow[LEAF];
  double              wide[LEAF];

  for (PetscInt64 k = 0; k < count;) {
    const PetscInt64 row = (start + k) / s->m, column = (start + k) % s->m, run = PetscMin(count - k, s->m - column);
    if (row < s->first || row >= s->first + s->rows) fill_block(s, row);
    const size_t at = (size_t)(row - s->first) * (size_t)s->m + (size_t)column;
    if (run == count) return s->single ? leaf_floats(count, d->narrow + at) : leaf_double(count, d->wide + at);
    if (s->single) memcpy(narrow + k, d->narrow + at, (size_t)run * sizeof *narrow);
    else memcpy(wide + k, d->wide + at, (size_t)run * sizeof *wide);
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

PetscErrorCode distance_part(DistanceCells *a, DistanceCells *b, PetscBool single, PetscInt parts, PetscInt part, double *sum, double *mean)
{
  const PetscInt64 m = b->cells;
  Stream           s = {.m = m, .first = -1, .single = single};
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
  PetscCall(distancerows_create(a, b, &s.distances));
  if (single) PetscCall(PetscMalloc1(s.most * m, &s.distances.narrow));
  if (!single || mean) PetscCall(PetscMalloc1(s.most * m, &s.distances.wide));
  *sum = tree_sum(&s, start, pairs);
  if (mean) *mean = s.total / ((double)a->cells * (double)m);
  PetscCall(PetscFree(s.distances.narrow));
  PetscCall(PetscFree(s.distances.wide));
  PetscCall(distancerows_destroy(&s.distances));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distance_mean(DistanceCells *a, DistanceCells *b, double *mean)
{
  const PetscInt64 n = a->cells, m = b->cells, most = PetscMin(n, PetscMax(LEAST, BLOCK / 4 / m));
  DistanceRows     d;
  double           sum = 0;

  PetscFunctionBeginUser;
  PetscCall(distancerows_create(a, b, &d));
  PetscCall(PetscMalloc1(most * m, &d.wide));
  for (PetscInt64 first = 0; first < n; first += most) {
    const PetscInt64 rows = PetscMin(most, n - first);
    distancerows_fill(&d, first, rows);
    sum = add_rows(sum, rows, m, d.wide);
  }
  *mean = sum / ((double)n * (double)m);
  PetscCall(PetscFree(d.wide));
  PetscCall(distancerows_destroy(&d));
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
