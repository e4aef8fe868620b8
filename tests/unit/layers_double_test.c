/* Every layer's backward pass against central differences, in double precision. */
#include "check.h"
#include "network/denoiser_layout.h"
#include <string.h>

enum { SETS = 2, CELLS = 5, GENES = 11, HIDDEN = 12, DEPTH = 2, HEADS = 3, ROWS = SETS * CELLS, WIDE = ROWS * 6 * HIDDEN };

/* A small denoiser with random parameters lends its layers and memory; results are weighed by `weight` into one number. */
static struct {
  ParameterTable table;
  Denoiser      *denoiser;
  Real          *parameters, *gradients, *weight;
  DenoiserInput  input;
} t;

static void fill(size_t n, uint32_t set, Real *x)
{
  const RandomStream stream = random_stream(7, RANDOM_TEST, 0, set, 0);

  random_normals(&stream, 0, n, x);
}

static double weighed(size_t n, const Real *x)
{
  double sum = 0;

  for (size_t i = 0; i < n; i++) sum += (double)(t.weight[i] * x[i]);
  return sum;
}

/* Compare analytic[i] with the central difference of `value` in x[i] for about 40 of n values. */
static void check_gradient(const char *what, size_t n, Real *x, const Real *analytic, double (*value)(void))
{
  const double h = 1e-5;
  const size_t stride = n > 40 ? n / 37 : 1;
  double       largest = 0;

  for (size_t i = 0; i < n; i++) largest = PetscMax(largest, fabs((double)analytic[i]));
  if (!(largest > 0)) fail_msg("%s: no gradient at all", what);
  for (size_t i = 0; i < n; i += stride) {
    const Real saved = x[i];
    x[i]             = saved + h;
    const double above = value();
    x[i]             = saved - h;
    const double below = value();
    x[i]             = saved;
    const double difference = (above - below) / (2 * h);
    if (!(fabs(difference - (double)analytic[i]) <= 1e-7 * PetscMax(largest, 1e-3))) fail_msg("%s[%zu]: %.12g, central difference %.12g", what, i, (double)analytic[i], difference);
  }
}

static void check_parameter(const char *name, double (*value)(void))
{
  const Parameter *p = parametertable_find(&t.table, name);

  assert_non_null(p);
  check_gradient(name, parameter_size(p), t.parameters + p->offset, t.gradients + p->offset, value);
}

/* Whatever was there is overwritten. */
static Real *old_gradients(void)
{
  for (PetscInt k = 0; k < t.table.count; k++) {
    const Parameter *p = &t.table.item[k];
    for (size_t i = 0; i < parameter_size(p); i++) t.gradients[p->offset + i] = p->flags & PARAMETER_UNUSED ? 0 : 3;
  }
  return t.gradients;
}

static Real x[WIDE], y[WIDE], d[WIDE], dx[WIDE];

static double silu_value(void)
{
  silu_forward(60, x, y);
  return weighed(60, y);
}

static void silu(void **state)
{
  fill(60, 1, x);
  memcpy(d, t.weight, 60 * sizeof(Real));
  silu_backward(60, x, d);
  check_gradient("silu", 60, x, d, silu_value);
}

/* Two modulations side by side, as in a block. */
static Real shifts[SETS * 6 * HIDDEN], d_shifts[SETS * 6 * HIDDEN], tokens[ROWS * 2 * HIDDEN], input[ROWS * HIDDEN], normalized[ROWS * HIDDEN], inverse[ROWS];
static int  modulations;

static void norm_pair(Modulation pair[2])
{
  for (int k = 0; k < 2; k++)
    pair[k] = (Modulation){.shift      = shifts + 3 * k * HIDDEN,
                           .scale      = shifts + (3 * k + 1) * HIDDEN,
                           .d_shift    = d_shifts + 3 * k * HIDDEN,
                           .d_scale    = d_shifts + (3 * k + 1) * HIDDEN,
                           .stride     = 6 * HIDDEN,
                           .rows       = k ? input : tokens,
                           .row_stride = k ? HIDDEN : 2 * HIDDEN};
}

static double norm_value(void)
{
  Modulation pair[2];

  norm_pair(pair);
  memset(tokens, 0, sizeof tokens);
  norm_forward(SETS, CELLS, HIDDEN, x, normalized, inverse, modulations, pair);
  return weighed(ROWS * 2 * HIDDEN, tokens) + (modulations > 1 ? 2 * weighed(ROWS * HIDDEN, input) : 0);
}

static void norm(void **state)
{
  Modulation pair[2];

  norm_pair(pair);
  for (modulations = 1; modulations <= 2; modulations++) {
    fill(ROWS * HIDDEN, 2, x);
    fill(SETS * 6 * HIDDEN, 3, shifts);
    norm_value();
    memset(d_shifts, 0, sizeof d_shifts);
    memcpy(tokens, t.weight, sizeof tokens);
    for (int i = 0; i < ROWS * HIDDEN; i++) input[i] = 2 * t.weight[i];
    for (int i = 0; i < ROWS * HIDDEN; i++) dx[i] = modulations > 1; /* what is there already stays when asked to */
    norm_backward(SETS, CELLS, HIDDEN, normalized, inverse, modulations, pair, modulations > 1 ? PETSC_TRUE : PETSC_FALSE, dx);
    for (int i = 0; i < ROWS * HIDDEN; i++) dx[i] -= modulations > 1;
    check_gradient("norm x", ROWS * HIDDEN, x, dx, norm_value);
    check_gradient("norm shift and scale", SETS * 6 * HIDDEN, shifts, d_shifts, norm_value);
  }
}

static Real attended[ROWS * 2 * HIDDEN], d_attended[ROWS * 2 * HIDDEN], mlp_out[ROWS * HIDDEN], d_mlp_out[ROWS * HIDDEN];

static double gates_value(void)
{
  memcpy(y, x, ROWS * HIDDEN * sizeof(Real));
  gates_forward(SETS, CELLS, HIDDEN, shifts + 2 * HIDDEN, shifts + 5 * HIDDEN, 6 * HIDDEN, attended + HIDDEN, 2 * HIDDEN, mlp_out, y);
  return weighed(ROWS * HIDDEN, y);
}

static void gates(void **state)
{
  fill(ROWS * HIDDEN, 4, x);
  fill(ROWS * 2 * HIDDEN, 5, attended);
  fill(ROWS * HIDDEN, 6, mlp_out);
  fill(SETS * 6 * HIDDEN, 7, shifts);
  memset(d_shifts, 0, sizeof d_shifts);
  memset(d_attended, 0, sizeof d_attended);
  gates_backward(SETS, CELLS, HIDDEN, shifts + 2 * HIDDEN, shifts + 5 * HIDDEN, 6 * HIDDEN, attended + HIDDEN, 2 * HIDDEN, mlp_out, t.weight, d_attended + HIDDEN, 2 * HIDDEN,
                 d_mlp_out, d_shifts + 2 * HIDDEN, d_shifts + 5 * HIDDEN);
  check_gradient("gates", SETS * 6 * HIDDEN, shifts, d_shifts, gates_value);
  check_gradient("gated attention", ROWS * 2 * HIDDEN, attended, d_attended, gates_value);
  check_gradient("gated mlp", ROWS * HIDDEN, mlp_out, d_mlp_out, gates_value);
}

static double mlp_value(void)
{
  check_call(mlp_forward(&t.denoiser->block[0].mlp[1], t.parameters, ROWS, x, &t.denoiser->saved[0].mlp[1], PETSC_TRUE, y));
  return weighed(ROWS * HIDDEN, y);
}

static void mlp(void **state)
{
  fill(ROWS * HIDDEN, 8, x);
  mlp_value();
  check_call(mlp_backward(&t.denoiser->block[0].mlp[1], t.parameters, ROWS, x, &t.denoiser->saved[0].mlp[1], t.weight, t.denoiser->scratch.d_hidden, dx, old_gradients()));
  check_gradient("mlp input", ROWS * HIDDEN, x, dx, mlp_value);
  check_parameter("model.blocks.0.block.control_mlp.fc1.weight", mlp_value);
  check_parameter("model.blocks.0.block.control_mlp.fc1.bias", mlp_value);
  check_parameter("model.blocks.0.block.control_mlp.fc2.weight", mlp_value);
  check_parameter("model.blocks.0.block.control_mlp.fc2.bias", mlp_value);
}

static const DenoiserHooks no_hooks;
static const Batch         whole_sets = {.sets = SETS, .cells = CELLS, .set_size = CELLS, .hooks = &no_hooks};

/* Block DEPTH-1 projects into the main half only. */
static int attention_block;

static double attention_value(void)
{
  const Attention      *a     = &t.denoiser->block[attention_block].attention;
  const AttentionSaved *saved = &t.denoiser->saved[0].attention;

  memset(y, 0, sizeof y);
  check_call(attention_forward_begin(a, t.parameters, &whole_sets, x, saved));
  check_call(attention_forward_end(a, t.parameters, &whole_sets, saved, y, 2 * HIDDEN));
  return weighed(ROWS * 2 * HIDDEN, y);
}

static void attention(void **state)
{
  const char *part[] = {"q_norm.weight", "k_norm.weight", "qkv.weight", "qkv.bias", "proj.weight", "proj.bias"};

  for (attention_block = 0; attention_block < DEPTH; attention_block++) {
    const Attention        *a       = &t.denoiser->block[attention_block].attention;
    const AttentionSaved   *saved   = &t.denoiser->saved[0].attention;
    const AttentionScratch *scratch = &t.denoiser->scratch.attention;

    fill(ROWS * 2 * HIDDEN, 9, x);
    attention_value();
    Real *gradients = old_gradients();
    check_call(attention_backward_begin(a, t.parameters, &whole_sets, saved, scratch, t.weight, 2 * HIDDEN, gradients));
    check_call(attention_backward_end(a, t.parameters, &whole_sets, x, saved, scratch, dx, gradients));
    check_gradient("attention input", ROWS * 2 * HIDDEN, x, dx, attention_value);
    for (int i = 0; i < 6; i++) {
      char name[96];
      snprintf(name, sizeof name, "model.blocks.%d.block.attn.%s", attention_block, part[i]);
      check_parameter(name, attention_value);
    }
  }
}

static double time_value(void)
{
  check_call(timecode_forward(&t.denoiser->time, t.parameters, SETS, t.input.step, &t.denoiser->time_saved, y));
  return weighed(SETS * HIDDEN, y);
}

static void time_code(void **state)
{
  time_value();
  check_call(timecode_backward(&t.denoiser->time, t.parameters, SETS, &t.denoiser->time_saved, t.weight, t.denoiser->d_time_hidden, old_gradients()));
  check_parameter("model.t_embedder.mlp.0.weight", time_value);
  check_parameter("model.t_embedder.mlp.0.bias", time_value);
  check_parameter("model.t_embedder.mlp.2.weight", time_value);
  check_parameter("model.t_embedder.mlp.2.bias", time_value);
}

static double class_value(void)
{
  memset(y, 0, sizeof y);
  check_call(classcode_forward(&t.denoiser->class, t.parameters, &t.input, &t.denoiser->class_saved, y));
  return weighed(SETS * HIDDEN, y);
}

static void class_code(void **state)
{
  class_value();
  check_call(classcode_backward(&t.denoiser->class, t.parameters, &t.input, &t.denoiser->class_saved, t.weight, old_gradients()));
  check_parameter("model.class_embedding.emb.weight", class_value);
  check_parameter("model.class_embedding.emb.bias", class_value);
  check_parameter("model.class_embedding.null_emb.weight", class_value);
  check_parameter("cov_encoder.pert_encoder.weight", class_value);
  check_parameter("cov_encoder.celltype_encoder.weight", class_value);
  check_parameter("cov_encoder.batch_encoder.weight", class_value);
  check_parameter("cov_encoder.transform.weight", class_value);
  check_parameter("cov_encoder.transform.bias", class_value);
}

static Real stream[2][ROWS * HIDDEN], active[SETS * HIDDEN];
static int  which_block;

static double block_value(void)
{
  Real        copy[2][ROWS * HIDDEN];
  Real *const streams[2] = {copy[0], copy[1]};

  memcpy(copy, stream, sizeof copy);
  check_call(block_forward(&t.denoiser->block[which_block], t.parameters, &whole_sets, active, &t.denoiser->saved[which_block], PETSC_TRUE, streams));
  return weighed(ROWS * HIDDEN, copy[0]) + (which_block < DEPTH - 1 ? 3 * weighed(ROWS * HIDDEN, copy[1]) : 0);
}

static void block(void **state)
{
  const char *part[] = {"adaLN_modulation.1.weight", "adaLN_modulation.1.bias", "control_adaLN_modulation.1.weight", "control_adaLN_modulation.1.bias", "attn.qkv.weight", "attn.proj.weight",
                        "mlp.fc1.weight", "mlp.fc2.bias", "control_mlp.fc1.bias", "control_mlp.fc2.weight"};
  Real        d_active[SETS * HIDDEN], d_stream[2][ROWS * HIDDEN];
  Real *const d_streams[2] = {d_stream[0], d_stream[1]};

  for (which_block = 0; which_block < DEPTH; which_block++) {
    fill(ROWS * HIDDEN, 10, stream[0]);
    fill(ROWS * HIDDEN, 11, stream[1]);
    fill(SETS * HIDDEN, 12, active);
    block_value();
    memset(d_active, 0, sizeof d_active);
    for (int i = 0; i < ROWS * HIDDEN; i++) {
      d_stream[0][i] = t.weight[i];
      d_stream[1][i] = 3 * t.weight[i];
    }
    check_call(block_backward(&t.denoiser->block[which_block], t.parameters, &whole_sets, active, &t.denoiser->saved[which_block], &t.denoiser->scratch, d_streams, d_active,
                              old_gradients()));
    check_gradient("block main stream", ROWS * HIDDEN, stream[0], d_stream[0], block_value);
    check_gradient("block control stream", ROWS * HIDDEN, stream[1], d_stream[1], block_value);
    check_gradient("block code", SETS * HIDDEN, active, d_active, block_value);
    for (int i = 0; i < (which_block < DEPTH - 1 ? 10 : 8); i++) {
      char name[96];
      snprintf(name, sizeof name, "model.blocks.%d.block.%s", which_block, part[i]);
      check_parameter(name, block_value);
    }
  }
}

static double denoiser_value(void)
{
  check_call(denoiser_forward(t.denoiser, t.parameters, &t.input, PETSC_TRUE, y, NULL));
  return weighed(ROWS * GENES, y);
}

/* Every parameter that takes part, with a center and without, with self-conditioning and control cells and without. */
static void whole_network(void **state)
{
  Real center[ROWS * GENES];

  fill(ROWS * GENES, 13, center);
  for (int variant = 0; variant < 3; variant++) {
    const DenoiserInput all = t.input;

    if (variant == 0) {
      t.input.center   = center;
      t.input.strength = (Real)0.7;
    }
    if (variant == 2) t.input.control = t.input.self_condition = NULL;
    denoiser_value();
    check_call(denoiser_backward(t.denoiser, t.parameters, &t.input, t.weight, old_gradients()));
    for (PetscInt k = 0; k < t.table.count; k++) {
      const Parameter *p = &t.table.item[k];
      if (variant == 2 && !strcmp(p->name, "model.x_control_embedder.weight")) continue;
      if (p->flags & PARAMETER_UNUSED)
        for (size_t i = 0; i < parameter_size(p); i++) assert_true(t.gradients[p->offset + i] == 0);
      else check_parameter(p->name, denoiser_value);
    }
    t.input = all;
  }
}

static int set_up(void **state)
{
  static const DenoiserShape shape = {.genes = GENES, .hidden = HIDDEN, .depth = DEPTH, .heads = HEADS, .perturbations = 3, .cell_types = 2, .batches = 2, .covariate_dim = 4, .time_frequencies = 6};
  static Real                noisy[ROWS * GENES], self_condition[ROWS * GENES], control[ROWS * GENES];
  static double              step[SETS] = {3.5, 700};
  static PetscInt            perturbation[SETS] = {-1, 2}, cell_type[SETS] = {1, 0}, batch[SETS] = {0, 1};
  static unsigned char       dropped[SETS] = {0, 1};

  check_call(parametertable_create(&shape, &t.table));
  check_call(PetscMalloc3(t.table.total, &t.parameters, t.table.total, &t.gradients, WIDE, &t.weight));
  fill(t.table.total, 14, t.parameters);
  for (size_t i = 0; i < t.table.total; i++) t.parameters[i] *= (Real)0.4;
  fill(WIDE, 15, t.weight);
  fill(ROWS * GENES, 16, noisy);
  fill(ROWS * GENES, 17, self_condition);
  fill(ROWS * GENES, 18, control);
  check_call(denoiser_create(&t.table, &(DenoiserPlan){.max_sets = SETS, .set_size = CELLS, .with_gradient = PETSC_TRUE}, &t.denoiser));
  t.input = (DenoiserInput){.sets = SETS, .noisy = noisy, .self_condition = self_condition, .control = control, .step = step, .perturbation = perturbation, .cell_type = cell_type, .batch = batch,
                            .dropped = dropped, .strength = 1};
  return 0;
}

static int tear_down(void **state)
{
  check_call(denoiser_destroy(&t.denoiser));
  check_call(PetscFree3(t.parameters, t.gradients, t.weight));
  check_call(parametertable_destroy(&t.table));
  return 0;
}

#define case_of(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
static const struct CMUnitTest tests[] = {case_of(silu), case_of(norm), case_of(gates), case_of(mlp), case_of(attention), case_of(time_code), case_of(class_code), case_of(block), case_of(whole_network)};

TEST_MAIN(tests)
