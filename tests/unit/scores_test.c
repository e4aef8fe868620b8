/* Scores of a population against numbers worked out by hand, direct sums, and closed forms. */
#include "check.h"
#include <perturbdiff/evaluation.h>
#include <perturbdiff/runtime/random.h>

static void by_hand(void **state)
{
  const double     real[] = {1, 2, 6, 3, 2, 2}, predicted[] = {2, 4, 3}, control_real[] = {1, 1, 1}, control_predicted[] = {1, 2, 2};
  PopulationScores s;

  /* Means (2,2,4) and (2,4,3); deltas (1,1,3) and (1,2,1); differences 0, 2, -1. */
  check_call(population_scores(2, real, 1, predicted, 3, control_real, control_predicted, &s));
  check_close(s.mse, 5. / 3, 1e-14, 1);
  check_close(s.mae, 1, 1e-14, 1);
  check_close(s.r2, 1 - 5 / (8. / 3), 1e-14, 1);
  check_close(s.pearson_delta, -0.5, 1e-14, 1);
  /* Distances to the prediction sqrt(14) and sqrt(6), between the real cells sqrt(20). */
  check_close(s.energy_distance, sqrt(14) + sqrt(6) - sqrt(20) / 2, 1e-13, 1);
}

static void nothing_varies(void **state)
{
  const double     x[] = {1, 2, 3}, flat[] = {4, 4, 4};
  PopulationScores s;

  check_call(population_scores(1, x, 1, x, 3, x, flat, &s));
  assert_true(isnan(s.pearson_delta));
  check_close(s.r2, 1, 0, 1);
  check_close(s.energy_distance, 0, 0, 1);
  check_call(population_scores(1, flat, 1, x, 3, x, flat, &s));
  assert_true(isnan(s.r2));
}

/* Populations larger than a block, far from the origin, against a plain sum over pairs. */
static void direct_sums(void **state)
{
  enum { N = 300, M = 517, G = 7 };
  static double    x[N * G], y[M * G];
  const double     zero[G] = {0};
  RandomStream     stream = random_stream(1, RANDOM_TEST, 0, 0, 0);
  PopulationScores s;
  double           sums[3] = {0};

  for (int i = 0; i < N * G; i++) x[i] = 1000 + random_normal(&stream, (uint32_t)i);
  for (int i = 0; i < M * G; i++) y[i] = 1000.5 + 2 * random_normal(&stream, (uint32_t)(N * G + i));
  for (int pair = 0; pair < 3; pair++) {
    const double *a = pair == 1 ? y : x, *b = pair == 2 ? x : y;
    const int     n = pair == 1 ? M : N, m = pair == 2 ? N : M;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < m; j++) {
        double square = 0;
        for (int g = 0; g < G; g++) square += (a[i * G + g] - b[j * G + g]) * (a[i * G + g] - b[j * G + g]);
        sums[pair] += sqrt(square) / n / m;
      }
    }
  }
  check_call(population_scores(N, x, M, y, G, zero, zero, &s));
  check_close(s.energy_distance, 2 * sums[0] - sums[1] - sums[2], 1e-10, 1);
}

/* Two normal laws on the line a distance d apart: the mean absolute value of a normal difference with sigma = sqrt 2. Pairs of a cell with itself add E|X-X'| /
 * n on each side. */
static void normal_laws(void **state)
{
  enum { N = 8000 };
  static double    x[N], y[N];
  const double     zero = 0, sigma = sqrt(2.), d = 1, phi0 = 1 / sqrt(2 * PETSC_PI), phi = phi0 * exp(-d * d / (2 * sigma * sigma));
  const double     across = 2 * sigma * phi + d * erf(d / sigma / sqrt(2.)), within = 2 * sigma * phi0;
  RandomStream     stream = random_stream(2, RANDOM_TEST, 0, 0, 0);
  PopulationScores s;

  for (int i = 0; i < N; i++) {
    x[i] = random_normal(&stream, (uint32_t)i);
    y[i] = random_normal(&stream, (uint32_t)(N + i)) + d;
  }
  check_call(population_scores(N, x, N, y, 1, &zero, &zero, &s));
  check_close(s.energy_distance, 2 * across - 2 * within * (1 - 1. / N), 0.05, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(nothing_varies), cmocka_unit_test(direct_sums),
                                          cmocka_unit_test(normal_laws)};

TEST_MAIN(tests)
