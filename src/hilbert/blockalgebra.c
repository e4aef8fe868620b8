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

/* On the ranks of the grid only. Z NULL: eigenvalues alone. */
static PetscErrorCode call_pdsyevr(BlockMatrix *a, double *values, BlockMatrix *z, int *info)
{
  const char  *job = z ? "V" : "N";
  double      *vectors = z ? z->values : a->values, size[3], *work, lowest = 0, highest = 0;
  int          first = 1, last = a->rows, found, computed, index_size[3], *index_work, query = -1;
  const double margin = (double)a->grid->block * (a->local_rows + a->local_columns + 2. * a->grid->block); /* the size asked for is short of what PDORMTR checks */

  PetscFunctionBeginUser;
  pdsyevr_(job, "A", "L", &a->rows, a->values, &one, &one, a->descriptor, &lowest, &highest, &first, &last, &found, &computed, values, vectors, &one, &one, a->descriptor, size, &query,
           index_size, &query, info, 1, 1, 1);
  PetscCheck(*info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "ScaLAPACK: pdsyevr: the size of its workspace is not known (info %d)", *info);
  PetscCheck(size[0] + margin < 2147483647., PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The workspace of pdsyevr is more than ScaLAPACK can count");
  const int work_size = (int)(size[0] + margin);
  PetscCall(PetscMalloc2(work_size, &work, index_size[0], &index_work));
  pdsyevr_(job, "A", "L", &a->rows, a->values, &one, &one, a->descriptor, &lowest, &highest, &first, &last, &found, &computed, values, vectors, &one, &one, a->descriptor, work, &work_size,
           index_work, index_size, info, 1, 1, 1);
  PetscCall(PetscFree2(work, index_work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_eigen(BlockMatrix *a, double *values, BlockMatrix *z)
{
  int info = 0;

  PetscFunctionBeginUser;
  PetscCheck(a->rows == a->columns && (!z || (z->rows == a->rows && z->columns == a->rows)), a->grid->comm, PETSC_ERR_ARG_SIZ, "Eigenvalues of a matrix that is not square");
  if (a->grid->row >= 0) PetscCall(call_pdsyevr(a, values, z, &info));
  PetscCall(agree_info(a->grid, "pdsyevr", &info));
  PetscCheck(!info, a->grid->comm, PETSC_ERR_LIB, "ScaLAPACK: pdsyevr: no eigenvalues (info %d)", info);
  PetscCallMPI(MPI_Bcast(values, a->rows, MPI_DOUBLE, 0, a->grid->comm));
  if (z) PetscCall(fix_signs(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}
