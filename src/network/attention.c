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

enum { QUERIES, KEYS };

/* RMSNorm of the queries or the keys in saved->qkv. */
static void normalize(const Attention *a, const Real *weight, PetscInt rows, PetscInt which, const AttentionSaved *saved)
{
  const PetscInt heads = a->heads, w = a->qkv.in;

#pragma omp parallel for schedule(static) if (rows *w > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++)
    row_rmsnorm(heads, w / heads, saved->qkv + ((size_t)r * 3 + (size_t)which) * (size_t)w, weight, saved->qk + ((size_t)r * 2 + (size_t)which) * (size_t)w,
                saved->inverse + ((size_t)r * 2 + (size_t)which) * (size_t)heads);
}

/* Normed keys, and values, of all cells of a set: gathered, or where this rank computed them. */
typedef struct {
  const Real *keys, *values;
  PetscInt    ld_keys, ld_values;
} KeysAndValues;

static KeysAndValues keys_and_values(const Attention *a, const Batch *batch, const AttentionSaved *saved, PetscInt set)
{
  const size_t w = (size_t)a->qkv.in, first = (size_t)set * (size_t)batch->set_size * w;

  if (batch->exchange) return (KeysAndValues){saved->keys + first, saved->values + first, a->qkv.in, a->qkv.in};
  return (KeysAndValues){saved->qk + 2 * first + w, saved->qkv + 3 * first + 2 * w, 2 * a->qkv.in, 3 * a->qkv.in};
}

PetscErrorCode attention_forward_begin(const Attention *a, const Real *parameters, const Batch *batch, const Real *z, const AttentionSaved *saved)
{
  const PetscInt w = a->qkv.in, rows = batch->sets * batch->cells;

  PetscFunctionBeginUser;
  PetscCall(linear_forward(&a->qkv, parameters, rows, z, w, DENSE_LINEAR, saved->qkv, 3 * w, NULL));
  if (batch->exchange) PetscCallMPI(cellexchange_gather_start(batch->exchange, (int)batch->sets, (int)w, saved->qkv + 2 * w, (int)(3 * w), saved->values));
  normalize(a, parameters + a->k_norm, rows, KEYS, saved);
  if (batch->exchange) PetscCallMPI(cellexchange_gather_start(batch->exchange, (int)batch->sets, (int)w, saved->qk + w, (int)(2 * w), saved->keys));
  normalize(a, parameters + a->q_norm, rows, QUERIES, saved);
  PetscCall(batch_progress(batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode attention_forward_end(const Attention *a, const Real *parameters, const Batch *batch, const AttentionSaved *saved, Real *y, PetscInt ldy)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads, cells = batch->cells, s = batch->set_size, scores = heads * cells;
  const size_t   square = (size_t)cells * (size_t)s, dd = (size_t)d;
  const Real     scale  = 1 / (Real)sqrt((double)d);

  PetscFunctionBeginUser;
  if (batch->exchange) PetscCallMPI(cellexchange_finish(batch->exchange));
  for (PetscInt set = 0; set < batch->sets; set++) {
    const size_t        first = (size_t)set * (size_t)cells * (size_t)w;
    const KeysAndValues of    = keys_and_values(a, batch, saved, set);
    Real               *probability = saved->probability + (size_t)set * (size_t)heads * square;

    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_TRUE, cells, s, d, scale, saved->qk + 2 * first, 2 * w, dd, of.keys, of.ld_keys, dd, 0, probability, s, square));
#pragma omp parallel for schedule(static) if (scores *s > PARALLEL_ELEMENTS)
    for (PetscInt r = 0; r < scores; r++) row_softmax(s, probability + (size_t)r * (size_t)s);
    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_FALSE, cells, d, s, 1, probability, s, square, of.values, of.ld_values, dd, 0, saved->mixed + first, w, dd));
  }
  PetscCall(batch_progress(batch));
  PetscCall(linear_forward(&a->proj, parameters, batch->sets * cells, saved->mixed, w, DENSE_LINEAR, y, ldy, NULL));
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
  for (PetscInt j = 0; j < d; j++) gradients[a->q_norm + (size_t)j] = gradients[a->k_norm + (size_t)j] = 0;
  for (PetscInt piece = 0; piece < pieces; piece++)
    for (PetscInt j = 0; j < d; j++) {
      gradients[a->q_norm + (size_t)j] += scratch->d_weight[(size_t)(2 * piece * d + j)];
      gradients[a->k_norm + (size_t)j] += scratch->d_weight[(size_t)((2 * piece + 1) * d + j)];
    }
}

/* Gradients of keys and values of all cells of a set: on their way to their owners, or where they belong. */
typedef struct {
  Real    *keys, *values;
  PetscInt ld;
} KeyGradients;

static KeyGradients key_gradients(const Attention *a, const Batch *batch, const AttentionScratch *scratch, PetscInt set)
{
  const size_t w = (size_t)a->qkv.in, first = (size_t)set * (size_t)batch->set_size * w;

  if (batch->exchange) return (KeyGradients){scratch->d_keys + first, scratch->d_values + first, a->qkv.in};
  return (KeyGradients){scratch->d_qkv + 3 * first + w, scratch->d_qkv + 3 * first + 2 * w, 3 * a->qkv.in};
}

PetscErrorCode attention_backward_begin(const Attention *a, const Real *parameters, const Batch *batch, const AttentionSaved *saved, const AttentionScratch *scratch,
                                        const Real *dy, PetscInt lddy, Real *gradients)
{
  const PetscInt heads = a->heads, w = a->qkv.in, d = w / heads, cells = batch->cells, s = batch->set_size, scores = heads * cells;
  const size_t   square = (size_t)cells * (size_t)s, dd = (size_t)d;
  const Real     scale  = 1 / (Real)sqrt((double)d);
  Real *const    d_score = scratch->d_score;

  PetscFunctionBeginUser;
  PetscCall(linear_backward(&a->proj, parameters, batch->sets * cells, saved->mixed, w, dy, lddy, scratch->d_mixed, w, gradients));
  if (a->proj.out < w) {
    PetscCall(PetscArrayzero(gradients + a->proj.weight + (size_t)a->proj.out * (size_t)w, (size_t)(w - a->proj.out) * (size_t)w));
    PetscCall(PetscArrayzero(gradients + a->proj.bias + (size_t)a->proj.out, (size_t)(w - a->proj.out)));
  }
  for (PetscInt set = 0; set < batch->sets; set++)
    PetscCall(dense_products(heads, PETSC_TRUE, PETSC_FALSE, s, d, cells, 1, saved->probability + (size_t)set * (size_t)heads * square, s, square,
                             scratch->d_mixed + (size_t)set * (size_t)cells * (size_t)w, w, dd, 0, key_gradients(a, batch, scratch, set).values,
                             key_gradients(a, batch, scratch, set).ld, dd));
  if (batch->exchange) PetscCallMPI(cellexchange_reduce_start(batch->exchange, (int)batch->sets, (int)w, scratch->d_values, scratch->d_qkv + 2 * w, (int)(3 * w)));
  for (PetscInt set = 0; set < batch->sets; set++) {
    const size_t        first = (size_t)set * (size_t)cells * (size_t)w;
    const KeysAndValues of    = keys_and_values(a, batch, saved, set);
    const KeyGradients  to    = key_gradients(a, batch, scratch, set);
    const Real         *probability = saved->probability + (size_t)set * (size_t)heads * square;

    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_TRUE, cells, s, d, 1, scratch->d_mixed + first, w, dd, of.values, of.ld_values, dd, 0, d_score, s, square));
#pragma omp parallel for schedule(static) if (scores *s > PARALLEL_ELEMENTS)
    for (PetscInt r = 0; r < scores; r++) row_softmax_backward(s, probability + (size_t)r * (size_t)s, d_score + (size_t)r * (size_t)s);
    PetscCall(dense_products(heads, PETSC_FALSE, PETSC_FALSE, cells, d, s, scale, d_score, s, square, of.keys, of.ld_keys, dd, 0, scratch->d_qkv + 3 * first, 3 * w, dd));
    PetscCall(dense_products(heads, PETSC_TRUE, PETSC_FALSE, s, d, cells, scale, d_score, s, square, saved->qk + 2 * first, 2 * w, dd, 0, to.keys, to.ld, dd));
  }
  if (batch->exchange) PetscCallMPI(cellexchange_reduce_start(batch->exchange, (int)batch->sets, (int)w, scratch->d_keys, scratch->d_qkv + w, (int)(3 * w)));
  PetscCall(batch_progress(batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode attention_backward_end(const Attention *a, const Real *parameters, const Batch *batch, const Real *z, const AttentionSaved *saved,
                                      const AttentionScratch *scratch, Real *dz, Real *gradients)
{
  const PetscInt w = a->qkv.in, rows = batch->sets * batch->cells;

  PetscFunctionBeginUser;
  if (batch->exchange) PetscCallMPI(cellexchange_finish(batch->exchange));
  normalize_queries_and_keys_backward(a, parameters, rows, saved, scratch, gradients);
  PetscCall(linear_backward(&a->qkv, parameters, rows, z, w, scratch->d_qkv, 3 * w, dz, w, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}
