# Tests of data.
unit_tests += tests/unit/center_test
tests_unit_center_test_SOURCES = tests/unit/center_test.c
