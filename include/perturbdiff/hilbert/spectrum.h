/* Covariance operators of embeddings and their spectra; kernel principal components of populations (HILBERT, "What embed computes", 3).

   Between populations: C_b = 1/N sum_i (mu_i - mu) (x) (mu_i - mu), mu = 1/N sum_i mu_i: how embeddings differ from population to population, each counted once. Its eigenvalues
   other than 0 are those of H K H / N, K the Gram matrix of the embeddings, H = I - 1 1'/N (Schoelkopf, Smola & Mueller 1998).
   Within: C_w = 1/N sum_i Cov_i, Cov_i the covariance operator of k(x,.) over the cells of population i, divisor n_i: how cells differ inside populations. Its trace
   is 1/N sum_i (mean k(x,x) - K_ii) whatever the landmarks; its eigenvalues come from nystrom_covariance. */
#ifndef PERTURBDIFF_HILBERT_SPECTRUM_H
#define PERTURBDIFF_HILBERT_SPECTRUM_H

#include <perturbdiff/hilbert/nystrom.h>

/* effective_dimension - d_eff(lambda) = trace C (C + lambda)^-1 = sum_k s_k / (s_k + lambda) (Caponnetto & De Vito 2007). participation_ratio - (sum_k s_k)^2 / sum_k s_k^2: the number of equal
   eigenvalues that would give the same. Not collective; eigenvalues at least 0, not all 0 for the latter (then 0). */
double effective_dimension(PetscInt count, const double *eigenvalue, double lambda);
double participation_ratio(PetscInt count, const double *eigenvalue);

/* Components of N embeddings: e_a = sum_i weight_ia (mu_i - mu), orthonormal; coordinate_ia = <mu_i - mu, e_a>. */
typedef struct {
  PetscInt populations, components;
  double  *eigenvalue; /* (N) of C_b, descending, those that are rounding of the first 0 */
  double  *coordinate; /* (N, components) row-major, on every rank; each column's entry of largest modulus is positive */
  double  *weight;     /* (N, components); a column of zeros where the eigenvalue is below 1e-12 of the first */
} PopulationComponents;

/* population_components - from the Gram matrix of the embeddings, left as it is. centered: PETSC_FALSE takes mu = 0, the second moment operator. components: at most N. Collective.
   population_components_free: safe on a zeroed one. */
PetscErrorCode population_components(const BlockMatrix *gram, PetscBool centered, PetscInt components, PopulationComponents *result);
PetscErrorCode population_components_free(PopulationComponents *result);
/* Bytes a rank needs beside the Gram matrix. */
double population_components_bytes(const BlockGrid *grid, PetscInt64 populations, PetscInt components);

/* component_functions - coefficient (m, components) and constant (components) on every rank that make nystrom_values evaluate <phi(x) - mu, e_a>: the eigenfunctions of C_b at cells, their
   mean over populations 0. components: found from the Gram matrix of these embeddings, centered. Collective. */
PetscErrorCode component_functions(const Nystrom *nystrom, const BlockMatrix *embeddings, const PopulationComponents *components, double *coefficient, double *constant);

/* operator_spectrum - eigenvalues (m) descending of a covariance operator in coordinates phi, those below 0 by rounding 0; the matrix is overwritten. Collective. */
PetscErrorCode operator_spectrum(BlockMatrix *covariance, double *eigenvalue);

#endif
