# Tests of evaluation.
unit_tests += tests/unit/scores_test
tests_unit_scores_test_SOURCES = tests/unit/scores_test.c
