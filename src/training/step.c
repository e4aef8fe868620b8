/* One training step (MODEL, "Corruption and objective"): the global batch is the same on any number of ranks. */
#include "training/training_internal.h"
#include <math.h>

/* What one coin a step decides, the same on all ranks. */
typedef struct {
  PetscBool self_condition, drop_condition, drop_control;
} Coins;

static Coins toss(const TrainingOptions *options, int64_t step)
{
  const RandomStream stream = random_stream(options->seed, RANDOM_DROPOUT, (uint32_t)step, 0, 0);
  Coins              coins;

  coins.self_condition = random_uniform(&stream, 0) < options->self_condition ? PETSC_TRUE : PETSC_FALSE;
  coins.drop_condition = random_uniform(&stream, 1) < options->drop_condition ? PETSC_TRUE : PETSC_FALSE;
  coins.drop_control = random_uniform(&stream, 2) < options->drop_control ? PETSC_TRUE : PETSC_FALSE;
  return coins;
}

PetscErrorCode phase_begin(Trainer *t, int phase)
{
  PetscFunctionBeginUser;
  t->seconds[phase] -= MPI_Wtime();
  PetscCall(PetscLogEventBegin(t->event[phase], 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode phase_end(Trainer *t, int phase, double flops)
{
  PetscFunctionBeginUser;
  PetscCall(PetscLogFlops(flops));
  PetscCall(PetscLogEventEnd(t->event[phase], 0, 0, 0, 0));
  t->seconds[phase] += MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Diffusion steps, noisy cells and centres of this rank's cells. */
static PetscErrorCode corrupt_batch(Trainer *t, const CellBatch *batch)
{
  const TrainingOptions *options = t->options;
  const PetscInt         genes = t->cells->gene.count, cells = t->own_cells;
  const size_t           n = (size_t)cells * (size_t)genes;

  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < t->own_sets; b++) {
    const uint32_t     step = (uint32_t)t->state.step, set = (uint32_t)(t->first_set + b);
    const RandomStream stream = random_stream(options->seed, RANDOM_STEP_TIME, step, set, 0);

    t->time[b] = (double)random_below(&stream, 0, (uint64_t)t->schedule.steps);
    corruption_noise(options->seed, RANDOM_STEP_NOISE, step, set, t->first_cell, cells, genes, t->noisy + (size_t)b * n);
    PetscCall(shards_progress(t));
    if (options->center == CENTER_NONE) continue;
    center_fill(cells, genes, batch->control + (size_t)b * n, t->shift ? t->shift + (size_t)batch->population[b] * (size_t)genes : NULL, t->cells->value_scale,
                t->center + (size_t)b * n);
  }
  corrupt(&t->schedule, t->own_sets, n, t->time, batch->clean, t->noisy, t->noisy);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The passes over this rank's cells; no sets, no cells: only what the other ranks wait for. */
static PetscErrorCode forward_and_backward(Trainer *t, const Coins *coins, const CellBatch *batch)
{
  const TrainingOptions *options = t->options;
  unsigned char          dropped[t->max_sets];
  DenoiserInput          input = {.sets = t->own_sets,
                                  .noisy = t->noisy,
                                  .control = coins->drop_control ? NULL : batch->control,
                                  .step = t->time,
                                  .perturbation = batch->perturbation,
                                  .cell_type = options->sees_cell_type ? batch->cell_type : t->unseen,
                                  .batch = options->sees_batch ? batch->batch : t->unseen,
                                  .dropped = dropped,
                                  .center = t->center,
                                  .strength = 1};

  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < t->own_sets; b++) dropped[b] = coins->drop_condition ? 1 : 0;
  PetscCall(phase_begin(t, PHASE_FORWARD));
  if (coins->self_condition) {
    PetscCall(denoiser_forward(t->denoiser, t->state.parameters, &input, PETSC_FALSE, t->self_condition, NULL));
    input.self_condition = t->self_condition;
  }
  PetscCall(denoiser_forward(t->denoiser, t->state.parameters, &input, PETSC_TRUE, t->estimate, NULL));
  PetscCall(phase_end(t, PHASE_FORWARD, 0));
  PetscCall(phase_begin(t, PHASE_BACKWARD));
  PetscCall(objective_evaluate(t->objective, t->own_sets, batch->clean, t->estimate, 1. / options->sets, t->mse, t->energy, t->d_estimate));
  PetscCall(denoiser_backward(t->denoiser, t->state.parameters, &input, t->d_estimate, t->gradients));
  PetscCall(phase_end(t, PHASE_BACKWARD, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Loss and gradients of this rank's cells; gradients are those of the mean over the sets of all ranks. */
static PetscErrorCode own_part(Trainer *t, const Coins *coins)
{
  CellBatch batch = {0};

  PetscFunctionBeginUser;
  if (t->prefetch) {
    PetscCall(phase_begin(t, PHASE_READ));
    PetscCall(prefetch_next(t->prefetch, &batch, &t->stall));
    PetscCall(phase_end(t, PHASE_READ, 0));
  }
  PetscCall(phase_begin(t, PHASE_PREPARE));
  PetscCall(corrupt_batch(t, &batch));
  if (!t->own_sets) PetscCall(PetscArrayzero(t->gradients, t->state.table.total));
  PetscCall(phase_end(t, PHASE_PREPARE, 0));
  PetscCall(forward_and_backward(t, coins, &batch));
  /* A set's losses are the same on the ranks that share it. */
  for (PetscInt b = 0; b < t->own_sets && !t->grid.part; b++) {
    t->local[0] += t->mse[b] / t->options->sets;
    t->local[1] += t->energy[b] / t->options->sets;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With a warm-up the average forgets the starting weights early: min(decay, (1+k)/(10+k)) at update k. */
static double average_decay(const TrainingOptions *options, int64_t step)
{
  const double k = (double)(step / options->ema_interval);

  return options->ema_warmup ? PetscMin(options->ema_decay, (1 + k) / (10 + k)) : options->ema_decay;
}

PetscErrorCode trainer_step(Trainer *t)
{
  const TrainingOptions *options = t->options;
  TrainingState         *state = &t->state;
  const Coins            coins = toss(options, state->step);
  AdamWOptions           adamw = options->adamw;

  PetscFunctionBeginUser;
  PetscCall(own_part(t, &coins));
  adamw.lr = t->lr = options->adamw.lr * learning_rate_factor(state->step, options->warmup, t->steps);
  PetscCall(shards_update(t, &adamw, coins.drop_condition ? PETSC_FALSE : PETSC_TRUE, state->step % options->ema_interval == 0 ? PETSC_TRUE : PETSC_FALSE,
                          average_decay(options, state->step)));
  state->step++;
  state->pending_steps++;
  if (!isfinite(t->norm))
    PetscFunctionReturn(error_user(
        "training diverged at step %lld (gradient norm %g); lower -lr or raise -warmup, and go on from the last checkpoint with -resume or start again",
        (long long)state->step, t->norm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
