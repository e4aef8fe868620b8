/* Sorted values of genes against qsort, and the rank test of every gene against its definition: U counts pairs of cells, p is the normal approximation with ties counted over all cells. */
#include "check.h"
#include <omp.h>
#include <perturbdiff/evaluation/differential.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 300000 };

/* How values are drawn. */
typedef enum { FEW, CONTINUOUS, WIDE_RANGE } Draw;

static uint64_t state_of_draws;
static double   uniform(void)
{
  state_of_draws = state_of_draws * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(state_of_draws >> 11) * 0x1p-53;
}

static double drawn(Draw draw)
{
  const double u = uniform();
  return draw == FEW ? log1p(1 + floor(5 * u)) : draw == CONTINUOUS ? 1e-3 + 6 * u : exp(170 * (u - 0.5));
}

/* Gene g is zero in a share of g / genes of the cells; wide: double precision. rows of `cells` x genes, columns of odd rows descending. */
static void make_rows(PetscInt64 cells, PetscInt genes, Draw draw, PetscBool wide, double *dense, SparseRows *rows)
{
  int64_t entries = 0;

  *rows = (SparseRows){.rows = cells, .columns = genes};
  check_call(PetscCalloc1(cells + 1, &rows->offset));
  for (PetscInt64 i = 0; i < cells; i++) {
    for (PetscInt g = 0; g < genes; g++) {
      const double value = drawn(draw);
      dense[i * genes + g] = uniform() * (double)genes < (double)g ? 0 : wide ? value : (double)(float)value;
      entries += dense[i * genes + g] > 0;
    }
    rows->offset[i + 1] = entries;
  }
  check_call(sparserows_allocate(entries, wide, rows));
  for (PetscInt64 i = 0; i < cells; i++) {
    int64_t e = rows->offset[i];
    for (PetscInt k = 0; k < genes; k++) {
      const PetscInt g = i % 2 ? genes - 1 - k : k;
      if (!(dense[i * genes + g] > 0)) continue;
      rows->column[e] = (int32_t)g;
      sparserows_set(rows, e++, dense[i * genes + g]);
    }
  }
}

/* The values of each gene in the order of the cells, before they are sorted. */
static void check_order(PetscInt64 cells, PetscInt genes, const double *dense, const GeneColumns *columns)
{
  for (PetscInt g = 0; g < genes; g++) {
    int64_t at = columns->offset[g];
    for (PetscInt64 i = 0; i < cells; i++)
      if (dense[i * genes + g] > 0) assert_true(genecolumns_get(columns, at++) == dense[i * genes + g]);
    assert_true(at == columns->offset[g + 1]);
  }
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void check_sorted(PetscInt64 cells, PetscInt genes, const double *dense, const GeneColumns *columns)
{
  double *value;

  check_call(PetscMalloc1(cells, &value));
  for (PetscInt g = 0; g < genes; g++) {
    size_t count = 0;
    for (PetscInt64 i = 0; i < cells; i++)
      if (dense[i * genes + g] > 0) value[count++] = dense[i * genes + g];
    qsort(value, count, sizeof *value, ascending);
    assert_true((int64_t)count == columns->offset[g + 1] - columns->offset[g]);
    for (size_t k = 0; k < count; k++) assert_true(genecolumns_get(columns, columns->offset[g] + (int64_t)k) == value[k]);
  }
  check_call(PetscFree(value));
}

/* By the definition: all pairs of cells, all cells' ties. */
static void check_rank_test(PetscInt64 n, const double *x, PetscInt64 m, const double *y, PetscInt genes, PetscInt g, double u, double p)
{
  double wins = 0, ties = 0;

  for (PetscInt64 i = 0; i < n + m; i++) {
    const double v = i < n ? x[i * genes + g] : y[(i - n) * genes + g];
    double       equal = 0;
    for (PetscInt64 j = 0; j < n; j++) equal += x[j * genes + g] == v;
    for (PetscInt64 j = 0; j < m; j++) {
      const double w = y[j * genes + g];
      equal += w == v;
      if (i < n) wins += w < v ? 1 : w == v ? 0.5 : 0;
    }
    ties += equal * equal - 1; /* over the cells of a block of t: t^3 - t */
  }
  const double all = (double)(n + m), variance = (double)n * (double)m / 12 * (all + 1 - ties / (all * (all - 1)));
  const double z = (fabs(wins - (double)n * (double)m / 2) - 0.5) / sqrt(variance);
  check_close(u, wins, 0, 1);
  check_close(p, variance > 0 ? fmin(1, erfc(z / sqrt(2))) : 1, 1e-12, 1);
}

static void check_pair(PetscInt64 n, PetscInt64 m, PetscInt genes, Draw draw, PetscBool wide, PetscBool test)
{
  const PetscInt64 cells[2] = {n, m};
  double          *dense[2], u, p;
  SparseRows       rows[2];
  GeneColumns      columns[2], of_dense;
  GeneRuns         runs;

  for (int s = 0; s < 2; s++) {
    check_call(PetscMalloc1(cells[s] * genes, &dense[s]));
    make_rows(cells[s], genes, draw, wide, dense[s], &rows[s]);
    check_call(genecolumns_create(&rows[s], genes, &columns[s]));
    check_order(cells[s], genes, dense[s], &columns[s]);
    /* As threads share the genes, from the last on. */
    check_call(genecolumns_sort(&columns[s], genes / 3, genes));
    check_call(genecolumns_sort(&columns[s], 0, genes / 3));
    check_sorted(cells[s], genes, dense[s], &columns[s]);
    check_call(genecolumns_of_dense(cells[s], dense[s], genes, &of_dense));
    check_order(cells[s], genes, dense[s], &of_dense);
    check_call(genecolumns_sort(&of_dense, 0, genes));
    check_sorted(cells[s], genes, dense[s], &of_dense);
    check_call(genecolumns_destroy(&of_dense));
  }
  check_call(generuns_create(&columns[1], &runs));
  check_call(genecolumns_destroy(&columns[1]));
  for (PetscInt g = 0; test && g < genes; g++) {
    rank_sum_test(&columns[0], &runs, g, &u, &p);
    check_rank_test(n, dense[0], m, dense[1], genes, g, u, p);
  }
  check_call(generuns_destroy(&runs));
  check_call(genecolumns_destroy(&columns[0]));
  for (int s = 0; s < 2; s++) {
    check_call(sparserows_free(&rows[s]));
    check_call(PetscFree(dense[s]));
  }
}

static void genes_sorted_and_ranked(void **state)
{
  for (int draw = FEW; draw <= WIDE_RANGE; draw++)
    for (int wide = 0; wide < 2; wide++) {
      check_pair(1, 1, 3, (Draw)draw, (PetscBool)wide, PETSC_TRUE);
      check_pair(7, 150, 40, (Draw)draw, (PetscBool)wide, PETSC_TRUE);
      check_pair(211, 90, 70, (Draw)draw, (PetscBool)wide, PETSC_TRUE);
    }
}

/* More values of one gene than are sorted beside others. */
static void long_genes(void **state)
{
  for (int draw = FEW; draw <= WIDE_RANGE; draw++) check_pair(MOST, 300, 4, (Draw)draw, PETSC_FALSE, PETSC_FALSE);
}

/* Rows that threads share, in parts of different lengths. */
static void many_cells(void **state)
{
  const int threads = omp_get_max_threads();

  for (int t = 1; t < 5; t++) {
    omp_set_num_threads(t);
    check_pair(1201, 514, 5, FEW, PETSC_FALSE, PETSC_TRUE);
    check_pair(513, 1000, 300, CONTINUOUS, PETSC_TRUE, PETSC_FALSE);
  }
  omp_set_num_threads(threads);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(genes_sorted_and_ranked), cmocka_unit_test(long_genes), cmocka_unit_test(many_cells)};
TEST_MAIN(tests)
