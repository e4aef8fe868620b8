# Files of the room data.
nobase_include_HEADERS += include/perturbdiff/data.h include/perturbdiff/data/anndata.h include/perturbdiff/data/cellset.h include/perturbdiff/data/center.h \
  include/perturbdiff/data/cellstore.h include/perturbdiff/data/prepare.h include/perturbdiff/data/simulate.h include/perturbdiff/data/split.h
library_sources += src/data/center.c
library_sources += src/data/anndata_private.h src/data/anndata_hdf5.c src/data/anndata_array.c src/data/anndata_open.c src/data/anndata_rows.c \
  src/data/anndata_column.c src/data/lzf_filter.c src/data/sparserows.c
EXTRA_DIST += inputs/data/README.md inputs/data/kang_ifnb_pbmc.h5ad
