/* What features are made of; one of store, doubles, floats. */
#ifndef HILBERT_FEATURES_INTERNAL_H
#define HILBERT_FEATURES_INTERNAL_H

#include <perturbdiff/hilbert/features.h>

struct CellFeatures {
  PetscInt64       cells;
  PetscInt         dimension;
  const CellStore *store;
  const double    *doubles;
  const float     *floats;
  MPI_Win          window; /* the memory of doubles where it is shared by a node's ranks, else MPI_WIN_NULL */
};

#endif
