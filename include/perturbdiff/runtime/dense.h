/* Dense products behind one face: oneDNN in single precision or plain CBLAS, chosen at configure time (--with-dense).
   All matrices row-major. Real is float, or double in the test build (always CBLAS). */
#ifndef PERTURBDIFF_RUNTIME_DENSE_H
#define PERTURBDIFF_RUNTIME_DENSE_H

#include <perturbdiff/runtime/real.h>
#include <petscsys.h>

typedef enum {
  DENSE_LINEAR, /* y = x W' + b */
  DENSE_GELU,   /* y = gelu_tanh(x W' + b), the argument kept in pre */
  DENSE_RELU    /* y = max(0, x W' + b) */
} DenseActivation;

/* Name of the back end and what it runs on: "oneDNN 2.6.3 (avx512_core)". */
const char *dense_backend(void);

/* dense_product - C(m,n) = alpha op(A) op(B) + beta C; op(A) is m x k, op(B) k x n; lda... are row strides in elements.
   Not collective. Uses the OpenMP threads of the process. All dense_* functions: library failures are program errors. */
PetscErrorCode dense_product(PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a, PetscInt lda, const Real *b,
                             PetscInt ldb, Real beta, Real *c, PetscInt ldc);

/* dense_products - the same for count independent products, matrix i at a + i*stride_a and so on (heads of attention). */
PetscErrorCode dense_products(PetscInt count, PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a, PetscInt lda,
                              size_t stride_a, const Real *b, PetscInt ldb, size_t stride_b, Real beta, Real *c, PetscInt ldc, size_t stride_c);

/* dense_linear_forward - y(rows,out) = activation(x(rows,in) W(out,in)' + bias(out)) [+ y if accumulate, DENSE_LINEAR only].
   ldx, ldw, ldy: row strides. bias may be NULL. pre (rows,out, contiguous): the argument of GELU for the backward pass; may be
   NULL when no backward follows. */
PetscErrorCode dense_linear_forward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *bias,
                                    DenseActivation activation, PetscBool accumulate, Real *y, PetscInt ldy, Real *pre);

/* dense_linear_backward - dx(rows,in) = dy W (added to dx if accumulate_input; skipped when dx is NULL);
   dw(out,in) = dy' x and dbias(out) = column sums of dy (each skipped when NULL). dy is the gradient of the linear
   part's result: pass it through dense_gelu_backward first where there is an activation. */
PetscErrorCode dense_linear_backward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *dy, PetscInt lddy,
                                     PetscBool accumulate_input, Real *dx, PetscInt lddx, Real *dw, PetscInt lddw, Real *dbias);

/* d[i] *= gelu_tanh'(pre[i]), n values. gelu_tanh(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
void dense_gelu_backward(size_t n, const Real *pre, Real *d);

/* dense_warm - create what the back end keeps for a shape ahead of the step loop is not needed: kernels are cached by shape on
   first use. dense_release frees that cache (at PetscFinalize). */
PetscErrorCode dense_release(void);

#endif
