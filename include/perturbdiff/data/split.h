/* Which populations train, validate and test. */
#ifndef PERTURBDIFF_DATA_SPLIT_H
#define PERTURBDIFF_DATA_SPLIT_H

#include <perturbdiff/data/cellstore.h>

/* split_apply - fill Population.split of all populations. Control populations always train.
   file: YAML or STATE's TOML ("" none): [training], [zeroshot] whole cell types, [fewshot] lists of perturbations in a cell type;
   holdout: patterns "perturbation|cell type|batch" with * for any, marked test; then validation_fraction of the remaining
   perturbed populations, drawn whole (perturbation, cell type) pairs by seed, becomes validation.
   Collective. User errors: file does not parse (line), unknown name in it (nearest known), pattern matches nothing,
   nothing left to train on. */
PetscErrorCode split_apply(CellStoreTable *table, const char *file, PetscInt holdouts, const char *const *holdout, double validation_fraction, uint64_t seed, MPI_Comm comm);

#endif
