/* Shared between the files of the room. */
#ifndef TRAINING_INTERNAL_H
#define TRAINING_INTERNAL_H

#include <perturbdiff/runtime/cellexchange.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/training.h>
#include <petsclog.h>

/* reduce: waiting for gradients of other ranks; gather: waiting for parameters. */
enum { PHASE_READ, PHASE_PREPARE, PHASE_FORWARD, PHASE_BACKWARD, PHASE_REDUCE, PHASE_OPTIMIZER, PHASE_GATHER, PHASES };

/* One run on this rank. */
typedef struct {
  MPI_Comm               comm;
  int                    rank, ranks;
  const TrainingOptions *options;
  CellStore             *store;
  const CellStoreTable  *cells;
  ProcessGrid            grid;
  TrainingState          state;
  NoiseSchedule          schedule;
  unsigned char         *use, *held; /* (populations) 1: trains; 1: left out for validation */
  double                *means;      /* (populations, genes) log1p; NULL when not needed */
  double                *shift;      /* (populations, genes) mean shift of each, CENTER_SHIFT only */
  CellSets              *sets;
  Prefetch              *prefetch;   /* NULL: no sets for this rank */
  PetscInt               first_set, own_sets, max_sets; /* this group's block of the step's sets; room in the arrays below */
  PetscInt               first_cell, own_cells;         /* this rank's cells of each of them */
  PetscInt64             steps, last_step;              /* of the whole run; where it ends */
  PetscInt              *unseen;                        /* (max_sets) zeros: what the network is told of a covariate it does not see */
  CellExchange          *exchange;                      /* NULL: whole sets on a rank */
  DenoiserPlan           plan;
  Denoiser              *denoiser;
  Objective             *objective;
  Real                  *noisy, *self_condition, *estimate, *d_estimate, *center; /* (max_sets, own_cells, genes) */
  double                *time, *mse, *energy;                                     /* (max_sets) */
  double                 local[2]; /* mse, energy of this group's sets since the last sum over ranks, from its first rank */
  double                 norm, lr; /* of the last step */
  /* Gradients and updates (shards.c). gradients: flat, after a reduction the sums in this rank's pieces; between steps room for a whole array of parameters.
     own_gradients: not in memory of buckets. */
  Real                  *gradients;
  PetscBool              own_gradients;
  PetscInt               bucket_count;
  Buckets               *buckets; /* NULL: one rank */
  Shard                  shard;   /* piece NULL: one rank */
  PetscBool             *arriving; /* (bucket_count) parameters are on their way */
  double                *squares, *squares_of_ranks; /* of the gradients of this rank's pieces (parameters), so far in this step; (ranks) of those that took part */
  ExchangeTimes          communication;
  /* Checkpoints (saving.c). saving: the one being written, NULL: none. last: seconds the last one took; hidden: of all seconds those behind steps. */
  CheckpointWrite       *saving;
  struct {
    PetscInt count;
    double   last, seconds, hidden;
  } saves;
  double                 seconds[PHASES], stall;
  PetscLogEvent          event[PHASES];
} Trainer;

PetscErrorCode phase_begin(Trainer *trainer, int phase);
PetscErrorCode phase_end(Trainer *trainer, int phase, double flops);

/* shards_create - buckets, this rank's pieces of them, gradients. shards_hooks: have the denoiser start and await what it needs. All of shards_*: collective. */
PetscErrorCode shards_create(Trainer *trainer, const DenoiserShape *shape);
PetscErrorCode shards_hooks(Trainer *trainer);
PetscErrorCode shards_destroy(Trainer *trainer);
/* shards_update - after the backward pass: sums of gradients, their norm, AdamW and the average on this rank's pieces; new parameters are then on their way. */
PetscErrorCode shards_update(Trainer *trainer, const AdamWOptions *options, PetscBool conditional, PetscBool average, double average_decay);
/* shards_wait - all parameters are there: before anything but a forward pass reads them. */
PetscErrorCode shards_wait(Trainer *trainer);
/* shards_gather_parameters - make the parameters whole where each rank has its pieces. shards_average: the whole average, in memory of the trainer that the next
   step uses. */
PetscErrorCode shards_gather_parameters(Trainer *trainer);
PetscErrorCode shards_average(Trainer *trainer, const Real **average);
/* Drive what is under way. Not collective. */
PetscErrorCode shards_progress(Trainer *trainer);
/* Elements of each bucket of a table; free with PetscFree. Not collective. */
PetscErrorCode bucket_sizes(const ParameterTable *table, PetscInt *count, size_t **size);

/* saving_begin - begin to write a checkpoint of the state, whose arrays must be whole and stay as they are until saving_end, which every update calls before it changes them;
   one at a time. saving_end - wait for it, if there is one; it has its name then, and the run folder no more than it should keep. Collective. User errors: as checkpoint_begin. */
PetscErrorCode saving_begin(Trainer *trainer, const char *path);
PetscErrorCode saving_end(Trainer *trainer);

/* trainer_set_up - everything before the first step, for a trainer with comm, rank, ranks, options, store and cells set: state new or from the newest checkpoint
   (*resumed), memory, cells on their way. trainer_tear_down frees it, however far it came. Collective. User errors: as training_run. */
PetscErrorCode trainer_set_up(Trainer *trainer, PetscBool *resumed);
PetscErrorCode trainer_tear_down(Trainer *trainer);

/* One step: cells, noise, network forward and backward, reduction, AdamW, average. Collective. User error: diverged. */
PetscErrorCode trainer_step(Trainer *trainer);

/* trainingstate_create in two steps: everything but the arrays; the arrays, all zero. */
PetscErrorCode trainingstate_begin(const DenoiserShape *shape, const Shard *shard, TrainingState *state);
PetscErrorCode trainingstate_allocate(TrainingState *state, PetscBool moments);

/* checkpoint_verify - user error unless the file is an intact checkpoint; reads all of it. Collective. */
PetscErrorCode checkpoint_verify(MPI_Comm comm, const char *path);

/* count_checkpoints - how many the run folder holds. Collective. User error: some, and options->resume is not set, so that no run is overwritten by accident. */
PetscErrorCode count_checkpoints(MPI_Comm comm, const TrainingOptions *options, PetscInt *count);

/* checkpoint_resume - the newest intact checkpoint of a run folder, as checkpoint_read_shard, and its path; damaged ones are named. Collective. User error: none is
   intact. */
PetscErrorCode checkpoint_resume(MPI_Comm comm, const char *run, const Shard *shard, char *path, size_t size, TrainingState *state);

/* What the memory of a rank depends on. */
typedef struct {
  const TrainingOptions *options;
  const CellStoreTable  *cells;
  const DenoiserShape   *shape;
  int                    ranks, sharing; /* sharing: ranks of a node that have the parameters once (buckets_sharing) */
  const unsigned char   *held; /* (populations) left out for validation */
  double                 cache; /* bytes of this rank's share of the cache of a compressed store */
} MemoryQuestion;

/* Bytes a rank would take with C = parts; context: a MemoryQuestion. */
double memory_with_parts(void *context, int parts);
/* Cells of the largest whole number of sets that validation holds of one population; 0: no validation. */
PetscInt64 memory_largest_held(const MemoryQuestion *question);
/* memory_plan - what a rank will take, printed before anything large is allocated. Collective. User error: over options->memory_limit, with what would make it fit. */
PetscErrorCode memory_plan(MPI_Comm comm, const MemoryQuestion *question, int parts);
/* The network of a validation where ranks share sets: whole sets, one at a time. */
static inline DenoiserPlan validation_plan(const TrainingOptions *options) { return (DenoiserPlan){.max_sets = 1, .set_size = options->set_size}; }
/* Widest row that ranks sharing a set exchange: keys and values of attention, cells. */
static inline PetscInt exchange_width(const DenoiserShape *shape) { return PetscMax(4 * shape->hidden, shape->genes); }

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
