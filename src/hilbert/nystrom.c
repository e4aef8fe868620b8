/* Nystrom features: the landmarks' factor, mean embeddings, features of cells. */
#include <perturbdiff/hilbert/distances.h>
#include "hilbert/nystrom_internal.h"
#include <cblas.h>
#include <float.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/real.h>

/* Jitter tried, as a part of the mean of the diagonal. */
static const double first_jitter[2] = {1e-12, 1e-7}, last_jitter = 1.0000001e-3;

/* Populations whose sums are added up over the ranks at a time. */
enum { PANEL = 64 };

/* ---- Landmarks and their factor ---- */

static PetscErrorCode read_landmarks(Nystrom *n, PetscInt groups, const CellGroup *group)
{
  const size_t d = (size_t)n->dimension;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < n->landmarks; j++) PetscCall(groups_rows(groups, group, n->landmark[j], 1, n->rows + (size_t)j * d, n->dimension, n->square + j));
  if (n->precision == PRODUCTS_SINGLE)
    for (size_t k = 0; k < (size_t)n->landmarks * d; k++) ((Real *)n->single)[k] = (Real)n->rows[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_load(const Kernel *kernel, ProductPrecision precision, PetscInt groups, const CellGroup *group, PetscInt m, const PetscInt64 *landmark, Nystrom *n)
{
  const PetscInt d = features_dimension(group->features);

  PetscFunctionBeginUser;
  *n = (Nystrom){.kernel = *kernel, .precision = precision, .landmarks = m, .dimension = d};
  PetscCall(PetscMalloc3(m, &n->landmark, (size_t)m * (size_t)d, &n->rows, m, &n->square));
  PetscCall(PetscArraycpy(n->landmark, landmark, m));
  if (precision == PRODUCTS_SINGLE) PetscCall(PetscMalloc((size_t)m * (size_t)d * sizeof(Real), &n->single));
  PetscCall(read_landmarks(n, groups, group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block of K_mm: rows [first_row, +rows), columns [first_column, +columns); work holds rows x columns. */
static void kernel_matrix_block(const Nystrom *n, PetscInt first_row, PetscInt rows, PetscInt first_column, PetscInt columns, double *work, double *out, int ld)
{
  const PetscInt d = n->dimension;
  const double  *x = n->rows + (size_t)first_row * (size_t)d, *y = n->rows + (size_t)first_column * (size_t)d;

  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, d, 1, x, d, y, d, 0, work, columns);
  for (PetscInt i = 0; i < rows; i++) {
    double *row = work + (size_t)i * (size_t)columns;
    distances_finish(columns, d, CANCELLATION_DOUBLE, x + (size_t)i * (size_t)d, n->square[first_row + i], y, n->square + first_column, row);
    kernel_apply(&n->kernel, columns, n->square[first_row + i], n->square + first_column, row, row);
    for (PetscInt j = 0; j < columns; j++) out[(size_t)j * (size_t)ld + (size_t)i] = row[j];
  }
}

PetscErrorCode nystrom_kernel_matrix(const BlockGrid *grid, const Nystrom *n, BlockMatrix *matrix, double *mean)
{
  const int b = grid->block;
  double   *work;

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(grid, n->landmarks, n->landmarks, matrix));
  PetscCall(PetscMalloc1((size_t)b * (size_t)b, &work));
  for (int j = 0; j < matrix->local_columns; j += b)
    for (int i = 0; i < matrix->local_rows; i += b) {
      const PetscInt row = blockmatrix_row(matrix, i), column = blockmatrix_column(matrix, j);
      if (row + b <= column) continue; /* above the diagonal */
      kernel_matrix_block(n, row, PetscMin(b, n->landmarks - row), column, PetscMin(b, n->landmarks - column), work, matrix->values + (size_t)j * (size_t)matrix->ld + (size_t)i, matrix->ld);
    }
  PetscCall(PetscFree(work));
  *mean = 0;
  for (PetscInt j = 0; j < n->landmarks; j++) *mean += kernel_self(&n->kernel, n->square[j]) / n->landmarks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void add_to_diagonal(BlockMatrix *m, double value)
{
  for (int j = 0; j < m->local_columns; j++)
    for (int i = 0; i < m->local_rows; i++)
      if (blockmatrix_row(m, i) == blockmatrix_column(m, j)) m->values[(size_t)j * (size_t)m->ld + (size_t)i] += value;
}

/* Is the square of every pivot above what rounding makes of 0? */
static PetscErrorCode well_definite(const BlockMatrix *factor, double mean, PetscBool *definite)
{
  double *pivot;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(factor->rows, &pivot));
  PetscCall(blockmatrix_diagonal(factor, pivot));
  *definite = PETSC_TRUE;
  for (PetscInt j = 0; j < factor->rows; j++)
    if (!(pivot[j] * pivot[j] > factor->rows * DBL_EPSILON * mean)) *definite = PETSC_FALSE;
  PetscCall(PetscFree(pivot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode factorize(const BlockGrid *grid, Nystrom *n)
{
  double    mean, part = 0, *kept;
  PetscBool definite = PETSC_FALSE;
  PetscInt  failed;

  PetscFunctionBeginUser;
  PetscCall(nystrom_kernel_matrix(grid, n, &n->factor, &mean));
  const size_t size = (size_t)n->factor.ld * (size_t)PetscMax(1, n->factor.local_columns);
  PetscCall(PetscMalloc1(size, &kept));
  PetscCall(PetscArraycpy(kept, n->factor.values, size));
  while (PETSC_TRUE) {
    n->jitter = part * mean;
    add_to_diagonal(&n->factor, n->jitter);
    PetscCall(blockmatrix_cholesky(&n->factor, &failed));
    if (!failed) PetscCall(well_definite(&n->factor, mean, &definite));
    if (definite || part * 10 > last_jitter) break;
    part = part > 0 ? 10 * part : first_jitter[n->precision];
    PetscCall(PetscArraycpy(n->factor.values, kept, size));
  }
  PetscCall(PetscFree(kept));
  for (int j = 0; j < n->factor.local_columns; j++)
    for (int i = 0; i < n->factor.local_rows && blockmatrix_row(&n->factor, i) < blockmatrix_column(&n->factor, j); i++) n->factor.values[(size_t)j * (size_t)n->factor.ld + (size_t)i] = 0;
  if (!definite) PetscFunctionReturn(error_user("the kernel values of the %d landmarks with each other have no Cholesky factor even with %g of their mean added: are the landmarks' cells empty?", (int)n->landmarks, part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_create(const BlockGrid *grid, const Kernel *kernel, ProductPrecision precision, PetscInt groups, const CellGroup *group, PetscInt m, const PetscInt64 *landmark, Nystrom *n)
{
  PetscFunctionBeginUser;
  PetscCallAgree(grid->comm, nystrom_load(kernel, precision, groups, group, m, landmark, n));
  PetscCall(factorize(grid, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_destroy(Nystrom *n)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(n->landmark, n->rows, n->square));
  PetscCall(PetscFree(n->single));
  PetscCall(blockmatrix_destroy(&n->factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double nystrom_bytes(const BlockGrid *grid, PetscInt64 m, PetscInt dimension, PetscInt64 groups)
{
  const double landmarks = (double)m * dimension * (sizeof(double) + sizeof(Real)), sums = sizeof(double) * (double)m * ((double)groups / grid->ranks + 2 + PANEL);

  return landmarks + 2 * blockmatrix_bytes(grid, m, m) + PetscMax(nystrom_visit_bytes(m, dimension) + sums, 2 * blockmatrix_bytes(grid, groups, m));
}

/* ---- Mean embeddings ---- */

typedef struct {
  const Nystrom   *nystrom;
  const CellGroup *group;
  PetscInt         groups, at;   /* group of the next cell */
  PetscInt64       start;        /* position of its first cell */
  PetscInt         first, count; /* groups this rank has cells of */
  double          *sum;          /* (count, m) */
  double          *self;         /* (groups) */
  Progress         progress;
  double           scale, done;  /* cells of all ranks for each of this rank's; done so far */
} Sums;

static PetscErrorCode add_block(void *context, const KernelBlock *block)
{
  Sums          *s = context;
  const PetscInt m = s->nystrom->landmarks;

  for (PetscInt done = 0; done < block->cells;) {
    while (block->first + done >= s->start + s->group[s->at].cells) s->start += s->group[s->at++].cells;
    const PetscInt now = (PetscInt)PetscMin(block->cells - done, s->start + s->group[s->at].cells - block->first - done);
    double        *sum = s->sum + (size_t)(s->at - s->first) * (size_t)m;

#pragma omp parallel for schedule(static)
    for (PetscInt from = 0; from < m; from += 256)
      for (PetscInt i = done; i < done + now; i++)
        for (PetscInt j = from; j < PetscMin(m, from + 256); j++) sum[j] += block->values[(size_t)i * (size_t)m + (size_t)j];
    for (PetscInt i = done; i < done + now; i++) s->self[s->at] += kernel_self(&s->nystrom->kernel, block->square[i]);
    done += now;
  }
  s->done += s->scale * (double)block->cells;
  return s->nystrom->progress ? progress_late(&s->progress, s->done, "cells") : PETSC_SUCCESS;
}

/* The groups a share of the cells belongs to. */
static void groups_of(Sums *s, PetscInt64 first, PetscInt64 count)
{
  PetscInt64 end = 0;

  s->at = s->count = 0;
  s->start         = 0;
  if (!count) return;
  while (first >= s->start + s->group[s->at].cells) s->start += s->group[s->at++].cells;
  s->first = s->at;
  end      = s->start;
  for (PetscInt g = s->first; g < s->groups && end < first + count; g++, s->count++) end += s->group[g].cells;
}

/* Sums of kernel values, (groups, m), on the grid. */
static PetscErrorCode add_up_sums(const Sums *s, BlockMatrix *matrix)
{
  const size_t m = (size_t)s->nystrom->landmarks;
  double      *panel;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PANEL * m, &panel));
  for (PetscInt first = 0; first < s->groups; first += PANEL) {
    const PetscInt rows = PetscMin(PANEL, s->groups - first);
    PetscCall(PetscArrayzero(panel, (size_t)rows * m));
    for (PetscInt g = first; g < first + rows; g++)
      if (g >= s->first && g < s->first + s->count)
        for (size_t j = 0; j < m; j++) panel[(size_t)(g - first) * m + j] = s->sum[(size_t)(g - s->first) * m + j] / (double)s->group[g].cells;
    PetscCall(blockmatrix_add_panel(matrix, first, rows, panel));
  }
  PetscCall(PetscFree(panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}


PetscErrorCode nystrom_kernel_means(const Nystrom *n, PetscInt groups, const CellGroup *group, BlockMatrix *means, double *self)
{
  const BlockGrid *grid = n->factor.grid;
  Sums             s = {.nystrom = n, .group = group, .groups = groups};
  long long        first, count;
  PetscErrorCode   code;

  PetscFunctionBeginUser;
  share_of(groups_cells(groups, group), grid->rank, grid->ranks, &first, &count);
  groups_of(&s, first, count);
  PetscCall(PetscCalloc2((size_t)s.count * (size_t)n->landmarks, &s.sum, groups, &s.self));
  s.scale = (double)groups_cells(groups, group) / (double)PetscMax(1, count);
  if (n->progress) PetscCall(progress_begin(grid->comm, "embeddings", 0, (double)groups_cells(groups, group), &s.progress));
  code = nystrom_visit(n, groups, group, first, count, add_block, &s);
  PetscCallAgree(grid->comm, code);
  if (n->progress) PetscCall(progress_end(&s.progress));
  PetscCall(blockmatrix_create(grid, groups, n->landmarks, means));
  PetscCall(add_up_sums(&s, means));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s.self, groups, MPI_DOUBLE, MPI_SUM, grid->comm));
  for (PetscInt i = 0; i < groups && self; i++) self[i] = s.self[i] / (double)group[i].cells;
  PetscCall(PetscFree2(s.sum, s.self));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_embeddings(const Nystrom *n, PetscInt groups, const CellGroup *group, BlockMatrix *embeddings, double *self)
{
  PetscFunctionBeginUser;
  PetscCall(nystrom_kernel_means(n, groups, group, embeddings, self));
  PetscCall(blockmatrix_triangular_solve(PETSC_FALSE, PETSC_TRUE, 1, &n->factor, embeddings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode nystrom_gram(const BlockMatrix *embeddings, BlockMatrix *gram)
{
  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(embeddings->grid, embeddings->rows, embeddings->rows, gram));
  PetscCall(blockmatrix_product(PETSC_FALSE, PETSC_TRUE, 1, embeddings, embeddings, 0, gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Cells ---- */

typedef struct {
  PetscInt64 first;
  size_t     m;
  double    *rows;
} Kept;

static PetscErrorCode keep_block(void *context, const KernelBlock *block)
{
  const Kept *kept = context;

  return PetscArraycpy(kept->rows + (size_t)(block->first - kept->first) * kept->m, block->values, (size_t)block->cells * kept->m);
}

PetscErrorCode nystrom_features(const Nystrom *n, PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, BlockMatrix *features)
{
  const BlockGrid *grid = n->factor.grid;
  long long        own_first, own;
  Kept             kept = {.m = (size_t)n->landmarks};
  PetscErrorCode   code;

  PetscFunctionBeginUser;
  share_of(count, grid->rank, grid->ranks, &own_first, &own);
  PetscCall(PetscMalloc1((size_t)(own + 1) * kept.m, &kept.rows));
  kept.first = first + own_first;
  code       = nystrom_visit(n, groups, group, kept.first, own, keep_block, &kept);
  PetscCallAgree(grid->comm, code);
  PetscCall(blockmatrix_create(grid, count, n->landmarks, features));
  PetscCall(blockmatrix_from_rows(features, kept.rows));
  PetscCall(PetscFree(kept.rows));
  PetscCall(blockmatrix_triangular_solve(PETSC_FALSE, PETSC_TRUE, 1, &n->factor, features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscInt64    first;
  PetscInt      m, functions;
  const double *coefficient, *constant;
  double       *value;
} Functions;

static PetscErrorCode evaluate_block(void *context, const KernelBlock *block)
{
  const Functions *f   = context;
  double          *out = f->value + (size_t)(block->first - f->first) * (size_t)f->functions;

  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, block->cells, f->functions, f->m, 1, block->values, f->m, f->coefficient, f->functions, 0, out, f->functions);
  for (PetscInt i = 0; i < block->cells; i++)
    for (PetscInt a = 0; a < f->functions; a++) out[(size_t)i * (size_t)f->functions + (size_t)a] -= f->constant[a];
  return PETSC_SUCCESS;
}

PetscErrorCode nystrom_values(MPI_Comm comm, const Nystrom *n, PetscInt groups, const CellGroup *group, PetscInt functions, const double *coefficient, const double *constant, double *value)
{
  long long first, count;
  int       rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  share_of(groups_cells(groups, group), rank, ranks, &first, &count);
  Functions f = {.first = first, .m = n->landmarks, .functions = functions, .coefficient = coefficient, .constant = constant, .value = value};
  PetscCallAgree(comm, nystrom_visit(n, groups, group, first, count, evaluate_block, &f));
  PetscFunctionReturn(PETSC_SUCCESS);
}
