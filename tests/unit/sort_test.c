/* Orders of numbers, against their definition: neighbours in order, equal values by index, each item once. */
#include "check.h"
#include <perturbdiff/runtime/sort.h>
#include <string.h>

enum { N = 1000 };

static void fill(double *value, Ranked *item)
{
  for (PetscInt i = 0; i < N; i++) {
    value[i] = (double)((i * 7919) % 37) - 18; /* many ties, both signs */
    item[i]  = (Ranked){value[i], i};
  }
  value[5] = INFINITY, value[6] = -INFINITY;
  item[5].value = value[5], item[6].value = value[6];
}

/* Every item once, with the value its index had. */
static PetscBool permuted(const Ranked *item, const double *value)
{
  PetscBool seen[N];

  memset(seen, 0, sizeof seen);
  for (PetscInt i = 0; i < N; i++) {
    if (seen[item[i].index] || value[item[i].index] != item[i].value) return PETSC_FALSE;
    seen[item[i].index] = PETSC_TRUE;
  }
  return PETSC_TRUE;
}

static void orders_follow_their_definition(void **state)
{
  static double value[N], sorted[N];
  static Ranked item[N];

  (void)state;
  fill(value, item);
  memcpy(sorted, value, sizeof sorted);
  sort_doubles(N, sorted);
  for (PetscInt i = 1; i < N; i++) assert_true(sorted[i - 1] <= sorted[i]);
  sort_smallest_first(N, item);
  assert_true(permuted(item, value));
  for (PetscInt i = 0; i < N; i++) assert_true(item[i].value == sorted[i]);
  for (PetscInt i = 1; i < N; i++) assert_true(item[i - 1].value < item[i].value || item[i - 1].index < item[i].index);
  sort_largest_first(N, item);
  assert_true(permuted(item, value));
  for (PetscInt i = 0; i < N; i++) assert_true(item[i].value == sorted[N - 1 - i]);
  for (PetscInt i = 1; i < N; i++) assert_true(item[i - 1].value > item[i].value || item[i - 1].index < item[i].index);
}

static void nothing_is_sorted(void **state)
{
  (void)state;
  sort_doubles(0, NULL);
  sort_largest_first(0, NULL);
  sort_smallest_first(0, NULL);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(orders_follow_their_definition), cmocka_unit_test(nothing_is_sorted)};

TEST_MAIN(tests)
