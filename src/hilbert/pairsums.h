/* Sums of a kernel and of distances over the pairs of cells of each two populations, from tiles. */
#ifndef HILBERT_PAIRSUMS_H
#define HILBERT_PAIRSUMS_H

#include <perturbdiff/hilbert/pairs.h>

/* Sums over all pairs (x of row, y of column), row >= column; row = column: both orders and a cell with itself included. */
typedef struct {
  int32_t row, column;
  double  kernel, distance;
} PairSum;

typedef struct {
  PetscInt    groups;
  Kernel      kernel;
  PetscInt64 *start;    /* (groups + 1) position of a group's first cell */
  double     *self;     /* (groups) sums of k(x,x) */
  double     *norm;     /* (groups) sums of |x| */
  PetscInt64  count, capacity;
  PairSum    *sum;      /* this rank's; each (row, column) once after pairsums_gather */
  double     *row_sums; /* scratch: sums of a tile's rows over the groups of its columns */
  PetscInt64  room;
} PairSums;

/* pairsums_gather - all pairs of this rank's part; self and norm are summed over comm. Collective. pairsums_destroy: safe on a zeroed one. */
PetscErrorCode pairsums_gather(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, const PairPlan *plan, PairSums *sums);
PetscErrorCode pairsums_destroy(PairSums *sums);

static inline PetscInt64 pairsums_cells(const PairSums *sums, PetscInt group) { return sums->start[group + 1] - sums->start[group]; }

/* Mean of k over all pairs of cells of groups i and j from the total sums of kernel and distance. */
double pairsums_mean(const PairSums *sums, PetscInt i, PetscInt j, double kernel, double distance);

#endif
