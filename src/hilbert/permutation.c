/* Permutation tests: weights of labellings, quadratic forms summed tile by tile, p-values. */
#include <cblas.h>
#include <math.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>
#include <perturbdiff/runtime/sum.h>

/* Labellings of a product, rows of a tile that meet them at a time, memory of the pairs beside them. */
enum { LABELLINGS = 256, ROWS = 256 };
#define PAIR_MEMORY 134217728.

/* ---- Labels ---- */

static PetscInt64 total(PetscInt blocks, const PetscInt64 *count)
{
  PetscInt64 sum = 0;

  for (PetscInt b = 0; b < blocks; b++) sum += count[b];
  return sum;
}

PetscErrorCode labels_weights(const Labels *labels, PetscInt labelling, PetscInt64 stride, double *weight)
{
  const PetscInt64 n = total(labels->blocks, labels->treated), m = total(labels->blocks, labels->cells) - n;
  PetscInt64       most = 0, first = 0;
  uint64_t        *place;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < labels->blocks; k++) most = PetscMax(most, PetscMin(labels->treated[k], labels->cells[k]));
  PetscCall(PetscMalloc1(most + 1, &place));
  for (PetscInt k = 0; k < labels->blocks; first += labels->cells[k++]) {
    /* The cells whose images are below the number of treated ones take their label. */
    const RandomStream stream = random_stream(labels->seed, labels->purpose, labels->step, labels->key ^ (uint32_t)k * 0x9e3779b9u, (uint32_t)labelling);

    for (PetscInt64 i = 0; i < labels->cells[k]; i++) weight[(first + i) * stride] = -1. / (double)m;
    for (PetscInt64 i = 0; i < labels->treated[k]; i++) place[i] = (uint64_t)i;
    if (labelling) random_preimages(&stream, (uint64_t)labels->cells[k], (uint64_t)labels->treated[k], place);
    for (PetscInt64 i = 0; i < labels->treated[k]; i++) weight[(first + (PetscInt64)place[i]) * stride] = 1. / (double)n;
  }
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double permutation_p(PetscInt permutations, const double *statistic, double scale)
{
  PetscInt as_large = 1;

  if (permutations < 1) return NAN;
  for (PetscInt b = 1; b <= permutations; b++) as_large += statistic[b] >= statistic[0] - 1e-12 * scale;
  return (double)as_large / (double)(1 + permutations);
}

/* ---- Quadratic forms ---- */

/* Sums over the pairs of a symmetric matrix M, zero on its diagonal where `unbiased`, under labellings w. */
typedef struct {
  PetscInt64    cells;
  PetscInt      labellings; /* columns of weight */
  const double *weight;     /* (cells, labellings) */
  double       *form;       /* (labellings) w'Mw */
  double       *row_sum;    /* (cells) M 1; NULL where not wanted */
  double       *product;    /* (ROWS, labellings) scratch */
  double        scale;      /* largest |M_ij| */
} Forms;

static PetscErrorCode forms_create(PetscInt64 cells, PetscInt labellings, const double *weight, PetscBool row_sums, Forms *f)
{
  PetscFunctionBeginUser;
  *f = (Forms){.cells = cells, .labellings = labellings, .weight = weight};
  PetscCall(PetscCalloc2(labellings, &f->form, (size_t)ROWS * (size_t)labellings, &f->product));
  if (row_sums) PetscCall(PetscCalloc1(cells, &f->row_sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode forms_destroy(Forms *f)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(f->form, f->product));
  PetscCall(PetscFree(f->row_sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block of M at (first_row, first_column); one off the diagonal stands for its mirror image too. */
static void forms_add(Forms *f, PetscInt64 first_row, PetscInt rows, PetscInt64 first_column, PetscInt columns, const double *values, PetscInt ld, PetscBool diagonal)
{
  const size_t l = (size_t)f->labellings;
  const double times = diagonal ? 1 : 2;

  for (PetscInt i = 0; i < rows; i++) {
    const double *row = values + (size_t)i * (size_t)ld;
    double        sum = 0;

    for (PetscInt j = 0; j < columns; j++) {
      f->scale = PetscMax(f->scale, fabs(row[j]));
      sum += row[j];
    }
    if (!f->row_sum) continue;
    f->row_sum[first_row + i] += sum;
    for (PetscInt j = 0; !diagonal && j < columns; j++) f->row_sum[first_column + j] += row[j];
  }
  for (PetscInt done = 0; done < rows; done += ROWS) {
    const PetscInt now = PetscMin(ROWS, rows - done);
    const double  *weight = f->weight + (size_t)(first_row + done) * l;

    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, now, f->labellings, columns, 1, values + (size_t)done * (size_t)ld, ld, f->weight + (size_t)first_column * l, f->labellings, 0,
                f->product, f->labellings);
    for (PetscInt i = 0; i < now; i++)
      for (size_t b = 0; b < l; b++) f->form[b] += times * weight[(size_t)i * l + b] * f->product[(size_t)i * l + b];
  }
}

/* The same sums on all ranks. */
static PetscErrorCode forms_reduce(MPI_Comm comm, Forms *f)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, f->form, f->labellings, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &f->scale, 1, MPI_DOUBLE, MPI_MAX, comm));
  if (f->row_sum) PetscCall(sum_over_ranks(comm, f->cells, MPI_DOUBLE, f->row_sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Unbiased MMD^2 of each labelling (Gretton et al. 2012, eq. 3) from w'Mw, M 1 and M's total, its diagonal zero. With a = (w + 1/m) nm/(n+m), 1 for treated cells and 0 for others, the sums
   over pairs within the treated, between and within the others are A = a'Ma, B = a'M1 - A and C = 1'M1 - A - 2B. */
static void forms_unbiased(const Forms *f, double n, double m, double *statistic)
{
  const double c = n * m / (n + m);
  double       all = 0;

  for (PetscInt64 i = 0; i < f->cells; i++) all += f->row_sum[i];
  for (PetscInt b = 0; b < f->labellings; b++) {
    double linear = 0;
    for (PetscInt64 i = 0; i < f->cells; i++) linear += f->weight[(size_t)i * (size_t)f->labellings + (size_t)b] * f->row_sum[i];
    const double within = c * c * (f->form[b] + 2 * linear / m + all / (m * m)), between = c * (linear + all / m) - within, others = all - within - 2 * between;
    statistic[b] = within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * between / (n * m);
  }
}

static PetscErrorCode draw_weights(const Labels *labels, PetscInt first, PetscInt count, double *weight)
{
  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < count; b++) PetscCall(labels_weights(labels, first + b, count, weight + b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode permutation_quadratic(const Labels *labels, const double *matrix, double sign, double *statistic, double *p_value)
{
  const PetscInt64 cells = total(labels->blocks, labels->cells);
  const PetscInt   all = labels->permutations + 1;
  double          *weight, *value, scale = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)cells * LABELLINGS, &weight, all, &value));
  for (PetscInt first = 0; first < all; first += LABELLINGS) {
    const PetscInt count = PetscMin(LABELLINGS, all - first);
    Forms          f;

    PetscCall(draw_weights(labels, first, count, weight));
    PetscCall(forms_create(cells, count, weight, PETSC_FALSE, &f));
    forms_add(&f, 0, (PetscInt)cells, 0, (PetscInt)cells, matrix, (PetscInt)cells, PETSC_TRUE);
    for (PetscInt b = 0; b < count; b++) value[first + b] = sign * f.form[b];
    scale = f.scale;
    PetscCall(forms_destroy(&f));
  }
  *statistic = value[0] + 0.; /* no negative zero */
  *p_value = permutation_p(labels->permutations, value, scale);
  PetscCall(PetscFree2(weight, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Cells ---- */

typedef struct {
  const Kernel *kernel;   /* NULL: only distances are needed */
  PetscBool     unbiased; /* no pairs of a cell with itself */
  Forms         distance, product;
  double       *value; /* kernel of a tile */
  size_t        room;
} Streamed;

static PetscErrorCode add_tile(void *context, const PairTile *tile)
{
  static const Kernel euclidean = {.kind = KERNEL_DISTANCE};
  Streamed           *s = context;
  const size_t        columns = (size_t)tile->columns;

  PetscFunctionBeginUser;
  if (s->room < (size_t)tile->rows * columns) {
    PetscCall(PetscFree(s->value));
    s->room = (size_t)tile->rows * columns;
    PetscCall(PetscMalloc1(s->room, &s->value));
  }
#pragma omp parallel for schedule(static)
  for (PetscInt i = 0; i < tile->rows; i++) {
    double *distance = tile->distance + (size_t)i * (size_t)tile->ld, *value = s->value + (size_t)i * columns;

    if (s->kernel) kernel_apply(s->kernel, tile->columns, tile->row_square[i], tile->column_square, distance, value);
    if (s->kernel && s->unbiased && tile->diagonal) value[i] = 0;
    kernel_apply(&euclidean, tile->columns, 0, NULL, distance, distance);
  }
  forms_add(&s->distance, tile->first_row, tile->rows, tile->first_column, tile->columns, tile->distance, tile->ld, tile->diagonal);
  if (s->kernel) forms_add(&s->product, tile->first_row, tile->rows, tile->first_column, tile->columns, s->value, tile->columns, tile->diagonal);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labellings whose weights are held at a time. */
static PetscInt labellings_held(PetscInt64 cells, PetscInt permutations, double memory)
{
  const double fit = memory / ((double)(cells + 2 * ROWS) * sizeof(double));

  return (PetscInt)PetscMin((double)permutations + 1, PetscMax(16, fit));
}

double permutation_bytes(PetscInt64 cells, PetscInt dimension, PetscInt permutations, double memory)
{
  const PairPlan plan = pairs_plan(cells, dimension, 1, PAIR_MEMORY);

  return pairs_bytes(&plan) + sizeof(double) * ((double)PetscMax(plan.rows, plan.columns) * plan.columns + (double)(cells + 2 * ROWS) * labellings_held(cells, permutations, memory) +
                                                2 * (double)cells + 2 * ((double)permutations + 1));
}

PetscErrorCode permutation_test(MPI_Comm comm, const Labels *labels, const Kernel *kernel, Statistic statistic, PetscInt groups, const CellGroup *group, double memory,
                                PermutationTest *test)
{
  const PetscInt64 cells = total(labels->blocks, labels->cells), treated = total(labels->blocks, labels->treated);
  const double     n = (double)treated, m = (double)(cells - treated);
  const PetscInt   all = labels->permutations + 1, held = labellings_held(cells, labels->permutations, memory);
  const PetscBool  unbiased = statistic == STATISTIC_U ? PETSC_TRUE : PETSC_FALSE, energy = kernel->kind == KERNEL_ENERGY ? PETSC_TRUE : PETSC_FALSE;
  double          *weight, *distance, *mmd, scale[2] = {0, 0};
  int              ranks;

  PetscFunctionBeginUser;
  PetscCheck(groups_cells(groups, group) == cells, comm, PETSC_ERR_ARG_SIZ, "Labels of %lld cells for groups of %lld", (long long)cells, (long long)groups_cells(groups, group));
  PetscCheck(n >= 1 + unbiased && m >= 1 + unbiased, comm, PETSC_ERR_ARG_SIZ, "A test needs cells on both sides");
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  const PairPlan plan = pairs_plan(cells, features_dimension(group->features), ranks, PAIR_MEMORY);
  PetscCall(PetscMalloc3((size_t)cells * (size_t)held, &weight, all, &distance, all, &mmd));
  for (PetscInt first = 0; first < all; first += held) {
    const PetscInt count = PetscMin(held, all - first);
    Streamed       s = {.kernel = energy ? NULL : kernel, .unbiased = unbiased};

    PetscCall(draw_weights(labels, first, count, weight));
    PetscCall(forms_create(cells, count, weight, energy && unbiased ? PETSC_TRUE : PETSC_FALSE, &s.distance));
    PetscCall(forms_create(cells, energy ? 1 : count, weight, unbiased, &s.product));
    PetscCall(pairs_visit(comm, groups, group, &plan, add_tile, &s));
    PetscCall(forms_reduce(comm, &s.distance));
    PetscCall(forms_reduce(comm, &s.product));
    for (PetscInt b = 0; b < count; b++) {
      distance[first + b] = -s.distance.form[b];
      /* |x| and |y| cancel in the discrepancies of the energy kernel: what is left is -|x-y|/2. */
      mmd[first + b] = energy ? -s.distance.form[b] / 2 : s.product.form[b];
    }
    if (unbiased) forms_unbiased(energy ? &s.distance : &s.product, n, m, mmd + first);
    for (PetscInt b = 0; energy && unbiased && b < count; b++) mmd[first + b] *= -0.5;
    scale[0] = s.distance.scale;
    scale[1] = energy ? scale[0] : s.product.scale;
    PetscCall(forms_destroy(&s.distance));
    PetscCall(forms_destroy(&s.product));
    PetscCall(PetscFree(s.value));
  }
  *test = (PermutationTest){.energy = distance[0] + 0., .mmd = mmd[0] + 0.};
  test->energy_p = permutation_p(labels->permutations, distance, scale[0]);
  test->mmd_p = permutation_p(labels->permutations, mmd, scale[1]);
  PetscCall(PetscFree3(weight, distance, mmd));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- False discovery rate ---- */

PetscErrorCode false_discovery_rates(PetscInt tests, const double *p_value, const unsigned char *dropped, double *fdr)
{
  Ranked  *ranked;
  PetscInt count = 0;
  double   least = INFINITY;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(tests, &ranked));
  for (PetscInt g = 0; g < tests; g++)
    if (!dropped || !dropped[g]) ranked[count++] = (Ranked){p_value[g], g};
  sort_smallest_first(count, ranked);
  for (PetscInt i = count; i-- > 0;) {
    least = PetscMin(least, ranked[i].value * ((double)count / (double)(i + 1)));
    fdr[ranked[i].index] = PetscMax(0, PetscMin(least, 1));
  }
  PetscCall(PetscFree(ranked));
  PetscFunctionReturn(PETSC_SUCCESS);
}
