/* Highly variable genes: the same as scanpy's on the demo data, and the odd bins. */
#include "data/hvg.h"
#include "check.h"
#include "kang_genes.h"

static void same_genes_as_scanpy(void **state)
{
  static double  mean[KANG_GENES], variance[KANG_GENES], log_mean[KANG_GENES], dispersion[KANG_GENES];
  static int32_t chosen[KANG_GENES];

  kang_read();
  for (int c = 0; c < 3; c++) {
    PetscInt selected, expected = 0;
    for (int g = 0; g < KANG_GENES; g++) {
      mean[g]     = expm1(kang_gene[g].log_mean[c]);
      variance[g] = isnan(kang_gene[g].dispersion[c]) ? 0 : exp(kang_gene[g].dispersion[c]) * mean[g];
    }
    check_call(hvg_select(KANG_GENES, mean, variance, c == 2 ? 1000 : 300, log_mean, dispersion, chosen, &selected));
    for (int g = 0; g < KANG_GENES; g++) {
      if (chosen[g] != kang_gene[g].chosen[c]) fail_msg("gene %s: chosen %d, by scanpy %d", kang_gene[g].name, (int)chosen[g], kang_gene[g].chosen[c]);
      check_close(log_mean[g], kang_gene[g].log_mean[c], 1e-8, 5);
      expected += kang_gene[g].chosen[c];
    }
    assert_int_equal(selected, expected);
  }
}

/* By hand: genes 0 to 2 share a bin, gene 3 is alone in its bin (normalised dispersion 1), gene 4 does not vary, gene 5 is not expressed.
   Dispersions 1, 2, 3 have mean 2 and deviation 1, so gene 2 has 1, too: both share the first place. */
static void lone_and_constant_genes(void **state)
{
  const double mean[6]     = {1, 1, 1, 100, 50, 0};
  const double variance[6] = {exp(1), exp(2), exp(3), 100 * exp(7), 0, 0};
  double       log_mean[6], dispersion[6];
  int32_t      chosen[6];
  PetscInt     selected;

  check_call(hvg_select(6, mean, variance, 1, log_mean, dispersion, chosen, &selected));
  assert_int_equal(selected, 2);
  assert_true(chosen[2] && chosen[3]);
  check_call(hvg_select(6, mean, variance, 3, log_mean, dispersion, chosen, &selected));
  assert_int_equal(selected, 3);
  assert_true(chosen[1]);
  /* More wanted than vary: those that vary. */
  check_call(hvg_select(6, mean, variance, 6, log_mean, dispersion, chosen, &selected));
  assert_int_equal(selected, 4);
  assert_true(isnan(dispersion[4]) && isnan(dispersion[5]));
  check_close(dispersion[3], 7, 1e-12, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(same_genes_as_scanpy), cmocka_unit_test(lone_and_constant_genes)};

TEST_MAIN(tests)
