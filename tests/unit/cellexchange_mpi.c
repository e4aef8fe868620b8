/* Exchange within cell sets: every value tells which set, cell and column it belongs to; uneven shares and ranks without cells included. */
#include "check.h"
#include <perturbdiff/runtime/cellexchange.h>
#include <string.h>

enum { MOST_SETS = 3, WIDTH = 5, MOST_CELLS = 10, LD = 8 };

static const int sizes[] = {10, 7, 4, 2, 1};
static int       the_ranks, the_rank, first, own;

/* Exact in single precision, so that sums are too. */
static Real value(int set, int cell, int column) { return (Real)(set * 100 + cell * 10 + column + 1); }

static CellExchange *made(int set_size)
{
  CellExchange *e;
  int           total = 0;

  check_call(MPI_Comm_size(MPI_COMM_WORLD, &the_ranks));
  check_call(MPI_Comm_rank(MPI_COMM_WORLD, &the_rank));
  check_call(cellexchange_create(MPI_COMM_WORLD, set_size, MOST_SETS, WIDTH, &e));
  assert_int_equal(cellexchange_ranks(e), the_ranks);
  assert_int_equal(cellexchange_rank(e), the_rank);
  for (int r = 0; r < the_ranks; r++) {
    cellexchange_cells(e, r, &first, &own);
    assert_int_equal(first, total);
    assert_in_range(own, set_size / the_ranks, (set_size + the_ranks - 1) / the_ranks);
    total += own;
  }
  assert_int_equal(total, set_size);
  cellexchange_cells(e, the_rank, &first, &own);
  return e;
}

static void gather(void **state)
{
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int sets = 0; sets <= MOST_SETS; sets++) {
      CellExchange *e = made(sizes[k]);
      Real          mine[2][MOST_SETS * MOST_CELLS * LD], all[2][MOST_SETS * MOST_CELLS * WIDTH];
      const int     width[2] = {WIDTH, WIDTH - 2};

      memset(mine, 0, sizeof mine);
      for (int i = 0; i < 2; i++) {
        for (int s = 0; s < sets; s++)
          for (int c = 0; c < own; c++)
            for (int j = 0; j < width[i]; j++) mine[i][(s * own + c) * LD + j] = value(s, first + c, j + 1000 * i);
        check_call(cellexchange_gather_start(e, sets, width[i], mine[i], LD, all[i]));
        /* What was given may be overwritten. */
        memset(mine[i], 0, sizeof mine[i]);
        check_call(cellexchange_progress(e));
      }
      check_call(cellexchange_finish(e));
      for (int i = 0; i < 2; i++)
        for (int s = 0; s < sets; s++)
          for (int c = 0; c < sizes[k]; c++)
            for (int j = 0; j < width[i]; j++) assert_true(all[i][(s * sizes[k] + c) * width[i] + j] == value(s, c, j + 1000 * i));
      check_call(cellexchange_destroy(&e));
      assert_null(e);
    }
}

static void reduce(void **state)
{
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int sets = 0; sets <= MOST_SETS; sets++) {
      CellExchange *e = made(sizes[k]);
      Real          mine[2][MOST_SETS * MOST_CELLS * LD], all[2][MOST_SETS * MOST_CELLS * WIDTH];

      for (int i = 0; i < 2; i++) {
        for (int s = 0; s < sets; s++)
          for (int c = 0; c < sizes[k]; c++)
            for (int j = 0; j < WIDTH; j++) all[i][(s * sizes[k] + c) * WIDTH + j] = (Real)(the_rank + 1) * value(s, c, j + 500 * i);
        for (int j = 0; j < MOST_SETS * MOST_CELLS * LD; j++) mine[i][j] = -7;
        check_call(cellexchange_reduce_start(e, sets, WIDTH, all[i], mine[i], LD));
      }
      check_call(cellexchange_finish(e));
      for (int i = 0; i < 2; i++)
        for (int r = 0; r < sets * own; r++)
          for (int j = 0; j < LD; j++)
            assert_true(mine[i][r * LD + j] == (j < WIDTH ? (Real)(the_ranks * (the_ranks + 1) / 2) * value(r / own, first + r % own, j + 500 * i) : -7));
      check_call(cellexchange_destroy(&e));
    }
}

/* Blocks seen in a ring. */
typedef struct {
  int set_size, calls, seen[MOST_CELLS];
} Seen;

static int look(void *context, int first_cell, int cells, const Real *block)
{
  Seen *seen = context;

  assert_true(cells > 0);
  if (own && !seen->calls) assert_int_equal(first_cell, first);
  seen->calls++;
  for (int c = 0; c < cells; c++) {
    seen->seen[first_cell + c]++;
    for (int j = 0; j < WIDTH; j++) assert_true(block[c * WIDTH + j] == value(0, first_cell + c, j));
  }
  return 0;
}

static int refuse(void *context, int first_cell, int cells, const Real *block) { return 77; }

static void ring(void **state)
{
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    CellExchange *e    = made(sizes[k]);
    Seen          seen = {.set_size = sizes[k]};
    Real          mine[MOST_CELLS * WIDTH];

    for (int c = 0; c < own; c++)
      for (int j = 0; j < WIDTH; j++) mine[c * WIDTH + j] = value(0, first + c, j);
    check_call(cellexchange_ring(e, WIDTH, mine, look, &seen));
    assert_int_equal(seen.calls, sizes[k] < the_ranks ? sizes[k] : the_ranks);
    for (int c = 0; c < sizes[k]; c++) assert_int_equal(seen.seen[c], 1);
    if (sizes[k] >= the_ranks) assert_int_equal(cellexchange_ring(e, WIDTH, mine, refuse, NULL), 77);
    check_call(cellexchange_destroy(&e));
  }
}

/* The same bits everywhere, and the right sum. */
static void sum(void **state)
{
  CellExchange *e = made(10);
  double        values[4], of_first[4];

  for (int i = 0; i < 4; i++) values[i] = exp(-i - 0.1 * the_rank) / 3;
  check_call(cellexchange_sum(e, 4, values));
  memcpy(of_first, values, sizeof values);
  check_call(MPI_Bcast(of_first, 4, MPI_DOUBLE, 0, MPI_COMM_WORLD));
  assert_memory_equal(of_first, values, sizeof values);
  for (int i = 0; i < 4; i++) check_close(values[i], exp(-i) / 3 * (1 - exp(-0.1 * the_ranks)) / (1 - exp(-0.1)), 1e-15, values[0] * the_ranks);
  check_call(cellexchange_destroy(&e));
}

/* Bytes sent: own cells to each of the others; nothing is counted twice. */
static void times(void **state)
{
  CellExchange *e = made(10);
  Real          mine[MOST_CELLS * WIDTH] = {0}, all[MOST_CELLS * WIDTH];

  check_call(cellexchange_gather_start(e, 1, WIDTH, mine, WIDTH, all));
  check_call(cellexchange_finish(e));
  const ExchangeTimes t = cellexchange_times(e), none = cellexchange_times(e);
  check_close(t.bytes, (the_ranks - 1) * own * WIDTH * (double)sizeof(Real), 0, 1);
  assert_true(t.under_way >= t.waited && t.waited >= 0 && t.driving >= 0);
  if (the_ranks > 1) assert_true(t.under_way > 0);
  assert_true(none.bytes == 0 && none.under_way == 0);
  check_call(cellexchange_destroy(&e));
}

static void mistakes(void **state)
{
  CellExchange *e = made(10);
  Real          mine[MOST_SETS * MOST_CELLS * WIDTH] = {0}, all[3][MOST_SETS * MOST_CELLS * WIDTH];

  if (the_ranks > 1) {
    assert_int_equal(cellexchange_gather_start(e, MOST_SETS + 1, WIDTH, mine, WIDTH, all[0]), MPI_ERR_ARG);
    assert_int_equal(cellexchange_gather_start(e, 1, WIDTH + 1, mine, WIDTH, all[0]), MPI_ERR_ARG);
    for (int i = 0; i < 3; i++) assert_int_equal(cellexchange_gather_start(e, 1, WIDTH, mine, WIDTH, all[i]), i < CELLEXCHANGE_PENDING ? MPI_SUCCESS : MPI_ERR_ARG);
    assert_int_equal(cellexchange_ring(e, WIDTH, mine, look, NULL), MPI_ERR_ARG);
    check_call(cellexchange_finish(e));
  }
  assert_true(cellexchange_bytes(the_ranks, 10, 2, WIDTH) >= cellexchange_bytes(the_ranks, 10, 1, WIDTH));
  check_call(cellexchange_destroy(&e));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(gather), cmocka_unit_test(reduce), cmocka_unit_test(ring), cmocka_unit_test(sum), cmocka_unit_test(times), cmocka_unit_test(mistakes)};

TEST_MAIN(tests)
