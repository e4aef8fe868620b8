/* Orders of numbers that several rooms need. */
#include <perturbdiff/runtime/sort.h>
#include <stdlib.h>

static int compare(double x, double y) { return (x > y) - (x < y); }

static int ascending(const void *a, const void *b) { return compare(*(const double *)a, *(const double *)b); }

static int by_index(const Ranked *x, const Ranked *y) { return (x->index > y->index) - (x->index < y->index); }

static int largest_first(const void *a, const void *b)
{
  const Ranked *x = a, *y = b;
  return x->value != y->value ? compare(y->value, x->value) : by_index(x, y);
}

static int smallest_first(const void *a, const void *b)
{
  const Ranked *x = a, *y = b;
  return x->value != y->value ? compare(x->value, y->value) : by_index(x, y);
}

void sort_doubles(PetscInt64 n, double *value) { qsort(value, (size_t)n, sizeof *value, ascending); }

void sort_largest_first(PetscInt64 n, Ranked *item) { qsort(item, (size_t)n, sizeof *item, largest_first); }

void sort_smallest_first(PetscInt64 n, Ranked *item) { qsort(item, (size_t)n, sizeof *item, smallest_first); }
