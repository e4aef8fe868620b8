/* The process grid D x C. */
#include <perturbdiff/runtime/grid.h>
#include "runtime/try_mpi.h"

int grid_create(MPI_Comm comm, int parts, ProcessGrid *grid)
{
  int ranks;

  TryMPI(MPI_Comm_size(comm, &ranks));
  if (parts < 1 || ranks % parts) return MPI_ERR_DIMS;
  TryMPI(MPI_Comm_dup(comm, &grid->all));
  TryMPI(MPI_Comm_rank(grid->all, &grid->rank));
  grid->ranks  = ranks;
  grid->parts  = parts;
  grid->groups = ranks / parts;
  grid->group  = grid->rank / parts;
  grid->part   = grid->rank % parts;
  return MPI_Comm_split(grid->all, grid->group, grid->part, &grid->cells);
}

int grid_destroy(ProcessGrid *grid)
{
  if (grid->all == MPI_COMM_NULL) return MPI_SUCCESS;
  TryMPI(MPI_Comm_free(&grid->cells));
  return MPI_Comm_free(&grid->all);
}
