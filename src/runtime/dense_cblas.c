/* Dense products by CBLAS: the plain back end, and the only one of the double build. */
#include "dense_private.h"

#ifndef DENSE_BY_ONEDNN
  #include <cblas.h>
  #include <stdio.h>

  #ifdef PERTURBDIFF_DOUBLE
    #define GEMM cblas_dgemm
  #else
    #define GEMM cblas_sgemm
  #endif

const char *dense_backend(void)
{
  static char name[96];
  if (!*name) snprintf(name, sizeof name, "CBLAS (%s)", openblas_get_corename());
  return name;
}

PetscErrorCode dense_backend_product(const DenseProduct *p)
{
  const CBLAS_TRANSPOSE a = p->transpose_a ? CblasTrans : CblasNoTrans, b = p->transpose_b ? CblasTrans : CblasNoTrans;

  for (PetscInt i = 0; i < p->count; i++) {
    Real *c = p->c + (size_t)i * p->stride_c;
    GEMM(CblasRowMajor, a, b, (blasint)p->m, (blasint)p->n, (blasint)p->k, p->alpha, p->a + (size_t)i * p->stride_a, (blasint)p->lda,
         p->b + (size_t)i * p->stride_b, (blasint)p->ldb, p->beta, c, (blasint)p->ldc);
    dense_finish(p->m, p->n, p->bias, p->activation, c, p->ldc);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode dense_release(void) { return PETSC_SUCCESS; }
#endif
