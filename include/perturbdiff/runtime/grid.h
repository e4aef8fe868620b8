/* The process grid: P ranks = D x C. The C ranks of a group share each cell set (its cells are split among them); the D groups hold
   different sets. MPI only: this file, buckets and cellexchange are also built against SimGrid's SMPI, so they know neither PETSc nor HDF5
   and return MPI's own codes (call them in PetscCallMPI). */
#ifndef PERTURBDIFF_RUNTIME_GRID_H
#define PERTURBDIFF_RUNTIME_GRID_H

#include <mpi.h>

/* Rank = group * C + place: the ranks of a group are neighbours, most likely on one node. */
typedef struct {
  MPI_Comm all;           /* a duplicate of the communicator given */
  MPI_Comm cells;         /* the C ranks of this rank's group */
  int      ranks, rank;   /* of all */
  int      groups, group; /* D, and this rank's row d */
  int      parts, part;   /* C, and this rank's column c */
} ProcessGrid;

/* grid_create - parts (C) must divide the number of ranks (MPI_ERR_DIMS otherwise). Collective on comm. */
int grid_create(MPI_Comm comm, int parts, ProcessGrid *grid);
int grid_destroy(ProcessGrid *grid);

/* Items of `total` that fall to place i of n, contiguous blocks, the first total % n one more. Serves sets over groups, cells over a group's ranks,
   rows of a file over ranks. */
static inline void share_of(long long total, int i, int n, long long *first, long long *count)
{
  const long long each = total / n, more = total % n;

  *first = i * each + (i < more ? i : more);
  *count = each + (i < more);
}

#endif
