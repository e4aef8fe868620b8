/* Products of cells of which one side is kept by its values that are not zero: these are what it costs. */
#ifndef PERTURBDIFF_HILBERT_SPARSEPRODUCTS_H
#define PERTURBDIFF_HILBERT_SPARSEPRODUCTS_H

#include <perturbdiff/data/anndata.h>

/* Cells of a panel. */
enum { SPARSE_PANEL = 56 };

/* What two cells, 2 p and 2 p + 1, have in a slab of genes, list after list: of places from `begin` on, of values from `value` on. A cell's value is its unit,
   which is not kept, or given, as units may be too: alone, or where a list needs them.
     zipped        two genes beside each other: in one both cells have their unit; in the other both are given, two values
     second_given  the first cell has its unit, one value of the second
     first_given   one value of the first, the second has its unit
     both          two values
     first, second one value of the only cell that has one
   Without units there are only the last three. */
typedef struct {
  int64_t begin, value;
  uint8_t zipped, second_given, first_given, both, first, second;
} SparsePart;

/* Cells by their values that are not zero, slab after slab, in each pair after pair. With units, values are multiples of their cell's. */
typedef struct {
  PetscInt64  cells; /* an odd last one has a partner without values */
  PetscInt    dimension;
  SparsePart *part;  /* (slabs, pairs) */
  uint16_t   *place; /* of a gene in a slab of a panel: gene * SPARSE_PANEL */
  double     *unit;  /* of every cell and of the partner; NULL without units */
  float      *value; /* NULL with units, and where values are kept in double precision: */
  double     *wide;
} SparseCells;

/* Cells side by side, gene after gene: (dimension, SPARSE_PANEL), in the precision of their values: one of both. */
typedef struct {
  float  *value;
  double *wide;
} SparsePanel;

/* sparseproducts_pay - are they faster on this CPU than dense products by BLAS? With AVX-512, even where no value is zero; without it never. */
PetscBool sparseproducts_pay(void);

/* sparsecells_create - the cells of some rows, whose columns need not ascend; rows may go then. square (cells): their squared norms, NULL: not wanted. Destroy: safe on a zeroed one. Not collective. */
PetscErrorCode sparsecells_create(const SparseRows *rows, PetscInt dimension, SparseCells *cells, double *square);
PetscErrorCode sparsecells_destroy(SparseCells *cells);

/* sparsecells_add - cell (dimension) += sign * cell i, to the last bit as it was. Not collective. */
void sparsecells_add(const SparseCells *cells, PetscInt64 i, double sign, double *cell);

/* sparsepanel_bytes - the size of a panel of so many genes; wide: in double precision. sparsepanel_at - a panel in memory of that size, at a multiple of 64 bytes. */
static inline size_t      sparsepanel_bytes(PetscInt dimension, PetscBool wide) { return (size_t)dimension * SPARSE_PANEL * (wide ? sizeof(double) : sizeof(float)); }
static inline SparsePanel sparsepanel_at(void *memory, PetscBool wide) { return wide ? (SparsePanel){.wide = (double *)memory} : (SparsePanel){.value = (float *)memory}; }
static inline double      sparsepanel_get(const SparsePanel *panel, PetscInt gene, PetscInt64 cell)
{
  const size_t at = (size_t)gene * SPARSE_PANEL + (size_t)cell;
  return panel->wide ? panel->wide[at] : (double)panel->value[at];
}

/* sparsepanel_fill - cells [first, first + SPARSE_PANEL) of y, as far as there are so many, with all their values; first is even; the panel is in the precision of the rows that y was created of.
   sparse_products - product (count rounded up to even, SPARSE_PANEL), contiguous, at a multiple of 64 bytes too, = x_i.y_j for cells [first, first + count) of x, first even, and the first `columns`
   of a panel (what is beyond them, and the cell after an odd count, is not defined), summed in double precision. One thread; thread-safe. */
void sparsepanel_fill(const SparseCells *y, PetscInt64 first, const SparsePanel *panel);
void sparse_products(const SparseCells *x, PetscInt64 first, PetscInt64 count, const SparsePanel *panel, PetscInt64 columns, double *product);

#endif
