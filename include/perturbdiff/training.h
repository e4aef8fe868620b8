/* Room training: the step, optimizer, average of weights, learning rate, checkpoint, the loop. */
#ifndef PERTURBDIFF_TRAINING_H
#define PERTURBDIFF_TRAINING_H

#include <perturbdiff/data.h>
#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>

typedef struct {
  double lr, beta1, beta2, epsilon, weight_decay, clip;
} AdamWOptions;

/* adamw_update - one step on the parameters that took part (flags against conditional); steps_taken (count) counts updates of each
   parameter for bias correction. gradients enter scaled by min(1, clip/(norm+1e-6)) (clip 0: not scaled); norm: the global norm of those that took part,
   before clipping. Not collective. */
PetscErrorCode adamw_update(const ParameterTable *table, const AdamWOptions *options, PetscBool conditional, const Real *gradients, Real *parameters, Real *first,
                            Real *second, int64_t *steps_taken, double *norm);
/* average = decay * average + (1 - decay) * parameters. */
void ema_update(size_t n, double decay, const Real *parameters, Real *average);

/* learning_rate_factor - factor of lr at step s = 0, 1, ... of N with warm-up w: (s+1)/w, then 1 for N/10 steps, then a half cosine to 0.1 (MODEL, "lr schedule"). */
double learning_rate_factor(PetscInt64 step, PetscInt64 warmup, PetscInt64 total);

/* Everything a checkpoint holds. Arrays of table.total elements; the same on all ranks. */
typedef struct {
  ParameterTable table;
  Real          *parameters, *average, *first, *second;
  int64_t       *steps_taken; /* table.count */
  int64_t        step;
  double         best_validation, wall_seconds, strength;
  CenterKind     center;
  ScheduleKind   schedule;
  PetscInt       schedule_steps, set_size;
  double         schedule_gamma;
  uint64_t       store_checksum, seed;
  char          *options_yaml; /* of the run */
  Vocabulary     gene, perturbation, cell_type, batch;
} TrainingState;

PetscErrorCode trainingstate_create(const DenoiserShape *shape, TrainingState *state);
PetscErrorCode trainingstate_destroy(TrainingState *state);

/* checkpoint_write - collective, parallel HDF5, each rank its share of every array, checksum per data set, atomic. */
PetscErrorCode checkpoint_write(MPI_Comm comm, const char *path, const TrainingState *state);
/* checkpoint_read - any number of ranks; state is created from the file. optimizer PETSC_FALSE skips the moments. Collective. User errors: missing,
   not a checkpoint, damaged (checksum), newer version. */
PetscErrorCode checkpoint_read(MPI_Comm comm, const char *path, PetscBool optimizer, TrainingState *state);
/* checkpoint_newest - path of the newest intact checkpoint of a run folder, or path itself if it is a file; prefer_best: the best one if
   there is one. A damaged newest one is named on standard error and the one before used. Collective. */
PetscErrorCode checkpoint_newest(MPI_Comm comm, const char *run, PetscBool prefer_best, char *path, size_t size);

#endif
