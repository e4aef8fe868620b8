# Files of the room runtime.
public_headers += include/perturbdiff/runtime.h include/perturbdiff/runtime/blas.h include/perturbdiff/runtime/deadline.h include/perturbdiff/runtime/clones.h include/perturbdiff/runtime/dense.h \
  include/perturbdiff/runtime/exponential.h \
  include/perturbdiff/runtime/error.h include/perturbdiff/runtime/file.h include/perturbdiff/runtime/log.h \
  include/perturbdiff/runtime/options.h include/perturbdiff/runtime/random.h include/perturbdiff/runtime/real.h
library_sources += src/runtime/blas.c src/runtime/error.c
library_sources += src/runtime/deadline.c src/runtime/draft.c src/runtime/file.c src/runtime/file_private.h src/runtime/h5.c src/runtime/random.c
library_sources += src/runtime/options.c src/runtime/input.c src/runtime/input.h
library_sources += src/runtime/log.c
library_sources += src/runtime/dense.c src/runtime/dense_cblas.c src/runtime/dense_few.c src/runtime/dense_onednn.c src/runtime/dense_private.h
public_headers += include/perturbdiff/runtime/memory.h
library_sources += src/runtime/memory.c
public_headers += include/perturbdiff/runtime/grid.h include/perturbdiff/runtime/buckets.h include/perturbdiff/runtime/cellexchange.h
public_headers += include/perturbdiff/runtime/gridchoice.h
library_sources += src/runtime/gridchoice.c
library_sources += src/runtime/cellexchange.c
public_headers += include/perturbdiff/runtime/csv.h include/perturbdiff/runtime/deal.h include/perturbdiff/runtime/sort.h
library_sources += src/runtime/csv.c src/runtime/deal.c src/runtime/sort.c src/runtime/sort_lists.c
public_headers += include/perturbdiff/runtime/sum.h
library_sources += src/runtime/sum.c
library_sources += src/runtime/grid.c src/runtime/buckets.c src/runtime/stages.c src/runtime/stages.h src/runtime/nodearray.c src/runtime/nodearray.h src/runtime/try_mpi.h
public_headers += include/perturbdiff/runtime/threads.h
library_sources += src/runtime/threads.c
public_headers += include/perturbdiff/runtime/launch.h
library_sources += src/runtime/launch.c
