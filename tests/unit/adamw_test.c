/* AdamW against torch.optim.AdamW (2.x, float64, gradients clipped by clip_grad_norm_ at 1), the average and the learning rate in closed form. */
#include "check.h"
#include <perturbdiff/training.h>

enum { N = 15, STEPS = 3 };

/* A matrix that decays, a bias, one parameter for conditional and one for unconditional steps, one never used. */
static Parameter            items[5] = {{"weight", 0, 2, 3, PARAMETER_DECAY, 0},
                                        {"bias", 6, 3, 0, 0, 0},
                                        {"conditional", 9, 2, 0, PARAMETER_DECAY | PARAMETER_CONDITIONAL, 0},
                                        {"unconditional", 11, 2, 0, PARAMETER_DECAY | PARAMETER_UNCONDITIONAL, 0},
                                        {"unused", 13, 2, 0, PARAMETER_DECAY | PARAMETER_UNUSED, 0}};
static const ParameterTable table = {.count = 5, .item = items, .total = N};
static const double start[N] = {0.8033, 0.1748, 0.089, -0.6137, 0.0462, -1.3683, 0.3375, 1.0111, -1.4352, 0.9774, 0.522, 1.2379, -0.8646, 0.299, 0.4192};
static const double gradient[STEPS][N] = {
    {-0.461, 1.064, -2.224, -0.472, -1.346, -0.284, 0.168, 0.758, 0.178, 0.626, 1.004, -0.221, -0.584, -1.225, -0.27},
    {0.204, -0.087, -0.349, -0.419, -1.665, -0.349, -0.775, -0.7, -1.909, -0.03, 0.29, 0.327, -1.08, 0.537, 0.077},
    {0.0087, 0.0184, -0.0532, 0.1453, 0.0147, 0.2167, -0.1501, 0.0908, 0.0113, 0.037, -0.0548, -0.017, -0.0031, 0.312, -0.1199}};
static const PetscBool conditional[STEPS] = {PETSC_TRUE, PETSC_FALSE, PETSC_TRUE};
static const double    torch_norm[STEPS] = {3.231147319451715, 3.0411852952426295, 0.3268117806934138};
static const double    torch_value[STEPS][N] = {
       {0.80528393385982, 0.17279650406073588, 0.0909982199709429, -0.611687726136913, 0.04819907595198888, -1.3662726342275455, 0.33550000038466044,
        1.0091000000852546, -1.4371999996369498, 0.9753804521032315, 0.5199895600643655, 1.2379, -0.8646, 0.299, 0.4192},
       {0.8058487777545773, 0.17158108971092678, 0.09257029358218044, -0.6096788357679463, 0.05019140423955008, -1.3642514419778375, 0.33668526397556503,
        1.009186255069674, -1.4358409259794804, 0.9753804521032315, 0.5199895600643655, 1.235875242186005, -0.8625827080563183, 0.299, 0.4192},
       {0.8062121887249467, 0.1705660136478646, 0.09388541907206883, -0.6091662606209662, 0.051710928027703586, -1.364430153668684, 0.3381181050055094,
        1.0089089620498968, -1.4348083536184482, 0.9737581522011926, 0.5189132200112238, 1.235875242186005, -0.8625827080563183, 0.299, 0.4192}};

static void equals_torch(void **state)
{
  const AdamWOptions options = {.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1};
  Real               value[N], first[N] = {0}, second[N] = {0}, g[N];
  int64_t            taken[5] = {0};
  double             norm;

  for (int i = 0; i < N; i++) value[i] = (Real)start[i];
  for (int s = 0; s < STEPS; s++) {
    for (int i = 0; i < N; i++) g[i] = (Real)gradient[s][i];
    check_call(adamw_update(&table, &options, conditional[s], g, value, first, second, taken, &norm));
    check_close(norm, torch_norm[s], sizeof(Real) == 8 ? 1e-14 : 1e-6, torch_norm[s]);
    for (int i = 0; i < N; i++) check_close(value[i], torch_value[s][i], sizeof(Real) == 8 ? 1e-14 : 4e-7, 1);
  }
  assert_int_equal(taken[0], 3);
  assert_int_equal(taken[2], 2);
  assert_int_equal(taken[3], 1);
  assert_int_equal(taken[4], 0);
}

/* With moments of a constant gradient every step moves by lr, whatever the length: the threaded path is taken. */
static void long_parameter(void **state)
{
  enum { LONG = 200001 };
  Parameter            item = {"long", 0, LONG, 0, 0, 0};
  const ParameterTable one = {.count = 1, .item = &item, .total = LONG};
  const AdamWOptions   options = {.lr = 0.125, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 0, .weight_decay = 1, .clip = 0};
  Real                *array;
  int64_t              taken = 0;
  double               norm, worst = 0;

  check_call(PetscCalloc1(4 * LONG, &array));
  for (size_t i = 0; i < LONG; i++) array[i] = i % 2 ? -3 : 3;
  for (int s = 0; s < 4; s++) check_call(adamw_update(&one, &options, PETSC_TRUE, array, array + LONG, array + 2 * LONG, array + 3 * LONG, &taken, &norm));
  check_close(norm, 3 * sqrt((double)LONG), 1e-12, 3 * sqrt((double)LONG));
  for (size_t i = 0; i < LONG; i++) worst = fmax(worst, fabs((double)array[LONG + i] - (i % 2 ? 0.5 : -0.5)));
  check_close(worst, 0, 2e-6, 1);
  check_call(PetscFree(array));
}

/* Cut anywhere and with the average fused, every element comes out the same. */
static void ranges_of_any_length(void **state)
{
  enum { LONG = 300007 };
  const AdamWOptions options = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1};
  const size_t       cut[] = {0, 1, 17, 40000, 240001, LONG};
  Real              *whole, *cuts, *gradient_long;

  check_call(PetscCalloc3(4 * LONG, &whole, 4 * LONG, &cuts, LONG, &gradient_long));
  for (size_t i = 0; i < LONG; i++) whole[i] = cuts[i] = (Real)(i % 31) - 15;
  for (int s = 1; s < 4; s++) {
    for (size_t i = 0; i < LONG; i++) gradient_long[i] = (Real)((i + (size_t)s) % 7) - 3;
    adamw_range(&options, 0.5, s, PETSC_TRUE, LONG, gradient_long, whole, whole + LONG, whole + 2 * LONG, NULL, 0);
    ema_update(LONG, 0.75, whole, whole + 3 * LONG);
    for (int k = 0; k < 5; k++) {
      Real *const at = cuts + cut[k];
      adamw_range(&options, 0.5, s, PETSC_TRUE, cut[k + 1] - cut[k], gradient_long + cut[k], at, at + LONG, at + 2 * LONG, at + 3 * LONG, 0.75);
    }
  }
  assert_memory_equal(whole, cuts, 4 * LONG * sizeof(Real));
  check_call(PetscFree3(whole, cuts, gradient_long));
}

static void average_decays(void **state)
{
  Real parameters[3] = {1, -2, 0.5}, average[3] = {0};

  for (int s = 0; s < 5; s++) ema_update(3, 0.75, parameters, average);
  for (int i = 0; i < 3; i++) check_close(average[i], parameters[i] * (1 - pow(0.75, 5)), 1e-6, 1);
}

static void learning_rate_schedule(void **state)
{
  /* 100 steps, warm-up 20: flat up to step 30, half way down the cosine at 65, floor at the end and after it. */
  check_close(learning_rate_factor(0, 20, 100), 0.05, 1e-12, 1);
  check_close(learning_rate_factor(9, 20, 100), 0.5, 1e-12, 1);
  check_close(learning_rate_factor(20, 20, 100), 1, 1e-12, 1);
  check_close(learning_rate_factor(30, 20, 100), 1, 1e-12, 1);
  check_close(learning_rate_factor(65, 20, 100), 0.5, 1e-12, 1);
  check_close(learning_rate_factor(99, 20, 100), 0.1, 1e-12, 1);
  check_close(learning_rate_factor(100, 20, 100), 0.1, 1e-12, 1);
  check_close(learning_rate_factor(1000, 20, 100), 0.1, 1e-12, 1);
  check_close(learning_rate_factor(0, 0, 10), 1, 1e-12, 1);
  check_close(learning_rate_factor(0, 0, 0), 1, 1e-12, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(equals_torch), cmocka_unit_test(long_parameter), cmocka_unit_test(ranges_of_any_length), cmocka_unit_test(average_decays),
                                          cmocka_unit_test(learning_rate_schedule)};

TEST_MAIN(tests)
