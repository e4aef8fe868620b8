# Tests of room hilbert.
parallel_tests += tests/unit/regression_mpi
tests_unit_regression_mpi_SOURCES = tests/unit/regression_mpi.c
# Tests of hilbert.
parallel_tests += tests/unit/blockmatrix_mpi tests/unit/gram_mpi
tests_unit_blockmatrix_mpi_SOURCES = tests/unit/blockmatrix_mpi.c
tests_unit_gram_mpi_SOURCES = tests/unit/gram_mpi.c
check_PROGRAMS += validation/performance/gram_product
validation_performance_gram_product_SOURCES = validation/performance/gram_product.c
parallel_tests += tests/unit/nystrom_mpi
tests_unit_nystrom_mpi_SOURCES = tests/unit/nystrom_mpi.c
unit_tests += tests/unit/cellblock_test
tests_unit_cellblock_test_SOURCES = tests/unit/cellblock_test.c
unit_tests += tests/unit/cluster_test
tests_unit_cluster_test_SOURCES = tests/unit/cluster_test.c
check_PROGRAMS += validation/performance/algebra
validation_performance_algebra_SOURCES = validation/performance/algebra.c
check_PROGRAMS += validation/hilbert/convergence
validation_hilbert_convergence_SOURCES = validation/hilbert/convergence.c
parallel_tests += tests/unit/permutation_mpi
tests_unit_permutation_mpi_SOURCES = tests/unit/permutation_mpi.c tests/data/hilbert/tests.h
EXTRA_DIST += tests/unit/normal_quantile.h
check_PROGRAMS += validation/hilbert/discrepancies
validation_hilbert_discrepancies_SOURCES = validation/hilbert/discrepancies.c
unit_tests += tests/unit/sparseproducts_test
tests_unit_sparseproducts_test_SOURCES = tests/unit/sparseproducts_test.c
