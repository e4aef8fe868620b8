/* Dense layers: the product by the back end, what comes before and after it here. */
#include "dense_private.h"
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/exponential.h>
#include <petsclog.h>

/* Values an element-wise loop must have before a second thread pays. */
enum { PARALLEL_FROM = 16384, BLOCK = 4096 };

/* gelu_tanh(x) = x sigmoid(2 u) and its derivative, u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks, Gimpel, arXiv 1606.08415). */
#define TWICE_SCALE ((Real)1.5957691216057308)
#define CUBIC ((Real)0.044715)

static inline __attribute__((always_inline)) Real gelu_decay(Real x)
{
  const Real argument = -TWICE_SCALE * (x + CUBIC * x * x * x);
  return exponential(argument < 80 ? argument : 80); /* no infinity, whose product with 0 is none */
}

VECTOR_CLONES static void gelu_block(PetscInt n, const Real *pre, Real *y)
{
  for (PetscInt i = 0; i < n; i++) y[i] = pre[i] / (1 + gelu_decay(pre[i]));
}

VECTOR_CLONES static void gelu_backward_block(size_t n, const Real *pre, Real *d)
{
  for (size_t i = 0; i < n; i++) {
    const Real x = pre[i], decay = gelu_decay(x), gate = 1 / (1 + decay), rest = decay * gate; /* not 1 - gate, which cancels */
    d[i] *= gate + x * gate * rest * TWICE_SCALE * (1 + 3 * CUBIC * x * x);
  }
}

void dense_gelu_backward(size_t n, const Real *pre, Real *d)
{
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM)
  for (size_t first = 0; first < n; first += BLOCK) gelu_backward_block(n - first < BLOCK ? n - first : BLOCK, pre + first, d + first);
}

static inline __attribute__((always_inline)) void finish_row(PetscInt columns, const Real *bias, DenseActivation activation, Real *y)
{
  if (bias)
    for (PetscInt j = 0; j < columns; j++) y[j] += bias[j];
  if (activation == DENSE_RELU)
    for (PetscInt j = 0; j < columns; j++) y[j] = y[j] > 0 ? y[j] : 0;
  if (activation == DENSE_GELU) gelu_block(columns, y, y);
}

void dense_finish(PetscInt rows, PetscInt columns, const Real *bias, DenseActivation activation, Real *y, PetscInt ldy)
{
  if (!bias && activation == DENSE_LINEAR) return;
#pragma omp parallel for schedule(static) if ((size_t)rows * (size_t)columns >= PARALLEL_FROM)
  for (PetscInt i = 0; i < rows; i++) finish_row(columns, bias, activation, y + (size_t)i * (size_t)ldy);
}

/* Events of -log_view: products, those on a few rows, and the loops over elements that go with them. */
static PetscLogEvent event_product = -1, event_few = -1, event_vector = -1;

static PetscErrorCode events_register(void)
{
  if (event_product >= 0) return PETSC_SUCCESS;
  PetscCall(PetscLogEventRegister("DenseProduct", PETSC_OBJECT_CLASSID, &event_product));
  PetscCall(PetscLogEventRegister("DenseFewRows", PETSC_OBJECT_CLASSID, &event_few));
  PetscCall(PetscLogEventRegister("DenseVector", PETSC_OBJECT_CLASSID, &event_vector));
  return PETSC_SUCCESS;
}

/* An empty sum: C = beta C + bias. */
static void no_terms(const DenseProduct *p)
{
  for (PetscInt s = 0; s < p->count; s++) {
    Real *c = p->c + (size_t)s * p->stride_c;
    for (PetscInt i = 0; i < p->m; i++)
      for (PetscInt j = 0; j < p->n; j++) c[(size_t)i * (size_t)p->ldc + (size_t)j] = p->beta ? p->beta * c[(size_t)i * (size_t)p->ldc + (size_t)j] : 0;
    dense_finish(p->m, p->n, p->bias, p->activation, c, p->ldc);
  }
}

static PetscErrorCode product(const DenseProduct *p)
{
  if (p->count <= 0 || p->m <= 0 || p->n <= 0) return PETSC_SUCCESS;
  if (p->k <= 0) return no_terms(p), PETSC_SUCCESS;
  PetscCall(events_register());
  PetscCall(PetscLogEventBegin(event_product, 0, 0, 0, 0));
  PetscCall(dense_backend_product(p));
  PetscCall(PetscLogFlops(2. * (double)p->count * (double)p->m * (double)p->n * (double)p->k));
  PetscCall(PetscLogEventEnd(event_product, 0, 0, 0, 0));
  return PETSC_SUCCESS;
}

PetscErrorCode dense_products(PetscInt count, PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a,
                              PetscInt lda, size_t stride_a, const Real *b, PetscInt ldb, size_t stride_b, Real beta, Real *c, PetscInt ldc, size_t stride_c)
{
  return product(&(DenseProduct){.count = count,
                                 .transpose_a = transpose_a,
                                 .transpose_b = transpose_b,
                                 .m = m,
                                 .n = n,
                                 .k = k,
                                 .alpha = alpha,
                                 .beta = beta,
                                 .a = a,
                                 .b = b,
                                 .c = c,
                                 .lda = lda,
                                 .ldb = ldb,
                                 .ldc = ldc,
                                 .stride_a = stride_a,
                                 .stride_b = stride_b,
                                 .stride_c = stride_c});
}

PetscErrorCode dense_product(PetscBool transpose_a, PetscBool transpose_b, PetscInt m, PetscInt n, PetscInt k, Real alpha, const Real *a, PetscInt lda,
                             const Real *b, PetscInt ldb, Real beta, Real *c, PetscInt ldc)
{
  return dense_products(1, transpose_a, transpose_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0);
}

PetscErrorCode dense_linear_forward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *bias,
                                    DenseActivation activation, PetscBool accumulate, Real *y, PetscInt ldy, Real *pre)
{
  const PetscBool keep = activation == DENSE_GELU && pre;

  if (rows <= FEW_ROWS && !accumulate && activation == DENSE_LINEAR) {
    PetscCall(events_register());
    PetscCall(PetscLogEventBegin(event_few, 0, 0, 0, 0));
    dense_few_forward(rows, in, out, x, ldx, w, ldw, bias, y, ldy);
    PetscCall(PetscLogFlops(2. * (double)rows * (double)in * (double)out));
    PetscCall(PetscLogEventEnd(event_few, 0, 0, 0, 0));
    return PETSC_SUCCESS;
  }
  PetscCall(product(&(DenseProduct){.count = 1,
                                    .transpose_b = PETSC_TRUE,
                                    .m = rows,
                                    .n = out,
                                    .k = in,
                                    .alpha = 1,
                                    .beta = accumulate ? 1 : 0,
                                    .a = x,
                                    .b = w,
                                    .c = keep ? pre : y,
                                    .bias = bias,
                                    .lda = ldx,
                                    .ldb = ldw,
                                    .ldc = keep ? out : ldy,
                                    .activation = keep ? DENSE_LINEAR : activation}));
  if (!keep) return PETSC_SUCCESS;
  PetscCall(PetscLogEventBegin(event_vector, 0, 0, 0, 0));
#pragma omp parallel for schedule(static) if ((size_t)rows * (size_t)out >= PARALLEL_FROM)
  for (PetscInt i = 0; i < rows; i++) gelu_block(out, pre + (size_t)i * (size_t)out, y + (size_t)i * (size_t)ldy);
  PetscCall(PetscLogEventEnd(event_vector, 0, 0, 0, 0));
  return PETSC_SUCCESS;
}

/* sums[j] = sum over rows of d, `count` columns: the rows in order, so the sum does not depend on the threads. */
VECTOR_CLONES static void column_sums(PetscInt rows, PetscInt count, const Real *d, PetscInt ld, Real *sums)
{
  for (PetscInt j = 0; j < count; j++) sums[j] = 0;
  for (PetscInt i = 0; i < rows; i++)
    for (PetscInt j = 0; j < count; j++) sums[j] += d[(size_t)i * (size_t)ld + (size_t)j];
}

/* The products of a layer on a few rows, logged as one. */
static PetscErrorCode few_backward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *dy, PetscInt lddy,
                                   PetscBool accumulate_input, Real *dx, PetscInt lddx, Real *dw, PetscInt lddw)
{
  PetscCall(events_register());
  PetscCall(PetscLogEventBegin(event_few, 0, 0, 0, 0));
  if (dx) dense_few_backward_input(rows, in, out, w, ldw, dy, lddy, accumulate_input, dx, lddx);
  if (dw) dense_few_backward_weight(rows, in, out, x, ldx, dy, lddy, dw, lddw);
  PetscCall(PetscLogFlops(2. * ((dx != NULL) + (dw != NULL)) * (double)rows * (double)in * (double)out));
  PetscCall(PetscLogEventEnd(event_few, 0, 0, 0, 0));
  return PETSC_SUCCESS;
}

PetscErrorCode dense_linear_backward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *dy,
                                     PetscInt lddy, PetscBool accumulate_input, Real *dx, PetscInt lddx, Real *dw, PetscInt lddw, Real *dbias)
{
  enum { COLUMNS = 256 };

  if (rows <= FEW_ROWS)
    PetscCall(few_backward(rows, in, out, x, ldx, w, ldw, dy, lddy, accumulate_input, dx, lddx, dw, lddw));
  else {
    if (dx) PetscCall(dense_product(PETSC_FALSE, PETSC_FALSE, rows, in, out, 1, dy, lddy, w, ldw, accumulate_input ? 1 : 0, dx, lddx));
    if (dw) PetscCall(dense_product(PETSC_TRUE, PETSC_FALSE, out, in, rows, 1, dy, lddy, x, ldx, 0, dw, lddw));
  }
  if (!dbias) return PETSC_SUCCESS;
  PetscCall(events_register());
  PetscCall(PetscLogEventBegin(event_vector, 0, 0, 0, 0));
#pragma omp parallel for schedule(static) if ((size_t)rows * (size_t)out >= PARALLEL_FROM)
  for (PetscInt first = 0; first < out; first += COLUMNS) column_sums(rows, PetscMin(COLUMNS, out - first), dy + first, lddy, dbias + first);
  PetscCall(PetscLogEventEnd(event_vector, 0, 0, 0, 0));
  return PETSC_SUCCESS;
}
