/* Sorting of numbers, alone or with where they came from. No NaN. Not collective, no errors. */
#ifndef PERTURBDIFF_RUNTIME_SORT_H
#define PERTURBDIFF_RUNTIME_SORT_H

#include <petscsys.h>

typedef struct {
  double   value;
  PetscInt index;
} Ranked;

/* sort_floats, sort_doubles - n values, ascending, in place. */
void sort_floats(PetscInt64 n, float *value);
void sort_doubles(PetscInt64 n, double *value);

/* sort_largest_first, sort_smallest_first - n items by value, equal values by index, ascending, in place. */
void sort_largest_first(PetscInt64 n, Ranked *item);
void sort_smallest_first(PetscInt64 n, Ranked *item);

#endif
