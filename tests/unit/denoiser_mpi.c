/* Network and objective of sets split over all ranks against whole sets on one: estimates, losses, and the gradients summed over ranks. In double precision, with shares
   that are uneven or empty. */
#include "check.h"
#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <perturbdiff/runtime/random.h>
#include <string.h>

enum { GENES = 11, HIDDEN = 6, SETS = 2, MOST_CELLS = 7, N = SETS * MOST_CELLS * GENES };

#define TOLERANCE 1e-12

static const DenoiserShape shape = {
    .genes = GENES, .hidden = HIDDEN, .depth = 3, .heads = 2, .perturbations = 3, .cell_types = 2, .batches = 2, .covariate_dim = 4, .time_frequencies = 5};
static ParameterTable table;
static Real          *parameters;

static void fill(size_t n, uint32_t purpose, double scale, Real *values)
{
  const RandomStream stream = random_stream(5, RANDOM_TEST, purpose, 0, 0);

  for (size_t i = 0; i < n; i++) values[i] += (Real)(scale * random_normal(&stream, (uint32_t)i));
}

/* Cells of whole sets, and what came out of them; with an exchange of this rank's. */
typedef struct {
  PetscInt cells;
  Real     noisy[N], self_condition[N], control[N], clean[N], center[N], estimate[N], d_estimate[N], hidden[SETS * MOST_CELLS * HIDDEN];
  Real    *gradients;
  double   mse[SETS], energy[SETS];
} Pass;

static void run(Pass *p, PetscInt set_size, PetscInt sets, CellExchange *exchange, PetscBool recompute, PetscBool all_inputs)
{
  const DenoiserPlan  plan = {.max_sets = SETS, .set_size = set_size, .exchange = exchange, .with_gradient = PETSC_TRUE, .recompute = recompute};
  const double        step[SETS] = {3, 700};
  const PetscInt      perturbation[SETS] = {2, -1}, cell_type[SETS] = {0, 1}, batch[SETS] = {1, 1};
  const unsigned char dropped[SETS] = {0, 1};
  const DenoiserInput input = {.sets = sets,
                               .noisy = p->noisy,
                               .self_condition = all_inputs ? p->self_condition : NULL,
                               .control = all_inputs ? p->control : NULL,
                               .step = step,
                               .perturbation = perturbation,
                               .cell_type = cell_type,
                               .batch = batch,
                               .dropped = dropped,
                               .center = all_inputs ? p->center : NULL,
                               .strength = 1};
  Denoiser           *denoiser;
  Objective          *objective;

  check_call(denoiser_create(&table, &plan, &denoiser));
  check_call(objective_create(set_size, GENES, 0.7, exchange, &objective));
  check_call(PetscCalloc1(table.total, &p->gradients));
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, p->estimate, NULL));
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_TRUE, p->estimate, p->hidden));
  check_call(objective_evaluate(objective, sets, p->clean, p->estimate, 0.25, p->mse, p->energy, p->d_estimate));
  check_call(denoiser_backward(denoiser, parameters, &input, p->d_estimate, p->gradients));
  check_call(objective_destroy(&objective));
  check_call(denoiser_destroy(&denoiser));
}

/* Own rows of (sets,S,width) to (sets,cells,width). */
static void own_rows(PetscInt sets, PetscInt set_size, PetscInt first, PetscInt cells, PetscInt width, const Real *all, Real *own)
{
  for (PetscInt s = 0; s < sets; s++)
    for (PetscInt k = 0; k < cells * width; k++) own[s * cells * width + k] = all[(s * set_size + first) * width + k];
}

static void same_rows(const char *what, PetscInt sets, PetscInt set_size, PetscInt first, PetscInt cells, PetscInt width, const Real *all, const Real *own)
{
  double largest = 0;
  Real   expected[N];

  for (PetscInt i = 0; i < sets * set_size * width; i++) largest = PetscMax(largest, fabs((double)all[i]));
  own_rows(sets, set_size, first, cells, width, all, expected);
  for (PetscInt i = 0; i < sets * cells * width; i++)
    if (!(fabs((double)own[i] - (double)expected[i]) <= TOLERANCE * largest)) fail_msg("%s of %d cells: %g, expected %g", what, (int)set_size, (double)own[i], (double)expected[i]);
}

static void compare(PetscInt set_size, PetscInt sets, PetscBool recompute, PetscBool all_inputs)
{
  static Pass   whole, split;
  CellExchange *exchange;
  int           first, cells;

  memset(&whole, 0, sizeof whole);
  memset(&split, 0, sizeof split);
  fill((size_t)(SETS * set_size * GENES), 1, 1, whole.noisy);
  fill((size_t)(SETS * set_size * GENES), 2, 1, whole.self_condition);
  fill((size_t)(SETS * set_size * GENES), 3, 1, whole.control);
  fill((size_t)(SETS * set_size * GENES), 4, 1, whole.clean);
  fill((size_t)(SETS * set_size * GENES), 5, 1, whole.center);
  run(&whole, set_size, sets, NULL, PETSC_FALSE, all_inputs);
  check_call(cellexchange_create(PETSC_COMM_WORLD, (int)set_size, SETS, PetscMax(2 * HIDDEN, GENES), &exchange));
  cellexchange_cells(exchange, cellexchange_rank(exchange), &first, &cells);
  own_rows(SETS, set_size, first, cells, GENES, whole.noisy, split.noisy);
  own_rows(SETS, set_size, first, cells, GENES, whole.self_condition, split.self_condition);
  own_rows(SETS, set_size, first, cells, GENES, whole.control, split.control);
  own_rows(SETS, set_size, first, cells, GENES, whole.clean, split.clean);
  own_rows(SETS, set_size, first, cells, GENES, whole.center, split.center);
  run(&split, set_size, sets, exchange, recompute, all_inputs);
  same_rows("estimate", sets, set_size, first, cells, GENES, whole.estimate, split.estimate);
  same_rows("hidden", sets, set_size, first, cells, HIDDEN, whole.hidden, split.hidden);
  same_rows("d_estimate", sets, set_size, first, cells, GENES, whole.d_estimate, split.d_estimate);
  for (PetscInt s = 0; s < sets; s++) {
    check_close(split.mse[s], whole.mse[s], TOLERANCE, whole.mse[s]);
    check_close(split.energy[s], whole.energy[s], TOLERANCE, 10);
  }
  check_call(MPI_Allreduce(MPI_IN_PLACE, split.gradients, (int)table.total, MPI_REAL_TYPE, MPI_SUM, PETSC_COMM_WORLD));
  for (PetscInt k = 0; k < table.count; k++) {
    const Parameter *p = &table.item[k];
    double           largest = 0;

    for (size_t i = p->offset; i < p->offset + parameter_size(p); i++) largest = PetscMax(largest, fabs((double)whole.gradients[i]));
    for (size_t i = p->offset; i < p->offset + parameter_size(p); i++)
      if (!(fabs((double)(split.gradients[i] - whole.gradients[i])) <= TOLERANCE * (largest + 1e-3)))
        fail_msg("gradient of %s with sets of %d: %g, expected %g", p->name, (int)set_size, (double)split.gradients[i], (double)whole.gradients[i]);
  }
  check_call(cellexchange_destroy(&exchange));
  check_call(PetscFree(whole.gradients));
  check_call(PetscFree(split.gradients));
}

static void split_sets(void **state)
{
  for (int all_inputs = 0; all_inputs < 2; all_inputs++) {
    compare(7, SETS, PETSC_FALSE, all_inputs);
    compare(4, SETS, PETSC_FALSE, all_inputs);
    compare(5, 1, PETSC_FALSE, all_inputs);
  }
}

/* Ranks without cells. */
static void few_cells(void **state)
{
  compare(2, SETS, PETSC_FALSE, PETSC_TRUE);
  compare(3, 1, PETSC_FALSE, PETSC_TRUE);
  compare(1, SETS, PETSC_FALSE, PETSC_FALSE);
}

static void no_sets(void **state) { compare(7, 0, PETSC_FALSE, PETSC_TRUE); }

static void recomputed(void **state)
{
  compare(7, SETS, PETSC_TRUE, PETSC_TRUE);
  compare(2, SETS, PETSC_TRUE, PETSC_FALSE);
}

/* What denoiser_bytes says before there is an exchange covers the rank with most cells. */
static void bytes(void **state)
{
  DenoiserPlan  plan = {.max_sets = SETS, .set_size = 7, .with_gradient = PETSC_TRUE};
  CellExchange *exchange;
  size_t        mine, most, planned;

  check_call(cellexchange_create(PETSC_COMM_WORLD, 7, SETS, GENES, &exchange));
  plan.exchange = exchange;
  mine          = denoiser_bytes(&shape, &plan);
  check_call(MPI_Allreduce(&mine, &most, 1, MPIU_SIZE_T, MPI_MAX, PETSC_COMM_WORLD));
  plan.exchange = NULL;
  plan.parts    = cellexchange_ranks(exchange);
  planned       = denoiser_bytes(&shape, &plan);
  assert_int_equal(planned, most);
  check_call(cellexchange_destroy(&exchange));
}

static int set_up(void **state)
{
  check_call(parametertable_create(&shape, &table));
  check_call(PetscMalloc1(table.total, &parameters));
  check_call(parameters_start(&table, 3, PETSC_FALSE, parameters));
  fill(table.total, 9, 0.2, parameters);
  return 0;
}

static int tear_down(void **state)
{
  check_call(PetscFree(parameters));
  check_call(parametertable_destroy(&table));
  return 0;
}

#define case_of(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
static const struct CMUnitTest tests[] = {case_of(split_sets), case_of(few_cells), case_of(no_sets), case_of(recomputed), case_of(bytes)};

TEST_MAIN(tests)
