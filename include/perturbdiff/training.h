/* Room training: the step, optimizer, average of weights, learning rate, checkpoint, the loop. */
#ifndef PERTURBDIFF_TRAINING_H
#define PERTURBDIFF_TRAINING_H

#include <perturbdiff/data.h>
#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/buckets.h>

typedef struct {
  double lr, beta1, beta2, epsilon, weight_decay, clip;
} AdamWOptions;

/* A parameter that takes no part in a step has no gradient: it is not decayed, its moments stay, it does not count in the norm. */
PetscBool parameter_takes_part(const Parameter *parameter, PetscBool conditional);

/* Sum of x[i]^2 over n values, added in an order that does not depend on the threads. */
double sum_of_squares(size_t n, const Real *x);
/* What gradients are scaled by: min(1, clip/(norm+1e-6)); clip 0: 1. */
double adamw_scale(const AdamWOptions *options, double norm);

/* adamw_range - one step on n neighbouring elements of one parameter, in one pass over memory. scale: factor of the gradient (adamw_scale); updates: those of this
   parameter, this one included (bias correction); decay: the parameter has PARAMETER_DECAY. average, unless NULL: average = average_decay*average +
   (1-average_decay)*parameter after the step. Elements do not depend on how a parameter is cut into ranges. Arrays do not overlap. Not collective; uses the
   OpenMP threads of the process. */
void adamw_range(const AdamWOptions *options, double scale, int64_t updates, PetscBool decay, size_t n, const Real *gradient, Real *parameter, Real *first, Real *second,
                 Real *average, double average_decay);

/* adamw_update - one step on the parameters that took part (flags against conditional); steps_taken (count) counts updates of each
   parameter for bias correction. gradients enter scaled by adamw_scale; norm: the global norm of those that took part, before clipping. Not collective. */
PetscErrorCode adamw_update(const ParameterTable *table, const AdamWOptions *options, PetscBool conditional, const Real *gradients, Real *parameters, Real *first,
                            Real *second, int64_t *steps_taken, double *norm);
/* average = decay * average + (1 - decay) * parameters: for what took no part in the step. */
void ema_update(size_t n, double decay, const Real *parameters, Real *average);

/* learning_rate_factor - factor of lr at step s = 0, 1, ... of N with warm-up w: (s+1)/w, then 1 for N/10 steps, then a half cosine to 0.1 (MODEL, "lr schedule"). */
double learning_rate_factor(PetscInt64 step, PetscInt64 warmup, PetscInt64 total);

/* Which elements of the arrays dealt over the ranks lie on this one: runs of the flat array in ascending order. piece NULL: all of them. */
typedef struct {
  PetscInt     count;
  BucketPiece *piece;
  size_t       total; /* elements in the pieces */
  size_t       whole; /* elements of the flat array they are of */
  Real        *parameters; /* where the whole flat array of a state goes (ranks of a node may share it), not owned; NULL: in memory of the state's own */
} Shard;

/* Everything a checkpoint holds. Parameters are whole on every rank; average and moments are those of the shard. */
typedef struct {
  ParameterTable table;
  Real          *parameters;               /* (table.total) */
  Shard          shard;
  Real          *average, *first, *second; /* (shard.total) */
  int64_t       *steps_taken;              /* (table.count) */
  int64_t        step;                     /* steps done */
  double         wall_seconds;                                 /* of all starts */
  double         strength;                                     /* factor of a centred head's output, chosen by the newest validation; 1 without */
  double         best_validation, best_pearson, best_strength; /* lowest validation energy distance so far (-1: none), with what came with it */
  int64_t        best_step;
  double         pending[2];                              /* mse, energy summed over the steps since the last report */
  int64_t        pending_steps;
  CenterKind     center;
  PetscInt       sees_cell_type, sees_batch; /* 0: the network is told number 0 whatever the cell type or batch */
  ScheduleKind   schedule;
  PetscInt       schedule_steps, set_size, sets;
  double         schedule_gamma;
  uint64_t       store_checksum, seed;
  char          *options_yaml; /* of the run */
  Vocabulary     gene, perturbation, cell_type, batch;
} TrainingState;

/* Arrays are zero, strength 1; vocabularies and options_yaml are the caller's to fill and then owned. shard is copied; NULL: everything. Not collective. */
PetscErrorCode trainingstate_create(const DenoiserShape *shape, const Shard *shard, TrainingState *state);
PetscErrorCode trainingstate_destroy(TrainingState *state);
/* Copy names and checksum of the store trained on. Not collective. */
PetscErrorCode trainingstate_set_store(TrainingState *state, const CellStoreTable *table);
/* trainingstate_check_store - user error where the store does not have the genes and covariates the network was trained on, or, with same_cells, is not the very
   store. checkpoint, store: paths for the message. Not collective; the same on all ranks. */
PetscErrorCode trainingstate_check_store(const TrainingState *state, const CellStoreTable *table, const char *checkpoint, const char *store, PetscBool same_cells);

/* checkpoint_write - each rank writes its pieces of every array at their places in the file, where the state is whole on all ranks an even share. A checksum for
   each data set, atomic. Collective. User errors: as file_draft_create; no space. */
PetscErrorCode checkpoint_write(MPI_Comm comm, const char *path, const TrainingState *state);
/* The same in two steps, between which threads write while the program goes on: checkpoint_begin takes what is small in the state as it is; the arrays must not change before
   checkpoint_end, which waits, adds the checksums and gives the file its name. hidden, unless NULL: seconds of the writing before that call. direct: past the page cache where
   the file system can, which checkpoint_write does. Memory: checkpoint_buffer_bytes. After a user error of either there is no file and *write is NULL.
   checkpoint_abandon - stop and leave no file; *write may be NULL. All collective. */
typedef struct CheckpointWrite CheckpointWrite;
PetscErrorCode checkpoint_begin(MPI_Comm comm, const char *path, const TrainingState *state, PetscBool direct, CheckpointWrite **write);
PetscErrorCode checkpoint_end(CheckpointWrite **write, double *hidden);
PetscErrorCode checkpoint_abandon(CheckpointWrite **write);
size_t         checkpoint_buffer_bytes(size_t elements); /* of the shard */
/* checkpoint_read - any number of ranks, whole arrays; state is created from the file. optimizer PETSC_FALSE skips the moments. Collective. User errors: missing,
   not a checkpoint, damaged (checksum), newer version; then state holds nothing. */
PetscErrorCode checkpoint_read(MPI_Comm comm, const char *path, PetscBool optimizer, TrainingState *state);
/* checkpoint_read_shard - of average, moments and parameters what the rank's shard holds; the other parameters are zero. Together the shards of comm's ranks are everything
   once. Where the file's network has another number of elements than the shard is of, the state has no arrays. User errors: as above. */
PetscErrorCode checkpoint_read_shard(MPI_Comm comm, const char *path, const Shard *shard, TrainingState *state);
/* checkpoint_newest - path of the newest intact checkpoint of a run folder, or path itself if it is a file; prefer_best: the best one if
   there is one. A damaged newest one is named on standard error and the one before used. Collective. User errors: no such folder, no intact checkpoint. */
PetscErrorCode checkpoint_newest(MPI_Comm comm, const char *run, PetscBool prefer_best, char *path, size_t size);
/* Steps of the checkpoints of a run folder, ascending; free with PetscFree. A folder that is not there has none. Collective. */
PetscErrorCode checkpoint_list(MPI_Comm comm, const char *run, PetscInt *count, int64_t **step);
/* Path of the checkpoint of a step. */
void checkpoint_path(const char *run, int64_t step, char *path, size_t size);
/* Remove all but the `keep` last checkpoints of a run folder. Collective. */
PetscErrorCode checkpoint_prune(MPI_Comm comm, const char *run, PetscInt keep);

/* Scores of generated populations against held-out cells, means over the validation populations. */
typedef struct {
  double strength, energy_distance, pearson_delta;
} ValidationScore;
/* Called on all ranks after each validation. */
typedef PetscErrorCode (*ValidationFunction)(void *context, int64_t step, PetscInt count, const ValidationScore *scores);

/* Populations left out of training inside a run, on which the best step and the strength of a centred head are chosen. */
typedef struct {
  PetscInt           patterns; /* "perturbation|cell type|batch" with * for any; with fraction 0 and no patterns: the store's validation split */
  const char *const *pattern;
  double             fraction; /* of the (perturbation, cell type) pairs that train */
  PetscInt64         interval; /* steps between two validations; 0: at the end only */
  PetscInt           reverse_steps, cells; /* of the generated populations: steps of DDIM from full noise, at most so many cells each */
  PetscInt           strengths;
  const double      *strength; /* tried for a centred head */
  PetscBool          best;     /* keep the step with the lowest energy distance as best.h5 */
  PetscInt           patience; /* stop after so many validations without a better one; 0: never */
  ValidationFunction observe;  /* may be NULL */
  void              *observe_context;
} ValidationOptions;

/* How a run trains. Strings and lists are not owned. */
typedef struct {
  const char       *folder, *options_yaml, *command, *time_limit;
  double            started; /* MPI_Wtime from which time_limit counts; 0: from the call */
  PetscBool         resume;
  PetscInt          hidden, depth, heads, covariate_dim;
  PetscInt          set_size, sets; /* cells in a set; sets in a step, over all ranks */
  PetscInt64        steps;          /* 0: by epochs */
  double            epochs;
  uint64_t          seed;
  CenterKind        center;
  double            strength; /* of a centred head where no validation chooses it */
  PetscBool         sees_cell_type, sees_batch, controls; /* covariates told to the network; control populations train as well */
  PetscInt64        stop_step; /* end there, on the schedules of all `steps`; 0: at the end */
  ScheduleKind      schedule;
  PetscInt          schedule_steps;
  double            schedule_gamma, energy_weight;
  double            self_condition, drop_condition, drop_control; /* probabilities, one coin a step */
  AdamWOptions      adamw;
  PetscInt64        warmup, ema_interval;
  double            ema_decay;
  PetscBool         ema_warmup; /* the average's decay starts low, so that a short run forgets its starting weights */
  PetscInt64        report_interval, checkpoint_interval; /* steps */
  PetscInt          checkpoint_keep;
  PetscBool         checkpoint_direct; /* write past the page cache where the file system can */
  double            memory_limit; /* bytes a rank may plan for; 0: no limit */
  PetscInt          grid_cells;   /* ranks that share each set; 0: chosen */
  PetscBool         recompute;    /* repeat each block's forward pass in backward instead of keeping what it computed */
  ValidationOptions validation;
} TrainingOptions;

/* What a run reached; for the command's last lines and for tests. */
typedef struct {
  int64_t   step, best_step;
  double    loss, mse, energy;                 /* means over the last report interval */
  double    best_validation, pearson, strength; /* -1 without validation */
  double    seconds, stall;                    /* wall time of this start; time waited for cells, mean over ranks */
  double    communication, waited;             /* time with messages under way, and of it the time waited for them; means over ranks */
  PetscInt  checkpoints;                       /* written */
  double    checkpoint_seconds, checkpoint_hidden; /* they took, and of it behind steps; of this rank */
  PetscBool stopped;                           /* by the time limit or a signal, checkpoint written */
} TrainingResult;

/* training_run - train on a store into a run folder: checkpoints, best.h5, log.jsonl, log.csv, options.yaml, run.json. Data parallel; the numbers depend on
   the options and not on the ranks, up to the order of summation. Collective. Returns ERROR_STOPPED when stopped in time. User errors: folder holds another run,
   no checkpoint to resume or one of another store or other sizes, nothing to train on, over the memory limit, patterns that match nothing. */
PetscErrorCode training_run(MPI_Comm comm, CellStore *store, const TrainingOptions *options, TrainingResult *result);

/* training_run_folds - leave each cell type of the training populations out in turn (RUN/fold-1, ...), choose the step and the strength that make the mean ratio of
   the energy distance to that at strength 0 smallest without a lower mean pearson_delta, and train on all with them into RUN. Scores and choice are kept in
   RUN/folds.json, from which a resumed run goes on. Collective. User errors: as training_run; fewer than two cell types; no centre. */
PetscErrorCode training_run_folds(MPI_Comm comm, CellStore *store, const TrainingOptions *options, TrainingResult *result);

#endif
