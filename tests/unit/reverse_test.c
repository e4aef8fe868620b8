/* Reverse steppers: the public code's trajectories step by step; orders of convergence on a Gaussian law, whose score and solution are known. */
#include "check.h"
#include <hdf5.h>
#include <perturbdiff/sampling.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_STEPS = 8, GOLDEN_VALUES = 3 * 10 * 40 };

static NoiseSchedule schedule;

static void golden_read(hid_t file, const char *group, const char *name, double *values)
{
  char path[96];

  snprintf(path, sizeof path, "sampling/%s%s%s", group, *group ? "/" : "", name);
  const hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
  assert_true(set >= 0);
  assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(set);
}

typedef struct {
  double *estimate, *noise, *trajectory;
  int     estimates;
} Replay;

/* The stored clean estimate of each step; the step asked for and the previous estimate must be the right ones. */
static PetscErrorCode replay_estimate(void *context, double step, const double *x, const double *previous, double *estimate)
{
  Replay      *replay = context;
  const int    k = replay->estimates++;
  const double expected_step = GOLDEN_STEPS - 1 - k;

  assert_true(step == expected_step);
  for (int i = 0; i < GOLDEN_VALUES; i++) assert_true(previous[i] == (k ? replay->estimate[(k - 1) * GOLDEN_VALUES + i] : 0));
  memcpy(estimate, replay->estimate + k * GOLDEN_VALUES, GOLDEN_VALUES * sizeof *estimate);
  return PETSC_SUCCESS;
}

static PetscErrorCode replay_noise(void *context, PetscInt k, double *noise)
{
  memcpy(noise, ((Replay *)context)->noise + k * GOLDEN_VALUES, GOLDEN_VALUES * sizeof *noise);
  return PETSC_SUCCESS;
}

static PetscErrorCode replay_monitor(TS ts, PetscInt step, PetscReal lambda, Vec x, void *context)
{
  const PetscScalar *state;

  if (!step) return PETSC_SUCCESS;
  check_close(lambda,
              step < GOLDEN_STEPS ? schedule_lambda(&schedule, GOLDEN_STEPS - 1 - step) : 2 * schedule_lambda(&schedule, 0) - schedule_lambda(&schedule, 1),
              1e-14, 10);
  PetscCall(VecGetArrayRead(x, &state));
  for (int i = 0; i < GOLDEN_VALUES; i++) check_close(state[i], ((Replay *)context)->trajectory[(step - 1) * GOLDEN_VALUES + i], 1e-13, 1);
  PetscCall(VecRestoreArrayRead(x, &state));
  return PETSC_SUCCESS;
}

static void golden_trajectory(const char *group, const char *type, double eta, PetscInt max_steps)
{
  char         path[PETSC_MAX_PATH_LEN];
  const size_t bytes = sizeof(double) * GOLDEN_STEPS * GOLDEN_VALUES;
  Replay       replay = {malloc(bytes), malloc(bytes), malloc(bytes), 0};
  PetscInt     step[GOLDEN_STEPS], taken;
  TS           ts;
  Vec          x;
  PetscScalar *state;

  snprintf(path, sizeof path, "%s/tests/data/denoiser.h5", getenv("srcdir") ? getenv("srcdir") : ".");
  const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  golden_read(file, group, "clean_estimate", replay.estimate);
  golden_read(file, group, "noise", replay.noise);
  golden_read(file, group, "trajectory", replay.trajectory);
  check_call(VecCreateSeq(PETSC_COMM_SELF, GOLDEN_VALUES, &x));
  check_call(VecGetArrayWrite(x, &state));
  golden_read(file, "", "start", state);
  check_call(VecRestoreArrayWrite(x, &state));
  H5Fclose(file);
  reverse_steps(GOLDEN_STEPS - 1, GOLDEN_STEPS, step);
  const ReverseProblem problem = {.schedule = &schedule,
                                  .estimate = replay_estimate,
                                  .estimate_context = &replay,
                                  .noise = replay_noise,
                                  .noise_context = &replay,
                                  .steps = GOLDEN_STEPS,
                                  .step = step,
                                  .eta = eta,
                                  .noise_weight = 0.5,
                                  .single = PETSC_TRUE};
  check_call(TSCreate(PETSC_COMM_SELF, &ts));
  check_call(TSSetType(ts, type));
  check_call(TSReverseSetProblem(ts, &problem));
  check_call(TSSetMaxSteps(ts, max_steps));
  check_call(TSMonitorSet(ts, replay_monitor, &replay, NULL));
  check_call(TSReverseSolve(ts, x));
  check_call(TSGetStepNumber(ts, &taken));
  assert_int_equal(taken, PetscMin(max_steps, GOLDEN_STEPS));
  assert_int_equal(replay.estimates, taken);
  check_call(TSDestroy(&ts));
  check_call(VecDestroy(&x));
  free(replay.estimate);
  free(replay.noise);
  free(replay.trajectory);
}

static void public_trajectories(void **state)
{
  golden_trajectory("ddim", TSREVERSEDDIM, 0, 100);
  golden_trajectory("ddim_eta", TSREVERSEDDIM, 0.7, 100);
  golden_trajectory("ddpm", TSREVERSEDDPM, 0, 100);
  golden_trajectory("ddpm", TSREVERSEDDPM, 0, 3);
}

/* Cells are N(mean, deviation^2); then x0_hat = E[X_0 | x] = mean + alpha s^2 (x - alpha mean) / (alpha^2 s^2 + sigma^2). */
static const double law_mean = 0.7, law_deviation = 0.6;

static double law_width(double lambda)
{
  const double alpha2 = 1 / (1 + exp(-2 * lambda));

  return sqrt(alpha2 * law_deviation * law_deviation + 1 - alpha2);
}

static double law_estimate(double lambda, double x)
{
  const double alpha = 1 / sqrt(1 + exp(-2 * lambda)), width = law_width(lambda);

  return law_mean + alpha * law_deviation * law_deviation * (x - alpha * law_mean) / (width * width);
}

static PetscErrorCode gaussian_estimate(void *context, double step, const double *x, const double *previous, double *estimate)
{
  const double lambda = schedule_lambda(&schedule, step);

  for (int i = 0; i < *(int *)context; i++) estimate[i] = law_estimate(lambda, x[i]);
  return PETSC_SUCCESS;
}

/* Component 2 + k carries the noise of step k and nothing else, so that one solve yields the gain of every source of randomness. */
static PetscErrorCode unit_noise(void *context, PetscInt k, double *noise)
{
  memset(noise, 0, sizeof(double) * (size_t) * (int *)context);
  noise[2 + k] = 1;
  return PETSC_SUCCESS;
}

/* Solve in n steps from diffusion step first; x holds values states in and out. */
static void gaussian_solve(const char *type, const char *rk, PetscInt first, PetscInt n, PetscReal tolerance, double eta, int values, double *x)
{
  PetscInt *step = malloc(sizeof *step * (size_t)n);
  TS        ts;
  TSAdapt   adapt;
  Vec       vector;

  reverse_steps(first, n, step);
  const ReverseProblem problem = {.schedule = &schedule,
                                  .estimate = gaussian_estimate,
                                  .estimate_context = &values,
                                  .noise = unit_noise,
                                  .noise_context = &values,
                                  .steps = n,
                                  .step = step,
                                  .eta = eta,
                                  .noise_weight = 0.5};
  check_call(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, values, x, &vector));
  check_call(TSCreate(PETSC_COMM_SELF, &ts));
  check_call(TSSetType(ts, type));
  if (rk) check_call(TSRKSetType(ts, rk));
  check_call(TSReverseSetProblem(ts, &problem));
  if (rk) {
    check_call(TSGetAdapt(ts, &adapt));
    check_call(TSAdaptSetType(adapt, tolerance > 0 ? TSADAPTBASIC : TSADAPTNONE));
    check_call(TSSetTolerances(ts, tolerance > 0 ? tolerance : PETSC_DECIDE, NULL, tolerance > 0 ? tolerance : PETSC_DECIDE, NULL));
    if (tolerance <= 0) check_call(TSSetTimeStep(ts, (schedule_lambda(&schedule, 0) - schedule_lambda(&schedule, (double)first)) / (double)n));
  }
  check_call(TSReverseSolve(ts, vector));
  check_call(TSDestroy(&ts));
  check_call(VecDestroy(&vector));
  free(step);
}

/* Largest error of the deterministic solution, from three starting points. The flow keeps (x - alpha mean) / width; the result is the clean estimate at
 * lambda(0). */
static double flow_error(const char *type, const char *rk, PetscInt first, PetscInt n, PetscReal tolerance)
{
  const double start[] = {-1.5, 0.2, 2.0}, from = schedule_lambda(&schedule, (double)first), last = schedule_lambda(&schedule, 0);
  double       x[3], worst = 0;

  memcpy(x, start, sizeof x);
  gaussian_solve(type, rk, first, n, tolerance, 0, 3, x);
  for (int i = 0; i < 3; i++) {
    const double alpha1 = 1 / sqrt(1 + exp(-2 * from)), alpha0 = 1 / sqrt(1 + exp(-2 * last));
    const double end = alpha0 * law_mean + law_width(last) / law_width(from) * (start[i] - alpha1 * law_mean);

    worst = PetscMax(worst, fabs(x[i] - law_estimate(last, end)));
  }
  return worst;
}

static void check_order(const char *what, double coarse, double fine, double refinement, double order)
{
  const double seen = log(coarse / fine) / log(refinement);

  print_message("%s: errors %.3e, %.3e: order %.2f\n", what, coarse, fine, seen);
  if (!(fabs(seen - order) < 0.4)) fail_msg("%s: order %.2f, expected %.0f", what, seen, order);
}

static void strong_orders(void **state)
{
  check_order("ddim", flow_error(TSREVERSEDDIM, NULL, 999, 112, 0), flow_error(TSREVERSEDDIM, NULL, 999, 334, 0), 3, 1);
  /* From step 300: over the full range the leading errors of the high orders nearly cancel. */
  check_order("rk 3bs", flow_error(TSRK, TSRK3BS, 300, 22, 0), flow_error(TSRK, TSRK3BS, 300, 44, 0), 2, 3);
  check_order("rk 5dp", flow_error(TSRK, TSRK5DP, 300, 22, 0), flow_error(TSRK, TSRK5DP, 300, 44, 0), 2, 5);
}

static void adaptive_steps_keep_their_tolerance(void **state)
{
  assert_true(flow_error(TSRK, TSRK3BS, 999, 10, 1e-6) < 1e-5);
  assert_true(flow_error(TSRK, TSRK5DP, 999, 10, 1e-8) < 1e-7);
}

/* Mean and variance of the result, exactly: the map is affine, so the squares of the gains of start and noises add up. */
static void result_moments(const char *type, double eta, PetscInt n, double *mean, double *variance)
{
  const int values = 2 + (int)n;
  double   *x = calloc((size_t)values, sizeof *x);

  x[1] = 1;
  gaussian_solve(type, NULL, 999, n, 0, eta, values, x);
  *mean = x[0];
  *variance = 0;
  for (int i = 1; i < values; i++) *variance += (x[i] - x[0]) * (x[i] - x[0]);
  free(x);
}

static void weak_orders(void **state)
{
  const double last = schedule_lambda(&schedule, 0), alpha2 = 1 / (1 + exp(-2 * last)), s2 = law_deviation * law_deviation;
  const double expected = alpha2 * s2 * s2 / (alpha2 * s2 + 1 - alpha2); /* of the clean estimate at lambda(0) */
  double       mean, coarse, fine;

  for (int k = 0; k < 2; k++) {
    result_moments(k ? TSREVERSEDDPM : TSREVERSEDDIM, 1, 112, &mean, &coarse);
    check_close(mean, law_mean, 0.02, 1);
    result_moments(k ? TSREVERSEDDPM : TSREVERSEDDIM, 1, 334, &mean, &fine);
    check_close(mean, law_mean, 0.01, 1);
    check_order(k ? "ddpm, variance" : "ddim with eta 1, variance", fabs(coarse - expected), fabs(fine - expected), 3, 1);
  }
}

static void steps_of_a_range(void **state)
{
  PetscInt step[8];

  reverse_steps(7, 8, step);
  for (int i = 0; i < 8; i++) assert_int_equal(step[i], 7 - i);
  reverse_steps(999, 5, step);
  assert_int_equal(step[0], 999);
  assert_int_equal(step[1], 749);
  assert_int_equal(step[2], 500);
  assert_int_equal(step[3], 250);
  assert_int_equal(step[4], 0);
  reverse_steps(999, 1, step);
  assert_int_equal(step[0], 999);
}

static int start(void **state)
{
  PetscCall(sampling_register());
  PetscCall(schedule_create(SCHEDULE_LINEAR, 1000, 1, &schedule));
  return 0;
}

static int finish(void **state)
{
  PetscCall(schedule_destroy(&schedule));
  return 0;
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(public_trajectories, start, finish),
                                          cmocka_unit_test_setup_teardown(strong_orders, start, finish),
                                          cmocka_unit_test_setup_teardown(adaptive_steps_keep_their_tolerance, start, finish),
                                          cmocka_unit_test_setup_teardown(weak_orders, start, finish), cmocka_unit_test(steps_of_a_range)};

TEST_MAIN(tests)
