/* Simulated perturbation screens with known truth. */
#ifndef PERTURBDIFF_DATA_SIMULATE_H
#define PERTURBDIFF_DATA_SIMULATE_H

#include <petscsys.h>
#include <stdint.h>

typedef struct {
  const char *output, *command;
  PetscInt64  cells; /* in all, spread evenly over populations (control included) */
  PetscInt    genes, perturbations, cell_types, batches, effect_genes, programs;
  double      effect_size, batch_effect, responders, dispersion, library_size;
  uint64_t    seed;
} SimulateOptions;

/* simulate_write - negative-binomial counts mu = library * softmax(base + cell type + batch + response), response of a responder =
   sum over programs of loading(perturbation, program) * responsiveness(cell type, program) * program(gene): low rank in (perturbation,
   cell type). Truth in uns/truth. Collective; equal on any number of ranks. User errors: as file_draft_create; sizes that do not fit. */
PetscErrorCode simulate_write(MPI_Comm comm, const SimulateOptions *options);

#endif
