# Tests of data.
unit_tests += tests/unit/center_test
tests_unit_center_test_SOURCES = tests/unit/center_test.c
parallel_tests += tests/unit/anndata_read_mpi
tests_unit_anndata_read_mpi_SOURCES = tests/unit/anndata_read_mpi.c
parallel_tests += tests/unit/anndata_write_mpi
tests_unit_anndata_write_mpi_SOURCES = tests/unit/anndata_write_mpi.c
check_PROGRAMS += validation/anndata/rewrite
validation_anndata_rewrite_SOURCES = validation/anndata/rewrite.c
EXTRA_DIST += validation/anndata/roundtrip
check_PROGRAMS += validation/performance/reading/cells
validation_performance_reading_cells_SOURCES = validation/performance/reading/cells.c
EXTRA_DIST += validation/performance/reading/run validation/performance/reading/peer.py
EXTRA_DIST += tests/data/anndata/make_fixtures.py tests/data/anndata/v010_csc.h5ad tests/data/anndata/v010_csr_gzip.h5ad \
  tests/data/anndata/v010_csr_raw.h5ad tests/data/anndata/v010_dense.h5ad tests/data/anndata/v012_csc.h5ad tests/data/anndata/v012_csr_raw.h5ad \
  tests/data/anndata/v012_dense.h5ad tests/data/anndata/v012_dense_lzf.h5ad tests/data/anndata/v012_dense_types.h5ad \
  tests/data/anndata/v012_disorder.h5ad tests/data/anndata/v012_obsm.h5ad tests/data/anndata/v012_sparse_types.h5ad \
  tests/data/anndata/v06_csr_gzip.h5ad tests/data/anndata/v06_csr_raw.h5ad tests/data/anndata/v06_dense.h5ad tests/data/anndata/v06_dense_lzf.h5ad \
  tests/data/anndata/v07_csc.h5ad tests/data/anndata/v07_csr_raw.h5ad tests/data/anndata/v07_dense.h5ad tests/data/anndata/v07_dense_lzf.h5ad \
  tests/data/anndata/v08_csc.h5ad tests/data/anndata/v08_csr_raw.h5ad tests/data/anndata/v08_dense.h5ad tests/data/anndata/v08_dense_lzf.h5ad
EXTRA_DIST += tests/unit/small_store.h
unit_tests += tests/unit/cellset_test tests/unit/split_test
tests_unit_cellset_test_SOURCES = tests/unit/cellset_test.c
tests_unit_split_test_SOURCES = tests/unit/split_test.c
parallel_tests += tests/unit/cellstore_mpi
tests_unit_cellstore_mpi_SOURCES = tests/unit/cellstore_mpi.c
EXTRA_DIST += tests/unit/kang_genes.h tests/data/prepare/make_fixtures.py tests/data/prepare/a.h5ad tests/data/prepare/b.h5ad tests/data/prepare/expected.h5 \
  tests/data/prepare/kang_genes.csv tests/data/prepare/bad_nan.h5ad tests/data/prepare/bad_negative.h5ad tests/data/prepare/bad_scaled.h5ad \
  tests/data/prepare/bad_twice.h5ad inputs/kang_prepare.yaml inputs/kang_split.yaml inputs/kang_split.toml
unit_tests += tests/unit/hvg_test
tests_unit_hvg_test_SOURCES = tests/unit/hvg_test.c tests/unit/kang_genes.h
parallel_tests += tests/unit/prepare_mpi
tests_unit_prepare_mpi_SOURCES = tests/unit/prepare_mpi.c tests/unit/kang_genes.h
parallel_tests += tests/unit/simulate_mpi
tests_unit_simulate_mpi_SOURCES = tests/unit/simulate_mpi.c
