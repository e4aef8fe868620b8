/* inspect: what is in a store, a checkpoint, an AnnData file, a run folder; what this machine is. */
#include "commands/commands.h"
#include "commands/inspect.h"
#include <perturbdiff/data.h>
#include <perturbdiff/training.h>
#include <string.h>
#include <stdarg.h>
#include <stdio.h>

static const OptionSpec own[] = {
    {"in", VALUE_LIST, "", 0, 0, "", "Files or run folders: AnnData, cell store, checkpoint, embedding, run"},
    {"machine", VALUE_SWITCH, "false", 0, 0, "", "Show processor, memory, libraries and the measured speed of dense products"},
    {"verify", VALUE_SWITCH, "true", 0, 0, "", "Read a store's cells and compare with its checksum (checkpoints always are)"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

static int leading(void)
{
  int rank;
  return MPI_Comm_rank(PETSC_COMM_WORLD, &rank) ? 0 : !rank;
}

void inspect_print(const char *format, ...)
{
  va_list arguments;

  if (!leading()) return;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
}

void inspect_names(const char *title, PetscInt64 count, const char *const *name)
{
  enum { SHOWN = 8 };

  inspect_print("  %-20s %lld", title, (long long)count);
  for (PetscInt64 i = 0; i < count && i < SHOWN; i++) inspect_print("%s%s", i ? ", " : ": ", name[i]);
  inspect_print("%s\n", count > SHOWN ? ", ..." : "");
}

static void print_vocabulary(const char *what, const char *column, const Vocabulary *vocabulary)
{
  char title[256];

  snprintf(title, sizeof title, "%s%s%s%s", what, *column ? " (" : "", column, *column ? ")" : "");
  inspect_names(title, vocabulary->count, (const char *const *)vocabulary->name);
}

static PetscErrorCode inspect_store(const char *path, PetscBool verify)
{
  CellStore         *store;
  static const char *name[] = {"train", "validation", "test"};
  PetscInt           populations[3] = {0}, controls = 0;
  PetscInt64         cells[3] = {0}, least = PETSC_MAX_INT, most = 0;

  PetscFunctionBeginUser;
  PetscCall(cellstore_open(PETSC_COMM_WORLD, path, &store));
  const CellStoreTable *t = cellstore_table(store);
  inspect_print("%s: cell store\n  %-20s %lld\n", path, "cells", (long long)t->cells);
  print_vocabulary("genes", "", &t->gene);
  print_vocabulary("perturbations", t->perturbation_column, &t->perturbation);
  inspect_print("  %-20s %s\n", "control label", t->perturbation.name[t->control]);
  print_vocabulary("cell types", t->cell_type_column, &t->cell_type);
  print_vocabulary("batches", t->batch_column, &t->batch);
  print_vocabulary("data sets", "", &t->dataset);
  for (PetscInt k = 0; k < t->populations; k++) {
    const Population *p = &t->population[k];
    populations[p->split]++;
    cells[p->split] += p->cells;
    controls += p->perturbation == t->control;
    least = PetscMin(least, p->cells);
    most = PetscMax(most, p->cells);
  }
  inspect_print("  %-20s %lld, %lld of them control; %lld to %lld cells each\n", "populations", (long long)t->populations, (long long)controls,
                (long long)least, (long long)most);
  for (int s = 0; s < 3; s++) inspect_print("  %-20s %lld populations, %lld cells\n", name[s], (long long)populations[s], (long long)cells[s]);
  if (t->library_size > 0)
    inspect_print("  %-20s log1p of %g counts a cell\n", "values", t->library_size);
  else
    inspect_print("  %-20s as in the input\n", "values");
  inspect_print("  %-20s values are divided by %g for the network\n", "scale", t->value_scale);
  if (verify) PetscCall(cellstore_verify(store, PETSC_COMM_WORLD));
  inspect_print("  %-20s %016llx%s\n", "checksum", (unsigned long long)t->checksum, verify ? " ok" : " (not verified)");
  PetscCall(cellstore_close(&store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode inspect_checkpoint(const char *path)
{
  static const char *center[] = {"none", "control", "shift"}, *schedule[] = {"linear", "cosine", "cosine power"};
  TrainingState      state;

  PetscFunctionBeginUser;
  PetscCall(checkpoint_read(PETSC_COMM_WORLD, path, PETSC_TRUE, &state));
  const DenoiserShape *s = &state.table.shape;
  inspect_print("%s: checkpoint, checksums ok\n  %-20s %lld after %.1f s\n", path, "step", (long long)state.step, state.wall_seconds);
  inspect_print("  %-20s %zu in %lld arrays\n", "parameters", state.table.total, (long long)state.table.count);
  inspect_print("  %-20s %lld genes, width %lld, %lld blocks, %lld heads, sets of %lld cells\n", "network", (long long)s->genes, (long long)s->hidden,
                (long long)s->depth, (long long)s->heads, (long long)state.set_size);
  inspect_print("  %-20s %s, strength %g\n", "centre of the head", center[state.center], state.strength);
  inspect_print("  %-20s %s, %lld steps\n", "noise schedule", schedule[state.schedule], (long long)state.schedule_steps);
  inspect_print("  %-20s %g\n", "best validation", state.best_validation);
  print_vocabulary("genes", "", &state.gene);
  print_vocabulary("perturbations", "", &state.perturbation);
  print_vocabulary("cell types", "", &state.cell_type);
  print_vocabulary("batches", "", &state.batch);
  inspect_print("  %-20s checksum %016llx\n", "store", (unsigned long long)state.store_checksum);
  inspect_print("  options\n");
  PetscInt count;
  char   **line;
  PetscCall(string_split(state.options_yaml ? state.options_yaml : "", "\n", &count, &line));
  for (PetscInt i = 0; i < count; i++) inspect_print("    %s\n", line[i]);
  PetscCall(strings_free(count, &line));
  PetscCall(trainingstate_destroy(&state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode inspect_embedding(const char *path)
{
  static const char *const attribute[] = {"kernel", "statistic", "features", "store", "command"};
  hid_t                    h5;
  PetscInt64               count, columns;
  char                   **label, *text;

  PetscFunctionBeginUser;
  PetscCall(file_open(PETSC_COMM_WORLD, path, "embedding", &h5));
  PetscCall(h5_read_strings(h5, "populations/label", &count, &label));
  inspect_print("%s: embedding\n", path);
  inspect_names("populations", count, (const char *const *)label);
  PetscCall(strings_free((PetscInt)count, &label));
  for (size_t i = 0; i < sizeof attribute / sizeof *attribute; i++) {
    PetscCall(h5_read_attribute_string(h5, attribute[i], &text, NULL));
    inspect_print("  %-20s %s\n", attribute[i], text);
    PetscCall(PetscFree(text));
  }
  if (h5_exists(h5, "principal_components/loadings")) {
    PetscCall(h5_extent(h5, "principal_components/loadings", &count, &columns));
    inspect_print("  %-20s %lld of %lld genes\n", "principal components", (long long)columns, (long long)count);
  }
  H5Check(H5Fclose(h5));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode inspect_run(const char *folder)
{
  char      path[PETSC_MAX_PATH_LEN], *text;
  size_t    length;
  PetscBool there;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/run.json", folder));
  PetscCall(PetscTestFile(path, 'r', &there));
  if (!there) return error_user("%s: no run.json; name a folder that 'perturbdiff train' wrote, or a file", folder);
  PetscCall(file_read_text(PETSC_COMM_WORLD, path, &text, &length));
  inspect_print("%s: run\n%s%s", folder, text, length && text[length - 1] == '\n' ? "" : "\n");
  PetscCall(PetscFree(text));
  PetscCall(checkpoint_newest(PETSC_COMM_WORLD, folder, PETSC_FALSE, path, sizeof path));
  PetscCall(inspect_checkpoint(path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The format attribute of an HDF5 file of ours; "" otherwise. */
static PetscErrorCode file_format(const char *path, char *format, size_t size)
{
  hid_t     h5;
  char     *text = NULL;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(file_open(PETSC_COMM_WORLD, path, "AnnData file, cell store, checkpoint or embedding", &h5));
  PetscCall(h5_read_attribute_string(h5, "format", &text, &found));
  PetscCall(PetscStrncpy(format, found ? text : "", size));
  PetscCall(PetscFree(text));
  H5Check(H5Fclose(h5));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode inspect_path(const char *path, PetscBool verify)
{
  char      format[64];
  PetscBool folder;

  PetscFunctionBeginUser;
  PetscCall(PetscTestDirectory(path, 'r', &folder));
  if (folder) {
    PetscCall(inspect_run(path));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(file_format(path, format, sizeof format));
  if (!strcmp(format, "perturbdiff-cells"))
    PetscCall(inspect_store(path, verify));
  else if (!strcmp(format, "perturbdiff-checkpoint"))
    PetscCall(inspect_checkpoint(path));
  else if (!strcmp(format, "perturbdiff-embedding"))
    PetscCall(inspect_embedding(path));
  else
    PetscCall(inspect_anndata(path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode inspect(const Options *options)
{
  PetscInt  count;
  char    **path;
  PetscBool machine, verify;

  PetscFunctionBeginUser;
  PetscCall(options_list(options, "in", &count, &path));
  PetscCall(options_switch(options, "machine", &machine));
  PetscCall(options_switch(options, "verify", &verify));
  if (!count && !machine) return error_user("inspect: nothing to look at; give -in FILE or -machine");
  for (PetscInt i = 0; i < count; i++) PetscCall(inspect_path(path[i], verify));
  if (machine) PetscCall(inspect_machine());
  PetscCall(strings_free(count, &path));
  if (leading()) fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_inspect = {
  .name     = "inspect",
  .summary  = "what is in a file or a run folder; what this machine is",
  .usage    = "inspect FILE ... | -machine",
  .examples = "perturbdiff inspect cells.h5\nperturbdiff inspect run\nperturbdiff inspect screen.h5ad predicted.h5ad\nmpirun -n 2 perturbdiff inspect -machine",
  .options  = {.groups = groups, .positional = "in"},
  .run      = inspect,
};
