/* The loop: set up or resume, steps, reports, validation, checkpoints, a clean stop. */
#include "training/training_internal.h"

static PetscErrorCode stage_push(const char *name)
{
  PetscLogStage stage;

  PetscFunctionBeginUser;
  PetscCall(PetscLogStageGetId(name, &stage));
  if (stage < 0) PetscCall(PetscLogStageRegister(name, &stage));
  PetscCall(PetscLogStagePush(stage));
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
  double   wall_before;        /* of earlier starts */
  int64_t  last_step, saved;   /* step of the last report, of the newest checkpoint */
  Deadline deadline;
} Clock;

/* What waiting took so far, means over the ranks. */
static PetscErrorCode measure_waiting(Trainer *t, TrainingResult *result)
{
  const ExchangeTimes none = {0}, parts[] = {t->buckets ? buckets_times(t->buckets) : none, t->exchange ? cellexchange_times(t->exchange) : none};
  ExchangeTimes      *sum = &t->communication;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    sum->under_way += parts[i].under_way;
    sum->waited += parts[i].waited;
    sum->driving += parts[i].driving;
    sum->bytes += parts[i].bytes;
  }
  double mean[] = {t->stall, sum->under_way, sum->waited};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, mean, 3, MPI_DOUBLE, MPI_SUM, t->comm));
  result->stall = mean[0] / t->ranks;
  result->communication = mean[1] / t->ranks;
  result->waited = mean[2] / t->ranks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "overlap 97 %  stall 0.2 %": communication hidden behind work, share of the time in which a step waited for cells. */
static void waiting_text(const TrainingResult *result, char *text, size_t size)
{
  int length = 0;

  if (result->communication > 0) length = snprintf(text, size, "overlap %.0f %%  ", 100 * (1 - result->waited / result->communication));
  snprintf(text + length, size - (size_t)length, "stall %.1f %%", 100 * result->stall / PetscMax(result->seconds, 1e-9));
}

static PetscErrorCode report(Trainer *t, Clock *clock, TrainingResult *result)
{
  const double now = MPI_Wtime(), elapsed = now - clock->last_report;

  PetscFunctionBeginUser;
  PetscCall(sum_losses(t));
  PetscCall(measure_waiting(t, result));
  result->mse = t->state.pending[0] / (double)t->state.pending_steps;
  result->energy = t->state.pending[1] / (double)t->state.pending_steps;
  result->loss = result->mse + t->options->energy_weight * result->energy;
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
  PetscFunctionBeginUser;
  PetscCall(saving_end(t));
  PetscCall(shards_wait(t));
  PetscCall(sum_losses(t));
  t->state.wall_seconds = clock->wall_before + MPI_Wtime() - clock->start;
  PetscCallMPI(MPI_Bcast(&t->state.wall_seconds, 1, MPI_DOUBLE, 0, t->comm));
  PetscCall(saving_begin(t, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode save_step(Trainer *t, Clock *clock)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  if (clock->saved == t->state.step) PetscFunctionReturn(PETSC_SUCCESS);
  checkpoint_path(t->options->folder, t->state.step, path, sizeof path);
  PetscCall(save(t, clock, path));
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
  char                   detail[128], waiting[64];

  PetscFunctionBeginUser;
  clock->deadline.last = MPI_Wtime(); /* what was before the loop is no step */
  PetscCall(progress_begin(t->comm, "train", (double)t->state.step, (double)t->last_step, &progress));
  while (t->state.step < t->last_step && !stop) {
    PetscCall(trainer_step(t));
    const int64_t step = t->state.step;
    if (due(step, options->report_interval, t->last_step)) {
      PetscCall(report(t, clock, result));
      waiting_text(result, waiting, sizeof waiting);
      PetscCall(PetscSNPrintf(detail, sizeof detail, "loss %.5g  %s", result->loss, waiting));
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
    PetscCall(deadline_check(&clock->deadline, t->saves.last, &stop, &reason));
  }
  PetscCall(progress_end(&progress));
  PetscCall(save_step(t, clock));
  PetscCall(saving_end(t));
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
  result->checkpoints = t->saves.count;
  result->checkpoint_seconds = t->saves.seconds;
  result->checkpoint_hidden = t->saves.hidden;
  PetscCall(measure_waiting(t, result));
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
