/* A simulated screen as an AnnData file: counts in blocks of cells, labels, the law in uns/truth. */
#include <math.h>
#include <perturbdiff/data/simulate.h>
#include <perturbdiff/runtime.h>

/* Values of a block a rank makes at a time, and of the largest table of log fold changes that is written. */
static const PetscInt64 block_values = (PetscInt64)1 << 21, table_values = (PetscInt64)1 << 24;

/* names "<stem><i>", numbers from 1 with leading zeros; behind `before` names already there. */
static PetscErrorCode number_names(const char *stem, PetscInt before, PetscInt count, char **names)
{
  int width = 1;

  PetscFunctionBeginUser;
  for (PetscInt n = count; n >= 10; n /= 10) width++;
  for (PetscInt i = 0; i < count; i++) {
    char text[64];
    PetscCall(PetscSNPrintf(text, sizeof text, "%s%0*d", stem, width, (int)(i + 1)));
    PetscCall(PetscStrallocpy(text, &names[before + i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A declared column: "control" first where the labels are perturbations. */
static PetscErrorCode declare(AnnWriter *writer, const char *column, const char *stem, PetscBool control, PetscInt count)
{
  const PetscInt before = control ? 1 : 0;
  char         **names;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(before + count, &names));
  if (control) PetscCall(PetscStrallocpy("control", &names[0]));
  PetscCall(number_names(stem, before, count, names));
  PetscCall(anndata_declare_column(writer, column, before + count, (const char *const *)names));
  PetscCall(strings_free(before + count, &names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows (perturbation, cell type), control left out: log share over the control's share, in a batch of average strength and no effect of its own. */
static PetscErrorCode write_log_fold_change(AnnWriter *writer, const SimulatedScreen *screen)
{
  SimulatedScreen        neutral = *screen;
  const SimulateOptions *o = &screen->options;
  double                *change, *control, *strength, *batch;

  PetscFunctionBeginUser;
  if ((PetscInt64)o->perturbations * o->cell_types * o->genes > table_values) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2((size_t)o->perturbations * o->cell_types * o->genes, &change, o->genes, &control));
  PetscCall(PetscCalloc2(1, &strength, o->genes, &batch));
  strength[0] = 1;
  neutral.options.batches = 1;
  neutral.batch = batch;
  neutral.batch_strength = strength;
  for (PetscInt c = 0; c < o->cell_types; c++) {
    simulated_screen_share(&neutral, c, control);
    for (PetscInt p = 0; p < o->perturbations; p++) {
      double *row = change + (size_t)(p * o->cell_types + c) * o->genes;
      simulated_screen_share(&neutral, (p + 1) * o->cell_types + c, row);
      for (PetscInt g = 0; g < o->genes; g++) row[g] = log(row[g] / control[g]);
    }
  }
  PetscCall(anndata_write_array(writer, "uns/truth/log_fold_change", (PetscInt64)o->perturbations * o->cell_types, o->genes, change));
  PetscCall(PetscFree2(change, control));
  PetscCall(PetscFree2(strength, batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_truth(AnnWriter *writer, const SimulatedScreen *s)
{
  const SimulateOptions *o = &s->options;

  PetscFunctionBeginUser;
  PetscCall(anndata_write_array(writer, "uns/truth/base", o->genes, 0, s->base));
  PetscCall(anndata_write_array(writer, "uns/truth/cell_type", o->cell_types, o->genes, s->cell_type));
  PetscCall(anndata_write_array(writer, "uns/truth/batch", o->batches, o->genes, s->batch));
  PetscCall(anndata_write_array(writer, "uns/truth/batch_strength", o->batches, 0, s->batch_strength));
  PetscCall(anndata_write_array(writer, "uns/truth/loadings", o->perturbations + 1, o->programs, s->loading));
  PetscCall(anndata_write_array(writer, "uns/truth/responsiveness", o->cell_types, o->programs, s->responsiveness));
  PetscCall(anndata_write_array(writer, "uns/truth/programs", o->programs, o->genes, s->program));
  PetscCall(anndata_write_array(writer, "uns/truth/dispersion", 1, 0, &o->dispersion));
  PetscCall(anndata_write_array(writer, "uns/truth/library_size", 1, 0, &o->library_size));
  PetscCall(write_log_fold_change(writer, s));
  if (o->command) PetscCall(anndata_write_text(writer, "uns/command", o->command));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells [first, first + count) of this rank with labels and names. */
static PetscErrorCode append_cells(AnnWriter *writer, const SimulatedScreen *s, PetscInt64 first, PetscInt64 count)
{
  const SimulateOptions *o = &s->options;
  SparseRows             rows;
  int32_t               *codes[3];
  char                  *names, **name;
  enum { NAME = 24 };

  PetscFunctionBeginUser;
  PetscCall(simulated_screen_cells(s, first, count, &rows));
  PetscCall(PetscMalloc3(count, &codes[0], count, &codes[1], count, &codes[2]));
  PetscCall(PetscMalloc2(count * NAME, &names, count, &name));
  for (PetscInt64 i = 0; i < count; i++) {
    const PetscInt population = simulated_screen_population(s, first + i);
    codes[0][i] = (int32_t)(population / (o->batches * o->cell_types));
    codes[1][i] = (int32_t)(population / o->batches % o->cell_types);
    codes[2][i] = (int32_t)(population % o->batches);
    name[i] = names + i * NAME;
    PetscCall(PetscSNPrintf(name[i], NAME, "cell%lld", (long long)(first + i + 1)));
  }
  PetscCall(anndata_append(writer, &rows, (const int32_t *const *)codes, (const char *const *)name));
  PetscCall(PetscFree2(names, name));
  PetscCall(PetscFree3(codes[0], codes[1], codes[2]));
  PetscCall(sparserows_free(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_blocks(MPI_Comm comm, AnnWriter *writer, const SimulatedScreen *s)
{
  PetscMPIInt rank, size;
  Progress    progress;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  const PetscInt64 cells = s->options.cells, share = PetscMax(1, PetscMin(block_values / s->options.genes, (cells + size - 1) / size));
  PetscCall(progress_begin(comm, "cells", 0, (double)cells, &progress));
  for (PetscInt64 block = 0; block < cells; block += share * size) {
    const PetscInt64 first = PetscMin(cells, block + share * rank), end = PetscMin(cells, first + share);
    PetscCall(append_cells(writer, s, first, end - first));
    PetscCall(progress_update(&progress, (double)PetscMin(cells, block + share * size), NULL));
  }
  PetscCall(progress_end(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_screen(MPI_Comm comm, const SimulatedScreen *screen, AnnWriter *writer)
{
  const SimulateOptions *o = &screen->options;

  PetscFunctionBeginUser;
  PetscCall(declare(writer, "perturbation", "drug", PETSC_TRUE, o->perturbations));
  PetscCall(declare(writer, "cell_type", "type", PETSC_FALSE, o->cell_types));
  PetscCall(declare(writer, "batch", "donor", PETSC_FALSE, o->batches));
  PetscCall(write_truth(writer, screen));
  PetscCall(write_blocks(comm, writer, screen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode simulate_write(MPI_Comm comm, const SimulateOptions *o)
{
  SimulatedScreen screen;
  AnnWriter      *writer = NULL;
  char          **gene;

  PetscFunctionBeginUser;
  PetscCallAgree(comm, simulated_screen_create(o, &screen));
  PetscCall(PetscCalloc1(o->genes, &gene));
  PetscCall(number_names("gene", 0, o->genes, gene));
  PetscErrorCode code = anndata_create(comm, o->output, o->genes, (const char *const *)gene, &writer);
  if (!code) code = write_screen(comm, &screen, writer);
  PetscCall(strings_free(o->genes, &gene));
  PetscCall(simulated_screen_destroy(&screen));
  if (code) {
    PetscCall(anndata_discard(&writer));
    PetscFunctionReturn(code);
  }
  PetscCall(anndata_commit(&writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}
