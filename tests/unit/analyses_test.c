/* Contrasts, gene sets, questions and the comparison of models against scipy and numpy (tests/data/analyses/make_reference.py), and by hand. */
#include "../data/analyses/reference.h"
#include "check.h"
#include <perturbdiff/evaluation/comparison.h>
#include <perturbdiff/evaluation/genesets.h>
#include <perturbdiff/evaluation/questions.h>
#include <unistd.h>

static GeneContrast contrast;

static int make_contrast(void **state)
{
  GeneColumns a, b;
  GeneRuns    runs;

  check_call(genecolumns_of_dense(CELLS, population, G, &a));
  check_call(genecolumns_sort(&a, 0, G));
  check_call(genecolumns_of_dense(CONTROLS, control, G, &b));
  check_call(genecolumns_sort(&b, 0, G));
  check_call(generuns_create(&b, &runs));
  check_call(contrast_create(&a, &runs, &contrast));
  check_call(genecolumns_destroy(&a));
  check_call(genecolumns_destroy(&b));
  check_call(generuns_destroy(&runs));
  return 0;
}

static int drop_contrast(void **state)
{
  check_call(contrast_destroy(&contrast));
  return 0;
}

static void genes_against_control(void **state)
{
  for (int g = 0; g < G; g++) {
    check_close(contrast.p_value[g], p_value[g], 1e-12, 1);
    check_close(contrast.fdr[g], fdr[g], 1e-12, 1);
    check_close(contrast.score[g], score[g], 1e-10, 1);
  }
}

static void gene_sets(void **state)
{
  const char      *path = "analyses_test.gmt";
  static char      text[G][8];
  const char      *gene[G];
  FILE            *stream = fopen(path, "w");
  GeneSets         sets;
  GeneSetTest      test[3], flipped[3];
  GeneSetAgreement agreement;

  for (int g = 0; g < G; g++) {
    snprintf(text[g], sizeof text[g], "G%d", g);
    gene[g] = text[g];
  }
  /* A gene twice, genes that are not scored, a set that is too small, the end of a line of another system. */
  fputs("first\tx\tG0\tG1\tG2\tG3\tG4\tG20\tG0\nsmall\t\tG1\tZ\nsecond\t\tG10\tG11\tG12\tG13\tG14\tG15\tG16\tZ\r\n\nthird\tx\tG5\tG6\tG7\tG25", stream);
  fclose(stream);
  check_call(genesets_read(PETSC_COMM_SELF, path, G, gene, 2, 100, &sets));
  unlink(path);
  assert_int_equal(sets.sets, 3);
  assert_int_equal(sets.skipped, 1);
  assert_int_equal(sets.first[1], 6);
  assert_string_equal(sets.name[1], "second");
  check_call(geneset_tests(&sets, &contrast, test));
  for (int s = 0; s < 3; s++) {
    assert_int_equal(test[s].overlap, overlap[s]);
    check_close(test[s].log_p, log_p[s], 1e-11, 1);
    check_close(test[s].enrichment, enrichment[s], 1e-13, 1);
    check_close(test[s].effect, effect[s], 1e-13, 1);
    flipped[s] = test[s];
    flipped[s].effect = -test[s].effect;
  }
  check_call(geneset_agreement(3, test, test, &agreement));
  check_close(agreement.spearman, 1, 1e-15, 1);
  check_close(agreement.jaccard_overlap, 1, 0, 1);
  check_call(geneset_agreement(3, test, flipped, &agreement));
  check_close(agreement.spearman, -1, 1e-15, 1);
  assert_true(isnan(agreement.jaccard_rank) || agreement.jaccard_rank == 0);
  check_call(genesets_destroy(&sets));
}

static void questions(void **state)
{
  enum { EACH = 4 };
  QuestionTable  table;
  QuestionScores s;
  double         answer[2 * EACH], call[2 * EACH];

  check_call(questions_create(2 * EACH, &table));
  check_call(questions_make(&contrast, 0, EACH, 1, 2, 0, &table));
  for (int q = 0; q < 2 * EACH; q++) {
    assert_int_equal(table.expressed[q], q < EACH);
    assert_int_equal(table.expressed[q], fdr[table.gene[q]] < 0.05);
    assert_int_equal(table.direction[q], q < EACH ? (score[table.gene[q]] > 0 ? 1 : -1) : 0);
    answer[q] = contrast.score[table.gene[q]];
    call[q] = contrast_significant(&contrast, table.gene[q]);
  }
  check_call(question_scores(&table, -1, answer, call, &s));
  assert_int_equal(s.asked, 2 * EACH);
  check_close(s.auroc, 1, 0, 1);
  check_close(s.accuracy, 1, 0, 1);
  check_close(s.direction_accuracy, 1, 0, 1);
  /* By hand: evidence 4 3 2 1 for yes, no, yes, no: three of four pairs in order, average precision (1 + 2/3) / 2; one of two directions right. */
  table.count = 4;
  for (int q = 0; q < 4; q++) {
    table.gene[q] = q;
    table.group[q] = 0;
    table.expressed[q] = q % 2 == 0;
    table.direction[q] = q == 0 ? 1 : q == 2 ? 1 : 0;
    answer[q] = q == 2 ? -2 : 4 - q;
    call[q] = q < 2;
  }
  check_call(question_scores(&table, 0, answer, call, &s));
  check_close(s.auroc, 0.75, 1e-15, 1);
  check_close(s.auprc, (1 + 2. / 3) / 2, 1e-15, 1);
  check_close(s.accuracy, 0.5, 0, 1);
  check_close(s.direction_accuracy, 0.5, 0, 1);
  check_call(question_scores(&table, 1, answer, call, &s));
  assert_int_equal(s.asked, 0);
  assert_true(isnan(s.accuracy) && isnan(s.auroc));
  table.count = 2 * EACH;
  check_call(questions_destroy(&table));
}

static void comparison_of_models(void **state)
{
  const PetscInt       model[] = {0, 0, 1, 2};
  PetscInt             unit[UNITS];
  const unsigned char  baseline[] = {0, 1, 1}, tested[] = {1, 0, 0};
  ComparedModel        m[3];
  const ComparedScores s = {.rows = 4, .models = 3, .groups = UNITS, .units = UNITS, .model = model, .unit = unit, .value = model_scores, .direction = 1,
                            .baseline = baseline, .tested = tested};

  for (int u = 0; u < UNITS; u++) unit[u] = u;
  check_call(compare_models(&s, 20000, 1, m));
  assert_int_equal(m[0].repeats, 2);
  check_close(m[0].mean, comparison[0], 1e-14, 1);
  check_close(m[0].over_repeats, comparison[1], 1e-14, 1);
  check_close(m[0].difference, comparison[2], 1e-14, 1);
  check_close(m[0].p_value, comparison[3], 1e-13, 1);
  check_close(m[0].adjusted, comparison[3], 1e-13, 1);
  assert_true(m[m[0].best].mean >= m[1].mean && m[m[0].best].mean >= m[2].mean && isnan(m[1].p_value));
  /* The mean of units drawn anew is nearly normal with the plug-in standard error. */
  check_close(m[0].difference_interval[1] - m[0].difference_interval[0], 2 * 1.96 * comparison[4], 0.05, 2 * 1.96 * comparison[4]);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(genes_against_control, make_contrast, drop_contrast),
                                          cmocka_unit_test_setup_teardown(gene_sets, make_contrast, drop_contrast),
                                          cmocka_unit_test_setup_teardown(questions, make_contrast, drop_contrast), cmocka_unit_test(comparison_of_models)};

TEST_MAIN(tests)
