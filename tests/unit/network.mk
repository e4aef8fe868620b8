# Tests of network and diffusion.
check_PROGRAMS += tests/golden tests/golden_double
tests_golden_SOURCES = tests/golden.c tests/golden_optimizer.c tests/golden_sampling.c tests/golden.h
tests_golden_double_SOURCES = $(tests_golden_SOURCES)
tests_golden_double_CPPFLAGS = $(AM_CPPFLAGS) -DPERTURBDIFF_DOUBLE
tests_golden_double_LDADD = $(AM_TEST_LIBS_DOUBLE)
cli_tests += tests/golden_check.sh
EXTRA_DIST += tests/data/denoiser_small.h5 tests/data/make_golden.py
unit_tests += tests/unit/layers_double_test
tests_unit_layers_double_test_SOURCES = tests/unit/layers_double_test.c
tests_unit_layers_double_test_CPPFLAGS = $(AM_CPPFLAGS) -DPERTURBDIFF_DOUBLE
tests_unit_layers_double_test_LDADD = $(AM_TEST_LIBS_DOUBLE)
