/* Cells made dense for products in single precision: about a centre, so that squared distances do not cancel. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>
#include <string.h>

/* Centres are whole multiples of this: most differences of a value from its gene's centre are then floats, not rounded. */
static const double centre_step = 0x1p-10;

void densecells_centre(PetscInt genes, const double *mean, float *centre)
{
  for (PetscInt g = 0; g < genes; g++) centre[g] = (float)(rint(mean[g] / centre_step) * centre_step);
}

VECTOR_CLONES static double squared_norm(PetscInt n, const float *restrict x)
{
  double sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt g = 0; g < n; g++) sum += (double)x[g] * (double)x[g];
  return sum;
}

PetscErrorCode densecells_create(const SparseRows *rows, PetscInt genes, PetscBool single, const float *centre, DenseCells *cells)
{
  const size_t width = (size_t)genes;
  float       *zero;

  PetscFunctionBeginUser;
  *cells = (DenseCells){.cells = rows->rows, .genes = genes, .single = single, .rows = rows};
  PetscCall(PetscMalloc2((size_t)rows->rows * width, &cells->narrow, rows->rows, &cells->square));
  memory_large_pages(cells->narrow, (size_t)rows->rows * width * sizeof *cells->narrow);
  PetscCall(PetscMalloc1(genes, &zero));
  for (PetscInt g = 0; g < genes; g++) zero[g] = 0 - centre[g];
  for (PetscInt64 i = 0; i < rows->rows; i++) {
    float *x = cells->narrow + (size_t)i * width;
    memcpy(x, zero, width * sizeof *x);
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) x[rows->column[e]] = (float)((double)rows->value[e] - (double)centre[rows->column[e]]);
    /* Of the values as they were rounded: the distances are then those of points moved by the rounding, not of products that do not fit their norms. */
    cells->square[i] = squared_norm(genes, x);
  }
  PetscCall(PetscFree(zero));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode densecells_widen(DenseCells *cells)
{
  const SparseRows *rows = cells->rows;
  const size_t      width = (size_t)cells->genes;

  PetscFunctionBeginUser;
  if (cells->wide) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc2((size_t)rows->rows * width, &cells->wide, rows->rows, &cells->wide_square));
  for (PetscInt64 i = 0; i < rows->rows; i++)
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
      const double value = (double)rows->value[e];
      cells->wide[(size_t)i * width + (size_t)rows->column[e]] = value;
      cells->wide_square[i] += value * value;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode densecells_destroy(DenseCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(cells->narrow, cells->square));
  PetscCall(PetscFree2(cells->wide, cells->wide_square));
  PetscFunctionReturn(PETSC_SUCCESS);
}
