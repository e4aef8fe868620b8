# Files of the room hilbert.
public_headers += include/perturbdiff/hilbert.h include/perturbdiff/hilbert/blockmatrix.h include/perturbdiff/hilbert/features.h \
  include/perturbdiff/hilbert/gram.h include/perturbdiff/hilbert/kernel.h include/perturbdiff/hilbert/pairs.h
library_sources += src/hilbert/scalapack.h src/hilbert/lapack.h src/hilbert/blockalgebra.c src/hilbert/blockmatrix.c
public_headers += include/perturbdiff/hilbert/regression.h
library_sources += src/hilbert/regression.c
library_sources += src/hilbert/features.c src/hilbert/features_internal.h src/hilbert/gram.c src/hilbert/kernel.c src/hilbert/pairs.c src/hilbert/pairsums.c \
  src/hilbert/pairsums.h src/hilbert/principal.c
public_headers += include/perturbdiff/hilbert/nystrom.h include/perturbdiff/hilbert/spectrum.h include/perturbdiff/hilbert/cluster.h include/perturbdiff/hilbert/distances.h
library_sources += src/hilbert/cluster.c src/hilbert/distances.c src/hilbert/kernelblocks.c src/hilbert/landmarks.c src/hilbert/nystrom.c \
  src/hilbert/nystrom_error.c src/hilbert/nystrom_internal.h src/hilbert/spectrum.c
public_headers += include/perturbdiff/hilbert/permutation.h include/perturbdiff/hilbert/witness.h
library_sources += src/hilbert/cellblock.c src/hilbert/cellblock.h
library_sources += src/hilbert/permutation.c src/hilbert/witness.c
public_headers += include/perturbdiff/hilbert/sparseproducts.h
library_sources += src/hilbert/sparseproducts.c
