/* ScaLAPACK on block-cyclic matrices. */
#include "hilbert/scalapack.h"
#include <math.h>
#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/runtime/error.h>

static const int one = 1;

/* A failure is the same on all ranks of the grid; the ranks outside hear of it. */
static PetscErrorCode agree_info(const BlockGrid *grid, const char *routine, int *info)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(info, 1, MPI_INT, 0, grid->comm));
  PetscCheck(*info >= 0, grid->comm, PETSC_ERR_LIB, "ScaLAPACK: %s: argument %d is wrong", routine, *info < -99 ? -*info / 100 : -*info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_product(PetscBool transpose_a, PetscBool transpose_b, double alpha, const BlockMatrix *a, const BlockMatrix *b, double beta, BlockMatrix *c)
{
  const int inner = transpose_a ? a->rows : a->columns;

  PetscFunctionBeginUser;
  PetscCheck((transpose_a ? a->columns : a->rows) == c->rows && (transpose_b ? b->rows : b->columns) == c->columns && (transpose_b ? b->columns : b->rows) == inner, c->grid->comm,
             PETSC_ERR_ARG_SIZ, "Matrices of a product do not fit");
  if (c->grid->row >= 0)
    pdgemm_(transpose_a ? "T" : "N", transpose_b ? "T" : "N", &c->rows, &c->columns, &inner, &alpha, a->values, &one, &one, a->descriptor, b->values, &one, &one, b->descriptor, &beta,
            c->values, &one, &one, c->descriptor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_cholesky(BlockMatrix *a, PetscInt *failed)
{
  int info = 0;

  PetscFunctionBeginUser;
  PetscCheck(a->rows == a->columns, a->grid->comm, PETSC_ERR_ARG_SIZ, "Cholesky of a matrix that is not square");
  if (a->grid->row >= 0) pdpotrf_("L", &a->rows, a->values, &one, &one, a->descriptor, &info, 1);
  PetscCall(agree_info(a->grid, "pdpotrf", &info));
  *failed = info;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_triangular_solve(PetscBool left, PetscBool transpose, double alpha, const BlockMatrix *l, BlockMatrix *b)
{
  PetscFunctionBeginUser;
  PetscCheck(l->rows == (left ? b->rows : b->columns), b->grid->comm, PETSC_ERR_ARG_SIZ, "Matrices of a triangular solve do not fit");
  if (b->grid->row >= 0)
    pdtrsm_(left ? "L" : "R", "L", transpose ? "T" : "N", "N", &b->rows, &b->columns, &alpha, l->values, &one, &one, l->descriptor, b->values, &one, &one, b->descriptor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_cholesky_solve(const BlockMatrix *l, BlockMatrix *b)
{
  int info = 0;

  PetscFunctionBeginUser;
  PetscCheck(l->rows == b->rows, b->grid->comm, PETSC_ERR_ARG_SIZ, "Matrices of a solve do not fit");
  if (b->grid->row >= 0) pdpotrs_("L", &l->rows, &b->columns, l->values, &one, &one, l->descriptor, b->values, &one, &one, b->descriptor, &info, 1);
  PetscCall(agree_info(b->grid, "pdpotrs", &info));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each column's entry of largest modulus becomes positive; of several within rounding the first counts. */
static PetscErrorCode fix_signs(BlockMatrix *z)
{
  const double near = 1 - 1e-8;
  double      *largest, *signed_first;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(z->columns, &largest, 2 * (size_t)z->columns, &signed_first));
  for (int j = 0; j < z->local_columns; j++)
    for (int i = 0; i < z->local_rows; i++) largest[blockmatrix_column(z, j)] = PetscMax(largest[blockmatrix_column(z, j)], fabs(z->values[(size_t)j * (size_t)z->ld + (size_t)i]));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, largest, z->columns, MPI_DOUBLE, MPI_MAX, z->grid->comm));
  /* The smallest row wins; its sign travels along as the parity. */
  for (PetscInt j = 0; j < z->columns; j++) signed_first[j] = 2. * z->rows;
  for (int j = 0; j < z->local_columns; j++) {
    const PetscInt column = blockmatrix_column(z, j);
    for (int i = z->local_rows - 1; i >= 0; i--) {
      const double value = z->values[(size_t)j * (size_t)z->ld + (size_t)i];
      if (fabs(value) >= near * largest[column]) signed_first[column] = 2. * blockmatrix_row(z, i) + (value < 0);
    }
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, signed_first, z->columns, MPI_DOUBLE, MPI_MIN, z->grid->comm));
  for (int j = 0; j < z->local_columns; j++)
    if (fmod(signed_first[blockmatrix_column(z, j)], 2) > 0)
      for (int i = 0; i < z->local_rows; i++) z->values[(size_t)j * (size_t)z->ld + (size_t)i] *= -1;
  PetscCall(PetscFree2(largest, signed_first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On the ranks of the grid only. */
static PetscErrorCode call_pdsyevd(BlockMatrix *a, double *values, BlockMatrix *z, int *info)
{
  double      *work, size = 0;
  int          index_size = 0, *index_work, query = -1;
  const double margin = (double)a->grid->block * (a->local_rows + a->local_columns + 2. * a->grid->block); /* the size asked for is short of what PDORMTR checks */

  PetscFunctionBeginUser;
  pdsyevd_("V", "L", &a->rows, a->values, &one, &one, a->descriptor, values, z->values, &one, &one, z->descriptor, &size, &query, &index_size, &query, info, 1, 1);
  PetscCheck(*info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "ScaLAPACK: pdsyevd: the size of its workspace is not known (info %d)", *info);
  PetscCheck(size + margin < 2147483647., PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The workspace of pdsyevd is more than ScaLAPACK can count");
  const int work_size = (int)(size + margin);
  PetscCall(PetscMalloc2(work_size, &work, index_size, &index_work));
  pdsyevd_("V", "L", &a->rows, a->values, &one, &one, a->descriptor, values, z->values, &one, &one, z->descriptor, work, &work_size, index_work, &index_size, info, 1, 1);
  PetscCall(PetscFree2(work, index_work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Trace and sum of squares of a symmetric matrix by its lower triangle. */
static PetscErrorCode invariants(const BlockMatrix *a, double *sum)
{
  PetscFunctionBeginUser;
  sum[0] = sum[1] = 0;
  for (int j = 0; j < a->local_columns; j++)
    for (int i = 0; i < a->local_rows; i++) {
      const PetscInt row = blockmatrix_row(a, i), column = blockmatrix_column(a, j);
      const double   value = a->values[(size_t)j * (size_t)a->ld + (size_t)i];
      if (row == column) sum[0] += value;
      if (row >= column) sum[1] += (row == column ? 1 : 2) * value * value;
    }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, a->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues sum to the trace, their squares to that of the entries: pdsyevr of ScaLAPACK 2.2 has been seen to return some values twice and others not at all, without a word. */
static PetscErrorCode check_invariants(MPI_Comm comm, PetscInt n, const double *values, const double *expected)
{
  const double tolerance = 1e-9 * sqrt((double)n * expected[1]);
  double       sum = 0, squares = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; k++) {
    sum += values[k];
    squares += values[k] * values[k];
  }
  PetscCheck(fabs(sum - expected[0]) <= tolerance && fabs(squares - expected[1]) <= 1e-9 * expected[1], comm, PETSC_ERR_LIB,
             "Eigenvalues sum to %g, the trace is %g; their squares to %g, those of the entries to %g", sum, expected[0], squares, expected[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_eigen(BlockMatrix *a, double *values, BlockMatrix *z)
{
  BlockMatrix own = {0}; /* pdsyevd has no form without vectors */
  double      expected[2];
  int         info = 0;

  PetscFunctionBeginUser;
  PetscCheck(a->rows == a->columns && (!z || (z->rows == a->rows && z->columns == a->rows)), a->grid->comm, PETSC_ERR_ARG_SIZ, "Eigenvalues of a matrix that is not square");
  if (!z) PetscCall(blockmatrix_create(a->grid, a->rows, a->rows, &own));
  PetscCall(invariants(a, expected));
  if (a->grid->row >= 0) PetscCall(call_pdsyevd(a, values, z ? z : &own, &info));
  PetscCall(agree_info(a->grid, "pdsyevd", &info));
  PetscCheck(!info, a->grid->comm, PETSC_ERR_LIB, "ScaLAPACK: pdsyevd: no eigenvalues (info %d)", info);
  PetscCallMPI(MPI_Bcast(values, a->rows, MPI_DOUBLE, 0, a->grid->comm));
  PetscCall(check_invariants(a->grid->comm, a->rows, values, expected));
  PetscCall(blockmatrix_destroy(&own));
  if (z) PetscCall(fix_signs(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}
