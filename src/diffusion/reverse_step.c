/* One step of the discrete reverse processes (MODEL, "Reverse process"). */
#include <math.h>
#include <perturbdiff/diffusion.h>

/* volatile: GCC 12 with -fno-trapping-math or -fno-math-errno otherwise drops the narrowing of a pair of values. */
static double rounded(PetscBool single, double value)
{
  volatile float narrow = (float)value;

  return single ? (double)narrow : value;
}

/* abar where a step ends. */
static double alpha_bar_of(const NoiseSchedule *schedule, PetscInt step) { return step < 0 ? 1.0 : schedule->alpha_bar[step]; }

/* DDIM (arXiv 2010.02502, eq. 12 and 16): x_s = sqrt(abar_s) x0_hat + sqrt(1 - abar_s - sigma^2) eps_hat + sigma z, eps_hat = (x/sqrt(abar) - x0_hat) /
 * sqrt(1/abar - 1). */
ReverseStep ddim_step(const NoiseSchedule *schedule, PetscInt from, PetscInt to, double eta, PetscBool single)
{
#define R(value) rounded(single, value)
  const double abar = schedule->alpha_bar[from], next = alpha_bar_of(schedule, to);
  const double a = R(abar), p = R(next);
  const double ratio = R(sqrt(R(R(1 - p) / R(1 - a))));
  const double sigma = R(R(R(eta) * ratio) * R(sqrt(R(1 - R(a / p)))));
  const double direction = R(sqrt(PetscMax(0., R(R(1 - p) - R(sigma * sigma)))));
  const double scale = R(sqrt(1 / abar)), width = R(sqrt(1 / abar - 1));

  return (ReverseStep){.state = direction * scale / width, .estimate = R(sqrt(p)) - direction / width, .noise = sigma};
#undef R
}

/* DDPM (arXiv 2006.11239, eq. 7) with the variance beta of the step ("fixed large"); for a step over several diffusion steps beta = 1 - abar_t/abar_s. */
ReverseStep ddpm_step(const NoiseSchedule *schedule, PetscInt from, PetscInt to, double noise_weight, PetscBool single)
{
#define R(value) rounded(single, value)
  const double abar = schedule->alpha_bar[from], next = alpha_bar_of(schedule, to);
  const double beta = to >= 0 && to == from - 1 ? schedule->beta[from] : 1 - abar / next;

  return (ReverseStep){.state = R((1 - next) * sqrt(1 - beta) / (1 - abar)),
                       .estimate = R(beta * sqrt(next) / (1 - abar)),
                       .noise = to < 0 ? 0. : R(exp(R(noise_weight * R(log(beta)))))};
#undef R
}

void reverse_steps(PetscInt first, PetscInt n, PetscInt *steps)
{
  for (PetscInt i = 0; i < n; i++) steps[i] = n > 1 ? (PetscInt)lround((double)first * (1 - (double)i / (double)(n - 1))) : first;
}
