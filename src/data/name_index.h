/* From names to indices in constant time. */
#ifndef DATA_NAME_INDEX_H
#define DATA_NAME_INDEX_H

#include <petscsys.h>
#include <stdint.h>

/* An open-addressing table over an array of names that the caller keeps. */
typedef struct {
  size_t   slots, used; /* slots: a power of two */
  int32_t *slot;        /* index of a name, -1: free */
} NameIndex;

PetscErrorCode nameindex_create(NameIndex *index);
PetscErrorCode nameindex_destroy(NameIndex *index);
/* nameindex_put - look name up among names; if it is not there, it gets index next (names[next] is set by the caller afterwards).
   found: its index, or next. */
PetscErrorCode nameindex_put(NameIndex *index, const char *const *names, const char *name, int32_t next, int32_t *found);
int32_t        nameindex_find(const NameIndex *index, const char *const *names, const char *name);

#endif
