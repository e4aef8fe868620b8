/* The mean shift of a condition by hand: populations of other cell types first, held-out ones never. */
#include "check.h"
#include <perturbdiff/data/center.h>

enum { GENES = 2 };

/* Control label 0. Cell types 0..2, batches 0..1; controls are populations 0..3. */
static Population populations[] = {
  {0, 0, 0, 0, 0, 5, 0, SPLIT_TRAIN},  {0, 0, 1, 0, 5, 5, 1, SPLIT_TRAIN},  {0, 1, 0, 0, 10, 5, 2, SPLIT_TRAIN}, {0, 2, 0, 0, 15, 5, 3, SPLIT_TRAIN},
  {1, 0, 0, 0, 20, 5, 0, SPLIT_TRAIN}, {1, 0, 1, 0, 25, 5, 1, SPLIT_TRAIN}, {1, 1, 0, 0, 30, 5, 2, SPLIT_TRAIN}, {1, 2, 0, 0, 35, 5, 3, SPLIT_TEST},
  {2, 0, 0, 0, 40, 5, 0, SPLIT_TRAIN}, {2, 0, 1, 0, 45, 5, 1, SPLIT_TRAIN}, {3, 1, 0, 0, 50, 5, 2, SPLIT_TRAIN}};
static const double means[] = {1, 1, 2, 2, 3, 3, 4, 4, 2, 5, 4, 9, 8, 2, 90, 90, 5, 1, 8, 2, 7, 7};

static CellStoreTable screen(void)
{
  CellStoreTable table = {0};

  table.gene.count  = GENES;
  table.populations = (PetscInt)(sizeof populations / sizeof *populations);
  table.population  = populations;
  table.control     = 0;
  return table;
}

static void shift_of(const unsigned char *use, PetscInt perturbation, PetscInt cell_type, PetscInt batch, PetscInt expected, double first, double second)
{
  const CellStoreTable table = screen();
  double               shift[GENES];
  PetscInt             count;

  check_call(center_shift(&table, means, use, perturbation, cell_type, batch, shift, &count));
  assert_int_equal(count, expected);
  check_close(shift[0], first, 1e-14, 10);
  check_close(shift[1], second, 1e-14, 10);
}

static void mean_changes(void **state)
{
  const unsigned char use[] = {1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1};

  /* Held-out cell type 2: changes (1,4), (2,7), (5,-1). */
  shift_of(NULL, 1, 2, 0, 3, 8. / 3, 10. / 3);
  /* Cell type 0 sees cell type 1 alone, not its other batch. */
  shift_of(NULL, 1, 0, 0, 1, 5, -1);
  /* Populations chosen by hand: 6 is out, the test population 7 is in, change (86,86). */
  shift_of(use, 1, 0, 0, 1, 86, 86);
  /* Perturbation 2 is in cell type 0 alone: the other batch, not itself. */
  shift_of(NULL, 2, 0, 0, 1, 6, 0);
  shift_of(NULL, 2, 1, 0, 2, 5, 0);
  /* Nothing else known, and the control label. */
  shift_of(NULL, 3, 1, 0, 0, 0, 0);
  shift_of(NULL, 0, 1, 0, 0, 0, 0);
}

static void center_of_a_set(void **state)
{
  const Real   control[4] = {0.1f, 0.2f, 0.3f, 0.4f};
  const double shift[2]   = {5, -10};
  Real         center[4];

  center_fill(2, 2, control, NULL, 10, center);
  for (int i = 0; i < 4; i++) check_close(center[i], control[i], 0, 1);
  center_fill(2, 2, control, shift, 10, center);
  for (int i = 0; i < 4; i++) check_close(center[i], control[i] + shift[i % 2] / 10, 1e-7, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(mean_changes), cmocka_unit_test(center_of_a_set)};

TEST_MAIN(tests)
