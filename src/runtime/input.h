/* YAML input files as flat (name, value, line) entries. */
#ifndef RUNTIME_INPUT_H
#define RUNTIME_INPUT_H

#include <petscsys.h>

typedef struct {
  char    *name;  /* keys of the path joined by _ */
  char    *value; /* scalar; a sequence of scalars joined by commas */
  PetscInt line;
} InputEntry;

typedef struct {
  PetscInt    count;
  InputEntry *entry;
} InputEntries;

/* input_read - the file's entries in order, read by rank 0. Collective. User errors, on all ranks: missing or unreadable file,
   YAML that does not parse (with line), a document that is not a mapping, a key given twice. */
PetscErrorCode input_read(MPI_Comm comm, const char *path, InputEntries *entries);
PetscErrorCode input_free(InputEntries *entries);

#endif
