/* Products of cells in rows and in panels against sums in long double. */
#include "check.h"
#include "hilbert/cellblock.h"
#include <cblas.h>
#include <perturbdiff/runtime/random.h>

enum { CELLS = 131, DIMENSIONS = 4 };
static const int dimension[DIMENSIONS] = {1, 23, 500, 1203};
static double    values[CELLS * 1203], product[CELLS * CELLS], whole[CELLS * CELLS];

static void fill(int d)
{
  const RandomStream stream = random_stream(3, RANDOM_EMBED, 0, 0, 0);

  for (int i = 0; i < CELLS * d; i++) values[i] = (double)random_below(&stream, (uint64_t)i, 1000003) / 1000003 - 0.3;
}

/* Cells [row, row + rows) x [column, column + columns) of both layouts; what lies beside them in memory stays as it is. */
static void check_part(const CellBlock *b, int d, int row, int rows, int column, int columns)
{
  const int ld = columns + 3;

  for (int i = 0; i < CELLS * CELLS; i++) product[i] = -77;
  cellblock_products(b, row, rows, b, column, columns, product, ld);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < ld; j++) {
      long double sum = 0;
      const double *x = values + (size_t)(row + i) * (size_t)d, *y = values + (size_t)(column + j) * (size_t)d;
      if (j >= columns) {
        assert_true(product[i * ld + j] == -77);
        continue;
      }
      for (int k = 0; k < d; k++) sum += (long double)x[k] * (long double)y[k];
      check_close(product[i * ld + j], sum, 1e-14, d);
      if (b->layout == CELLBLOCK_PANELS) assert_true(product[i * ld + j] == whole[(row + i) * CELLS + column + j]);
    }
  assert_true(product[rows * ld] == -77);
}

static void products(void **state)
{
  static const int part[][4] = {{0, 24, 0, 48}, {0, 96, 24, 48}, {0, 1, 0, 1}, {5, 13, 7, 100}, {23, 2, 47, 50}, {130, 1, 0, 120}, {8, 122, 100, 31}, {24, 105, 3, 122}};

  openblas_set_num_threads(1);
  for (int l = CELLBLOCK_ROWS; l <= (int)cellblock_layout(); l++)
    for (int t = 0; t < DIMENSIONS; t++) {
      const int     d = dimension[t];
      CellFeatures *features;
      CellBlock     b;

      fill(d);
      check_call(features_from_doubles(CELLS, d, values, &features));
      const CellGroup group[2] = {{features, 0, 50}, {features, 50, CELLS - 50}};
      check_call(cellblock_create((CellLayout)l, CELLS, d, &b));
      check_call(cellblock_load(2, group, 40, 60, &b)); /* not the last word: filled again below */
      check_close(cellblock_squared_difference(&b, 0, &b, 0), 0, 0, 1);
      check_call(cellblock_load(2, group, 0, CELLS, &b));
      cellblock_products(&b, 0, CELLS, &b, 0, CELLS, whole, CELLS);
      for (size_t p = 0; p < sizeof part / sizeof *part; p++) check_part(&b, d, part[p][0], part[p][1], part[p][2], part[p][3]);
      for (int i = 0; i < CELLS; i++) {
        double square = 0, difference = 0;
        for (int k = 0; k < d; k++) {
          square += values[i * d + k] * values[i * d + k];
          difference += (values[i * d + k] - values[77 * d + k]) * (values[i * d + k] - values[77 * d + k]);
        }
        check_close(b.square[i], square, 1e-14, d);
        check_close(cellblock_squared_difference(&b, i, &b, 77), difference, 1e-14, d);
      }
      check_call(cellblock_destroy(&b));
      check_call(features_destroy(&features));
    }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(products)};
TEST_MAIN(tests)
