/* Witness function of two populations and its mean gradient. */
#include <math.h>
#include <perturbdiff/hilbert/witness.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/sum.h>

/* Rows made dense at a time, memory of the pairs. */
enum { ROWS = 256 };
#define PAIR_MEMORY 134217728.

/* slope[j] = c(x, y_j) such that the gradient of k(x, y) in x is c (y - x), plus x / (2 |x|) for the energy kernel, which cancels between two populations; for squared
   distances[j] = |x-y_j|^2. Energy 1 / (2 |x-y|), Gaussian k / h^2, inverse multiquadric k^3 / h^2, Laplace k / (h |x-y|), 0 where x = y; mean over bandwidths. Linear: 0 (its gradient is y).
   slope may be distance. */
static void kernel_slopes(const Kernel *kernel, PetscInt count, const double *distance, double *slope)
{
  const PetscInt bandwidths = PetscMax(1, kernel->bandwidths);

  for (PetscInt j = 0; j < count; j++) {
    const double square = distance[j], d = sqrt(square);
    double       sum = 0;

    for (PetscInt b = 0; b < bandwidths; b++) {
      const double h = kernel->bandwidth[b];
      switch (kernel->kind) {
      case KERNEL_ENERGY: sum += d > 0 ? 0.5 / d : 0; break;
      case KERNEL_GAUSSIAN: sum += exp(-square / (2 * h * h)) / (h * h); break;
      case KERNEL_INVERSE_MULTIQUADRIC: sum += pow(1 + square / (h * h), -1.5) / (h * h); break;
      case KERNEL_LAPLACE: sum += d > 0 ? exp(-d / h) / (h * d) : 0; break;
      default: break;
      }
    }
    slope[j] = sum / bandwidths;
  }
}

/* With a = 1/n for treated and -1/m for control cells, v = 1/(2n) and 1/(2m), and C the symmetric matrix of slopes, the mean gradient sum_x v_x sum_y a_y C_xy (y - x) is
   sum_z (a_z (Cv)_z - v_z (Ca)_z) z: no product as large as cells x cells x dimension but the distances. */
typedef struct {
  const Kernel *kernel;
  const double *a, *v;
  double       *value, *by_a, *by_v; /* (cells) Ka, Ca, Cv */
  double       *kernels, *slopes;    /* (columns) of a row of a tile */
  PetscInt      room;
} Witness;

static PetscErrorCode add_tile(void *context, const PairTile *tile)
{
  Witness *w = context;

  PetscFunctionBeginUser;
  if (w->room < tile->columns) {
    PetscCall(PetscFree2(w->kernels, w->slopes));
    PetscCall(PetscMalloc2(tile->columns, &w->kernels, tile->columns, &w->slopes));
    w->room = tile->columns;
  }
  for (PetscInt i = 0; i < tile->rows; i++) {
    const double    *distance = tile->distance + (size_t)i * (size_t)tile->ld;
    const PetscInt64 x = tile->first_row + i;

    kernel_apply(w->kernel, tile->columns, tile->row_square[i], tile->column_square, distance, w->kernels);
    kernel_slopes(w->kernel, tile->columns, distance, w->slopes);
    for (PetscInt j = 0; j < tile->columns; j++) {
      const PetscInt64 y = tile->first_column + j;

      w->value[x] += w->a[y] * w->kernels[j];
      w->by_a[x] += w->a[y] * w->slopes[j];
      w->by_v[x] += w->v[y] * w->slopes[j];
      if (tile->diagonal) continue;
      w->value[y] += w->a[x] * w->kernels[j];
      w->by_a[y] += w->a[x] * w->slopes[j];
      w->by_v[y] += w->v[x] * w->slopes[j];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

double witness_bytes(PetscInt64 cells, PetscInt dimension)
{
  const PairPlan plan = pairs_plan(cells, dimension, 1, PAIR_MEMORY);

  return pairs_bytes(&plan) + sizeof(double) * (5 * (double)cells + 2 * (double)plan.columns);
}

/* gradient = sum over the cells [first, end) of factor times the cell. */
static PetscErrorCode weighted_sum(PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 end, const double *factor, double *gradient)
{
  const PetscInt d = features_dimension(group->features);
  PetscErrorCode code = PETSC_SUCCESS;
  double        *rows;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(gradient, d));
  PetscCall(PetscMalloc1((size_t)PetscMin(ROWS, end - first) * (size_t)d, &rows));
  for (; first < end && !code; first += ROWS) {
    const PetscInt64 count = PetscMin(ROWS, end - first);

    if ((code = groups_rows(groups, group, first, count, rows, d, NULL))) break;
    for (PetscInt64 i = 0; i < count; i++)
      for (PetscInt g = 0; g < d; g++) gradient[g] += factor[first + i] * rows[(size_t)i * (size_t)d + (size_t)g];
  }
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(code);
}

/* Sums over pairs from all ranks, then the gradient, each rank its share of the cells. */
static PetscErrorCode join(MPI_Comm comm, PetscInt groups, const CellGroup *group, PetscInt64 cells, const double *a, const double *v, Witness *w, double *gradient)
{
  int       rank, ranks;
  long long first, count;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  share_of(cells, rank, ranks, &first, &count);
  PetscCall(sum_over_ranks(comm, cells, MPI_DOUBLE, w->value));
  PetscCall(sum_over_ranks(comm, cells, MPI_DOUBLE, w->by_a));
  PetscCall(sum_over_ranks(comm, cells, MPI_DOUBLE, w->by_v));
  for (PetscInt64 z = 0; z < cells; z++) w->by_a[z] = w->kernel->kind == KERNEL_LINEAR ? a[z] : a[z] * w->by_v[z] - v[z] * w->by_a[z];
  PetscCallAgree(comm, weighted_sum(groups, group, first, first + count, w->by_a, gradient));
  PetscCall(sum_over_ranks(comm, features_dimension(group->features), MPI_DOUBLE, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode witness(MPI_Comm comm, const Kernel *kernel, PetscInt treated_groups, const CellGroup *treated, PetscInt control_groups, const CellGroup *control, double *value, double *gradient)
{
  const PetscInt64 n = groups_cells(treated_groups, treated), m = groups_cells(control_groups, control), cells = n + m;
  const PetscInt   groups = treated_groups + control_groups;
  PetscErrorCode   code;
  Witness          w = {.kernel = kernel};
  CellGroup       *group;
  double          *a, *v;
  int              ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCheck(n > 0 && m > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Witness of an empty population");
  const PairPlan plan = pairs_plan(cells, features_dimension(treated->features), ranks, PAIR_MEMORY);
  PetscCall(PetscMalloc3(groups, &group, cells, &a, cells, &v));
  PetscCall(PetscCalloc3(cells, &w.value, cells, &w.by_a, cells, &w.by_v));
  for (PetscInt g = 0; g < groups; g++) group[g] = g < treated_groups ? treated[g] : control[g - treated_groups];
  for (PetscInt64 z = 0; z < cells; z++) {
    a[z] = z < n ? 1. / (double)n : -1. / (double)m;
    v[z] = fabs(a[z]) / 2;
  }
  w.a = a;
  w.v = v;
  code = pairs_visit(comm, groups, group, &plan, add_tile, &w);
  if (!code) code = join(comm, groups, group, cells, a, v, &w, gradient);
  if (!code && value) PetscCall(PetscArraycpy(value, w.value, cells));
  PetscCall(PetscFree2(w.kernels, w.slopes));
  PetscCall(PetscFree3(w.value, w.by_a, w.by_v));
  PetscCall(PetscFree3(group, a, v));
  PetscFunctionReturn(code);
}
