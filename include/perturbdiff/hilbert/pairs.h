/* All pairs of cells of some groups, a tile at a time: the distances come from matrix products in double. No ScaLAPACK. */
#ifndef PERTURBDIFF_HILBERT_PAIRS_H
#define PERTURBDIFF_HILBERT_PAIRS_H

#include <perturbdiff/hilbert/kernel.h>

/* Squared distances of rows x columns cells, positions counted over the groups laid end to end. Every pair of cells comes once over all ranks: in a tile with
   first_column + columns <= first_row, where its mirror image is left to the visitor, or in a diagonal tile (first_row = first_column, rows = columns), which holds
   both (i,j) and (j,i), and zeros on its diagonal. */
typedef struct {
  PetscInt64    first_row, first_column;
  PetscInt      rows, columns, ld;
  PetscBool     diagonal;
  const double *row_square, *column_square; /* |x|^2 (rows), |y|^2 (columns) */
  double       *distance;                   /* (rows, columns) row-major, row stride ld: |x-y|^2; the visitor may overwrite it */
} PairTile;

typedef PetscErrorCode (*PairVisitor)(void *context, const PairTile *tile);

/* Work of a rank: the pairs of all cells, equal parts. */
typedef struct {
  PetscInt64 cells;
  PetscInt   dimension;
  PetscInt   resident; /* rows kept dense */
  PetscInt   columns;  /* columns made dense at a time */
  PetscInt   rows;     /* rows of a tile */
  PetscBool  progress; /* rank 0 says how far it is and the time left */
} PairPlan;

/* pairs_plan - sizes of blocks for so many ranks within about `bytes` a rank (0: 256 MiB); pairs_bytes: what they take. Not collective. */
PairPlan pairs_plan(PetscInt64 cells, PetscInt dimension, int ranks, double bytes);
double   pairs_bytes(const PairPlan *plan);

/* pairs_visit - visit called with the tiles of this rank, in an order that depends on the number of ranks only; distances to 1e-10 of themselves also where cells nearly
   coincide. Inside the products and maps the OpenMP threads work; visit is called by one thread. Collective on comm (errors are agreed on; no other communication). */
PetscErrorCode pairs_visit(MPI_Comm comm, PetscInt groups, const CellGroup *group, const PairPlan *plan, PairVisitor visit, void *context);

/* kernel_means - means[i * groups + j] = mean of k over all pairs of cells of groups i and j (a cell with itself included), for a few groups: every rank holds all
   means. self[i] = mean of k(x,x) over group i; may be NULL. Collective on comm; MPI_COMM_SELF for one's own groups. */
PetscErrorCode kernel_means(MPI_Comm comm, const Kernel *kernel, PetscInt groups, const CellGroup *group, double *means, double *self);

/* energy_distance - 2 E|x-y| - E|x-x'| - E|y-y'| of rows x (n, dimension) and y (m, dimension), all pairs (pertpy's edistance). Not collective. */
PetscErrorCode energy_distance(PetscInt64 n, const double *x, PetscInt64 m, const double *y, PetscInt dimension, double *distance);

#endif
