/* Conditional mean embedding regression with a product kernel on covariates; ridge and kernel by leave-one-out. */
#include <math.h>
#include <perturbdiff/hilbert/regression.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

const double regression_lambda[REGRESSION_LAMBDAS] = {1e-3, 1e-2, 0.1, 1};

PetscInt covariate_kernels(const PetscInt levels[COVARIATE_AXES], const double *similarity, CovariateKernel kernel[COVARIATE_KERNELS])
{
  enum { SHARED = 3 };
  static const double shared[SHARED] = {0.1, 0.5, 0.9};
  PetscInt            count = 1;

  kernel[0] = (CovariateKernel){.similarity = {similarity}};
  for (int axis = 0; axis < COVARIATE_AXES; axis++) {
    const PetscInt before = count, tried = levels[axis] > 1 ? SHARED : 1;
    count *= tried;
    for (PetscInt k = count - 1; k >= 0; k--) {
      kernel[k] = kernel[k % before];
      kernel[k].levels[axis] = levels[axis];
      kernel[k].shared[axis] = levels[axis] > 1 ? shared[k / before] : 1;
    }
  }
  return count;
}

double covariate_kernel(const CovariateKernel *kernel, const Covariates *a, const Covariates *b)
{
  double product = 1;

  for (int axis = 0; axis < COVARIATE_AXES; axis++) {
    const PetscInt i = a->level[axis], j = b->level[axis];
    const double   s = kernel->similarity[axis] ? kernel->similarity[axis][(size_t)i * (size_t)kernel->levels[axis] + (size_t)j] : i == j;
    product *= kernel->shared[axis] + (1 - kernel->shared[axis]) * s;
  }
  return product;
}

PetscErrorCode covariate_similarity(PetscInt levels, PetscInt features, const double *feature, const unsigned char *known, double *similarity)
{
  const size_t n = (size_t)levels;
  size_t       pairs = 0;
  double      *square;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * n, &square));
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < i; j++) {
      double sum = 0;
      for (PetscInt k = 0; k < features; k++) {
        const double difference = feature[i * (size_t)features + (size_t)k] - feature[j * (size_t)features + (size_t)k];
        sum += difference * difference;
      }
      similarity[i * n + j] = sum;
      if (!known || (known[i] && known[j])) square[pairs++] = sum;
    }
  sort_doubles((PetscInt64)pairs, square);
  const double median = pairs ? square[pairs / 2] : 1, width = median > 0 ? median : 1;
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < i; j++) {
      similarity[i * n + j] = !known || (known[i] && known[j]) ? exp(-similarity[i * n + j] / (2 * width)) : 0;
      similarity[j * n + i] = similarity[i * n + j];
    }
    similarity[i * n + i] = 1;
  }
  PetscCall(PetscFree(square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode copy_values(const BlockMatrix *from, BlockMatrix *to)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(to->values, from->values, (size_t)from->ld * (size_t)PetscMax(1, from->local_columns)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* inverse = (K + lambda I)^-1; work is overwritten. Where rounding leaves K + lambda I without a Cholesky factor the ridge is too small to serve: usable is false. */
static PetscErrorCode invert(const BlockMatrix *covariance, double lambda, BlockMatrix *work, BlockMatrix *inverse, PetscBool *usable)
{
  PetscInt failed;

  PetscFunctionBeginUser;
  PetscCall(copy_values(covariance, work));
  PetscCall(PetscArrayzero(inverse->values, (size_t)inverse->ld * (size_t)PetscMax(1, inverse->local_columns)));
  for (int j = 0; j < work->local_columns; j++)
    for (int i = 0; i < work->local_rows; i++)
      if (blockmatrix_row(work, i) == blockmatrix_column(work, j)) {
        work->values[(size_t)j * (size_t)work->ld + (size_t)i] += lambda;
        inverse->values[(size_t)j * (size_t)work->ld + (size_t)i] = 1;
      }
  PetscCall(blockmatrix_cholesky(work, &failed));
  *usable = failed ? PETSC_FALSE : PETSC_TRUE;
  if (!failed) PetscCall(blockmatrix_cholesky_solve(work, inverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (R G R)_ii / R_ii^2 for every i; product = R G is scratch, diagonal (n). */
static PetscErrorCode leave_one_out(const BlockMatrix *inverse, const BlockMatrix *outputs, BlockMatrix *product, double *diagonal, double *errors)
{
  const PetscInt n = inverse->rows;

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_product(PETSC_FALSE, PETSC_FALSE, 1, inverse, outputs, 0, product));
  PetscCall(blockmatrix_diagonal(inverse, diagonal));
  PetscCall(PetscArrayzero(errors, n));
  /* R is symmetric: row i of R G times column i of R. */
  for (int j = 0; j < inverse->local_columns; j++)
    for (int i = 0; i < inverse->local_rows; i++) {
      const size_t at = (size_t)j * (size_t)inverse->ld + (size_t)i;
      errors[blockmatrix_row(inverse, i)] += product->values[at] * inverse->values[at];
    }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, errors, n, MPI_DOUBLE, MPI_SUM, inverse->grid->comm));
  for (PetscInt i = 0; i < n; i++) errors[i] = PetscMax(0, errors[i] / (diagonal[i] * diagonal[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void fill_covariance(const CovariateKernel *kernel, const Covariates *covariates, BlockMatrix *covariance)
{
  for (int j = 0; j < covariance->local_columns; j++)
    for (int i = 0; i < covariance->local_rows; i++)
      covariance->values[(size_t)j * (size_t)covariance->ld + (size_t)i] =
          covariate_kernel(kernel, &covariates[blockmatrix_row(covariance, i)], &covariates[blockmatrix_column(covariance, j)]);
}

PetscErrorCode regression_fit(PetscInt n, const Covariates *covariates, PetscInt kernels, const CovariateKernel *kernel, PetscInt lambdas, const double *lambda,
                              const BlockMatrix *outputs, Regression *r)
{
  BlockMatrix covariance, work, inverse;
  double     *diagonal, *errors;
  PetscBool   usable = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(r, sizeof *r));
  if (n < 2) PetscFunctionReturn(error_user("a regression over populations needs at least two of them"));
  r->populations = n;
  r->covariates  = covariates;
  r->error       = INFINITY;
  PetscCall(PetscMalloc1(n, &r->leave_one_out));
  PetscCall(PetscMalloc2(n, &diagonal, n, &errors));
  PetscCall(blockmatrix_create(outputs->grid, n, n, &covariance));
  PetscCall(blockmatrix_create(outputs->grid, n, n, &work));
  PetscCall(blockmatrix_create(outputs->grid, n, n, &inverse));
  PetscCall(blockmatrix_create(outputs->grid, n, n, &r->inverse));
  for (PetscInt k = 0; k < kernels; k++) {
    fill_covariance(&kernel[k], covariates, &covariance);
    for (PetscInt l = 0; l < lambdas; l++) {
      double error = 0;
      PetscCall(invert(&covariance, lambda[l], &work, &inverse, &usable));
      if (!usable) continue;
      PetscCall(leave_one_out(&inverse, outputs, &work, diagonal, errors));
      for (PetscInt i = 0; i < n; i++) error += errors[i] / n;
      if (!(error < r->error)) continue;
      r->error  = error;
      r->kernel = kernel[k];
      r->lambda = lambda[l];
      PetscCall(PetscArraycpy(r->leave_one_out, errors, n));
      PetscCall(copy_values(&inverse, &r->inverse));
    }
  }
  PetscCall(PetscFree2(diagonal, errors));
  PetscCall(blockmatrix_destroy(&covariance));
  PetscCall(blockmatrix_destroy(&work));
  PetscCall(blockmatrix_destroy(&inverse));
  PetscCheck(isfinite(r->error), outputs->grid->comm, PETSC_ERR_ARG_OUTOFRANGE, "no ridge makes the covariance of the covariates invertible, or the outputs are not finite");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode regression_destroy(Regression *r)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(r->leave_one_out));
  PetscCall(blockmatrix_destroy(&r->inverse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double regression_bytes(const BlockGrid *grid, PetscInt64 populations) { return 4 * blockmatrix_bytes(grid, populations, populations) + 3. * (double)populations * sizeof(double); }

PetscErrorCode regression_weights(const Regression *r, PetscInt conditions, const Covariates *condition, const PetscInt *left_out, double *weights)
{
  const BlockMatrix *inverse = &r->inverse;
  const size_t       n       = (size_t)r->populations;
  double            *diagonal;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &diagonal));
  PetscCall(blockmatrix_diagonal(inverse, diagonal));
  PetscCall(PetscArrayzero(weights, (size_t)conditions * n));
  for (PetscInt c = 0; c < conditions; c++) {
    const PetscInt out = left_out ? left_out[c] : -1;
    for (int j = 0; j < inverse->local_columns; j++) {
      const PetscInt column = blockmatrix_column(inverse, j);
      const double   k      = out < 0 ? covariate_kernel(&r->kernel, &r->covariates[column], &condition[c]) : column == out ? -1 / diagonal[out] : 0;
      if (k == 0) continue;
      for (int i = 0; i < inverse->local_rows; i++) weights[(size_t)c * n + (size_t)blockmatrix_row(inverse, i)] += k * inverse->values[(size_t)j * (size_t)inverse->ld + (size_t)i];
    }
  }
  for (PetscInt c = 0; c < conditions; c++) {
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, weights + (size_t)c * n, (int)n, MPI_DOUBLE, MPI_SUM, inverse->grid->comm));
    if (left_out && left_out[c] >= 0) weights[(size_t)c * n + (size_t)left_out[c]] = 0;
  }
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nearest point of the simplex over the usable entries; the others 0. sorted (n): scratch (Duchi et al. 2008, fig. 1). */
static void project_on_simplex(PetscInt n, const unsigned char *usable, double *v, double *sorted)
{
  PetscInt count = 0;
  double   sum = 0, level = 0;

  for (PetscInt i = 0; i < n; i++)
    if (!usable || usable[i]) sorted[count++] = v[i];
  sort_doubles(count, sorted);
  for (PetscInt k = 1; k <= count; k++) {
    const double u = sorted[count - k];
    sum += u;
    if (u - (sum - 1) / k > 0) level = (sum - 1) / k;
  }
  for (PetscInt i = 0; i < n; i++) v[i] = !usable || usable[i] ? PetscMax(0, v[i] - level) : 0;
}

/* K = H gram H with H = I - 11'/n, and slope = gram (w - 1/n): on the simplex v' gram v = v' K v + 2 v' gram 1/n + constant, so that (v - w)' gram (v - w) has the gradient
   2 (K v - slope) there, without the large eigenvalue that belongs to the mean of all entries. Returns a bound of K's largest eigenvalue: its largest absolute row sum. */
static double center_gram(PetscInt n, const double *gram, const double *w, double *centered, double *slope, double *row_mean)
{
  const size_t width = (size_t)n;
  double       mean = 0, bound = 0;

  for (size_t i = 0; i < width; i++) {
    row_mean[i] = slope[i] = 0;
    for (size_t j = 0; j < width; j++) row_mean[i] += gram[i * width + j] / n;
    for (size_t j = 0; j < width; j++) slope[i] += gram[i * width + j] * w[j];
    slope[i] -= row_mean[i];
    mean += row_mean[i] / n;
  }
  for (size_t i = 0; i < width; i++) {
    double sum = 0;
    for (size_t j = 0; j < width; j++) {
      centered[i * width + j] = gram[i * width + j] - row_mean[i] - row_mean[j] + mean;
      sum += fabs(centered[i * width + j]);
    }
    bound = PetscMax(bound, sum);
  }
  return bound > 0 ? bound : 1;
}

static double squared_distance(PetscInt n, const double *gram, const double *v, const double *w)
{
  double square = 0;

  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) square += (v[i] - w[i]) * gram[(size_t)i * (size_t)n + (size_t)j] * (v[j] - w[j]);
  return PetscMax(0, square);
}

PetscErrorCode preimage_weights(PetscInt n, const double *gram, const double *weights, const unsigned char *usable, double *mixture, double *distance)
{
  enum { ITERATIONS = 50000 };
  double  *centered, *slope, *ahead, *before, *sorted, momentum = 1, moved = 1;
  PetscInt count = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) count += !usable || usable[i];
  if (!count) PetscFunctionReturn(error_user("no population to take cells from"));
  PetscCall(PetscMalloc5((size_t)n * (size_t)n, &centered, n, &slope, n, &ahead, n, &before, n, &sorted));
  const double bound = center_gram(n, gram, weights, centered, slope, sorted);
  PetscCall(PetscArraycpy(mixture, weights, n));
  project_on_simplex(n, usable, mixture, sorted);
  PetscCall(PetscArraycpy(ahead, mixture, n));
  for (int iteration = 0; iteration < ITERATIONS && moved > 1e-15; iteration++) {
    double uphill = 0;

    PetscCall(PetscArraycpy(before, mixture, n));
    for (PetscInt i = 0; i < n; i++) {
      double gradient = -slope[i];
      for (PetscInt j = 0; j < n; j++) gradient += centered[(size_t)i * (size_t)n + (size_t)j] * ahead[j];
      mixture[i] = ahead[i] - gradient / bound;
    }
    project_on_simplex(n, usable, mixture, sorted);
    moved = 0;
    for (PetscInt i = 0; i < n; i++) {
      moved = PetscMax(moved, fabs(mixture[i] - before[i]));
      uphill += (ahead[i] - mixture[i]) * (mixture[i] - before[i]);
    }
    /* Momentum starts again where it leads uphill (O'Donoghue & Candes 2015). */
    const double next = uphill > 0 ? 1 : (1 + sqrt(1 + 4 * momentum * momentum)) / 2, factor = uphill > 0 ? 0 : (momentum - 1) / next;
    for (PetscInt i = 0; i < n; i++) ahead[i] = mixture[i] + factor * (mixture[i] - before[i]);
    momentum = next;
  }
  if (distance) *distance = squared_distance(n, gram, mixture, weights);
  PetscCall(PetscFree5(centered, slope, ahead, before, sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}
