/* Rows of a sparse matrix in memory. */
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>

PetscErrorCode sparserows_free(SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(rows->offset));
  PetscCall(PetscFree(rows->column));
  PetscCall(PetscFree(rows->value));
  PetscCall(PetscFree(rows->wide));
  *rows = (SparseRows){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sparserows_allocate(int64_t entries, PetscBool wide, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(entries, &rows->column));
  if (wide) PetscCall(PetscMalloc1(entries, &rows->wide));
  else PetscCall(PetscMalloc1(entries, &rows->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void sparserows_dense(const SparseRows *rows, PetscInt64 count, const PetscInt64 *order, double *dense)
{
  const size_t width = (size_t)rows->columns;

  memset(dense, 0, (size_t)count * width * sizeof *dense);
  for (PetscInt64 i = 0; i < count; i++) {
    const PetscInt64 row = order ? order[i] : i;
    for (int64_t e = rows->offset[row]; e < rows->offset[row + 1]; e++) dense[(size_t)i * width + (size_t)rows->column[e]] = sparserows_get(rows, e);
  }
}

PetscErrorCode sparserows_from_dense(PetscInt64 rows, PetscInt64 columns, const double *dense, double cut, SparseRows *sparse)
{
  PetscFunctionBeginUser;
  *sparse = (SparseRows){.rows = rows, .columns = columns};
  PetscCall(PetscMalloc1(rows + 1, &sparse->offset));
  sparse->offset[0] = 0;
  for (PetscInt64 i = 0; i < rows; i++) {
    int64_t kept = 0;
    /* Not "> cut": a NaN is kept for the caller to see. */
    for (PetscInt64 j = 0; j < columns; j++) kept += !(dense[i * columns + j] <= cut);
    sparse->offset[i + 1] = sparse->offset[i] + kept;
  }
  PetscCall(sparserows_allocate(sparse->offset[rows], PETSC_FALSE, sparse));
  for (PetscInt64 i = 0, e = 0; i < rows; i++)
    for (PetscInt64 j = 0; j < columns; j++)
      if (!(dense[i * columns + j] <= cut)) {
        sparse->column[e]  = (int32_t)j;
        sparse->value[e++] = (float)dense[i * columns + j];
      }
  PetscFunctionReturn(PETSC_SUCCESS);
}
