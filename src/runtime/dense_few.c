/* Layers on a few rows (what depends on the conditions of a set alone): bound by reading or writing the weights once, which the back end's products, made
   for many rows, do at half the speed of memory. Each element is summed in an order that does not depend on the threads. */
#include "dense_private.h"
#include <omp.h>
#include <perturbdiff/runtime/clones.h>

enum { PARALLEL_FROM = 16384 }; /* weights below which a second thread does not pay */

VECTOR_CLONES static void dots(PetscInt n, const Real *restrict w, const Real *restrict x, PetscInt ldx, Real *restrict sums)
{
  const Real *restrict x1 = x + ldx, *restrict x2 = x1 + ldx, *restrict x3 = x2 + ldx;
  Real a = 0, b = 0, c = 0, d = 0;

#pragma omp simd reduction(+ : a, b, c, d)
  for (PetscInt j = 0; j < n; j++) {
    a += w[j] * x[j];
    b += w[j] * x1[j];
    c += w[j] * x2[j];
    d += w[j] * x3[j];
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

VECTOR_CLONES static Real dot(PetscInt n, const Real *restrict w, const Real *restrict x)
{
  Real sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) sum += w[j] * x[j];
  return sum;
}

void dense_few_forward(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *w, PetscInt ldw, const Real *bias, Real *y, PetscInt ldy)
{
#pragma omp parallel for schedule(static) if ((size_t)in * (size_t)out >= PARALLEL_FROM)
  for (PetscInt o = 0; o < out; o++) {
    const Real *weight = w + (size_t)o * (size_t)ldw;
    Real        sums[FEW_ROWS];
    PetscInt    r = 0;

    for (; r + 4 <= rows; r += 4) dots(in, weight, x + (size_t)r * (size_t)ldx, ldx, sums + r);
    for (; r < rows; r++) sums[r] = dot(in, weight, x + (size_t)r * (size_t)ldx);
    for (r = 0; r < rows; r++) y[(size_t)r * (size_t)ldy + (size_t)o] = sums[r] + (bias ? bias[o] : 0);
  }
}

/* dx[j] += sum over four rows of w of dy * w[j]. */
VECTOR_CLONES static void add_four(PetscInt n, const Real *restrict dy, const Real *restrict w, PetscInt ldw, Real *restrict dx)
{
  const Real *restrict w1 = w + ldw, *restrict w2 = w1 + ldw, *restrict w3 = w2 + ldw;
  const Real a = dy[0], b = dy[1], c = dy[2], d = dy[3];

  for (PetscInt j = 0; j < n; j++) dx[j] += (a * w[j] + b * w1[j]) + (c * w2[j] + d * w3[j]);
}

VECTOR_CLONES static void add_one(PetscInt n, Real dy, const Real *restrict w, Real *restrict dx)
{
  for (PetscInt j = 0; j < n; j++) dx[j] += dy * w[j];
}

void dense_few_backward_input(PetscInt rows, PetscInt in, PetscInt out, const Real *w, PetscInt ldw, const Real *dy, PetscInt lddy, PetscBool accumulate, Real *dx, PetscInt lddx)
{
  enum { LINE = 16 };
  const PetscInt pieces = (size_t)in * (size_t)out >= PARALLEL_FROM ? (PetscInt)omp_get_max_threads() : 1;
  const PetscInt width = (in + pieces * LINE - 1) / (pieces * LINE) * LINE;

#pragma omp parallel for schedule(static) if (pieces > 1)
  for (PetscInt first = 0; first < in; first += width) {
    const PetscInt n = PetscMin(width, in - first);
    PetscInt       o = 0;

    for (PetscInt r = 0; r < rows && !accumulate; r++)
      for (PetscInt j = 0; j < n; j++) dx[(size_t)r * (size_t)lddx + (size_t)(first + j)] = 0;
    for (; o + 4 <= out; o += 4)
      for (PetscInt r = 0; r < rows; r++)
        add_four(n, dy + (size_t)r * (size_t)lddy + (size_t)o, w + (size_t)o * (size_t)ldw + (size_t)first, ldw, dx + (size_t)r * (size_t)lddx + (size_t)first);
    for (; o < out; o++)
      for (PetscInt r = 0; r < rows; r++)
        add_one(n, dy[(size_t)r * (size_t)lddy + (size_t)o], w + (size_t)o * (size_t)ldw + (size_t)first, dx + (size_t)r * (size_t)lddx + (size_t)first);
  }
}

/* dw[j] [+]= sum over one or four rows of dy * x[j]. */
VECTOR_CLONES static void weight_one(PetscInt n, Real dy, const Real *restrict x, PetscBool add, Real *restrict dw)
{
  if (add)
    for (PetscInt j = 0; j < n; j++) dw[j] += dy * x[j];
  else
    for (PetscInt j = 0; j < n; j++) dw[j] = dy * x[j];
}

VECTOR_CLONES static void weight_four(PetscInt n, const Real *restrict dy, const Real *restrict x, PetscInt ldx, PetscBool add, Real *restrict dw)
{
  const Real *restrict x1 = x + ldx, *restrict x2 = x1 + ldx, *restrict x3 = x2 + ldx;
  const Real a = dy[0], b = dy[1], c = dy[2], d = dy[3];

  if (add)
    for (PetscInt j = 0; j < n; j++) dw[j] += (a * x[j] + b * x1[j]) + (c * x2[j] + d * x3[j]);
  else
    for (PetscInt j = 0; j < n; j++) dw[j] = (a * x[j] + b * x1[j]) + (c * x2[j] + d * x3[j]);
}

void dense_few_backward_weight(PetscInt rows, PetscInt in, PetscInt out, const Real *x, PetscInt ldx, const Real *dy, PetscInt lddy, Real *dw, PetscInt lddw)
{
#pragma omp parallel for schedule(static) if ((size_t)in * (size_t)out >= PARALLEL_FROM)
  for (PetscInt o = 0; o < out; o++) {
    Real *const row = dw + (size_t)o * (size_t)lddw;
    Real        column[FEW_ROWS];
    PetscInt    r = 0;

    for (PetscInt i = 0; i < rows; i++) column[i] = dy[(size_t)i * (size_t)lddy + (size_t)o];
    for (; r + 4 <= rows; r += 4) weight_four(in, column + r, x + (size_t)r * (size_t)ldx, ldx, r > 0, row);
    for (; r < rows; r++) weight_one(in, column[r], x + (size_t)r * (size_t)ldx, r > 0, row);
  }
}
