/* Distances between all cells of two populations of any density against sums in long double: both ways of sparse products and dense ones, a cell in both, parts of the sum. */
#include "check.h"
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/random.h>

enum { N = 131, M = 300, GENES = 203 };
static float values[2][M * GENES];

/* Cell 3 of both is the same. */
static void fill(int side, int cells, int percent, SparseRows *rows)
{
  const RandomStream stream = random_stream(9, RANDOM_EMBED, (uint32_t)side, 0, 0);
  int64_t            end = 0;

  *rows = (SparseRows){.rows = cells, .columns = GENES};
  check_call(PetscMalloc1(cells + 1, &rows->offset));
  check_call(sparserows_allocate(cells * GENES, PETSC_FALSE, rows));
  rows->offset[0] = 0;
  for (int i = 0; i < cells; i++) {
    for (int g = 0; g < GENES; g++) {
      const uint64_t draw = random_below(&stream, (uint64_t)(i * GENES + g), 100000);
      float         *value = &values[side][i * GENES + g];
      *value = i == 3 ? (float)(g % 5) : (int)(draw % 100) < percent ? (float)(draw / 100 + 1) / 313 : 0;
      if (*value == 0) continue;
      rows->column[end] = g;
      rows->value[end++] = *value;
    }
    rows->offset[i + 1] = end;
  }
}

static double expected(int a, int n, int b, int m)
{
  long double sum = 0;

  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {
      long double square = 0;
      for (int g = 0; g < GENES; g++) square += ((long double)values[a][i * GENES + g] - (long double)values[b][j * GENES + g]) * ((long double)values[a][i * GENES + g] - (long double)values[b][j * GENES + g]);
      sum += sqrtl(square);
    }
  return (double)(sum / ((long double)n * m));
}

static void check_pair(const SparseRows *x, const SparseRows *y, PetscBool packs, double right)
{
  for (int single = 0; single < 2; single++) {
    DistanceCells a, b, *other = x == y ? &a : &b;
    double        mean, beside, whole, part[4];

    check_call(distancecells_create(x, GENES, &a));
    check_call(distancecells_create(y, GENES, &b));
    a.packs = b.packs = packs;
    check_call(distance_mean(&a, other, &mean));
    check_close(mean, right, 1e-11, right);
    check_call(distance_part(&a, other, (PetscBool)single, 1, 0, &whole, &beside));
    assert_true(beside == mean);
    for (int p = 0; p < 4; p++) check_call(distance_part(&a, other, (PetscBool)single, 4, p, &part[p], NULL));
    /* However it is cut: the same tree. */
    assert_true(distance_join(1, &whole, x->rows * y->rows, single) == distance_join(4, part, x->rows * y->rows, single));
    check_close(distance_join(4, part, x->rows * y->rows, single), right, single ? 3e-7 : 1e-11, right);
    check_call(distancecells_destroy(&a));
    check_call(distancecells_destroy(&b));
  }
}

static PetscErrorCode copy_rows(const SparseRows *rows, SparseRows *copy)
{
  const int64_t entries = rows->offset[rows->rows];

  PetscFunctionBeginUser;
  *copy = (SparseRows){.rows = rows->rows, .columns = rows->columns};
  PetscCall(PetscMalloc1(rows->rows + 1, &copy->offset));
  PetscCall(sparserows_allocate(entries, PETSC_FALSE, copy));
  PetscCall(PetscArraycpy(copy->offset, rows->offset, rows->rows + 1));
  PetscCall(PetscArraycpy(copy->column, rows->column, entries));
  PetscCall(PetscArraycpy(copy->value, rows->value, entries));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same sums when the cells of b are only packed any more, then only panels: as columns of panels, as the sparse side again, and cell 3, which a has too. */
static void check_without_rows(const SparseRows *x, const SparseRows *y, PetscBool packs, double right)
{
  DistanceCells a, b;
  SparseRows    copy;
  double        whole, panels, mean;

  check_call(copy_rows(y, &copy));
  check_call(distancecells_create(x, GENES, &a));
  check_call(distancecells_create(&copy, GENES, &b));
  a.packs = b.packs = packs;
  check_call(distance_part(&a, &b, PETSC_TRUE, 1, 0, &whole, &mean));
  check_close(mean, right, 1e-11, right);
  check_call(distancecells_free_rows(&b, &copy));
  assert_true(packs ? !b.rows && b.sparse.part && !copy.offset : b.rows && copy.offset);
  check_call(distance_part(&a, &b, PETSC_TRUE, 1, 0, &panels, NULL));
  assert_true(panels == whole);
  check_call(distancecells_keep_panels(&b));
  assert_true(packs ? !b.rows && !b.sparse.part && !copy.offset : b.rows && copy.offset);
  check_call(distance_part(&a, &b, PETSC_TRUE, 1, 0, &panels, NULL));
  assert_true(panels == whole);
  check_call(distancecells_destroy(&a));
  check_call(distancecells_destroy(&b));
  check_call(sparserows_free(&copy));
}

static void distances(void **state)
{
  static const int percent[][2] = {{30, 40}, {90, 20}, {20, 95}, {95, 90}, {0, 50}};

  for (size_t p = 0; p < sizeof percent / sizeof *percent; p++) {
    SparseRows rows[2];

    fill(0, N, percent[p][0], &rows[0]);
    fill(1, M, percent[p][1], &rows[1]);
    for (int packs = 0; packs < 2; packs++) {
      check_pair(&rows[0], &rows[1], (PetscBool)packs, expected(0, N, 1, M));
      check_pair(&rows[0], &rows[0], (PetscBool)packs, expected(0, N, 0, N));
      check_pair(&rows[1], &rows[0], (PetscBool)packs, expected(1, M, 0, N));
      check_without_rows(&rows[0], &rows[1], (PetscBool)packs, expected(0, N, 1, M));
    }
    for (int s = 0; s < 2; s++) check_call(sparserows_free(&rows[s]));
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(distances)};
TEST_MAIN(tests)
