/* The choice of the process grid against cases worked out by hand. */
#include "check.h"
#include <perturbdiff/runtime/gridchoice.h>
#include <string.h>

/* 100 bytes whatever happens, 1200 shared by the ranks of a set. */
static double bytes(void *context, int parts) { return 100 + 1200. / parts; }

static void expect(int ranks, PetscInt64 sets, PetscInt set_size, double limit, PetscInt64 wanted, int parts, const char *word)
{
  const GridQuestion question = {.ranks = ranks, .sets = sets, .set_size = set_size, .bytes = bytes, .memory_limit = limit, .wanted = wanted};
  char               reason[128];
  int                chosen;

  check_call(grid_choose(&question, &chosen, reason, sizeof reason));
  assert_int_equal(chosen, parts);
  assert_non_null(strstr(reason, word));
}

static void sets_for_all(void **state)
{
  expect(1, 8, 256, 0, 0, 1, "one rank");
  expect(4, 8, 256, 0, 0, 1, "sets for all");
  expect(4, 4, 256, 1300, 0, 1, "sets for all");
  expect(6, 8, 256, 0, 0, 1, "sets for all");
}

/* Sets of the busiest rank: 2 for 4 ranks 1, 1/2, 1/2; 3 for 4 ranks 1, 1, 3/4; 4 for 6 ranks 1, 1, 2/3, 2/3. */
static void few_sets(void **state)
{
  expect(4, 2, 256, 0, 0, 2, "2 sets for 4 ranks");
  expect(4, 3, 256, 0, 0, 4, "3 sets for 4 ranks");
  expect(6, 4, 256, 0, 0, 3, "4 sets for 6 ranks");
  expect(64, 8, 256, 0, 0, 8, "8 sets for 64 ranks");
  /* No more ranks than cells. */
  expect(8, 1, 3, 0, 0, 2, "1 sets for 8 ranks");
  expect(3, 2, 1, 0, 0, 1, "saves nothing");
}

static void memory(void **state)
{
  expect(4, 8, 256, 700, 0, 2, "whole sets take");
  expect(4, 8, 256, 699, 0, 4, "whole sets take");
  expect(4, 2, 256, 699, 0, 4, "whole sets take");
  expect(4, 8, 256, 300, 0, 4, "still over");
}

static void as_wanted(void **state)
{
  const GridQuestion wrong[] = {{.ranks = 4, .sets = 8, .set_size = 256, .bytes = bytes, .wanted = 3}, {.ranks = 2, .sets = 8, .set_size = 256, .bytes = bytes, .wanted = 4}};
  char               reason[128];
  int                parts;

  expect(4, 8, 256, 300, 1, 1, "-grid_cells");
  expect(4, 8, 2, 0, 4, 4, "-grid_cells");
  for (int i = 0; i < 2; i++) {
    assert_int_equal(grid_choose(&wrong[i], &parts, reason, sizeof reason), ERROR_USER);
    assert_non_null(strstr(error_message(), i ? "give one of 1, 2," : "give one of 1, 2, 4,"));
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(sets_for_all), cmocka_unit_test(few_sets), cmocka_unit_test(memory), cmocka_unit_test(as_wanted)};

TEST_MAIN(tests)
