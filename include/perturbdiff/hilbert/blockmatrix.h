/* Matrices of doubles dealt block-cyclically over a grid of ranks, for ScaLAPACK (its indices are 32-bit: sizes are checked). */
#ifndef PERTURBDIFF_HILBERT_BLOCKMATRIX_H
#define PERTURBDIFF_HILBERT_BLOCKMATRIX_H

#include <petscsys.h>

/* Ranks laid out as rows x columns, rank = row * columns + column of comm; ranks from rows * columns on are outside (row = column = -1), hold nothing
   and skip the algebra, but take part in everything said to be collective. */
typedef struct {
  MPI_Comm comm;            /* a duplicate of the communicator given */
  int      ranks, rank;     /* of comm */
  int      rows, columns;   /* shape of the grid */
  int      row, column;     /* this rank's place, -1 outside */
  int      block;           /* edge of a block of every matrix on this grid */
  int      handle, context; /* BLACS */
} BlockGrid;

/* blockgrid_create - the grid for matrices of about `size` rows: as square as the number of ranks allows while at least nine tenths of them have work, no
   more ranks along an edge than there are blocks. Collective on comm. blockgrid_destroy: after the matrices; safe on NULL. */
PetscErrorCode blockgrid_create(MPI_Comm comm, PetscInt64 size, BlockGrid **grid);
PetscErrorCode blockgrid_destroy(BlockGrid **grid);

/* Entry (i,j) lies on grid place ((i / block) % rows, (j / block) % columns). Local entries are column-major, leading dimension ld. */
typedef struct {
  const BlockGrid *grid;                      /* not owned */
  PetscInt         rows, columns;             /* of the whole matrix */
  int              local_rows, local_columns; /* 0 outside the grid */
  int              ld;                        /* max(1, local_rows) */
  int              descriptor[9];             /* ScaLAPACK's */
  double          *values;
} BlockMatrix;

/* blockmatrix_create - zeros. Collective. blockmatrix_destroy: safe on a zeroed one. User error: more entries a rank than ScaLAPACK can count. */
PetscErrorCode blockmatrix_create(const BlockGrid *grid, PetscInt64 rows, PetscInt64 columns, BlockMatrix *matrix);
PetscErrorCode blockmatrix_destroy(BlockMatrix *matrix);
/* Bytes of the largest share of a rank, to plan memory with. Not collective. */
double blockmatrix_bytes(const BlockGrid *grid, PetscInt64 rows, PetscInt64 columns);

/* Not collective: global row or column of a local one. */
static inline PetscInt blockmatrix_row(const BlockMatrix *m, int local)
{
  const int b = m->grid->block;
  return (local / b * m->grid->rows + m->grid->row) * b + local % b;
}
static inline PetscInt blockmatrix_column(const BlockMatrix *m, int local)
{
  const int b = m->grid->block;
  return (local / b * m->grid->columns + m->grid->column) * b + local % b;
}

/* blockmatrix_from_rows - rank r of comm holds the rows that share_of(rows, r, ranks) gives it, row-major and contiguous; to_rows the way back. Collective.
   Take one more copy of a rank's share. */
PetscErrorCode blockmatrix_from_rows(BlockMatrix *matrix, const double *rows);
PetscErrorCode blockmatrix_to_rows(const BlockMatrix *matrix, double *rows);
/* blockmatrix_add_panel - matrix[first_row..., all columns] += sum over ranks of panel (rows, columns), row-major, on every rank; panel is overwritten. Collective. */
PetscErrorCode blockmatrix_add_panel(BlockMatrix *matrix, PetscInt first_row, PetscInt rows, double *panel);
/* blockmatrix_add_entries - add count entries (row, column, value) of this rank to their owners'; any rank, any entries. Collective. */
typedef struct {
  int32_t row, column;
  double  value;
} BlockEntry;
PetscErrorCode blockmatrix_add_entries(BlockMatrix *matrix, PetscInt64 count, const BlockEntry *entries);
/* Diagonal (min(rows, columns)) on every rank. Collective. blockmatrix_replicate: columns [first, first + count) as (rows, count) row-major on every rank. */
PetscErrorCode blockmatrix_diagonal(const BlockMatrix *matrix, double *diagonal);
PetscErrorCode blockmatrix_replicate(const BlockMatrix *matrix, PetscInt first, PetscInt count, double *values);

/* ---- Algebra. Collective. A non-zero info of ScaLAPACK is a program error unless said otherwise. All matrices of a call on one grid. ---- */

/* C = alpha op(A) op(B) + beta C (pdgemm). */
PetscErrorCode blockmatrix_product(PetscBool transpose_a, PetscBool transpose_b, double alpha, const BlockMatrix *a, const BlockMatrix *b, double beta, BlockMatrix *c);
/* blockmatrix_cholesky - lower triangle of A becomes L, A = L L' (pdpotrf); the upper triangle is left as it was. failed: 0, or the order of the leading minor
   that is not positive definite, the same on all ranks; A is then lost. */
PetscErrorCode blockmatrix_cholesky(BlockMatrix *a, PetscInt *failed);
/* B = alpha op(L)^-1 B (left) or alpha B op(L)^-1 (right), L lower triangular (pdtrsm). */
PetscErrorCode blockmatrix_triangular_solve(PetscBool left, PetscBool transpose, double alpha, const BlockMatrix *l, BlockMatrix *b);
/* B = A^-1 B by the Cholesky factor L of A (pdpotrs). */
PetscErrorCode blockmatrix_cholesky_solve(const BlockMatrix *l, BlockMatrix *b);
/* blockmatrix_eigen - A = Z diag(values) Z', values (rows) ascending on every rank, Z (rows, rows) may be NULL; A symmetric, its lower triangle read, overwritten (pdsyevd).
   Program error: eigenvalues whose sum or sum of squares is not the matrix's.
   Each column of Z has its entry of largest modulus positive, so that the signs do not depend on the ranks. */
PetscErrorCode blockmatrix_eigen(BlockMatrix *a, double *values, BlockMatrix *z);

#endif
