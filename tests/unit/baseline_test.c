/* Baselines: the additive fit by hand, draws that are real cells, shifts from training populations alone. */
#include "check.h"
#include "evaluation/baseline_internal.h"
#include "small_store.h"
#include <perturbdiff/evaluation.h>
#include <stdlib.h>
#include <unistd.h>

/* Control label 0; cell types 0..2; two genes. Changes of populations 3..: drug 1 in type 0 twice (batches), drug 1 in type 1, drug 2 in type 0, drug 2 in type
 * 1 (held out). */
static Population   populations[] = {{0, 0, 0, 0, 0, 5, 0, SPLIT_TRAIN},  {0, 1, 0, 0, 5, 5, 1, SPLIT_TRAIN},  {0, 2, 0, 0, 10, 5, 2, SPLIT_TRAIN},
                                     {1, 0, 0, 0, 15, 5, 0, SPLIT_TRAIN}, {1, 0, 1, 0, 20, 5, 0, SPLIT_TRAIN}, {1, 1, 0, 0, 25, 5, 1, SPLIT_TRAIN},
                                     {2, 0, 0, 0, 30, 5, 0, SPLIT_TRAIN}, {2, 1, 0, 0, 35, 5, 1, SPLIT_TEST}};
static const double means[] = {1, 4, 2, 5, 3, 6, 2, 4, 4, 4, 4, 6, 6, 3, 70, 80};

static CellStoreTable screen(void)
{
  CellStoreTable table = {0};

  table.gene.count = 2;
  table.perturbation.count = 4;
  table.cell_type.count = 3;
  table.batch.count = 2;
  table.populations = (PetscInt)(sizeof populations / sizeof *populations);
  table.population = populations;
  return table;
}

static void additive_fit(void **state)
{
  const CellStoreTable table = screen();
  double               shift[2];

  /* Gene 0: drug 1 changes type 0 by 1 and 3, mean 2, and type 1 by 2; drug 2 changes type 0 by 5: 5 + 2 - 2. Gene 1: 0, 1, -1 likewise: -1 + 1 - 0. */
  check_call(baseline_additive_shift(&table, means, &(Covariates){{2, 1, 0}}, shift));
  check_close(shift[0], 5, 1e-12, 1);
  check_close(shift[1], 0, 1e-12, 1);
  /* A cell type without perturbed cells gets the perturbation's effect at an average type: b = (0, 0) and (-1/2, 1/2). */
  check_call(baseline_additive_shift(&table, means, &(Covariates){{2, 2, 0}}, shift));
  check_close(shift[0], 5, 1e-12, 1);
  check_close(shift[1], -0.5, 1e-12, 1);
  /* A perturbation without training populations gets the cell type's. */
  check_call(baseline_additive_shift(&table, means, &(Covariates){{3, 1, 0}}, shift));
  check_close(shift[0], 0, 1e-12, 1);
  check_close(shift[1], 0.5, 1e-12, 1);
}

static double small_mean(const Population *p, int gene)
{
  double sum = 0;
  for (PetscInt64 i = 0; i < p->cells; i++) sum += (double)small_value(p->first_cell + i, gene);
  return sum / (double)p->cells;
}

static int by_values(const void *a, const void *b)
{
  const double *x = a, *y = b;
  for (int g = 0; g < SMALL_GENES; g++)
    if (x[g] < y[g] || x[g] > y[g]) return x[g] < y[g] ? -1 : 1;
  return 0;
}

/* Each of the cells [first, first + count) once, in some order. */
static void check_drawn(const double *cells, int64_t first, int count)
{
  double drawn[8 * SMALL_GENES], real[8 * SMALL_GENES];

  memcpy(drawn, cells, (size_t)count * SMALL_GENES * sizeof *drawn);
  for (int i = 0; i < count * SMALL_GENES; i++) real[i] = (double)small_value(first + i / SMALL_GENES, i % SMALL_GENES);
  qsort(drawn, (size_t)count, SMALL_GENES * sizeof *drawn, by_values);
  qsort(real, (size_t)count, SMALL_GENES * sizeof *real, by_values);
  for (int i = 0; i < count * SMALL_GENES; i++) check_close(drawn[i], real[i], 1e-6, 1);
}

static PetscErrorCode predict(CellStore *store, const double *mean, BaselineMethod method, Covariates condition, PetscInt64 count, double *cells)
{
  const BaselineOptions options = {.method = method, .seed = 3, .embedding_cells = 100};
  Baseline             *baseline;

  PetscFunctionBeginUser;
  PetscCall(baseline_create(PETSC_COMM_WORLD, store, mean, &options, 1, &condition, &baseline));
  PetscCall(baseline_cells(baseline, 0, count, cells));
  PetscCall(baseline_destroy(&baseline));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void predictions_of_a_store(void **state)
{
  enum { COUNT = 8 };
  const char *path = "baseline_test.h5";
  CellStore  *store;
  double     *mean, cells[COUNT * SMALL_GENES], controls[COUNT * SMALL_GENES];
  uint64_t    checksum;

  check_call(small_write(PETSC_COMM_WORLD, path, 0, &checksum));
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellstore_means(store, PETSC_COMM_WORLD, &mean));
  /* No change: the eight control cells of B cells, each once. */
  check_call(predict(store, mean, BASELINE_CONTROL, (Covariates){{2, 0, 0}}, COUNT, controls));
  check_drawn(controls, 0, COUNT);
  /* Drug a in T cells is learnt from B cells: the same draws of control cells plus that change, not below 0. */
  check_call(predict(store, mean, BASELINE_CONTROL, (Covariates){{1, 1, 0}}, 6, controls));
  check_call(predict(store, mean, BASELINE_MEAN_SHIFT, (Covariates){{1, 1, 0}}, 6, cells));
  check_drawn(controls, 20, 6);
  for (int i = 0; i < 6; i++) {
    for (int g = 0; g < SMALL_GENES; g++) {
      const double shift = small_mean(&small_populations[1], g) - small_mean(&small_populations[0], g);
      check_close(cells[i * SMALL_GENES + g], fmax(controls[i * SMALL_GENES + g] + shift, 0), 1e-6, 1);
    }
  }
  /* Its nearest training population is that of B cells. Drug b has none: control cells. */
  check_call(predict(store, mean, BASELINE_NEAREST, (Covariates){{1, 1, 0}}, 5, cells));
  check_drawn(cells, 8, 5);
  check_call(predict(store, mean, BASELINE_NEAREST, (Covariates){{2, 0, 0}}, COUNT, cells));
  check_drawn(cells, 0, COUNT);
  check_call(PetscFree(mean));
  check_call(cellstore_close(&store));
  unlink(path);
}

/* What the regressions learn of drug b in T cells: the cells are control cells plus the weighted changes of the training populations, or real cells of the mixture. */
static void regressions_of_a_store(void **state)
{
  enum { COUNT = 6 };
  const char           *path = "baseline_test.regression.h5";
  const Covariates      unseen = {{2, 1, 0}};
  const BaselineOptions options = {.method = BASELINE_RIDGE, .seed = 3, .embedding_cells = 100};
  CellStore            *store;
  BaselineWeights       w = {0};
  double               *mean, cells[COUNT * SMALL_GENES], controls[COUNT * SMALL_GENES], sum = 0;
  uint64_t              checksum;
  Population           *population = small_populations;

  population[2].split = population[4].split = SPLIT_TRAIN;
  check_call(small_write(PETSC_COMM_WORLD, path, 0, &checksum));
  population[2].split = SPLIT_TEST;
  population[4].split = SPLIT_VALIDATION;
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellstore_means(store, PETSC_COMM_WORLD, &mean));
  check_call(baseline_ridge_weights(PETSC_COMM_WORLD, store, mean, &options, 1, &unseen, &w));
  assert_int_equal(w.populations, 3);
  check_call(predict(store, mean, BASELINE_CONTROL, unseen, COUNT, controls));
  check_call(predict(store, mean, BASELINE_RIDGE, unseen, COUNT, cells));
  for (int g = 0; g < SMALL_GENES; g++) {
    double shift = 0;
    for (PetscInt i = 0; i < w.populations; i++)
      shift += w.weights[i] * (small_mean(&population[w.population[i]], g) - small_mean(&population[population[w.population[i]].control], g));
    for (int i = 0; i < COUNT; i++) check_close(cells[i * SMALL_GENES + g], fmax(0, controls[i * SMALL_GENES + g] + shift), 1e-6, 1);
  }
  check_call(baseline_weights_free(&w));
  /* A mixture of all five populations; every cell drawn is a real one. */
  w = (BaselineWeights){0};
  check_call(baseline_cme_weights(PETSC_COMM_WORLD, store, &options, 1, &unseen, &w));
  assert_int_equal(w.populations, 5);
  for (PetscInt i = 0; i < w.populations; i++) sum += w.weights[i];
  check_close(sum, 1, 1e-12, 1);
  check_call(predict(store, mean, BASELINE_CME, unseen, COUNT, cells));
  for (int i = 0; i < COUNT; i++) {
    int same = 0;
    for (int64_t cell = 0; cell < SMALL_CELLS; cell++) {
      int g = 0;
      while (g < SMALL_GENES && fabs(cells[i * SMALL_GENES + g] - (double)small_value(cell, g)) < 1e-6) g++;
      same += g == SMALL_GENES;
    }
    assert_true(same > 0);
  }
  check_call(baseline_weights_free(&w));
  check_call(PetscFree(mean));
  check_call(cellstore_close(&store));
  unlink(path);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(regressions_of_a_store), cmocka_unit_test(additive_fit), cmocka_unit_test(predictions_of_a_store)};

TEST_MAIN(tests)
