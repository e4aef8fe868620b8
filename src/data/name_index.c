/* Open addressing with the FNV-1a hash. */
#include "data/name_index.h"
#include <perturbdiff/runtime/error.h>
#include <string.h>

static size_t hash(const char *name)
{
  uint64_t h = UINT64_C(14695981039346656037);

  for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
  return (size_t)(h ^ (h >> 29));
}

/* Slot that holds the name, or the free one where it belongs. */
static size_t slot_of(const NameIndex *index, const char *const *names, const char *name)
{
  size_t at = hash(name) & (index->slots - 1);

  while (index->slot[at] >= 0 && strcmp(names[index->slot[at]], name)) at = (at + 1) & (index->slots - 1);
  return at;
}

static PetscErrorCode allocate(NameIndex *index, size_t slots)
{
  PetscFunctionBeginUser;
  index->slots = slots;
  PetscCall(PetscMalloc1(slots, &index->slot));
  for (size_t i = 0; i < slots; i++) index->slot[i] = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nameindex_create(NameIndex *index)
{
  PetscFunctionBeginUser;
  index->used = 0;
  PetscCall(allocate(index, 1024));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nameindex_destroy(NameIndex *index)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(index->slot));
  *index = (NameIndex){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode grow(NameIndex *index, const char *const *names)
{
  int32_t     *old   = index->slot;
  const size_t slots = index->slots;

  PetscFunctionBeginUser;
  PetscCall(allocate(index, 2 * slots));
  for (size_t i = 0; i < slots; i++)
    if (old[i] >= 0) index->slot[slot_of(index, names, names[old[i]])] = old[i];
  PetscCall(PetscFree(old));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nameindex_put(NameIndex *index, const char *const *names, const char *name, int32_t next, int32_t *found)
{
  PetscFunctionBeginUser;
  if (2 * index->used >= index->slots) PetscCall(grow(index, names));
  const size_t at = slot_of(index, names, name);
  if (index->slot[at] < 0) {
    index->slot[at] = next;
    index->used++;
  }
  *found = index->slot[at];
  PetscFunctionReturn(PETSC_SUCCESS);
}

int32_t nameindex_find(const NameIndex *index, const char *const *names, const char *name) { return index->slot[slot_of(index, names, name)]; }
