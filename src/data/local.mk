# Files of the room data.
nobase_include_HEADERS += include/perturbdiff/data.h include/perturbdiff/data/anndata.h include/perturbdiff/data/cellset.h include/perturbdiff/data/center.h \
  include/perturbdiff/data/cellstore.h include/perturbdiff/data/prepare.h include/perturbdiff/data/simulate.h include/perturbdiff/data/split.h
library_sources += src/data/center.c
