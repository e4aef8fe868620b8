# Tests of evaluation.
unit_tests += tests/unit/scores_test
tests_unit_scores_test_SOURCES = tests/unit/scores_test.c
unit_tests += tests/unit/baseline_test
tests_unit_baseline_test_SOURCES = tests/unit/baseline_test.c
parallel_tests += tests/unit/evaluate_mpi
tests_unit_evaluate_mpi_SOURCES = tests/unit/evaluate_mpi.c
unit_tests += tests/unit/statistics_test
tests_unit_statistics_test_SOURCES = tests/unit/statistics_test.c tests/data/statistics/reference.h
unit_tests += tests/unit/distribution_test
tests_unit_distribution_test_SOURCES = tests/unit/distribution_test.c tests/data/distribution/reference.h
check_PROGRAMS += tests/evaluate_parity
tests_evaluate_parity_SOURCES = tests/evaluate_parity.c
cli_tests += tests/evaluate_check.sh
unit_tests += tests/unit/analyses_test
tests_unit_analyses_test_SOURCES = tests/unit/analyses_test.c tests/data/analyses/reference.h
unit_tests += tests/unit/distances_test
tests_unit_distances_test_SOURCES = tests/unit/distances_test.c
