/* Spectra of covariance operators, components of populations. */
#include <float.h>
#include <math.h>
#include <perturbdiff/hilbert/spectrum.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>

/* Components whose eigenvalue is this far below the first are rounding. */
static const double no_variance = 1e-12;

/* Ascending eigenvalues times scale, descending; what is rounding of the largest becomes 0. */
static void take_descending(PetscInt n, double scale, const double *ascending, double *descending)
{
  const double rounding = n * DBL_EPSILON * fabs(ascending[n - 1]);

  for (PetscInt k = 0; k < n; k++) descending[k] = ascending[n - 1 - k] > rounding ? scale * ascending[n - 1 - k] : 0;
}

double effective_dimension(PetscInt count, const double *eigenvalue, double lambda)
{
  double sum = 0;

  for (PetscInt k = 0; k < count; k++)
    if (eigenvalue[k] > 0) sum += eigenvalue[k] / (eigenvalue[k] + lambda);
  return sum;
}

double participation_ratio(PetscInt count, const double *eigenvalue)
{
  double sum = 0, squares = 0;

  for (PetscInt k = 0; k < count; k++) {
    sum += eigenvalue[k];
    squares += eigenvalue[k] * eigenvalue[k];
  }
  return squares > 0 ? sum * sum / squares : 0;
}

/* copy = H gram H, H = I - 1 1'/N. */
static PetscErrorCode centered_copy(const BlockMatrix *gram, PetscBool centered, BlockMatrix *copy)
{
  const PetscInt n = gram->rows;
  double        *mean, all = 0;

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(gram->grid, n, n, copy));
  PetscCall(PetscArraycpy(copy->values, gram->values, (size_t)gram->ld * (size_t)gram->local_columns));
  if (!centered) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(n, &mean));
  for (int j = 0; j < gram->local_columns; j++)
    for (int i = 0; i < gram->local_rows; i++) mean[blockmatrix_row(gram, i)] += gram->values[(size_t)j * (size_t)gram->ld + (size_t)i] / n;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, mean, n, MPI_DOUBLE, MPI_SUM, gram->grid->comm));
  for (PetscInt i = 0; i < n; i++) all += mean[i] / n;
  for (int j = 0; j < copy->local_columns; j++)
    for (int i = 0; i < copy->local_rows; i++) copy->values[(size_t)j * (size_t)copy->ld + (size_t)i] += all - mean[blockmatrix_row(copy, i)] - mean[blockmatrix_column(copy, j)];
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode population_components(const BlockMatrix *gram, PetscBool centered, PetscInt components, PopulationComponents *r)
{
  const PetscInt n = gram->rows;
  BlockMatrix    matrix, z;
  double        *ascending, *vector;

  PetscFunctionBeginUser;
  PetscCheck(components <= n, gram->grid->comm, PETSC_ERR_ARG_OUTOFRANGE, "%d components of %d populations", (int)components, (int)n);
  *r = (PopulationComponents){.populations = n, .components = components};
  PetscCall(PetscMalloc3(n, &r->eigenvalue, (size_t)n * (size_t)components, &r->coordinate, (size_t)n * (size_t)components, &r->weight));
  PetscCall(PetscMalloc2(n, &ascending, (size_t)n * (size_t)components, &vector));
  PetscCall(centered_copy(gram, centered, &matrix));
  PetscCall(blockmatrix_create(gram->grid, n, n, &z));
  PetscCall(blockmatrix_eigen(&matrix, ascending, &z));
  PetscCall(blockmatrix_replicate(&z, n - components, components, vector));
  take_descending(n, 1. / n, ascending, r->eigenvalue);
  for (PetscInt a = 0; a < components; a++) {
    const double scale = sqrt(n * r->eigenvalue[a]), inverse = r->eigenvalue[a] > no_variance * r->eigenvalue[0] ? 1 / scale : 0;
    for (PetscInt i = 0; i < n; i++) {
      const double entry = vector[(size_t)i * (size_t)components + (size_t)(components - 1 - a)];

      r->coordinate[(size_t)i * (size_t)components + (size_t)a] = scale * entry;
      r->weight[(size_t)i * (size_t)components + (size_t)a]     = inverse * entry;
    }
  }
  PetscCall(blockmatrix_destroy(&matrix));
  PetscCall(blockmatrix_destroy(&z));
  PetscCall(PetscFree2(ascending, vector));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode population_components_free(PopulationComponents *r)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(r->eigenvalue, r->coordinate, r->weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double population_components_bytes(const BlockGrid *grid, PetscInt64 populations, PetscInt components)
{
  /* Copy, vectors and the workspace of the eigenvalues, about three times the matrix. */
  return 5 * blockmatrix_bytes(grid, populations, populations) + sizeof(double) * (double)populations * (3. * components + 3);
}

PetscErrorCode component_functions(const Nystrom *nystrom, const BlockMatrix *embeddings, const PopulationComponents *c, double *coefficient, double *constant)
{
  const BlockGrid *grid = embeddings->grid;
  const PetscInt   n = c->populations, r = c->components;
  BlockMatrix      weight, function, product;
  double          *values;
  long long        first, own;

  PetscFunctionBeginUser;
  share_of(n, grid->rank, grid->ranks, &first, &own);
  PetscCall(blockmatrix_create(grid, n, r, &weight));
  PetscCall(blockmatrix_from_rows(&weight, c->weight + (size_t)first * (size_t)r));
  PetscCall(blockmatrix_create(grid, nystrom->landmarks, r, &function));
  PetscCall(blockmatrix_create(grid, n, r, &product));
  PetscCall(PetscMalloc1((size_t)n * (size_t)r, &values));
  /* The weights of a component sum to 0, so that mu drops out. */
  PetscCall(blockmatrix_product(PETSC_TRUE, PETSC_FALSE, 1, embeddings, &weight, 0, &function));
  PetscCall(blockmatrix_product(PETSC_FALSE, PETSC_FALSE, 1, embeddings, &function, 0, &product));
  PetscCall(blockmatrix_replicate(&product, 0, r, values));
  PetscCall(PetscArrayzero(constant, r));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt a = 0; a < r; a++) constant[a] += values[(size_t)i * (size_t)r + (size_t)a] / n;
  PetscCall(blockmatrix_triangular_solve(PETSC_TRUE, PETSC_TRUE, 1, &nystrom->factor, &function));
  PetscCall(blockmatrix_replicate(&function, 0, r, coefficient));
  PetscCall(PetscFree(values));
  PetscCall(blockmatrix_destroy(&weight));
  PetscCall(blockmatrix_destroy(&function));
  PetscCall(blockmatrix_destroy(&product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode operator_spectrum(BlockMatrix *covariance, double *eigenvalue)
{
  const PetscInt m = covariance->rows;
  double        *ascending;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(m, &ascending));
  PetscCall(blockmatrix_eigen(covariance, ascending, NULL));
  take_descending(m, 1, ascending, eigenvalue);
  PetscCall(PetscFree(ascending));
  PetscFunctionReturn(PETSC_SUCCESS);
}
