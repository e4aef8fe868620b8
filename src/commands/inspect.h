/* Parts of the command inspect. All print on rank 0's standard output. */
#ifndef COMMANDS_INSPECT_H
#define COMMANDS_INSPECT_H

#include <petscsys.h>

/* printf on rank 0. */
void inspect_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "  title   count: first, second, ..." */
void inspect_names(const char *title, PetscInt64 count, const char *const *name);

/* Collective on PETSC_COMM_WORLD. User errors: as anndata_open. */
PetscErrorCode inspect_anndata(const char *path);
/* Collective on PETSC_COMM_WORLD. */
PetscErrorCode inspect_machine(void);

#endif
