/* Generated cells depend on seed, condition, number and draw only: not on ranks, batches, or what else is asked for. */
#include "check.h"
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/sampling.h>
#include <stdlib.h>
#include <string.h>

enum { GENES = 12, SET = 6, CONDITIONS = 3, CONTROLS = 8, MOST_CELLS = 15 };

static const PetscInt64 cells_of[CONDITIONS] = {15, 6, 7};
static NoiseSchedule    schedule;
static ParameterTable   table;
static Real            *parameters;
static const PetscInt   steps[] = {999, 600, 200, 0};
static PetscInt64       asked[64];
static int              asked_count;
static PetscBool        whole_counts;
static Real             least_control;

/* Any fixed function of cell and gene; the cells asked for are noted. */
static PetscErrorCode controls(void *context, PetscInt64 count, const PetscInt64 *cells, Real *dense)
{
  for (PetscInt64 i = 0; i < count; i++) {
    if (asked_count < 64) asked[asked_count++] = cells[i];
    for (int g = 0; g < GENES; g++) dense[i * GENES + g] = least_control + (Real)((cells[i] * 7 + g * 3) % 11) / 11;
  }
  return PETSC_SUCCESS;
}

static Condition condition(int c)
{
  return (Condition){
      .perturbation = c, .cell_type = c % 2, .batch = 0, .cells = cells_of[c], .first_control = 100 * c, .controls = CONTROLS, .key = 77u * (uint64_t)(c + 1)};
}

/* Generate the conditions named in order, dealt over groups of `parts` ranks of comm; cells[c][draw][cell][gene] on every rank. */
static void generate(MPI_Comm comm, int parts, const char *type, int count, const int *order, PetscInt at_once, double guidance, double eta, double *cells)
{
  Condition            item[CONDITIONS];
  const ConditionList  list = {count, item};
  const SampleModel    model = {.table = &table, .parameters = parameters, .schedule = &schedule, .set_size = SET, .sees_cell_type = PETSC_TRUE,
                                .sees_batch = PETSC_TRUE, .strength = 1, .value_scale = 10};
  SampleSettings       settings = {
            .type = type, .steps = 4, .step = steps, .eta = eta, .guidance = guidance, .cut = strcmp(type, TSRK) ? 1e-4 : 0, .draws = 2, .sets_at_once = at_once, .seed = 5, .parts = parts, .whole_counts = whole_counts};
  const size_t size = (size_t)CONDITIONS * 2 * MOST_CELLS * GENES;
  ProcessGrid  grid;
  Generator   *generator;

  check_call(grid_create(comm, parts, &grid));
  settings.cells = grid.cells;
  for (int i = 0; i < count; i++) item[i] = condition(order[i]);
  memset(cells, 0, size * sizeof *cells);
  check_call(generator_create(&model, &settings, &list, controls, NULL, &generator));
  /* Sets in turn to the groups. */
  const PetscInt64 total = generator_sets(generator);
  const size_t     own = (size_t)generator_cells(generator);
  for (PetscInt64 n = grid.group; n < total; n += at_once * grid.groups) {
    GeneratedSet   set[8];
    const double  *values;
    const PetscInt now = (PetscInt)PetscMin(at_once, (total - n + grid.groups - 1) / grid.groups);

    check_call(generator_run(generator, n, grid.groups, now, set, &values));
    for (int b = 0; b < now; b++)
      memcpy(cells + (((size_t)order[set[b].condition] * 2 + (size_t)set[b].draw) * MOST_CELLS + (size_t)set[b].first_cell) * GENES,
             values + (size_t)b * own * GENES, sizeof *cells * (size_t)set[b].cells * GENES);
  }
  check_call(generator_destroy(&generator));
  check_call(grid_destroy(&grid));
  MPI_Allreduce(MPI_IN_PLACE, cells, (int)size, MPI_DOUBLE, MPI_SUM, comm);
}

static double difference(const double *a, const double *b, size_t n)
{
  double worst = 0;

  for (size_t i = 0; i < n; i++) worst = PetscMax(worst, fabs(a[i] - b[i]));
  return worst;
}

static void same_on_any_ranks(void **state)
{
  const size_t size = (size_t)CONDITIONS * 2 * MOST_CELLS * GENES;
  const int    all[] = {0, 1, 2}, other[] = {2, 0};
  double      *alone = malloc(size * sizeof *alone), *dealt = malloc(size * sizeof *dealt), largest = 0;

  for (int guided = 0; guided < 2; guided++) {
    generate(PETSC_COMM_SELF, 1, TSREVERSEDDIM, 3, all, 1, 0.5 * guided, 1, alone);
    for (size_t i = 0; i < size; i++) largest = PetscMax(largest, alone[i]);
    assert_true(largest > 0.1);
    generate(PETSC_COMM_WORLD, 1, TSREVERSEDDIM, 3, all, 1 + guided, 0.5 * guided, 1, dealt);
    assert_true(difference(alone, dealt, size) <= 1e-5 * largest);
    generate(PETSC_COMM_WORLD, 1, TSREVERSEDDIM, 2, other, 3, 0.5 * guided, 1, dealt);
    for (int c = 0; c < CONDITIONS; c += 2) {
      const size_t at = (size_t)c * 2 * MOST_CELLS * GENES;
      assert_true(difference(alone + at, dealt + at, 2 * MOST_CELLS * GENES) <= 1e-5 * largest);
    }
    /* Draws and conditions do differ. */
    assert_true(difference(alone, alone + MOST_CELLS * GENES, SET * GENES) > 0.01 * largest);
    assert_true(difference(alone, alone + 2 * MOST_CELLS * GENES, SET * GENES) > 0.01 * largest);
  }
  free(alone);
  free(dealt);
}

/* Sets split over ranks, on every grid there is (6 cells over 4 ranks is uneven): each sampler gives the same cells, also rk, whose steps follow norms over the whole
   set. Rounding moves those steps a little, and the cells by about the steppers' tolerance. */
static void same_on_any_grid(void **state)
{
  const size_t      size = (size_t)CONDITIONS * 2 * MOST_CELLS * GENES;
  const int         all[] = {0, 1, 2};
  const char *const type[] = {TSREVERSEDDIM, TSREVERSEDDPM, TSRK};
  double           *alone = malloc(size * sizeof *alone), *dealt = malloc(size * sizeof *dealt);
  int               ranks;

  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  check_call(PetscOptionsSetValue(NULL, "-ts_rtol", "1e-6"));
  check_call(PetscOptionsSetValue(NULL, "-ts_atol", "1e-6"));
  for (int k = 0; k < 3; k++) {
    double largest = 0;

    generate(PETSC_COMM_SELF, 1, type[k], 3, all, 1, 0.5, 1, alone);
    for (size_t i = 0; i < size; i++) largest = PetscMax(largest, fabs(alone[i]));
    for (int parts = 2; parts <= ranks; parts++) {
      if (ranks % parts) continue;
      generate(PETSC_COMM_WORLD, parts, type[k], 3, all, k == 2 ? 1 : 2, 0.5, 1, dealt);
      check_close(difference(alone, dealt, size), 0, k == 2 ? 1e-4 : 1e-5, largest);
    }
  }
  check_call(PetscOptionsClearValue(NULL, "-ts_rtol"));
  check_call(PetscOptionsClearValue(NULL, "-ts_atol"));
  free(alone);
  free(dealt);
}

/* Values below the smallest of their control cell, which is its one count, become that or 0, the others stay; their sum moves by chance alone: within
   three standard deviations of coins thrown for each value. The same on every grid. */
static void whole_counts_keep_means(void **state)
{
  const size_t size = (size_t)CONDITIONS * 2 * MOST_CELLS * GENES;
  const int    all[] = {0};
  double      *as_they_are = malloc(size * sizeof *as_they_are), *whole = malloc(size * sizeof *whole), *dealt = malloc(size * sizeof *dealt);
  double       moved = 0, variance = 0;
  int          ranks, rounded = 0, up = 0;

  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  asked_count = 0;
  least_control = (Real)0.3;
  generate(PETSC_COMM_SELF, 1, TSREVERSEDDIM, 1, all, 1, 0, 0, as_they_are);
  whole_counts = PETSC_TRUE;
  generate(PETSC_COMM_SELF, 1, TSREVERSEDDIM, 1, all, 1, 0, 0, whole);
  for (int g = 0; g < GENES; g++) {
    for (int i = 0; i < (int)cells_of[0]; i++) {
      const double before = as_they_are[i * GENES + g], after = whole[i * GENES + g];
      Real         control[GENES];
      double       one = INFINITY;

      check_call(controls(NULL, 1, &asked[i], control));
      for (int j = 0; j < GENES; j++)
        if (control[j] > 0) one = PetscMin(one, (double)control[j]);
      if (before <= 0 || before >= one) {
        assert_true(after == before);
      } else {
        assert_true(after == 0 || after == one);
        variance += before * (one - before);
        rounded++;
        up += after > 0;
      }
      moved += after - before;
    }
  }
  assert_true(moved * moved < 9 * variance);
  assert_true(rounded > 10 && up > 0 && up < rounded);
  for (int parts = 1; parts <= ranks; parts++) {
    if (ranks % parts) continue;
    generate(PETSC_COMM_WORLD, parts, TSREVERSEDDIM, 1, all, 1, 0, 0, dealt);
    check_close(difference(whole, dealt, size), 0, 1e-5, 1);
  }
  whole_counts = PETSC_FALSE;
  least_control = 0;
  free(as_they_are);
  free(whole);
  free(dealt);
}

/* 15 cells and 3 to fill up, 8 control cells: each control twice before any is taken a third time. */
static void controls_without_replacement(void **state)
{
  const int all[] = {0};
  int       used[CONTROLS] = {0};
  double   *cells = malloc(sizeof *cells * CONDITIONS * 2 * MOST_CELLS * GENES);

  asked_count = 0;
  generate(PETSC_COMM_SELF, 1, TSREVERSEDDIM, 1, all, 1, 0, 0, cells);
  assert_int_equal(asked_count, 36);
  for (int i = 0; i < 16; i++) {
    assert_in_range(asked[i], 0, CONTROLS - 1);
    used[asked[i]]++;
    if (i == 7)
      for (int k = 0; k < CONTROLS; k++) assert_int_equal(used[k], 1);
  }
  for (int k = 0; k < CONTROLS; k++) assert_int_equal(used[k], 2);
  free(cells);
}

/* One step from pure noise is the clean estimate itself: cut((1 + w) conditional - w unconditional), both by direct calls of the network on the noise the
 * streams give. */
static void guided_step_by_hand(void **state)
{
  const double        w = 0.5, cut = 0.02, shift_of_gene = 0.3;
  double              shift[GENES];
  Condition           item[] = {condition(1)};
  const ConditionList list = {1, item};
  const SampleModel   model = {
        .table = &table, .parameters = parameters, .schedule = &schedule, .set_size = SET, .sees_cell_type = PETSC_TRUE, .sees_batch = PETSC_TRUE,
        .center = CENTER_SHIFT, .strength = 0.7, .value_scale = 10};
  const SampleSettings settings = {.type = TSREVERSEDDIM, .steps = 1, .step = steps, .guidance = w, .cut = cut, .draws = 1, .sets_at_once = 1, .seed = 5};
  Real                 noisy[SET * GENES], control[SET * GENES], center[SET * GENES], with[SET * GENES], without[SET * GENES];
  const double         step = steps[0];
  const unsigned char  dropped = 1;
  const PetscInt       perturbation = 1, cell_type = 1, batch = 0;
  const double        *cells;
  Generator           *generator;
  Denoiser            *denoiser;
  GeneratedSet         set;

  for (int g = 0; g < GENES; g++) shift[g] = shift_of_gene * g;
  item[0].shift = shift;
  asked_count = 0;
  check_call(generator_create(&model, &settings, &list, controls, NULL, &generator));
  check_call(generator_run(generator, 0, 1, 1, &set, &cells));
  assert_int_equal(set.cells, SET);
  for (int s = 0; s < SET; s++) {
    const RandomStream stream = random_stream(settings.seed ^ item[0].key, RANDOM_SAMPLE_START, 0, 0, (uint32_t)s);
    for (int g = 0; g < GENES; g++) noisy[s * GENES + g] = (Real)random_normal(&stream, (uint32_t)g);
  }
  assert_int_equal(asked_count, SET);
  check_call(controls(NULL, SET, asked, control));
  for (int i = 0; i < SET * GENES; i++) center[i] = control[i] + (Real)(shift[i % GENES] / model.value_scale);
  DenoiserInput input = {.sets = 1,
                         .noisy = noisy,
                         .control = control,
                         .step = &step,
                         .perturbation = &perturbation,
                         .cell_type = &cell_type,
                         .batch = &batch,
                         .center = center,
                         .strength = (Real)model.strength};
  check_call(denoiser_create(&table, &(DenoiserPlan){.max_sets = 1, .set_size = SET}, &denoiser));
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, with, NULL));
  input.dropped = &dropped;
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, without, NULL));
  for (int i = 0; i < SET * GENES; i++) {
    const double expected = (1 + w) * (double)with[i] - w * (double)without[i];
    if (fabs(expected - cut) > 1e-5) check_close(cells[i], expected < cut ? 0 : expected, 1e-5, 1);
  }
  assert_true(fabs((double)with[3] - (double)without[3]) > 1e-4);
  check_call(denoiser_destroy(&denoiser));
  check_call(generator_destroy(&generator));
}

static int start(void **state)
{
  const DenoiserShape shape = {
      .genes = GENES, .hidden = 8, .depth = 2, .heads = 2, .perturbations = 3, .cell_types = 2, .batches = 1, .covariate_dim = 4, .time_frequencies = 8};

  PetscCall(sampling_register());
  PetscCall(schedule_create(SCHEDULE_LINEAR, 1000, 1, &schedule));
  PetscCall(parametertable_create(&shape, &table));
  PetscCall(PetscMalloc1(table.total, &parameters));
  PetscCall(parameters_start(&table, 3, PETSC_FALSE, parameters));
  /* Away from the start, where the modulations are zero and conditions have no effect. */
  const RandomStream stream = random_stream(9, RANDOM_TEST, 0, 0, 0);
  for (size_t i = 0; i < table.total; i++) parameters[i] += (Real)(0.1 * random_normal(&stream, (uint32_t)i));
  return 0;
}

static int finish(void **state)
{
  PetscCall(PetscFree(parameters));
  PetscCall(parametertable_destroy(&table));
  PetscCall(schedule_destroy(&schedule));
  return 0;
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(same_on_any_ranks, start, finish),
                                          cmocka_unit_test_setup_teardown(same_on_any_grid, start, finish),
                                          cmocka_unit_test_setup_teardown(whole_counts_keep_means, start, finish),
                                          cmocka_unit_test_setup_teardown(controls_without_replacement, start, finish),
                                          cmocka_unit_test_setup_teardown(guided_step_by_hand, start, finish)};

TEST_MAIN(tests)
