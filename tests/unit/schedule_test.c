/* Noise schedules in closed form, half log signal-to-noise and its inverse, corruption. */
#include "check.h"
#include <perturbdiff/diffusion.h>

static void linear(void **state)
{
  NoiseSchedule s;
  double        log_product = 0;

  check_call(schedule_create(SCHEDULE_LINEAR, 1000, 0, &s));
  check_close(s.beta[0], 1e-4, 1e-15, 1);
  check_close(s.beta[999], 2e-2, 1e-15, 1);
  for (int i = 0; i < 1000; i++) {
    log_product += log1p(-(1e-4 + (2e-2 - 1e-4) * i / 999.));
    check_close(s.alpha_bar[i], exp(log_product), 1e-12, s.alpha_bar[i]);
  }
  /* The value that every implementation of DDPM prints: 4.0358e-5. */
  check_close(s.alpha_bar[999], 4.0358e-5, 1e-4, 4.0358e-5);
  check_call(schedule_destroy(&s));
  /* Fewer steps end about as noisy. */
  check_call(schedule_create(SCHEDULE_LINEAR, 250, 0, &s));
  assert_true(s.alpha_bar[249] < 1e-4 && s.alpha_bar[249] > 1e-6);
  check_call(schedule_destroy(&s));
}

/* alpha_bar telescopes to f(t+1)/f(0) until a beta is cut at 0.999. */
static void cosines(void **state)
{
  for (int k = 0; k < 2; k++) {
    const double  power = k ? 0.3 : 1;
    NoiseSchedule s;

    check_call(schedule_create(k ? SCHEDULE_COSINE_POWER : SCHEDULE_COSINE, 1000, 0.3, &s));
    for (int i = 0; i < 990; i++) {
      const double f = pow(cos(((i + 1) / 1000. + 0.008) / 1.008 * PETSC_PI / 2), 2 * power), f0 = pow(cos(0.008 / 1.008 * PETSC_PI / 2), 2 * power);
      check_close(s.alpha_bar[i], f / f0, 1e-12, 1);
    }
    assert_true(s.beta[999] <= 0.999 && s.alpha_bar[999] > 0);
    check_call(schedule_destroy(&s));
  }
}

static void lambda_and_inverse(void **state)
{
  const ScheduleKind kind[] = {SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_COSINE_POWER};

  for (int k = 0; k < 3; k++) {
    NoiseSchedule s;

    check_call(schedule_create(kind[k], 1000, 0.3, &s));
    for (int i = 0; i < 1000; i += 37) {
      check_close(schedule_lambda(&s, i), log(sqrt(s.alpha_bar[i]) / sqrt(1 - s.alpha_bar[i])), 1e-10, 1);
      check_close(schedule_step_of_lambda(&s, schedule_lambda(&s, i)), i, 1e-8, 1);
    }
    /* Between whole steps: log-linear, and inverted. */
    check_close(schedule_lambda(&s, 40.25), 0.75 * schedule_lambda(&s, 40) + 0.25 * schedule_lambda(&s, 41), 1e-12, 1);
    for (double step = 0.3; step < 999; step += 11.7) check_close(schedule_step_of_lambda(&s, schedule_lambda(&s, step)), step, 1e-8, 1);
    /* Beyond the ends: the ends. */
    check_close(schedule_step_of_lambda(&s, 100), 0, 0, 1);
    check_close(schedule_step_of_lambda(&s, -100), 999, 0, 1);
    check_close(schedule_lambda(&s, 2000), schedule_lambda(&s, 999), 0, 1);
    check_call(schedule_destroy(&s));
  }
}

static void corruption(void **state)
{
  enum { SETS = 2, N = 6 };
  const double  step[SETS] = {0, 700};
  Real          clean[SETS * N], noise[SETS * N], noisy[SETS * N];
  NoiseSchedule s;

  check_call(schedule_create(SCHEDULE_LINEAR, 1000, 0, &s));
  for (int i = 0; i < SETS * N; i++) {
    clean[i] = (Real)(0.1 * i);
    noise[i] = (Real)(i % 3 - 1);
  }
  corrupt(&s, SETS, N, step, clean, noise, noisy);
  for (int i = 0; i < SETS * N; i++) {
    const double alpha_bar = s.alpha_bar[(int)step[i / N]];
    check_close(noisy[i], sqrt(alpha_bar) * (double)clean[i] + sqrt(1 - alpha_bar) * (double)noise[i], 2e-7, 1);
  }
  corrupt(&s, SETS, N, step, clean, noise, noise);
  for (int i = 0; i < SETS * N; i++) check_close(noise[i], noisy[i], 0, 1);
  check_call(schedule_destroy(&s));
}

/* Standard normals that depend on the cell, not on how many cells there are. */
static void noise_of_a_set(void **state)
{
  enum { CELLS = 200, GENES = 101 };
  static Real all[CELLS * GENES], few[3 * GENES];
  double      mean = 0, square = 0;

  corruption_noise(11, RANDOM_STEP_NOISE, 5, 2, 0, CELLS, GENES, all);
  corruption_noise(11, RANDOM_STEP_NOISE, 5, 2, 0, 3, GENES, few);
  for (int i = 0; i < 3 * GENES; i++) check_close(all[i], few[i], 0, 1);
  for (int i = 0; i < CELLS * GENES; i++) {
    mean += (double)all[i] / (CELLS * GENES);
    square += (double)all[i] * (double)all[i] / (CELLS * GENES);
  }
  /* Four standard errors. */
  check_close(mean, 0, 4 / sqrt(CELLS * GENES), 1);
  check_close(square, 1, 4 * sqrt(2. / (CELLS * GENES)), 1);
  corruption_noise(11, RANDOM_STEP_NOISE, 6, 2, 0, 3, GENES, few);
  assert_true(few[0] != all[0]);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(linear), cmocka_unit_test(cosines), cmocka_unit_test(lambda_and_inverse), cmocka_unit_test(corruption), cmocka_unit_test(noise_of_a_set)};

TEST_MAIN(tests)
