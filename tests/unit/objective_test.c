/* Mean squared error, energy distance and their gradient against direct sums in double, also where distances cancel or vanish. */
#include "check.h"
#include <perturbdiff/diffusion.h>

#ifdef PERTURBDIFF_DOUBLE
  #define TOLERANCE 1e-11
#else
  #define TOLERANCE 1e-5
#endif

enum { CELLS = 37, GENES = 53, SETS = 2, N = CELLS * GENES };

static Real   clean[SETS * N], estimate[SETS * N], gradient[SETS * N];
static double expected[SETS * N];

static double distance(const Real *p, const Real *q)
{
  double sum = 0;

  for (int k = 0; k < GENES; k++) sum += ((double)p[k] - (double)q[k]) * ((double)p[k] - (double)q[k]);
  return sqrt(sum < 1e-8 ? 1e-8 : sum);
}

static double mean_distance(const Real *p, const Real *q)
{
  double sum = 0;

  for (int i = 0; i < CELLS; i++)
    for (int j = 0; j < CELLS; j++) sum += distance(p + i * GENES, q + j * GENES);
  return sum / (CELLS * CELLS);
}

static double direct_mse(const Real *p, const Real *q)
{
  double sum = 0;

  for (int k = 0; k < N; k++) sum += ((double)p[k] - (double)q[k]) * ((double)p[k] - (double)q[k]);
  return sum / N;
}

/* d += factor * sum over cells of (q - other)/distance, nothing where the distance is clipped. */
static void add_pull(double factor, const Real *q, const Real *other, double *d)
{
  for (int j = 0; j < CELLS; j++)
    for (int i = 0; i < CELLS; i++) {
      const Real  *a = q + j * GENES, *b = other + i * GENES;
      const double r = distance(a, b);
      if (r <= 1e-4) continue;
      for (int k = 0; k < GENES; k++) d[j * GENES + k] += factor * ((double)a[k] - (double)b[k]) / r;
    }
}

static void compare(double lambda)
{
  const double weight = 0.25;
  double       mse[SETS], energy[SETS];
  Objective   *objective;

  check_call(objective_create(CELLS, GENES, lambda, NULL, &objective));
  check_call(objective_evaluate(objective, SETS, clean, estimate, weight, mse, energy, gradient));
  for (int s = 0; s < SETS; s++) {
    const Real  *p = clean + s * N, *q = estimate + s * N;
    const double across = mean_distance(p, q), within = mean_distance(p, p), own = mean_distance(q, q);
    double      *d = expected + s * N, largest = 0;

    check_close(mse[s], direct_mse(p, q), TOLERANCE, mse[s] + 1e-12);
    check_close(energy[s], across - 0.5 * within - 0.5 * own, TOLERANCE, across + within);
    for (int k = 0; k < N; k++) d[k] = 2 * weight / N * ((double)q[k] - (double)p[k]);
    add_pull(weight * lambda / (CELLS * CELLS), q, p, d);
    add_pull(-weight * lambda / (CELLS * CELLS), q, q, d);
    for (int k = 0; k < N; k++) largest = PetscMax(largest, fabs(d[k]));
    /* Where all pulls cancel, the pull of one cell is the measure. */
    for (int k = 0; k < N; k++) check_close(gradient[s * N + k], d[k], TOLERANCE, largest + 0.01 * weight * lambda / CELLS);
  }
  check_call(objective_destroy(&objective));
}

static void draw(void)
{
  for (int i = 0; i < SETS * CELLS; i++) {
    const RandomStream a = random_stream(3, RANDOM_TEST, 0, 1, (uint32_t)i), b = random_stream(3, RANDOM_TEST, 0, 2, (uint32_t)i);
    random_uniforms(&a, 0, GENES, clean + i * GENES);
    random_uniforms(&b, 0, GENES, estimate + i * GENES);
  }
}

static void apart(void **state)
{
  draw();
  compare(1);
  compare(0.3);
}

/* A set filled up with cells it already has, and an estimate with equal cells. */
static void repeated_cells(void **state)
{
  draw();
  for (int i = 30; i < CELLS; i++)
    for (int k = 0; k < GENES; k++) {
      clean[i * GENES + k]    = clean[(i - 30) * GENES + k];
      estimate[i * GENES + k] = estimate[(i - 25) * GENES + k];
    }
  compare(1);
}

/* An estimate that is the same for all cells but for a little: |p|^2 + |q|^2 - 2pq keeps no digits of the distances. */
static void nearly_equal_cells(void **state)
{
  draw();
  for (int i = 1; i < SETS * CELLS; i++)
    for (int k = 0; k < GENES; k++) estimate[i * GENES + k] = estimate[k] + (Real)1e-3 * clean[i * GENES + k];
  compare(1);
}

/* An estimate that hits the cells exactly, and one that is all zero. */
static void exact_and_zero(void **state)
{
  draw();
  for (int k = 0; k < N; k++) {
    estimate[k]     = clean[k];
    estimate[N + k] = 0;
  }
  compare(1);
}

/* Gradient by central differences of the value itself. */
static void differences(void **state)
{
#ifdef PERTURBDIFF_DOUBLE
  const double h = 1e-6;
  double       mse[SETS], energy[SETS], value[2];
  Objective   *objective;

  draw();
  check_call(objective_create(CELLS, GENES, 0.7, NULL, &objective));
  check_call(objective_evaluate(objective, SETS, clean, estimate, 1, mse, energy, gradient));
  for (int k = 0; k < SETS * N; k += 101) {
    const Real saved = estimate[k];
    for (int side = 0; side < 2; side++) {
      estimate[k] = saved + (side ? h : -h);
      check_call(objective_evaluate(objective, SETS, clean, estimate, 1, mse, energy, NULL));
      value[side] = mse[0] + mse[1] + 0.7 * (energy[0] + energy[1]);
    }
    estimate[k] = saved;
    check_close(gradient[k], (value[1] - value[0]) / (2 * h), 1e-8, 1);
  }
  check_call(objective_destroy(&objective));
#endif
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(apart), cmocka_unit_test(repeated_cells), cmocka_unit_test(nearly_equal_cells), cmocka_unit_test(exact_and_zero),
                                          cmocka_unit_test(differences)};

TEST_MAIN(tests)
