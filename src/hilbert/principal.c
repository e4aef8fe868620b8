/* Principal components of cells: the covariance of genes, or the Gram matrix of cells where that is smaller. */
#include "hilbert/features_internal.h"
#include "hilbert/lapack.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>
#include <perturbdiff/runtime/grid.h>

/* Cells made dense at a time; bytes of a panel of the covariance that every rank sums. */
enum { CHUNK = 512, PANEL_BYTES = 1 << 27 };

/* Components whose variance is this far below the first are rounding. */
static const double no_variance = 1e-12;

typedef struct {
  MPI_Comm         comm;
  int              rank, ranks;
  PetscInt         groups, dimension, components;
  const CellGroup *group;
  PetscInt64       cells;
  long long        first, own; /* this rank's cells */
  double          *mean;
} Work;

/* Cells [first, first + count) less the mean. */
static PetscErrorCode centered_rows(const Work *w, PetscInt64 first, PetscInt64 count, double *rows)
{
  PetscFunctionBeginUser;
  PetscCall(groups_rows(w->groups, w->group, first, count, rows, w->dimension, NULL));
#pragma omp parallel for schedule(static)
  for (PetscInt64 i = 0; i < count; i++)
    for (PetscInt g = 0; g < w->dimension; g++) rows[i * w->dimension + g] -= w->mean[g];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode own_sum(const Work *w, double *rows, double *sum)
{
  PetscFunctionBeginUser;
  for (PetscInt64 done = 0; done < w->own; done += CHUNK) {
    const PetscInt64 now = PetscMin(CHUNK, w->own - done);
    PetscCall(groups_rows(w->groups, w->group, w->first + done, now, rows, w->dimension, NULL));
    for (PetscInt64 i = 0; i < now; i++)
      for (PetscInt g = 0; g < w->dimension; g++) sum[g] += rows[i * w->dimension + g];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode find_mean(Work *w, double *rows)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(w->mean, w->dimension));
  PetscErrorCode code = own_sum(w, rows, w->mean);
  if (w->ranks > 1) {
    PetscCallAgree(w->comm, code);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, w->mean, w->dimension, MPI_DOUBLE, MPI_SUM, w->comm));
  }
  PetscCall(code);
  for (PetscInt g = 0; g < w->dimension; g++) w->mean[g] /= (double)w->cells;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt panel_rows(PetscInt dimension) { return PetscMax(1, PetscMin(dimension, (PetscInt)(PANEL_BYTES / (sizeof(double) * (size_t)dimension)))); }

/* panel (rows, G) = genes [gene, gene + rows) of this rank's centred cells against all genes. */
static PetscErrorCode covariance_panel(const Work *w, PetscInt gene, PetscInt rows, double *cells, double *panel)
{
  const PetscInt d = w->dimension;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(panel, (size_t)rows * (size_t)d));
  for (PetscInt64 done = 0; done < w->own; done += CHUNK) {
    const PetscInt now = (PetscInt)PetscMin(CHUNK, w->own - done);
    PetscCall(centered_rows(w, w->first + done, now, cells));
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, d, now, 1, cells + gene, d, cells, d, 1, panel, d);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode covariance(const Work *w, double *cells, BlockMatrix *matrix)
{
  const PetscInt most = panel_rows(w->dimension);
  double        *panel;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)most * (size_t)w->dimension, &panel));
  for (PetscInt gene = 0; gene < w->dimension; gene += most) {
    const PetscInt rows = PetscMin(most, w->dimension - gene);
    PetscCallAgree(w->comm, covariance_panel(w, gene, rows, cells, panel));
    PetscCall(blockmatrix_add_panel(matrix, gene, rows, panel));
  }
  PetscCall(PetscFree(panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* gram (own, n) of this rank's centred cells (own, G) against all. */
static PetscErrorCode gram_rows(const Work *w, const double *own, double *cells, double *gram)
{
  const PetscInt d = w->dimension, n = (PetscInt)w->cells;

  PetscFunctionBeginUser;
  for (PetscInt done = 0; done < n; done += CHUNK) {
    const PetscInt now = PetscMin(CHUNK, n - done);
    PetscCall(centered_rows(w, done, now, cells));
    if (w->own) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)w->own, now, d, 1, own, d, cells, d, 0, gram + done, n);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each column's entry of largest modulus positive; of several within rounding the first counts. */
static void fix_signs(PetscInt rows, PetscInt columns, double *v)
{
  for (PetscInt c = 0; c < columns; c++) {
    double   largest = 0;
    PetscInt at      = 0;
    for (PetscInt g = 0; g < rows; g++)
      if (fabs(v[(size_t)g * (size_t)columns + (size_t)c]) > largest * (1 + 1e-8)) {
        at      = g;
        largest = fabs(v[(size_t)g * (size_t)columns + (size_t)c]);
      }
    if (v[(size_t)at * (size_t)columns + (size_t)c] < 0)
      for (PetscInt g = 0; g < rows; g++) v[(size_t)g * (size_t)columns + (size_t)c] *= -1;
  }
}

/* The largest eigenvalues, descending, into variance, and their vectors (rows, components). */
static PetscErrorCode largest_pairs(const Work *w, BlockMatrix *matrix, double *variance, double *total, double *vectors)
{
  const PetscInt n = matrix->rows, d = w->components;
  BlockMatrix    z;
  double        *values, *ascending;

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(matrix->grid, n, n, &z));
  PetscCall(PetscMalloc2(n, &values, (size_t)n * (size_t)d, &ascending));
  PetscCall(blockmatrix_eigen(matrix, values, &z));
  PetscCall(blockmatrix_replicate(&z, n - d, d, ascending));
  *total = 0;
  for (PetscInt i = 0; i < n; i++) *total += values[i] / (double)(w->cells - 1);
  for (PetscInt c = 0; c < d; c++) {
    variance[c] = values[n - 1 - c] / (double)(w->cells - 1);
    for (PetscInt i = 0; i < n; i++) vectors[(size_t)i * (size_t)d + (size_t)c] = ascending[(size_t)i * (size_t)d + (size_t)(d - 1 - c)];
  }
  PetscCall(PetscFree2(values, ascending));
  PetscCall(blockmatrix_destroy(&z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same of a matrix (n,n) that one rank has, which is overwritten, by LAPACK. */
static PetscErrorCode largest_pairs_alone(const Work *w, PetscInt n, double *matrix, double *variance, double *total, double *vectors)
{
  const int    last = n, first = n - w->components + 1, query = -1;
  const double none = 0;
  double      *values, *ascending, *work, size;
  int         *support, *index_work, index_size, found, info, work_size;

  PetscFunctionBeginUser;
  *total = 0;
  for (PetscInt i = 0; i < n; i++) *total += matrix[(size_t)i * (size_t)(n + 1)] / (double)(w->cells - 1);
  PetscCall(PetscMalloc3(n, &values, (size_t)n * (size_t)w->components, &ascending, 2 * (size_t)n, &support));
  dsyevr_("V", "I", "L", &last, matrix, &last, &none, &none, &first, &last, &none, &found, values, ascending, &last, support, &size, &query, &index_size, &query, &info, 1, 1, 1);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK: dsyevr: the size of its workspace is not known (info %d)", info);
  work_size = (int)size;
  PetscCall(PetscMalloc2(work_size, &work, index_size, &index_work));
  dsyevr_("V", "I", "L", &last, matrix, &last, &none, &none, &first, &last, &none, &found, values, ascending, &last, support, work, &work_size, index_work, &index_size, &info, 1, 1, 1);
  PetscCheck(!info && found == w->components, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK: dsyevr: %d eigenvalues of %d (info %d)", found, (int)w->components, info);
  for (PetscInt c = 0; c < w->components; c++) {
    variance[c] = values[w->components - 1 - c] / (double)(w->cells - 1);
    for (PetscInt i = 0; i < n; i++) vectors[(size_t)i * (size_t)w->components + (size_t)c] = ascending[(size_t)(w->components - 1 - c) * (size_t)n + (size_t)i];
  }
  PetscCall(PetscFree2(work, index_work));
  PetscCall(PetscFree3(values, ascending, support));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_rank(const PrincipalComponents *r)
{
  PetscInt rank = 0;

  while (rank < r->components && r->variance[rank] > no_variance * r->variance[0] && r->variance[rank] > 0) rank++;
  if (rank == r->components) return PETSC_SUCCESS;
  if (!rank) return error_user("-principal_components %d: all cells are the same", (int)r->components);
  return error_user("-principal_components %d: the cells span only %d dimensions; give %d or fewer", (int)r->components, (int)rank, (int)rank);
}

/* grid: NULL on one rank. */
static PetscErrorCode from_covariance(const Work *w, const BlockGrid *grid, double *cells, PrincipalComponents *r)
{
  PetscFunctionBeginUser;
  if (grid) {
    BlockMatrix matrix;

    PetscCall(blockmatrix_create(grid, w->dimension, w->dimension, &matrix));
    PetscCall(covariance(w, cells, &matrix));
    PetscCall(largest_pairs(w, &matrix, r->variance, &r->total, r->loadings));
    PetscCall(blockmatrix_destroy(&matrix));
  } else {
    double *matrix;

    PetscCall(PetscMalloc1((size_t)w->dimension * (size_t)w->dimension, &matrix));
    PetscCall(covariance_panel(w, 0, w->dimension, cells, matrix));
    PetscCall(largest_pairs_alone(w, w->dimension, matrix, r->variance, &r->total, r->loadings));
    PetscCall(PetscFree(matrix));
  }
  PetscFunctionReturn(check_rank(r));
}

/* Loadings = Xc' U / |Xc' u|, U the eigenvectors of Xc Xc'. */
static PetscErrorCode from_gram(const Work *w, const BlockGrid *grid, double *cells, PrincipalComponents *r)
{
  const PetscInt n = (PetscInt)w->cells, g = w->dimension, d = w->components;
  double        *own, *gram, *u;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)(w->own + 1) * (size_t)g, &own, (size_t)(w->own + 1) * (size_t)n, &gram, (size_t)n * (size_t)d, &u));
  PetscErrorCode code = centered_rows(w, w->first, w->own, own);
  if (!code) code = gram_rows(w, own, cells, gram);
  if (grid) {
    BlockMatrix matrix;

    PetscCallAgree(w->comm, code);
    PetscCall(blockmatrix_create(grid, n, n, &matrix));
    PetscCall(blockmatrix_from_rows(&matrix, gram));
    PetscCall(largest_pairs(w, &matrix, r->variance, &r->total, u));
    PetscCall(blockmatrix_destroy(&matrix));
  } else {
    PetscCall(code);
    PetscCall(largest_pairs_alone(w, n, gram, r->variance, &r->total, u));
  }
  PetscCall(PetscArrayzero(r->loadings, (size_t)g * (size_t)d));
  if (w->own) cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, g, d, (int)w->own, 1, own, g, u + (size_t)w->first * (size_t)d, d, 0, r->loadings, d);
  if (grid) PetscCall(sum_over_ranks(w->comm, (PetscInt64)g * d, MPI_DOUBLE, r->loadings));
  PetscCall(PetscFree3(own, gram, u));
  PetscCall(check_rank(r));
  for (PetscInt c = 0; c < d; c++) {
    double square = 0;
    for (PetscInt i = 0; i < g; i++) square += r->loadings[(size_t)i * (size_t)d + (size_t)c] * r->loadings[(size_t)i * (size_t)d + (size_t)c];
    for (PetscInt i = 0; i < g; i++) r->loadings[(size_t)i * (size_t)d + (size_t)c] /= sqrt(square);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode find_components(Work *w, PrincipalComponents *r)
{
  const PetscInt most = (PetscInt)PetscMin(w->dimension, w->cells - 1);
  BlockGrid     *grid = NULL;
  double        *cells;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  *r = (PrincipalComponents){.dimension = w->dimension, .components = w->components};
  if (w->components > most)
    PetscFunctionReturn(error_user("-principal_components %d: %lld cells of %d genes have %d at most", (int)w->components, (long long)w->cells, (int)w->dimension, (int)most));
  share_of(w->cells, w->rank, w->ranks, &w->first, &w->own);
  PetscCall(PetscMalloc3(w->dimension, &r->mean, (size_t)w->dimension * (size_t)w->components, &r->loadings, w->components, &r->variance));
  PetscCall(PetscMalloc1((size_t)CHUNK * (size_t)w->dimension, &cells));
  w->mean = r->mean;
  if (w->ranks > 1) PetscCall(blockgrid_create(w->comm, PetscMin(w->cells, w->dimension), &grid));
  PetscCall(find_mean(w, cells));
  code = w->dimension <= w->cells ? from_covariance(w, grid, cells, r) : from_gram(w, grid, cells, r);
  PetscCall(PetscFree(cells));
  if (grid) PetscCall(blockgrid_destroy(&grid));
  PetscCall(code);
  fix_signs(w->dimension, w->components, r->loadings);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static Work work_of(PetscInt groups, const CellGroup *group, PetscInt components)
{
  return (Work){.ranks = 1, .groups = groups, .dimension = features_dimension(group->features), .components = components, .group = group, .cells = groups_cells(groups, group)};
}

PetscErrorCode principal_components(MPI_Comm comm, PetscInt groups, const CellGroup *group, PetscInt components, PrincipalComponents *r)
{
  Work w = work_of(groups, group, components);

  PetscFunctionBeginUser;
  w.comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &w.rank));
  PetscCallMPI(MPI_Comm_size(comm, &w.ranks));
  PetscCall(find_components(&w, r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode principal_components_alone(PetscInt groups, const CellGroup *group, PetscInt components, PrincipalComponents *r)
{
  Work w = work_of(groups, group, components);

  PetscFunctionBeginUser;
  PetscCall(find_components(&w, r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode principal_components_free(PrincipalComponents *r)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(r->mean, r->loadings, r->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double principal_components_bytes(MPI_Comm comm, PetscInt64 cells, PetscInt dimension, PetscInt components)
{
  const double n = (double)PetscMin(cells, dimension), d = (double)dimension, c = (double)components;
  int          ranks = 1;

  MPI_Comm_size(comm, &ranks);
  /* Matrix, vectors and the workspace of the eigenvalues, about three times the matrix. */
  const double algebra = 5 * n * n / ranks + n * (1 + 2 * c), chunk = CHUNK * d;
  const double input   = dimension <= cells ? (double)panel_rows(dimension) * d : (double)cells / ranks * (d + (double)cells);
  return sizeof(double) * (algebra + chunk + input + d * (c + 1));
}

PetscErrorCode features_project(MPI_Comm comm, const CellFeatures *features, const PrincipalComponents *components, CellFeatures **projected)
{
  const PetscInt g = components->dimension, d = components->components;
  MPI_Comm       node;
  MPI_Win        window;
  MPI_Aint       size;
  int            rank, ranks, unit;
  long long      first, own;
  double        *mine, *all, *rows;
  PetscErrorCode code = PETSC_SUCCESS;
  const CellGroup group = {features, 0, features->cells};

  PetscFunctionBeginUser;
  PetscCheck(features->dimension == g, comm, PETSC_ERR_ARG_SIZ, "Components of %d genes, cells of %d", (int)g, (int)features->dimension);
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_rank(node, &rank));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Win_allocate_shared(rank ? 0 : (MPI_Aint)sizeof(double) * features->cells * d, sizeof(double), MPI_INFO_NULL, node, &mine, &window));
  PetscCallMPI(MPI_Win_shared_query(window, 0, &size, &unit, &all));
  PetscCallMPI(MPI_Win_fence(0, window));
  share_of(features->cells, rank, ranks, &first, &own);
  PetscCall(PetscMalloc1((size_t)CHUNK * (size_t)g, &rows));
  const Work w = {.groups = 1, .group = &group, .dimension = g, .mean = components->mean};
  for (PetscInt64 done = 0; done < own && !code; done += CHUNK) {
    const PetscInt now = (PetscInt)PetscMin(CHUNK, own - done);
    code               = centered_rows(&w, first + done, now, rows);
    if (!code) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, now, d, g, 1, rows, g, components->loadings, d, 0, all + (first + done) * d, d);
  }
  PetscCall(PetscFree(rows));
  PetscCallMPI(MPI_Win_fence(0, window));
  PetscCallMPI(MPI_Comm_free(&node));
  PetscCall(features_from_doubles(features->cells, d, all, projected));
  (*projected)->window = window;
  code                 = error_agree(comm, code);
  if (code) PetscCall(features_destroy(projected));
  PetscFunctionReturn(code);
}
