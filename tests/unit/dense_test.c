/* Dense products and layers against plain loops in double (long double in the double build): transposes, odd sizes, strides larger
   than widths, accumulation, factors, one row; activations against libm; gradients against the loops. */
#include "check.h"
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/random.h>
#include <stdlib.h>
#include <string.h>

/* Per unit of the sum of absolute terms. */
static const double tolerance = sizeof(Real) == 8 ? 1e-15 : 1e-6;

static Real *drawn(size_t n, uint32_t cell)
{
  const RandomStream stream = random_stream(1, RANDOM_TEST, 0, 0, cell);
  Real              *values = malloc((n + 1) * sizeof *values);

  random_normals(&stream, 0, n, values);
  return values;
}

/* C = alpha op(A) op(B) + beta C in long double, and the sum of absolute values behind each entry in size. */
static void plain_product(PetscBool ta, PetscBool tb, PetscInt m, PetscInt n, PetscInt k, double alpha, const Real *a, PetscInt lda, const Real *b,
                          PetscInt ldb, double beta, const Real *c, PetscInt ldc, double *result, double *size)
{
  for (PetscInt i = 0; i < m; i++)
    for (PetscInt j = 0; j < n; j++) {
      long double sum = 0, absolute = 0;
      for (PetscInt l = 0; l < k; l++) {
        const long double term = (long double)a[ta ? l * lda + i : i * lda + l] * b[tb ? j * ldb + l : l * ldb + j];
        sum += term;
        absolute += fabsl(term);
      }
      const double before = beta ? beta * c[i * ldc + j] : 0;
      result[i * n + j] = (double)(alpha * sum) + before;
      size[i * n + j] = fabs(alpha) * (double)absolute + fabs(before) + 1e-30;
    }
}

static void check_product(PetscInt count, PetscBool ta, PetscBool tb, PetscInt m, PetscInt n, PetscInt k, PetscInt pad, double alpha, double beta)
{
  const PetscInt lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + 2 * pad, ldc = n + 3 * pad;
  const size_t   stride_a = (size_t)((ta ? k : m) * lda + pad), stride_b = (size_t)((tb ? n : k) * ldb), stride_c = (size_t)(m * ldc + 5 * pad);
  Real          *a = drawn((size_t)count * stride_a, 1), *b = drawn((size_t)count * stride_b, 2), *c = drawn((size_t)count * stride_c, 3),
       *before = drawn((size_t)count * stride_c, 3);
  double *expected = malloc(2 * (size_t)(m * n) * sizeof *expected), *size = expected + m * n;

  if (beta == 0) c[0] = NAN; /* beta 0 does not read C */
  if (count == 1)
    check_call(dense_product(ta, tb, m, n, k, (Real)alpha, a, lda, b, ldb, (Real)beta, c, ldc));
  else
    check_call(dense_products(count, ta, tb, m, n, k, (Real)alpha, a, lda, stride_a, b, ldb, stride_b, (Real)beta, c, ldc, stride_c));
  for (PetscInt s = 0; s < count; s++) {
    const Real *got = c + (size_t)s * stride_c, *old = before + (size_t)s * stride_c;
    plain_product(ta, tb, m, n, k, alpha, a + (size_t)s * stride_a, lda, b + (size_t)s * stride_b, ldb, beta, old, ldc, expected, size);
    for (PetscInt i = 0; i < m; i++)
      for (PetscInt j = 0; j < n; j++) check_close(got[i * ldc + j], expected[i * n + j], tolerance, size[i * n + j]);
    for (size_t i = 0; i < stride_c; i++) /* nothing between the rows is touched */
      if (i / (size_t)ldc >= (size_t)m || i % (size_t)ldc >= (size_t)n) assert_true(got[i] == old[i]);
  }
  free(a);
  free(b);
  free(c);
  free(before);
  free(expected);
}

static void products(void **state)
{
  static const PetscInt sizes[][3] = {{1, 1, 1}, {1, 130, 67}, {7, 1, 300}, {33, 65, 17}, {64, 48, 32}, {129, 31, 1}, {5, 200, 513}};
  static const double   factors[][2] = {{1, 0}, {1, 1}, {-0.25, 0}, {0.5, -2}, {3, 1}};

  for (int t = 0; t < 4; t++)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
      for (size_t f = 0; f < sizeof factors / sizeof *factors; f++)
        for (PetscInt pad = 0; pad < 4; pad += 3) check_product(1, t & 1, t >> 1, sizes[s][0], sizes[s][1], sizes[s][2], pad, factors[f][0], factors[f][1]);
  check_product(1, PETSC_FALSE, PETSC_TRUE, 3, 4, 0, 1, 1, 1);
  check_product(1, PETSC_FALSE, PETSC_TRUE, 3, 4, 0, 1, 1, 0);
  check_call(dense_product(PETSC_FALSE, PETSC_FALSE, 0, 3, 3, 1, NULL, 3, NULL, 3, 0, NULL, 3));
}

static void products_in_batches(void **state)
{
  for (int t = 0; t < 4; t++)
    for (PetscInt pad = 0; pad < 4; pad += 3) {
      check_product(8, t & 1, t >> 1, 33, 29, 16, pad, 0.125, 0);
      check_product(3, t & 1, t >> 1, 1, 64, 20, pad, 1, 1);
      check_product(2, t & 1, t >> 1, 64, 64, 64, pad, 1, 0.5);
      check_product(5, t & 1, t >> 1, 40, 1, 9, pad, 2, 0);
    }
}

/* Heads of attention: matrices that interleave, row by row, in one array. */
static void heads_that_interleave(void **state)
{
  enum { HEADS = 4, S = 19, D = 6, W = HEADS * D };
  Real  *q = drawn(S * W, 1), *k = drawn(S * W, 2), *score = drawn(HEADS * S * S, 3), *mixed = drawn(S * W, 4);
  double expected[S * S], size[S * S];

  check_call(dense_products(HEADS, PETSC_FALSE, PETSC_TRUE, S, S, D, 0.5, q, W, D, k, W, D, 0, score, S, S * S));
  check_call(dense_products(HEADS, PETSC_FALSE, PETSC_FALSE, S, D, S, 1, score, S, S * S, q, W, D, 0, mixed, W, D));
  for (int h = 0; h < HEADS; h++) {
    plain_product(PETSC_FALSE, PETSC_TRUE, S, S, D, 0.5, q + h * D, W, k + h * D, W, 0, NULL, 0, expected, size);
    for (int i = 0; i < S * S; i++) check_close(score[h * S * S + i], expected[i], tolerance, size[i]);
    plain_product(PETSC_FALSE, PETSC_FALSE, S, D, S, 1, score + h * S * S, S, q + h * D, W, 0, NULL, 0, expected, size);
    for (int i = 0; i < S * D; i++) check_close(mixed[i / D * W + h * D + i % D], expected[i], tolerance, size[i]);
  }
  free(q);
  free(k);
  free(score);
  free(mixed);
}

static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

static double gelu_slope(double x)
{
  const double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

static void check_layer(PetscInt rows, PetscInt in, PetscInt out, PetscInt pad, PetscBool with_bias, DenseActivation activation, PetscBool accumulate,
                        PetscBool keep)
{
  const PetscInt ldx = in + pad, ldw = in + 2 * pad, ldy = out + 3 * pad;
  Real          *x = drawn((size_t)(rows * ldx), 1), *w = drawn((size_t)(out * ldw), 2), *bias = drawn((size_t)out, 3);
  Real          *y = drawn((size_t)(rows * ldy), 4), *before = drawn((size_t)(rows * ldy), 4), *pre = drawn((size_t)(rows * out), 5);
  double        *expected = malloc(2 * (size_t)(rows * out) * sizeof *expected), *size = expected + rows * out;

  check_call(dense_linear_forward(rows, in, out, x, ldx, w, ldw, with_bias ? bias : NULL, activation, accumulate, y, ldy, keep ? pre : NULL));
  plain_product(PETSC_FALSE, PETSC_TRUE, rows, out, in, 1, x, ldx, w, ldw, accumulate, before, ldy, expected, size);
  for (PetscInt i = 0; i < rows; i++)
    for (PetscInt j = 0; j < ldy; j++) {
      if (j >= out) {
        assert_true(y[i * ldy + j] == before[i * ldy + j]);
        continue;
      }
      const double linear = expected[i * out + j] + (with_bias ? (double)bias[j] : 0), scale = size[i * out + j] + 1;
      const double value = activation == DENSE_GELU ? gelu(linear) : activation == DENSE_RELU ? fmax(linear, 0) : linear;
      check_close(y[i * ldy + j], value, tolerance, scale);
      if (keep && activation == DENSE_GELU) check_close(pre[i * out + j], linear, tolerance, scale);
    }
  free(x);
  free(w);
  free(bias);
  free(y);
  free(before);
  free(pre);
  free(expected);
}

static void layers_forward(void **state)
{
  static const PetscInt sizes[][3] = {{1, 20, 33}, {17, 64, 128}, {130, 31, 130}, {2, 1, 1}, {7, 150, 140}};

  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (PetscInt pad = 0; pad < 4; pad += 3)
      for (int bias = 0; bias < 2; bias++) {
        const PetscInt *n = sizes[s];
        check_layer(n[0], n[1], n[2], pad, bias, DENSE_LINEAR, PETSC_FALSE, PETSC_FALSE);
        check_layer(n[0], n[1], n[2], pad, bias, DENSE_LINEAR, PETSC_TRUE, PETSC_FALSE);
        check_layer(n[0], n[1], n[2], pad, bias, DENSE_RELU, PETSC_FALSE, PETSC_FALSE);
        check_layer(n[0], n[1], n[2], pad, bias, DENSE_GELU, PETSC_FALSE, PETSC_FALSE);
        check_layer(n[0], n[1], n[2], pad, bias, DENSE_GELU, PETSC_FALSE, PETSC_TRUE);
      }
}

static void layers_backward(void **state)
{
  enum { ROWS = 71, IN = 37, OUT = 300, LDX = 40, LDW = 41, LDY = 303 };
  Real *x = drawn(ROWS * LDX, 1), *w = drawn(OUT * LDW, 2), *dy = drawn(ROWS * LDY, 3), *dx = drawn(ROWS * LDX, 4), *dw = drawn(OUT * LDW, 5),
       *dbias = drawn(OUT, 6);
  Real   *dx0 = drawn(ROWS * LDX, 4), *dw0 = drawn(OUT * LDW, 5), *dbias0 = drawn(OUT, 6);
  double *expected = malloc(2 * OUT * ROWS * sizeof *expected), *size = expected + OUT * ROWS;

  for (int way = 0; way < 10; way++) {
    const PetscInt  rows = (const PetscInt[]){ROWS, 1, 2, 5, 8}[way / 2];
    const PetscBool accumulate = way % 2;
    memcpy(dx, dx0, ROWS * LDX * sizeof *dx);
    memcpy(dw, dw0, OUT * LDW * sizeof *dw);
    memcpy(dbias, dbias0, OUT * sizeof *dbias);
    check_call(dense_linear_backward(rows, IN, OUT, x, LDX, w, LDW, dy, LDY, accumulate, dx, LDX, dw, LDW, dbias));
    plain_product(PETSC_FALSE, PETSC_FALSE, rows, IN, OUT, 1, dy, LDY, w, LDW, accumulate, dx0, LDX, expected, size);
    for (int i = 0; i < rows * IN; i++) check_close(dx[i / IN * LDX + i % IN], expected[i], tolerance, size[i]);
    plain_product(PETSC_TRUE, PETSC_FALSE, OUT, IN, rows, 1, dy, LDY, x, LDX, 0, dw0, LDW, expected, size);
    for (int i = 0; i < OUT * IN; i++) check_close(dw[i / IN * LDW + i % IN], expected[i], tolerance, size[i]);
    for (int j = 0; j < OUT; j++) {
      double sum = 0, absolute = 0;
      for (int i = 0; i < rows; i++) {
        sum += dy[i * LDY + j];
        absolute += fabs((double)dy[i * LDY + j]);
      }
      check_close(dbias[j], sum, tolerance, absolute);
    }
  }
  /* NULL skips. */
  check_call(dense_linear_backward(ROWS, IN, OUT, x, LDX, w, LDW, dy, LDY, PETSC_FALSE, NULL, 0, NULL, 0, NULL));
  free(x);
  free(w);
  free(dy);
  free(dx);
  free(dw);
  free(dbias);
  free(dx0);
  free(dw0);
  free(dbias0);
  free(expected);
}

/* Every argument a layer can meet, far tails included. */
static void gelu_against_libm(void **state)
{
  enum { N = 40001 };
  const Real one = 1;
  Real      *x = malloc(3 * N * sizeof *x), *slope = x + N, *y = x + 2 * N;

  for (int i = 0; i < N; i++) {
    x[i] = (Real)((i - N / 2) * 1e-3);
    slope[i] = 2;
  }
  dense_gelu_backward(N, x, slope);
  check_call(dense_linear_forward(N, 1, 1, x, 1, &one, 1, NULL, DENSE_GELU, PETSC_FALSE, y, 1, NULL));
  for (int i = 0; i < N; i++) {
    check_close(slope[i], 2 * gelu_slope(x[i]), sizeof(Real) == 8 ? 3e-14 : 1e-6, 1);
    check_close(y[i], gelu(x[i]), sizeof(Real) == 8 ? 3e-14 : 1e-6, 1 + fabs((double)x[i]));
  }
  Real *pre = malloc(N * sizeof *pre);
  check_call(dense_linear_forward(N, 1, 1, x, 1, &one, 1, NULL, DENSE_GELU, PETSC_FALSE, y, 1, pre));
  for (int i = 0; i < N; i++) {
    assert_true(pre[i] == x[i]);
    check_close(y[i], gelu(x[i]), sizeof(Real) == 8 ? 3e-14 : 1e-6, 1 + fabs((double)x[i]));
  }
  const Real far[] = {-1e4f, -100, 100, 1e4f};
  for (int i = 0; i < 4; i++) {
    Real d = 1;
    dense_gelu_backward(1, &far[i], &d);
    check_close(d, far[i] > 0, 1e-7, 1);
  }
  free(pre);
  free(x);
}

/* Same numbers twice, and again once the kernels were released. */
static void repeatable(void **state)
{
  enum { M = 70, N = 300, K = 200 };
  Real *a = drawn(M * K, 1), *b = drawn(N * K, 2), *c = drawn(M * N, 3), *again = drawn(M * N, 3);

  check_call(dense_product(PETSC_FALSE, PETSC_TRUE, M, N, K, 1, a, K, b, K, 0, c, N));
  for (int round = 0; round < 3; round++) {
    check_call(dense_product(PETSC_FALSE, PETSC_TRUE, M, N, K, 1, a, K, b, K, 0, again, N));
    assert_memory_equal(c, again, M * N * sizeof *c);
    check_call(dense_release());
  }
  assert_true(strlen(dense_backend()) > 5);
  free(a);
  free(b);
  free(c);
  free(again);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(products),       cmocka_unit_test(products_in_batches), cmocka_unit_test(heads_that_interleave),
                                          cmocka_unit_test(layers_forward), cmocka_unit_test(layers_backward),     cmocka_unit_test(gelu_against_libm),
                                          cmocka_unit_test(repeatable)};

TEST_MAIN(tests)
