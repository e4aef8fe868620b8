/* What dense.c asks of a back end. */
#ifndef SRC_RUNTIME_DENSE_PRIVATE_H
#define SRC_RUNTIME_DENSE_PRIVATE_H

#ifdef HAVE_CONFIG_H
  #include "config.h"
#endif
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>

#if defined(DENSE_ONEDNN) && !defined(PERTURBDIFF_DOUBLE)
  #define DENSE_BY_ONEDNN
#endif

/* C_i = activation(alpha op(A_i) op(B_i) + bias + beta C_i), i < count; m, n, k, count > 0. bias (n) may be NULL and comes
   with alpha 1 only; an activation comes with beta 0 only. */
typedef struct {
  PetscInt        count;
  PetscBool       transpose_a, transpose_b;
  PetscInt        m, n, k;
  Real            alpha, beta;
  const Real     *a, *b, *bias;
  Real           *c;
  PetscInt        lda, ldb, ldc;
  size_t          stride_a, stride_b, stride_c;
  DenseActivation activation;
} DenseProduct;

PetscErrorCode dense_backend_product(const DenseProduct *product);

/* bias and activation on rows of y in place, for a back end whose product does not take them. */
void dense_finish(PetscInt rows, PetscInt columns, const Real *bias, DenseActivation activation, Real *y, PetscInt ldy);

/* Layers on at most so many rows (dense_few.c): y = x W' + bias; dx [+]= dy W; dw = dy' x. */
enum { FEW_ROWS = 8 };
void dense_few_forward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *bias, Real *y, PetscInt ldy);
void dense_few_backward_input(PetscInt rows, PetscInt in, PetscInt out, const Real *w, PetscInt ldw, const Real *dy, PetscInt lddy, PetscBool accumulate, Real *dx, PetscInt lddx);
void dense_few_backward_weight(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *dy, PetscInt lddy, Real *dw, PetscInt lddw);

#endif
