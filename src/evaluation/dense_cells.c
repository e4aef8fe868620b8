/* Cells made dense in double precision, for distances by products. */
#include "evaluation/pair_internal.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>

PetscErrorCode densecells_create(const SparseRows *rows, PetscInt genes, PetscBool single, DenseCells *cells)
{
  const size_t width = (size_t)genes;

  PetscFunctionBeginUser;
  *cells = (DenseCells){.cells = rows->rows, .genes = genes, .single = single};
  PetscCall(PetscMalloc2((size_t)rows->rows * width, &cells->value, rows->rows, &cells->square));
  memory_large_pages(cells->value, (size_t)rows->rows * width * sizeof *cells->value);
  PetscCall(PetscArrayzero(cells->value, (size_t)rows->rows * width));
  for (PetscInt64 i = 0; i < rows->rows; i++) {
    cells->square[i] = 0;
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
      const double value = sparserows_get(rows, e);
      cells->value[(size_t)i * width + (size_t)rows->column[e]] = value;
      cells->square[i] += value * value;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode densecells_destroy(DenseCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(cells->value, cells->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}
