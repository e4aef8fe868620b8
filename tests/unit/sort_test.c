/* Orders of numbers, against their definition: neighbours in order, equal values by index, each item once. */
#include "check.h"
#include <math.h>
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

static double uniform(uint64_t *state)
{
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(*state >> 11) * 0x1p-53;
}

/* Lists of many lengths at once, none among them, the longest of one beyond what vectors take: both precisions against the sort of one list. */
static void lists_are_sorted_side_by_side(void **state)
{
  enum { LISTS = 75 };
  int64_t  offset[LISTS + 1] = {3}, end;
  uint64_t draws = 1;
  float   *single, *expected;
  double  *wide;

  (void)state;
  for (int longest = 1; longest < 1 << 20; longest *= 70) {
    for (int k = 0; k < LISTS; k++) offset[k + 1] = offset[k] + (k == 11 ? longest : (int64_t)(uniform(&draws) * PetscMin(longest, 300)));
    end = offset[LISTS];
    check_call(PetscMalloc3(end + 2, &single, end + 2, &expected, end + 2, &wide));
    for (int64_t i = 0; i < end + 2; i++) {
      const double u = uniform(&draws);
      single[i] = u < 0.1 ? INFINITY : u < 0.2 ? -INFINITY : u < 0.3 ? 0 : u < 0.6 ? floorf((float)(u * 20)) - 8 : (float)(exp(40 * u - 32) * (u < 0.8 ? 1 : -1));
      wide[i] = expected[i] = single[i];
    }
    check_call(sort_float_lists(LISTS, offset, single));
    check_call(sort_double_lists(LISTS, offset, wide));
    for (int k = 0; k < LISTS; k++) sort_floats(offset[k + 1] - offset[k], expected + offset[k]);
    /* Nor is anything beside the lists touched. */
    for (int64_t i = 0; i < end + 2; i++) assert_true(single[i] == expected[i] && wide[i] == (double)expected[i]);
    check_call(PetscFree3(single, expected, wide));
  }
  check_call(sort_float_lists(0, offset, NULL));
}

static void nothing_is_sorted(void **state)
{
  (void)state;
  sort_doubles(0, NULL);
  sort_largest_first(0, NULL);
  sort_smallest_first(0, NULL);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(orders_follow_their_definition), cmocka_unit_test(lists_of_any_shape_are_sorted),
                                          cmocka_unit_test(lists_are_sorted_side_by_side), cmocka_unit_test(nothing_is_sorted)};

TEST_MAIN(tests)
