/* Room sampling: the reverse process as PETSc time steppers, guidance, generation of populations. */
#ifndef PERTURBDIFF_SAMPLING_H
#define PERTURBDIFF_SAMPLING_H

#include <perturbdiff/data/center.h>
#include <perturbdiff/data/cellstore.h>
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
  NoiseFunction        noise; /* asked only where a step's noise has a factor; may be NULL for deterministic types */
  void                *noise_context;
  PetscInt             steps;        /* number of reverse steps */
  const PetscInt      *step;         /* (steps) descending diffusion steps, e.g. 7,6,...,0; after the last one the state is clean (abar = 1) */
  double               eta;          /* of ddim */
  double               noise_weight; /* of ddpm: noise scaled by exp(noise_weight * log variance) */
  PetscBool            single;       /* round the coefficients to float32 where the public code does (they differ by 1e-4 at small steps) */
} ReverseProblem;

#define TSREVERSEDDIM "ddim"
#define TSREVERSEDDPM "ddpm"

/* Register the TSTypes; call once after PetscInitialize. */
PetscErrorCode sampling_register(void);

/* TSReverseSetProblem - what ts solves: a copy of *problem is kept. Collective on ts. Time is lambda = log(sqrt(abar)/sqrt(1-abar)), from that of step[0] up;
   a step of ddim or ddpm leads from lambda(step[k]) to lambda(step[k+1]), the last one to the clean end, which stands at 2 lambda(0) - lambda(1).
   PETSc's own types (rk) get the probability-flow ODE  dx/dlambda = sqrt(abar) (x0_hat(x, lambda) - sqrt(abar) x)  as right-hand side. Call before
   TSSetFromOptions. */
PetscErrorCode TSReverseSetProblem(TS ts, const ReverseProblem *problem);

/* Where the state is distributed over the ranks of ts's communicator, the functions of the problem see this rank's values, and are called on all ranks together. */

/* TSReverseSolve - x: the noisy state at step[0] in, clean cells out. Collective on ts; may be called again. For ddim and ddpm the same as TSSolve (whose
   -ts_max_steps and -ts_max_time may stop it early, then x is the noisy state reached); the ODE ends at lambda(step[steps-1]), and the clean estimate there is
   the result. */
PetscErrorCode TSReverseSolve(TS ts, Vec x);

/* One population to generate. Indices are those of the vocabularies of the store, which are the network's. */
typedef struct {
  PetscInt      perturbation, cell_type, batch;
  PetscInt64    cells;                   /* to generate in each draw */
  PetscInt64    first_control, controls; /* range of the paired control population */
  PetscInt      control;                 /* its index */
  uint64_t      key;                     /* hash of the three names: all that random numbers know of the condition */
  const double *shift;                   /* (G) of center_shift, log1p units; NULL without CENTER_SHIFT. Not owned */
} Condition;

typedef struct {
  PetscInt   count;
  Condition *item;
} ConditionList;

/* conditions_of_split - the perturbed populations of a split, in store order. cells: so many of each; 0: as many as the real population has. Not collective.
   User error: none in that split. */
PetscErrorCode conditions_of_split(const CellStoreTable *table, Split split, PetscInt64 cells, ConditionList *list);
/* conditions_read - rows of a CSV file with the columns perturbation, cell_type, batch and, if given, cells, found by name (these, or the store's own column
   names); cell type and batch may be left out where the store has one only. cells: where a row says none; 0: as many as the real population has, else
   otherwise. Collective. User errors, with the line: no such column, unknown name (nearest known), the control label, not a number, twice the same condition,
   no control cells. */
PetscErrorCode conditions_read(MPI_Comm comm, const char *path, const CellStoreTable *table, PetscInt64 cells, PetscInt64 otherwise, ConditionList *list);
PetscErrorCode conditions_free(ConditionList *list);

/* The trained network. Pointers not owned. */
typedef struct {
  const ParameterTable *table;
  const Real           *parameters;
  const NoiseSchedule  *schedule;
  PetscInt              set_size;
  CenterKind            center;
  PetscBool             sees_cell_type, sees_batch; /* covariates the network was told */
  double                strength, value_scale;
} SampleModel;

typedef struct {
  const char     *type;  /* TSType: ddim, ddpm, rk */
  PetscInt        steps; /* see ReverseProblem */
  const PetscInt *step;
  double          eta, noise_weight, guidance;
  double          cut;          /* clean values below it are 0 */
  PetscBool       whole_counts; /* values between 0 and the smallest one of the paired control cell, its one count, become one of the two at random with the same mean */
  PetscInt        draws;        /* times each population is generated */
  PetscInt        sets_at_once; /* in one pass of the network */
  uint64_t        seed;
  int             parts;        /* C: ranks that share each set; 0 or 1: sets are whole */
  MPI_Comm        cells;        /* of these C ranks, where C > 1 */
} SampleSettings;

/* Dense control cells (count, G), log1p / value_scale. */
typedef PetscErrorCode (*ControlFunction)(void *context, PetscInt64 count, const PetscInt64 *cells, Real *dense);

/* One generated set, or this rank's cells of it; the first `cells` of its rows count, the others fill it up. */
typedef struct {
  PetscInt   condition, draw;
  PetscInt64 first_cell; /* number in the condition of its first cell */
  PetscInt   cells;
} GeneratedSet;

typedef struct Generator Generator;

/* Collective on settings->cells where sets are split (else not), as generator_run; conditions, model and settings are kept by pointer. generator_bytes: what creation
   and a run will take, on the rank with most cells; of the settings it looks at guidance, sets_at_once and parts only. */
PetscErrorCode generator_create(const SampleModel *model, const SampleSettings *settings, const ConditionList *conditions, ControlFunction controls,
                                void *context, Generator **generator);
PetscErrorCode generator_destroy(Generator **generator);
size_t         generator_bytes(const SampleModel *model, const SampleSettings *settings);
/* Sets of all conditions and draws: condition by condition, draw by draw. */
PetscInt64 generator_sets(const Generator *generator);
/* Cells of each set on this rank: rows of a set in what generator_run returns. */
PetscInt generator_cells(const Generator *generator);
/* generator_run - `count` sets (at most sets_at_once): number first, first+stride, ...; cells (count, this rank's cells of a set, G) in units of log1p / value_scale,
   valid until the next call. A set's cells depend on the model, the settings but parts, its condition and their numbers only, not on what else is generated or
   where (rk, whose steps adapt, on what is generated with them). */
PetscErrorCode generator_run(Generator *generator, PetscInt64 first, PetscInt64 stride, PetscInt count, GeneratedSet *sets, const double **cells);

#endif
