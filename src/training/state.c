/* What a checkpoint holds, in memory. */
#include <perturbdiff/training.h>
#include <string.h>

PetscErrorCode trainingstate_create(const DenoiserShape *shape, TrainingState *state)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(state, sizeof *state));
  PetscCall(parametertable_create(shape, &state->table));
  PetscCall(PetscCalloc1(state->table.total, &state->parameters));
  PetscCall(PetscCalloc1(state->table.total, &state->average));
  PetscCall(PetscCalloc1(state->table.total, &state->first));
  PetscCall(PetscCalloc1(state->table.total, &state->second));
  PetscCall(PetscCalloc1(state->table.count, &state->steps_taken));
  state->strength        = 1;
  state->best_validation = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainingstate_destroy(TrainingState *state)
{
  Vocabulary *const vocabulary[] = {&state->gene, &state->perturbation, &state->cell_type, &state->batch};

  PetscFunctionBeginUser;
  PetscCall(PetscFree(state->parameters));
  PetscCall(PetscFree(state->average));
  PetscCall(PetscFree(state->first));
  PetscCall(PetscFree(state->second));
  PetscCall(PetscFree(state->steps_taken));
  PetscCall(PetscFree(state->options_yaml));
  for (size_t v = 0; v < 4; v++) PetscCall(strings_free(vocabulary[v]->count, &vocabulary[v]->name));
  if (state->table.item) PetscCall(parametertable_destroy(&state->table));
  PetscCall(PetscMemzero(state, sizeof *state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode copy_names(const Vocabulary *from, Vocabulary *to)
{
  PetscFunctionBeginUser;
  PetscCall(strings_free(to->count, &to->name));
  to->count = from->count;
  PetscCall(PetscCalloc1(from->count, &to->name));
  for (PetscInt i = 0; i < from->count; i++) PetscCall(PetscStrallocpy(from->name[i], &to->name[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainingstate_set_store(TrainingState *state, const CellStoreTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(copy_names(&table->gene, &state->gene));
  PetscCall(copy_names(&table->perturbation, &state->perturbation));
  PetscCall(copy_names(&table->cell_type, &state->cell_type));
  PetscCall(copy_names(&table->batch, &state->batch));
  state->store_checksum = table->checksum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode compare_names(const char *what, const Vocabulary *trained, const Vocabulary *given, const char *checkpoint, const char *store)
{
  for (PetscInt i = 0; i < trained->count && i < given->count; i++)
    if (strcmp(trained->name[i], given->name[i]))
      return error_user("%s: its %s are not those of %s (the first that differs: '%s', trained '%s'); give the store the run was trained on", store, what, checkpoint,
                        given->name[i], trained->name[i]);
  if (trained->count != given->count)
    return error_user("%s: has %d %s where %s was trained on %d; give the store the run was trained on", store, (int)given->count, what, checkpoint, (int)trained->count);
  return PETSC_SUCCESS;
}

PetscErrorCode trainingstate_check_store(const TrainingState *state, const CellStoreTable *table, const char *checkpoint, const char *store, PetscBool same_cells)
{
  PetscFunctionBeginUser;
  PetscCall(compare_names("genes", &state->gene, &table->gene, checkpoint, store));
  PetscCall(compare_names("perturbations", &state->perturbation, &table->perturbation, checkpoint, store));
  PetscCall(compare_names("cell types", &state->cell_type, &table->cell_type, checkpoint, store));
  PetscCall(compare_names("batches", &state->batch, &table->batch, checkpoint, store));
  if (same_cells && state->store_checksum != table->checksum)
    PetscFunctionReturn(error_user("%s: its cells or split are not those %s was trained on; give that store, or train into a new folder", store, checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}
