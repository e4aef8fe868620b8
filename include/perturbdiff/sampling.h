/* Room sampling: the reverse process as PETSc time steppers, guidance, generation of populations. */
#ifndef PERTURBDIFF_SAMPLING_H
#define PERTURBDIFF_SAMPLING_H

#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <petscts.h>

/* clean estimate x0_hat (n) of state x (n) at diffusion step t; previous: the last clean estimate (n), zero at first. */
typedef PetscErrorCode (*EstimateFunction)(void *context, double step, const double *x, const double *previous, double *estimate);
/* standard normals (n) of reverse step number k. */
typedef PetscErrorCode (*NoiseFunction)(void *context, PetscInt k, double *noise);

/* The problem a reverse stepper solves; attach with TSReverseSetProblem. Arrays and contexts not owned. */
typedef struct {
  const NoiseSchedule *schedule;
  EstimateFunction     estimate;
  void                *estimate_context;
  NoiseFunction        noise;
  void                *noise_context;
  PetscInt             steps;       /* number of reverse steps */
  const PetscInt      *step;        /* (steps) descending diffusion steps, e.g. 7,6,...,0 */
  double               eta;         /* of ddim */
  double               noise_weight; /* of ddpm: noise scaled by exp(noise_weight * log variance) */
} ReverseProblem;

#define TSREVERSEDDIM "ddim"
#define TSREVERSEDDPM "ddpm"

/* Register the TSTypes; call once after PetscInitialize. */
PetscErrorCode sampling_register(void);
/* Collective on ts. Also gives the right-hand side of the probability-flow ODE in lambda, for PETSc's own types (rk). */
PetscErrorCode TSReverseSetProblem(TS ts, const ReverseProblem *problem);
/* Steps spaced evenly from first to 0 in n steps: round(first * (1 - i/(n-1))); n = first+1 gives every step. steps holds n. */
void reverse_steps(PetscInt first, PetscInt n, PetscInt *steps);

#endif
