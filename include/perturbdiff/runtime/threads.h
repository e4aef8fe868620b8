/* Work shared by the OpenMP threads of a rank. */
#ifndef PERTURBDIFF_RUNTIME_THREADS_H
#define PERTURBDIFF_RUNTIME_THREADS_H

#include <petscsys.h>

/* threads_that_allocate - how many may take memory by PETSc at a time: one where it keeps accounts of that (-malloc_debug) or of the functions called (a PETSc built for debugging),
   which only one thread may write, or where a loop is shared already; else all. */
int threads_that_allocate(void);

/* threads_each - task(context, item) for each item, on so many threads; items are dealt out as threads become free. The error is one of the tasks', those not begun by then are left out. Not
   collective. threads_each_beside - and meanwhile beside(context), which the calling thread does before it takes items: what uses MPI. */
PetscErrorCode threads_each(int threads, PetscInt64 items, PetscErrorCode (*task)(void *context, PetscInt64 item), void *context);
PetscErrorCode threads_each_beside(int threads, PetscInt64 items, PetscErrorCode (*task)(void *context, PetscInt64 item), void *context, PetscErrorCode (*beside)(void *context));

#endif
