/* Sums of a kernel and of distances over the pairs of cells of each two populations, from tiles. */
#include "hilbert/pairsums.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 4096 };

/* Is there anything besides distances to sum? The energy kernel follows from them. */
static PetscBool needs_kernel(const Kernel *kernel) { return kernel->kind != KERNEL_ENERGY && kernel->kind != KERNEL_DISTANCE ? PETSC_TRUE : PETSC_FALSE; }

/* The group of a position. */
static PetscInt group_at(const PairSums *s, PetscInt64 position)
{
  PetscInt low = 0, high = s->groups;

  while (high - low > 1) {
    const PetscInt middle = low + (high - low) / 2;
    if (s->start[middle] <= position) low = middle;
    else high = middle;
  }
  return low;
}

static int order(const void *a, const void *b)
{
  const PairSum *x = a, *y = b;
  return x->row != y->row ? (x->row < y->row ? -1 : 1) : (x->column > y->column) - (x->column < y->column);
}

/* Entries of the same two groups become one. */
static void compact(PairSums *s)
{
  PetscInt64 kept = 0;

  qsort(s->sum, (size_t)s->count, sizeof *s->sum, order);
  for (PetscInt64 k = 0; k < s->count; k++) {
    if (kept && !order(&s->sum[kept - 1], &s->sum[k])) {
      s->sum[kept - 1].kernel += s->sum[k].kernel;
      s->sum[kept - 1].distance += s->sum[k].distance;
    } else s->sum[kept++] = s->sum[k];
  }
  s->count = kept;
}

/* Room for one more: what is there is made compact first, so that memory follows the number of pairs of groups, not of tiles. */
static PetscErrorCode append(PairSums *s, PairSum sum)
{
  PetscFunctionBeginUser;
  if (s->count == s->capacity) {
    compact(s);
    if (2 * s->count > s->capacity) {
      s->capacity = 2 * s->capacity;
      PetscCall(PetscRealloc((size_t)s->capacity * sizeof *s->sum, &s->sum));
    }
  }
  s->sum[s->count++] = sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums of the tile's rows over each group of its columns into row_sums (rows, groups of the columns, 2). */
static void sum_rows(PairSums *s, const PairTile *tile, PetscInt first_group, PetscInt groups)
{
  static const Kernel distance = {.kind = KERNEL_DISTANCE};
  const PetscBool     kernel   = needs_kernel(&s->kernel);

#pragma omp parallel for schedule(dynamic, 8)
  for (PetscInt i = 0; i < tile->rows; i++) {
    const double *row = tile->distance + (size_t)i * (size_t)tile->ld;
    double       *out = s->row_sums + 2 * (size_t)i * (size_t)groups;

    for (PetscInt g = 0; g < groups; g++) {
      const PetscInt64 begin = PetscMax(0, s->start[first_group + g] - tile->first_column), end = PetscMin(tile->columns, s->start[first_group + g + 1] - tile->first_column);
      const PetscInt   count = (PetscInt)(end - begin);

      out[2 * g]     = kernel ? kernel_sum(&s->kernel, count, tile->row_square[i], tile->column_square + begin, row + begin) : 0;
      out[2 * g + 1] = kernel_sum(&distance, count, 0, NULL, row + begin);
    }
  }
}

static PetscErrorCode add_tile(void *context, const PairTile *tile)
{
  PairSums      *s           = context;
  const PetscInt first_group = group_at(s, tile->first_column), groups = group_at(s, tile->first_column + tile->columns - 1) - first_group + 1;
  const PetscInt first_row = group_at(s, tile->first_row), last_row = group_at(s, tile->first_row + tile->rows - 1);
  const size_t   room = 2 * (size_t)tile->rows * (size_t)groups;

  PetscFunctionBeginUser;
  if (s->room < (PetscInt64)room) {
    PetscCall(PetscFree(s->row_sums));
    PetscCall(PetscMalloc1(room, &s->row_sums));
    s->room = (PetscInt64)room;
  }
  sum_rows(s, tile, first_group, groups);
  for (PetscInt r = first_row; r <= last_row; r++) {
    const PetscInt64 begin = PetscMax(0, s->start[r] - tile->first_row), end = PetscMin(tile->rows, s->start[r + 1] - tile->first_row);

    for (PetscInt g = 0; g < groups && first_group + g <= r; g++) {
      const double twice = first_group + g == r && !tile->diagonal ? 2 : 1;
      PairSum      sum   = {.row = (int32_t)r, .column = (int32_t)(first_group + g)};
      for (PetscInt64 i = begin; i < end; i++) {
        sum.kernel += twice * s->row_sums[2 * (i * groups + g)];
        sum.distance += twice * s->row_sums[2 * (i * groups + g) + 1];
      }
      PetscCall(append(s, sum));
    }
    for (PetscInt64 i = begin; tile->diagonal && i < end; i++) {
      s->self[r] += kernel_self(&s->kernel, tile->row_square[i]);
      s->norm[r] += sqrt(tile->row_square[i]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairsums_gather(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, const PairPlan *plan, PairSums *s)
{
  PetscFunctionBeginUser;
  *s = (PairSums){.groups = groups, .kernel = *kernel, .capacity = FIRST_CAPACITY};
  PetscCall(PetscMalloc1(groups + 1, &s->start));
  PetscCall(PetscCalloc2(groups, &s->self, groups, &s->norm));
  PetscCall(PetscMalloc1(s->capacity, &s->sum));
  s->start[0] = 0;
  for (PetscInt i = 0; i < groups; i++) {
    PetscCheck(group[i].cells > 0, comm, PETSC_ERR_ARG_SIZ, "Group %d has no cells", (int)i);
    s->start[i + 1] = s->start[i] + group[i].cells;
  }
  PetscCall(pairs_visit(comm, groups, group, plan, add_tile, s));
  compact(s);
  PetscCall(PetscFree(s->row_sums));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s->self, groups, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s->norm, groups, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairsums_destroy(PairSums *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(s->start));
  PetscCall(PetscFree2(s->self, s->norm));
  PetscCall(PetscFree(s->sum));
  PetscCall(PetscFree(s->row_sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double pairsums_mean(const PairSums *s, PetscInt i, PetscInt j, double kernel, double distance)
{
  const double cells_i = (double)pairsums_cells(s, i), cells_j = (double)pairsums_cells(s, j), mean = distance / (cells_i * cells_j);

  if (s->kernel.kind == KERNEL_DISTANCE) return mean;
  if (s->kernel.kind == KERNEL_ENERGY) return (s->norm[i] / cells_i + s->norm[j] / cells_j - mean) / 2;
  return kernel / (cells_i * cells_j);
}

PetscErrorCode kernel_means(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, double *means, double *self)
{
  const size_t n = (size_t)groups;
  PairSums     s;
  double      *distance;
  int          ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  const PairPlan plan = pairs_plan(groups_cells(groups, group), features_dimension(group->features), ranks, 0);
  PetscCall(pairsums_gather(comm, kernel, groups, group, &plan, &s));
  PetscCall(PetscCalloc1(n * n, &distance));
  PetscCall(PetscArrayzero(means, n * n));
  for (PetscInt64 k = 0; k < s.count; k++) {
    const size_t place = (size_t)s.sum[k].row * n + (size_t)s.sum[k].column;
    means[place]       = s.sum[k].kernel;
    distance[place]    = s.sum[k].distance;
  }
  PetscCall(sum_over_ranks(comm, (PetscInt64)(n * n), MPI_DOUBLE, means));
  PetscCall(sum_over_ranks(comm, (PetscInt64)(n * n), MPI_DOUBLE, distance));
  for (PetscInt i = 0; i < groups; i++) {
    for (PetscInt j = 0; j <= i; j++) {
      const size_t place = (size_t)i * n + (size_t)j;
      means[place] = means[(size_t)j * n + (size_t)i] = pairsums_mean(&s, i, j, means[place], distance[place]);
    }
    if (self) self[i] = s.self[i] / (double)pairsums_cells(&s, i);
  }
  PetscCall(PetscFree(distance));
  PetscCall(pairsums_destroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode energy_distance(PetscInt64 n, const double *x, PetscInt64 m, const double *y, PetscInt dimension, double *distance)
{
  static const Kernel euclidean = {.kind = KERNEL_DISTANCE};
  CellFeatures       *features[2];
  double              means[4];

  PetscFunctionBeginUser;
  PetscCall(features_from_doubles(n, dimension, x, &features[0]));
  PetscCall(features_from_doubles(m, dimension, y, &features[1]));
  const CellGroup group[2] = {{features[0], 0, n}, {features[1], 0, m}};
  PetscCall(kernel_means(PETSC_COMM_SELF, &euclidean, 2, group, means, NULL));
  *distance = 2 * means[1] - means[0] - means[3];
  PetscCall(features_destroy(&features[0]));
  PetscCall(features_destroy(&features[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
