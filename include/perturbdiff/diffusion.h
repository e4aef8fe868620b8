/* Room diffusion: noise schedule, corruption, objective (MODEL, "Corruption and objective"). */
#ifndef PERTURBDIFF_DIFFUSION_H
#define PERTURBDIFF_DIFFUSION_H

#include <perturbdiff/runtime/cellexchange.h>
#include <perturbdiff/runtime/random.h>
#include <perturbdiff/runtime/real.h>
#include <petscsys.h>

typedef enum { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_COSINE_POWER } ScheduleKind;

/* Discrete variance-preserving schedule of `steps` steps; arrays of steps entries, owned by the struct. */
typedef struct {
  ScheduleKind kind;
  PetscInt     steps;
  double       gamma; /* of SCHEDULE_COSINE_POWER */
  double      *beta, *alpha_bar;
} NoiseSchedule;

/* schedule_create - beta and abar of every step: linear from 1e-4 to 2e-2 for 1000 steps, scaled for another number so that the last is as noisy; cosine, and
   cosine to the power gamma (Nichol and Dhariwal, arXiv 2102.09672). schedule_destroy frees the arrays. Not collective, as all of this room but what says so. */
PetscErrorCode schedule_create(ScheduleKind kind, PetscInt steps, double gamma, NoiseSchedule *schedule);
PetscErrorCode schedule_destroy(NoiseSchedule *schedule);
/* Half the log signal-to-noise ratio, lambda(t) = log(sqrt(abar)/sqrt(1-abar)) at step t (need not be whole: linear in lambda between), and its inverse,
   within [0, steps - 1]. */
double schedule_lambda(const NoiseSchedule *schedule, double step);
double schedule_step_of_lambda(const NoiseSchedule *schedule, double lambda);

/* corrupt - (arXiv 2006.11239, eq. 4) noisy = sqrt(abar_t) clean + sqrt(1-abar_t) noise for each set; clean, noise, noisy (B, n), step (B) whole. noise may be noisy. */
void corrupt(const NoiseSchedule *schedule, PetscInt sets, size_t n, const double *step, const Real *clean, const Real *noise, Real *noisy);

/* corruption_noise - standard normals (cells,G) of the cells first_cell, ... of one set, keyed by (seed, purpose, step, set, cell). */
void corruption_noise(uint64_t seed, RandomPurpose purpose, uint32_t step, uint32_t set, PetscInt first_cell, PetscInt cells, PetscInt genes, Real *noise);

/* One step of a reverse process: x_next = state * x + estimate * x0_hat + noise * z, z standard normal. */
typedef struct {
  double state, estimate, noise;
} ReverseStep;

/* ddim_step (arXiv 2010.02502, eq. 12 and 16), ddpm_step (arXiv 2006.11239, eq. 7, variance beta): from one diffusion step to an earlier one; to -1: to the clean end (abar 1). eta: noise of DDIM, 0 deterministic, 1 ancestral; noise_weight: that of DDPM is scaled by
   exp(noise_weight * log variance). single: round to float32 where the public code does (it differs by 1e-4 at small steps). */
ReverseStep ddim_step(const NoiseSchedule *schedule, PetscInt from, PetscInt to, double eta, PetscBool single);
ReverseStep ddpm_step(const NoiseSchedule *schedule, PetscInt from, PetscInt to, double noise_weight, PetscBool single);
/* Steps spaced evenly from first to 0 in n steps: round(first * (1 - i/(n-1))); n = first+1 gives every step. steps holds n. */
void reverse_steps(PetscInt first, PetscInt n, PetscInt *steps);

/* Per set: mean squared error and half the energy distance (Euclidean, all S*S pairs, distance = sqrt(max(d2,1e-8))). */
typedef struct Objective Objective;
/* objective_create - exchange, not owned, NULL: whole sets on this rank; else its ranks share the set_size cells of each set. */
PetscErrorCode objective_create(PetscInt set_size, PetscInt genes, double energy_weight, CellExchange *exchange, Objective **objective);
PetscErrorCode objective_destroy(Objective **objective);
/* objective_evaluate - mse (B), energy (B); d_estimate (B,S,G), if not NULL, = gradient of sum over sets of weight * (mse + lambda energy) with
   weight the factor given (1/global sets). clean, estimate (B,S,G). Where sets are split: arrays of this rank's cells, mse and energy of the whole sets, the same
   bits on all ranks, d_estimate the whole gradient of this rank's cells. Collective on the exchange (else not). No allocation. */
PetscErrorCode objective_evaluate(Objective *objective, PetscInt sets, const Real *clean, const Real *estimate, double weight, double *mse, double *energy, Real *d_estimate);

#endif
