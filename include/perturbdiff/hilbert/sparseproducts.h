/* Products of cells of which one side is kept by its values that are not zero: these are what it costs. */
#ifndef PERTURBDIFF_HILBERT_SPARSEPRODUCTS_H
#define PERTURBDIFF_HILBERT_SPARSEPRODUCTS_H

#include <perturbdiff/data/anndata.h>

/* Cells of a panel. */
enum { SPARSE_PANEL = 96 };

/* Cells by their values that are not zero, slab of genes by slab, in each cell by cell: those of cell i in slab s are [begin[s * cells + i], begin[s * cells + i + 1]). */
typedef struct {
  PetscInt64 cells;
  PetscInt   dimension;
  int64_t   *begin;
  int32_t   *place; /* in a panel: gene * SPARSE_PANEL */
  double    *value;
} SparseCells;

/* sparseproducts_pay - are they faster on this CPU than dense products by BLAS, where `density` of a cell's values are not zero? Without AVX-512 never. */
PetscBool sparseproducts_pay(double density);

/* sparsecells_create - the cells of some rows, whose columns need not ascend; rows may go then. Destroy: safe on a zeroed one. Not collective. */
PetscErrorCode sparsecells_create(const SparseRows *rows, PetscInt dimension, SparseCells *cells);
PetscErrorCode sparsecells_destroy(SparseCells *cells);

/* sparsepanel_fill - cells [first, first + SPARSE_PANEL) of y, as far as there are so many, with all their values side by side: panel (dimension, SPARSE_PANEL), at a
   multiple of 64 bytes. sparse_products - product (count, SPARSE_PANEL), contiguous, at a multiple of 64 bytes too, = x_i.y_j for cells [first, first + count) of x and the first
   `columns` of a panel (what is beyond them is not defined), summed in double precision. One thread; thread-safe. */
void sparsepanel_fill(const SparseCells *y, PetscInt64 first, double *panel);
void sparse_products(const SparseCells *x, PetscInt64 first, PetscInt64 count, const double *panel, PetscInt64 columns, double *product);

#endif
