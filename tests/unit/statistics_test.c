/* Ranks, tails and tests against scipy, scikit-learn and exact fractions (tests/data/statistics/make_reference.py). */
#include "../data/statistics/reference.h"
#include "check.h"
#include <string.h>
#include <perturbdiff/evaluation/statistics.h>

enum { SAMPLE = sizeof sample_x / sizeof *sample_x };

static void hypergeometric_tails(void **state)
{
  for (size_t i = 0; i < sizeof hypergeometric / sizeof *hypergeometric; i++) {
    const double log_tail = hypergeometric_log_tail(hypergeometric[i].overlap, hypergeometric[i].total, hypergeometric[i].marked, hypergeometric[i].drawn);
    /* Difference of logarithms: relative error of the probability. */
    check_close(log_tail, hypergeometric[i].log_tail, 1e-12, PetscMax(1, fabs(log_tail) * 1e-3));
  }
  check_close(hypergeometric_log_tail(0, 20, 7, 8), 0, 0, 1);
  check_close(hypergeometric_log_tail(3, 10, 8, 5), 0, 0, 1); /* at least 3 of 5 must be marked */
  assert_true(isinf(hypergeometric_log_tail(8, 20, 7, 8)));
}

static void normal_tails(void **state)
{
  for (size_t i = 0; i < sizeof normal_tail / sizeof *normal_tail; i++)
    check_close(normal_log_tail(normal_tail[i][0]), normal_tail[i][1], 1e-13, 1 + fabs(normal_tail[i][1]));
}

static void rank_tests(void **state)
{
  const PetscInt index[] = {0, 3, 5, 8, 13, 21, 34};
  double         rank[SAMPLE], ties, effect, log_p, rho, w, p;

  check_call(average_ranks(SAMPLE, sample_x, rank, &ties));
  rank_sum_correlated(SAMPLE, rank, ties, 7, index, 0, &effect, &log_p);
  check_close(effect, 2 * rank_sum_u / (7 * 33) - 1, 1e-14, 1);
  check_close(exp(log_p), rank_sum_p, 1e-12, 1);
  rank_sum_correlated(SAMPLE, rank, ties, 7, index, 0.01, &effect, &log_p);
  check_close(log_p, correlated_log_p, 1e-12, 1);
  check_call(spearman_correlation(SAMPLE, sample_x, sample_y, &rho));
  check_close(rho, spearman_xy, 1e-14, 1);
  check_call(spearman_correlation(1, sample_x, sample_y, &rho));
  assert_true(isnan(rho));
  check_call(signed_rank_test(sizeof untied / sizeof *untied, untied, &w, &p));
  check_close(w, untied_w, 0, 1);
  check_close(p, untied_p, 1e-13, 1);
  check_call(signed_rank_test(sizeof tied / sizeof *tied, tied, &w, &p));
  check_close(w, tied_w, 0, 1);
  check_close(p, tied_p, 1e-14, 1);
  check_call(signed_rank_test(sizeof many / sizeof *many, many, &w, &p));
  check_close(w, many_w, 0, 1);
  check_close(p, many_p, 1e-12, 1);
  check_call(signed_rank_test(2, (double[]){0, 0}, &w, &p));
  check_close(p, 1, 0, 1);
  check_call(signed_rank_test(1, (double[]){NAN}, &w, &p));
  assert_true(isnan(p));
}

static void areas_and_adjustment(void **state)
{
  double              area, average, adjusted[4], quantile[3] = {0.025, 0.5, 0.975}, sorted[SAMPLE];
  const double        p[] = {0.02, NAN, 0.01, 0.03};
  const unsigned char ones[] = {1, 1};

  check_call(ranking_areas(sizeof score / sizeof *score, score, label, &area, &average));
  check_close(area, roc, 1e-14, 1);
  check_close(average, precision_recall, 1e-14, 1);
  check_call(ranking_areas(2, score, ones, &area, &average));
  assert_true(isnan(area) && isnan(average));
  /* Holm by hand: 0.01 * 3, 0.02 * 2, then never less than the one before. */
  check_call(holm_adjust(4, p, adjusted));
  check_close(adjusted[2], 0.03, 1e-15, 1);
  check_close(adjusted[0], 0.04, 1e-15, 1);
  check_close(adjusted[3], 0.04, 1e-15, 1);
  assert_true(isnan(adjusted[1]));
  memcpy(sorted, sample_x, sizeof sorted);
  check_call(PetscSortReal(SAMPLE, sorted));
  for (int i = 0; i < 3; i++) check_close(quantile_of_sorted(SAMPLE, sorted, quantile[i]), quantile_x[i], 1e-14, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(hypergeometric_tails), cmocka_unit_test(normal_tails), cmocka_unit_test(rank_tests),
                                          cmocka_unit_test(areas_and_adjustment)};

TEST_MAIN(tests)
