/* Squared distances from products of cells, where cancellation would show from the cells themselves. */
#ifndef PERTURBDIFF_HILBERT_DISTANCES_H
#define PERTURBDIFF_HILBERT_DISTANCES_H

#include <petscsys.h>

/* Below this part of |x|^2 + |y|^2 a squared distance is computed from the cells: the rounding of a product in double, about 1e-14 of that sum, is then below 1e-10 of it. */
#define CANCELLATION_DOUBLE 1e-3
/* The same for products in single precision, about 1e-6 of that sum: below 1e-4 of the distance. */
#define CANCELLATION_SINGLE 3e-2

/* distances_finish - product[j] = x.y_j becomes |x-y_j|^2 = |x|^2 + |y_j|^2 - 2 x.y_j, not below 0, for `count` cells y (count, dimension), square_y (count) their
   |y|^2; cancellation: one of the above. Thread-safe, not collective, no errors. */
void distances_finish(PetscInt count, PetscInt dimension, double cancellation, const double *x, double square_x, const double *y, const double *square_y, double *product);
/* distances_squares - the same but for those that need the cells themselves: they become -1, and their number is returned. */
PetscInt distances_squares(PetscInt count, double cancellation, double square_x, const double *square_y, double *product);

#endif
