/* Sums of arrays over ranks in pieces that MPI can count. */
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>

PetscErrorCode sum_in_pieces(MPI_Comm comm, PetscInt64 piece, PetscInt64 count, MPI_Datatype type, void *values)
{
  int size;

  PetscFunctionBeginUser;
  PetscCheck(piece > 0 && piece <= PETSC_MPI_INT_MAX && count >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "%lld values in pieces of %lld", (long long)count, (long long)piece);
  PetscCallMPI(MPI_Type_size(type, &size));
  for (PetscInt64 first = 0; first < count; first += piece)
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, (char *)values + (size_t)first * (size_t)size, (PetscMPIInt)PetscMin(piece, count - first), type, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sum_over_ranks(MPI_Comm comm, PetscInt64 count, MPI_Datatype type, void *values)
{
  PetscFunctionBeginUser;
  PetscCall(sum_in_pieces(comm, (PetscInt64)1 << 26, count, type, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
