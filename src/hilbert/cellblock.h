/* Cells made dense, and the products x.y of all cells of two blocks in double. */
#ifndef HILBERT_CELLBLOCK_H
#define HILBERT_CELLBLOCK_H

#include <perturbdiff/hilbert/features.h>

/* How the values lie. ROWS: (cells, dimension) row-major, products by BLAS. PANELS: CELLBLOCK_STEP cells side by side, (dimension, CELLBLOCK_STEP) each, the last one filled up with zeros:
   packed once where BLAS packs both factors of every product, and a kernel that keeps 24 x 8 sums in the registers of AVX-512. */
typedef enum { CELLBLOCK_ROWS, CELLBLOCK_PANELS } CellLayout;
enum { CELLBLOCK_STEP = 24 };

typedef struct {
  CellLayout layout;
  PetscInt   capacity, dimension;
  double    *values; /* inside memory, on a cache line */
  double    *square; /* (capacity) |x|^2 */
  void      *memory;
} CellBlock;

/* The layout for this CPU. */
CellLayout cellblock_layout(void);

/* cellblock_create - room for `capacity` cells, nothing in it. cellblock_destroy: safe on a zeroed one. cellblock_bytes: what it takes. Not collective. */
PetscErrorCode cellblock_create(CellLayout layout, PetscInt capacity, PetscInt dimension, CellBlock *block);
PetscErrorCode cellblock_destroy(CellBlock *block);
double         cellblock_bytes(double capacity, PetscInt dimension);

/* cellblock_load - cells [first, first + count) of the groups laid end to end become the block's cells 0, 1, ... Uses the OpenMP threads. Not collective. User errors as features_rows. */
PetscErrorCode cellblock_load(PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt count, CellBlock *block);

/* cellblock_products - product (rows, columns; row stride ld) = x_i.y_j for the cells [row, row + rows) of x and [column, column + columns) of y. One thread; thread-safe; BLAS must
   have one thread. PANELS: every product is one chain of sums over the dimension, so that it does not depend on where in a block a cell lies. Fastest where row, rows, column and columns
   are multiples of CELLBLOCK_STEP. Same layout and dimension. */
void cellblock_products(const CellBlock *x, PetscInt row, PetscInt rows, const CellBlock *y, PetscInt column, PetscInt columns, double *product, PetscInt ld);

/* |x_i - y_j|^2 from the cells. */
double cellblock_squared_difference(const CellBlock *x, PetscInt i, const CellBlock *y, PetscInt j);

#endif
