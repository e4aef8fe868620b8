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

/* Lists of all lengths, in orders that a quicksort may be slow with or fail at. */
static void lists_of_any_shape_are_sorted(void **state)
{
  static float value[N];

  (void)state;
  for (PetscInt n = 0; n < N; n += n < 100 ? 1 : 37)
    for (int shape = 0; shape < 7; shape++) {
      double sum = 0;

      for (PetscInt i = 0; i < n; i++) {
        const PetscInt at[] = {i, n - i, PetscMin(i, n - i), PetscMax(i, n - i), 1, i == n - 1 ? 1 : 0, i % 2};
        value[i] = (float)at[shape];
        sum += value[i];
      }
      sort_floats(n, value);
      for (PetscInt i = 0; i < n; i++) {
        assert_true(!i || value[i - 1] <= value[i]);
        sum -= value[i];
      }
      assert_true(sum == 0);
    }
}

static void nothing_is_sorted(void **state)
{
  (void)state;
  sort_doubles(0, NULL);
  sort_largest_first(0, NULL);
  sort_smallest_first(0, NULL);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(orders_follow_their_definition), cmocka_unit_test(lists_of_any_shape_are_sorted), cmocka_unit_test(nothing_is_sorted)};

TEST_MAIN(tests)
