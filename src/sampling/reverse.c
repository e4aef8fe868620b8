/* The reverse process as PETSc time steppers (MODEL, "Reverse process"): ddim, ddpm, and the probability-flow ODE for PETSc's own types. */
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/sampling.h>
#include <petsc/private/tsimpl.h>

#define REVERSE_KEY "perturbdiff_reverse"

/* What a reverse stepper keeps beside the state; composed with the TS so that it outlives a change of type. */
typedef struct {
  ReverseProblem problem;
  PetscReal     *lambda;                    /* (steps + 1) time at which each step starts; the clean end */
  PetscReal      time_step;                 /* first step of an adaptive type; 0 until its first solve */
  Vec            previous, estimate, noise; /* previous: the last clean estimate, for self-conditioning */
} Reverse;

typedef ReverseStep (*StepFunction)(const ReverseProblem *problem, PetscInt k);

static PetscErrorCode reverse_destroy(void *context)
{
  Reverse *reverse = context;

  PetscFunctionBeginUser;
  PetscCall(VecDestroy(&reverse->previous));
  PetscCall(VecDestroy(&reverse->estimate));
  PetscCall(VecDestroy(&reverse->noise));
  PetscCall(PetscFree(reverse->lambda));
  PetscCall(PetscFree(reverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode reverse_get(TS ts, Reverse **reverse)
{
  PetscContainer container;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectQuery((PetscObject)ts, REVERSE_KEY, (PetscObject *)&container));
  PetscCheck(container, PetscObjectComm((PetscObject)ts), PETSC_ERR_ORDER, "call TSReverseSetProblem first");
  PetscCall(PetscContainerGetPointer(container, (void **)reverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors beside the state, made once for a layout; the first previous estimate is zero. */
static PetscErrorCode reverse_prepare(Reverse *reverse, Vec x)
{
  PetscInt have = -1, need;

  PetscFunctionBeginUser;
  /* Global sizes: all ranks must come to the same answer. */
  PetscCall(VecGetSize(x, &need));
  if (reverse->previous) PetscCall(VecGetSize(reverse->previous, &have));
  if (have != need) {
    PetscCall(VecDestroy(&reverse->previous));
    PetscCall(VecDestroy(&reverse->estimate));
    PetscCall(VecDestroy(&reverse->noise));
    PetscCall(VecDuplicate(x, &reverse->previous));
    PetscCall(VecDuplicate(x, &reverse->estimate));
    PetscCall(VecDuplicate(x, &reverse->noise));
  }
  PetscCall(VecZeroEntries(reverse->previous));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* reverse->estimate = x0_hat(x) at a diffusion step. */
static PetscErrorCode reverse_estimate(Reverse *reverse, double step, Vec x)
{
  const PetscScalar *state, *previous;
  PetscScalar       *estimate;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayRead(x, &state));
  PetscCall(VecGetArrayRead(reverse->previous, &previous));
  PetscCall(VecGetArrayWrite(reverse->estimate, &estimate));
  PetscCall(reverse->problem.estimate(reverse->problem.estimate_context, step, state, previous, estimate));
  PetscCall(VecRestoreArrayWrite(reverse->estimate, &estimate));
  PetscCall(VecRestoreArrayRead(reverse->previous, &previous));
  PetscCall(VecRestoreArrayRead(x, &state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void reverse_keep_estimate(Reverse *reverse)
{
  const Vec last = reverse->estimate;

  reverse->estimate = reverse->previous;
  reverse->previous = last;
}

static ReverseStep step_ddim(const ReverseProblem *problem, PetscInt k)
{
  return ddim_step(problem->schedule, problem->step[k], k + 1 < problem->steps ? problem->step[k + 1] : -1, problem->eta, problem->single);
}

static ReverseStep step_ddpm(const ReverseProblem *problem, PetscInt k)
{
  return ddpm_step(problem->schedule, problem->step[k], k + 1 < problem->steps ? problem->step[k + 1] : -1, problem->noise_weight, problem->single);
}

static PetscErrorCode reverse_step(TS ts, StepFunction coefficients)
{
  Reverse         *reverse;
  ReverseStep      c;
  const PetscInt   k = ts->steps;
  PetscScalar     *noise;

  PetscFunctionBeginUser;
  PetscCall(reverse_get(ts, &reverse));
  PetscCheck(k < reverse->problem.steps, PetscObjectComm((PetscObject)ts), PETSC_ERR_ARG_OUTOFRANGE, "step %d of %d: the reverse process is at its end", (int)k,
             (int)reverse->problem.steps);
  if (k == 0) PetscCall(reverse_prepare(reverse, ts->vec_sol));
  c = coefficients(&reverse->problem, k);
  PetscCall(TSPreStage(ts, ts->ptime));
  PetscCall(reverse_estimate(reverse, (double)reverse->problem.step[k], ts->vec_sol));
  PetscCall(VecAXPBY(ts->vec_sol, c.estimate, c.state, reverse->estimate));
  if (c.noise != 0) {
    PetscCall(VecGetArrayWrite(reverse->noise, &noise));
    PetscCall(reverse->problem.noise(reverse->problem.noise_context, k, noise));
    PetscCall(VecRestoreArrayWrite(reverse->noise, &noise));
    PetscCall(VecAXPY(ts->vec_sol, c.noise, reverse->noise));
  }
  reverse_keep_estimate(reverse);
  ts->ptime = reverse->lambda[k + 1];
  ts->time_step = k + 2 <= reverse->problem.steps ? reverse->lambda[k + 2] - reverse->lambda[k + 1] : reverse->lambda[k + 1] - reverse->lambda[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TSStep_DDIM(TS ts)
{
  PetscFunctionBeginUser;
  PetscCall(reverse_step(ts, step_ddim));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TSStep_DDPM(TS ts)
{
  PetscFunctionBeginUser;
  PetscCall(reverse_step(ts, step_ddpm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TSView_Reverse(TS ts, PetscViewer viewer)
{
  PetscBool ascii;
  Reverse  *reverse;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(reverse_get(ts, &reverse));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  reverse process: %d steps from diffusion step %d, eta %g, noise weight %g\n", (int)reverse->problem.steps,
                                   (int)reverse->problem.step[0], reverse->problem.eta, reverse->problem.noise_weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All a reverse type has is its step: no stages, no nonlinear solve, no adaptivity. */
static PetscErrorCode create_type(TS ts, PetscErrorCode (*step)(TS))
{
  PetscFunctionBeginUser;
  ts->ops->step = step;
  ts->ops->view = TSView_Reverse;
  ts->default_adapt_type = TSADAPTNONE;
  ts->usessnes = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TSCreate_DDIM(TS ts) { return create_type(ts, TSStep_DDIM); }
static PetscErrorCode TSCreate_DDPM(TS ts) { return create_type(ts, TSStep_DDPM); }

PetscErrorCode sampling_register(void)
{
  PetscFunctionBeginUser;
  PetscCall(TSRegister(TSREVERSEDDIM, TSCreate_DDIM));
  PetscCall(TSRegister(TSREVERSEDDPM, TSCreate_DDPM));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Probability-flow ODE: from x = alpha x0 + sigma eps with alpha^2 = 1/(1 + exp(-2 lambda)), d(x/alpha)/dlambda = x0_hat - x/alpha (arXiv 2211.01095, eq. 2.4
   in the clean estimate), written for x itself, which stays of order 1 and whose rate alpha^2 <= 1 is never stiff. */
static PetscErrorCode flow_right_hand_side(TS ts, PetscReal lambda, Vec x, Vec rate, void *context)
{
  Reverse     *reverse = context;
  const double alpha = 1 / sqrt(1 + exp(-2 * lambda));

  PetscFunctionBeginUser;
  PetscCall(reverse_estimate(reverse, schedule_step_of_lambda(reverse->problem.schedule, lambda), x));
  PetscCall(VecCopy(reverse->estimate, rate));
  PetscCall(VecAXPBY(rate, -alpha * alpha, alpha, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Within a step the right-hand side must be one function of the state: the self-conditioning estimate changes only between accepted steps. */
static PetscErrorCode flow_post_step(TS ts)
{
  Reverse *reverse;

  PetscFunctionBeginUser;
  PetscCall(reverse_get(ts, &reverse));
  PetscCall(VecCopy(reverse->estimate, reverse->previous));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TSReverseSetProblem(TS ts, const ReverseProblem *problem)
{
  const NoiseSchedule *schedule = problem->schedule;
  PetscContainer       container;
  Reverse             *reverse;

  PetscFunctionBeginUser;
  PetscCheck(problem->steps > 0, PetscObjectComm((PetscObject)ts), PETSC_ERR_ARG_OUTOFRANGE, "a reverse process needs at least one step");
  PetscCheck(problem->step[0] < schedule->steps && problem->step[problem->steps - 1] >= 0, PetscObjectComm((PetscObject)ts), PETSC_ERR_ARG_OUTOFRANGE,
             "reverse steps outside the schedule of %d", (int)schedule->steps);
  for (PetscInt k = 1; k < problem->steps; k++)
    PetscCheck(problem->step[k] < problem->step[k - 1], PetscObjectComm((PetscObject)ts), PETSC_ERR_ARG_OUTOFRANGE, "reverse steps do not descend");
  PetscCall(PetscNew(&reverse));
  reverse->problem = *problem;
  PetscCall(PetscMalloc1(problem->steps + 1, &reverse->lambda));
  for (PetscInt k = 0; k < problem->steps; k++) reverse->lambda[k] = schedule_lambda(schedule, (double)problem->step[k]);
  reverse->lambda[problem->steps] = 2 * schedule_lambda(schedule, 0) - schedule_lambda(schedule, 1);
  PetscCall(PetscContainerCreate(PetscObjectComm((PetscObject)ts), &container));
  PetscCall(PetscContainerSetPointer(container, reverse));
  PetscCall(PetscContainerSetUserDestroy(container, reverse_destroy));
  PetscCall(PetscObjectCompose((PetscObject)ts, REVERSE_KEY, (PetscObject)container));
  PetscCall(PetscContainerDestroy(&container));
  PetscCall(TSSetRHSFunction(ts, NULL, flow_right_hand_side, reverse));
  PetscCall(TSSetTime(ts, reverse->lambda[0]));
  PetscCall(TSSetStepNumber(ts, 0));
  PetscCall(TSSetTimeStep(ts, (reverse->lambda[problem->steps] - reverse->lambda[0]) / (PetscReal)problem->steps));
  PetscCall(TSSetMaxTime(ts, reverse->lambda[problem->steps]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TSReverseSolve(TS ts, Vec x)
{
  Reverse          *reverse;
  PetscBool         discrete;
  PetscReal         end;
  TSConvergedReason reason;

  PetscFunctionBeginUser;
  PetscCall(reverse_get(ts, &reverse));
  PetscCall(PetscObjectTypeCompareAny((PetscObject)ts, &discrete, TSREVERSEDDIM, TSREVERSEDDPM, ""));
  PetscCall(TSSetStepNumber(ts, 0));
  PetscCall(TSSetTime(ts, reverse->lambda[0]));
  if (discrete) {
    PetscCall(TSSetTimeStep(ts, reverse->lambda[1] - reverse->lambda[0]));
    PetscCall(TSSolve(ts, x));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(reverse_prepare(reverse, x));
  if (reverse->time_step > 0)
    PetscCall(TSSetTimeStep(ts, reverse->time_step));
  else
    PetscCall(TSGetTimeStep(ts, &reverse->time_step));
  PetscCall(TSGetMaxTime(ts, &end));
  end = PetscMin(end, reverse->lambda[reverse->problem.steps - 1]);
  PetscCall(TSSetMaxTime(ts, end));
  PetscCall(TSSetExactFinalTime(ts, TS_EXACTFINALTIME_MATCHSTEP));
  PetscCall(TSSetPostStep(ts, flow_post_step));
  PetscCall(TSSolve(ts, x));
  PetscCall(TSGetConvergedReason(ts, &reason));
  if (reason == TS_CONVERGED_TIME) {
    PetscCall(reverse_estimate(reverse, schedule_step_of_lambda(reverse->problem.schedule, end), x));
    PetscCall(VecCopy(reverse->estimate, x));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
