/* tests/golden: trajectories of the reverse process, with the file's start and noise. */
#include "golden.h"
#include <perturbdiff/sampling.h>

/* One trajectory of this rank's sets: what the steppers are given, and what comes out of them. */
typedef struct {
  Golden         *g;
  Denoiser       *denoiser;
  double          guidance, cut;
  PetscInt        steps, step_number; /* step_number: of the estimate under way */
  size_t          values;             /* own*cells*G */
  DenoiserInput   input;              /* own sets, and again without conditions */
  Real           *noisy, *self_condition, *control, *output;
  double         *time;
  PetscInt       *perturbation, *cell_type, *batch;
  unsigned char  *dropped;
  double         *noise;               /* (steps,own,cells,G) */
  Real           *trajectory, *clean;  /* (steps,own,cells,G) */
} Run;

/* This rank's part of every step of a (steps,sets,S,G) array. */
static PetscErrorCode slice_steps(const Golden *g, PetscInt steps, const double *all, double *own)
{
  const size_t genes = (size_t)g->table.shape.genes, whole = (size_t)(g->sets * g->set_size) * genes, part = (size_t)g->own * g->own_values;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < steps; k++) PetscCall(golden_own(g, genes, all + (size_t)k * whole, own + (size_t)k * part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode noise(void *context, PetscInt k, double *values)
{
  const Run *run = context;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(values, run->noise + (size_t)k * run->values, run->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (1+w) of the conditional estimate less w of the unconditional one, both of one batch; small values are zero (MODEL, "Reverse process"). */
static PetscErrorCode estimate(void *context, double step, const double *x, const double *previous, double *clean)
{
  Run         *run = context;
  const size_t n   = run->values;
  const double w   = run->guidance;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < n; i++) {
    run->noisy[i] = run->noisy[n + i] = (Real)x[i];
    run->self_condition[i] = run->self_condition[n + i] = (Real)previous[i];
  }
  for (PetscInt i = 0; i < run->input.sets; i++) run->time[i] = step;
  PetscCall(denoiser_forward(run->denoiser, run->g->parameters, &run->input, PETSC_FALSE, run->output, NULL));
  for (size_t i = 0; i < n; i++) {
    const double value = (1 + w) * (double)run->output[i] - w * (double)run->output[n + i];
    clean[i]           = value < run->cut ? 0 : value;
    run->clean[(size_t)run->step_number * n + i] = (Real)clean[i];
  }
  run->step_number++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode record(TS ts, PetscInt step, PetscReal time, Vec x, void *context)
{
  Run          *run = context;
  const double *state;

  PetscFunctionBeginUser;
  if (step < 1 || step > run->steps) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArrayRead(x, &state));
  for (size_t i = 0; i < run->values; i++) run->trajectory[(size_t)(step - 1) * run->values + i] = (Real)state[i];
  PetscCall(VecRestoreArrayRead(x, &state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The network's input: this rank's sets twice, the second time without conditions. */
static PetscErrorCode run_create(Golden *g, PetscInt steps, Run *run)
{
  const size_t   n = (size_t)g->own * g->own_values, all = (size_t)steps * n;
  const PetscInt own = g->own;

  PetscFunctionBeginUser;
  *run = (Run){.g = g, .steps = steps, .values = n};
  PetscCall(PetscMalloc4(2 * n, &run->noisy, 2 * n, &run->self_condition, 2 * n, &run->control, 2 * n, &run->output));
  PetscCall(PetscMalloc5(2 * own, &run->time, 2 * own, &run->perturbation, 2 * own, &run->cell_type, 2 * own, &run->batch, 2 * own, &run->dropped));
  PetscCall(PetscMalloc3(all, &run->noise, all, &run->trajectory, all, &run->clean));
  PetscCall(denoiser_create(&g->table, &(DenoiserPlan){.max_sets = PetscMax(2 * own, 1), .set_size = g->set_size, .exchange = g->exchange}, &run->denoiser));
  for (PetscInt i = 0; i < 2 * own; i++) {
    run->perturbation[i] = g->perturbation[i % own];
    run->cell_type[i]    = g->cell_type[i % own];
    run->batch[i]        = g->batch[i % own];
    run->dropped[i]      = i >= own;
  }
  for (size_t i = 0; i < 2 * n; i++) run->control[i] = g->control[i % n];
  run->input = (DenoiserInput){.sets           = 2 * own,
                               .noisy          = run->noisy,
                               .self_condition = run->self_condition,
                               .control        = run->control,
                               .step           = run->time,
                               .perturbation   = run->perturbation,
                               .cell_type      = run->cell_type,
                               .batch          = run->batch,
                               .dropped        = run->dropped,
                               .strength       = 1};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run_destroy(Run *run)
{
  PetscFunctionBeginUser;
  PetscCall(denoiser_destroy(&run->denoiser));
  PetscCall(PetscFree4(run->noisy, run->self_condition, run->control, run->output));
  PetscCall(PetscFree5(run->time, run->perturbation, run->cell_type, run->batch, run->dropped));
  PetscCall(PetscFree3(run->noise, run->trajectory, run->clean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode integrate(Run *run, const ReverseProblem *problem, const char *type, const double *start)
{
  TS      ts;
  Vec     x;
  double *state;

  PetscFunctionBeginUser;
  if (!run->g->own) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecCreateMPI(run->g->grid.cells, (PetscInt)run->values, PETSC_DETERMINE, &x));
  PetscCall(VecGetArrayWrite(x, &state));
  PetscCall(PetscArraycpy(state, start, run->values));
  PetscCall(VecRestoreArrayWrite(x, &state));
  PetscCall(TSCreate(run->g->grid.cells, &ts));
  PetscCall(TSSetType(ts, type));
  PetscCall(TSReverseSetProblem(ts, problem));
  PetscCall(TSMonitorSet(ts, record, run, NULL));
  PetscCall(TSReverseSolve(ts, x));
  PetscCall(TSDestroy(&ts));
  PetscCall(VecDestroy(&x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest error of a (steps,sets,S,G) array over all ranks. */
static PetscErrorCode error_steps(const Golden *g, PetscInt steps, const char *name, const Real *ours, double *error)
{
  const size_t part = (size_t)steps * (size_t)g->own * g->own_values, whole = (size_t)(steps * g->sets * g->set_size * g->table.shape.genes);
  double      *all, *own, mine;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, whole, &all));
  PetscCall(PetscMalloc1(part, &own));
  PetscCall(slice_steps(g, steps, all, own));
  mine = golden_error(part, ours, own, whole, all);
  if (mine != mine) mine = PETSC_MAX_REAL;
  PetscCallMPI(MPI_Allreduce(&mine, error, 1, MPI_DOUBLE, MPI_MAX, g->comm));
  PetscCall(PetscFree(own));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_trajectory(Golden *g, Run *run, const char *name, const char *type, ReverseProblem *problem, const double *start, double tolerance)
{
  char    path[96], group[96];
  double *all, error;

  PetscFunctionBeginUser;
  snprintf(path, sizeof path, "sampling/%s/noise", name);
  PetscCall(golden_read_sized(g, path, (size_t)(run->steps * g->sets * g->set_size * g->table.shape.genes), &all));
  PetscCall(slice_steps(g, run->steps, all, run->noise));
  PetscCall(PetscFree(all));
  run->step_number = 0;
  PetscCall(integrate(run, problem, type, start));
  snprintf(path, sizeof path, "sampling/%s/clean_estimate", name);
  PetscCall(error_steps(g, run->steps, path, run->clean, &error));
  snprintf(group, sizeof group, "%s clean estimates", name);
  PetscCall(golden_report(g, group, error, tolerance, ""));
  snprintf(path, sizeof path, "sampling/%s/trajectory", name);
  PetscCall(error_steps(g, run->steps, path, run->trajectory, &error));
  snprintf(group, sizeof group, "%s trajectory", name);
  PetscCall(golden_report(g, group, error, tolerance, ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_check_sampling(Golden *g, double tolerance)
{
  ReverseProblem problem = {.schedule = &g->schedule, .estimate = estimate, .noise = noise, .single = PETSC_TRUE};
  double         first, guidance, cut, *all, *start;
  PetscInt      *step;
  Run            run;

  PetscFunctionBeginUser;
  PetscCall(golden_attribute(g, "sampling", "start_step", &first));
  PetscCall(golden_attribute(g, "sampling", "guidance", &guidance));
  PetscCall(golden_attribute(g, "sampling", "cutoff", &cut));
  PetscCall(golden_attribute(g, "sampling", "noise_weight", &problem.noise_weight));
  PetscCall(golden_attribute(g, "sampling/ddim_eta", "eta", &problem.eta));
  const double eta = problem.eta;
  /* Every step below start_step. */
  problem.steps = (PetscInt)first;
  PetscCall(PetscMalloc1(problem.steps, &step));
  for (PetscInt k = 0; k < problem.steps; k++) step[k] = problem.steps - 1 - k;
  problem.step = step;
  PetscCall(golden_read_sized(g, "sampling/start", (size_t)(g->sets * g->set_size * g->table.shape.genes), &all));
  PetscCall(PetscMalloc1((size_t)g->own * g->own_values, &start));
  PetscCall(slice_steps(g, 1, all, start));
  PetscCall(PetscFree(all));
  PetscCall(sampling_register());
  PetscCall(run_create(g, problem.steps, &run));
  run.guidance             = guidance;
  run.cut                  = cut;
  problem.estimate_context = problem.noise_context = &run;
  problem.eta              = 0;
  PetscCall(check_trajectory(g, &run, "ddim", TSREVERSEDDIM, &problem, start, tolerance));
  problem.eta = eta;
  PetscCall(check_trajectory(g, &run, "ddim_eta", TSREVERSEDDIM, &problem, start, tolerance));
  PetscCall(check_trajectory(g, &run, "ddpm", TSREVERSEDDPM, &problem, start, tolerance));
  PetscCall(run_destroy(&run));
  PetscCall(PetscFree(start));
  PetscCall(PetscFree(step));
  PetscFunctionReturn(PETSC_SUCCESS);
}
