/* Permutation tests and witness functions: exact p-values of numpy and scipy (tests/data/hilbert/make_tests.py), uniform p under the null, power, finite differences. */
#include "check.h"
#include "tests/data/hilbert/tests.h"
#include <perturbdiff/hilbert.h>
#include <stdlib.h>

static Kernel gaussian = {KERNEL_GAUSSIAN, 1, {2.5}};

static void exact_numbers(void **state)
{
  const PetscInt64 treated[2] = {3, 2}, cells[2] = {6, 6}, one_treated = 4, one_cells = 9;
  const Labels     blocked = {20000, 2, treated, cells, 3, RANDOM_TEST, 1, 5}, pooled = {20000, 1, &one_treated, &one_cells, 3, RANDOM_TEST, 1, 6};
  const Kernel     energy = {.kind = KERNEL_ENERGY};
  const double     memories[2] = {1e6, 3e5}; /* labellings in several passes */
  CellFeatures    *features;
  PermutationTest  t;

  check_call(features_from_doubles(12, 4, blocked_cells, &features));
  const CellGroup group[4] = {{features, 0, 3}, {features, 3, 3}, {features, 6, 2}, {features, 8, 4}};
  for (int k = 0; k < 2; k++) {
    check_call(permutation_test(PETSC_COMM_WORLD, &blocked, &gaussian, STATISTIC_V, 4, group, memories[k], &t));
    check_close(t.energy, blocked_statistics[0], 1e-12, 1);
    check_close(t.mmd, blocked_statistics[1], 1e-12, 1);
    /* Five standard errors of a share of 20,000. */
    check_close(t.energy_p, blocked_p[0], 5 * sqrt(blocked_p[0] / 20000), 1);
    check_close(t.mmd_p, blocked_p[1], 5 * sqrt(blocked_p[1] / 20000), 1);
  }
  check_call(permutation_test(PETSC_COMM_WORLD, &blocked, &gaussian, STATISTIC_U, 4, group, 1e6, &t));
  check_close(t.mmd, blocked_statistics[2], 1e-12, 1);
  check_close(t.mmd_p, blocked_p[2], 5 * sqrt(blocked_p[2] / 20000), 1);
  check_call(permutation_test(PETSC_COMM_WORLD, &blocked, &energy, STATISTIC_U, 4, group, 1e6, &t));
  check_close(t.mmd, blocked_statistics[3], 1e-12, 1);
  check_close(t.mmd_p, blocked_p[3], 5 * sqrt(blocked_p[3] / 20000), 1);
  check_call(features_destroy(&features));
  check_call(features_from_doubles(9, 4, pooled_cells, &features));
  const CellGroup both = {features, 0, 9};
  check_call(permutation_test(PETSC_COMM_WORLD, &pooled, &energy, STATISTIC_V, 1, &both, 1e6, &t));
  check_close(t.energy, pooled_energy[0], 1e-12, 1);
  check_close(t.mmd, pooled_energy[0] / 2, 1e-12, 1);
  check_close(t.energy_p, pooled_energy[1], 5 * sqrt(pooled_energy[1] / 20000), 1);
  check_call(features_destroy(&features));
}

static void discovery_rates(void **state)
{
  double fdr[12];

  check_call(false_discovery_rates(12, many_p, NULL, fdr));
  for (int i = 0; i < 12; i++) check_close(fdr[i], many_fdr[i], 1e-14, 1);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Null: p uniform by Kolmogorov and Smirnov, at the 1 % point. Shifted: found. */
static void level_and_power(void **state)
{
  enum { TRIALS = 300, N = 12, M = 20, D = 3 };
  const PetscInt64 treated = N, cells = N + M;
  double           x[(N + M) * D], p[TRIALS], worst = 0;
  int              found = 0;

  for (int shifted = 0; shifted < 2; shifted++)
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
      const RandomStream stream = random_stream(5, RANDOM_TEST, trial, 0, 0);
      const Labels       labels = {199, 1, &treated, &cells, 9, RANDOM_TEST, 2, trial};
      CellFeatures      *features;
      PermutationTest    t;

      for (uint32_t i = 0; i < (N + M) * D; i++) x[i] = random_normal(&stream, i) + (shifted && i < N * D ? 1.2 : 0);
      check_call(features_from_doubles(N + M, D, x, &features));
      const CellGroup group = {features, 0, N + M};
      check_call(permutation_test(PETSC_COMM_SELF, &labels, &gaussian, STATISTIC_V, 1, &group, 1e7, &t));
      if (shifted) found += t.mmd_p <= 0.05 && t.energy_p <= 0.05;
      else p[trial] = t.mmd_p;
      check_call(features_destroy(&features));
    }
  qsort(p, TRIALS, sizeof *p, ascending);
  for (int i = 0; i < TRIALS; i++) worst = PetscMax(worst, PetscMax(fabs(p[i] - (double)(i + 1) / TRIALS), fabs(p[i] - 0.5 / 200 - (double)i / TRIALS)));
  assert_true(worst < 1.63 / sqrt(TRIALS));
  assert_true(found > 0.85 * TRIALS);
}

/* Gradient at the cells against central differences of the witness written out. */
static double witness_at(const Kernel *kernel, const double *x, const double *rows)
{
  double sum = 0;

  for (int i = 0; i < 12; i++) {
    double distance = 0, square_x = 0, square_y = 0, value;
    for (int g = 0; g < 4; g++) {
      distance += (x[g] - rows[4 * i + g]) * (x[g] - rows[4 * i + g]);
      square_x += x[g] * x[g];
      square_y += rows[4 * i + g] * rows[4 * i + g];
    }
    kernel_apply(kernel, 1, square_x, &square_y, &distance, &value);
    sum += i < 5 ? value / 5 : -value / 7;
  }
  return sum;
}

static void gradients(void **state)
{
  CellFeatures *features;

  check_call(features_from_doubles(12, 4, blocked_cells, &features));
  const CellGroup treated[2] = {{features, 0, 3}, {features, 3, 2}}, control = {features, 5, 7};
  for (int kind = 0; kind < KERNEL_DISTANCE; kind++) {
    Kernel kernel = {.kind = (KernelKind)kind};
    double value[12], gradient[4], alone[12], alone_gradient[4], expected[4] = {0};

    if (kernel_has_bandwidth(kernel.kind)) kernel = (Kernel){(KernelKind)kind, 2, {1.5, 4}};
    check_call(witness(PETSC_COMM_WORLD, &kernel, 2, treated, 1, &control, value, gradient));
    check_call(witness(PETSC_COMM_SELF, &kernel, 2, treated, 1, &control, alone, alone_gradient));
    for (int i = 0; i < 12; i++) check_close(value[i], alone[i], 1e-14, 1);
    for (int g = 0; g < 4; g++) check_close(gradient[g], alone_gradient[g], 1e-14, 1);
    for (int i = 0; i < 12; i++) {
      check_close(value[i], witness_at(&kernel, blocked_cells + 4 * i, blocked_cells), 1e-12, 1);
      for (int g = 0; g < 4; g++) {
        /* A kink of |x-y| at the cell itself is even: central differences do not see it. */
        const double h = 1e-5;
        double       up[4], down[4];
        for (int c = 0; c < 4; c++) up[c] = down[c] = blocked_cells[4 * i + c];
        up[g] += h;
        down[g] -= h;
        expected[g] += (witness_at(&kernel, up, blocked_cells) - witness_at(&kernel, down, blocked_cells)) / (2 * h) * (i < 5 ? 0.1 : 1. / 14);
      }
    }
    for (int g = 0; g < 4; g++) check_close(gradient[g], expected[g], 1e-7, 1);
  }
  check_call(features_destroy(&features));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(exact_numbers),
    cmocka_unit_test(discovery_rates),
    cmocka_unit_test(level_and_power),
    cmocka_unit_test(gradients),
};
TEST_MAIN(tests)
