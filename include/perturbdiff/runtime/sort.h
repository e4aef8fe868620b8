/* Sorting of numbers, alone or with where they came from. No NaN. Not collective. */
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

/* sort_float_lists, sort_double_lists - list k, the values [offset[k], offset[k + 1]), ascending in place, for each of `lists` lists; -0 before 0. Many at the same time, so the more lists are
   given the better: of some hundred values each an eighth of the time of sort_floats. Room for 16 (8) of the longest list; thread-safe as far as PETSc's memory is. No errors but memory. */
PetscErrorCode sort_float_lists(PetscInt lists, const int64_t *offset, float *value);
PetscErrorCode sort_double_lists(PetscInt lists, const int64_t *offset, double *value);

/* sort_largest_first, sort_smallest_first - n items by value, equal values by index, ascending, in place. */
void sort_largest_first(PetscInt64 n, Ranked *item);
void sort_smallest_first(PetscInt64 n, Ranked *item);

#endif
