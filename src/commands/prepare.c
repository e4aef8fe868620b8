/* perturbdiff prepare: AnnData files to a cell store. */
#include "commands/commands.h"
#include <perturbdiff/data/prepare.h>

static const OptionSpec specs[] = {
  {"in", VALUE_LIST, NULL, 0, 0, "", "AnnData files (.h5ad), each a data set; their genes are united"},
  {"out", VALUE_PATH, NULL, 0, 0, "", "cell store to write (.h5)"},
  {"perturbation_column", VALUE_STRING, NULL, 0, 0, "", "column of obs that names the perturbation of a cell"},
  {"control", VALUE_STRING, NULL, 0, 0, "", "label of the control cells in that column"},
  {"cell_type_column", VALUE_STRING, "", 0, 0, "", "column of obs that names the cell type; none: all cells are of one type"},
  {"batch_column", VALUE_STRING, "", 0, 0, "", "column of obs that names the batch (donor, plate); none: each file is a batch"},
  {"layer", VALUE_STRING, "X", 0, 0, "", "matrix to read: X, layers/NAME, obsm/NAME or raw/X"},
  {"genes", VALUE_STRING, "2000", 0, 0, "", "number of highly variable genes, 'all', or a file with one gene name a line"},
  {"normalize", VALUE_CHOICE, "auto", 0, 0, "auto|none", "auto: counts are scaled to 10,000 a cell and log1p is taken, log1p values are recognised and left; none: values as they are"},
  {"split", VALUE_PATH, "", 0, 0, "", "split file: YAML, or TOML as STATE reads it"},
  {"holdout", VALUE_LIST, "", 0, 0, "", "populations kept for testing: \"perturbation|cell type|batch\", * for any"},
  {"validation_fraction", VALUE_NUMBER, "0", 0, 0.9, "", "part of the remaining (perturbation, cell type) pairs drawn for validation"},
  {"seed", VALUE_INTEGER, "0", 0, 9007199254740992.0, "", "seed of that draw"},
  {"value_scale", VALUE_NUMBER, "10", 1e-6, 1e6, "", "stored log1p values are divided by this for the network"},
  {"compress", VALUE_INTEGER, "0", 0, 9, "", "deflate level; 0: none, then the store is mapped, which is fastest"},
  {"chunk_bytes", VALUE_NUMBER, "512e6", 1e5, 8e9, "bytes", "memory one rank may use for cells"},
  {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {specs, options_common, NULL};

static PetscErrorCode read_options(const Options *options, PrepareOptions *prepare)
{
  PetscInt   normalize;
  PetscInt64 compress, seed;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &prepare->output));
  PetscCall(options_string(options, "perturbation_column", &prepare->perturbation_column));
  PetscCall(options_string(options, "control", &prepare->control));
  PetscCall(options_string(options, "cell_type_column", &prepare->cell_type_column));
  PetscCall(options_string(options, "batch_column", &prepare->batch_column));
  PetscCall(options_string(options, "layer", &prepare->matrix));
  PetscCall(options_string(options, "genes", &prepare->genes));
  PetscCall(options_choice(options, "normalize", &normalize));
  PetscCall(options_string(options, "split", &prepare->split));
  PetscCall(options_number(options, "validation_fraction", &prepare->validation_fraction));
  PetscCall(options_integer(options, "seed", &seed));
  PetscCall(options_number(options, "value_scale", &prepare->value_scale));
  PetscCall(options_integer(options, "compress", &compress));
  PetscCall(options_number(options, "chunk_bytes", &prepare->chunk_bytes));
  prepare->normalize = normalize ? "none" : "auto";
  prepare->seed      = (uint64_t)seed;
  prepare->compress  = (PetscInt)compress;
  prepare->command   = command_line();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run(const Options *options)
{
  PrepareOptions prepare = {0};
  char         **inputs, **holdouts;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(read_options(options, &prepare));
  PetscCall(options_list(options, "in", &prepare.inputs, &inputs));
  PetscCall(options_list(options, "holdout", &prepare.holdouts, &holdouts));
  prepare.input   = (const char *const *)inputs;
  prepare.holdout = (const char *const *)holdouts;
  code            = prepare_store(PETSC_COMM_WORLD, &prepare);
  PetscCall(strings_free(prepare.inputs, &inputs));
  PetscCall(strings_free(prepare.holdouts, &holdouts));
  PetscCall(code);
  PetscCall(log_line(PETSC_COMM_WORLD, "next: perturbdiff train -data %s -out run", prepare.output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_prepare = {
  .name     = "prepare",
  .summary  = "AnnData files to a cell store: labels, normalised values, highly variable genes, split, control pairing",
  .usage    = "prepare [INPUT.yaml] -in a.h5ad[,b.h5ad] -out cells.h5 -perturbation_column NAME -control LABEL [options]",
  .examples = "perturbdiff prepare -in kang.h5ad -out cells.h5 -perturbation_column perturbation -control control -cell_type_column cell_type -batch_column donor\n"
              "perturbdiff prepare inputs/kang.yaml -holdout \"IFN-beta|B cells|*\" -genes 500\n"
              "mpirun -n 4 perturbdiff prepare -in a.h5ad,b.h5ad -out cells.h5 -perturbation_column gene -control non-targeting -split split.toml",
  .options  = {.groups = groups},
  .run      = run,
};
