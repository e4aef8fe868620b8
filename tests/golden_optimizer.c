/* tests/golden: AdamW steps on the file's conditional case, and the average of the weights. */
#include "golden.h"
#include <perturbdiff/training.h>

/* AdamW divides a gradient by its own size, so rounding decides the step of a value whose gradient is nearly zero. In single precision
   values whose first gradient is below this part of the array's largest are held against the length of the steps instead. */
#ifdef PERTURBDIFF_DOUBLE
  #define TINY_GRADIENT 0
#else
  #define TINY_GRADIENT 1e-4
#endif
#define TINY_TOLERANCE 0.01

/* Parameters after the file's steps, with the loss and gradient norm of each step. */
static PetscErrorCode take_steps(Golden *g, const AdamWOptions *options, double decay, PetscInt steps, Real *parameters, Real *average, double *loss, double *norm)
{
  const size_t total = g->table.total;
  Real        *first, *second;
  int64_t     *taken;
  double      *mse, *energy;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(total, &first, total, &second, g->table.count, &taken));
  PetscCall(PetscMalloc2(g->own, &mse, g->own, &energy));
  PetscCall(PetscArraycpy(parameters, g->parameters, total));
  PetscCall(PetscArraycpy(average, g->parameters, total));
  for (PetscInt i = 0; i < steps; i++) {
    PetscCall(golden_loss_and_gradients(g, parameters, PETSC_TRUE, mse, energy, NULL, &loss[i]));
    PetscCall(adamw_update(&g->table, options, PETSC_TRUE, g->gradients, parameters, first, second, taken, &norm[i]));
    ema_update(total, decay, parameters, average);
  }
  PetscCall(PetscFree3(first, second, taken));
  PetscCall(PetscFree2(mse, energy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode report_history(Golden *g, const char *group, const char *name, PetscInt steps, const double *ours, double tolerance)
{
  double *expected, worst = 0;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, (size_t)steps, &expected));
  for (PetscInt i = 0; i < steps; i++) {
    const double error = fabs(ours[i] - expected[i]) / fabs(expected[i]);
    if (!(error <= worst)) worst = error;
  }
  PetscCall(golden_report(g, group, worst, tolerance, ""));
  PetscCall(PetscFree(expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Errors of one parameter array: relative to its largest value, and of values with tiny gradients relative to the length of the steps. */
static PetscErrorCode parameter_errors(const Golden *g, const Parameter *p, const Real *ours, double length, double *error, double *tiny_error, PetscInt64 *tiny)
{
  const size_t n = parameter_size(p);
  char         name[160];
  double      *expected, *gradient = NULL, largest = 0, largest_gradient = 0;

  PetscFunctionBeginUser;
  snprintf(name, sizeof name, "optimizer/parameters/%s", p->name);
  PetscCall(golden_read_sized(g, name, n, &expected));
  snprintf(name, sizeof name, "gradients/conditional/%s", p->name);
  if (h5_exists(g->file, name)) PetscCall(golden_read_sized(g, name, n, &gradient));
  for (size_t i = 0; i < n; i++) {
    largest = PetscMax(largest, fabs(expected[i]));
    if (gradient) largest_gradient = PetscMax(largest_gradient, fabs(gradient[i]));
  }
  for (size_t i = 0; i < n; i++) {
    const double    difference = fabs((double)ours[i] - expected[i]);
    const PetscBool nearly_zero = gradient && fabs(gradient[i]) < TINY_GRADIENT * largest_gradient && gradient[i] != 0 ? PETSC_TRUE : PETSC_FALSE;

    *tiny += nearly_zero;
    if (nearly_zero && !(difference / length <= *tiny_error)) *tiny_error = difference / length;
    if (!nearly_zero && !(difference / largest <= *error)) *error = largest > 0 ? difference / largest : difference;
  }
  PetscCall(PetscFree(gradient));
  PetscCall(PetscFree(expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_parameters(Golden *g, const Real *parameters, double length, double tolerance)
{
  double     worst = 0, tiny_error = 0;
  PetscInt64 tiny  = 0;
  char       where[160] = "";

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < g->table.count; k++) {
    const Parameter *p     = &g->table.item[k];
    double           error = 0;

    PetscCall(parameter_errors(g, p, parameters + p->offset, length, &error, &tiny_error, &tiny));
    if (error <= worst) continue;
    worst = error;
    snprintf(where, sizeof where, "at %s", p->name);
  }
  PetscCall(golden_report(g, "parameters after the steps", worst, tolerance, where));
  if (!tiny) PetscFunctionReturn(PETSC_SUCCESS);
  snprintf(where, sizeof where, "of the steps' length, %" PetscInt64_FMT " of %zu values", tiny, g->table.total);
  PetscCall(golden_report(g, "  where gradients are tiny", tiny_error, TINY_TOLERANCE, where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_check_optimizer(Golden *g, double tolerance)
{
  const struct {
    const char *name;
    size_t      place;
  } option[] = {{"lr", offsetof(AdamWOptions, lr)},       {"beta1", offsetof(AdamWOptions, beta1)},        {"beta2", offsetof(AdamWOptions, beta2)},
                {"eps", offsetof(AdamWOptions, epsilon)}, {"weight_decay", offsetof(AdamWOptions, weight_decay)}, {"clip", offsetof(AdamWOptions, clip)}};
  AdamWOptions options;
  double       decay, steps, error, *loss, *norm;
  Real        *parameters, *average;
  char         worst[128];

  PetscFunctionBeginUser;
  for (size_t i = 0; i < sizeof option / sizeof *option; i++) PetscCall(golden_attribute(g, "optimizer", option[i].name, (double *)((char *)&options + option[i].place)));
  PetscCall(golden_attribute(g, "optimizer", "ema_decay", &decay));
  PetscCall(golden_attribute(g, "optimizer", "steps", &steps));
  PetscCall(PetscMalloc4(g->table.total, &parameters, g->table.total, &average, (size_t)steps, &loss, (size_t)steps, &norm));
  PetscCall(take_steps(g, &options, decay, (PetscInt)steps, parameters, average, loss, norm));
  PetscCall(report_history(g, "optimizer losses", "optimizer/loss", (PetscInt)steps, loss, tolerance));
  PetscCall(report_history(g, "optimizer gradient norms", "optimizer/gradient_norm", (PetscInt)steps, norm, tolerance));
  PetscCall(check_parameters(g, parameters, options.lr * steps, tolerance));
  PetscCall(golden_error_parameters(g, "optimizer/ema", average, PETSC_FALSE, &error, worst));
  PetscCall(golden_report(g, "average of the weights", error, tolerance, worst));
  PetscCall(PetscFree4(parameters, average, loss, norm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
