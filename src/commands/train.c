/* train: cell store -> run folder. */
#include "commands/commands.h"
#include <perturbdiff/training.h>
#include <stdlib.h>
#include <string.h>

static const OptionSpec own[] = {
    {"data", VALUE_PATH, NULL, 0, 0, "", "Cell store made by prepare"},
    {"out", VALUE_PATH, NULL, 0, 0, "", "Run folder: checkpoints, best.h5, log.jsonl, log.csv, validation.csv, options.yaml, run.json"},
    {"resume", VALUE_SWITCH, "false", 0, 0, "", "Go on from the newest intact checkpoint of the run folder; from the beginning where there is none"},
    {"time_limit", VALUE_STRING, "", 0, 0, "HH:MM:SS", "Stop in time with a checkpoint (exit status 85); none: Slurm's limit if there is one"},
    {"seed", VALUE_INTEGER, "1", 0, 4294967295., "", "All random numbers follow from it"},
    {"train_steps", VALUE_INTEGER, "4000", 0, 4e9, "steps", "Steps of the whole run; 0: by -train_epochs"},
    {"train_epochs", VALUE_NUMBER, "0", 0, 1e9, "epochs", "Passes over the training cells, where -train_steps is 0"},
    {"set_size", VALUE_INTEGER, "64", 1, 65536, "cells", "Cells of a set, all of one population (published: 256, 32 on the genetic screen)"},
    {"sets", VALUE_INTEGER, "8", 1, 1000000, "sets", "Sets of a step, over all ranks (published: 8 a rank)"},
    {"hidden", VALUE_INTEGER, "128", 2, 65536, "", "Width of the network (published: 512)"},
    {"depth", VALUE_INTEGER, "4", 1, 1000, "blocks", "Blocks of the network (published: 8)"},
    {"heads", VALUE_INTEGER, "4", 1, 1024, "", "Attention heads; divides twice the width (published: 8)"},
    {"covariate_dim", VALUE_INTEGER, "128", 1, 65536, "", "Width of the embeddings of perturbation, cell type and batch"},
    {"denoiser_center", VALUE_CHOICE, "none", 0, 0, "none|control|shift",
     "What the network's output is added to: nothing (published), the control cell, or the control cell moved by the mean change in other cell types"},
    {"strength", VALUE_NUMBER, "1", 0, 10, "", "Factor of a centred head's correction where no validation chooses it"},
    {"covariates", VALUE_LIST, "perturbation,cell_type,batch", 0, 0, "",
     "What the network is told besides the cells; leave out cell_type or batch when it must predict them unseen"},
    {"train_controls", VALUE_SWITCH, "true", 0, 0, "", "Control populations train as well, as one more perturbation"},
    {"schedule", VALUE_CHOICE, "linear", 0, 0, "linear|cosine|cosine_power", "Noise schedule"},
    {"schedule_steps", VALUE_INTEGER, "1000", 2, 1000000, "steps", "Diffusion steps"},
    {"schedule_gamma", VALUE_NUMBER, "0.3", 1e-3, 10, "", "Power of the cosine_power schedule"},
    {"energy_weight", VALUE_NUMBER, "1", 0, 1e6, "", "Factor of the energy distance in the loss"},
    {"self_condition", VALUE_NUMBER, "0.5", 0, 1, "probability", "Steps that see their own first estimate"},
    {"drop_condition", VALUE_NUMBER, "0.2", 0, 1, "probability", "Steps without perturbation, cell type and batch, for guidance (published: 0.5)"},
    {"drop_control", VALUE_NUMBER, "0", 0, 1, "probability", "Steps without control cells (published: 0.5)"},
    {"lr", VALUE_NUMBER, "1e-3", 1e-12, 10, "", "Learning rate after warm-up (published: 2e-4, 2e-3 on the genetic screen)"},
    {"warmup", VALUE_INTEGER, "100", 0, 4e9, "steps", "Linear warm-up of the learning rate"},
    {"beta1", VALUE_NUMBER, "0.9", 0, 0.999999, "", "Decay of AdamW's first moment"},
    {"beta2", VALUE_NUMBER, "0.98", 0, 0.999999, "", "Decay of AdamW's second moment"},
    {"epsilon", VALUE_NUMBER, "1e-8", 0, 1, "", "Added to the root of AdamW's second moment"},
    {"weight_decay", VALUE_NUMBER, "0.01", 0, 10, "", "AdamW's decay of everything but biases"},
    {"clip", VALUE_NUMBER, "1", 0, 1e9, "", "Largest gradient norm; 0: any"},
    {"ema_decay", VALUE_NUMBER, "0.9", 0, 0.9999999, "", "Decay of the average of the weights, which sampling uses (published: 0.99)"},
    {"ema_interval", VALUE_INTEGER, "10", 1, 1000000, "steps", "Steps between two updates of the average"},
    {"ema_warmup", VALUE_SWITCH, "true", 0, 0, "", "Let the average forget the starting weights early (published: false)"},
    {"grid_cells", VALUE_INTEGER, "0", 0, 1000000, "ranks", "Ranks that share the cells of each set, a divisor of all; 0: chosen by memory and number of sets"},
    {"train_recompute", VALUE_SWITCH, "false", 0, 0, "",
     "Compute each block again in the backward pass instead of keeping its activations: a fraction of the memory for a third more time"},
    {"report_interval", VALUE_INTEGER, "50", 1, 1e9, "steps", "Steps between two lines of the logs"},
    {"checkpoint_interval", VALUE_INTEGER, "1000", 0, 4e9, "steps", "Steps between two checkpoints; 0: at the end only"},
    {"checkpoint_keep", VALUE_INTEGER, "2", 1, 1000000, "", "Checkpoints kept besides best.h5"},
    {"checkpoint_direct", VALUE_SWITCH, "true", 0, 0, "", "Write checkpoints past the page cache where the file system can; try false where they are slow"},
    {"train_validate", VALUE_LIST, "", 0, 0, "",
     "Populations left out of training to choose the best step and strength: a fraction such as 0.2, patterns 'perturbation|cell type|batch' with * for any, "
     "folds "
     "(each cell type in turn, then all with what was chosen), or none; empty: the store's validation split"},
    {"validation_interval", VALUE_INTEGER, "500", 0, 4e9, "steps", "Steps between two validations; 0: at the end only"},
    {"validation_steps", VALUE_INTEGER, "1", 1, 1000, "steps", "Reverse steps from full noise that generate the cells which are scored"},
    {"validation_cells", VALUE_INTEGER, "256", 2, 1000000, "cells", "Most cells generated for a validation population"},
    {"validation_strengths", VALUE_LIST, "0,0.25,0.5,0.75,1", 0, 0, "", "Strengths of a centred head's correction that are tried"},
    {"validation_best", VALUE_SWITCH, "true", 0, 0, "", "Keep the step with the lowest energy distance as best.h5, which sample then uses"},
    {"validation_patience", VALUE_INTEGER, "0", 0, 1000000, "", "Stop after so many validations without a better one; 0: never"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

static PetscErrorCode read_integer(const Options *options, const char *name, PetscInt *value)
{
  PetscInt64 number;

  PetscFunctionBeginUser;
  PetscCall(options_integer(options, name, &number));
  *value = (PetscInt)number;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_covariates(const Options *options, TrainingOptions *training)
{
  static const char *const known[] = {"perturbation", "cell_type", "batch"};
  PetscInt                 count;
  char                   **part;
  PetscErrorCode           code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  training->sees_cell_type = training->sees_batch = PETSC_FALSE;
  PetscCall(options_list(options, "covariates", &count, &part));
  for (PetscInt i = 0; i < count && !code; i++) {
    if (!strcmp(part[i], known[1]))
      training->sees_cell_type = PETSC_TRUE;
    else if (!strcmp(part[i], known[2]))
      training->sees_batch = PETSC_TRUE;
    else if (strcmp(part[i], known[0]))
      code = error_user("-covariates: '%s' is none of perturbation, cell_type, batch", part[i]);
  }
  PetscCall(strings_free(count, &part));
  PetscFunctionReturn(code);
}

static PetscErrorCode read_network(const Options *options, TrainingOptions *training)
{
  PetscInt choice;

  PetscFunctionBeginUser;
  PetscCall(read_integer(options, "hidden", &training->hidden));
  PetscCall(read_integer(options, "depth", &training->depth));
  PetscCall(read_integer(options, "heads", &training->heads));
  PetscCall(read_integer(options, "covariate_dim", &training->covariate_dim));
  PetscCall(options_choice(options, "denoiser_center", &choice));
  training->center = (CenterKind)choice;
  PetscCall(options_number(options, "strength", &training->strength));
  PetscCall(options_switch(options, "train_controls", &training->controls));
  PetscCall(read_covariates(options, training));
  PetscCall(options_choice(options, "schedule", &choice));
  training->schedule = (ScheduleKind)choice;
  PetscCall(read_integer(options, "schedule_steps", &training->schedule_steps));
  PetscCall(options_number(options, "schedule_gamma", &training->schedule_gamma));
  PetscCall(options_number(options, "energy_weight", &training->energy_weight));
  PetscCall(options_number(options, "self_condition", &training->self_condition));
  PetscCall(options_number(options, "drop_condition", &training->drop_condition));
  PetscCall(options_number(options, "drop_control", &training->drop_control));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_optimizer(const Options *options, TrainingOptions *training)
{
  PetscFunctionBeginUser;
  PetscCall(options_number(options, "lr", &training->adamw.lr));
  PetscCall(options_number(options, "beta1", &training->adamw.beta1));
  PetscCall(options_number(options, "beta2", &training->adamw.beta2));
  PetscCall(options_number(options, "epsilon", &training->adamw.epsilon));
  PetscCall(options_number(options, "weight_decay", &training->adamw.weight_decay));
  PetscCall(options_number(options, "clip", &training->adamw.clip));
  PetscCall(options_integer(options, "warmup", &training->warmup));
  PetscCall(options_number(options, "ema_decay", &training->ema_decay));
  PetscCall(options_integer(options, "ema_interval", &training->ema_interval));
  PetscCall(options_switch(options, "ema_warmup", &training->ema_warmup));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_loop(const Options *options, TrainingOptions *training)
{
  PetscInt64 seed;
  double     limit;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &training->folder));
  PetscCall(options_string(options, "time_limit", &training->time_limit));
  PetscCall(options_switch(options, "resume", &training->resume));
  PetscCall(options_integer(options, "seed", &seed));
  training->seed = (uint64_t)seed;
  PetscCall(read_integer(options, "set_size", &training->set_size));
  PetscCall(read_integer(options, "sets", &training->sets));
  PetscCall(options_integer(options, "train_steps", &training->steps));
  PetscCall(options_number(options, "train_epochs", &training->epochs));
  if (!training->steps && !(training->epochs > 0)) PetscFunctionReturn(error_user("-train_steps 0 needs -train_epochs above 0; give one of them"));
  PetscCall(options_integer(options, "report_interval", &training->report_interval));
  PetscCall(options_integer(options, "checkpoint_interval", &training->checkpoint_interval));
  PetscCall(read_integer(options, "checkpoint_keep", &training->checkpoint_keep));
  PetscCall(options_switch(options, "checkpoint_direct", &training->checkpoint_direct));
  PetscCall(read_integer(options, "grid_cells", &training->grid_cells));
  PetscCall(options_switch(options, "train_recompute", &training->recompute));
  PetscCall(options_number(options, "memory_limit", &limit));
  if (limit > 0)
    training->memory_limit = limit * 1073741824.;
  else
    PetscCall(memory_share(PETSC_COMM_WORLD, &training->memory_limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "none", "folds", one number, or patterns. */
static PetscErrorCode read_held(PetscInt count, char *const *part, ValidationOptions *validation, PetscBool *folds)
{
  char *end;

  if (!count) return PETSC_SUCCESS;
  if (count == 1 && !strcmp(part[0], "none")) {
    validation->fraction = -1;
    return PETSC_SUCCESS;
  }
  if (count == 1 && !strcmp(part[0], "folds")) {
    *folds = PETSC_TRUE;
    validation->fraction = -1;
    return PETSC_SUCCESS;
  }
  if (count == 1 && !strchr(part[0], '|')) {
    validation->fraction = strtod(part[0], &end);
    if (*end || !(validation->fraction > 0 && validation->fraction < 1))
      return error_user("-train_validate %s: takes a fraction between 0 and 1, patterns 'perturbation|cell type|batch', folds, or none", part[0]);
    return PETSC_SUCCESS;
  }
  validation->patterns = count;
  validation->pattern = (const char *const *)part;
  return PETSC_SUCCESS;
}

static PetscErrorCode read_strengths(PetscInt count, char *const *part, double *strength)
{
  for (PetscInt i = 0; i < count; i++) {
    char *end;

    strength[i] = strtod(part[i], &end);
    if (end == part[i] || *end || !(strength[i] >= 0 && strength[i] <= 10))
      return error_user("-validation_strengths: '%s' is not a number between 0 and 10", part[i]);
  }
  return PETSC_SUCCESS;
}

static PetscErrorCode read_validation(const Options *options, ValidationOptions *validation)
{
  PetscFunctionBeginUser;
  PetscCall(options_integer(options, "validation_interval", &validation->interval));
  PetscCall(read_integer(options, "validation_steps", &validation->reverse_steps));
  PetscCall(read_integer(options, "validation_cells", &validation->cells));
  PetscCall(options_switch(options, "validation_best", &validation->best));
  PetscCall(read_integer(options, "validation_patience", &validation->patience));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Train on the opened store and say what came of it. */
static PetscErrorCode train_on(CellStore *store, const char *path, TrainingOptions *training, PetscBool folds)
{
  TrainingResult result;
  char           text[64], hidden[96] = "";

  PetscFunctionBeginUser;
  PetscCall((folds ? training_run_folds : training_run)(PETSC_COMM_WORLD, store, training, &result));
  format_seconds(result.seconds, text, sizeof text);
  if (result.communication > 0)
    (void)snprintf(hidden, sizeof hidden, ", %.1f %% of the communication hidden", 100 * (1 - result.waited / result.communication));
  PetscCall(log_line(PETSC_COMM_WORLD, "  trained    step %lld in %s, %.1f %% of it waiting for cells%s", (long long)result.step, text,
                     100 * result.stall / PetscMax(result.seconds, 1e-9), hidden));
  if (result.checkpoints) {
    format_seconds(result.checkpoint_seconds, text, sizeof text);
    PetscCall(log_line(PETSC_COMM_WORLD, "  saved      %d checkpoint%s in %s, %.0f %% of it hidden behind steps", (int)result.checkpoints, result.checkpoints == 1 ? "" : "s", text,
                       100 * result.checkpoint_hidden / PetscMax(result.checkpoint_seconds, 1e-9)));
  }
  if (result.best_validation >= 0)
    PetscCall(log_line(PETSC_COMM_WORLD, "  best       step %lld  energy distance %.4g  pearson_delta %.3f  strength %g", (long long)result.best_step,
                       result.best_validation, result.pearson, result.strength));
  PetscCall(log_line(PETSC_COMM_WORLD, "next: perturbdiff sample -checkpoint %s -data %s -out predicted.h5ad", training->folder, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode train(const Options *options)
{
  TrainingOptions training = {.started = MPI_Wtime()};
  PetscInt        held, strengths;
  char          **pattern, **part, *yaml;
  double         *strength;
  const char     *path;
  CellStore      *store;
  PetscBool       folds = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(read_network(options, &training));
  PetscCall(read_optimizer(options, &training));
  PetscCall(read_loop(options, &training));
  PetscCall(read_validation(options, &training.validation));
  PetscCall(options_list(options, "train_validate", &held, &pattern));
  PetscCall(read_held(held, pattern, &training.validation, &folds));
  PetscCall(options_list(options, "validation_strengths", &strengths, &part));
  PetscCall(PetscMalloc1(strengths + 1, &strength));
  PetscCall(read_strengths(strengths, part, strength));
  training.validation.strengths = strengths;
  training.validation.strength = strength;
  PetscCall(options_yaml(options, &yaml));
  training.options_yaml = yaml;
  training.command = command_line();
  PetscCall(options_string(options, "data", &path));
  PetscCall(cellstore_open(PETSC_COMM_WORLD, path, &store));
  PetscErrorCode code = train_on(store, path, &training, folds);
  PetscCall(cellstore_close(&store));
  PetscCall(PetscFree(yaml));
  PetscCall(PetscFree(strength));
  PetscCall(strings_free(strengths, &part));
  PetscCall(strings_free(held, &pattern));
  PetscFunctionReturn(code);
}

const Command command_train = {
    .name = "train",
    .summary = "train the denoiser on a cell store, into a run folder",
    .usage = "train [INPUT.yaml] -data cells.h5 -out RUN [-resume] [-option value ...]",
    .examples = "perturbdiff train -data cells.h5 -out run\n"
                "mpirun -n 4 perturbdiff train inputs/train.yaml -data cells.h5 -out run -time_limit 01:00:00\n"
                "mpirun -n 4 perturbdiff train inputs/train.yaml -data cells.h5 -out run -resume",
    .options = {.groups = groups},
    .run = train,
};
