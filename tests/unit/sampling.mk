# Tests of sampling.
unit_tests += tests/unit/reverse_test
parallel_tests += tests/unit/conditions_mpi tests/unit/sample_mpi
tests_unit_reverse_test_SOURCES = tests/unit/reverse_test.c
tests_unit_conditions_mpi_SOURCES = tests/unit/conditions_mpi.c
tests_unit_sample_mpi_SOURCES = tests/unit/sample_mpi.c
