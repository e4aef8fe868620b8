# Tests: `make check` runs each program by tests/run, which starts those named *_mpi on 1, 2, 3 and 4 ranks.
LOG_COMPILER = $(SHELL) $(srcdir)/tests/run
AM_TESTS_ENVIRONMENT = srcdir='$(srcdir)'; builddir='$(builddir)'; MPIEXEC='$(MPIEXEC)'; export srcdir builddir MPIEXEC;
AM_TEST_LIBS = libperturbdiff.la $(CMOCKA_LIBS) $(library_libs)
AM_TEST_LIBS_DOUBLE = libperturbdiff_double.la $(CMOCKA_LIBS) $(library_libs)
LDADD = $(AM_TEST_LIBS)
EXTRA_DIST += tests/run tests/installed tests/unit/check.h

# A C test is added by two lines in its room's fragment below; whatever is tracked under tests/data travels with a release.
include tests/unit/runtime.mk
include tests/unit/data.mk
include tests/unit/hilbert.mk
include tests/unit/network.mk
include tests/unit/training.mk
include tests/unit/sampling.mk
include tests/unit/evaluation.mk
include tests/cli/local.mk

check_PROGRAMS += $(unit_tests) $(parallel_tests)
TESTS += $(unit_tests) $(parallel_tests) $(cli_tests)
EXTRA_DIST += $(cli_tests)
