/* Conditions of a split and of a table; every mistake in a table is one line that says where. */
#include "check.h"
#include <perturbdiff/sampling.h>
#include <string.h>

static char *perturbations[] = {"ctrl", "interferon", "drug, strong"}, *cell_types[] = {"B", "T"}, *batches[] = {"d1", "d2"};
/* Controls of B in both batches, of T in d1 only. */
static Population           populations[] = {{0, 0, 0, 0, 0, 50, 0, SPLIT_TRAIN},   {0, 0, 1, 0, 50, 40, 1, SPLIT_TRAIN}, {0, 1, 0, 0, 90, 30, 2, SPLIT_TRAIN},
                                             {1, 0, 0, 0, 120, 20, 0, SPLIT_TRAIN}, {1, 1, 0, 0, 140, 10, 2, SPLIT_TEST}, {2, 0, 1, 0, 150, 5, 1, SPLIT_TEST}};
static const CellStoreTable table = {.perturbation = {3, perturbations},
                                     .cell_type = {2, cell_types},
                                     .batch = {2, batches},
                                     .perturbation_column = "condition",
                                     .cell_type_column = "cell",
                                     .batch_column = "donor",
                                     .populations = 6,
                                     .population = populations,
                                     .cells = 155};

static void conditions_of_splits(void **state)
{
  ConditionList list;

  check_call(conditions_of_split(&table, SPLIT_TEST, 0, &list));
  assert_int_equal(list.count, 2);
  assert_int_equal(list.item[0].perturbation, 1);
  assert_int_equal(list.item[0].cell_type, 1);
  assert_int_equal(list.item[0].cells, 10);
  assert_int_equal(list.item[0].control, 2);
  assert_int_equal(list.item[0].first_control, 90);
  assert_int_equal(list.item[0].controls, 30);
  assert_int_equal(list.item[1].cells, 5);
  assert_true(list.item[0].key != list.item[1].key);
  check_call(conditions_free(&list));
  check_call(conditions_of_split(&table, SPLIT_TRAIN, 7, &list));
  assert_int_equal(list.count, 1);
  assert_int_equal(list.item[0].cells, 7);
  check_call(conditions_free(&list));
  assert_int_equal(conditions_of_split(&table, SPLIT_VALIDATION, 0, &list), ERROR_USER);
}

static PetscErrorCode read_text(const char *text, ConditionList *list)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    FILE *file = fopen("conditions_test.csv", "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  const PetscErrorCode code = conditions_read(PETSC_COMM_WORLD, "conditions_test.csv", &table, 0, 99, list);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) remove("conditions_test.csv");
  return code;
}

static void conditions_of_a_table(void **state)
{
  ConditionList list, split;

  check_call(
      read_text("cells,batch,note,perturbation,cell_type\r\n\r\n12,d1,x,interferon,T\r\n,d2,\"a \"\"b\"\"\",\"drug, strong\",B\n,d2,,interferon,T", &list));
  assert_int_equal(list.count, 3);
  assert_int_equal(list.item[0].cells, 12);
  assert_int_equal(list.item[0].control, 2);
  assert_int_equal(list.item[1].perturbation, 2);
  assert_int_equal(list.item[1].cells, 5);
  assert_int_equal(list.item[2].cells, 99);
  assert_int_equal(list.item[2].control, 1); /* no T in d2: the batch's other cell type */
  check_call(conditions_of_split(&table, SPLIT_TEST, 0, &split));
  assert_true(split.item[0].key == list.item[0].key);
  check_call(conditions_free(&split));
  check_call(conditions_free(&list));
  check_call(read_text("condition,cell,donor\ninterferon,B,d1\n", &list));
  assert_int_equal(list.item[0].cells, 20);
  check_call(conditions_free(&list));
}

static void refused(const char *text, const char *a, const char *b)
{
  ConditionList list;

  assert_int_equal(read_text(text, &list), ERROR_USER);
  if (!strstr(error_message(), a) || !strstr(error_message(), b)) fail_msg("'%s' lacks '%s' or '%s'", error_message(), a, b);
}

static void mistakes(void **state)
{
  refused("", "empty", "conditions_test.csv");
  refused("perturbation,cell_type,batch\n", "no conditions", "conditions_test.csv");
  refused("perturbation,cell_type\ninterferon,B\n", "no column 'batch'", "conditions_test.csv");
  refused("perturbation,cell_type,batch\ninterferon,B,d1\ninterfron,B,d1\n", "conditions_test.csv:3:", "'interferon'");
  refused("perturbation,cell_type,batch\ninterferon,B,\n", "conditions_test.csv:2:", "no batch");
  refused("perturbation,cell_type,batch\ninterferon,B, d1\n", "conditions_test.csv:2:", "did you mean 'd1'?");
  refused("perturbation,cell_type,batch\ninterferon,Q,d1\n", "conditions_test.csv:2:", "cell_type 'Q'");
  refused("perturbation,cell_type,batch\nctrl,B,d1\n", "conditions_test.csv:2:", "control label");
  refused("perturbation,cell_type,batch\ninterferon,B\n", "conditions_test.csv:2:", "2 columns where the first line has 3");
  refused("perturbation,cell_type,batch,cells\ninterferon,B,d1,-3\n", "conditions_test.csv:2:", "'-3'");
  refused("perturbation,cell_type,batch\ninterferon,B,d1\ninterferon,B,d1\n", "conditions_test.csv:3:", "same");
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(conditions_of_splits), cmocka_unit_test(conditions_of_a_table), cmocka_unit_test(mistakes)};

TEST_MAIN(tests)
