/* What the denoiser promises beyond its numbers: names and flags, starting values, sets that do not see each other, dropped conditions, the order of buckets. */
#include "check.h"
#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>
#include <string.h>

enum { SETS = 3, CELLS = 6, GENES = 20, HIDDEN = 16, DEPTH = 3, N = CELLS * GENES };

static const DenoiserShape shape = {
    .genes = GENES, .hidden = HIDDEN, .depth = DEPTH, .heads = 4, .perturbations = 5, .cell_types = 3, .batches = 4, .covariate_dim = 8, .time_frequencies = 128};
static ParameterTable table;
static Real          *parameters, *gradients;
static Real           noisy[SETS * N], control[SETS * N], self_condition[SETS * N], estimate[SETS * N];
static double         step[SETS] = {5, 500, 17.5};
static PetscInt       perturbation[SETS] = {4, -1, 2}, cell_type[SETS] = {0, 2, 1}, batch[SETS] = {3, 0, 1};

static void fill(size_t n, uint32_t set, Real *x)
{
  const RandomStream stream = random_stream(5, RANDOM_TEST, 0, set, 0);

  random_normals(&stream, 0, n, x);
}

static DenoiserInput input_of(PetscInt first, PetscInt sets, const unsigned char *dropped)
{
  return (DenoiserInput){.sets = sets, .noisy = noisy + first * N, .self_condition = self_condition + first * N, .control = control + first * N, .step = step + first,
                         .perturbation = perturbation + first, .cell_type = cell_type + first, .batch = batch + first, .dropped = dropped, .strength = 1};
}

static void names_and_flags(void **state)
{
  const struct {
    const char *name;
    PetscInt    rows, columns, bucket;
    unsigned    flags;
  } some[] = {
      {"model.x_embedder.weight", HIDDEN, 2 * GENES, 0, PARAMETER_DECAY},
      {"model.gene_embedding.null_emb.weight", 1, HIDDEN, 0, PARAMETER_DECAY},
      {"model.class_embedding.emb.bias", HIDDEN, 0, 0, PARAMETER_CONDITIONAL},
      {"model.class_embedding.null_emb.weight", 1, HIDDEN, 0, PARAMETER_DECAY | PARAMETER_UNCONDITIONAL},
      {"cov_encoder.pert_encoder.weight", 6, 8, 0, PARAMETER_DECAY | PARAMETER_CONDITIONAL},
      {"model.gene_embedding.gene_embedding.weight", HIDDEN, 5120, 0, PARAMETER_DECAY | PARAMETER_UNUSED},
      {"model.blocks.0.block.attn.q_norm.weight", 2 * HIDDEN / 4, 0, 1, PARAMETER_DECAY},
      {"model.blocks.2.block.mlp.fc1.weight", 4 * HIDDEN, HIDDEN, 3, PARAMETER_DECAY},
      {"model.blocks.1.block.control_mlp.fc2.bias", HIDDEN, 0, 2, 0},
      {"model.blocks.2.block.control_mlp.fc2.bias", HIDDEN, 0, 3, PARAMETER_UNUSED},
      {"model.final_layer.linear.weight", GENES, HIDDEN, DEPTH + 1, PARAMETER_DECAY},
      {"model.control_final_layer.linear.bias", GENES, 0, DEPTH + 1, PARAMETER_UNUSED},
  };
  size_t offset = 0;

  for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
    const Parameter *p = parametertable_find(&table, some[i].name);
    if (!p) fail_msg("no %s", some[i].name);
    assert_int_equal(p->rows, some[i].rows);
    assert_int_equal(p->columns, some[i].columns);
    assert_int_equal(p->bucket, some[i].bucket);
    assert_int_equal(p->flags, some[i].flags);
  }
  assert_null(parametertable_find(&table, "model.nothing"));
  /* The public code's model of this shape has 83 parameters; without gaps, buckets in order. */
  assert_int_equal(table.count, 83);
  for (PetscInt k = 0; k < table.count; k++) {
    assert_int_equal(table.item[k].offset, offset);
    offset += parameter_size(&table.item[k]);
    if (k) assert_true(table.item[k].bucket == table.item[k - 1].bucket || table.item[k].bucket == table.item[k - 1].bucket + 1);
  }
  assert_int_equal(table.total, offset);
}

static void moments(const char *name, double mean, double deviation)
{
  const Parameter *p = parametertable_find(&table, name);
  const size_t     n = parameter_size(p);
  double           sum = 0, squares = 0;

  for (size_t i = 0; i < n; i++) sum += (double)parameters[p->offset + i] / (double)n;
  for (size_t i = 0; i < n; i++) squares += ((double)parameters[p->offset + i] - sum) * ((double)parameters[p->offset + i] - sum) / (double)n;
  check_close(sum, mean, 4 / sqrt((double)n), deviation);
  check_close(sqrt(squares), deviation, 4 / sqrt((double)n), deviation);
}

static void starting_values(void **state)
{
  Real            *again;
  const Parameter *p;

  check_call(parameters_start(&table, 42, PETSC_FALSE, parameters));
  /* Uniform in +-sqrt(6/(in+out)): deviation sqrt(2/(in+out)). */
  moments("model.blocks.1.block.attn.qkv.weight", 0, sqrt(2. / (8 * HIDDEN)));
  moments("model.final_layer.linear.weight", 0, sqrt(2. / (HIDDEN + GENES)));
  moments("model.t_embedder.mlp.0.weight", 0, 0.02);
  moments("cov_encoder.batch_encoder.weight", 0, 1);
  moments("model.class_embedding.null_emb.weight", 0, 1);
  moments("model.blocks.0.block.adaLN_modulation.1.weight", 0, 0);
  moments("model.final_layer.adaLN_modulation.1.bias", 0, 0);
  moments("model.blocks.0.block.attn.k_norm.weight", 1, 0);
  p = parametertable_find(&table, "model.blocks.1.block.attn.qkv.weight");
  for (size_t i = 0; i < parameter_size(p); i++) assert_true(fabs((double)parameters[p->offset + i]) <= sqrt(6. / (8 * HIDDEN)) + 1e-6);
  check_call(PetscMalloc1(table.total, &again));
  check_call(parameters_start(&table, 42, PETSC_TRUE, again));
  p = parametertable_find(&table, "model.final_layer.linear.weight");
  for (size_t i = 0; i < table.total; i++) {
    const PetscBool head = i >= p->offset && i < p->offset + parameter_size(p) ? PETSC_TRUE : PETSC_FALSE;
    assert_true(again[i] == (head ? 0 : parameters[i]));
  }
  check_call(parameters_start(&table, 43, PETSC_FALSE, again));
  assert_true(again[0] != parameters[0]);
  check_call(PetscFree(again));
}

/* Parameters without zeros, so that everything has an effect. */
static void random_parameters(void)
{
  fill(table.total, 1, parameters);
  for (size_t i = 0; i < table.total; i++) parameters[i] *= (Real)0.3;
}

/* A set's estimate does not depend on the sets beside it, nor on what is kept; guidance's batch of dropped and kept sets equals two batches. */
static const DenoiserPlan with_gradient = {.max_sets = SETS, .set_size = CELLS, .with_gradient = PETSC_TRUE}, forward_only = {.max_sets = SETS, .set_size = CELLS},
                          one_set = {.max_sets = 1, .set_size = CELLS};

static void sets_are_independent(void **state)
{
  const unsigned char dropped[SETS] = {0, 1, 0}, one[1] = {1};
  const DenoiserInput all = input_of(0, SETS, dropped);
  Denoiser           *denoiser, *alone;
  Real                single[N], hidden[SETS * CELLS * HIDDEN];

  random_parameters();
  check_call(denoiser_create(&table, &with_gradient, &denoiser));
  check_call(denoiser_create(&table, &one_set, &alone));
  assert_true(denoiser_bytes(&shape, &one_set) < denoiser_bytes(&shape, &with_gradient));
  check_call(denoiser_forward(denoiser, parameters, &all, PETSC_TRUE, estimate, hidden));
  for (PetscInt s = 0; s < SETS; s++) {
    const DenoiserInput input = input_of(s, 1, s == 1 ? one : NULL);
    double              largest = 0;
    check_call(denoiser_forward(alone, parameters, &input, PETSC_FALSE, single, NULL));
    for (int i = 0; i < N; i++) largest = PetscMax(largest, fabs((double)single[i]));
    assert_true(largest > 0);
    for (int i = 0; i < N; i++) check_close(estimate[s * N + i], single[i], 2e-6, largest);
  }
  check_call(denoiser_destroy(&alone));
  check_call(denoiser_destroy(&denoiser));
}

/* x0_hat = ReLU(center + strength*head): head is what no center and a linear output would give. */
static void centered_head(void **state)
{
  DenoiserInput input = input_of(0, SETS, NULL);
  Denoiser     *denoiser;
  static Real   center[SETS * N], lifted[SETS * N];

  random_parameters();
  check_call(denoiser_create(&table, &forward_only, &denoiser));
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, estimate, NULL));
  /* A center so high that nothing is clipped shows the head itself. */
  for (int i = 0; i < SETS * N; i++) center[i] = 1000;
  input.center   = center;
  input.strength = 1;
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, lifted, NULL));
  for (int i = 0; i < SETS * N; i++) check_close(PetscMax(0., (double)lifted[i] - 1000), estimate[i], 3e-4, 1);
  for (int i = 0; i < SETS * N; i++) center[i] = i % 2 ? (Real)0.5 : -1;
  input.strength = 0;
  check_call(denoiser_forward(denoiser, parameters, &input, PETSC_FALSE, lifted, NULL));
  for (int i = 0; i < SETS * N; i++) check_close(lifted[i], i % 2 ? 0.5 : 0, 0, 1);
  check_call(denoiser_destroy(&denoiser));
}

/* Buckets asked for and completed so far. */
typedef struct {
  PetscInt needed, done;
} Calls;

static PetscErrorCode note_need(void *context, PetscInt bucket)
{
  assert_int_equal(bucket, ((Calls *)context)->needed++);
  return PETSC_SUCCESS;
}

static PetscErrorCode note_done(void *context, PetscInt bucket)
{
  assert_int_equal(bucket, DEPTH + 1 - ((Calls *)context)->done++);
  return PETSC_SUCCESS;
}

static PetscBool any_gradient(const char *name)
{
  const Parameter *p = parametertable_find(&table, name);

  for (size_t i = 0; i < parameter_size(p); i++)
    if (gradients[p->offset + i] != 0) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* Buckets are needed from the embeddings up, complete from the head down; conditional parameters move only with kept sets, the null vector only with dropped ones; a rank without sets takes part. */
static void buckets_and_dropping(void **state)
{
  const unsigned char all[SETS] = {1, 1, 1}, some[SETS] = {0, 1, 0};
  const struct {
    const unsigned char *dropped;
    PetscInt             sets;
    PetscBool            conditional, null;
  } way[] = {{NULL, SETS, PETSC_TRUE, PETSC_FALSE}, {all, SETS, PETSC_FALSE, PETSC_TRUE}, {some, SETS, PETSC_TRUE, PETSC_TRUE}, {NULL, 0, PETSC_FALSE, PETSC_FALSE}};
  Denoiser *denoiser;
  Real      d[SETS * N];

  random_parameters();
  fill(SETS * N, 9, d);
  check_call(denoiser_create(&table, &with_gradient, &denoiser));
  for (int k = 0; k < 4; k++) {
    const DenoiserInput input = input_of(0, way[k].sets, way[k].dropped);
    Calls               calls = {0, 0};
    const DenoiserHooks hooks = {.need = note_need, .done = note_done, .context = &calls};

    memset(gradients, 0, table.total * sizeof(Real));
    check_call(denoiser_set_hooks(denoiser, &hooks));
    check_call(denoiser_forward(denoiser, parameters, &input, PETSC_TRUE, estimate, NULL));
    assert_int_equal(calls.needed, DEPTH + 2);
    assert_int_equal(calls.done, 0);
    check_call(denoiser_backward(denoiser, parameters, &input, d, gradients));
    assert_int_equal(calls.needed, DEPTH + 2);
    assert_int_equal(calls.done, DEPTH + 2);
    assert_int_equal(any_gradient("model.class_embedding.emb.weight"), way[k].conditional);
    assert_int_equal(any_gradient("cov_encoder.pert_encoder.weight"), way[k].conditional);
    assert_int_equal(any_gradient("model.class_embedding.null_emb.weight"), way[k].null);
    assert_int_equal(any_gradient("model.blocks.0.block.attn.qkv.weight"), way[k].sets > 0);
    assert_false(any_gradient("model.control_final_layer.linear.weight"));
    assert_false(any_gradient("model.blocks.2.block.control_mlp.fc1.weight"));
  }
  check_call(denoiser_destroy(&denoiser));
}

/* Gradients are written whatever was there, zero where the input has no part; the same numbers come out of the same call. */
static void gradients_are_written(void **state)
{
  const unsigned char all[SETS] = {1, 1, 1};
  Denoiser           *denoiser;
  Real                d[SETS * N], *again;

  random_parameters();
  fill(SETS * N, 9, d);
  check_call(PetscMalloc1(table.total, &again));
  check_call(denoiser_create(&table, &with_gradient, &denoiser));
  for (int way = 0; way < 3; way++) {
    DenoiserInput input = input_of(0, SETS, way == 1 ? all : NULL);

    if (way == 2) input.control = input.self_condition = NULL;
    for (size_t i = 0; i < table.total; i++) {
      gradients[i] = 0;
      again[i] = 7;
    }
    for (int k = 0; k < 2; k++) {
      check_call(denoiser_forward(denoiser, parameters, &input, PETSC_TRUE, estimate, NULL));
      check_call(denoiser_backward(denoiser, parameters, &input, d, k ? again : gradients));
    }
    for (PetscInt k = 0; k < table.count; k++) {
      const Parameter *p = &table.item[k];

      if (p->flags & PARAMETER_UNUSED)
        for (size_t i = 0; i < parameter_size(p); i++) assert_true(again[p->offset + i] == 7);
      else
        assert_memory_equal(again + p->offset, gradients + p->offset, parameter_size(p) * sizeof(Real));
    }
  }
  check_call(denoiser_destroy(&denoiser));
  check_call(PetscFree(again));
}

/* With recomputation: the same bits in less memory, with several calls as with one. */
static void recomputation(void **state)
{
  const DenoiserPlan  plan = {.max_sets = SETS, .set_size = CELLS, .with_gradient = PETSC_TRUE, .recompute = PETSC_TRUE};
  const DenoiserInput input = input_of(0, SETS, NULL), fewer = input_of(1, SETS - 1, NULL);
  Denoiser           *denoiser[2];
  Real                d[SETS * N], twice[2][SETS * N], *again;

  random_parameters();
  fill(SETS * N, 9, d);
  check_call(PetscCalloc1(table.total, &again));
  memset(gradients, 0, table.total * sizeof(Real));
  check_call(denoiser_create(&table, &with_gradient, &denoiser[0]));
  check_call(denoiser_create(&table, &plan, &denoiser[1]));
  assert_true(denoiser_bytes(&shape, &plan) < denoiser_bytes(&shape, &with_gradient));
  for (int k = 0; k < 2; k++) {
    for (int call = 0; call < 2; call++) {
      const DenoiserInput *one = call ? &fewer : &input;
      check_call(denoiser_forward(denoiser[k], parameters, one, PETSC_FALSE, estimate, NULL));
      check_call(denoiser_forward(denoiser[k], parameters, one, PETSC_TRUE, twice[k], NULL));
      check_call(denoiser_backward(denoiser[k], parameters, one, d, k ? again : gradients));
    }
  }
  assert_memory_equal(twice[0], twice[1], sizeof *twice / SETS * (SETS - 1));
  assert_memory_equal(gradients, again, table.total * sizeof(Real));
  for (int k = 0; k < 2; k++) check_call(denoiser_destroy(&denoiser[k]));
  check_call(PetscFree(again));
}

/* 2 (2 G H + G H + depth(32 H^2 + 4 S H) - 10 H^2) a cell, a little a set. */
static void flops(void **state)
{
  const DenoiserShape published = {.genes = 2000, .hidden = 512, .depth = 8, .heads = 8, .perturbations = 90, .cell_types = 18, .batches = 12, .covariate_dim = 128, .time_frequencies = 128};
  const double        cell = denoiser_flops(&published, &(DenoiserPlan){.set_size = 256}, PETSC_FALSE) / 256 / 2;

  assert_true(cell > 70e6 && cell < 76e6);
}

static int set_up(void **state)
{
  check_call(parametertable_create(&shape, &table));
  check_call(PetscMalloc2(table.total, &parameters, table.total, &gradients));
  fill(SETS * N, 6, noisy);
  fill(SETS * N, 7, control);
  fill(SETS * N, 8, self_condition);
  return 0;
}

static int tear_down(void **state)
{
  check_call(PetscFree2(parameters, gradients));
  check_call(parametertable_destroy(&table));
  return 0;
}

#define case_of(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
static const struct CMUnitTest tests[] = {case_of(names_and_flags), case_of(starting_values), case_of(sets_are_independent), case_of(centered_head), case_of(buckets_and_dropping),
                                          case_of(gradients_are_written), case_of(recomputation), case_of(flops)};

TEST_MAIN(tests)
