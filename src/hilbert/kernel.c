/* Kernels as functions of squared distances, in loops that vectorise. */
#include <math.h>
#include <perturbdiff/hilbert/kernel.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/exponential.h>
#include <perturbdiff/runtime/random.h>

const char *const kernel_name[KERNELS] = {"energy", "gaussian", "inverse_multiquadric", "laplace", "linear", "distance"};

PetscBool kernel_has_bandwidth(KernelKind kind)
{
  return kind == KERNEL_GAUSSIAN || kind == KERNEL_INVERSE_MULTIQUADRIC || kind == KERNEL_LAPLACE ? PETSC_TRUE : PETSC_FALSE;
}

#define always_inline static inline __attribute__((always_inline))

/* Scale of a bandwidth inside the formula below. */
always_inline double inner_scale(KernelKind kind, double h) { return kind == KERNEL_GAUSSIAN ? -1 / (2 * h * h) : kind == KERNEL_LAPLACE ? -1 / h : 1 / (h * h); }

always_inline double value_of(KernelKind kind, double scale, double square_x, double square_y, double distance)
{
  switch (kind) {
  case KERNEL_GAUSSIAN: return exponential_double(scale * distance);
  case KERNEL_LAPLACE: return exponential_double(scale * sqrt(distance));
  case KERNEL_INVERSE_MULTIQUADRIC: return 1 / sqrt(1 + scale * distance);
  case KERNEL_ENERGY: return (sqrt(square_x) + sqrt(square_y) - sqrt(distance)) / 2;
  case KERNEL_LINEAR: return (square_x + square_y - distance) / 2;
  default: return sqrt(distance);
  }
}

always_inline double mean_over_bandwidths(KernelKind kind, PetscInt bandwidths, const double *scale, double square_x, double square_y, double distance)
{
  double sum = 0;

  if (!bandwidths) return value_of(kind, 0, square_x, square_y, distance);
  for (PetscInt b = 0; b < bandwidths; b++) sum += value_of(kind, scale[b], square_x, square_y, distance);
  return sum / bandwidths;
}

/* One pair of loops for each kind and for kinds with bandwidths each their number, so that what is inside is straight-line code. */
#define define_loops(name, kind, reads_y) \
  VECTOR_CLONES static void apply_##name(PetscInt count, PetscInt bandwidths, const double *scale, double square_x, const double *square_y, const double *distance, double *value) \
  { \
    _Pragma("GCC ivdep") for (PetscInt j = 0; j < count; j++) value[j] = mean_over_bandwidths(kind, bandwidths, scale, square_x, reads_y ? square_y[j] : 0, distance[j]); \
  } \
  VECTOR_CLONES static double sum_##name(PetscInt count, PetscInt bandwidths, const double *scale, double square_x, const double *square_y, const double *distance) \
  { \
    double sum = 0; \
    if (!bandwidths) { \
      _Pragma("omp simd reduction(+ : sum)") for (PetscInt j = 0; j < count; j++) sum += value_of(kind, 0, square_x, reads_y ? square_y[j] : 0, distance[j]); \
      return sum; \
    } \
    for (PetscInt b = 0; b < bandwidths; b++) { \
      const double own = scale[b]; \
      _Pragma("omp simd reduction(+ : sum)") for (PetscInt j = 0; j < count; j++) sum += value_of(kind, own, square_x, reads_y ? square_y[j] : 0, distance[j]); \
    } \
    return sum / bandwidths; \
  }

define_loops(energy, KERNEL_ENERGY, 1)
define_loops(gaussian, KERNEL_GAUSSIAN, 0)
define_loops(inverse_multiquadric, KERNEL_INVERSE_MULTIQUADRIC, 0)
define_loops(laplace, KERNEL_LAPLACE, 0)
define_loops(linear, KERNEL_LINEAR, 1)
define_loops(distance, KERNEL_DISTANCE, 0)

typedef void (*Apply)(PetscInt, PetscInt, const double *, double, const double *, const double *, double *);
typedef double (*Sum)(PetscInt, PetscInt, const double *, double, const double *, const double *);

static const Apply apply[KERNELS]  = {apply_energy, apply_gaussian, apply_inverse_multiquadric, apply_laplace, apply_linear, apply_distance};
static const Sum   sum_of[KERNELS] = {sum_energy, sum_gaussian, sum_inverse_multiquadric, sum_laplace, sum_linear, sum_distance};

static void inner_scales(const Kernel *kernel, double *scale)
{
  for (PetscInt b = 0; b < kernel->bandwidths; b++) scale[b] = inner_scale(kernel->kind, kernel->bandwidth[b]);
}

void kernel_apply(const Kernel *kernel, PetscInt count, double square_x, const double *square_y, const double *distance, double *value)
{
  double scale[KERNEL_BANDWIDTHS];

  inner_scales(kernel, scale);
  apply[kernel->kind](count, kernel->bandwidths, scale, square_x, square_y, distance, value);
}

double kernel_sum(const Kernel *kernel, PetscInt count, double square_x, const double *square_y, const double *distance)
{
  double scale[KERNEL_BANDWIDTHS];

  inner_scales(kernel, scale);
  return sum_of[kernel->kind](count, kernel->bandwidths, scale, square_x, square_y, distance);
}

double kernel_self(const Kernel *kernel, double square)
{
  return kernel_has_bandwidth(kernel->kind) ? 1 : value_of(kernel->kind, 0, square, square, 0);
}

/* ---- The median heuristic (Gretton et al. 2012, JMLR 13, section 8) ---- */

typedef struct {
  PetscInt count;
  double  *distance;
} Collected;

static PetscErrorCode collect(void *context, const PairTile *tile)
{
  Collected *all = context;

  for (PetscInt i = 0; i < tile->rows; i++)
    for (PetscInt j = 0; j < (tile->diagonal ? i : tile->columns); j++) all->distance[all->count++] = tile->distance[(size_t)i * (size_t)tile->ld + (size_t)j];
  return PETSC_SUCCESS;
}

static PetscErrorCode sampled_rows(PetscInt groups, const CellGroup *group, PetscInt sample, uint64_t seed, double *rows)
{
  const PetscInt64   cells     = groups_cells(groups, group);
  const PetscInt     dimension = features_dimension(group->features);
  const RandomStream stream    = random_stream(seed, RANDOM_EMBED, 0, 0, 0);

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < sample; i++)
    PetscCall(groups_rows(groups, group, (PetscInt64)random_permuted(&stream, (uint64_t)cells, (uint64_t)i), 1, rows + (size_t)i * (size_t)dimension, dimension, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Median of the squared distances of all pairs of sampled cells. */
static PetscErrorCode median_square(PetscInt sample, PetscInt dimension, const double *rows, double *median)
{
  const PetscInt pairs = sample * (sample - 1) / 2;
  Collected      all   = {0};
  CellGroup      group = {.cells = sample};
  CellFeatures  *features;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(pairs, &all.distance));
  PetscCall(features_from_doubles(sample, dimension, rows, &features));
  group.features      = features;
  const PairPlan plan = pairs_plan(sample, dimension, 1, 0);
  PetscCall(pairs_visit(PETSC_COMM_SELF, 1, &group, &plan, collect, &all));
  PetscCall(PetscSortReal(pairs, all.distance));
  *median = pairs % 2 ? all.distance[pairs / 2] : (all.distance[pairs / 2 - 1] + all.distance[pairs / 2]) / 2;
  PetscCall(features_destroy(&features));
  PetscCall(PetscFree(all.distance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode kernel_median_bandwidths(MPI_Comm comm, PetscInt groups, const CellGroup *group, PetscInt sample, uint64_t seed, Kernel *kernel, double *median)
{
  static const double factor[5] = {0.25, 0.5, 1, 2, 4};
  const PetscInt      dimension = features_dimension(group->features);
  double             *rows, square = 0;

  PetscFunctionBeginUser;
  sample = (PetscInt)PetscMin(sample, groups_cells(groups, group));
  if (sample < 2) PetscFunctionReturn(error_user("one cell has no median distance; give -bandwidths"));
  PetscCall(PetscMalloc1((size_t)sample * (size_t)dimension, &rows));
  PetscErrorCode code = sampled_rows(groups, group, sample, seed, rows);
  if (!code) code = median_square(sample, dimension, rows, &square);
  PetscCall(PetscFree(rows));
  PetscCallAgree(comm, code);
  PetscCallMPI(MPI_Bcast(&square, 1, MPI_DOUBLE, 0, comm));
  if (!(square > 0)) PetscFunctionReturn(error_user("half of the pairs of %d sampled cells are equal: the median distance is 0; give -bandwidths or other cells", (int)sample));
  kernel->bandwidths = 5;
  for (int b = 0; b < 5; b++) kernel->bandwidth[b] = factor[b] * sqrt(square);
  if (median) *median = sqrt(square);
  PetscFunctionReturn(PETSC_SUCCESS);
}
