/* Nystrom features, covariance operators and components against numpy (tests/data/hilbert/make_spectrum.py), and against the spectrum of a Gaussian kernel under a Gaussian
   measure. */
#include "check.h"
#include "normal_quantile.h"
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/grid.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 5, CELLS = 150, GENES = 23, LANDMARKS = 19, COMPONENTS = GROUPS - 1 };

static float         cells[CELLS * GENES];
static int64_t       start[GROUPS + 1];
static PetscInt64    landmark[LANDMARKS];
static double        bandwidths[3];
static hid_t         expected_h5;
static CellFeatures *features;
static CellGroup     group[GROUPS];
static BlockGrid    *grid;

static void path_of(const char *name, char *path, size_t size) { snprintf(path, size, "%s/tests/data/hilbert/%s", getenv("srcdir") ? getenv("srcdir") : ".", name); }

static void load(const char *kernel, const char *name, PetscInt64 rows, double *values)
{
  char path[64];

  snprintf(path, sizeof path, "%s/%s", kernel, name);
  check_call(h5_read_slab(expected_h5, path, H5T_NATIVE_DOUBLE, 0, rows, values));
}

static int open_expected(void **state)
{
  char  path[PETSC_MAX_PATH_LEN];
  hid_t h5;

  path_of("expected.h5", path, sizeof path);
  check_call(file_open(PETSC_COMM_WORLD, path, "expected numbers", &h5));
  check_call(h5_read_slab(h5, "cells", H5T_NATIVE_FLOAT, 0, CELLS, cells));
  check_call(h5_read_slab(h5, "start", H5T_NATIVE_INT64, 0, GROUPS + 1, start));
  check_call(h5_read_slab(h5, "bandwidths", H5T_NATIVE_DOUBLE, 0, 3, bandwidths));
  H5Fclose(h5);
  path_of("spectrum.h5", path, sizeof path);
  check_call(file_open(PETSC_COMM_WORLD, path, "expected numbers", &expected_h5));
  check_call(h5_read_slab(expected_h5, "landmark", H5T_NATIVE_INT64, 0, LANDMARKS, landmark));
  check_call(features_from_floats(CELLS, GENES, cells, &features));
  for (int i = 0; i < GROUPS; i++) group[i] = (CellGroup){features, start[i], start[i + 1] - start[i]};
  check_call(blockgrid_create(PETSC_COMM_WORLD, LANDMARKS, &grid));
  return 0;
}

static int close_expected(void **state)
{
  check_call(blockgrid_destroy(&grid));
  check_call(features_destroy(&features));
  return H5Fclose(expected_h5) < 0;
}

static Kernel kernel_of(KernelKind kind)
{
  Kernel kernel = {.kind = kind};

  if (kernel_has_bandwidth(kind)) {
    kernel.bandwidths = 3;
    for (int b = 0; b < 3; b++) kernel.bandwidth[b] = bandwidths[b];
  }
  return kernel;
}

static void check_all(const double *values, const double *expected, int count, double tolerance, double scale)
{
  for (int i = 0; i < count; i++) check_close(values[i], expected[i], tolerance, scale);
}

static void against_numpy(void **state)
{
  static const KernelKind kinds[2] = {KERNEL_ENERGY, KERNEL_GAUSSIAN};
  double                  values[CELLS * LANDMARKS], expected[CELLS * LANDMARKS], coefficient[LANDMARKS * COMPONENTS], constant[COMPONENTS];
  int                     rank, ranks;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  for (int k = 0; k < 2; k++) {
    const Kernel         kernel = kernel_of(kinds[k]);
    const char          *name   = kernel_name[kinds[k]];
    Nystrom              n;
    BlockMatrix          phi, embeddings, gram, within;
    PopulationComponents c;
    NystromError         error;
    long long            first, own;

    check_call(nystrom_create(grid, &kernel, PRODUCTS_DOUBLE, GROUPS, group, LANDMARKS, landmark, &n));
    assert_true(n.jitter == 0);
    check_call(nystrom_features(&n, GROUPS, group, 0, CELLS, &phi));
    check_call(blockmatrix_replicate(&phi, 0, LANDMARKS, values));
    load(name, "features", CELLS, expected);
    check_all(values, expected, CELLS * LANDMARKS, 1e-10, 1);
    check_call(blockmatrix_destroy(&phi));
    check_call(nystrom_embeddings(&n, GROUPS, group, &embeddings, NULL));
    check_call(blockmatrix_replicate(&embeddings, 0, LANDMARKS, values));
    load(name, "embeddings", GROUPS, expected);
    check_all(values, expected, GROUPS * LANDMARKS, 1e-10, 1);
    check_call(nystrom_error(&n, GROUPS, group, 100, 1000, 0, &error));
    load(name, "error", 3, expected);
    assert_int_equal(error.cells, CELLS);
    check_close(error.gram, expected[0], 1e-10, 1);
    check_close(error.mmd, expected[1], 1e-10, 1);
    check_close(error.residual, expected[2], 1e-10, 1);
    check_call(nystrom_covariance(&n, GROUPS, group, 1000, 0, &within));
    check_call(operator_spectrum(&within, values));
    load(name, "within", LANDMARKS, expected);
    check_all(values, expected, LANDMARKS, 1e-10, 1);
    check_call(nystrom_gram(&embeddings, &gram));
    check_call(population_components(&gram, PETSC_TRUE, COMPONENTS, &c));
    load(name, "between", COMPONENTS, expected);
    check_all(c.eigenvalue, expected, COMPONENTS, 1e-10, 1);
    check_close(c.eigenvalue[COMPONENTS], 0, 1e-12, 1);
    load(name, "coordinate", GROUPS, expected);
    check_all(c.coordinate, expected, GROUPS * COMPONENTS, 1e-10, 1);
    load(name, "participation", 1, expected);
    check_close(participation_ratio(GROUPS, c.eigenvalue), expected[0], 1e-10, 1);
    load(name, "effective", 3, expected);
    check_close(effective_dimension(GROUPS, c.eigenvalue, c.eigenvalue[0]), expected[0], 1e-10, 1);
    check_close(effective_dimension(GROUPS, c.eigenvalue, c.eigenvalue[2]), expected[1], 1e-10, 1);
    check_close(effective_dimension(GROUPS, c.eigenvalue, 1e-3), expected[2], 1e-10, 1);
    check_call(component_functions(&n, &embeddings, &c, coefficient, constant));
    share_of(CELLS, rank, ranks, &first, &own);
    check_call(nystrom_values(PETSC_COMM_WORLD, &n, GROUPS, group, COMPONENTS, coefficient, constant, values));
    load(name, "function", CELLS, expected);
    check_all(values, expected + first * COMPONENTS, (int)own * COMPONENTS, 1e-9, 1);
    check_call(population_components_free(&c));
    check_call(blockmatrix_destroy(&within));
    check_call(blockmatrix_destroy(&gram));
    check_call(blockmatrix_destroy(&embeddings));
    check_call(nystrom_destroy(&n));
  }
}

/* All cells as landmarks: the projection is the identity, so the Gram matrix is the exact one; two equal cells among them need jitter. */
static void all_cells_are_landmarks(void **state)
{
  const Kernel kernel = kernel_of(KERNEL_ENERGY);
  PetscInt64   all[CELLS];
  BlockGrid   *own;
  Nystrom      n;
  NystromError error;

  for (int i = 0; i < CELLS; i++) all[i] = i;
  check_call(blockgrid_create(PETSC_COMM_WORLD, CELLS, &own));
  check_call(nystrom_create(own, &kernel, PRODUCTS_DOUBLE, GROUPS, group, CELLS, all, &n));
  assert_true(n.jitter > 0); /* cells 10 and 70 are the same, cell 100 is zero */
  check_call(nystrom_error(&n, GROUPS, group, GROUPS, CELLS, 0, &error));
  check_close(error.gram, 0, 1e-9, 1);
  check_close(error.mmd, 0, 1e-8, 1);
  check_close(error.residual, 0, 1e-4, 1);
  check_call(nystrom_destroy(&n));
  /* Products in single precision: what they cost. */
  check_call(nystrom_create(own, &kernel, PRODUCTS_SINGLE, GROUPS, group, CELLS, all, &n));
  check_call(nystrom_error(&n, GROUPS, group, GROUPS, CELLS, 0, &error));
  check_close(error.gram, 0, 1e-5, 1);
  check_call(nystrom_destroy(&n));
  check_call(blockgrid_destroy(&own));
}

/* Choices: ascending, distinct, the same for a seed, within their strata; what uniform and stratified draws must hold. */
static void choices_of_landmarks(void **state)
{
  const Kernel kernel = kernel_of(KERNEL_ENERGY);
  PetscInt64   one[CELLS], other[CELLS];
  int          from[GROUPS] = {0};

  for (int choice = LANDMARKS_UNIFORM; choice <= LANDMARKS_LEVERAGE; choice++) {
    check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, (LandmarkChoice)choice, 40, 5, one));
    for (int j = 0; j < 40; j++) assert_true(one[j] >= 0 && one[j] < CELLS && (!j || one[j] > one[j - 1]));
    check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, (LandmarkChoice)choice, 40, 5, other));
    assert_memory_equal(one, other, 40 * sizeof *one);
    /* The same on every rank, and on any number of ranks: rank 0 alone draws the same. */
    check_call(landmarks_choose(PETSC_COMM_SELF, &kernel, GROUPS, group, (LandmarkChoice)choice, 40, 5, other));
    assert_memory_equal(one, other, 40 * sizeof *one);
    check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, (LandmarkChoice)choice, 40, 6, other));
    assert_true(memcmp(one, other, 40 * sizeof *one));
    check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, (LandmarkChoice)choice, CELLS, 5, one));
    for (int j = 0; j < CELLS; j++) assert_int_equal(one[j], j);
    assert_int_equal(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, (LandmarkChoice)choice, CELLS + 1, 5, one), ERROR_USER);
  }
  /* Groups of 40, 3, 61, 17 and 29 cells share 40: 3 give all they have, the others 9 or 10. */
  check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, GROUPS, group, LANDMARKS_STRATIFIED, 40, 5, one));
  for (int j = 0; j < 40; j++)
    for (int g = 0; g < GROUPS; g++) from[g] += one[j] >= start[g] && one[j] < start[g + 1];
  assert_int_equal(from[1], 3);
  for (int g = 0; g < GROUPS; g++)
    if (g != 1) assert_in_range(from[g], 9, 10);
}

/* One cell far from 199 copies of nearly the same: its leverage is near 1; uniform draws of 8 miss it 24 times in 25. */
static void leverage_finds_the_odd_cell(void **state)
{
  const Kernel  kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {1}};
  double        x[200 * 2];
  PetscInt64    chosen[8];
  CellFeatures *own;
  int           found[2] = {0};

  for (int i = 0; i < 200; i++) {
    x[2 * i]     = i == 120 ? 9 : 1e-3 * sin(i);
    x[2 * i + 1] = 1e-3 * cos(1.7 * i);
  }
  check_call(features_from_doubles(200, 2, x, &own));
  const CellGroup all = {own, 0, 200};
  for (int choice = 0; choice < 2; choice++)
    for (uint64_t seed = 0; seed < 20; seed++) {
      check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, 1, &all, choice ? LANDMARKS_LEVERAGE : LANDMARKS_UNIFORM, 8, seed, chosen));
      for (int j = 0; j < 8; j++) found[choice] += chosen[j] == 120;
    }
  assert_in_range(found[0], 0, 5);
  assert_in_range(found[1], 15, 20);
  check_call(features_destroy(&own));
}

/* ---- Closed forms. Evenly spaced quantiles stand for N(0, deviation^2). ---- */

/* Eigenvalue k of the operator of exp(-(x-y)^2 / (2 h^2)) under N(0, s^2) (Zhu et al. 1998; Rasmussen & Williams 2006, eq. 4.40). */
static double mercer(int k, double h, double s)
{
  const double a = 1 / (4 * s * s), b = 1 / (2 * h * h), c = sqrt(a * a + 2 * a * b), total = a + b + c;

  return sqrt(2 * a / total) * pow(b / total, k);
}

/* Cells as populations of one: the second moment operator has Mercer's eigenvalues; centred, the odd ones, whose eigenfunctions have mean 0. First order in 1/n or better. */
static void spectrum_of_the_gaussian_kernel(void **state)
{
  enum { MOST = 400 };
  const Kernel kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {0.9}};
  double       x[MOST], error[2][4];

  for (int fine = 0; fine < 2; fine++) {
    const int            n = fine ? MOST : MOST / 4;
    CellFeatures        *own;
    CellGroup            one[MOST];
    Gram                 gram;
    BlockGrid           *cells_grid;
    PopulationComponents raw, centered;

    for (int i = 0; i < n; i++) x[i] = 1.2 * normal_quantile((i + 0.5) / n);
    check_call(features_from_doubles(n, 1, x, &own));
    for (int i = 0; i < n; i++) one[i] = (CellGroup){own, i, 1};
    const PairPlan plan = pairs_plan(n, 1, 1, 0);
    check_call(blockgrid_create(PETSC_COMM_WORLD, n, &cells_grid));
    check_call(gram_assemble(cells_grid, &kernel, n, one, &plan, &gram));
    check_call(population_components(&gram.product, PETSC_FALSE, 1, &raw));
    check_call(population_components(&gram.product, PETSC_TRUE, 1, &centered));
    for (int k = 0; k < 3; k++) error[fine][k] = fabs(raw.eigenvalue[k] / mercer(k, 0.9, 1.2) - 1);
    double nearest = 1;
    for (int k = 0; k < 4; k++) nearest = PetscMin(nearest, fabs(centered.eigenvalue[k] / mercer(1, 0.9, 1.2) - 1));
    error[fine][3] = nearest;
    check_call(population_components_free(&raw));
    check_call(population_components_free(&centered));
    check_call(gram_destroy(&gram));
    check_call(blockgrid_destroy(&cells_grid));
    check_call(features_destroy(&own));
  }
  for (int k = 0; k < 4; k++) {
    check_close(error[1][k], 0, 2e-2, 1);
    if (!(error[1][k] < 0.35 * error[0][k])) fail_msg("eigenvalue %d: error %g with 100 cells, %g with 400", k, error[0][k], error[1][k]);
  }
}

/* m landmarks leave out at least the tail of Mercer's eigenvalues (half of it, as these cells end at 3 deviations), and not 30 times as much; two more landmarks leave out less. */
static void landmarks_against_the_tail(void **state)
{
  enum { N = 600 };
  const double  h = 0.9, s = 1.2;
  const Kernel  kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  double        x[N], before = 1;
  CellFeatures *own;

  for (int i = 0; i < N; i++) x[i] = s * normal_quantile((i + 0.5) / N);
  check_call(features_from_doubles(N, 1, x, &own));
  const CellGroup all = {own, 0, N};
  for (int m = 4; m <= 10; m += 2) {
    PetscInt64   chosen[12];
    BlockGrid   *own_grid;
    Nystrom      n;
    NystromError error;
    double       tail = 0;

    /* Landmarks spread evenly over the range of x. */
    for (int j = 0, i = 0; j < m; j++) {
      const double at = 3.2 * s * (2 * (j + 0.5) / m - 1);
      while (i < N - 1 && x[i] < at) i++;
      chosen[j] = PetscMin(N - m + j, PetscMax(i, j));
      if (j && chosen[j] <= chosen[j - 1]) chosen[j] = chosen[j - 1] + 1;
    }
    for (int k = m; k < 60; k++) tail += mercer(k, h, s);
    check_call(blockgrid_create(PETSC_COMM_WORLD, m, &own_grid));
    check_call(nystrom_create(own_grid, &kernel, PRODUCTS_DOUBLE, 1, &all, m, chosen, &n));
    check_call(nystrom_error(&n, 1, &all, 1, N, 0, &error));
    if (!(error.residual > 0.5 * tail && error.residual < 30 * tail)) fail_msg("%d landmarks leave out %g, the tail is %g", m, error.residual, tail);
    if (!(error.residual < 0.8 * before)) fail_msg("%d landmarks leave out %g, two fewer %g", m, error.residual, before);
    before = error.residual;
    check_call(nystrom_destroy(&n));
    check_call(blockgrid_destroy(&own_grid));
  }
  check_call(features_destroy(&own));
}

/* Embeddings of N(a, s^2) under the Gaussian kernel: <mu_a, mu_b> = h / g exp(-(a-b)^2 / (2 g^2)), g^2 = h^2 + 2 s^2; with a ~ N(0, t^2) their second moment operator has
   Mercer's eigenvalues of bandwidth g under N(0, t^2), times h / g. */
static void spectrum_of_populations(void **state)
{
  enum { POPULATIONS = 80, EACH = 60 };
  const double         h = 1, s = 0.7, t = 1.5, g = sqrt(h * h + 2 * s * s);
  const Kernel         kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  static double        x[POPULATIONS * EACH];
  CellFeatures        *own;
  CellGroup            population[POPULATIONS];
  PetscInt64           chosen[40];
  Nystrom              n;
  BlockMatrix          embeddings, gram;
  BlockGrid           *own_grid;
  PopulationComponents c;

  check_call(features_from_doubles(POPULATIONS * EACH, 1, x, &own));
  for (int p = 0; p < POPULATIONS; p++) {
    for (int i = 0; i < EACH; i++) x[p * EACH + i] = t * normal_quantile((p + 0.5) / POPULATIONS) + s * normal_quantile((i + 0.5) / EACH);
    population[p] = (CellGroup){own, p * EACH, EACH};
  }
  check_call(landmarks_choose(PETSC_COMM_WORLD, &kernel, POPULATIONS, population, LANDMARKS_STRATIFIED, 40, 1, chosen));
  check_call(blockgrid_create(PETSC_COMM_WORLD, POPULATIONS, &own_grid));
  check_call(nystrom_create(own_grid, &kernel, PRODUCTS_DOUBLE, POPULATIONS, population, 40, chosen, &n));
  check_call(nystrom_embeddings(&n, POPULATIONS, population, &embeddings, NULL));
  check_call(nystrom_gram(&embeddings, &gram));
  check_call(population_components(&gram, PETSC_FALSE, 3, &c));
  for (int k = 0; k < 3; k++) check_close(c.eigenvalue[k], h / g * mercer(k, g, t), 0.05, h / g * mercer(k, g, t));
  check_call(population_components_free(&c));
  check_call(blockmatrix_destroy(&gram));
  check_call(blockmatrix_destroy(&embeddings));
  check_call(nystrom_destroy(&n));
  check_call(blockgrid_destroy(&own_grid));
  check_call(features_destroy(&own));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(against_numpy),
                                          cmocka_unit_test(all_cells_are_landmarks),
                                          cmocka_unit_test(choices_of_landmarks),
                                          cmocka_unit_test(leverage_finds_the_odd_cell),
                                          cmocka_unit_test(spectrum_of_the_gaussian_kernel),
                                          cmocka_unit_test(landmarks_against_the_tail),
                                          cmocka_unit_test(spectrum_of_populations)};

int main(int argc, char **argv)
{
  int rank, failed, worst;

  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  error_handler_install();
  if (MPI_Comm_rank(PETSC_COMM_WORLD, &rank)) return 1;
  if (rank && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, open_expected, close_expected);
  if (MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD)) return 1;
  PetscFinalize();
  return worst ? 1 : 0;
}
