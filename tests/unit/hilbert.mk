# Tests of room hilbert.
parallel_tests += tests/unit/regression_mpi
tests_unit_regression_mpi_SOURCES = tests/unit/regression_mpi.c
