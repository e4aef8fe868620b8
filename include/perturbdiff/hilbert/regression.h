/* Conditional mean embedding: what a population will be like from its covariates alone, as a weighted sum of the populations that were measured
   (Song et al. 2009, "Hilbert space embeddings of conditional distributions"; HILBERT, "What embed computes", 4). The outputs may be any vectors whose Gram
   matrix is known: mean embeddings, or mean changes of the genes, for which this is kernel ridge regression. */
#ifndef PERTURBDIFF_HILBERT_REGRESSION_H
#define PERTURBDIFF_HILBERT_REGRESSION_H

#include <perturbdiff/hilbert/blockmatrix.h>

enum { COVARIATE_AXES = 3 }; /* perturbation, cell type, batch */

/* Product kernel on covariates: k(a,b) = product over axes of shared + (1 - shared) s(a,b), with s = 1 where the levels are equal and 0 elsewhere, or the
   similarity given. shared > 0 is what one level of an axis says about the others; k(a,a) = 1 if s(a,a) = 1. */
typedef struct {
  double        shared[COVARIATE_AXES];
  PetscInt      levels[COVARIATE_AXES];
  const double *similarity[COVARIATE_AXES]; /* (levels, levels) positive semidefinite, ones on the diagonal; NULL: one-hot. Not owned */
} CovariateKernel;

typedef struct {
  PetscInt level[COVARIATE_AXES];
} Covariates;

/* covariate_kernels - kernels worth trying for axes of so many levels: shared 0.1, 0.5 or 0.9 on every axis in all combinations, axes of one level left out; similarity of
   perturbations or NULL. Their number. regression_lambda: ridges worth trying. */
enum { COVARIATE_KERNELS = 27, REGRESSION_LAMBDAS = 4 };
extern const double regression_lambda[REGRESSION_LAMBDAS];
PetscInt            covariate_kernels(const PetscInt levels[COVARIATE_AXES], const double *similarity, CovariateKernel kernel[COVARIATE_KERNELS]);

/* covariate_kernel - k(a,b). Not collective. */
double covariate_kernel(const CovariateKernel *kernel, const Covariates *a, const Covariates *b);

/* covariate_similarity - Gaussian kernel of external features (levels, features) of the levels of an axis, bandwidth the median distance of two levels:
   similarity (levels, levels). Levels without features (known[level] = 0; NULL: all known) resemble themselves only. Not collective. */
PetscErrorCode covariate_similarity(PetscInt levels, PetscInt features, const double *feature, const unsigned char *known, double *similarity);

typedef struct {
  PetscInt          populations;
  const Covariates *covariates; /* (n), not owned */
  CovariateKernel   kernel;
  double            lambda;
  double            error;         /* mean over populations of leave_one_out */
  double           *leave_one_out; /* (n) |y_i - prediction of y_i from all others|^2 */
  BlockMatrix       inverse;       /* (n,n) R = (K + lambda I)^-1 */
} Regression;

/* regression_fit - the kernel and ridge of smallest leave-one-out error among all pairs of `kernels` and `lambdas`. outputs: Gram matrix (n,n) of the outputs. Leave-one-out in closed
   form: the residual of i is (R Y)_i / R_ii (Allen's PRESS; Hastie et al., Elements of Statistical Learning, 7.10), its square (R G R)_ii / R_ii^2. Collective on
   outputs->grid; the same on all ranks. User error: a single population. */
PetscErrorCode regression_fit(PetscInt populations, const Covariates *covariates, PetscInt kernels, const CovariateKernel *kernel, PetscInt lambdas, const double *lambda,
                              const BlockMatrix *outputs, Regression *regression);
PetscErrorCode regression_destroy(Regression *regression);
/* Bytes a rank needs beside the outputs' Gram matrix. */
double regression_bytes(const BlockGrid *grid, PetscInt64 populations);

/* regression_weights - weights (conditions, n) row-major on every rank: the prediction for a condition is sum_i weights_i y_i, weights = R k(condition). left_out (conditions; NULL: none):
   a training population to predict without, -1: none; then weights_i = -R_ji / R_jj, and 0 for j itself. Collective. */
PetscErrorCode regression_weights(const Regression *regression, PetscInt conditions, const Covariates *condition, const PetscInt *left_out, double *weights);

/* preimage_weights - the mixture nearest to sum_i weights_i mu_i in the Hilbert space: v >= 0, sum v = 1, minimising (v - w)' K (v - w); K = gram (n,n) row-major, positive semidefinite.
   usable (n; NULL: all): populations that may take part. By projected gradients with momentum (FISTA, Beck & Teboulle 2009; projection of Duchi et al. 2008). distance: the squared
   distance that remains, may be NULL. Not collective. User error: none usable. */
PetscErrorCode preimage_weights(PetscInt n, const double *gram, const double *weights, const unsigned char *usable, double *mixture, double *distance);

#endif
