/* What a checkpoint holds, in memory. */
#include "training/training_internal.h"
#include <string.h>

PetscErrorCode trainingstate_begin(const DenoiserShape *shape, const Shard *shard, TrainingState *state)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(state, sizeof *state));
  PetscCall(parametertable_create(shape, &state->table));
  state->shard.total = state->shard.whole = state->table.total;
  if (shard && shard->piece) {
    state->shard = *shard;
    PetscCall(PetscMalloc1(shard->count, &state->shard.piece));
    PetscCall(PetscArraycpy(state->shard.piece, shard->piece, shard->count));
  }
  PetscCall(PetscCalloc1(state->table.count, &state->steps_taken));
  state->strength = 1;
  state->best_validation = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainingstate_allocate(TrainingState *state, PetscBool moments)
{
  PetscFunctionBeginUser;
  state->parameters = state->shard.parameters;
  if (!state->parameters) PetscCall(values_create(state->table.total, &state->parameters));
  PetscCall(values_create(state->shard.total, &state->average));
  if (!moments) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(values_create(state->shard.total, &state->first));
  PetscCall(values_create(state->shard.total, &state->second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainingstate_create(const DenoiserShape *shape, const Shard *shard, TrainingState *state)
{
  PetscFunctionBeginUser;
  PetscCall(trainingstate_begin(shape, shard, state));
  PetscCall(trainingstate_allocate(state, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode trainingstate_destroy(TrainingState *state)
{
  Vocabulary *const vocabulary[] = {&state->gene, &state->perturbation, &state->cell_type, &state->batch};

  PetscFunctionBeginUser;
  PetscCall(PetscFree(state->shard.piece));
  if (!state->shard.parameters) PetscCall(PetscFree(state->parameters));
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

/* The same names in the same order, or a user error that says how many of the trained ones are missing and which. */
static PetscErrorCode compare_names(const char *what, const Vocabulary *trained, const Vocabulary *given, const char *checkpoint, const char *store)
{
  const char *missing[3] = {"", "", ""};
  PetscInt    count = 0, place = 0;

  if (trained->count == given->count) {
    while (place < trained->count && !strcmp(trained->name[place], given->name[place])) place++;
    if (place == trained->count) return PETSC_SUCCESS;
  }
  for (PetscInt i = 0; i < trained->count; i++) {
    if (vocabulary_find(given, trained->name[i]) >= 0) continue;
    if (count < 3) missing[count] = trained->name[i];
    count++;
  }
  if (count)
    return error_user("%s: lacks %d of the %d %s that %s was trained on (%s%s%s%s%s%s); give the store the run was trained on", store, (int)count,
                      (int)trained->count, what, checkpoint, missing[0], count > 1 ? ", " : "", missing[1], count > 2 ? ", " : "", missing[2],
                      count > 3 ? ", ..." : "");
  if (trained->count != given->count)
    return error_user("%s: has %d %s where %s was trained on %d; give the store the run was trained on", store, (int)given->count, what, checkpoint,
                      (int)trained->count);
  return error_user("%s: its %s are in another order than in %s (the first that differs: '%s', trained '%s'); give the store the run was trained on", store,
                    what, checkpoint, given->name[place], trained->name[place]);
}

PetscErrorCode trainingstate_check_store(const TrainingState *state, const CellStoreTable *table, const char *checkpoint, const char *store,
                                         PetscBool same_cells)
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
