/* Conditional mean embedding regression: closed-form leave-one-out against refitting without each population, weights against a dense solve, the mixture of the pre-image
   against its optimality conditions. */
#include "check.h"
#include <perturbdiff/hilbert/regression.h>
#include <string.h>

enum { POPULATIONS = 23, OUTPUTS = 9 };

static Covariates      covariates[POPULATIONS];
static double          outputs[POPULATIONS][OUTPUTS];
static CovariateKernel kernel = {.shared = {0.2, 0.5, 0.8}, .levels = {6, 4, 2}};
static BlockGrid      *grid;
static BlockMatrix     gram;

/* y = A x by elimination with pivots; A and y are overwritten, the solution lies in y. */
static void solve(int n, double *a, double *y)
{
  for (int k = 0; k < n; k++) {
    int pivot = k;
    for (int i = k + 1; i < n; i++)
      if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
    for (int j = 0; j < n; j++) {
      const double t = a[k * n + j];
      a[k * n + j] = a[pivot * n + j], a[pivot * n + j] = t;
    }
    const double t = y[k];
    y[k] = y[pivot], y[pivot] = t;
    for (int i = k + 1; i < n; i++) {
      const double factor = a[i * n + k] / a[k * n + k];
      for (int j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
      y[i] -= factor * y[k];
    }
  }
  for (int i = n - 1; i >= 0; i--) {
    for (int j = i + 1; j < n; j++) y[i] -= a[i * n + j] * y[j];
    y[i] /= a[i * n + i];
  }
}

/* Weights of a prediction for c from all populations but `out` (-1: from all), by solving the normal equations anew. */
static void direct_weights(double lambda, const Covariates *c, int out, double weights[POPULATIONS])
{
  double a[POPULATIONS * POPULATIONS], y[POPULATIONS];
  int    kept[POPULATIONS], n = 0;

  for (int i = 0; i < POPULATIONS; i++)
    if (i != out) kept[n++] = i;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) a[i * n + j] = covariate_kernel(&kernel, &covariates[kept[i]], &covariates[kept[j]]) + (i == j ? lambda : 0);
    y[i] = covariate_kernel(&kernel, &covariates[kept[i]], c);
  }
  solve(n, a, y);
  memset(weights, 0, POPULATIONS * sizeof *weights);
  for (int i = 0; i < n; i++) weights[kept[i]] = y[i];
}

static double squared_error(const double weights[POPULATIONS], int i)
{
  double sum = 0;

  for (int g = 0; g < OUTPUTS; g++) {
    double value = -outputs[i][g];
    for (int j = 0; j < POPULATIONS; j++) value += weights[j] * outputs[j][g];
    sum += value * value;
  }
  return sum;
}

/* Effects of levels, and something of each population's own. */
static void make_populations(void)
{
  for (int i = 0; i < POPULATIONS; i++) {
    covariates[i] = (Covariates){{i % 6, i / 6 % 4, i % 7 > 3}};
    for (int g = 0; g < OUTPUTS; g++)
      outputs[i][g] = sin(1.3 * covariates[i].level[0] + g) + 0.5 * cos(2.1 * covariates[i].level[1] * g) + 0.2 * covariates[i].level[2] + 0.1 * sin(17. * i + 5 * g);
  }
  check_call(blockgrid_create(PETSC_COMM_WORLD, POPULATIONS, &grid));
  check_call(blockmatrix_create(grid, POPULATIONS, POPULATIONS, &gram));
  for (int j = 0; j < gram.local_columns; j++)
    for (int i = 0; i < gram.local_rows; i++)
      for (int g = 0; g < OUTPUTS; g++) gram.values[j * gram.ld + i] += outputs[blockmatrix_row(&gram, i)][g] * outputs[blockmatrix_column(&gram, j)][g];
}

static void test_leave_one_out(void **state)
{
  const double lambda = 0.3;
  double       weights[POPULATIONS];
  Regression   r;

  check_call(regression_fit(POPULATIONS, covariates, 1, &kernel, 1, &lambda, &gram, &r));
  for (int i = 0; i < POPULATIONS; i++) {
    direct_weights(lambda, &covariates[i], i, weights);
    check_close(r.leave_one_out[i], squared_error(weights, i), 1e-10, 1);
  }
  check_call(regression_destroy(&r));
}

static void test_choice(void **state)
{
  const double    lambda[] = {1e-3, 0.01, 0.1, 1, 10};
  CovariateKernel kernels[2] = {kernel, kernel};
  double          weights[POPULATIONS], best = INFINITY, best_lambda = 0;
  Regression      r;

  /* A kernel that knows nothing of the covariates predicts the mean of the others. */
  for (int a = 0; a < COVARIATE_AXES; a++) kernels[0].shared[a] = 1;
  for (int l = 0; l < 5; l++) {
    double error = 0;
    for (int i = 0; i < POPULATIONS; i++) {
      direct_weights(lambda[l], &covariates[i], i, weights);
      error += squared_error(weights, i) / POPULATIONS;
    }
    if (error < best) best = error, best_lambda = lambda[l];
  }
  check_call(regression_fit(POPULATIONS, covariates, 2, kernels, 5, lambda, &gram, &r));
  check_close(r.lambda, best_lambda, 1e-15, 1);
  check_close(r.error, best, 1e-10, 1);
  check_close(r.kernel.shared[0], 0.2, 1e-15, 1);
  check_call(regression_destroy(&r));
}

static void test_weights(void **state)
{
  const double     lambda = 0.05;
  const Covariates unseen[2] = {{{5, 3, 1}}, covariates[4]};
  const PetscInt   out[2] = {-1, 4};
  double           weights[2][POPULATIONS], expected[POPULATIONS];
  Regression       r;

  check_call(regression_fit(POPULATIONS, covariates, 1, &kernel, 1, &lambda, &gram, &r));
  check_call(regression_weights(&r, 2, unseen, out, weights[0]));
  for (int c = 0; c < 2; c++) {
    direct_weights(lambda, &unseen[c], (int)out[c], expected);
    for (int i = 0; i < POPULATIONS; i++) check_close(weights[c][i], expected[i], 1e-10, 1);
  }
  check_call(regression_destroy(&r));
}

/* Minimal over the simplex: the gradient is the same where v > 0 and nowhere less. */
static void test_preimage(void **state)
{
  double        k[POPULATIONS * POPULATIONS], w[POPULATIONS], v[POPULATIONS], sum = 0, least = INFINITY, most = -INFINITY, distance, square = 0;
  unsigned char usable[POPULATIONS];
  int           zeros = 0;

  for (int i = 0; i < POPULATIONS; i++) {
    usable[i] = i != 3;
    w[i]      = 0.2 * sin(2.7 * i) + 1. / POPULATIONS;
    for (int j = 0; j < POPULATIONS; j++) {
      k[i * POPULATIONS + j] = 100 + (i == j); /* nearly the same everywhere, as Gram matrices of one tissue are */
      for (int g = 0; g < OUTPUTS; g++) k[i * POPULATIONS + j] += outputs[i][g] * outputs[j][g];
    }
  }
  check_call(preimage_weights(POPULATIONS, k, w, usable, v, &distance));
  for (int i = 0; i < POPULATIONS; i++) {
    double gradient = 0;
    assert_true(v[i] >= 0);
    sum += v[i];
    zeros += v[i] == 0;
    for (int j = 0; j < POPULATIONS; j++) {
      gradient += k[i * POPULATIONS + j] * (v[j] - w[j]);
      square += (v[i] - w[i]) * k[i * POPULATIONS + j] * (v[j] - w[j]);
    }
    if (!usable[i]) assert_true(v[i] == 0);
    else least = fmin(least, gradient);
    if (v[i] > 0) most = fmax(most, gradient);
  }
  check_close(sum, 1, 1e-12, 1);
  check_close(most, least, 1e-9, 1);
  check_close(distance, square, 1e-9, 1);
  assert_true(zeros > 2 && zeros < POPULATIONS - 2);
  /* What is a mixture already is found again. */
  for (int i = 0; i < POPULATIONS; i++) w[i] = i == 3 ? 0 : 2. * (i + 1) / (POPULATIONS * (POPULATIONS + 1) - 8);
  check_call(preimage_weights(POPULATIONS, k, w, usable, v, &distance));
  for (int i = 0; i < POPULATIONS; i++) check_close(v[i], w[i], 1e-9, 1);
}

static void test_similarity(void **state)
{
  const double        feature[] = {0, 0, 3, 4, 0, 1, 9, 9};
  const unsigned char known[] = {1, 1, 1, 0};
  double              s[16];

  /* Squared distances 25, 1, 18: the median is 18. */
  check_call(covariate_similarity(4, 2, feature, known, s));
  check_close(s[1], exp(-25. / 36), 1e-14, 1);
  check_close(s[2], exp(-1. / 36), 1e-14, 1);
  check_close(s[6], exp(-18. / 36), 1e-14, 1);
  check_close(s[9], s[6], 0, 1);
  check_close(s[15], 1, 0, 1);
  check_close(s[3] + s[7] + s[11], 0, 0, 1);
}

/* Posterior mean of a Gaussian functional prior: P perturbations seen R times each. Of the mean over all, e / (e + lambda) is kept, e = R (shared P + 1 - shared); of a perturbation's own
   part, g / (g + lambda), g = R (1 - shared): the eigenvalues of the covariances. A perturbation never seen: shared / (e + lambda) of every population. */
static void test_posterior_mean(void **state)
{
  enum { P = 6, R = 4 };
  const double    shared = 0.3, lambda = 0.7, e = R * (shared * P + 1 - shared), g = R * (1 - shared);
  CovariateKernel prior = {.shared = {shared, 1, 1}, .levels = {P + 1, 1, 1}};
  Covariates      seen[P * R], wanted[P + 1];
  double          weights[(P + 1) * P * R];
  BlockGrid      *own_grid;
  BlockMatrix     own;
  Regression      r;

  for (int i = 0; i < P * R; i++) seen[i] = (Covariates){{i % P, 0, 0}};
  for (int p = 0; p <= P; p++) wanted[p] = (Covariates){{p, 0, 0}};
  check_call(blockgrid_create(PETSC_COMM_WORLD, P * R, &own_grid));
  check_call(blockmatrix_create(own_grid, P * R, P * R, &own));
  for (int j = 0; j < own.local_columns; j++)
    for (int i = 0; i < own.local_rows; i++) own.values[j * own.ld + i] = blockmatrix_row(&own, i) == blockmatrix_column(&own, j);
  check_call(regression_fit(P * R, seen, 1, &prior, 1, &lambda, &own, &r));
  check_call(regression_weights(&r, P + 1, wanted, NULL, weights));
  for (int p = 0; p <= P; p++)
    for (int i = 0; i < P * R; i++) {
      const double expected = p == P ? shared / (e + lambda) : e / (e + lambda) / (P * R) + g / (g + lambda) * ((i % P == p) / (double)R - 1. / (P * R));
      check_close(weights[p * P * R + i], expected, 1e-13, 1);
    }
  check_call(regression_destroy(&r));
  check_call(blockmatrix_destroy(&own));
  check_call(blockgrid_destroy(&own_grid));
}

static void test_one_population(void **state)
{
  const double lambda = 1;
  Regression   r;

  assert_int_equal(regression_fit(1, covariates, 1, &kernel, 1, &lambda, &gram, &r), ERROR_USER);
  check_call(regression_destroy(&r));
}

static int set_up(void **state)
{
  make_populations();
  return 0;
}

static int tear_down(void **state) { return (int)(blockmatrix_destroy(&gram) + blockgrid_destroy(&grid)); }

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_leave_one_out, set_up),
    cmocka_unit_test(test_choice),
    cmocka_unit_test(test_weights),
    cmocka_unit_test(test_preimage),
    cmocka_unit_test(test_similarity),
    cmocka_unit_test(test_posterior_mean),
    cmocka_unit_test_teardown(test_one_population, tear_down),
};

TEST_MAIN(tests)
