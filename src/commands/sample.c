/* sample: generate the populations of chosen conditions with a trained network. */
#include "commands/commands.h"
#include "config.h"
#include "revision.h"
#include <perturbdiff/data.h>
#include <perturbdiff/sampling.h>
#include <perturbdiff/training.h>
#include <string.h>

static const OptionSpec sample_options[] = {
    {"checkpoint", VALUE_PATH, NULL, 0, 0, "", "Checkpoint, or folder of a run (then its best one, or the newest)"},
    {"data", VALUE_PATH, NULL, 0, 0, "", "Cell store made by prepare; control cells are drawn from it"},
    {"out", VALUE_PATH, NULL, 0, 0, "", "AnnData file to write (log1p values)"},
    {"split", VALUE_CHOICE, "test", 0, 0, "train|validation|test", "Generate the populations of this split"},
    {"conditions", VALUE_PATH, "", 0, 0, "", "Generate the rows of this CSV instead: columns perturbation,cell_type,batch[,cells]"},
    {"cells_per_condition", VALUE_INTEGER, "0", 0, 1e8, "cells", "Cells of a condition; 0: as many as the real population has, 256 where there is none"},
    {"draws", VALUE_INTEGER, "1", 1, 1e6, "", "Times each population is generated; more than 1 adds a column draw"},
    {"with_controls", VALUE_SWITCH, "true", 0, 0, "", "Add the real control cells of the conditions to the file"},
    {"weights", VALUE_CHOICE, "average", 0, 0, "average|last", "The moving average of the weights, or the last ones"},
    {"ts_type", VALUE_CHOICE, "ddim", 0, 0, "ddim|ddpm|rk",
     "Stepper: ddim and ddpm of the public code, rk for the probability-flow ODE (-ts_rk_type, -ts_rtol)"},
    {"sample_steps", VALUE_INTEGER, "5", 0, 1e6, "steps", "Reverse steps, evenly spaced from start_step to 0; 0: every step"},
    {"start_step", VALUE_INTEGER, "-1", -1, 1e6, "step", "Diffusion step at which pure noise is taken; -1: the noisiest"},
    {"guidance", VALUE_NUMBER, "0", 0, 100, "", "Classifier-free guidance w; 0 saves half of the work"},
    {"eta", VALUE_NUMBER, "0", 0, 1, "", "Noise of ddim: 0 deterministic, 1 ancestral"},
    {"noise_weight", VALUE_NUMBER, "0.5", 0, 10, "", "Noise of ddpm is scaled by exp(noise_weight * log variance)"},
    {"cut", VALUE_NUMBER, "1e-4", 0, 1, "", "Clean values below it become 0 at every step (log1p divided by the value scale)"},
    {"whole_counts", VALUE_SWITCH, "false", 0, 0, "",
     "Values below one count of the paired control cell become one count or 0 at random, with the same mean: as many zeros as cells have"},
    {"sample_batch", VALUE_INTEGER, "0", 0, 65536, "sets", "Cell sets in one pass of the network; 0: about 1,000 cells"},
    {"grid_cells", VALUE_INTEGER, "0", 0, 1e6, "ranks", "Ranks that share the cells of each set; 0: one, more if a set does not fit or there are more ranks than sets"},
    {"seed", VALUE_INTEGER, "0", 0, 9e15, "", "Seed; a cell's numbers depend on it, its condition, number and draw only"},
    {"time_limit", VALUE_STRING, "", 0, 0, "HH:MM:SS", "Stop cleanly before this, without a file; default: what Slurm says"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const sample_groups[] = {sample_options, options_common, NULL};

enum { COLUMN_PERTURBATION, COLUMN_CELL_TYPE, COLUMN_BATCH, COLUMN_DRAW, MOST_COLUMNS };

typedef struct {
  const Options        *options;
  MPI_Comm              comm;
  int                   rank, ranks;
  ProcessGrid           grid;
  const char           *out;
  char                  checkpoint[PETSC_MAX_PATH_LEN];
  TrainingState         state;
  CellStore            *store;
  const CellStoreTable *table;
  NoiseSchedule         schedule;
  ConditionList         conditions;
  double               *shift; /* (conditions, genes) of a head centred on the shift */
  SampleModel           model;
  SampleSettings        settings;
  PetscInt             *step;
  Generator            *generator;
  Deadline              deadline;
  AnnWriter            *writer;
  /* A round's rows. */
  PetscInt   columns, kind[MOST_COLUMNS];
  PetscInt64 capacity, rows;
  int32_t   *code[MOST_COLUMNS];
  char     **name;
} Sample;

static PetscErrorCode open_inputs(Sample *sample)
{
  const char *checkpoint, *data;
  PetscInt    weights;
  LogStage    stage;

  PetscFunctionBeginUser;
  PetscCall(options_string(sample->options, "checkpoint", &checkpoint));
  PetscCall(options_string(sample->options, "data", &data));
  PetscCall(options_choice(sample->options, "weights", &weights));
  PetscCall(log_stage_begin(sample->comm, "open", &stage));
  PetscCall(checkpoint_newest(sample->comm, checkpoint, PETSC_TRUE, sample->checkpoint, sizeof sample->checkpoint));
  PetscCall(checkpoint_read(sample->comm, sample->checkpoint, PETSC_FALSE, &sample->state));
  PetscCall(cellstore_open(sample->comm, data, &sample->store));
  sample->table = cellstore_table(sample->store);
  const TrainingState  *state = &sample->state;
  const CellStoreTable *table = sample->table;
  PetscCall(trainingstate_check_store(state, table, sample->checkpoint, data, PETSC_FALSE));
  if (state->store_checksum != table->checksum)
    PetscCall(log_line(sample->comm, "note: %s is not the store the model was trained on, but its genes and names are the same", data));
  PetscCall(schedule_create(state->schedule, state->schedule_steps, state->schedule_gamma, &sample->schedule));
  sample->model = (SampleModel){.table = &state->table,
                                .parameters = weights == 0 ? state->average : state->parameters,
                                .schedule = &sample->schedule,
                                .set_size = state->set_size,
                                .center = state->center,
                                .sees_cell_type = state->sees_cell_type ? PETSC_TRUE : PETSC_FALSE,
                                .sees_batch = state->sees_batch ? PETSC_TRUE : PETSC_FALSE,
                                .strength = state->strength,
                                .value_scale = table->value_scale};
  PetscCall(
      log_stage_end(&stage, "%s at step %lld, %d genes, sets of %d", sample->checkpoint, (long long)state->step, (int)table->gene.count, (int)state->set_size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_conditions(Sample *sample)
{
  enum { CELLS_OF_UNKNOWN = 256 };
  const char *path;
  PetscInt    split;
  PetscInt64  cells;

  PetscFunctionBeginUser;
  PetscCall(options_string(sample->options, "conditions", &path));
  PetscCall(options_choice(sample->options, "split", &split));
  PetscCall(options_integer(sample->options, "cells_per_condition", &cells));
  if (*path)
    PetscCall(conditions_read(sample->comm, path, sample->table, cells, CELLS_OF_UNKNOWN, &sample->conditions));
  else
    PetscCall(conditions_of_split(sample->table, (Split)split, cells, &sample->conditions));
  if (sample->state.center != CENTER_SHIFT) PetscFunctionReturn(PETSC_SUCCESS);
  const PetscInt genes = sample->table->gene.count;
  double        *means;
  PetscCall(cellstore_means(sample->store, sample->comm, &means));
  PetscCall(PetscMalloc1((size_t)sample->conditions.count * (size_t)genes, &sample->shift));
  for (PetscInt c = 0; c < sample->conditions.count; c++) {
    Condition *condition = &sample->conditions.item[c];
    double    *shift = sample->shift + (size_t)c * (size_t)genes;
    PetscInt   count;
    PetscCall(center_shift(sample->table, means, NULL, condition->perturbation, condition->cell_type, condition->batch, shift, &count));
    condition->shift = shift;
  }
  PetscCall(PetscFree(means));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_steps(Sample *sample)
{
  SampleSettings *settings = &sample->settings;
  PetscInt64      steps, start, seed, draws;

  PetscFunctionBeginUser;
  PetscCall(options_string(sample->options, "ts_type", &settings->type));
  PetscCall(options_integer(sample->options, "sample_steps", &steps));
  PetscCall(options_integer(sample->options, "start_step", &start));
  PetscCall(options_integer(sample->options, "seed", &seed));
  PetscCall(options_integer(sample->options, "draws", &draws));
  PetscCall(options_number(sample->options, "eta", &settings->eta));
  PetscCall(options_number(sample->options, "noise_weight", &settings->noise_weight));
  PetscCall(options_number(sample->options, "guidance", &settings->guidance));
  PetscCall(options_number(sample->options, "cut", &settings->cut));
  PetscCall(options_switch(sample->options, "whole_counts", &settings->whole_counts));
  settings->seed = (uint64_t)seed;
  settings->draws = (PetscInt)draws;
  if (start < 0) start = sample->schedule.steps - 1;
  if (start >= sample->schedule.steps)
    return error_user("-start_step %lld: the model's noise schedule has the steps 0 to %d", (long long)start, (int)sample->schedule.steps - 1);
  if (steps == 0) steps = start + 1;
  if (steps > start + 1)
    return error_user("-sample_steps %lld: there are only %lld steps from -start_step %lld down", (long long)steps, (long long)start + 1, (long long)start);
  if (sample->state.table.shape.perturbations < 1) return error_user("%s: the model knows no perturbations", sample->checkpoint);
  PetscCall(PetscMalloc1(steps, &sample->step));
  reverse_steps((PetscInt)start, (PetscInt)steps, sample->step);
  settings->steps = (PetscInt)steps;
  settings->step = sample->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode dense_controls(void *context, PetscInt64 count, const PetscInt64 *cells, Real *dense)
{
  const Sample *sample = context;

  PetscFunctionBeginUser;
  PetscCall(cellstore_dense(sample->store, count, cells, 1 / sample->table->value_scale, dense, sample->table->gene.count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a rank takes to generate one set at once with so many ranks a set. */
static double bytes_of_parts(void *context, int parts)
{
  const Sample  *sample = context;
  SampleSettings settings = sample->settings;

  settings.sets_at_once = 1;
  settings.parts = parts;
  return (double)generator_bytes(&sample->model, &settings);
}

/* The process grid, and how many sets at once: about 1,024 cells a rank, as many as there are and as fit. */
static PetscErrorCode choose_grid(Sample *sample, PetscInt64 sets)
{
  SampleSettings *settings = &sample->settings;
  GridQuestion    question = {.ranks = sample->ranks, .sets = sets, .set_size = sample->state.set_size, .bytes = bytes_of_parts, .context = sample};
  PetscInt64      batch;
  char            reason[128];
  int             parts;

  PetscFunctionBeginUser;
  PetscCall(options_integer(sample->options, "grid_cells", &question.wanted));
  PetscCall(memory_share(sample->comm, &question.memory_limit));
  PetscCall(grid_choose(&question, &parts, reason, sizeof reason));
  PetscCallMPI(grid_create(sample->comm, parts, &sample->grid));
  settings->parts = parts;
  settings->cells = sample->grid.cells;
  PetscCall(options_integer(sample->options, "sample_batch", &batch));
  const PetscBool free_choice = !batch ? PETSC_TRUE : PETSC_FALSE;
  if (free_choice) batch = PetscMax(1, 1024 * parts / sample->state.set_size);
  settings->sets_at_once = (PetscInt)PetscMin(batch, (sets + sample->grid.groups - 1) / sample->grid.groups);
  while (free_choice && settings->sets_at_once > 1 && question.memory_limit > 0 && (double)generator_bytes(&sample->model, settings) > question.memory_limit)
    settings->sets_at_once--;
  PetscCall(log_line(sample->comm, "             grid %d x %d: %d rank%s a set (%s)", sample->grid.groups, parts, parts, parts > 1 ? "s" : "", reason));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode make_generator(Sample *sample)
{
  const PetscInt64 set_size = sample->state.set_size;
  PetscInt64       sets = 0;
  char             bytes[32], steps[32];

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < sample->conditions.count; c++) sets += sample->settings.draws * ((sample->conditions.item[c].cells + set_size - 1) / set_size);
  PetscCall(choose_grid(sample, sets));
  format_bytes((double)generator_bytes(&sample->model, &sample->settings), bytes, sizeof bytes);
  PetscCall(generator_create(&sample->model, &sample->settings, &sample->conditions, dense_controls, sample, &sample->generator));
  if (!strcmp(sample->settings.type, "rk"))
    snprintf(steps, sizeof steps, "adaptive steps");
  else
    snprintf(steps, sizeof steps, "%d steps", (int)sample->settings.steps);
  PetscCall(log_line(sample->comm, "             %d conditions, %lld sets of %d cells: %s in %s from step %d, guidance %g, %d sets at once, %s a rank",
                     (int)sample->conditions.count, (long long)sets, (int)set_size, sample->settings.type, steps, (int)sample->step[0],
                     sample->settings.guidance, (int)sample->settings.sets_at_once, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode declare_column(Sample *sample, PetscInt kind, const char *name, PetscInt levels, char **level)
{
  PetscFunctionBeginUser;
  if (!*name) PetscFunctionReturn(PETSC_SUCCESS); /* the input had no such column */
  PetscCall(anndata_declare_column(sample->writer, name, levels, (const char *const *)level));
  sample->kind[sample->columns++] = kind;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Start the file, so that a path that cannot be written is known before the work. */
static PetscErrorCode start_file(Sample *sample)
{
  const CellStoreTable *table = sample->table;
  char                **draw;

  PetscFunctionBeginUser;
  PetscCall(options_string(sample->options, "out", &sample->out));
  PetscCall(anndata_create(sample->comm, sample->out, table->gene.count, (const char *const *)table->gene.name, &sample->writer));
  PetscCall(declare_column(sample, COLUMN_PERTURBATION, table->perturbation_column, table->perturbation.count, table->perturbation.name));
  PetscCall(declare_column(sample, COLUMN_CELL_TYPE, table->cell_type_column, table->cell_type.count, table->cell_type.name));
  PetscCall(declare_column(sample, COLUMN_BATCH, table->batch_column, table->batch.count, table->batch.name));
  if (sample->settings.draws > 1) {
    PetscCall(PetscMalloc1(sample->settings.draws, &draw));
    for (PetscInt d = 0; d < sample->settings.draws; d++) {
      PetscCall(PetscMalloc1(16, &draw[d]));
      snprintf(draw[d], 16, "%d", (int)d + 1);
    }
    PetscCall(declare_column(sample, COLUMN_DRAW, "draw", sample->settings.draws, draw));
    PetscCall(strings_free(sample->settings.draws, &draw));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode reserve_rows(Sample *sample, PetscInt64 capacity)
{
  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < MOST_COLUMNS; c++) {
    PetscCall(PetscFree(sample->code[c]));
    PetscCall(PetscMalloc1(capacity, &sample->code[c]));
  }
  PetscCall(PetscFree(sample->name));
  PetscCall(PetscCalloc1(capacity, &sample->name));
  sample->capacity = capacity;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Append the rows in hand. Collective. */
static PetscErrorCode write_rows(Sample *sample, SparseRows *rows)
{
  const int32_t *codes[MOST_COLUMNS];

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < sample->columns; c++) codes[c] = sample->code[sample->kind[c]];
  PetscCall(anndata_append(sample->writer, rows, codes, (const char *const *)sample->name));
  PetscCall(sparserows_free(rows));
  for (PetscInt64 i = 0; i < sample->rows; i++) PetscCall(PetscFree(sample->name[i]));
  sample->rows = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Name and columns of one more row. */
static void add_row(Sample *sample, char *name, PetscInt perturbation, PetscInt cell_type, PetscInt batch, PetscInt draw)
{
  const PetscInt64 row = sample->rows++;

  sample->name[row] = name;
  sample->code[COLUMN_PERTURBATION][row] = (int32_t)perturbation;
  sample->code[COLUMN_CELL_TYPE][row] = (int32_t)cell_type;
  sample->code[COLUMN_BATCH][row] = (int32_t)batch;
  sample->code[COLUMN_DRAW][row] = (int32_t)draw;
}

/* Rows of generated sets first..first+count-1: named, scaled to log1p values. */
static PetscErrorCode name_rows(Sample *sample, PetscInt first, PetscInt count, const GeneratedSet *sets, const double *cells, double *dense, SparseRows *rows)
{
  const CellStoreTable *table = sample->table;
  const size_t          genes = (size_t)table->gene.count, set_values = genes * (size_t)generator_cells(sample->generator);
  char                  name[1024];

  PetscFunctionBeginUser;
  for (PetscInt b = first; b < first + count; b++) {
    const Condition *condition = &sample->conditions.item[sets[b].condition];
    for (PetscInt s = 0; s < sets[b].cells; s++) {
      const double *cell = cells + (size_t)b * set_values + (size_t)s * genes;
      double       *row = dense + (size_t)sample->rows * genes;
      char         *copy;

      for (size_t g = 0; g < genes; g++) row[g] = cell[g] * table->value_scale;
      const int length = snprintf(name, sizeof name, "%s|%s|%s:%lld", table->perturbation.name[condition->perturbation],
                                  table->cell_type.name[condition->cell_type], table->batch.name[condition->batch], (long long)(sets[b].first_cell + s + 1));
      if (sample->settings.draws > 1 && length < (int)sizeof name) snprintf(name + length, sizeof name - (size_t)length, ":%d", (int)sets[b].draw + 1);
      PetscCall(PetscStrallocpy(name, &copy));
      add_row(sample, copy, condition->perturbation, condition->cell_type, condition->batch, sets[b].draw);
    }
  }
  PetscCall(sparserows_from_dense(sample->rows, (PetscInt64)genes, dense, 0, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next `now` sets from `done` on, and their rows into the file in the order of conditions on any grid. Whole sets: each rank a block of them, written at once.
   Split sets: dealt to the groups in turn, and written one of each group at a time, for the ranks of a group have a set's rows in order. Collective. */
static PetscErrorCode generate_round(Sample *sample, PetscInt64 done, PetscInt64 now, GeneratedSet *sets, double *dense)
{
  const ProcessGrid *grid = &sample->grid;
  const PetscBool    split = grid->parts > 1 ? PETSC_TRUE : PETSC_FALSE;
  const double      *cells = NULL;
  long long          block, count;
  PetscInt           writes = 1;

  PetscFunctionBeginUser;
  share_of(now, grid->group, grid->groups, &block, &count);
  if (split) writes = (PetscInt)((now + grid->groups - 1) / grid->groups);
  if (count)
    PetscCallAgree(sample->comm, generator_run(sample->generator, done + (split ? grid->group : block), split ? grid->groups : 1, (PetscInt)count, sets, &cells));
  else
    PetscCallAgree(sample->comm, PETSC_SUCCESS);
  for (PetscInt w = 0; w < writes; w++) {
    const PetscInt here = split ? w < count : (PetscInt)count;
    SparseRows     rows = {0};

    PetscCallAgree(sample->comm, name_rows(sample, w, here, sets, cells, dense, &rows));
    PetscCall(write_rows(sample, &rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rounds in which each group takes its share of the next sets. Every set costs the same. */
static PetscErrorCode generate_all(Sample *sample)
{
  const PetscInt64 total = generator_sets(sample->generator), round = (PetscInt64)sample->settings.sets_at_once * sample->grid.groups;
  const PetscInt64 most = (PetscInt64)sample->settings.sets_at_once * generator_cells(sample->generator);
  GeneratedSet    *sets;
  double          *dense;
  Progress         progress;
  PetscBool        stop = PETSC_FALSE;
  const char      *reason;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(sample->settings.sets_at_once, &sets, (size_t)most * (size_t)sample->table->gene.count, &dense));
  PetscCall(reserve_rows(sample, most));
  PetscCall(progress_begin(sample->comm, "sample", 0, (double)total, &progress));
  for (PetscInt64 done = 0; done < total && !stop; done += round) {
    const PetscInt64 now = PetscMin(round, total - done);

    PetscCall(generate_round(sample, done, now, sets, dense));
    PetscCall(progress_update(&progress, (double)(done + now), NULL));
    PetscCall(deadline_check(&sample->deadline, 0, &stop, &reason));
    stop = (PetscBool)(stop && done + now < total);
  }
  PetscCall(progress_end(&progress));
  PetscCall(PetscFree2(sets, dense));
  if (!stop) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(log_line(sample->comm, "stopped (%s) with nothing written; give more time, more ranks or fewer -draws", reason));
  return ERROR_STOPPED;
}

/* Rows of control cells [first, first + count) of those listed. */
static PetscErrorCode copy_controls(Sample *sample, const PetscInt64 *listed, const PetscInt *population, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  const CellStoreTable *table = sample->table;
  size_t                capacity = (size_t)count * 64 + (size_t)table->gene.count;
  PetscInt              entries;

  PetscFunctionBeginUser;
  rows->rows = count;
  rows->columns = table->gene.count;
  PetscCall(PetscMalloc1(count + 1, &rows->offset));
  PetscCall(PetscMalloc1(capacity, &rows->column));
  PetscCall(PetscMalloc1(capacity, &rows->value));
  rows->offset[0] = 0;
  for (PetscInt64 i = 0; i < count; i++) {
    const Population *p = &table->population[population[first + i]];
    char             *name;

    if ((size_t)rows->offset[i] + (size_t)table->gene.count > capacity) {
      capacity = 2 * capacity;
      PetscCall(PetscRealloc(capacity * sizeof *rows->column, &rows->column));
      PetscCall(PetscRealloc(capacity * sizeof *rows->value, &rows->value));
    }
    PetscCall(cellstore_row(sample->store, listed[first + i], &entries, rows->column + rows->offset[i], rows->value + rows->offset[i]));
    rows->offset[i + 1] = rows->offset[i] + entries;
    PetscCall(cellstore_name(sample->store, listed[first + i], &name));
    add_row(sample, name, p->perturbation, p->cell_type, p->batch, -1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The control populations of the conditions, each once. */
static PetscErrorCode write_controls(Sample *sample)
{
  enum { ROWS = 1024 }; /* of a rank in a round */
  const CellStoreTable *table = sample->table;
  PetscInt64            total = 0, *listed;
  PetscInt             *population;
  unsigned char        *wanted;
  LogStage              stage;

  PetscFunctionBeginUser;
  PetscCall(log_stage_begin(sample->comm, "controls", &stage));
  PetscCall(PetscCalloc1(table->populations, &wanted));
  for (PetscInt c = 0; c < sample->conditions.count; c++) wanted[sample->conditions.item[c].control] = 1;
  for (PetscInt k = 0; k < table->populations; k++) total += wanted[k] ? table->population[k].cells : 0;
  PetscCall(PetscMalloc2(total, &listed, total, &population));
  total = 0;
  for (PetscInt k = 0; k < table->populations; k++)
    for (PetscInt64 i = 0; wanted[k] && i < table->population[k].cells; i++, total++) {
      listed[total] = table->population[k].first_cell + i;
      population[total] = k;
    }
  PetscCall(reserve_rows(sample, ROWS));
  for (PetscInt64 done = 0; done < total; done += (PetscInt64)ROWS * sample->ranks) {
    const PetscInt64 now = PetscMin((PetscInt64)ROWS * sample->ranks, total - done), first = now * sample->rank / sample->ranks,
                     end = now * (sample->rank + 1) / sample->ranks;
    SparseRows rows = {0};

    PetscCallAgree(sample->comm, copy_controls(sample, listed, population, done + first, end - first, &rows));
    PetscCall(write_rows(sample, &rows));
  }
  PetscCall(PetscFree2(listed, population));
  PetscCall(PetscFree(wanted));
  PetscCall(log_stage_end(&stage, "%lld control cells added", (long long)total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How the file was made. */
static PetscErrorCode write_origin(Sample *sample)
{
  char *yaml;

  PetscFunctionBeginUser;
  PetscCall(options_yaml(sample->options, &yaml));
  PetscCall(anndata_write_text(sample->writer, "uns/perturbdiff/program", "perturbdiff " PACKAGE_VERSION " " GIT_REVISION));
  PetscCall(anndata_write_text(sample->writer, "uns/perturbdiff/command", command_line()));
  PetscCall(anndata_write_text(sample->writer, "uns/perturbdiff/checkpoint", sample->checkpoint));
  PetscCall(anndata_write_text(sample->writer, "uns/perturbdiff/store", cellstore_path(sample->store)));
  PetscCall(anndata_write_text(sample->writer, "uns/perturbdiff/options", yaml));
  PetscCall(anndata_write_array(sample->writer, "uns/perturbdiff/library_size", 1, 0, &sample->table->library_size));
  if (sample->table->library_size > 0) PetscCall(anndata_mark_log1p(sample->writer));
  PetscCall(PetscFree(yaml));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The command that scores the file against the store's cells, baselines included. */
static PetscErrorCode say_next(const Sample *sample)
{
  PetscFunctionBeginUser;
  PetscCall(log_line(sample->comm, "next: perturbdiff evaluate -real %s -predicted model=%s -out scores", cellstore_path(sample->store), sample->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode sample_all(Sample *sample)
{
  PetscBool with_controls;
  LogStage  stage;

  PetscFunctionBeginUser;
  PetscCall(open_inputs(sample));
  PetscCall(choose_conditions(sample));
  PetscCall(choose_steps(sample));
  PetscCall(start_file(sample));
  PetscCall(make_generator(sample));
  PetscCall(generate_all(sample));
  PetscCall(options_switch(sample->options, "with_controls", &with_controls));
  if (with_controls) PetscCall(write_controls(sample));
  PetscCall(log_stage_begin(sample->comm, "write", &stage));
  PetscCall(write_origin(sample));
  PetscCall(anndata_commit(&sample->writer));
  PetscCall(log_stage_end(&stage, "%s", sample->out));
  PetscCall(say_next(sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode sample_free(Sample *sample)
{
  PetscFunctionBeginUser;
  PetscCall(anndata_discard(&sample->writer));
  PetscCall(generator_destroy(&sample->generator));
  if (sample->grid.ranks) PetscCallMPI(grid_destroy(&sample->grid));
  for (PetscInt c = 0; c < MOST_COLUMNS; c++) PetscCall(PetscFree(sample->code[c]));
  PetscCall(PetscFree(sample->name));
  PetscCall(PetscFree(sample->step));
  PetscCall(PetscFree(sample->shift));
  PetscCall(conditions_free(&sample->conditions));
  PetscCall(schedule_destroy(&sample->schedule));
  PetscCall(trainingstate_destroy(&sample->state));
  if (sample->store) PetscCall(cellstore_close(&sample->store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode sample_run(const Options *options)
{
  Sample         sample = {.options = options, .comm = PETSC_COMM_WORLD};
  const char    *limit;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(sample.comm, &sample.rank));
  PetscCallMPI(MPI_Comm_size(sample.comm, &sample.ranks));
  PetscCall(sampling_register());
  PetscCall(options_string(options, "time_limit", &limit));
  PetscCall(deadline_begin(sample.comm, limit, &sample.deadline));
  code = sample_all(&sample);
  if (!code || code == ERROR_USER || code == ERROR_STOPPED) {
    PetscCall(deadline_end(&sample.deadline));
    PetscCall(sample_free(&sample));
  }
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_sample = {
    .name = "sample",
    .summary = "predicted cells of held-out or listed conditions, as AnnData",
    .usage = "sample [INPUT.yaml] -checkpoint RUN -data cells.h5 -out predicted.h5ad [options]",
    .examples = "perturbdiff sample -checkpoint run -data cells.h5 -out predicted.h5ad\n"
                "perturbdiff sample -checkpoint run -data cells.h5 -out wanted.h5ad -conditions wanted.csv -draws 3\n"
                "mpirun -n 4 perturbdiff sample inputs/published.yaml -checkpoint run -data cells.h5 -out published.h5ad\n",
    .options = {.groups = sample_groups, .petsc_prefixes = "ts_"},
    .run = sample_run,
};
