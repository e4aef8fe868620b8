/* algebra N ROUNDS - Cholesky factor and eigenvalues with vectors of an N x N matrix by the library's block-cyclic matrices and by a plain ScaLAPACK program with a grid
   and blocks of the same shape, in turns; medians. One line for each routine: seconds of ours and of the plain program, the ratio of their rates. Under mpirun on any number of
   ranks. The plain program calls pdpotrf, pdsyevd (as ours does) and pdsyevr itself; ours includes what blockmatrix_eigen adds: signs of the vectors, values on every rank. */
#include "hilbert/scalapack.h"
#include <math.h>
#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/runtime/blas.h>
#include <perturbdiff/runtime/error.h>
#include <stdio.h>
#include <stdlib.h>

void Cblacs_get(int context, int what, int *value);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
int  numroc_(const int *n, const int *block, const int *place, const int *source, const int *places);
void pdsyevr_(const char *job, const char *range, const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc_a, const double *lowest, const double *highest,
              const int *first, const int *last, int *found, int *computed, double *values, double *z, const int *iz, const int *jz, const int *desc_z, double *work,
              const int *work_size, int *index_work, const int *index_size, int *info, size_t, size_t, size_t);

enum { CHOLESKY, EIGEN_DIVIDE, EIGEN_RELATIVE, ROUTINES, MOST_ROUNDS = 25 };

static const int one = 1;

/* An exponential kernel on a line, far from singular. */
static double entry(PetscInt i, PetscInt j) { return exp(-fabs((double)(i - j)) / 40) + (i == j ? 0.1 : 0); }

static void fill(BlockMatrix *m)
{
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++) m->values[(size_t)j * (size_t)m->ld + (size_t)i] = entry(blockmatrix_row(m, i), blockmatrix_column(m, j));
}

static double start(MPI_Comm comm)
{
  MPI_Barrier(comm);
  return MPI_Wtime();
}

static PetscErrorCode ours(const BlockGrid *grid, PetscInt n, int routine, double *seconds)
{
  BlockMatrix a, z;
  double     *values, from;
  PetscInt    failed = 0;

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(grid, n, n, &a));
  PetscCall(blockmatrix_create(grid, n, n, &z));
  PetscCall(PetscMalloc1(n, &values));
  fill(&a);
  from = start(grid->comm);
  if (routine == CHOLESKY) PetscCall(blockmatrix_cholesky(&a, &failed));
  else PetscCall(blockmatrix_eigen(&a, values, &z));
  *seconds = start(grid->comm) - from;
  PetscCheck(!failed, grid->comm, PETSC_ERR_LIB, "No factor");
  PetscCall(PetscFree(values));
  PetscCall(blockmatrix_destroy(&a));
  PetscCall(blockmatrix_destroy(&z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A plain program: its own BLACS grid, allocation by numroc. */
static PetscErrorCode plain(const BlockGrid *grid, PetscInt n, int routine, double *seconds)
{
  const int zero = 0, b = grid->block, query = -1;
  int       context, info = 0, found, computed, index_size[4], *index_work;
  double   *a, *z, *values, *work, size[4], none = 0;

  PetscFunctionBeginUser;
  Cblacs_get(-1, 0, &context);
  Cblacs_gridinit(&context, "Row", grid->rows, grid->columns);
  if (grid->row >= 0) {
    const int rows = numroc_(&n, &b, &grid->row, &zero, &grid->rows), columns = numroc_(&n, &b, &grid->column, &zero, &grid->columns), ld = rows > 1 ? rows : 1;
    const int descriptor[9] = {1, context, n, n, b, b, 0, 0, ld};

    a      = calloc((size_t)ld * (size_t)(columns + 1), sizeof *a);
    z      = calloc((size_t)ld * (size_t)(columns + 1), sizeof *z);
    values = malloc((size_t)n * sizeof *values);
    PetscCheck(a && z && values, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory");
    for (int j = 0; j < columns; j++)
      for (int i = 0; i < rows; i++)
        a[(size_t)j * (size_t)ld + (size_t)i] = entry((i / b * grid->rows + grid->row) * b + i % b, (j / b * grid->columns + grid->column) * b + j % b);
    const double from = start(grid->comm);
    if (routine == CHOLESKY) pdpotrf_("L", &n, a, &one, &one, descriptor, &info, 1);
    else
      for (int pass = 0; pass < 2; pass++) {
        const int work_size = pass ? (int)size[0] + 4 * b * (rows + columns + 2 * b) : query, index_count = pass ? index_size[0] : query;
        work       = pass ? malloc((size_t)work_size * sizeof *work) : size;
        index_work = pass ? malloc((size_t)index_count * sizeof *index_work) : index_size;
        if (routine == EIGEN_DIVIDE)
          pdsyevd_("V", "L", &n, a, &one, &one, descriptor, values, z, &one, &one, descriptor, work, &work_size, index_work, &index_count, &info, 1, 1);
        else
          pdsyevr_("V", "A", "L", &n, a, &one, &one, descriptor, &none, &none, &one, &n, &found, &computed, values, z, &one, &one, descriptor, work, &work_size, index_work, &index_count,
                   &info, 1, 1, 1);
        if (pass) {
          free(work);
          free(index_work);
        }
      }
    *seconds = start(grid->comm) - from;
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "ScaLAPACK: info %d", info);
    free(a);
    free(z);
    free(values);
    Cblacs_gridexit(context);
  } else {
    start(grid->comm);
    start(grid->comm);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median(int n, double *values)
{
  qsort(values, (size_t)n, sizeof *values, ascending);
  return values[n / 2];
}

int main(int argc, char **argv)
{
  static const char *const name[ROUTINES] = {"pdpotrf", "pdsyevd", "pdsyevr"};
  const PetscInt           n = argc > 1 ? atoi(argv[1]) : 2000;
  const int                rounds = PetscMin(MOST_ROUNDS, argc > 2 ? atoi(argv[2]) : 5);
  double                   own[MOST_ROUNDS], theirs[MOST_ROUNDS];
  BlockGrid               *grid;

  blas_guard(argc, argv);
  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  PetscCall(blockgrid_create(PETSC_COMM_WORLD, n, &grid));
  for (int routine = CHOLESKY; routine < ROUTINES; routine++) {
    for (int round = 0; round < rounds; round++) {
      PetscCall(plain(grid, n, routine, &theirs[round]));
      PetscCall(ours(grid, n, routine, &own[round]));
    }
    const double mine = median(rounds, own), peer = median(rounds, theirs);
    if (!grid->rank)
      printf("%s %d x %d, grid %d x %d, blocks of %d: ours %.3f s, plain %.3f s, rate %.2f of the plain program%s\n", name[routine], (int)n, (int)n, grid->rows, grid->columns, grid->block, mine,
             peer, peer / mine, routine == EIGEN_RELATIVE ? " (ours: pdsyevd)" : "");
  }
  PetscCall(blockgrid_destroy(&grid));
  return PetscFinalize() ? 1 : 0;
}
