/* A user error on one rank reaches all ranks with its message. */
#include "check.h"

static void one_rank_fails_all_know(void **state)
{
  int rank, size;

  check_call(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  check_call(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  for (int culprit = 0; culprit < size; culprit++) {
    char           expected[64];
    PetscErrorCode code = rank >= culprit ? error_user("rank %d cannot read\nits part", rank) : PETSC_SUCCESS;

    snprintf(expected, sizeof expected, "rank %d cannot read its part", culprit);
    assert_int_equal(error_agree(PETSC_COMM_WORLD, code), ERROR_USER);
    assert_string_equal(error_message(), expected);
    assert_true(error_is_agreed());
  }
  assert_int_equal(error_agree(PETSC_COMM_WORLD, PETSC_SUCCESS), PETSC_SUCCESS);
  assert_int_equal(error_agree(PETSC_COMM_WORLD, rank == size - 1 ? ERROR_STOPPED : PETSC_SUCCESS), ERROR_STOPPED);
}

static void nearest_names(void **state)
{
  const char *names[] = {"train_steps", "set_size", "hidden", "learning_rate"};

  assert_string_equal(nearest_name("train_step", names, 4), "train_steps");
  assert_string_equal(nearest_name("hiden", names, 4), "hidden");
  assert_string_equal(nearest_name("lear", names, 4), "learning_rate");
  assert_null(nearest_name("zzzzzz", names, 4));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(one_rank_fails_all_know), cmocka_unit_test(nearest_names)};

TEST_MAIN(tests)
