/* Sums over pairs, Gram matrices, discrepancies and principal components against numpy, scipy and pertpy (tests/data/hilbert/make_expected.py), and against closed forms. */
#include "check.h"
#include "normal_quantile.h"
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime/file.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 5, CELLS = 150, GENES = 23 };

static float         cells[CELLS * GENES];
static int64_t       start[GROUPS + 1];
static double        bandwidths[3];
static hid_t         h5;
static CellFeatures *features;
static CellGroup     group[GROUPS];

static void load(const char *name, PetscInt64 rows, double *values) { check_call(h5_read_slab(h5, name, H5T_NATIVE_DOUBLE, 0, rows, values)); }

static int open_expected(void **state)
{
  char path[PETSC_MAX_PATH_LEN];

  snprintf(path, sizeof path, "%s/tests/data/hilbert/expected.h5", getenv("srcdir") ? getenv("srcdir") : ".");
  check_call(file_open(PETSC_COMM_WORLD, path, "expected numbers", &h5));
  check_call(h5_read_slab(h5, "cells", H5T_NATIVE_FLOAT, 0, CELLS, cells));
  check_call(h5_read_slab(h5, "start", H5T_NATIVE_INT64, 0, GROUPS + 1, start));
  load("bandwidths", 3, bandwidths);
  check_call(features_from_floats(CELLS, GENES, cells, &features));
  for (int i = 0; i < GROUPS; i++) group[i] = (CellGroup){features, start[i], start[i + 1] - start[i]};
  return 0;
}

static int close_expected(void **state)
{
  check_call(features_destroy(&features));
  return H5Fclose(h5) < 0;
}

static Kernel kernel_of(int kind)
{
  Kernel kernel = {.kind = (KernelKind)kind};

  if (kernel_has_bandwidth(kernel.kind)) {
    kernel.bandwidths = 3;
    for (int b = 0; b < 3; b++) kernel.bandwidth[b] = bandwidths[b];
  }
  return kernel;
}

static void means_of_kernels(void **state)
{
  double means[GROUPS * GROUPS], self[GROUPS], expected[GROUPS * GROUPS];
  char   name[64];

  for (int kind = 0; kind < KERNELS; kind++) {
    const Kernel kernel = kernel_of(kind);
    check_call(kernel_means(PETSC_COMM_WORLD, &kernel, GROUPS, group, means, self));
    snprintf(name, sizeof name, "means/%s", kernel_name[kind]);
    load(name, GROUPS, expected);
    for (int i = 0; i < GROUPS * GROUPS; i++) check_close(means[i], expected[i], 1e-12, fabs(expected[i]));
    snprintf(name, sizeof name, "self/%s", kernel_name[kind]);
    load(name, GROUPS, expected);
    for (int i = 0; i < GROUPS; i++) check_close(self[i], expected[i], 1e-12, 1 + fabs(expected[i]));
  }
}

/* A matrix on the grid, whole on every rank, against expected numbers; scale: what rounding is relative to. */
static void check_matrix(const BlockMatrix *m, const double *expected, double tolerance, double scale)
{
  double all[GROUPS * GROUPS];

  check_call(blockmatrix_replicate(m, 0, GROUPS, all));
  for (int i = 0; i < GROUPS * GROUPS; i++) check_close(all[i], expected[i], tolerance, scale > 0 ? scale : fabs(expected[i]));
}

static void gram_and_discrepancies(void **state)
{
  const PairPlan plans[] = {pairs_plan(CELLS, GENES, 2, 0), {CELLS, GENES, 31, 7, 5, PETSC_FALSE}, {CELLS, GENES, 1, 1, 1, PETSC_FALSE}, {CELLS, GENES, 150, 150, 3, PETSC_FALSE}};
  double         k[GROUPS * GROUPS], d[GROUPS * GROUPS], edistance[GROUPS * GROUPS], mmd[GROUPS * GROUPS], unbiased[GROUPS * GROUPS];
  BlockGrid     *grid;
  char           name[64];

  check_call(blockgrid_create(PETSC_COMM_WORLD, GROUPS, &grid));
  load("means/distance", GROUPS, d);
  load("pertpy_edistance", GROUPS, edistance);
  for (int kind = 0; kind < KERNEL_DISTANCE; kind++)
    for (int plan = 0; plan < 4; plan++) {
      const Kernel kernel = kernel_of(kind);
      Gram         gram;
      BlockMatrix  result;

      snprintf(name, sizeof name, "means/%s", kernel_name[kind]);
      load(name, GROUPS, k);
      snprintf(name, sizeof name, "mmd_u/%s", kernel_name[kind]);
      load(name, GROUPS, unbiased);
      for (int i = 0; i < GROUPS; i++)
        for (int j = 0; j < GROUPS; j++) mmd[i * GROUPS + j] = k[i * GROUPS + i] + k[j * GROUPS + j] - 2 * k[i * GROUPS + j];
      check_call(gram_assemble(grid, &kernel, GROUPS, group, &plans[plan], &gram));
      check_matrix(&gram.product, k, 1e-12, 0);
      check_matrix(&gram.distance, d, 1e-12, 0);
      check_call(gram_energy(&gram, &result));
      check_matrix(&result, edistance, 1e-6, 0);
      for (int i = 0; i < GROUPS; i++)
        for (int j = 0; j < GROUPS; j++) edistance[i * GROUPS + j] = 2 * d[i * GROUPS + j] - d[i * GROUPS + i] - d[j * GROUPS + j];
      check_matrix(&result, edistance, 1e-12, d[1]);
      check_call(blockmatrix_destroy(&result));
      check_call(gram_mmd(&gram, STATISTIC_V, &result));
      check_matrix(&result, mmd, 1e-12, k[0]);
      check_call(blockmatrix_destroy(&result));
      check_call(gram_mmd(&gram, STATISTIC_U, &result));
      check_matrix(&result, unbiased, 1e-12, k[0]);
      check_call(blockmatrix_destroy(&result));
      check_call(gram_destroy(&gram));
    }
  check_call(blockgrid_destroy(&grid));
}

static void bandwidths_of_the_median(void **state)
{
  Kernel kernel = {.kind = KERNEL_GAUSSIAN};
  double median, expected;

  load("median_distance", 1, &expected);
  check_call(kernel_median_bandwidths(PETSC_COMM_WORLD, GROUPS, group, 1000, 3, &kernel, &median));
  check_close(median, expected, 1e-12, expected);
  assert_int_equal(kernel.bandwidths, 5);
  check_close(kernel.bandwidth[0], expected / 4, 1e-12, expected);
  check_close(kernel.bandwidth[4], expected * 4, 1e-12, expected);
  /* A sample: near the median of all, the same for one seed, another for another. */
  check_call(kernel_median_bandwidths(PETSC_COMM_WORLD, GROUPS, group, 60, 3, &kernel, &median));
  check_close(median, expected, 0.1, expected);
  const double again = median;
  check_call(kernel_median_bandwidths(PETSC_COMM_WORLD, GROUPS, group, 60, 3, &kernel, &median));
  assert_true(median == again);
  check_call(kernel_median_bandwidths(PETSC_COMM_WORLD, GROUPS, group, 60, 4, &kernel, &median));
  assert_true(median != again);
  /* Equal cells have no bandwidth. */
  const CellGroup same = {features, 100, 1}, twice[2] = {same, same};
  assert_int_equal(kernel_median_bandwidths(PETSC_COMM_WORLD, 2, twice, 10, 0, &kernel, NULL), ERROR_USER);
}

static void components(void **state)
{
  static const char *const name[2] = {"pca", "pca_few"};
  double                   loadings[GENES * 6], variance[6], scores[CELLS * 6], row[6], total, means[GROUPS * GROUPS], expected[GROUPS * GROUPS];
  const Kernel             distance = {.kind = KERNEL_DISTANCE};
  char                     path[64];

  for (int few = 0; few < 2; few++) {
    const PetscInt      d = few ? 5 : 6;
    PrincipalComponents c;
    CellFeatures       *projected;
    CellGroup           own[GROUPS];

    check_call(principal_components(PETSC_COMM_WORLD, few ? 1 : GROUPS, few ? group + 3 : group, d, &c));
    snprintf(path, sizeof path, "%s/variance", name[few]);
    load(path, d, variance);
    snprintf(path, sizeof path, "%s/total", name[few]);
    load(path, 1, &total);
    snprintf(path, sizeof path, "%s/loadings", name[few]);
    load(path, GENES, loadings);
    snprintf(path, sizeof path, "%s/scores", name[few]);
    load(path, CELLS, scores);
    snprintf(path, sizeof path, "%s/distance", name[few]);
    load(path, GROUPS, expected);
    for (int k = 0; k < d; k++) check_close(c.variance[k], variance[k], 1e-12, variance[0]);
    check_close(c.total, total, 1e-12, total);
    for (int i = 0; i < GENES * d; i++) check_close(c.loadings[i], loadings[i], 1e-10, 1);
    check_call(features_project(PETSC_COMM_WORLD, features, &c, &projected));
    assert_int_equal(features_dimension(projected), d);
    for (int i = 0; i < CELLS; i++) {
      check_call(features_rows(projected, i, 1, row, d, NULL));
      for (int k = 0; k < d; k++) check_close(row[k], scores[i * d + k], 1e-10, 10);
    }
    for (int i = 0; i < GROUPS; i++) own[i] = (CellGroup){projected, group[i].first, group[i].cells};
    check_call(kernel_means(PETSC_COMM_WORLD, &distance, GROUPS, own, means, NULL));
    for (int i = 0; i < GROUPS * GROUPS; i++) check_close(means[i], expected[i], 1e-10, expected[i]);
    check_call(features_destroy(&projected));
    check_call(principal_components_free(&c));
  }
  PrincipalComponents c;
  assert_int_equal(principal_components(PETSC_COMM_WORLD, GROUPS, group, GENES + 1, &c), ERROR_USER);
  assert_int_equal(principal_components(PETSC_COMM_WORLD, 1, group + 1, 3, &c), ERROR_USER);
}

/* Two equal cells and one more span one dimension. */
static void components_of_a_line(void **state)
{
  const double        line[4 * 3] = {0, 0, 0, 1, 2, 3, 2, 4, 6, 1, 2, 3};
  CellFeatures       *own;
  PrincipalComponents c;

  check_call(features_from_doubles(4, 3, line, &own));
  const CellGroup all = {own, 0, 4};
  check_call(principal_components(PETSC_COMM_WORLD, 1, &all, 1, &c));
  check_close(c.variance[0], 28. / 3, 1e-12, 1); /* 2 * |(1,2,3)|^2 / 3 */
  check_close(c.loadings[2], 3 / sqrt(14), 1e-12, 1);
  check_call(principal_components_free(&c));
  assert_int_equal(principal_components(PETSC_COMM_WORLD, 1, &all, 2, &c), ERROR_USER);
  if (!strstr(error_message(), "span only 1")) fail_msg("'%s'", error_message());
  check_call(features_destroy(&own));
}

/* ---- Closed forms: populations of n evenly spaced quantiles stand for N(mean, deviation^2) up to O(1/n). ---- */

static void normal_quantiles(int n, double mean, double deviation, double *x)
{
  for (int i = 0; i < n; i++) x[i] = mean + deviation * normal_quantile((i + 0.5) / n);
}

/* E|x-y| of N(a, s^2) and N(b, t^2): the mean of a folded normal of mean a - b and variance s^2 + t^2 (Leone, Nelson, Nottingham 1961). */
static double folded(double mean, double variance) { return sqrt(2 * variance / M_PI) * exp(-mean * mean / (2 * variance)) + mean * erf(mean / sqrt(2 * variance)); }

/* E exp(-(x-y)^2 / (2 h^2)) for x - y ~ N(mean, variance). */
static double smoothed(double mean, double variance, double h) { return h / sqrt(h * h + variance) * exp(-mean * mean / (2 * (h * h + variance))); }

static void normal_populations(void **state)
{
  const Kernel gaussian = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {0.8}};
  const double energy = 2 * folded(1.3, 1 + 2.25) - folded(0, 2) - folded(0, 4.5);
  const double mmd    = smoothed(0, 2, 0.8) + smoothed(0, 4.5, 0.8) - 2 * smoothed(1.3, 3.25, 0.8);
  double       x[1600], y[1600], found, means[4], error[2][2];

  for (int fine = 0; fine < 2; fine++) {
    const int     n = fine ? 1600 : 400;
    CellFeatures *own[2];

    normal_quantiles(n, 0, 1, x);
    normal_quantiles(n, 1.3, 1.5, y);
    check_call(energy_distance(n, x, n, y, 1, &found));
    error[fine][0] = fabs(found - energy);
    check_call(features_from_doubles(n, 1, x, &own[0]));
    check_call(features_from_doubles(n, 1, y, &own[1]));
    const CellGroup both[2] = {{own[0], 0, n}, {own[1], 0, n}};
    check_call(kernel_means(PETSC_COMM_WORLD, &gaussian, 2, both, means, NULL));
    error[fine][1] = fabs(means[0] + means[3] - 2 * means[1] - mmd);
    check_call(features_destroy(&own[0]));
    check_call(features_destroy(&own[1]));
  }
  for (int k = 0; k < 2; k++) {
    check_close(error[1][k], 0, 2e-3, 1);
    /* First order in 1/n or better. */
    if (!(error[1][k] < 0.35 * error[0][k])) fail_msg("error %g with 400 cells, %g with 1600", error[0][k], error[1][k]);
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(means_of_kernels), cmocka_unit_test(gram_and_discrepancies), cmocka_unit_test(bandwidths_of_the_median),
                                          cmocka_unit_test(components),       cmocka_unit_test(components_of_a_line),   cmocka_unit_test(normal_populations)};

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
