/* The loop: set up or resume, steps, reports, validation, checkpoints, a clean stop. */
#include "training/training_internal.h"
#include <math.h>
#include <string.h>

static PetscErrorCode register_events(Trainer *t)
{
  static const char *const names[PHASES] = {"TrainRead", "TrainPrepare", "TrainForward", "TrainBackward", "TrainReduce", "TrainOptimize"};
  PetscClassId             classid;

  PetscFunctionBeginUser;
  PetscCall(PetscClassIdRegister("Training", &classid));
  for (int p = 0; p < PHASES; p++) {
    PetscCall(PetscLogEventGetId(names[p], &t->event[p]));
    if (t->event[p] < 0) PetscCall(PetscLogEventRegister(names[p], classid, &t->event[p]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode stage_push(const char *name)
{
  PetscLogStage stage;

  PetscFunctionBeginUser;
  PetscCall(PetscLogStageGetId(name, &stage));
  if (stage < 0) PetscCall(PetscLogStageRegister(name, &stage));
  PetscCall(PetscLogStagePush(stage));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static DenoiserShape shape_of(const CellStoreTable *cells, const TrainingOptions *options)
{
  return (DenoiserShape){.genes = cells->gene.count,
                         .hidden = options->hidden,
                         .depth = options->depth,
                         .heads = options->heads,
                         .perturbations = cells->perturbation.count,
                         .cell_types = cells->cell_type.count,
                         .batches = cells->batch.count,
                         .covariate_dim = options->covariate_dim,
                         .time_frequencies = 128};
}

static PetscErrorCode start_state(Trainer *t, const DenoiserShape *shape)
{
  const TrainingOptions *options = t->options;
  TrainingState         *state = &t->state;

  PetscFunctionBeginUser;
  PetscCall(trainingstate_create(shape, NULL, state));
  PetscCall(trainingstate_set_store(state, t->cells));
  PetscCall(parameters_start(&state->table, options->seed, options->center == CENTER_NONE ? PETSC_FALSE : PETSC_TRUE, state->parameters));
  PetscCall(PetscArraycpy(state->average, state->parameters, state->table.total));
  state->center = options->center;
  state->strength = options->center == CENTER_NONE ? 1 : options->strength;
  state->sees_cell_type = options->sees_cell_type;
  state->sees_batch = options->sees_batch;
  state->schedule = options->schedule;
  state->schedule_steps = options->schedule_steps;
  state->schedule_gamma = options->schedule_gamma;
  state->set_size = options->set_size;
  state->sets = options->sets;
  state->seed = options->seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What must be as it was for the numbers to go on as they would have. */
static PetscErrorCode check_resumed(const Trainer *t, const DenoiserShape *shape, const char *path)
{
  const TrainingOptions *options = t->options;
  const TrainingState   *state = &t->state;
  const struct {
    const char *name;
    double      trained, given;
  } same[] = {{"hidden", state->table.shape.hidden, shape->hidden},
              {"depth", state->table.shape.depth, shape->depth},
              {"heads", state->table.shape.heads, shape->heads},
              {"covariate_dim", state->table.shape.covariate_dim, shape->covariate_dim},
              {"set_size", state->set_size, options->set_size},
              {"sets", state->sets, options->sets},
              {"covariates (cell_type)", state->sees_cell_type, options->sees_cell_type},
              {"covariates (batch)", state->sees_batch, options->sees_batch},
              {"schedule_steps", state->schedule_steps, options->schedule_steps},
              {"schedule_gamma", state->schedule_gamma, options->schedule_gamma},
              {"seed", (double)state->seed, (double)options->seed}};

  PetscFunctionBeginUser;
  PetscCall(trainingstate_check_store(state, t->cells, path, cellstore_path(t->store), PETSC_TRUE));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (same[i].trained != same[i].given)
      PetscFunctionReturn(
          error_user("%s: the run has -%s %g, not %g; give that, or train into a new folder", path, same[i].name, same[i].trained, same[i].given));
  if (state->center != options->center)
    PetscFunctionReturn(error_user("%s: the run has another -denoiser_center; give that one, or train into a new folder", path));
  if (state->schedule != options->schedule)
    PetscFunctionReturn(error_user("%s: the run has another -schedule; give that one, or train into a new folder", path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A new run, or the newest intact checkpoint. */
static PetscErrorCode start_or_resume(Trainer *t, PetscBool *resumed)
{
  const DenoiserShape shape = shape_of(t->cells, t->options);
  char                path[PETSC_MAX_PATH_LEN];
  PetscInt            count;

  PetscFunctionBeginUser;
  PetscCall(count_checkpoints(t->comm, t->options, &count));
  *resumed = PETSC_FALSE;
  if (!count) {
    if (t->options->resume) PetscCall(log_line(t->comm, "  start      no checkpoint in %s yet: from the beginning", t->options->folder));
    PetscCall(start_state(t, &shape));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(checkpoint_newest(t->comm, t->options->folder, PETSC_FALSE, path, sizeof path));
  PetscCall(checkpoint_read(t->comm, path, PETSC_TRUE, &t->state));
  PetscCall(check_resumed(t, &shape, path));
  PetscCall(log_line(t->comm, "  resume     %s, step %lld", path, (long long)t->state.step));
  PetscCall(PetscFree(t->state.options_yaml));
  *resumed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode fill_shifts(Trainer *t)
{
  const PetscInt genes = t->cells->gene.count;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)t->cells->populations * (size_t)genes, &t->shift));
  for (PetscInt k = 0; k < t->cells->populations; k++) {
    const Population *p = &t->cells->population[k];
    PetscInt          count;

    if (t->use[k]) PetscCall(center_shift(t->cells, t->means, t->use, p->perturbation, p->cell_type, p->batch, t->shift + (size_t)k * (size_t)genes, &count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode allocate(Trainer *t)
{
  const TrainingOptions *options = t->options;
  const size_t           n = (size_t)t->max_sets * (size_t)options->set_size * (size_t)t->cells->gene.count;

  PetscFunctionBeginUser;
  PetscCall(denoiser_create(&t->state.table, &(DenoiserPlan){.max_sets = t->max_sets, .set_size = options->set_size, .with_gradient = PETSC_TRUE}, &t->denoiser));
  PetscCall(objective_create(options->set_size, t->cells->gene.count, options->energy_weight, NULL, &t->objective));
  PetscCall(values_create(t->state.table.total, &t->gradients)); /* those of parameters without use are never written */
  PetscCall(PetscMalloc4(n, &t->noisy, n, &t->self_condition, n, &t->estimate, n, &t->d_estimate));
  if (options->center != CENTER_NONE) PetscCall(PetscMalloc1(n, &t->center));
  PetscCall(PetscMalloc3(t->max_sets, &t->time, t->max_sets, &t->mse, t->max_sets, &t->energy));
  PetscCall(PetscCalloc1(t->max_sets, &t->unseen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainer_set_up(Trainer *t, PetscBool *resumed)
{
  const TrainingOptions *options = t->options;
  const DenoiserShape    shape = shape_of(t->cells, options);
  PetscInt               held = 0;

  PetscFunctionBeginUser;
  if (options->hidden * 2 % options->heads)
    PetscFunctionReturn(
        error_user("-heads %d does not divide twice -hidden %d; attention needs heads of equal width", (int)options->heads, (int)options->hidden));
  PetscCall(register_events(t));
  PetscCall(PetscMalloc2(t->cells->populations, &t->use, t->cells->populations, &t->held));
  PetscCall(choose_populations(t->comm, t->cells, &options->validation, options->controls, options->seed, t->use, t->held));
  for (PetscInt k = 0; k < t->cells->populations; k++) held += t->held[k];
  share_of_sets(options->sets, t->rank, t->ranks, &t->first_set, &t->own_sets);
  t->max_sets = (options->sets + t->ranks - 1) / t->ranks;
  if (options->sets < t->ranks)
    PetscCall(
        log_line(t->comm, "  ranks      %d of %d have no set and wait; -sets %d or more keeps all busy", t->ranks - (int)options->sets, t->ranks, t->ranks));
  const PetscBool shifts = options->center == CENTER_SHIFT || held ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(memory_plan(t->comm, options, t->cells, &shape, t->max_sets, held ? PETSC_TRUE : PETSC_FALSE));
  PetscCall(start_or_resume(t, resumed));
  if (options->options_yaml) PetscCall(PetscStrallocpy(options->options_yaml, &t->state.options_yaml));
  PetscCall(schedule_create(options->schedule, options->schedule_steps, options->schedule_gamma, &t->schedule));
  PetscCall(cellsets_create(t->cells, t->use, options->set_size, options->seed, &t->sets));
  t->steps = options->steps ? options->steps : (PetscInt64)ceil(options->epochs * (double)cellsets_per_epoch(t->sets) / options->sets);
  t->last_step = options->stop_step ? PetscMin(options->stop_step, t->steps) : t->steps;
  if (shifts) PetscCall(cellstore_means(t->store, t->comm, &t->means));
  if (options->center == CENTER_SHIFT) PetscCall(fill_shifts(t));
  PetscCall(allocate(t));
  if (t->own_sets) PetscCall(prefetch_create(t->store, t->sets, options->set_size, options->sets, t->first_set, t->own_sets, t->state.step, &t->prefetch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainer_tear_down(Trainer *t)
{
  PetscFunctionBeginUser;
  if (t->prefetch) PetscCall(prefetch_destroy(&t->prefetch));
  if (t->sets) PetscCall(cellsets_destroy(&t->sets));
  if (t->denoiser) PetscCall(denoiser_destroy(&t->denoiser));
  if (t->objective) PetscCall(objective_destroy(&t->objective));
  if (t->schedule.beta) PetscCall(schedule_destroy(&t->schedule));
  PetscCall(PetscFree(t->gradients));
  PetscCall(PetscFree4(t->noisy, t->self_condition, t->estimate, t->d_estimate));
  PetscCall(PetscFree(t->center));
  PetscCall(PetscFree3(t->time, t->mse, t->energy));
  PetscCall(PetscFree(t->unseen));
  PetscCall(PetscFree(t->means));
  PetscCall(PetscFree(t->shift));
  PetscCall(PetscFree2(t->use, t->held));
  PetscCall(trainingstate_destroy(&t->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Losses since the last report, summed over ranks; done at reports and checkpoints alike, so that a resumed run adds in the same order. */
static PetscErrorCode sum_losses(Trainer *t)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->local, 2, MPI_DOUBLE, MPI_SUM, t->comm));
  for (int i = 0; i < 2; i++) {
    t->state.pending[i] += t->local[i];
    t->local[i] = 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  double   start, last_report; /* MPI_Wtime of the start of the loop and of the last report */
  double   checkpoint_seconds; /* the last write */
  double   wall_before;        /* of earlier starts */
  int64_t  last_step, saved;   /* step of the last report, of the newest checkpoint */
  Deadline deadline;
} Clock;

static PetscErrorCode report(Trainer *t, Clock *clock, TrainingResult *result)
{
  const double now = MPI_Wtime(), elapsed = now - clock->last_report;

  PetscFunctionBeginUser;
  PetscCall(sum_losses(t));
  result->mse = t->state.pending[0] / (double)t->state.pending_steps;
  result->energy = t->state.pending[1] / (double)t->state.pending_steps;
  result->loss = result->mse + t->options->energy_weight * result->energy;
  result->stall = t->stall;
  result->seconds = now - clock->start;
  t->state.pending[0] = t->state.pending[1] = 0;
  t->state.pending_steps = 0;
  PetscCall(record_step(t, result, (double)(t->state.step - clock->last_step) * t->options->sets * t->options->set_size / PetscMax(elapsed, 1e-9)));
  clock->last_report = now;
  clock->last_step = t->state.step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode save(Trainer *t, Clock *clock, const char *path)
{
  const double begin = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCall(sum_losses(t));
  t->state.wall_seconds = clock->wall_before + begin - clock->start;
  PetscCallMPI(MPI_Bcast(&t->state.wall_seconds, 1, MPI_DOUBLE, 0, t->comm));
  PetscCall(checkpoint_write(t->comm, path, &t->state));
  clock->checkpoint_seconds = MPI_Wtime() - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode save_step(Trainer *t, Clock *clock)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  if (clock->saved == t->state.step) PetscFunctionReturn(PETSC_SUCCESS);
  checkpoint_path(t->options->folder, t->state.step, path, sizeof path);
  PetscCall(save(t, clock, path));
  PetscCall(checkpoint_prune(t->comm, t->options->folder, t->options->checkpoint_keep));
  clock->saved = t->state.step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode validate(Trainer *t, Validation *validation, Clock *clock)
{
  const ValidationScore *scores;
  TrainingState         *state = &t->state;
  double                 objective;
  PetscInt               count, best;

  PetscFunctionBeginUser;
  PetscCall(stage_push("Validation"));
  PetscCall(validation_run(validation, &objective, &count, &scores, &best));
  PetscCall(PetscLogStagePop());
  state->strength = scores[best].strength;
  PetscCall(record_validation(t, objective, count, scores, best));
  if (t->options->validation.observe) PetscCall(t->options->validation.observe(t->options->validation.observe_context, state->step, count, scores));
  const PetscBool better = state->best_validation < 0 || scores[best].energy_distance < state->best_validation ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(log_line(t->comm, "  validation step %lld  objective %.5g  energy distance %.4g  pearson_delta %.3f  strength %g", (long long)state->step, objective,
                     scores[best].energy_distance, scores[best].pearson_delta, scores[best].strength));
  for (PetscInt i = 0; i < count && count > 1; i++)
    PetscCall(log_line(t->comm, "             strength %-5g energy distance %.4g  pearson_delta %.3f%s", scores[i].strength, scores[i].energy_distance,
                       scores[i].pearson_delta, i == best ? "  chosen" : ""));
  if (!better) PetscFunctionReturn(PETSC_SUCCESS);
  state->best_validation = scores[best].energy_distance;
  state->best_pearson = scores[best].pearson_delta;
  state->best_strength = scores[best].strength;
  state->best_step = state->step;
  if (!t->options->validation.best) PetscFunctionReturn(PETSC_SUCCESS);
  char path[PETSC_MAX_PATH_LEN];
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/best.h5", t->options->folder));
  PetscCall(save(t, clock, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool due(int64_t step, PetscInt64 interval, PetscInt64 last)
{
  return step == last || (interval > 0 && step % interval == 0) ? PETSC_TRUE : PETSC_FALSE;
}

/* Enough validations without a better one. */
static PetscBool out_of_patience(const Trainer *t)
{
  const ValidationOptions *options = &t->options->validation;

  return options->patience > 0 && options->interval > 0 && t->state.best_validation >= 0 &&
                 t->state.step - t->state.best_step >= options->patience * options->interval
             ? PETSC_TRUE
             : PETSC_FALSE;
}

static PetscErrorCode loop(Trainer *t, Validation *validation, Clock *clock, TrainingResult *result)
{
  const TrainingOptions *options = t->options;
  Progress               progress;
  const char            *reason = "";
  PetscBool              stop = PETSC_FALSE;
  char                   detail[64];

  PetscFunctionBeginUser;
  clock->deadline.last = MPI_Wtime(); /* what was before the loop is no step */
  PetscCall(progress_begin(t->comm, "train", (double)t->state.step, (double)t->last_step, &progress));
  while (t->state.step < t->last_step && !stop) {
    PetscCall(trainer_step(t));
    const int64_t step = t->state.step;
    if (due(step, options->report_interval, t->last_step)) {
      PetscCall(report(t, clock, result));
      PetscCall(PetscSNPrintf(detail, sizeof detail, "loss %.5g", result->loss));
      PetscCall(progress_update(&progress, (double)step, detail));
    }
    if (validation && due(step, options->validation.interval, t->last_step)) {
      PetscCall(validate(t, validation, clock));
      if (out_of_patience(t)) {
        PetscCall(log_line(t->comm, "  stop       no better validation since step %lld", (long long)t->state.best_step));
        break;
      }
    }
    if (due(step, options->checkpoint_interval, t->last_step)) PetscCall(save_step(t, clock));
    PetscCall(deadline_check(&clock->deadline, clock->checkpoint_seconds, &stop, &reason));
  }
  PetscCall(progress_end(&progress));
  PetscCall(save_step(t, clock));
  result->stopped = stop && t->state.step < t->last_step ? PETSC_TRUE : PETSC_FALSE;
  if (result->stopped) PetscCall(log_line(t->comm, "  stop       %s: checkpoint of step %lld written; go on with -resume", reason, (long long)t->state.step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The time limit counts from the start of the command, however many runs it makes and long its data take to read. */
static PetscErrorCode begin_deadline(const Trainer *t, Deadline *deadline)
{
  const char *limit = t->options->time_limit ? t->options->time_limit : "";

  PetscFunctionBeginUser;
  PetscCall(deadline_begin(t->comm, limit, deadline));
  if (*limit && deadline->end > 0 && t->options->started > 0) deadline->end -= deadline->last - t->options->started;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run(Trainer *t, TrainingResult *result)
{
  Validation *validation = NULL;
  PetscBool   resumed = PETSC_FALSE;
  Clock       clock = {0};

  PetscFunctionBeginUser;
  PetscCall(begin_deadline(t, &clock.deadline));
  PetscCall(trainer_set_up(t, &resumed));
  PetscCall(record_begin(t, resumed));
  PetscCall(validation_create(t, &validation));
  clock.start = clock.last_report = MPI_Wtime();
  clock.last_step = t->state.step;
  clock.saved = resumed ? t->state.step : -1;
  clock.wall_before = t->state.wall_seconds;
  PetscCall(stage_push("Training"));
  PetscErrorCode code = loop(t, validation, &clock, result);
  PetscCall(deadline_end(&clock.deadline));
  PetscCall(PetscLogStagePop());
  PetscCall(validation_destroy(&validation));
  result->step = t->state.step;
  result->best_step = t->state.best_step;
  result->best_validation = t->state.best_validation;
  result->pearson = t->state.best_pearson;
  result->strength = t->state.best_validation < 0 ? -1 : t->state.best_strength;
  result->seconds = MPI_Wtime() - clock.start;
  result->stall = t->stall;
  PetscCall(record_run(t, code ? "failed" : result->stopped ? "stopped" : "finished", result));
  PetscFunctionReturn(code ? code : result->stopped ? ERROR_STOPPED : PETSC_SUCCESS);
}

PetscErrorCode training_run(MPI_Comm comm, CellStore *store, const TrainingOptions *options, TrainingResult *result)
{
  Trainer t = {.comm = comm, .options = options, .store = store, .cells = cellstore_table(store)};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &t.rank));
  PetscCallMPI(MPI_Comm_size(comm, &t.ranks));
  PetscCall(PetscMemzero(result, sizeof *result));
  const PetscErrorCode code = run(&t, result);
  PetscCall(trainer_tear_down(&t));
  PetscFunctionReturn(code);
}
