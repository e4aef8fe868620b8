/* One MM-DiT block: both streams normed and modulated, joint attention, an MLP for each stream, gated residuals (MODEL, "Denoiser"). */
#include "network/layers.h"

/* Parts of a row of 6H modulation values. */
enum { SHIFT_ATTENTION, SCALE_ATTENTION, GATE_ATTENTION, SHIFT_MLP, SCALE_MLP, GATE_MLP };

/* The two modulations of stream i: into the tokens' half, and into the MLP's input (absent for the last control stream). */
static void block_modulations(const Block *b, const Real *values, Real *gradients, PetscInt i, Real *tokens, Real *mlp_input, Modulation pair[2])
{
  const PetscInt h = b->hidden;

  for (int k = 0; k < 2; k++) {
    const PetscInt shift = (k ? SHIFT_MLP : SHIFT_ATTENTION) * h, scale = (k ? SCALE_MLP : SCALE_ATTENTION) * h;
    pair[k] = (Modulation){
        .shift      = values + shift,
        .scale      = values + scale,
        .d_shift    = gradients ? gradients + shift : NULL,
        .d_scale    = gradients ? gradients + scale : NULL,
        .stride     = 6 * h,
        .rows       = k ? mlp_input : tokens + i * h,
        .row_stride = k ? h : 2 * h,
    };
  }
}

static PetscInt streams_updated(const Block *b) { return b->last ? 1 : 2; }

PetscErrorCode block_forward(const Block *b, const Real *parameters, const Batch *batch, const Real *active, const BlockSaved *saved, PetscBool keep, Real *const stream[2])
{
  const PetscInt h = b->hidden, sets = batch->sets, cells = batch->cells, updated = streams_updated(b);

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < 2; i++) {
    Modulation pair[2];
    PetscCall(linear_forward(&b->modulation[i], parameters, sets, active, h, DENSE_LINEAR, saved->modulation[i], 6 * h, NULL));
    block_modulations(b, saved->modulation[i], NULL, i, saved->tokens, saved->mlp_input[i], pair);
    norm_forward(sets, cells, h, stream[i], saved->normalized[i], saved->inverse[i], i < updated ? 2 : 1, pair);
  }
  PetscCall(attention_forward_begin(&b->attention, parameters, batch, saved->tokens, &saved->attention));
  /* The MLPs do not wait for attention: they run while keys and values travel. */
  for (PetscInt i = 0; i < updated; i++) {
    PetscCall(mlp_forward(&b->mlp[i], parameters, sets * cells, saved->mlp_input[i], &saved->mlp[i], keep, saved->mlp_output[i]));
    PetscCall(batch_progress(batch));
  }
  PetscCall(attention_forward_end(&b->attention, parameters, batch, &saved->attention, saved->attended, 2 * h));
  for (PetscInt i = 0; i < updated; i++) {
    const Real *modulation = saved->modulation[i];
    gates_forward(sets, cells, h, modulation + GATE_ATTENTION * h, modulation + GATE_MLP * h, 6 * h, saved->attended + i * h, 2 * h, saved->mlp_output[i], stream[i]);
  }
  PetscCall(batch_progress(batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode block_backward(const Block *b, const Real *parameters, const Batch *batch, const Real *active, const BlockSaved *saved, const BlockScratch *scratch,
                              Real *const d_stream[2], Real *d_active, Real *gradients)
{
  const PetscInt h = b->hidden, sets = batch->sets, cells = batch->cells, updated = streams_updated(b);

  PetscFunctionBeginUser;
  /* Gates that took no part have gradient zero. */
  if (updated < 2) PetscCall(PetscArrayzero(scratch->d_modulation[1], (size_t)(sets * 6 * h)));
  for (PetscInt i = 0; i < updated; i++) {
    const Real *modulation   = saved->modulation[i];
    Real       *d_modulation = scratch->d_modulation[i];
    gates_backward(sets, cells, h, modulation + GATE_ATTENTION * h, modulation + GATE_MLP * h, 6 * h, saved->attended + i * h, 2 * h, saved->mlp_output[i], d_stream[i],
                   scratch->d_attended + i * h, 2 * h, scratch->d_output[i], d_modulation + GATE_ATTENTION * h, d_modulation + GATE_MLP * h);
  }
  PetscCall(attention_backward_begin(&b->attention, parameters, batch, &saved->attention, &scratch->attention, scratch->d_attended, 2 * h, gradients));
  for (PetscInt i = 0; i < updated; i++) {
    PetscCall(mlp_backward(&b->mlp[i], parameters, sets * cells, saved->mlp_input[i], &saved->mlp[i], scratch->d_output[i], scratch->d_hidden, scratch->d_input[i], gradients));
    PetscCall(batch_progress(batch));
  }
  PetscCall(attention_backward_end(&b->attention, parameters, batch, saved->tokens, &saved->attention, &scratch->attention, scratch->d_tokens, gradients));
  for (PetscInt i = 0; i < 2; i++) {
    Modulation pair[2];
    block_modulations(b, saved->modulation[i], scratch->d_modulation[i], i, scratch->d_tokens, scratch->d_input[i], pair);
    norm_backward(sets, cells, h, saved->normalized[i], saved->inverse[i], i < updated ? 2 : 1, pair, i < updated ? PETSC_TRUE : PETSC_FALSE, d_stream[i]);
    PetscCall(dense_linear_backward(sets, h, 6 * h, active, h, parameters + b->modulation[i].weight, h, scratch->d_modulation[i], 6 * h, PETSC_TRUE, d_active, h,
                                    gradients + b->modulation[i].weight, h, gradients + b->modulation[i].bias));
  }
  PetscCall(batch_progress(batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}
