/* The process grid D x C. */
#include <perturbdiff/runtime/grid.h>

#define Try(call) \
  do { \
    const int code_ = (call); \
    if (code_ != MPI_SUCCESS) return code_; \
  } while (0)

int grid_create(MPI_Comm comm, int parts, ProcessGrid *grid)
{
  int ranks;

  Try(MPI_Comm_size(comm, &ranks));
  if (parts < 1 || ranks % parts) return MPI_ERR_DIMS;
  Try(MPI_Comm_dup(comm, &grid->all));
  Try(MPI_Comm_rank(grid->all, &grid->rank));
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
  Try(MPI_Comm_free(&grid->cells));
  return MPI_Comm_free(&grid->all);
}
