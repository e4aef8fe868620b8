/* How much memory a rank may plan for. */
#ifndef PERTURBDIFF_RUNTIME_MEMORY_H
#define PERTURBDIFF_RUNTIME_MEMORY_H

#include <perturbdiff/runtime/real.h>
#include <petscsys.h>

/* memory_share - bytes: what the node, or the control group this job runs in, has left, divided among the ranks on it; the smallest share over comm.
   0 where the system does not tell. Collective. */
PetscErrorCode memory_share(MPI_Comm comm, double *bytes);

/* A part of what a rank will need. */
typedef struct {
  const char *name;
  double      bytes;
} MemoryItem;

/* memory_print - lines of the log: bytes a rank, what else is to be said (note), and the items that are not 0. Not collective (other ranks than the first
   return at once). memory_exceeded - the user error that `what` needs more bytes a rank than the limit; advice: what to do. */
PetscErrorCode memory_print(MPI_Comm comm, double bytes, const char *note, PetscInt items, const MemoryItem *item);
PetscErrorCode memory_exceeded(const char *what, double bytes, double limit, const char *advice);

/* memory_large_pages - ask the system for large pages where memory was allocated and not yet written: a hint that long arrays are passed over quicker. Not collective. */
void memory_large_pages(void *address, size_t bytes);

/* memory_zero - by all threads: new pages cost more than clearing them. Not collective. */
void memory_zero(void *address, size_t bytes);

/* memory_keep_freed - from now on freed arrays of up to 32 MiB stay with the process for the next ones, whose pages need not be cleared again, and come from large pages where the system
   has them (a virtual machine may take 3 ms for a MiB of small ones): for passes that allocate the same sizes over and over. Before threads are started; not collective. */
void memory_keep_freed(void);

/* values_create - n zeros, on large pages where the system has them. Free with PetscFree. Not collective. */
PetscErrorCode values_create(size_t n, Real **values);

#endif
