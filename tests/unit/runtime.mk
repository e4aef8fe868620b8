# Tests of the room runtime.
parallel_tests += tests/unit/error_mpi
tests_unit_error_mpi_SOURCES = tests/unit/error_mpi.c
unit_tests += tests/unit/random_test tests/unit/random_double_test
tests_unit_random_test_SOURCES = tests/unit/random_test.c
tests_unit_random_double_test_SOURCES = tests/unit/random_test.c
tests_unit_random_double_test_CPPFLAGS = $(AM_CPPFLAGS) -DPERTURBDIFF_DOUBLE
tests_unit_random_double_test_LDADD = $(AM_TEST_LIBS_DOUBLE)
parallel_tests += tests/unit/file_mpi
tests_unit_file_mpi_SOURCES = tests/unit/file_mpi.c
unit_tests += tests/unit/options_test
tests_unit_options_test_SOURCES = tests/unit/options_test.c
unit_tests += tests/unit/dense_test tests/unit/dense_double_test
tests_unit_dense_test_SOURCES = tests/unit/dense_test.c
tests_unit_dense_double_test_SOURCES = tests/unit/dense_test.c
tests_unit_dense_double_test_CPPFLAGS = $(AM_CPPFLAGS) -DPERTURBDIFF_DOUBLE
tests_unit_dense_double_test_LDADD = $(AM_TEST_LIBS_DOUBLE)
