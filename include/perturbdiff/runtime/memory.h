/* How much memory a rank may plan for. */
#ifndef PERTURBDIFF_RUNTIME_MEMORY_H
#define PERTURBDIFF_RUNTIME_MEMORY_H

#include <petscsys.h>

/* memory_share - bytes: what the node, or the control group this job runs in, has left, divided among the ranks on it; the smallest share over comm.
   0 where the system does not tell. Collective. */
PetscErrorCode memory_share(MPI_Comm comm, double *bytes);

#endif
