/* Simulated perturbation screens with known truth. */
#ifndef PERTURBDIFF_DATA_SIMULATE_H
#define PERTURBDIFF_DATA_SIMULATE_H

#include <perturbdiff/data/anndata.h>
#include <petscsys.h>
#include <stdint.h>

typedef struct {
  const char *output, *command;
  PetscInt64  cells;                                     /* in all, spread evenly over populations (control included) */
  PetscInt    genes, perturbations, cell_types, batches; /* perturbations: without the control */
  PetscInt    programs, effect_genes;                    /* response programs shared by perturbations; genes each of them moves */
  double      effect_size;                               /* typical change of the log mean of a moved gene */
  double      batch_effect;                              /* standard deviation over batches, of log means and of the log strength of the response */
  double      responders, opposed; /* share of cell types that respond to a program; share of those that respond in the opposite direction */
  double      without_effect;      /* share of perturbations that change nothing: the last ones */
  double      dispersion;          /* variance mu + dispersion mu^2 */
  double      library_size;        /* median counts of a cell */
  uint64_t    seed;
} SimulateOptions;

/* The law of a screen; the same on all ranks. Row-major; population = (perturbation * cell_types + cell type) * batches + batch, perturbation 0: control. */
typedef struct {
  SimulateOptions options;
  PetscInt        populations;
  double         *base;           /* (genes) log mean */
  double         *cell_type;      /* (cell_types, genes) added to it */
  double         *batch;          /* (batches, genes) */
  double         *batch_strength; /* (batches) factor of the response */
  double         *loading;        /* (perturbations + 1, programs); row 0 and perturbations without effect are zero */
  double         *responsiveness; /* (cell_types, programs) */
  double         *program;        /* (programs, genes) */
} SimulatedScreen;

/* simulated_screen_create - draw the law. Not collective. User errors: sizes that do not fit (fewer cells than populations, more effect genes than genes). */
PetscErrorCode simulated_screen_create(const SimulateOptions *options, SimulatedScreen *screen);
PetscErrorCode simulated_screen_destroy(SimulatedScreen *screen);

/* Population of a cell; cells of a population are contiguous. */
PetscInt simulated_screen_population(const SimulatedScreen *screen, PetscInt64 cell);
/* share (genes): expected share of each gene in the counts of a population, softmax(base + cell type + batch + strength response). */
void simulated_screen_share(const SimulatedScreen *screen, PetscInt population, double *share);
/* simulated_screen_cells - counts of cells [first, first + count); a cell's counts depend on the seed and its number alone. Not collective. Free with
 * sparserows_free. */
PetscErrorCode simulated_screen_cells(const SimulatedScreen *screen, PetscInt64 first, PetscInt64 count, SparseRows *rows);

/* simulate_write - negative-binomial counts mu = library * softmax(base + cell type + batch + response), response of a responder =
   sum over programs of loading(perturbation, program) * responsiveness(cell type, program) * program(gene): low rank in (perturbation,
   cell type). library is log-normal. obs: perturbation (control label "control"), cell_type, batch. The law in uns/truth: the arrays of SimulatedScreen and,
   where it has at most 2^24 values, log_fold_change (perturbations * cell_types, genes): log of expected share over that of the control, batch effects aside.
   Collective; equal on any number of ranks; memory bounded by blocks of cells. User errors: as file_draft_create; sizes that do not fit. */
PetscErrorCode simulate_write(MPI_Comm comm, const SimulateOptions *options);

#endif
