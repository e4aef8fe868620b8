/* Cell sets: every cell once an epoch, fill-ups marked, controls from the paired population and evenly drawn. */
#include "check.h"
#include "small_store.h"
#include <perturbdiff/data/cellset.h>

enum { SIZE = 4 };

static PetscInt64    cell[SIZE], control[SIZE];
static unsigned char filled[SIZE];
static CellSet       set = {.cell = cell, .control = control, .filled = filled};

static void every_cell_once_an_epoch(void **state)
{
  const CellStoreTable table = small_table();
  CellSets            *sets;

  check_call(cellsets_create(&table, NULL, SIZE, 3, &sets));
  /* Populations that train: 8, 5 and 6 cells. */
  assert_int_equal(cellsets_per_epoch(sets), 2 + 2 + 2);
  for (int epoch = 0; epoch < 5; epoch++) {
    int seen[SMALL_CELLS] = {0}, filled_up = 0;
    for (int k = 0; k < 6; k++) {
      check_call(cellsets_draw(sets, epoch * 6 + k, &set));
      const Population *p = &table.population[set.population], *c = &table.population[p->control];
      assert_int_equal(p->split, SPLIT_TRAIN);
      for (int i = 0; i < SIZE; i++) {
        assert_true(cell[i] >= p->first_cell && cell[i] < p->first_cell + p->cells);
        assert_true(control[i] >= c->first_cell && control[i] < c->first_cell + c->cells);
        if (filled[i]) filled_up++;
        else seen[cell[i]]++;
      }
    }
    for (int i = 0; i < SMALL_CELLS; i++) assert_int_equal(seen[i], i < 13 || (i >= 20 && i < 26));
    assert_int_equal(filled_up, 6 * SIZE - (8 + 5 + 6));
  }
  check_call(cellsets_destroy(&sets));
}

static void order_depends_on_epoch_and_seed(void **state)
{
  const CellStoreTable table = small_table();
  CellSets            *sets, *other;
  int                  epochs_differ = 0, seeds_differ = 0;

  check_call(cellsets_create(&table, NULL, SIZE, 3, &sets));
  check_call(cellsets_create(&table, NULL, SIZE, 4, &other));
  for (int n = 0; n < 6; n++) {
    PetscInt64 first[SIZE];
    check_call(cellsets_draw(sets, n, &set));
    memcpy(first, cell, sizeof first);
    check_call(cellsets_draw(sets, n, &set));
    assert_memory_equal(first, cell, sizeof first);
    check_call(cellsets_draw(sets, n + 6, &set));
    epochs_differ += memcmp(first, cell, sizeof first) != 0;
    check_call(cellsets_draw(other, n, &set));
    seeds_differ += memcmp(first, cell, sizeof first) != 0;
  }
  assert_true(epochs_differ >= 3);
  assert_true(seeds_differ >= 3);
  check_call(cellsets_destroy(&sets));
  check_call(cellsets_destroy(&other));
}

/* Counts of the controls of one population over many epochs: chi squared with 7 degrees of freedom, 99.9 % at 24.3. */
static void controls_are_even(void **state)
{
  enum { EPOCHS = 2000 };
  const CellStoreTable table = small_table();
  unsigned char        use[SMALL_POPULATIONS] = {0, 1, 0, 0, 0};
  CellSets            *sets;
  double               count[8] = {0}, chi2 = 0;

  check_call(cellsets_create(&table, use, SIZE, 9, &sets));
  assert_int_equal(cellsets_per_epoch(sets), 2);
  for (int epoch = 0; epoch < EPOCHS; epoch++) {
    check_call(cellsets_draw_population(sets, 1, epoch, 0, &set));
    for (int i = 0; i < SIZE; i++) count[control[i]]++;
  }
  for (int i = 0; i < 8; i++) chi2 += (count[i] - EPOCHS * SIZE / 8.0) * (count[i] - EPOCHS * SIZE / 8.0) / (EPOCHS * SIZE / 8.0);
  assert_true(chi2 < 24.3);
  check_call(cellsets_destroy(&sets));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(every_cell_once_an_epoch), cmocka_unit_test(order_depends_on_epoch_and_seed), cmocka_unit_test(controls_are_even)};

TEST_MAIN(tests)
