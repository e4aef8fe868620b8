/* Before the first step and after the last: the grid, the state, memory. */
#include "training/training_internal.h"
#include <math.h>
#include <perturbdiff/runtime/gridchoice.h>

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
  PetscCall(trainingstate_create(shape, &t->shard, state));
  PetscCall(trainingstate_set_store(state, t->cells));
  /* Not straight into the parameters, which ranks of a node may share and parameters_start changes more than once: each rank puts its own pieces there. */
  Real *const start = t->shard.piece ? t->gradients : state->parameters;
  PetscCall(parameters_start(&state->table, options->seed, options->center == CENTER_NONE ? PETSC_FALSE : PETSC_TRUE, start));
  if (!t->shard.piece) PetscCall(PetscArraycpy(state->average, start, state->table.total));
  for (PetscInt i = 0; i < t->shard.count && t->shard.piece; i++) {
    const BucketPiece *piece = &t->shard.piece[i];

    PetscCall(PetscArraycpy(state->average + piece->place, start + piece->first, piece->count));
    PetscCall(PetscArraycpy(state->parameters + piece->first, start + piece->first, piece->count));
  }
  PetscCall(shards_gather_parameters(t));
  if (t->shard.piece) PetscCall(PetscArrayzero(t->gradients, state->table.total));
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

/* A new run, or the newest intact checkpoint: of each rank its shard, of the parameters too, which shards_gather then completes. */
static PetscErrorCode start_or_resume(Trainer *t, const DenoiserShape *shape, PetscBool *resumed)
{
  char     path[PETSC_MAX_PATH_LEN];
  PetscInt count;

  PetscFunctionBeginUser;
  PetscCall(count_checkpoints(t->comm, t->options, &count));
  *resumed = PETSC_FALSE;
  if (!count) {
    if (t->options->resume) PetscCall(log_line(t->comm, "  start      no checkpoint in %s yet: from the beginning", t->options->folder));
    PetscCall(start_state(t, shape));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(checkpoint_resume(t->comm, t->options->folder, &t->shard, path, sizeof path, &t->state));
  PetscCall(check_resumed(t, shape, path));
  PetscCheck(t->state.parameters, t->comm, PETSC_ERR_PLIB, "%s: a network of other sizes", path);
  PetscCall(shards_gather_parameters(t));
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
  const PetscInt         genes = t->cells->gene.count;
  const size_t           n = (size_t)t->max_sets * (size_t)t->own_cells * (size_t)genes;

  PetscFunctionBeginUser;
  if (t->grid.parts > 1) PetscCallMPI(cellexchange_create(t->grid.cells, options->set_size, t->max_sets, exchange_width(&t->state.table.shape), &t->exchange));
  t->plan = (DenoiserPlan){
      .max_sets = t->max_sets, .set_size = options->set_size, .exchange = t->exchange, .with_gradient = PETSC_TRUE, .recompute = options->recompute};
  PetscCall(denoiser_create(&t->state.table, &t->plan, &t->denoiser));
  PetscCall(objective_create(options->set_size, genes, options->energy_weight, t->exchange, &t->objective));
  PetscCall(PetscMalloc4(n, &t->noisy, n, &t->self_condition, n, &t->estimate, n, &t->d_estimate));
  if (options->center != CENTER_NONE) PetscCall(PetscMalloc1(n, &t->center));
  PetscCall(PetscMalloc3(t->max_sets, &t->time, t->max_sets, &t->mse, t->max_sets, &t->energy));
  PetscCall(PetscCalloc1(t->max_sets, &t->unseen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D x C: how many ranks share a set, and which sets and cells are this rank's. */
static PetscErrorCode choose_grid(Trainer *t, const MemoryQuestion *memory)
{
  const TrainingOptions *options = t->options;
  const GridQuestion     question = {.ranks = t->ranks,
                                     .sets = options->sets,
                                     .set_size = options->set_size,
                                     .bytes = memory_with_parts,
                                     .context = (void *)(uintptr_t)memory,
                                     .memory_limit = options->memory_limit,
                                     .wanted = options->grid_cells};
  char                   reason[128];
  long long              first, count;
  int                    parts;

  PetscFunctionBeginUser;
  PetscCall(grid_choose(&question, &parts, reason, sizeof reason));
  if (parts > options->set_size)
    PetscFunctionReturn(error_user("-grid_cells %d: a set has %d cells (-set_size); give at most that", parts, (int)options->set_size));
  PetscCallMPI(grid_create(t->comm, parts, &t->grid));
  PetscCall(log_line(t->comm, "  grid       %d x %d: %s", t->grid.groups, parts, reason));
  share_of(options->sets, t->grid.group, t->grid.groups, &first, &count);
  t->first_set = (PetscInt)first;
  t->own_sets = (PetscInt)count;
  t->max_sets = (options->sets + t->grid.groups - 1) / t->grid.groups;
  share_of(options->set_size, t->grid.part, parts, &first, &count);
  t->first_cell = (PetscInt)first;
  t->own_cells = (PetscInt)count;
  if (options->sets < t->grid.groups)
    PetscCall(log_line(t->comm, "  ranks      %d of %d have no set and wait; -sets %d or more keeps all busy", (t->grid.groups - (int)options->sets) * parts, t->ranks,
                       t->grid.groups));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainer_set_up(Trainer *t, PetscBool *resumed)
{
  const TrainingOptions *options = t->options;
  const DenoiserShape    shape = shape_of(t->cells, options);
  MemoryQuestion         memory = {.options = options, .cells = t->cells, .shape = &shape, .ranks = t->ranks, .cache = cellstore_cache_bytes(t->store)};

  PetscFunctionBeginUser;
  if (options->hidden * 2 % options->heads)
    PetscFunctionReturn(
        error_user("-heads %d does not divide twice -hidden %d; attention needs heads of equal width", (int)options->heads, (int)options->hidden));
  PetscCall(register_events(t));
  PetscCallMPI(buckets_sharing(t->comm, &memory.sharing));
  PetscCall(PetscMalloc2(t->cells->populations, &t->use, t->cells->populations, &t->held));
  PetscCall(choose_populations(t->comm, t->cells, &options->validation, options->controls, options->seed, t->use, t->held));
  memory.held = t->held;
  PetscCall(choose_grid(t, &memory));
  PetscCall(memory_plan(t->comm, &memory, t->grid.parts));
  PetscCall(shards_create(t, &shape));
  PetscCall(start_or_resume(t, &shape, resumed));
  if (options->options_yaml) PetscCall(PetscStrallocpy(options->options_yaml, &t->state.options_yaml));
  PetscCall(schedule_create(options->schedule, options->schedule_steps, options->schedule_gamma, &t->schedule));
  PetscCall(cellsets_create(t->cells, t->use, options->set_size, options->seed, &t->sets));
  t->steps = options->steps ? options->steps : (PetscInt64)ceil(options->epochs * (double)cellsets_per_epoch(t->sets) / options->sets);
  t->last_step = options->stop_step ? PetscMin(options->stop_step, t->steps) : t->steps;
  if (options->center == CENTER_SHIFT || memory_largest_held(&memory)) PetscCall(cellstore_means(t->store, t->comm, &t->means));
  if (options->center == CENTER_SHIFT) PetscCall(fill_shifts(t));
  PetscCall(allocate(t));
  PetscCall(shards_hooks(t));
  if (t->own_sets) {
    const PrefetchShare share = {options->sets, t->first_set, t->own_sets, t->first_cell, t->own_cells};
    PetscCall(prefetch_create(t->store, t->sets, options->set_size, &share, t->state.step, &t->prefetch));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainer_tear_down(Trainer *t)
{
  PetscFunctionBeginUser;
  PetscCall(checkpoint_abandon(&t->saving)); /* after an error */
  if (t->prefetch) PetscCall(prefetch_destroy(&t->prefetch));
  if (t->sets) PetscCall(cellsets_destroy(&t->sets));
  if (t->denoiser) PetscCall(denoiser_destroy(&t->denoiser));
  if (t->objective) PetscCall(objective_destroy(&t->objective));
  if (t->schedule.beta) PetscCall(schedule_destroy(&t->schedule));
  PetscCall(shards_destroy(t));
  PetscCallMPI(cellexchange_destroy(&t->exchange));
  PetscCall(PetscFree4(t->noisy, t->self_condition, t->estimate, t->d_estimate));
  PetscCall(PetscFree(t->center));
  PetscCall(PetscFree3(t->time, t->mse, t->energy));
  PetscCall(PetscFree(t->unseen));
  PetscCall(PetscFree(t->means));
  PetscCall(PetscFree(t->shift));
  PetscCall(PetscFree2(t->use, t->held));
  PetscCall(trainingstate_destroy(&t->state));
  if (t->grid.ranks) PetscCallMPI(grid_destroy(&t->grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}
