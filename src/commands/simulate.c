/* simulate: an AnnData file of a perturbation screen with known truth. */
#include "commands/commands.h"
#include <perturbdiff/data/simulate.h>

static const OptionSpec own[] = {
    {"out", VALUE_PATH, NULL, 0, 0, "", "AnnData file to write (.h5ad)"},
    {"cells", VALUE_INTEGER, "8000", 1, 1e12, "cells", "Cells in all, spread evenly over the populations, control included"},
    {"genes", VALUE_INTEGER, "500", 1, 1e6, "genes", "Genes"},
    {"perturbations", VALUE_INTEGER, "24", 1, 1e6, "", "Perturbations, the control not counted"},
    {"cell_types", VALUE_INTEGER, "4", 1, 1e4, "", "Cell types"},
    {"batches", VALUE_INTEGER, "2", 1, 1e4, "", "Batches (donors)"},
    {"programs", VALUE_INTEGER, "4", 1, 1000, "", "Response programs that perturbations share"},
    {"effect_genes", VALUE_INTEGER, "50", 1, 1e6, "genes", "Genes that a program moves"},
    {"effect_size", VALUE_NUMBER, "1", 0, 20, "log", "Typical change of the log mean of a moved gene"},
    {"responders", VALUE_NUMBER, "0.75", 0, 1, "", "Share of cell types that respond to a program (at least one does)"},
    {"opposed", VALUE_NUMBER, "0.5", 0, 1, "", "Share of those that respond in the opposite direction; 0: the mean shift of other cell types predicts well"},
    {"without_effect", VALUE_NUMBER, "0.125", 0, 1, "", "Share of perturbations that change nothing: the last ones"},
    {"batch_effect", VALUE_NUMBER, "0.2", 0, 5, "log", "Standard deviation over batches of log means and of the log strength of the response"},
    {"dispersion", VALUE_NUMBER, "0.25", 0, 100, "", "Counts of mean mu have variance mu + dispersion mu^2; 0: Poisson"},
    {"library_size", VALUE_NUMBER, "2000", 1, 1e8, "counts", "Median counts of a cell"},
    {"seed", VALUE_INTEGER, "0", 0, 9e15, "", "Seed of all draws; the file is the same on any number of ranks"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

static PetscErrorCode whole(const Options *options, const char *name, PetscInt *value)
{
  PetscInt64 wide;

  PetscFunctionBeginUser;
  PetscCall(options_integer(options, name, &wide));
  *value = (PetscInt)wide;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_options(const Options *options, SimulateOptions *o)
{
  PetscInt64 seed;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &o->output));
  PetscCall(options_integer(options, "cells", &o->cells));
  PetscCall(whole(options, "genes", &o->genes));
  PetscCall(whole(options, "perturbations", &o->perturbations));
  PetscCall(whole(options, "cell_types", &o->cell_types));
  PetscCall(whole(options, "batches", &o->batches));
  PetscCall(whole(options, "programs", &o->programs));
  PetscCall(whole(options, "effect_genes", &o->effect_genes));
  PetscCall(options_number(options, "effect_size", &o->effect_size));
  PetscCall(options_number(options, "responders", &o->responders));
  PetscCall(options_number(options, "opposed", &o->opposed));
  PetscCall(options_number(options, "without_effect", &o->without_effect));
  PetscCall(options_number(options, "batch_effect", &o->batch_effect));
  PetscCall(options_number(options, "dispersion", &o->dispersion));
  PetscCall(options_number(options, "library_size", &o->library_size));
  PetscCall(options_integer(options, "seed", &seed));
  o->seed = (uint64_t)seed;
  o->command = command_line();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode simulate(const Options *options)
{
  SimulateOptions o = {0};
  LogStage        stage;

  PetscFunctionBeginUser;
  PetscCall(read_options(options, &o));
  PetscCall(log_stage_begin(PETSC_COMM_WORLD, "simulate", &stage));
  PetscCall(simulate_write(PETSC_COMM_WORLD, &o));
  PetscCall(log_stage_end(&stage, "%s: %lld cells, %lld genes, %lld perturbations and control x %lld cell types x %lld batches; the truth is in uns/truth",
                          o.output, (long long)o.cells, (long long)o.genes, (long long)o.perturbations, (long long)o.cell_types, (long long)o.batches));
  PetscCall(log_line(PETSC_COMM_WORLD,
                     "next: perturbdiff prepare -in %s -out cells.h5 -perturbation_column perturbation -control control -cell_type_column cell_type "
                     "-batch_column batch -genes all "
                     "-holdout 'drug%s1|type1|*'",
                     o.output,
                     o.perturbations >= 1000  ? "000"
                     : o.perturbations >= 100 ? "00"
                     : o.perturbations >= 10  ? "0"
                                              : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_simulate = {
    .name = "simulate",
    .summary = "a simulated perturbation screen with known truth, as AnnData",
    .usage = "simulate [INPUT.yaml] -out screen.h5ad [options]",
    .examples = "perturbdiff simulate -out screen.h5ad\n"
                "perturbdiff simulate inputs/simulate.yaml -out screen.h5ad -seed 3\n"
                "mpirun -n 4 perturbdiff simulate -out large.h5ad -cells 1000000 -genes 2000 -perturbations 100",
    .options = {.groups = groups},
    .run = simulate,
};
