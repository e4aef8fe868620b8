# Tests of training.
unit_tests += tests/unit/adamw_test tests/unit/adamw_double_test
tests_unit_adamw_test_SOURCES = tests/unit/adamw_test.c
tests_unit_adamw_double_test_SOURCES = tests/unit/adamw_test.c
tests_unit_adamw_double_test_LDADD = $(AM_TEST_LIBS_DOUBLE)
tests_unit_adamw_double_test_CPPFLAGS = $(AM_CPPFLAGS) -DPERTURBDIFF_DOUBLE
parallel_tests += tests/unit/checkpoint_mpi
tests_unit_checkpoint_mpi_SOURCES = tests/unit/checkpoint_mpi.c
parallel_tests += tests/unit/train_mpi
tests_unit_train_mpi_SOURCES = tests/unit/train_mpi.c
check_PROGRAMS += validation/performance/step_bench
validation_performance_step_bench_SOURCES = validation/performance/step_bench.c
parallel_tests += tests/unit/allocation_mpi
tests_unit_allocation_mpi_SOURCES = tests/unit/allocation_mpi.c
check_PROGRAMS += validation/performance/checkpoint_bench
validation_performance_checkpoint_bench_SOURCES = validation/performance/checkpoint_bench.c
