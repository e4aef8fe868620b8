/* Products of sparse cells with panels against sums in long double; cells of unsorted columns, none, all; values with and without units; sizes that fill no panel and no slab. */
#include "check.h"
#include <perturbdiff/hilbert/sparseproducts.h>
#include <perturbdiff/runtime/random.h>
#include <stdlib.h>
#include <string.h>

/* Values of cells: all different; half of them the smallest, as of counts; so in two cells of three, others with negative values too, or all very small; so in few cells. */
typedef enum { CONTINUOUS, COUNTS, MIXED, RARE, KINDS } Kind;
enum { CELLS = 131, MOST = 1203, DIMENSIONS = 5 };
static const int dimension[DIMENSIONS] = {1, 63, 64, 500, MOST};
static float     values[2][CELLS * MOST];

static float value_of(Kind kind, int i, uint64_t draw)
{
  const float different = (float)(draw / 100 + 1) / 137, unit = (float)(i % 13 + 1) / 128;
  const int   counts = kind == COUNTS || (kind == MIXED && i % 3) || (kind == RARE && i % 10 == 1);

  if (counts) return draw / 100 % 2 ? unit : unit * (float)(9 + draw / 200 % 50) / 7;
  if (kind == MIXED && i % 2) return draw / 100 % 3 ? different : -different;
  return kind == MIXED && i % 4 ? different * 1e-38f : different;
}

/* Cells with `percent` of their values, every third with its columns backwards, the first with none and the second with all. */
static void fill(int side, int d, int percent, Kind kind, PetscBool wide, SparseRows *rows)
{
  const RandomStream stream = random_stream(5, RANDOM_EMBED, (uint32_t)side, 0, 0);
  int64_t            end = 0;

  *rows = (SparseRows){.rows = CELLS, .columns = d};
  check_call(PetscMalloc1(CELLS + 1, &rows->offset));
  check_call(sparserows_allocate(CELLS * d, wide, rows));
  rows->offset[0] = 0;
  for (int i = 0; i < CELLS; i++) {
    for (int k = 0; k < d; k++) {
      const int      g = i % 3 ? k : d - 1 - k;
      const uint64_t draw = random_below(&stream, (uint64_t)(i * d + g), 100000);
      float         *value = &values[side][i * d + g];
      *value = i && (i == 1 || (int)(draw % 100) < percent) ? value_of(kind, i, draw) : 0;
      if (*value == 0) continue;
      rows->column[end] = g;
      sparserows_set(rows, end++, *value);
    }
    rows->offset[i + 1] = end;
  }
}

/* Columns need not ascend. */
static void turn(SparseRows *rows)
{
  for (int i = 1; i < CELLS; i += 2)
    for (int64_t e = rows->offset[i], f = rows->offset[i + 1] - 1; e < f; e++, f--) {
      const int32_t column = rows->column[e];
      const double  value = sparserows_get(rows, e);
      rows->column[e] = rows->column[f];
      sparserows_set(rows, e, sparserows_get(rows, f));
      rows->column[f] = column;
      sparserows_set(rows, f, value);
    }
}

/* A panel has the values as they were, to the last bit. */
static void check_panel(const SparsePanel *panel, int begin, int d)
{
  for (int j = 0; j < PetscMin(SPARSE_PANEL, CELLS - begin); j++)
    for (int g = 0; g < d; g++) assert_true(sparsepanel_get(panel, g, j) == (double)values[1][(begin + j) * d + g]);
}

static void check_squares(int d, const double *square)
{
  for (int i = 0; i < CELLS; i++) {
    long double sum = 0;
    for (int g = 0; g < d; g++) sum += (long double)values[0][i * d + g] * (long double)values[0][i * d + g];
    check_close(square[i], sum, 1e-14, sum);
  }
}

static void check_products(const SparseCells *x, int first, int count, const SparsePanel *panel, int begin, int columns, int d, double *product)
{
  const int end = (count + 1) / 2 * 2 * SPARSE_PANEL;

  product[end] = -77;
  sparse_products(x, first, count, panel, columns, product);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < columns; j++) {
      long double sum = 0, size = 0;
      for (int g = 0; g < d; g++) {
        const long double term = (long double)values[0][(first + i) * d + g] * (long double)values[1][(begin + j) * d + g];
        sum += term;
        size += fabsl(term);
      }
      check_close(product[i * SPARSE_PANEL + j], sum, 1e-14, size);
    }
  assert_true(product[end] == -77);
}

/* All products of cells of some kind. */
static void check_kind(int d, int percent, Kind kind, PetscBool wide, void *memory, double *product)
{
  static const int  part[][2] = {{0, CELLS}, {0, 1}, {4, 1}, {130, 1}, {6, 96}, {96, 35}, {2, 0}};
  static const int  columns[] = {SPARSE_PANEL, SPARSE_PANEL - 1, 33, 32, 9, 8, 1};
  const SparsePanel panel = sparsepanel_at(memory, wide);
  SparseRows        rows[2];
  SparseCells       x, y;
  double            square[CELLS];

  fill(0, d, percent, kind, wide, &rows[0]);
  fill(1, d, 40, kind, wide, &rows[1]);
  turn(&rows[0]);
  check_call(sparsecells_create(&rows[0], d, &x, square));
  check_call(sparsecells_create(&rows[1], d, &y, NULL));
  check_squares(d, square);
  if (wide || (d > 1 && (kind == CONTINUOUS || kind == RARE))) assert_null(y.unit);
  else assert_non_null(y.unit);
  assert_true(wide || (y.value == NULL) == (y.unit != NULL));
  for (int s = 0; s < 2; s++) check_call(sparserows_free(&rows[s]));
  for (int begin = 0; begin < CELLS; begin += SPARSE_PANEL) {
    sparsepanel_fill(&y, begin, &panel);
    check_panel(&panel, begin, d);
    for (size_t p = 0; p < sizeof part / sizeof *part; p++)
      for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        check_products(&x, part[p][0], part[p][1], &panel, begin, PetscMin(columns[c], CELLS - begin), d, product);
  }
  check_call(sparsecells_destroy(&x));
  check_call(sparsecells_destroy(&y));
}

static void products(void **state)
{
  double *const product = aligned_alloc(64, (CELLS + 2) * SPARSE_PANEL * sizeof(double));

  assert_non_null(product);
  for (int t = 0; t < DIMENSIONS; t++) {
    void *const memory = aligned_alloc(64, sparsepanel_bytes(dimension[t], PETSC_TRUE));

    assert_non_null(memory);
    for (int percent = 0; percent <= 100; percent += 50)
      for (Kind kind = CONTINUOUS; kind < KINDS; kind++)
        check_kind(dimension[t], percent, kind, (t + (int)kind) % 2 ? PETSC_TRUE : PETSC_FALSE, memory, product);
    free(memory);
  }
  free(product);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(products)};
TEST_MAIN(tests)
