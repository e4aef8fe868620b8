/* Attention over the cells of a set, RMSNorm with weight on q and k per head (MODEL, "Denoiser"). */
#include <perturbdiff/runtime/exponential.h>
#include "network/layers.h"
#include <math.h>

/* y = x * inverse * weight head by head, inverse = 1/sqrt(mean(x^2) + eps); x and y rows of heads*d values. */
VECTOR_CLONES static void row_rmsnorm(PetscInt heads, PetscInt d, const Real *restrict x, const Real *restrict weight, Real *restrict y, Real *restrict inverse)
{
  for (PetscInt h = 0; h < heads; h++, x += d, y += d) {
    Real squares = 0;
#pragma omp simd reduction(+ : squares)
    for (PetscInt j = 0; j < d; j++) squares += x[j] * x[j];
    const Real s = 1 / (Real)sqrt((double)(squares / (Real)d + NORM_EPSILON));
    for (PetscInt j = 0; j < d; j++) y[j] = x[j] * s * weight[j];
    inverse[h] = s;
  }
}

/* In place on dy: dx = inverse * (dy*w - xhat*mean(dy*w*xhat)), xhat = x*inverse; d_weight += dy*xhat. */
VECTOR_CLONES static void row_rmsnorm_backward(PetscInt heads, PetscInt d, const Real *restrict x, const Real *restrict weight, const Real *restrict inverse, Real *restrict dy,
                                               Real *restrict d_weight)
{
  for (PetscInt h = 0; h < heads; h++, x += d, dy += d) {
    const Real s   = inverse[h];
    Real       sum = 0;
#pragma omp simd reduction(+ : sum)
    for (PetscInt j = 0; j < d; j++) sum += dy[j] * weight[j] * x[j];
    const Real slope = sum * s * s / (Real)d;
    for (PetscInt j = 0; j < d; j++) {
      d_weight[j] += dy[j] * x[j] * s;
      dy[j] = s * (dy[j] * weight[j] - x[j] * slope);
    }
  }
}

VECTOR_CLONES static void row_softmax(PetscInt n, Real *restrict p)
{
  Real largest = p[0], sum = 0;

#pragma omp simd reduction(max : largest)
  for (PetscInt j = 0; j < n; j++) largest = p[j] > largest ? p[j] : largest;
#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) {
    p[j] = exponential(p[j] - largest);
    sum += p[j];
  }
  const Real inverse = 1 / sum;
  for (PetscInt j = 0; j < n; j++) p[j] *= inverse;
}

/* In place on d: d = p*(d - sum(d*p)). */
VECTOR_CLONES static void row_softmax_backward(PetscInt n, const Real *restrict p, Real *restrict d)
{
  Real sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) sum += d[j] * p[j];
  for (PetscInt j = 0; j < n; j++) d[j] = p[j] * (d[j] - sum);
}

static void normalize_queries_and_keys(const Attention *a, const Real *parameters, PetscInt rows, const AttentionSaved *saved)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads;

#pragma omp parallel for schedule(static) if (rows *w > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) {
    const Real *x       = saved->qkv + (size_t)r * 3 * (size_t)w;
    Real       *y       = saved->qk + (size_t)r * 2 * (size_t)w;
    Real       *inverse = saved->inverse + (size_t)r * 2 * (size_t)heads;
    row_rmsnorm(heads, d, x, parameters + a->q_norm, y, inverse);
    row_rmsnorm(heads, d, x + w, parameters + a->k_norm, y + w, inverse + heads);
  }
}

PetscErrorCode attention_forward(const Attention *a, const Real *parameters, PetscInt sets, PetscInt set_size, const Real *z, const AttentionSaved *saved, Real *y, PetscInt ldy)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads, rows = sets * set_size, scores = heads * set_size;
  const size_t   square = (size_t)set_size * (size_t)set_size;
  const Real     scale  = 1 / (Real)sqrt((double)d);

  PetscFunctionBeginUser;
  PetscCall(linear_forward(&a->qkv, parameters, rows, z, w, DENSE_LINEAR, saved->qkv, 3 * w, NULL));
  normalize_queries_and_keys(a, parameters, rows, saved);
  for (PetscInt set = 0; set < sets; set++) {
    const size_t first = (size_t)set * (size_t)set_size * (size_t)w;
    const Real  *q = saved->qk + 2 * first, *v = saved->qkv + 3 * first + 2 * w;
    Real        *probability = saved->probability + (size_t)set * (size_t)heads * square;

    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_TRUE, set_size, set_size, d, scale, q, 2 * w, (size_t)d, q + w, 2 * w, (size_t)d, 0, probability, set_size, square));
#pragma omp parallel for schedule(static) if (scores *set_size > PARALLEL_ELEMENTS)
    for (PetscInt r = 0; r < scores; r++) row_softmax(set_size, probability + (size_t)r * (size_t)set_size);
    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_FALSE, set_size, d, set_size, 1, probability, set_size, square, v, 3 * w, (size_t)d, 0, saved->mixed + first, w, (size_t)d));
  }
  PetscCall(linear_forward(&a->proj, parameters, rows, saved->mixed, w, DENSE_LINEAR, y, ldy, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From the gradients of the normed q and k in d_qkv to those of q and k, in place, and of the norms' weights. */
static void normalize_queries_and_keys_backward(const Attention *a, const Real *parameters, PetscInt rows, const AttentionSaved *saved, const AttentionScratch *scratch,
                                                Real *gradients)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads, pieces = (rows + PIECE_ROWS - 1) / PIECE_ROWS;

#pragma omp parallel for schedule(static) if (rows *w > PARALLEL_ELEMENTS)
  for (PetscInt piece = 0; piece < pieces; piece++) {
    Real *d_weight = scratch->d_weight + (size_t)piece * 2 * (size_t)d;

    for (PetscInt j = 0; j < 2 * d; j++) d_weight[j] = 0;
    for (PetscInt r = piece * PIECE_ROWS; r < PetscMin(rows, (piece + 1) * PIECE_ROWS); r++) {
      const Real *x = saved->qkv + (size_t)r * 3 * (size_t)w, *inverse = saved->inverse + (size_t)r * 2 * (size_t)heads;
      Real       *dy = scratch->d_qkv + (size_t)r * 3 * (size_t)w;
      row_rmsnorm_backward(heads, d, x, parameters + a->q_norm, inverse, dy, d_weight);
      row_rmsnorm_backward(heads, d, x + w, parameters + a->k_norm, inverse + heads, dy + w, d_weight + d);
    }
  }
  for (PetscInt piece = 0; piece < pieces; piece++)
    for (PetscInt j = 0; j < d; j++) {
      gradients[a->q_norm + (size_t)j] += scratch->d_weight[(size_t)(2 * piece * d + j)];
      gradients[a->k_norm + (size_t)j] += scratch->d_weight[(size_t)((2 * piece + 1) * d + j)];
    }
}

PetscErrorCode attention_backward(const Attention *a, const Real *parameters, PetscInt sets, PetscInt set_size, const Real *z, const AttentionSaved *saved,
                                  const AttentionScratch *scratch, const Real *dy, PetscInt lddy, Real *dz, Real *gradients)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads, rows = sets * set_size, scores = heads * set_size, s = set_size;
  const size_t   square = (size_t)s * (size_t)s, dd = (size_t)d;
  const Real     scale = 1 / (Real)sqrt((double)d);
  Real *const    d_score = scratch->d_score;

  PetscFunctionBeginUser;
  PetscCall(linear_backward(&a->proj, parameters, rows, saved->mixed, w, dy, lddy, scratch->d_mixed, w, gradients));
  for (PetscInt set = 0; set < sets; set++) {
    const size_t first = (size_t)set * (size_t)s * (size_t)w;
    const Real  *q = saved->qk + 2 * first, *k = q + w, *v = saved->qkv + 3 * first + 2 * w, *d_mixed = scratch->d_mixed + first;
    const Real  *probability = saved->probability + (size_t)set * (size_t)heads * square;
    Real        *dq = scratch->d_qkv + 3 * first, *dk = dq + w, *dv = dk + w;

    PetscCall(dense_products(heads, PETSC_TRUE, PETSC_FALSE, s, d, s, 1, probability, s, square, d_mixed, w, dd, 0, dv, 3 * w, dd));
    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_TRUE, s, s, d, 1, d_mixed, w, dd, v, 3 * w, dd, 0, d_score, s, square));
#pragma omp parallel for schedule(static) if (scores *s > PARALLEL_ELEMENTS)
    for (PetscInt r = 0; r < scores; r++) row_softmax_backward(s, probability + (size_t)r * (size_t)s, d_score + (size_t)r * (size_t)s);
    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_FALSE, s, d, s, scale, d_score, s, square, k, 2 * w, dd, 0, dq, 3 * w, dd));
    PetscCall(dense_products(heads, PETSC_TRUE, PETSC_FALSE, s, d, s, scale, d_score, s, square, q, 2 * w, dd, 0, dk, 3 * w, dd));
  }
  normalize_queries_and_keys_backward(a, parameters, rows, saved, scratch, gradients);
  PetscCall(linear_backward(&a->qkv, parameters, rows, z, w, scratch->d_qkv, 3 * w, dz, w, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}
