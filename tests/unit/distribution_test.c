/* Distances between distributions against numpy, scipy and scikit-learn (tests/data/distribution/make_reference.py), permutation p-values against all
 * permutations. */
#include "../data/distribution/reference.h"
#include "check.h"
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/runtime/random.h>
#include <string.h>

static const DistributionOptions options = {.permutations = 19, .cells = 1000, .seed = 3};

static void numbers_of_others(void **state)
{
  DistributionScores s;
  GeneMarginals      marginal[G];

  check_call(distribution_scores(&options, 1, N, real, M, predicted, G, &s, marginal));
  check_close(s.energy_distance, energy, 1e-12, 1);
  check_close(s.mmd_squared, mmd, 1e-12, 1);
  double mean = 0;
  for (int g = 0; g < G; g++) {
    check_close(marginal[g].wasserstein, wasserstein[g], 1e-13, 1);
    mean += wasserstein[g] / G;
  }
  check_close(s.wasserstein, mean, 1e-13, 1);
  check_close(s.zeros_real, zeros_real, 1e-14, 1);
  check_close(s.zeros_predicted, zeros_predicted, 1e-14, 1);
  check_close(s.zeros_difference, zeros_difference, 1e-14, 1);
  check_close(s.variance_ratio, variance_ratio, 1e-12, 1);
  check_close(s.correlation_difference, correlation, 1e-12, 1);
  assert_true(s.energy_p >= 0.05 && s.energy_p <= 1);
}

/* Twelve cells have 924 labellings: the drawn ones must find their shares. */
static void all_permutations(void **state)
{
  const DistributionOptions many = {.permutations = 20000, .cells = 1000, .seed = 5};
  DistributionScores        s, again;

  check_call(distribution_scores(&many, 2, FEW, real, FEW, predicted, G, &s, NULL));
  check_close(s.energy_p, energy_exact_p, 4 * sqrt(energy_exact_p / 20000) + 1e-4, 1);
  check_close(s.wasserstein_p, wasserstein_exact_p, 4 * sqrt(wasserstein_exact_p / 20000) + 1e-4, 1);
  check_call(distribution_scores(&many, 2, FEW, real, FEW, predicted, G, &again, NULL));
  assert_memory_equal(&s, &again, sizeof s);
}

/* Populations of one law: each p-value is uniform. With 19 permutations it lies at or below 0.05 once in 20. */
static void uniform_under_no_difference(void **state)
{
  enum { TRIALS = 2000, CELLS = 7, GENES = 3 };
  DistributionScores s;
  double             x[2 * CELLS * GENES];
  int                low[3] = {0, 0, 0}, half[3] = {0, 0, 0};

  for (uint32_t t = 0; t < TRIALS; t++) {
    const RandomStream stream = random_stream(9, RANDOM_TEST, 0, t, 0);
    for (uint32_t i = 0; i < 2 * CELLS * GENES; i++) x[i] = PetscMax(0, random_normal(&stream, i));
    check_call(distribution_scores(&options, t, CELLS, x, CELLS, x + CELLS * GENES, GENES, &s, NULL));
    const double p[3] = {s.energy_p, s.mmd_p, s.wasserstein_p};
    for (int i = 0; i < 3; i++) {
      low[i] += p[i] <= 0.0501;
      half[i] += p[i] <= 0.5001;
    }
  }
  for (int i = 0; i < 3; i++) {
    check_close(low[i], 0.05 * TRIALS, 4 * sqrt(0.05 * 0.95 * TRIALS), 1);
    check_close(half[i], 0.5 * TRIALS, 4 * sqrt(0.25 * TRIALS), 1);
  }
}

static void classifier(void **state)
{
  enum { CELLS = N + M };
  static double      gram[CELLS * CELLS], x[CELLS * G], own[CELLS];
  unsigned char      label[CELLS];
  PetscInt           fold[CELLS];
  DistributionScores s;

  memcpy(x, real, sizeof real);
  memcpy(x + N * G, predicted, sizeof predicted);
  for (int i = 0; i < CELLS; i++) {
    label[i] = i < N;
    fold[i] = i % 5;
    for (int j = 0; j < CELLS; j++) {
      gram[i * CELLS + j] = 0;
      for (int g = 0; g < G; g++) gram[i * CELLS + j] += (x[i * G + g] - 0.3) * (x[j * G + g] - 0.3); /* about some origin */
    }
  }
  check_call(logistic_decisions(CELLS, gram, label, 5, fold, own));
  for (int i = 0; i < CELLS; i++) check_close(own[i], decision[i], 1e-7, 1);
  /* Worlds apart: every held-out cell is recognised. p: 48 of 48 right is sqrt(48) standard deviations above chance. */
  for (int i = N * G; i < CELLS * G; i++) x[i] += 50;
  check_call(distribution_scores(&options, 1, N, x, M, x + N * G, G, &s, NULL));
  check_close(s.classifier_accuracy, 1, 0, 1);
  check_close(s.classifier_auroc, 1, 0, 1);
  check_close(s.classifier_p, 0.5 * erfc(sqrt(48) / sqrt(2)), 1e-20, 1);
  check_close(s.energy_p, 1. / 20, 1e-15, 1);
}

/* One cell against one cell, equal cells, populations larger than the limit. */
static void small_and_large(void **state)
{
  const DistributionOptions few = {.permutations = 0, .cells = 10, .seed = 1};
  DistributionScores        s, t;

  check_call(distribution_scores(&options, 1, 1, real, 1, predicted, G, &s, NULL));
  assert_true(isnan(s.mmd_squared) && isnan(s.variance_ratio) && isnan(s.correlation_difference) && isnan(s.classifier_accuracy));
  check_close(s.energy_p, 1, 0, 1);
  check_call(distribution_scores(&options, 1, N, real, N, real, G, &s, NULL));
  check_close(s.energy_distance, 0, 1e-12, 1);
  check_close(s.wasserstein, 0, 0, 1);
  check_close(s.variance_ratio, 1, 0, 1);
  check_close(s.correlation_difference, 0, 1e-12, 1);
  check_call(distribution_scores(&few, 1, N, real, M, predicted, G, &s, NULL));
  check_call(distribution_scores(&few, 2, N, real, M, predicted, G, &t, NULL));
  assert_true(isnan(s.energy_p) && s.energy_distance != t.energy_distance);
}

static void coverage(void **state)
{
  const PetscInt64 cells[] = {9, 9, 9, 9, 9, 9};
  const double    *draws[6];
  CoverageScores   s;

  for (int d = 0; d < 6; d++) draws[d] = draw + d * 9 * G;
  check_call(coverage_scores(N, real, 6, cells, draws, G, &s));
  check_close(s.gene_coverage_50, coverage_50, 1e-14, 1);
  check_close(s.gene_coverage_90, coverage_90, 1e-14, 1);
  check_close(s.energy_p, coverage_p, 1e-14, 1);
}

/* Equal distributions are calibrated exactly, ties or not; the rest by hand. Two genes: the second is found in no real cell. */
static void calibration(void **state)
{
  const double equal[8] = {0, 0, 0, 0, 1, 0, 3, 0}, middle[2] = {1, 0}, around[8] = {0, 5, 1, 5, 1, 5, 2, 5}, high[4] = {2, 0, 4, 0};
  double       share[3];
  PetscInt     genes;

  check_call(calibration_curve(4, equal, 4, equal, 2, 3, share, &genes));
  assert_int_equal(genes, 1);
  for (int l = 0; l < 3; l++) check_close(share[l], 0.25 * (l + 1), 1e-15, 1);
  /* F(1-) = 1/4, F(1) = 3/4. */
  check_call(calibration_curve(1, middle, 4, around, 2, 3, share, &genes));
  for (int l = 0; l < 3; l++) check_close(share[l], 0.5 * l, 1e-15, 1);
  /* Predicted too high: every quantile lies above the real value; too low: none does. */
  check_call(calibration_curve(1, middle, 2, high, 2, 3, share, &genes));
  for (int l = 0; l < 3; l++) check_close(share[l], 1, 1e-15, 1);
  check_call(calibration_curve(2, high, 1, middle, 2, 3, share, &genes));
  for (int l = 0; l < 3; l++) check_close(share[l], 0, 1e-15, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(numbers_of_others), cmocka_unit_test(all_permutations), cmocka_unit_test(uniform_under_no_difference),
    cmocka_unit_test(classifier),        cmocka_unit_test(small_and_large),  cmocka_unit_test(coverage),
    cmocka_unit_test(calibration)};

TEST_MAIN(tests)
