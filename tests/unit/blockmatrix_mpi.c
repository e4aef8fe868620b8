/* Block-cyclic matrices: entries where they belong, and ScaLAPACK against closed forms. */
#include "check.h"
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime/grid.h>

/* A full matrix without structure. */
static double entry(PetscInt i, PetscInt j) { return sin(1 + 3. * (double)i + 7. * (double)j) + (i == j ? 4 : 0); }

static void fill(BlockMatrix *m, double (*value)(PetscInt, PetscInt))
{
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++) m->values[j * m->ld + i] = value(blockmatrix_row(m, i), blockmatrix_column(m, j));
}

static void shapes(void **state)
{
  const PetscInt64 sizes[] = {1, 7, 61, 500};

  for (int s = 0; s < 4; s++) {
    BlockGrid  *grid;
    BlockMatrix m;
    long long   held, all = sizes[s] * 33;

    check_call(blockgrid_create(PETSC_COMM_WORLD, sizes[s], &grid));
    assert_true(grid->rows * grid->columns <= grid->ranks);
    check_call(blockmatrix_create(grid, sizes[s], 33, &m));
    held = (long long)m.local_rows * m.local_columns;
    assert_true((double)held * sizeof(double) <= blockmatrix_bytes(grid, sizes[s], 33));
    assert_int_equal(MPI_Allreduce(MPI_IN_PLACE, &held, 1, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD), 0);
    assert_int_equal(held, all);
    check_call(blockmatrix_destroy(&m));
    check_call(blockgrid_destroy(&grid));
  }
}

static void rows_there_and_back(void **state)
{
  const PetscInt n = 45, columns = 29;
  BlockGrid     *grid;
  BlockMatrix    m;
  long long      first, count;
  double         rows[45 * 29], back[45 * 29], panel[5 * 29], column[45 * 2], diagonal[29];
  BlockEntry     own;

  check_call(blockgrid_create(PETSC_COMM_WORLD, n, &grid));
  check_call(blockmatrix_create(grid, n, columns, &m));
  share_of(n, grid->rank, grid->ranks, &first, &count);
  for (long long i = 0; i < count; i++)
    for (PetscInt j = 0; j < columns; j++) rows[i * columns + j] = entry((PetscInt)(first + i), j);
  check_call(blockmatrix_from_rows(&m, rows));
  for (int j = 0; j < m.local_columns; j++)
    for (int i = 0; i < m.local_rows; i++) assert_true(m.values[j * m.ld + i] == entry(blockmatrix_row(&m, i), blockmatrix_column(&m, j)));
  check_call(blockmatrix_to_rows(&m, back));
  assert_memory_equal(rows, back, (size_t)(count * columns) * sizeof *rows);
  /* Every rank adds one entry and a panel. */
  own = (BlockEntry){44, 28, 1};
  check_call(blockmatrix_add_entries(&m, 1, &own));
  for (int i = 0; i < 5 * columns; i++) panel[i] = 0.5;
  check_call(blockmatrix_add_panel(&m, 20, 5, panel));
  check_call(blockmatrix_replicate(&m, 27, 2, column));
  check_call(blockmatrix_diagonal(&m, diagonal));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 27; j < 29; j++) {
      const double more = (i == 44 && j == 28 ? grid->ranks : 0) + (i >= 20 && i < 25 ? 0.5 * grid->ranks : 0);
      check_close(column[2 * i + j - 27], entry(i, j) + more, 1e-14, 1);
      if (i == j) check_close(diagonal[i], entry(i, j) + more, 1e-14, 1);
    }
  check_call(blockmatrix_destroy(&m));
  check_call(blockgrid_destroy(&grid));
}

/* The second difference: eigenvalues 2 - 2 cos(k pi / (n + 1)), eigenvectors sin(i k pi / (n + 1)) (any book on finite differences). */
enum { LAPLACE = 50 };
static double second_difference(PetscInt i, PetscInt j) { return i == j ? 2 : i - j == 1 || j - i == 1 ? -1 : 0; }

static void eigenvalues(void **state)
{
  BlockGrid  *grid;
  BlockMatrix a, z;
  double      values[LAPLACE], vector[LAPLACE * LAPLACE];

  check_call(blockgrid_create(PETSC_COMM_WORLD, LAPLACE, &grid));
  check_call(blockmatrix_create(grid, LAPLACE, LAPLACE, &a));
  check_call(blockmatrix_create(grid, LAPLACE, LAPLACE, &z));
  fill(&a, second_difference);
  check_call(blockmatrix_eigen(&a, values, &z));
  check_call(blockmatrix_replicate(&z, 0, LAPLACE, vector));
  for (int k = 0; k < LAPLACE; k++) {
    const double step = (k + 1) * M_PI / (LAPLACE + 1);
    double       largest = 0, sign = 1;

    check_close(values[k], 2 - 2 * cos(step), 1e-12, 1);
    for (int i = 0; i < LAPLACE; i++)
      if (fabs(sin((i + 1) * step)) > largest * (1 + 1e-6)) {
        largest = fabs(sin((i + 1) * step));
        sign    = sin((i + 1) * step) < 0 ? -1 : 1;
      }
    for (int i = 0; i < LAPLACE; i++) check_close(vector[i * LAPLACE + k], sign * sqrt(2. / (LAPLACE + 1)) * sin((i + 1) * step), 1e-10, 1);
  }
  fill(&a, second_difference);
  check_call(blockmatrix_eigen(&a, values, NULL));
  check_close(values[0], 2 - 2 * cos(M_PI / (LAPLACE + 1)), 1e-12, 1);
  check_call(blockmatrix_destroy(&z));
  check_call(blockmatrix_destroy(&a));
  check_call(blockgrid_destroy(&grid));
}

/* min(i,j) + 1 = L L' with L all ones below and on the diagonal; its inverse is the second difference but for the last entry, which is 1. */
static double smaller(PetscInt i, PetscInt j) { return (double)PetscMin(i, j) + 1; }
static double ones_below(PetscInt i, PetscInt j) { return i >= j; }
static double ones(PetscInt i, PetscInt j) { return 1; }

static void check_all(const BlockMatrix *m, double (*value)(PetscInt, PetscInt), PetscBool lower, double tolerance)
{
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++) {
      const PetscInt row = blockmatrix_row(m, i), column = blockmatrix_column(m, j);
      if (!lower || row >= column) check_close(m->values[j * m->ld + i], value(row, column), tolerance, 1);
    }
}

static double inverse(PetscInt i, PetscInt j) { return i == 66 && j == 66 ? 1 : second_difference(i, j); }
static double identity(PetscInt i, PetscInt j) { return i == j; }
static double first_row(PetscInt i, PetscInt j) { return i == 0; }

static void cholesky(void **state)
{
  enum { N = 67 };
  BlockGrid  *grid;
  BlockMatrix a, b, l;
  PetscInt    failed;

  check_call(blockgrid_create(PETSC_COMM_WORLD, N, &grid));
  check_call(blockmatrix_create(grid, N, N, &a));
  check_call(blockmatrix_create(grid, N, N, &b));
  check_call(blockmatrix_create(grid, N, 5, &l));
  fill(&a, smaller);
  check_call(blockmatrix_cholesky(&a, &failed));
  assert_int_equal(failed, 0);
  check_all(&a, ones_below, PETSC_TRUE, 1e-12);
  fill(&b, identity);
  check_call(blockmatrix_cholesky_solve(&a, &b));
  check_all(&b, inverse, PETSC_FALSE, 1e-11);
  /* L (1,0,...,0)' = ones. */
  fill(&l, ones);
  check_call(blockmatrix_triangular_solve(PETSC_TRUE, PETSC_FALSE, 1, &a, &l));
  check_all(&l, first_row, PETSC_FALSE, 1e-12);
  /* A A^-1 = 1; what is not positive definite is said to be so on all ranks. */
  fill(&a, smaller);
  BlockMatrix c;
  check_call(blockmatrix_create(grid, N, N, &c));
  check_call(blockmatrix_product(PETSC_FALSE, PETSC_TRUE, 1, &a, &b, 0, &c));
  check_all(&c, identity, PETSC_FALSE, 1e-9);
  fill(&a, ones);
  check_call(blockmatrix_cholesky(&a, &failed));
  assert_int_equal(failed, 2);
  check_call(blockmatrix_destroy(&c));
  check_call(blockmatrix_destroy(&l));
  check_call(blockmatrix_destroy(&b));
  check_call(blockmatrix_destroy(&a));
  check_call(blockgrid_destroy(&grid));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(rows_there_and_back), cmocka_unit_test(eigenvalues), cmocka_unit_test(cholesky)};

TEST_MAIN(tests)
