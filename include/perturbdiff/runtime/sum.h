/* Sums of arrays over ranks, longer than the 32-bit counts of MPI. */
#ifndef PERTURBDIFF_RUNTIME_SUM_H
#define PERTURBDIFF_RUNTIME_SUM_H

#include <petscsys.h>

/* sum_over_ranks - values (count, of MPI type `type`, whose extent is its size: MPI_DOUBLE, MPI_INT64_T, ...) become their sums over comm, the same on all ranks; count is a 64-bit number, the
   same on all ranks, and may be 0. Messages are pieces of at most 2^26 values, so that no count of MPI overflows and a copy inside MPI stays small. Collective.
   sum_in_pieces: the same in pieces of `piece` values. */
PetscErrorCode sum_over_ranks(MPI_Comm comm, PetscInt64 count, MPI_Datatype type, void *values);
PetscErrorCode sum_in_pieces(MPI_Comm comm, PetscInt64 piece, PetscInt64 count, MPI_Datatype type, void *values);

#endif
