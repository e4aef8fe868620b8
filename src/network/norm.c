/* Element-wise neighbours of the products: SiLU, layer norm with its modulations, gates with the residual (MODEL, "Denoiser").
   Loops over rows run in parallel; sums over the rows of a set run over columns, so that their order is fixed. */
#include <perturbdiff/runtime/exponential.h>
#include "network/layers.h"
#include <math.h>

/* Columns handled together in sums over rows: their accumulators stay in registers. */
#define COLUMNS 64

void silu_forward(size_t n, const Real *x, Real *y)
{
  for (size_t i = 0; i < n; i++) y[i] = x[i] / (1 + exponential(-x[i]));
}

void silu_backward(size_t n, const Real *x, Real *d)
{
  for (size_t i = 0; i < n; i++) {
    const Real s = 1 / (1 + exponential(-x[i]));
    d[i] *= s * (1 + x[i] * (1 - s));
  }
}

/* p = (x - mean) / sqrt(var + eps); returns 1/sqrt(var + eps). */
VECTOR_CLONES static Real row_normalize(PetscInt n, const Real *restrict x, Real *restrict p)
{
  Real sum = 0, squares = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) sum += x[j];
  const Real mean = sum / (Real)n;
#pragma omp simd reduction(+ : squares)
  for (PetscInt j = 0; j < n; j++) squares += (x[j] - mean) * (x[j] - mean);
  const Real inverse = 1 / (Real)sqrt((double)(squares / (Real)n + NORM_EPSILON));
  for (PetscInt j = 0; j < n; j++) p[j] = (x[j] - mean) * inverse;
  return inverse;
}

VECTOR_CLONES static void row_modulate(PetscInt n, const Real *restrict p, const Real *restrict shift, const Real *restrict scale, Real *restrict y)
{
  for (PetscInt j = 0; j < n; j++) y[j] = p[j] * (1 + scale[j]) + shift[j];
}

void norm_forward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *x, Real *normalized, Real *inverse, PetscInt count, const Modulation *modulation)
{
  const PetscInt rows = sets * set_size;

#pragma omp parallel for schedule(static) if (rows *width > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) {
    Real        *p   = normalized + (size_t)r * (size_t)width;
    const size_t set = (size_t)(r / set_size);

    inverse[r] = row_normalize(width, x + (size_t)r * (size_t)width, p);
    for (PetscInt i = 0; i < count; i++) {
      const Modulation *m = &modulation[i];
      row_modulate(width, p, m->shift + set * (size_t)m->stride, m->scale + set * (size_t)m->stride, m->rows + (size_t)r * (size_t)m->row_stride);
    }
  }
}

/* shift[j] = sum of d, scale[j] = sum of d*p over rows, for columns 0..n-1, n <= COLUMNS. */
VECTOR_CLONES static void columns_sum(PetscInt rows, PetscInt n, const Real *restrict d, PetscInt ldd, const Real *restrict p, PetscInt ldp, Real *restrict shift,
                                      Real *restrict scale)
{
  Real a[COLUMNS] = {0}, b[COLUMNS] = {0};

  if (n == COLUMNS) {
    for (PetscInt r = 0; r < rows; r++, d += ldd, p += ldp)
      for (PetscInt j = 0; j < COLUMNS; j++) {
        a[j] += d[j];
        b[j] += d[j] * p[j];
      }
  } else {
    for (PetscInt r = 0; r < rows; r++, d += ldd, p += ldp)
      for (PetscInt j = 0; j < n; j++) {
        a[j] += d[j];
        b[j] += d[j] * p[j];
      }
  }
  for (PetscInt j = 0; j < n; j++) {
    shift[j] = a[j];
    scale[j] = b[j];
  }
}

/* d = sum over modulations of d_i*(1+scale_i), left in the last one's row. */
VECTOR_CLONES static void row_demodulate(PetscInt n, const Real *restrict d, const Real *restrict scale, const Real *restrict last_scale, Real *restrict last)
{
  if (d)
    for (PetscInt j = 0; j < n; j++) last[j] = last[j] * (1 + last_scale[j]) + d[j] * (1 + scale[j]);
  else
    for (PetscInt j = 0; j < n; j++) last[j] *= 1 + last_scale[j];
}

/* dx [+]= inverse * (d - mean(d) - p*mean(d*p)). */
VECTOR_CLONES static void row_normalize_backward(PetscInt n, const Real *restrict d, const Real *restrict p, Real inverse, Real keep, Real *restrict dx)
{
  Real sum = 0, product = 0;

#pragma omp simd reduction(+ : sum, product)
  for (PetscInt j = 0; j < n; j++) {
    sum += d[j];
    product += d[j] * p[j];
  }
  const Real mean = sum / (Real)n, slope = product / (Real)n;
  if (keep != 0)
    for (PetscInt j = 0; j < n; j++) dx[j] += inverse * (d[j] - mean - p[j] * slope);
  else
    for (PetscInt j = 0; j < n; j++) dx[j] = inverse * (d[j] - mean - p[j] * slope);
}

static void modulation_gradients(PetscInt sets, PetscInt set_size, PetscInt width, const Real *normalized, const Modulation *m)
{
  const PetscInt pieces = (width + COLUMNS - 1) / COLUMNS;

#pragma omp parallel for collapse(2) schedule(static) if (sets *set_size *width > PARALLEL_ELEMENTS)
  for (PetscInt set = 0; set < sets; set++)
    for (PetscInt piece = 0; piece < pieces; piece++) {
      const PetscInt first = piece * COLUMNS, n = PetscMin(COLUMNS, width - first);
      const size_t   row = (size_t)set * (size_t)set_size, place = (size_t)set * (size_t)m->stride + (size_t)first;
      columns_sum(set_size, n, m->rows + row * (size_t)m->row_stride + first, m->row_stride, normalized + row * (size_t)width + first, width, m->d_shift + place,
                  m->d_scale + place);
    }
}

void norm_backward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *normalized, const Real *inverse, PetscInt count, const Modulation *modulation,
                   PetscBool accumulate, Real *dx)
{
  const PetscInt    rows = sets * set_size;
  const Modulation *last = &modulation[count - 1], *first = count > 1 ? modulation : NULL;

  for (PetscInt i = 0; i < count; i++) modulation_gradients(sets, set_size, width, normalized, &modulation[i]);
#pragma omp parallel for schedule(static) if (rows *width > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) {
    const size_t row = (size_t)r, set = (size_t)(r / set_size);
    Real        *d = last->rows + row * (size_t)last->row_stride;

    row_demodulate(width, first ? first->rows + row * (size_t)first->row_stride : NULL, first ? first->scale + set * (size_t)first->stride : NULL,
                   last->scale + set * (size_t)last->stride, d);
    row_normalize_backward(width, d, normalized + row * (size_t)width, inverse[r], accumulate, dx + row * (size_t)width);
  }
}

VECTOR_CLONES static void row_gates(PetscInt n, const Real *restrict gate_a, const Real *restrict a, const Real *restrict gate_m, const Real *restrict m, Real *restrict x)
{
  for (PetscInt j = 0; j < n; j++) x[j] += gate_a[j] * a[j] + gate_m[j] * m[j];
}

void gates_forward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *gate_a, const Real *gate_m, PetscInt stride, const Real *a, PetscInt lda, const Real *m, Real *x)
{
  const PetscInt rows = sets * set_size;

#pragma omp parallel for schedule(static) if (rows *width > PARALLEL_ELEMENTS)
  for (PetscInt r = 0; r < rows; r++) {
    const size_t row = (size_t)r, place = (size_t)(r / set_size) * (size_t)stride;
    row_gates(width, gate_a + place, a + row * (size_t)lda, gate_m + place, m + row * (size_t)width, x + row * (size_t)width);
  }
}

/* d_gate_a[j] = sum dx*a, d_gate_m[j] = sum dx*m over rows; da = dx*gate_a, dm = dx*gate_m, columns 0..n-1, n <= COLUMNS. */
VECTOR_CLONES static void columns_gates(PetscInt rows, PetscInt n, PetscInt width, const Real *restrict gate_a, const Real *restrict gate_m, const Real *restrict a, PetscInt lda,
                                        const Real *restrict m, const Real *restrict dx, Real *restrict da, PetscInt ldda, Real *restrict dm, Real *restrict d_gate_a,
                                        Real *restrict d_gate_m)
{
  Real s[COLUMNS] = {0}, t[COLUMNS] = {0};

  for (PetscInt r = 0; r < rows; r++, a += lda, m += width, dx += width, da += ldda, dm += width)
    for (PetscInt j = 0; j < n; j++) {
      s[j] += dx[j] * a[j];
      t[j] += dx[j] * m[j];
      da[j] = dx[j] * gate_a[j];
      dm[j] = dx[j] * gate_m[j];
    }
  for (PetscInt j = 0; j < n; j++) {
    d_gate_a[j] = s[j];
    d_gate_m[j] = t[j];
  }
}

void gates_backward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *gate_a, const Real *gate_m, PetscInt stride, const Real *a, PetscInt lda, const Real *m,
                    const Real *dx, Real *da, PetscInt ldda, Real *dm, Real *d_gate_a, Real *d_gate_m)
{
  const PetscInt pieces = (width + COLUMNS - 1) / COLUMNS;

#pragma omp parallel for collapse(2) schedule(static) if (sets *set_size *width > PARALLEL_ELEMENTS)
  for (PetscInt set = 0; set < sets; set++)
    for (PetscInt piece = 0; piece < pieces; piece++) {
      const PetscInt first = piece * COLUMNS, n = PetscMin(COLUMNS, width - first);
      const size_t   row = (size_t)set * (size_t)set_size, place = (size_t)set * (size_t)stride + (size_t)first, dense = row * (size_t)width + (size_t)first;
      columns_gates(set_size, n, width, gate_a + place, gate_m + place, a + row * (size_t)lda + first, lda, m + dense, dx + dense, da + row * (size_t)ldda + first, ldda, dm + dense,
                    d_gate_a + place, d_gate_m + place);
    }
}
