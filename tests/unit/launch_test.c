/* What is set for Open MPI before it starts, by how the program was launched. */
#include "check.h"
#include <perturbdiff/runtime/launch.h>
#include <stdlib.h>
#include <string.h>

static const char *const pml = "OMPI_MCA_pml", *const isolated = "OMPI_MCA_ess_singleton_isolated";

/* NULL: not set. */
static void environment(const char *all, const char *here, const char *rank, const char *chosen)
{
  static const char *const name[] = {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_PROCID", "OMPI_MCA_pml", "OMPI_MCA_ess_singleton_isolated", "PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "PMI_FD", "OMPI_MCA_ess"};
  const char *const        value[] = {all, here, rank, chosen, NULL, NULL, NULL, NULL, NULL, NULL};

  for (size_t i = 0; i < sizeof name / sizeof *name; i++)
    assert_int_equal(value[i] ? setenv(name[i], value[i], 1) : unsetenv(name[i]), 0);
  launch_shortcuts();
}

static void shortcuts(void **state)
{
  environment(NULL, NULL, NULL, NULL);
  assert_string_equal(getenv(pml), "ob1");
  assert_string_equal(getenv(isolated), "1");
  environment("4", "4", NULL, NULL);
  assert_string_equal(getenv(pml), "ob1");
  assert_null(getenv(isolated));
  environment("16", "4", NULL, NULL);
  assert_null(getenv(pml));
  environment(NULL, NULL, "0", NULL);
  assert_null(getenv(pml));
  assert_null(getenv(isolated));
  environment(NULL, NULL, NULL, "ucx");
  assert_string_equal(getenv(pml), "ucx");
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(shortcuts)};
TEST_MAIN(tests)
