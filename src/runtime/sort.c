/* Orders of numbers that several rooms need. */
#include <perturbdiff/runtime/sort.h>

/* Quicksort with insertion below 24 items. The pivot is the median of three items that lie apart, neither the first nor the last: so that each side gets at least one. The shorter side goes by
   recursion: its depth stays below log2 n. */
#define QUICKSORT(name, type, before)                                                              \
  void name(PetscInt64 n, type *x)                                                                 \
  {                                                                                                \
    while (n > 24) {                                                                               \
      const type a = x[n / 4], b = x[n / 2], c = x[n - 1 - n / 4];                                 \
      const type pivot = before(a, b) ? (before(b, c) ? b : before(a, c) ? c : a)                  \
                                      : (before(a, c) ? a : before(b, c) ? c : b);                 \
      PetscInt64 i = 0, j = n - 1;                                                                 \
                                                                                                   \
      for (;;) {                                                                                   \
        while (before(x[i], pivot)) i++;                                                           \
        while (before(pivot, x[j])) j--;                                                           \
        if (i >= j) break;                                                                         \
        const type swap = x[i];                                                                    \
        x[i++] = x[j];                                                                             \
        x[j--] = swap;                                                                             \
      }                                                                                            \
      const PetscInt64 left = j + 1;                                                               \
      if (left < n - left) {                                                                       \
        name(left, x);                                                                             \
        x += left;                                                                                 \
        n -= left;                                                                                 \
      } else {                                                                                     \
        name(n - left, x + left);                                                                  \
        n = left;                                                                                  \
      }                                                                                            \
    }                                                                                              \
    for (PetscInt64 i = 1; i < n; i++) {                                                           \
      const type value = x[i];                                                                     \
      PetscInt64 j = i;                                                                            \
      for (; j > 0 && before(value, x[j - 1]); j--) x[j] = x[j - 1];                               \
      x[j] = value;                                                                                \
    }                                                                                              \
  }

#define SMALLER(x, y) ((x) < (y))
#define RANKED_BEFORE(name, order) \
  static inline PetscBool name(Ranked x, Ranked y) { return x.value order y.value || (x.value == y.value && x.index < y.index) ? PETSC_TRUE : PETSC_FALSE; }
RANKED_BEFORE(larger_first, >)
RANKED_BEFORE(smaller_first, <)

QUICKSORT(sort_floats, float, SMALLER)
QUICKSORT(sort_doubles, double, SMALLER)
QUICKSORT(sort_largest_first, Ranked, larger_first)
QUICKSORT(sort_smallest_first, Ranked, smaller_first)
