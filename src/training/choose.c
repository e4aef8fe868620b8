/* Which populations train and which are left out for validation. */
#include "training/training_internal.h"

/* Patterns are those of the split: applied to a copy, what they mark as test is what validates. */
static PetscErrorCode hold_patterns(MPI_Comm comm, const CellStoreTable *cells, const ValidationOptions *options, unsigned char *held)
{
  CellStoreTable copy = *cells;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(cells->populations, &copy.population));
  PetscCall(PetscArraycpy(copy.population, cells->population, cells->populations));
  PetscErrorCode code = split_apply(&copy, "", options->patterns, options->pattern, 0, 0, comm);
  for (PetscInt k = 0; k < cells->populations && !code; k++) {
    held[k] = copy.population[k].split == SPLIT_TEST && cells->population[k].split != SPLIT_TEST;
    count += held[k];
  }
  PetscCall(PetscFree(copy.population));
  PetscCall(code);
  if (!count) PetscFunctionReturn(error_user("-train_validate: the patterns match populations of the test split alone; name some that train"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whole (perturbation, cell type) pairs, drawn by seed among those that train: at least one where there are two. */
static PetscErrorCode hold_fraction(const CellStoreTable *cells, double fraction, uint64_t seed, unsigned char *held)
{
  const PetscInt     types = cells->cell_type.count, pairs = cells->perturbation.count * types;
  const RandomStream stream = random_stream(seed, RANDOM_SPLIT, 0, 0, 1);
  PetscInt           count = 0, *pair;
  unsigned char     *there, *chosen;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(pairs, &there, pairs, &chosen, pairs, &pair));
  for (PetscInt k = 0; k < cells->populations; k++) {
    const Population *p = &cells->population[k];
    if (p->split == SPLIT_TRAIN && p->perturbation != cells->control && p->control >= 0) there[p->perturbation * types + p->cell_type] = 1;
  }
  for (PetscInt i = 0; i < pairs; i++)
    if (there[i]) pair[count++] = i;
  PetscInt want = (PetscInt)(fraction * count + 0.5);
  if (count > 1 && !want) want = 1;
  for (PetscInt i = 0; i < want; i++) chosen[pair[random_permuted(&stream, (uint64_t)count, (uint64_t)i)]] = 1;
  for (PetscInt k = 0; k < cells->populations; k++) {
    const Population *p = &cells->population[k];
    held[k] = p->split == SPLIT_TRAIN && p->perturbation != cells->control && chosen[p->perturbation * types + p->cell_type];
  }
  PetscCall(PetscFree3(there, chosen, pair));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode choose_populations(MPI_Comm comm, const CellStoreTable *cells, const ValidationOptions *options, PetscBool controls, uint64_t seed,
                                  unsigned char *use, unsigned char *held)
{
  PetscInt perturbed = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(held, cells->populations));
  if (options->patterns)
    PetscCall(hold_patterns(comm, cells, options, held));
  else if (options->fraction > 0)
    PetscCall(hold_fraction(cells, options->fraction, seed, held));
  else
    for (PetscInt k = 0; k < cells->populations && options->fraction == 0; k++) held[k] = cells->population[k].split == SPLIT_VALIDATION;
  for (PetscInt k = 0; k < cells->populations; k++) {
    const Population *p = &cells->population[k];

    if (p->cells == 0 || p->control < 0) held[k] = 0;
    use[k] = p->split == SPLIT_TRAIN && !held[k] && p->cells > 0 && p->control >= 0 && (controls || p->perturbation != cells->control);
    perturbed += use[k] && p->perturbation != cells->control;
  }
  if (!perturbed) PetscFunctionReturn(error_user("no perturbed population is left to train on; hold out less (-train_validate, or -holdout of prepare)"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
