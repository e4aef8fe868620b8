/* What a kernel sees of a cell: log-normalised genes, or principal components of them. */
#ifndef PERTURBDIFF_HILBERT_FEATURES_H
#define PERTURBDIFF_HILBERT_FEATURES_H

#include <perturbdiff/data/cellstore.h>

/* Cells as rows of `dimension` doubles, made dense a few at a time. */
typedef struct CellFeatures CellFeatures;

/* Some cells in a row of one source: a population. */
typedef struct {
  const CellFeatures *features; /* not owned */
  PetscInt64          first, cells;
} CellGroup;

/* features_from_store - log1p values of all genes; the store stays the caller's and open. features_from_doubles, features_from_floats: rows (cells, dimension),
   contiguous, not copied. Not collective. features_destroy: collective for principal components; safe on NULL. */
PetscErrorCode features_from_store(const CellStore *store, CellFeatures **features);
PetscErrorCode features_from_doubles(PetscInt64 cells, PetscInt dimension, const double *rows, CellFeatures **features);
PetscErrorCode features_from_floats(PetscInt64 cells, PetscInt dimension, const float *rows, CellFeatures **features);
PetscErrorCode features_destroy(CellFeatures **features);
PetscInt       features_dimension(const CellFeatures *features);

/* features_rows - cells [first, first + count) into rows (count, dimension; row stride ld), and their squared norms where square is not NULL. Uses the OpenMP threads.
   Not collective. User error: a damaged store (the caller's phase agrees). */
PetscErrorCode features_rows(const CellFeatures *features, PetscInt64 first, PetscInt64 count, double *rows, PetscInt64 ld, double *square);

/* The same by position in the groups laid end to end: cells [first, first + count) of group[0], group[1], ... groups_cells: their number. */
PetscErrorCode groups_rows(PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, double *rows, PetscInt64 ld, double *square);
PetscInt64     groups_cells(PetscInt groups, const CellGroup *group);

/* Principal components of the cells of some groups: x -> (x - mean) loadings. */
typedef struct {
  PetscInt dimension, components;
  double  *mean;     /* (dimension) */
  double  *loadings; /* (dimension, components) row-major, orthonormal columns, each with its entry of largest modulus positive */
  double  *variance; /* (components) descending, divisor cells - 1 */
  double   total;    /* variance of all components */
} PrincipalComponents;

/* principal_components - of all cells of the groups: eigenvectors of the covariance of genes, or of the Gram matrix of cells where that is smaller, by ScaLAPACK.
   On one rank by LAPACK. Collective on comm, the same on all ranks. User errors: components above what genes and cells allow, or above the dimension the cells span.
   principal_components_alone - by the calling process for itself; thread-safe as far as PETSc's memory is, where BLAS runs one thread. Not collective. */
PetscErrorCode principal_components(MPI_Comm comm, PetscInt groups, const CellGroup *group, PetscInt components, PrincipalComponents *result);
PetscErrorCode principal_components_alone(PetscInt groups, const CellGroup *group, PetscInt components, PrincipalComponents *result);
PetscErrorCode principal_components_free(PrincipalComponents *result);
/* Bytes a rank needs for it at most. */
double principal_components_bytes(MPI_Comm comm, PetscInt64 cells, PetscInt dimension, PetscInt components);
/* features_project - coordinates of all cells of `features` (cells, components), held once a node in memory its ranks share. Collective on comm. */
PetscErrorCode features_project(MPI_Comm comm, const CellFeatures *features, const PrincipalComponents *components, CellFeatures **projected);

#endif
