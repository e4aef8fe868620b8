/* Average linkage against scipy (tests/data/hilbert/make_spectrum.py). */
#include "check.h"
#include <perturbdiff/hilbert/cluster.h>
#include <perturbdiff/runtime/file.h>
#include <stdlib.h>

enum { N = 40 };

static void against_scipy(void **state)
{
  double   distance[N * N], height[N - 1], expected_height[N - 1];
  int64_t  expected[N];
  PetscInt order[N];
  char     path[PETSC_MAX_PATH_LEN];
  hid_t    h5;

  snprintf(path, sizeof path, "%s/tests/data/hilbert/spectrum.h5", getenv("srcdir") ? getenv("srcdir") : ".");
  check_call(file_open(PETSC_COMM_WORLD, path, "expected numbers", &h5));
  check_call(h5_read_slab(h5, "cluster/distance", H5T_NATIVE_DOUBLE, 0, N, distance));
  check_call(h5_read_slab(h5, "cluster/height", H5T_NATIVE_DOUBLE, 0, N - 1, expected_height));
  check_call(h5_read_slab(h5, "cluster/order", H5T_NATIVE_INT64, 0, N, expected));
  check_call(cluster_average(N, distance, order, height));
  for (int i = 0; i < N - 1; i++) check_close(height[i], expected_height[i], 1e-12, 1);
  for (int i = 0; i < N; i++) assert_int_equal(order[i], expected[i]);
  H5Fclose(h5);
}

static void few_items(void **state)
{
  double   one = 0, two[4] = {0, 3, 3, 0}, height;
  PetscInt order[2];

  check_call(cluster_average(1, &one, order, NULL));
  assert_int_equal(order[0], 0);
  check_call(cluster_average(2, two, order, &height));
  assert_int_equal(order[0] + 2 * order[1], 2);
  check_close(height, 3, 0, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(against_scipy), cmocka_unit_test(few_items)};
TEST_MAIN(tests)
