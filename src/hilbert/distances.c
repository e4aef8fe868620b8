/* Squared distances from products of cells. */
#include <perturbdiff/hilbert/distances.h>
#include <perturbdiff/runtime/clones.h>

VECTOR_CLONES static double squared_difference(PetscInt n, const double *restrict x, const double *restrict y)
{
  double sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt g = 0; g < n; g++) sum += (x[g] - y[g]) * (x[g] - y[g]);
  return sum;
}

VECTOR_CLONES static PetscInt row_squares(PetscInt n, double cancellation, double norm, const double *restrict norms, double *restrict product)
{
  PetscInt close = 0;

#pragma omp simd reduction(+ : close)
  for (PetscInt j = 0; j < n; j++) {
    const double both = norm + norms[j], square = both - 2 * product[j];
    const int    near = !(square >= cancellation * both) || both <= 0;
    product[j]        = near ? -1 : square;
    close += near;
  }
  return close;
}

PetscInt distances_squares(PetscInt count, double cancellation, double square_x, const double *square_y, double *product)
{
  return row_squares(count, cancellation, square_x, square_y, product);
}

void distances_finish(PetscInt count, PetscInt dimension, double cancellation, const double *x, double square_x, const double *y, const double *square_y, double *product)
{
  if (!row_squares(count, cancellation, square_x, square_y, product)) return;
  for (PetscInt j = 0; j < count; j++)
    if (product[j] < 0) product[j] = squared_difference(dimension, x, y + (size_t)j * (size_t)dimension);
}
