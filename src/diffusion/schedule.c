/* Noise schedules and corruption (MODEL, "Corruption and objective"). */
#include <perturbdiff/diffusion.h>
#include <perturbdiff/runtime/error.h>
#include <math.h>

/* A step never removes more than this (Nichol and Dhariwal, arXiv 2102.09672). */
#define LARGEST_BETA 0.999

/* Their cosine: alpha_bar at time u in [0,1], to a power. */
static double cosine(double u, double power) { return pow(cos((u + 0.008) / 1.008 * PETSC_PI / 2), 2 * power); }

/* Linear from 1e-4 to 2e-2 for 1000 steps; scaled for another number so that the last step is as noisy. */
static double linear_beta(PetscInt i, PetscInt steps)
{
  const double scale = 1000. / (double)steps, part = steps > 1 ? (double)i / (double)(steps - 1) : 0;

  return scale * (1e-4 + part * (2e-2 - 1e-4));
}

PetscErrorCode schedule_create(ScheduleKind kind, PetscInt steps, double gamma, NoiseSchedule *schedule)
{
  double product = 1;

  PetscFunctionBeginUser;
  PetscCheck(steps > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "a schedule of %" PetscInt_FMT " steps", steps);
  *schedule = (NoiseSchedule){.kind = kind, .steps = steps, .gamma = gamma};
  PetscCall(PetscMalloc2(steps, &schedule->beta, steps, &schedule->alpha_bar));
  for (PetscInt i = 0; i < steps; i++) {
    const double power = kind == SCHEDULE_COSINE_POWER ? gamma : 1, u = (double)i / (double)steps, next = (double)(i + 1) / (double)steps;
    const double beta = kind == SCHEDULE_LINEAR ? linear_beta(i, steps) : 1 - cosine(next, power) / cosine(u, power);

    schedule->beta[i]      = PetscMin(beta, LARGEST_BETA);
    product *= 1 - schedule->beta[i];
    schedule->alpha_bar[i] = product;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode schedule_destroy(NoiseSchedule *schedule)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(schedule->beta, schedule->alpha_bar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double lambda_at(const NoiseSchedule *schedule, PetscInt i) { return 0.5 * (log(schedule->alpha_bar[i]) - log1p(-schedule->alpha_bar[i])); }

double schedule_lambda(const NoiseSchedule *schedule, double step)
{
  const PetscInt last = schedule->steps - 1;

  if (!(step > 0)) return lambda_at(schedule, 0);
  if (step >= (double)last) return lambda_at(schedule, last);
  const PetscInt i    = (PetscInt)step;
  const double   part = step - (double)i, low = lambda_at(schedule, i);
  return part > 0 ? low + part * (lambda_at(schedule, i + 1) - low) : low;
}

double schedule_step_of_lambda(const NoiseSchedule *schedule, double lambda)
{
  PetscInt low = 0, high = schedule->steps - 1;

  /* lambda falls with the step. */
  if (lambda >= lambda_at(schedule, low)) return (double)low;
  if (lambda <= lambda_at(schedule, high)) return (double)high;
  while (high - low > 1) {
    const PetscInt middle = (low + high) / 2;
    if (lambda_at(schedule, middle) > lambda) low = middle;
    else high = middle;
  }
  const double above = lambda_at(schedule, low), below = lambda_at(schedule, high);
  return (double)low + (above - lambda) / (above - below);
}

/* The public code rounds its factors to single precision, whatever the precision of the cells. Not inline: GCC 12 drops the rounding of
   two neighbours when it joins them into a vector. */
__attribute__((noinline)) static float single_precision(double x) { return (float)x; }

void corrupt(const NoiseSchedule *schedule, PetscInt sets, size_t n, const double *step, const Real *clean, const Real *noise, Real *noisy)
{
  for (PetscInt set = 0; set < sets; set++) {
    const double alpha_bar = schedule->alpha_bar[(PetscInt)step[set]];
    const Real   signal = single_precision(sqrt(alpha_bar)), sigma = single_precision(sqrt(1 - alpha_bar));
    const size_t first = (size_t)set * n;

#pragma omp parallel for simd schedule(static) if (n > 16384)
    for (size_t i = first; i < first + n; i++) noisy[i] = signal * clean[i] + sigma * noise[i];
  }
}

void corruption_noise(uint64_t seed, RandomPurpose purpose, uint32_t step, uint32_t set, PetscInt first_cell, PetscInt cells, PetscInt genes, Real *noise)
{
#pragma omp parallel for schedule(static)
  for (PetscInt i = 0; i < cells; i++) {
    const RandomStream stream = random_stream(seed, purpose, step, set, (uint32_t)(first_cell + i));
    random_normals(&stream, 0, (size_t)genes, noise + (size_t)i * (size_t)genes);
  }
}
