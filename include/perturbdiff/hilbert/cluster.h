/* Hierarchical clustering, for figures that order populations by likeness. */
#ifndef PERTURBDIFF_HILBERT_CLUSTER_H
#define PERTURBDIFF_HILBERT_CLUSTER_H

#include <petscsys.h>

/* cluster_average - average linkage (UPGMA; Sokal & Michener 1958) of n items: order (n) of the leaves as scipy's dendrogram draws them, height (n - 1; may be NULL) of the merges,
   ascending. distance (n,n) symmetric, finite, overwritten. O(n^2) to O(n^3) steps. Not collective. */
PetscErrorCode cluster_average(PetscInt n, double *distance, PetscInt *order, double *height);

#endif
