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

/* |x|^2 + |y|^2 - 2 <x, y> loses what x and y have in common: where little is left of it, and where both are zero, the cells themselves are asked. */
VECTOR_CLONES PetscInt distances_squares(PetscInt count, double cancellation, double square_x, const double *restrict square_y, double *restrict product)
{
  PetscInt close = 0;

#pragma omp simd reduction(+ : close)
  for (PetscInt j = 0; j < count; j++) {
    const double both = square_x + square_y[j], square = both - 2 * product[j];
    const int    near = !(square >= cancellation * both) || both <= 0;
    product[j]        = near ? -1 : square;
    close += near;
  }
  return close;
}

void distances_finish(PetscInt count, PetscInt dimension, double cancellation, const double *x, double square_x, const double *y, const double *square_y, double *product)
{
  if (!distances_squares(count, cancellation, square_x, square_y, product)) return;
  for (PetscInt j = 0; j < count; j++)
    if (product[j] < 0) product[j] = squared_difference(dimension, x, y + (size_t)j * (size_t)dimension);
}
