/* AdamW (Loshchilov and Hutter, arXiv 1711.05101) as PyTorch computes it, the average of the weights, the learning rate. All of it is bound by
   memory: each array is read and written once a step. */
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/training.h>
#include <tgmath.h>

/* Elements that a thread takes at a time; below PARALLEL_FROM a second thread does not pay. */
enum { BLOCK = 1 << 14, PARALLEL_FROM = 1 << 17 };

PetscBool parameter_takes_part(const Parameter *p, PetscBool conditional)
{
  const unsigned absent = PARAMETER_UNUSED | (conditional ? PARAMETER_UNCONDITIONAL : PARAMETER_CONDITIONAL);

  return p->flags & absent ? PETSC_FALSE : PETSC_TRUE;
}

VECTOR_CLONES static double block_squares(size_t n, const Real *restrict x)
{
  enum { LANES = 32 };
  double lane[LANES] = {0}, sum = 0;
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    for (size_t j = 0; j < LANES; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
  for (; i < n; i++) lane[0] += (double)x[i] * (double)x[i];
  for (size_t j = 0; j < LANES; j++) sum += lane[j];
  return sum;
}

/* In a fixed number of pieces added in order. */
double sum_of_squares(size_t n, const Real *x)
{
  enum { PIECES = 64 };
  const size_t length = (n + PIECES - 1) / PIECES;
  double       piece[PIECES], sum = 0;

#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
  for (size_t k = 0; k < PIECES; k++) {
    const size_t first = k * length < n ? k * length : n;
    piece[k] = block_squares(n - first < length ? n - first : length, x + first);
  }
  for (size_t k = 0; k < PIECES; k++) sum += piece[k];
  return sum;
}

/* torch.nn.utils.clip_grad_norm_ */
double adamw_scale(const AdamWOptions *options, double norm)
{
  const double factor = options->clip > 0 ? options->clip / (norm + 1e-6) : 1;

  return factor < 1 ? factor : 1;
}

/* Factors of one range: gradient; 1 - beta1, beta2, 1 - beta2; weights kept by decay; step size and root of the bias corrections; epsilon; of the average. */
typedef struct {
  Real scale, take1, keep2, take2, keep, size, root, epsilon, keep_average, take_average;
} Factors;

static inline __attribute__((always_inline)) Real step_of(const Factors *f, Real gradient, Real x, Real *restrict m, Real *restrict v)
{
  const Real d = f->scale * gradient;

  *m += f->take1 * (d - *m);
  *v = f->keep2 * *v + f->take2 * d * d;
  return f->keep * x - f->size * *m / (sqrt(*v) * f->root + f->epsilon);
}

VECTOR_CLONES static void adamw_block(const Factors *factors, size_t n, const Real *restrict g, Real *restrict x, Real *restrict m, Real *restrict v)
{
  const Factors f = *factors;

  for (size_t i = 0; i < n; i++) x[i] = step_of(&f, g[i], x[i], &m[i], &v[i]);
}

VECTOR_CLONES static void adamw_average_block(const Factors *factors, size_t n, const Real *restrict g, Real *restrict x, Real *restrict m, Real *restrict v,
                                              Real *restrict average)
{
  const Factors f = *factors;

  for (size_t i = 0; i < n; i++) {
    x[i] = step_of(&f, g[i], x[i], &m[i], &v[i]);
    average[i] = f.keep_average * average[i] + f.take_average * x[i];
  }
}

void adamw_range(const AdamWOptions *options, double scale, int64_t updates, PetscBool decay, size_t n, const Real *gradient, Real *parameter, Real *first, Real *second,
                 Real *average, double average_decay)
{
  const double  correction1 = 1 - pow(options->beta1, (double)updates), correction2 = 1 - pow(options->beta2, (double)updates);
  const Factors factors = {.scale = (Real)scale,
                           .take1 = (Real)(1 - options->beta1),
                           .keep2 = (Real)options->beta2,
                           .take2 = (Real)(1 - options->beta2),
                           .keep = decay ? (Real)(1 - options->lr * options->weight_decay) : 1,
                           .size = (Real)(options->lr / correction1),
                           .root = (Real)(1 / sqrt(correction2)),
                           .epsilon = (Real)options->epsilon,
                           .keep_average = (Real)average_decay,
                           .take_average = (Real)(1 - average_decay)};

#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
  for (size_t i = 0; i < n; i += BLOCK) {
    const size_t count = n - i < BLOCK ? n - i : BLOCK;

    if (average)
      adamw_average_block(&factors, count, gradient + i, parameter + i, first + i, second + i, average + i);
    else
      adamw_block(&factors, count, gradient + i, parameter + i, first + i, second + i);
  }
}

PetscErrorCode adamw_update(const ParameterTable *table, const AdamWOptions *options, PetscBool conditional, const Real *gradients, Real *parameters,
                            Real *first, Real *second, int64_t *steps_taken, double *norm)
{
  double sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter *p = &table->item[k];
    if (parameter_takes_part(p, conditional)) sum += sum_of_squares(parameter_size(p), gradients + p->offset);
  }
  *norm = sqrt(sum);
  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter *p = &table->item[k];
    const size_t     at = p->offset;

    if (!parameter_takes_part(p, conditional)) continue;
    steps_taken[k]++;
    adamw_range(options, adamw_scale(options, *norm), steps_taken[k], p->flags & PARAMETER_DECAY ? PETSC_TRUE : PETSC_FALSE, parameter_size(p), gradients + at,
                parameters + at, first + at, second + at, NULL, 0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

VECTOR_CLONES static void average_block(size_t n, Real keep, Real take, const Real *restrict parameters, Real *restrict average)
{
  for (size_t i = 0; i < n; i++) average[i] = keep * average[i] + take * parameters[i];
}

void ema_update(size_t n, double decay, const Real *parameters, Real *average)
{
#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
  for (size_t i = 0; i < n; i += BLOCK) average_block(n - i < BLOCK ? n - i : BLOCK, (Real)decay, (Real)(1 - decay), parameters + i, average + i);
}

double learning_rate_factor(PetscInt64 step, PetscInt64 warmup, PetscInt64 total)
{
  const double flat = 0.1 * (double)total, past = (double)(step - warmup) - flat, length = (double)(total - warmup) - flat;

  if (step < warmup) return (double)(step + 1) / (double)warmup;
  if (past <= 0) return 1;
  if (past >= length) return 0.1;
  return PetscMax(0.1, 0.5 * (1 + cos(PETSC_PI * past / length)));
}
