/* The whole network, forward and backward (MODEL, "Denoiser"). */
#include "network/denoiser_layout.h"

/* b_x + g0: both streams' embeddings add the null gene embedding to their bias. */
static void embedding_bias(const Denoiser *d, const Real *parameters, int i)
{
  for (PetscInt j = 0; j < d->shape.hidden; j++) d->bias[j] = parameters[d->embed[i].bias + (size_t)j] + parameters[d->null_gene + (size_t)j];
}

/* x = [X_t ; X_s] W_x' + b_x + g0 and u = [C ; 0] W_u' + b_u + g0, without the products with zeros. */
static PetscErrorCode embed_forward(Denoiser *d, const Real *parameters, const DenoiserInput *input)
{
  const PetscInt g = d->shape.genes, h = d->shape.hidden, rows = input->sets * d->cells;
  const Real    *noisy_weight = parameters + d->embed[0].weight, *control_weight = parameters + d->embed[1].weight;

  PetscFunctionBeginUser;
  embedding_bias(d, parameters, 0);
  PetscCall(dense_linear_forward(rows, g, h, input->noisy, g, noisy_weight, 2 * g, d->bias, DENSE_LINEAR, PETSC_FALSE, d->stream[0], h, NULL));
  if (input->self_condition) PetscCall(dense_linear_forward(rows, g, h, input->self_condition, g, noisy_weight + g, 2 * g, NULL, DENSE_LINEAR, PETSC_TRUE, d->stream[0], h, NULL));
  embedding_bias(d, parameters, 1);
  if (input->control) PetscCall(dense_linear_forward(rows, g, h, input->control, g, control_weight, 2 * g, d->bias, DENSE_LINEAR, PETSC_FALSE, d->stream[1], h, NULL));
  else
    for (PetscInt r = 0; r < rows; r++) PetscCall(PetscArraycpy(d->stream[1] + (size_t)r * (size_t)h, d->bias, (size_t)h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gradient of one half of an embedding's columns (x: the cells that went through it); zero where there were none. */
static PetscErrorCode embed_half_backward(const Denoiser *d, PetscInt rows, int i, PetscInt half, const Real *x, Real *gradients)
{
  const PetscInt g = d->shape.genes, h = d->shape.hidden;
  Real *const    dw = gradients + d->embed[i].weight + (size_t)(half * g);

  PetscFunctionBeginUser;
  if (x)
    PetscCall(dense_linear_backward(rows, g, h, x, g, NULL, 0, d->d_stream[i], h, PETSC_FALSE, NULL, 0, dw, 2 * g, NULL));
  else
    for (PetscInt j = 0; j < h; j++) PetscCall(PetscArrayzero(dw + (size_t)j * (size_t)(2 * g), (size_t)g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode embed_backward(Denoiser *d, const DenoiserInput *input, Real *gradients)
{
  const PetscInt    h = d->shape.hidden, rows = input->sets * d->cells;
  const Real *const x[2][2] = {{input->noisy, input->self_condition}, {input->control, NULL}};

  PetscFunctionBeginUser;
  for (int i = 0; i < 2; i++) {
    Real *const bias = gradients + d->embed[i].bias, *const null_gene = gradients + d->null_gene;
    for (PetscInt half = 0; half < 2; half++) PetscCall(embed_half_backward(d, rows, i, half, x[i][half], gradients));
    PetscCall(dense_linear_backward(rows, 0, h, NULL, 0, NULL, 0, d->d_stream[i], h, PETSC_FALSE, NULL, 0, NULL, 0, bias));
    for (PetscInt j = 0; j < h; j++) null_gene[j] = i ? null_gene[j] + bias[j] : bias[j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* c = tau + k and SiLU(c), one row a set. */
static PetscErrorCode codes_forward(Denoiser *d, const Real *parameters, const DenoiserInput *input)
{
  PetscFunctionBeginUser;
  PetscCall(timecode_forward(&d->time, parameters, input->sets, input->step, &d->time_saved, d->code));
  PetscCall(classcode_forward(&d->class, parameters, input, &d->class_saved, d->code));
  silu_forward((size_t)(input->sets * d->shape.hidden), d->code, d->active);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode codes_backward(Denoiser *d, const Real *parameters, const DenoiserInput *input, Real *gradients)
{
  PetscFunctionBeginUser;
  silu_backward((size_t)(input->sets * d->shape.hidden), d->code, d->d_code);
  PetscCall(timecode_backward(&d->time, parameters, input->sets, &d->time_saved, d->d_code, d->d_time_hidden, gradients));
  PetscCall(classcode_backward(&d->class, parameters, input, &d->class_saved, d->d_code, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The head's one modulation: rows of 2H, shift then scale. */
static Modulation head_modulation(const Denoiser *d, Real *rows)
{
  const PetscInt h = d->shape.hidden;

  return (Modulation){.shift      = d->head_values,
                      .scale      = d->head_values + h,
                      .d_shift    = d->d_head_values,
                      .d_scale    = d->d_head_values ? d->d_head_values + h : NULL,
                      .stride     = 2 * h,
                      .rows       = rows,
                      .row_stride = h};
}

VECTOR_CLONES static void center_and_clip(size_t n, const Real *restrict center, Real strength, Real *restrict y)
{
  for (size_t i = 0; i < n; i++) {
    const Real value = center[i] + strength * y[i];
    y[i]             = value > 0 ? value : 0;
  }
}

VECTOR_CLONES static void mark_positive(size_t n, const Real *restrict y, unsigned char *restrict positive)
{
  for (size_t i = 0; i < n; i++) positive[i] = y[i] > 0;
}

VECTOR_CLONES static void clip_backward(size_t n, const unsigned char *restrict positive, Real strength, const Real *restrict dy, Real *restrict dx)
{
  for (size_t i = 0; i < n; i++) dx[i] = positive[i] ? strength * dy[i] : 0;
}

/* x0_hat = ReLU((LN(x)*(1+scale_f)+shift_f) W_f' + b_f), or ReLU(center + strength * the same). */
static PetscErrorCode head_forward(Denoiser *d, const Real *parameters, const DenoiserInput *input, PetscBool keep, Real *y)
{
  const PetscInt   g = d->shape.genes, h = d->shape.hidden, rows = input->sets * d->cells;
  const size_t     n = (size_t)g;
  const Modulation modulation = head_modulation(d, d->head_input);

  PetscFunctionBeginUser;
  PetscCall(linear_forward(&d->head_modulation, parameters, input->sets, d->active, h, DENSE_LINEAR, d->head_values, 2 * h, NULL));
  norm_forward(input->sets, d->cells, h, d->stream[0], d->head_normalized, d->head_inverse, 1, &modulation);
  PetscCall(linear_forward(&d->head, parameters, rows, d->head_input, h, input->center ? DENSE_LINEAR : DENSE_RELU, y, g, NULL));
  if (!input->center && !keep) PetscFunctionReturn(PETSC_SUCCESS);
#pragma omp parallel for schedule(static) if (rows *g > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) {
    const size_t at = (size_t)r * n;
    if (input->center) center_and_clip(n, input->center + at, input->strength, y + at);
    if (keep) mark_positive(n, y + at, d->positive + at);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Writes d_stream[0]; adds to d_code (gradient of SiLU(c)). */
static PetscErrorCode head_backward(Denoiser *d, const Real *parameters, const DenoiserInput *input, const Real *dy, Real *gradients)
{
  const PetscInt   g = d->shape.genes, h = d->shape.hidden, rows = input->sets * d->cells;
  const size_t     n        = (size_t)g;
  const Real       strength = input->center ? input->strength : 1;
  Real *const      d_input  = d->scratch.d_output[0];
  const Modulation modulation = head_modulation(d, d_input);
  const Linear    *l          = &d->head_modulation;

  PetscFunctionBeginUser;
#pragma omp parallel for schedule(static) if (rows *g > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) clip_backward(n, d->positive + (size_t)r * n, strength, dy + (size_t)r * n, d->d_head + (size_t)r * n);
  PetscCall(linear_backward(&d->head, parameters, rows, d->head_input, h, d->d_head, g, d_input, h, gradients));
  norm_backward(input->sets, d->cells, h, d->head_normalized, d->head_inverse, 1, &modulation, PETSC_FALSE, d->d_stream[0]);
  PetscCall(dense_linear_backward(input->sets, h, 2 * h, d->active, h, parameters + l->weight, h, d->d_head_values, 2 * h, PETSC_TRUE, d->d_code, h, gradients + l->weight, h,
                                  gradients + l->bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of one cell: noisy cells, control cells and the clean estimate before them. */
static double embedding_flops(const DenoiserShape *shape, PetscBool self_condition) { return 2 * (self_condition ? 3. : 2.) * (double)shape->genes * (double)shape->hidden; }

/* Of one cell in a block: qkv, scores and mixing, projection, two MLPs. */
static double block_flops(const DenoiserShape *shape, PetscInt set_size)
{
  const double h = (double)shape->hidden;

  return 2 * (12 * h * h + 4 * (double)set_size * h + 4 * h * h + 16 * h * h);
}

/* Events of -log_view, registered once in a process; their operations are those of the dense products in them. */
static PetscLogEvent event_forward, event_backward;

static PetscErrorCode register_events(void)
{
  static PetscBool registered = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (registered) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscLogEventRegister("NetForward", PETSC_OBJECT_CLASSID, &event_forward));
  PetscCall(PetscLogEventRegister("NetBackward", PETSC_OBJECT_CLASSID, &event_backward));
  registered = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode call_need(const Denoiser *d, PetscInt bucket) { return d->hooks.need ? d->hooks.need(d->hooks.context, bucket) : PETSC_SUCCESS; }
static PetscErrorCode call_done(const Denoiser *d, PetscInt bucket) { return d->hooks.done ? d->hooks.done(d->hooks.context, bucket) : PETSC_SUCCESS; }

static Batch batch_of(const Denoiser *d, const DenoiserInput *input)
{
  return (Batch){.sets     = input->sets,
                 .cells    = d->cells,
                 .set_size = d->plan.set_size,
                 .exchange = denoiser_split(&d->plan) ? d->plan.exchange : NULL,
                 .hooks    = &d->hooks};
}

/* The streams at the start of block i, for recomputation: kept, or put back. */
static PetscErrorCode copy_block_input(Denoiser *d, PetscInt sets, PetscInt i, PetscBool keep)
{
  const size_t n = (size_t)(sets * d->cells) * (size_t)d->shape.hidden;

  PetscFunctionBeginUser;
  for (int k = 0; k < 2; k++) {
    Real *kept = d->block_input[k] + (size_t)i * n;
    PetscCall(PetscArraycpy(keep ? kept : d->stream[k], keep ? d->stream[k] : kept, n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode blocks_forward(Denoiser *d, const Real *parameters, const DenoiserInput *input, PetscBool keep)
{
  const Batch     batch = batch_of(d, input);
  const PetscBool all   = denoiser_blocks_saved(&d->plan, 2) > 1 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < d->shape.depth; i++) {
    PetscCall(call_need(d, i + 1));
    if (keep && !all && i + 1 < d->shape.depth) PetscCall(copy_block_input(d, input->sets, i, PETSC_TRUE));
    PetscCall(block_forward(&d->block[i], parameters, &batch, d->active, &d->saved[keep && all ? i : 0], keep, d->stream));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode blocks_backward(Denoiser *d, const Real *parameters, const DenoiserInput *input, Real *gradients)
{
  const Batch     batch = batch_of(d, input);
  const PetscBool all   = denoiser_blocks_saved(&d->plan, 2) > 1 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  for (PetscInt i = d->shape.depth - 1; i >= 0; i--) {
    /* What the last block computed is still there. */
    if (!all && i + 1 < d->shape.depth) {
      PetscCall(copy_block_input(d, input->sets, i, PETSC_FALSE));
      PetscCall(block_forward(&d->block[i], parameters, &batch, d->active, &d->saved[0], PETSC_TRUE, d->stream));
    }
    PetscCall(block_backward(&d->block[i], parameters, &batch, d->active, &d->saved[all ? i : 0], &d->scratch, d->d_stream, d->d_code, gradients));
    PetscCall(call_done(d, i + 1));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode denoiser_forward(Denoiser *d, const Real *parameters, const DenoiserInput *input, PetscBool keep, Real *clean_estimate, Real *hidden)
{
  const PetscInt h = d->shape.hidden, rows = input->sets * d->cells;

  PetscFunctionBeginUser;
  PetscCheck(input->sets <= d->plan.max_sets, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " sets for a denoiser of %" PetscInt_FMT, input->sets, d->plan.max_sets);
  PetscCheck(!keep || d->plan.with_gradient, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "a denoiser without gradients keeps no activations");
  d->kept = keep;
  if (!input->sets) {
    for (PetscInt bucket = 0; bucket <= d->shape.depth + 1; bucket++) PetscCall(call_need(d, bucket));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(register_events());
  PetscCall(PetscLogEventBegin(event_forward, 0, 0, 0, 0));
  PetscCall(call_need(d, 0));
  PetscCall(codes_forward(d, parameters, input));
  PetscCall(embed_forward(d, parameters, input));
  PetscCall(blocks_forward(d, parameters, input, keep));
  PetscCall(call_need(d, d->shape.depth + 1));
  if (hidden) PetscCall(PetscArraycpy(hidden, d->stream[0], (size_t)rows * (size_t)h));
  PetscCall(head_forward(d, parameters, input, keep, clean_estimate));
  PetscCall(PetscLogEventEnd(event_forward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode denoiser_backward(Denoiser *d, const Real *parameters, const DenoiserInput *input, const Real *d_estimate, Real *gradients)
{
  PetscFunctionBeginUser;
  PetscCheck(d->kept, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "backward without a forward that kept its activations");
  if (!input->sets) {
    for (PetscInt bucket = d->shape.depth + 1; bucket >= 0; bucket--) PetscCall(call_done(d, bucket));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscLogEventBegin(event_backward, 0, 0, 0, 0));
  PetscCall(PetscArrayzero(d->d_code, (size_t)(input->sets * d->shape.hidden)));
  PetscCall(head_backward(d, parameters, input, d_estimate, gradients));
  PetscCall(call_done(d, d->shape.depth + 1));
  PetscCall(blocks_backward(d, parameters, input, gradients));
  PetscCall(embed_backward(d, input, gradients));
  PetscCall(codes_backward(d, parameters, input, gradients));
  PetscCall(call_done(d, 0));
  /* The one BlockSaved is now that of the first block. */
  if (d->plan.recompute) d->kept = PETSC_FALSE;
  PetscCall(PetscLogEventEnd(event_backward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double denoiser_flops(const DenoiserShape *shape, const DenoiserPlan *plan, PetscBool self_condition)
{
  const double g = (double)shape->genes, h = (double)shape->hidden, depth = (double)shape->depth, own = (double)denoiser_cells(plan);
  const double head = g * h;
  /* Nothing reads the last block's control half of the projection and MLP. */
  const double blocks = depth * block_flops(shape, plan->set_size) - 2 * (2 * h * h + 8 * h * h);
  const double codes = 2 * (double)shape->time_frequencies * h + h * h + g * h + 3 * (double)shape->covariate_dim * g + 12 * depth * h * h + 2 * h * h;

  return own * embedding_flops(shape, self_condition) + own * blocks + 2 * (own * head + codes);
}
