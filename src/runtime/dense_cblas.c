/* Dense products by CBLAS: the plain back end, and the only one of the double build. */
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>
#include <cblas.h>
#include <math.h>
#include <stdio.h>

#ifdef PERTURBDIFF_DOUBLE
  #define GEMM cblas_dgemm
  #define TANH tanh
#else
  #define GEMM cblas_sgemm
  #define TANH tanhf
#endif

static const Real gelu_scale = (Real)0.7978845608028654, gelu_cubic = (Real)0.044715;

const char *dense_backend(void)
{
  static char name[96];
  if (!*name) snprintf(name, sizeof name, "CBLAS (%s)", openblas_get_corename());
  return name;
}

PetscErrorCode dense_product(PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a, PetscInt lda, const Real *b,
                             PetscInt ldb, Real beta, Real *c, PetscInt ldc)
{
  PetscFunctionBegin;
  if (m > 0 && n > 0)
    GEMM(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode dense_products(PetscInt count, PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a, PetscInt lda,
                              size_t stride_a, const Real *b, PetscInt ldb, size_t stride_b, Real beta, Real *c, PetscInt ldc, size_t stride_c)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < count; i++)
    PetscCall(dense_product(transpose_a, transpose_b, m, n, k, alpha, a + (size_t)i * stride_a, lda, b + (size_t)i * stride_b, ldb, beta, c + (size_t)i * stride_c, ldc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline Real gelu_tanh_argument(Real x) { return TANH(gelu_scale * (x + gelu_cubic * x * x * x)); }

PetscErrorCode dense_linear_forward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *bias,
                                    DenseActivation activation, PetscBool accumulate, Real *y, PetscInt ldy, Real *pre)
{
  PetscFunctionBegin;
  PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, rows, out, in, 1, x, ldx, w, ldw, accumulate ? 1 : 0, y, ldy));
#pragma omp parallel for schedule(static)
  for (PetscInt i = 0; i < rows; i++) {
    Real *row = y + (size_t)i * (size_t)ldy;

    if (bias)
      for (PetscInt j = 0; j < out; j++) row[j] += bias[j];
    if (activation == DENSE_RELU)
      for (PetscInt j = 0; j < out; j++) row[j] = row[j] > 0 ? row[j] : 0;
    if (activation == DENSE_GELU) {
      if (pre)
        for (PetscInt j = 0; j < out; j++) pre[(size_t)i * (size_t)out + (size_t)j] = row[j];
      for (PetscInt j = 0; j < out; j++) row[j] = (Real)0.5 * row[j] * (1 + gelu_tanh_argument(row[j]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode dense_linear_backward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *dy, PetscInt lddy,
                                     PetscBool accumulate_input, Real *dx, PetscInt lddx, Real *dw, PetscInt lddw, Real *dbias)
{
  PetscFunctionBegin;
  if (dx) PetscCall(dense_product(PETSC_FALSE, PETSC_FALSE, rows, in, out, 1, dy, lddy, w, ldw, accumulate_input ? 1 : 0, dx, lddx));
  if (dw) PetscCall(dense_product(PETSC_TRUE, PETSC_FALSE, out, in, rows, 1, dy, lddy, x, ldx, 1, dw, lddw));
  if (dbias)
    for (PetscInt i = 0; i < rows; i++)
      for (PetscInt j = 0; j < out; j++) dbias[j] += dy[(size_t)i * (size_t)lddy + (size_t)j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

void dense_gelu_backward(size_t n, const Real *pre, Real *d)
{
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    const Real x = pre[i], t = gelu_tanh_argument(x);
    d[i] *= (Real)0.5 * (1 + t) + (Real)0.5 * x * (1 - t * t) * gelu_scale * (1 + 3 * gelu_cubic * x * x);
  }
}

PetscErrorCode dense_release(void) { return PETSC_SUCCESS; }
