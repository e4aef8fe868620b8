/* Random numbers: Philox's published answers, bulk against single values and libm, moments, permutations. */
#include "check.h"
#include <perturbdiff/runtime/random.h>
#include <Random123/philox.h>
#include <stdlib.h>
#include <string.h>

/* kat_vectors of the Random123 distribution, philox4x32 10. */
static void known_answers(void **state)
{
  static const struct {
    uint32_t counter[4], key[2], words[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };

  for (size_t c = 0; c < 3; c++) {
    const philox4x32_ctr_t counter = {{cases[c].counter[0], cases[c].counter[1], cases[c].counter[2], cases[c].counter[3]}};
    const philox4x32_key_t key = {{cases[c].key[0], cases[c].key[1]}};
    const RandomStream     stream = {{key.v[0], key.v[1]}, {counter.v[0], counter.v[1], counter.v[2]}};
    const philox4x32_ctr_t words = philox4x32(counter, key);

    for (uint32_t w = 0; w < 4; w++) assert_int_equal(words.v[w], cases[c].words[w]);
    if (counter.v[3] >= UINT32_C(1) << 30) continue; /* no value has such a number */
    for (uint32_t w = 0; w < 4; w++) assert_int_equal(random_word(&stream, 4 * counter.v[3] + w), cases[c].words[w]);
  }
}

static void bulk_equals_single(void **state)
{
  enum { N = 5000 };
  const RandomStream stream = random_stream(20240229, RANDOM_TEST, 7, 8, 9);
  const double       tolerance = sizeof(Real) == 8 ? 1e-14 : 1e-6;
  Real               values[N];

  for (uint32_t first = 0; first < 9; first++) {
    for (size_t n = 0; n < 700; n = 2 * n + 1) {
      values[n] = -77;
      random_normals(&stream, first, n, values);
      assert_true(values[n] == -77);
      for (size_t j = 0; j < n; j++) check_close(values[j], random_normal(&stream, first + (uint32_t)j), tolerance, 1);
      random_uniforms(&stream, first, n, values);
      for (size_t j = 0; j < n; j++) check_close(values[j], random_uniform(&stream, first + (uint32_t)j), tolerance, 1);
    }
  }
  for (uint32_t cell = 0; cell < 200; cell++) { /* a million values: rare angles and radii too */
    const RandomStream other = random_stream(3, RANDOM_TEST, 0, 0, cell);
    random_normals(&other, 1, N, values);
    for (uint32_t j = 0; j < N; j++) check_close(values[j], random_normal(&other, 1 + j), tolerance, 1);
  }
}

/* Moments of n values within five standard errors; the correlation of neighbours and of neighbouring cells too. */
static void moments(void **state)
{
  enum { N = 1 << 20 };
  const RandomStream stream = random_stream(1, RANDOM_TEST, 0, 0, 0), next = random_stream(1, RANDOM_TEST, 0, 0, 1);
  Real              *x = malloc(2 * N * sizeof *x), *y = x + N;
  double             sum[5] = {0}, neighbours = 0, cells = 0, beyond = 0;

  random_normals(&stream, 0, N, x);
  random_normals(&next, 0, N, y);
  for (int i = 0; i < N; i++) {
    for (int p = 1; p < 5; p++) sum[p] += pow(x[i], p);
    if (i) neighbours += x[i] * x[i - 1];
    cells += x[i] * y[i];
    beyond += fabs((double)x[i]) > 3;
  }
  check_close(sum[1] / N, 0, 5, 1 / sqrt(N));
  check_close(sum[2] / N, 1, 5, sqrt(2. / N));
  check_close(sum[3] / N, 0, 5, sqrt(15. / N));
  check_close(sum[4] / N, 3, 5, sqrt(96. / N));
  check_close(neighbours / N, 0, 5, 1 / sqrt(N));
  check_close(cells / N, 0, 5, 1 / sqrt(N));
  check_close(beyond / N, erfc(3 / sqrt(2)), 5, sqrt(erfc(3 / sqrt(2)) / N));
  random_uniforms(&stream, 0, N, x);
  memset(sum, 0, sizeof sum);
  for (int i = 0; i < N; i++) {
    assert_true(x[i] > 0 && x[i] < 1);
    sum[1] += x[i];
    sum[2] += x[i] * x[i];
  }
  check_close(sum[1] / N, 0.5, 5, sqrt(1. / 12 / N));
  check_close(sum[2] / N, 1. / 3, 5, sqrt(4. / 45 / N));
  free(x);
}

/* Chi-square statistic within five standard deviations of its mean. */
static void check_even(const double *counts, int bins, double total)
{
  double statistic = 0;

  for (int b = 0; b < bins; b++) statistic += (counts[b] - total / bins) * (counts[b] - total / bins) / (total / bins);
  check_close(statistic, bins - 1, 5, sqrt(2. * (bins - 1)));
}

static void below_is_even(void **state)
{
  const RandomStream stream = random_stream(5, RANDOM_TEST, 1, 2, 3);
  double             counts[13] = {0}, halves[2] = {0};
  const uint64_t     large = (UINT64_C(1) << 62) + 12345;

  for (uint32_t i = 0; i < 130000; i++) {
    const uint64_t value = random_below(&stream, i, 13), far = random_below(&stream, i, large);
    assert_true(value < 13 && far < large);
    counts[value]++;
    halves[far >= large / 2]++;
  }
  check_even(counts, 13, 130000);
  check_even(halves, 2, 130000);
  assert_int_equal(random_below(&stream, 3, 1), 0);
}

static void permutations(void **state)
{
  static const uint64_t sizes[] = {1, 2, 3, 16, 17, 31, 1000, 4097};

  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    const uint64_t     n = sizes[s];
    const RandomStream stream = random_stream(11, RANDOM_TEST, 0, 0, (uint32_t)s);
    char               seen[5000] = {0};
    for (uint64_t i = 0; i < n; i++) {
      const uint64_t image = random_permuted(&stream, n, i);
      assert_true(image < n && !seen[image]);
      seen[image] = 1;
    }
    uint64_t preimage[5000];
    random_preimages(&stream, n, n, preimage);
    for (uint64_t k = 0; k < n; k++) assert_true(preimage[k] < n && random_permuted(&stream, n, preimage[k]) == k);
  }
  /* All 120 orders of five things come up alike; so do the places of thing 0 among 1000 and the pair of its neighbours. */
  double orders[120] = {0}, places[10] = {0}, pairs[100] = {0};
  for (uint32_t trial = 0; trial < 24000; trial++) {
    const RandomStream stream = random_stream(12, RANDOM_TEST, trial, 0, 0);
    int                order = 0, image[5];
    for (int i = 0; i < 5; i++) image[i] = (int)random_permuted(&stream, 5, (uint64_t)i);
    for (int i = 0; i < 5; i++) { /* Lehmer code */
      int smaller = 0;
      for (int j = i + 1; j < 5; j++) smaller += image[j] < image[i];
      order = order * (5 - i) + smaller;
    }
    orders[order]++;
    const uint64_t first = random_permuted(&stream, 1000, 0), second = random_permuted(&stream, 1000, 1);
    places[first / 100]++;
    pairs[first / 100 * 10 + second / 100]++;
  }
  check_even(orders, 120, 24000);
  check_even(places, 10, 24000);
  check_even(pairs, 100, 24000);
}

static void streams_differ(void **state)
{
  const RandomStream base = random_stream(1, RANDOM_TEST, 2, 3, 4);
  const RandomStream others[] = {random_stream(2, RANDOM_TEST, 2, 3, 4), random_stream(1, RANDOM_VALIDATE, 2, 3, 4),
                                 random_stream(1, RANDOM_TEST, 3, 2, 4), random_stream(1, RANDOM_TEST, 2, 4, 3),
                                 random_stream(1, RANDOM_TEST, 2, 3, 5), random_stream(1 + (UINT64_C(1) << 40), RANDOM_TEST, 2, 3, 4)};

  for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
    int equal = 0;
    for (uint32_t i = 0; i < 64; i++) equal += random_word(&base, i) == random_word(&others[o], i);
    assert_int_equal(equal, 0);
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers), cmocka_unit_test(bulk_equals_single), cmocka_unit_test(moments),
                                          cmocka_unit_test(below_is_even), cmocka_unit_test(permutations),       cmocka_unit_test(streams_differ)};

TEST_MAIN(tests)
