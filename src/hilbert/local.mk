# Files of the room hilbert.
public_headers += include/perturbdiff/hilbert.h include/perturbdiff/hilbert/blockmatrix.h include/perturbdiff/hilbert/features.h \
  include/perturbdiff/hilbert/gram.h include/perturbdiff/hilbert/kernel.h include/perturbdiff/hilbert/pairs.h
library_sources += src/hilbert/scalapack.h src/hilbert/blockalgebra.c src/hilbert/blockmatrix.c
public_headers += include/perturbdiff/hilbert/regression.h
library_sources += src/hilbert/regression.c
