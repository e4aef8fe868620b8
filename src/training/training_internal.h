/* Shared between the files of the room. */
#ifndef TRAINING_INTERNAL_H
#define TRAINING_INTERNAL_H

#include <perturbdiff/training.h>
#include <petsclog.h>

enum { PHASE_READ, PHASE_PREPARE, PHASE_FORWARD, PHASE_BACKWARD, PHASE_REDUCE, PHASE_OPTIMIZER, PHASES };

/* One run on this rank. */
typedef struct {
  MPI_Comm               comm;
  int                    rank, ranks;
  const TrainingOptions *options;
  CellStore             *store;
  const CellStoreTable  *cells;
  TrainingState          state;
  NoiseSchedule          schedule;
  unsigned char         *use, *held; /* (populations) 1: trains; 1: left out for validation */
  double                *means;      /* (populations, genes) log1p; NULL when not needed */
  double                *shift;      /* (populations, genes) mean shift of each, CENTER_SHIFT only */
  CellSets              *sets;
  Prefetch              *prefetch;
  PetscInt               first_set, own_sets, max_sets; /* this rank's block of the step's sets; room in the arrays below */
  PetscInt64             steps, last_step;              /* of the whole run; where it ends */
  PetscInt              *unseen;                        /* (max_sets) zeros: what the network is told of a covariate it does not see */
  Denoiser              *denoiser;
  Objective             *objective;
  Real                  *gradients;
  Real                  *noisy, *self_condition, *estimate, *d_estimate, *center; /* (max_sets, set_size, genes) */
  double                *time, *mse, *energy;                                     /* (max_sets) */
  double                 local[2];                                                /* mse, energy of this rank's sets since the last sum over ranks */
  double                 norm, lr;                                                /* of the last step */
  double                 seconds[PHASES], stall;
  PetscLogEvent          event[PHASES];
} Trainer;

/* trainer_set_up - everything before the first step, for a trainer with comm, rank, ranks, options, store and cells set: state new or from the newest checkpoint
   (*resumed), memory, cells on their way. trainer_tear_down frees it, however far it came. Collective. User errors: as training_run. */
PetscErrorCode trainer_set_up(Trainer *trainer, PetscBool *resumed);
PetscErrorCode trainer_tear_down(Trainer *trainer);

/* One step: cells, noise, network forward and backward, reduction, AdamW, average. Collective. User error: diverged. */
PetscErrorCode trainer_step(Trainer *trainer);

/* Share of a step's sets of a rank: contiguous blocks, the first ranks one more. */
void share_of_sets(PetscInt sets, int rank, int ranks, PetscInt *first, PetscInt *count);

/* trainingstate_create in two steps: everything but the arrays; the arrays, all zero. */
PetscErrorCode trainingstate_begin(const DenoiserShape *shape, const Shard *shard, TrainingState *state);
PetscErrorCode trainingstate_allocate(TrainingState *state, PetscBool moments);

/* checkpoint_verify - user error unless the file is an intact checkpoint; reads all of it. Collective. */
PetscErrorCode checkpoint_verify(MPI_Comm comm, const char *path);

/* count_checkpoints - how many the run folder holds. Collective. User error: some, and options->resume is not set, so that no run is overwritten by accident. */
PetscErrorCode count_checkpoints(MPI_Comm comm, const TrainingOptions *options, PetscInt *count);

/* memory_plan - what a rank will take, printed before anything is allocated; held: populations are left out for validation. Collective. User error: over
 * options->memory_limit. */
PetscErrorCode memory_plan(MPI_Comm comm, const TrainingOptions *options, const CellStoreTable *cells, const DenoiserShape *shape, PetscInt max_sets,
                           PetscBool held);

/* Populations that train and those left out for validation. Collective. User errors: pattern matches nothing, nothing left to train on. */
PetscErrorCode choose_populations(MPI_Comm comm, const CellStoreTable *cells, const ValidationOptions *options, PetscBool controls, uint64_t seed,
                                  unsigned char *use, unsigned char *held);

typedef struct Validation Validation;
/* validation_create - NULL where nothing is held out. Collective; prints what simple predictions reach. */
PetscErrorCode validation_create(Trainer *trainer, Validation **validation);
PetscErrorCode validation_destroy(Validation **validation);
/* validation_run - scores of the average weights: objective at fixed noise, and one score for each strength (count, owned by validation); best: index of the
   lowest energy distance. Collective. */
PetscErrorCode validation_run(Validation *validation, double *objective, PetscInt *count, const ValidationScore **scores, PetscInt *best);

/* The files of a run folder that people and machines read; rank 0 writes. All collective. */
PetscErrorCode record_begin(const Trainer *trainer, PetscBool resumed);
PetscErrorCode record_step(const Trainer *trainer, const TrainingResult *result, double cells_per_second);
PetscErrorCode record_validation(const Trainer *trainer, double objective, PetscInt count, const ValidationScore *scores, PetscInt best);
/* state: "running", "finished", "stopped", "failed". */
PetscErrorCode record_run(const Trainer *trainer, const char *state, const TrainingResult *result);

#endif
