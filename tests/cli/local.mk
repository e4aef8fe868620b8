# Command line tests.
cli_tests += tests/cli/bad_input.sh tests/cli/comparison.sh tests/cli/help.sh tests/cli/pipeline.sh tests/cli/report.sh
cli_tests += tests/cli/bad_input.sh tests/cli/embed.sh tests/cli/help.sh tests/cli/pipeline.sh tests/cli/report.sh
EXTRA_DIST += tests/cli/lib.sh tests/data/cli/make_fixtures.py
EXTRA_DIST += tests/data/cli/foreign.h5ad tests/data/cli/foreign_store.h5
EXTRA_DIST += tests/data/cli/good.h5ad tests/data/cli/infinite.h5ad tests/data/cli/lonely.h5ad tests/data/cli/negative.h5ad tests/data/cli/no_cells.h5ad \
  tests/data/cli/no_control.h5ad tests/data/cli/only_control.h5ad tests/data/cli/other_genes.h5ad tests/data/cli/unlabelled.h5ad \
  tests/data/cli/without_p2.h5ad tests/data/cli/zeros.h5ad tests/data/cli/empty_group.h5ad tests/data/cli/mixed_scales.h5ad \
  tests/data/cli/not_a_number.h5ad tests/data/cli/one_control.h5ad tests/data/cli/embedded.h5ad tests/data/cli/no_matrix.h5ad tests/data/cli/p2_of_t.h5ad
check_PROGRAMS += tests/h5same
tests_h5same_SOURCES = tests/h5same.c
tests_h5same_LDADD = $(HDF5_LIBS)
