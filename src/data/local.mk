# Files of the room data.
public_headers += include/perturbdiff/data.h include/perturbdiff/data/anndata.h include/perturbdiff/data/cellset.h include/perturbdiff/data/center.h \
  include/perturbdiff/data/cellstore.h include/perturbdiff/data/prepare.h include/perturbdiff/data/simulate.h include/perturbdiff/data/split.h
library_sources += src/data/center.c
library_sources += src/data/anndata_private.h src/data/anndata_hdf5.c src/data/anndata_array.c src/data/anndata_open.c src/data/anndata_rows.c \
  src/data/anndata_plain.c src/data/anndata_column.c src/data/anndata_write.c src/data/heap_guard.c src/data/lzf_filter.c src/data/sparserows.c
library_sources += src/data/cellstore.c src/data/cellstore_array.c src/data/cellstore_array.h src/data/cellstore_format.h src/data/stored_array.c src/data/stored_array.h \
  src/data/cellstore_table.c src/data/cellstore_write.c src/data/cellstore_write.h src/data/cellset.c src/data/chunk_cache.c \
  src/data/chunk_cache.h src/data/prefetch.c
library_sources += src/data/hvg.c src/data/hvg.h src/data/name_index.c src/data/name_index.h src/data/prepare.c src/data/prepare_columns.c \
  src/data/prepare_genes.c src/data/prepare_internal.h src/data/prepare_statistics.c src/data/prepare_write.c
library_sources += src/data/split.c src/data/split_file.c src/data/split_file.h src/data/toml.c
library_sources += src/data/count_draw.c src/data/count_draw.h src/data/simulate.c src/data/simulate_write.c
