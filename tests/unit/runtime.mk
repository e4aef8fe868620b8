# Tests of the room runtime.
parallel_tests += tests/unit/error_mpi
tests_unit_error_mpi_SOURCES = tests/unit/error_mpi.c
