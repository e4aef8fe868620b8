# Tests of evaluation.
unit_tests += tests/unit/scores_test
tests_unit_scores_test_SOURCES = tests/unit/scores_test.c
unit_tests += tests/unit/baseline_test
tests_unit_baseline_test_SOURCES = tests/unit/baseline_test.c
parallel_tests += tests/unit/evaluate_mpi
tests_unit_evaluate_mpi_SOURCES = tests/unit/evaluate_mpi.c
EXTRA_DIST += tests/data/evaluate/predicted.h5ad tests/data/evaluate/real.h5ad tests/data/evaluate/results.csv
unit_tests += tests/unit/statistics_test
tests_unit_statistics_test_SOURCES = tests/unit/statistics_test.c tests/data/statistics/reference.h
EXTRA_DIST += tests/data/statistics/make_reference.py
unit_tests += tests/unit/distribution_test
tests_unit_distribution_test_SOURCES = tests/unit/distribution_test.c tests/data/distribution/reference.h
EXTRA_DIST += tests/data/distribution/make_reference.py
check_PROGRAMS += tests/evaluate_parity
tests_evaluate_parity_SOURCES = tests/evaluate_parity.c
cli_tests += tests/evaluate_check.sh
EXTRA_DIST += tests/data/evaluate/make_cases.py
