/* AdamW (Loshchilov and Hutter, arXiv 1711.05101) as PyTorch computes it, the average of the weights, the learning rate. */
#include <perturbdiff/training.h>
#include <tgmath.h>

/* A parameter that took no part in a step has no gradient: it is not decayed, its moments stay, it does not count in the norm. */
static PetscBool takes_part(const Parameter *p, PetscBool conditional)
{
  const unsigned absent = PARAMETER_UNUSED | (conditional ? PARAMETER_UNCONDITIONAL : PARAMETER_CONDITIONAL);

  return p->flags & absent ? PETSC_FALSE : PETSC_TRUE;
}

/* Sum of squares in a fixed number of pieces added in order: the same for any number of threads. */
static double sum_of_squares(size_t n, const Real *x)
{
  enum { PIECES = 64 };
  const size_t length = (n + PIECES - 1) / PIECES;
  double       piece[PIECES], sum = 0;

#pragma omp parallel for schedule(static) if (n > 100000)
  for (int k = 0; k < PIECES; k++) {
    const size_t first = (size_t)k * length, end = first + length < n ? first + length : n;
    double       part[8] = {0};
    size_t       i = first;

    for (; i + 8 <= end; i += 8)
      for (size_t j = 0; j < 8; j++) part[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < end; i++) part[0] += (double)x[i] * (double)x[i];
    piece[k] = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  }
  for (int k = 0; k < PIECES; k++) sum += piece[k];
  return sum;
}

PetscErrorCode adamw_update(const ParameterTable *table, const AdamWOptions *options, PetscBool conditional, const Real *gradients, Real *parameters,
                            Real *first, Real *second, int64_t *steps_taken, double *norm)
{
  const Real take1 = (Real)(1 - options->beta1), keep2 = (Real)options->beta2, take2 = (Real)(1 - options->beta2), epsilon = (Real)options->epsilon;
  double     sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter *p = &table->item[k];
    if (takes_part(p, conditional)) sum += sum_of_squares(parameter_size(p), gradients + p->offset);
  }
  *norm = sqrt(sum);
  /* torch.nn.utils.clip_grad_norm_ */
  const double coefficient = options->clip > 0 ? options->clip / (*norm + 1e-6) : 1;
  const Real   scale = (Real)(coefficient < 1 ? coefficient : 1);

  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter *p = &table->item[k];
    if (!takes_part(p, conditional)) continue;
    steps_taken[k]++;
    const double correction1 = 1 - pow(options->beta1, (double)steps_taken[k]), correction2 = 1 - pow(options->beta2, (double)steps_taken[k]);
    const Real   keep = p->flags & PARAMETER_DECAY ? (Real)(1 - options->lr * options->weight_decay) : 1;
    const Real   size = (Real)(options->lr / correction1), root = (Real)sqrt(correction2);
    const size_t n = parameter_size(p);
    const Real  *g = gradients + p->offset;
    Real        *x = parameters + p->offset, *m = first + p->offset, *v = second + p->offset;

#pragma omp parallel for simd schedule(static) if (n > 100000)
    for (size_t i = 0; i < n; i++) {
      const Real d = scale * g[i];
      m[i] += take1 * (d - m[i]);
      v[i] = keep2 * v[i] + take2 * d * d;
      x[i] = keep * x[i] - size * m[i] / (sqrt(v[i]) / root + epsilon);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void ema_update(size_t n, double decay, const Real *parameters, Real *average)
{
  const Real keep = (Real)decay, take = (Real)(1 - decay);

#pragma omp parallel for simd schedule(static) if (n > 100000)
  for (size_t i = 0; i < n; i++) average[i] = keep * average[i] + take * parameters[i];
}

double learning_rate_factor(PetscInt64 step, PetscInt64 warmup, PetscInt64 total)
{
  const double flat = 0.1 * (double)total, past = (double)(step - warmup) - flat, length = (double)(total - warmup) - flat;

  if (step < warmup) return (double)(step + 1) / (double)warmup;
  if (past <= 0) return 1;
  if (past >= length) return 0.1;
  return PetscMax(0.1, 0.5 * (1 + cos(PETSC_PI * past / length)));
}
