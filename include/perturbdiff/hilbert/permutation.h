/* Permutation tests of two populations, treated and control: E-test (energy distance) and MMD test (Gretton et al. 2012, JMLR 13, section 4.2; HILBERT, "What embed
   computes", 5). Every pair of cells is formed once; the statistics of all labellings are quadratic forms of its matrix, summed by matrix products. */
#ifndef PERTURBDIFF_HILBERT_PERMUTATION_H
#define PERTURBDIFF_HILBERT_PERMUTATION_H

#include <perturbdiff/hilbert/gram.h>
#include <perturbdiff/runtime/random.h>

/* Labels of pooled cells. The cells of a block (a batch) follow one another, the treated ones first; labels are permuted inside blocks only. Random numbers depend on seed, purpose,
   step, key and the place of the block. */
typedef struct {
  PetscInt          permutations;
  PetscInt          blocks;
  const PetscInt64 *treated, *cells; /* (blocks) treated cells of a block, and all of them. Not owned */
  uint64_t          seed;
  RandomPurpose     purpose;
  uint32_t          step, key;
} Labels;

/* labels_weights - weight[i * stride] of each pooled cell under a labelling: 1/n for the n cells labelled treated, -1/m for the m others; labelling 0 is the observed one. Not collective. */
PetscErrorCode labels_weights(const Labels *labels, PetscInt labelling, PetscInt64 stride, double *weight);

/* permutation_p - (1 + permutations with a statistic at least as large) / (1 + permutations) (Phipson and Smyth 2010) from the statistics of labellings 0, 1, ..., permutations; those
   that differ by 1e-12 of scale are equal, as rounding makes them differ. NaN without permutations. */
double permutation_p(PetscInt permutations, const double *statistic, double scale);

/* permutation_quadratic - statistic and p of sign * w'Mw over all labellings w, for a symmetric matrix (cells, cells) in memory: MMD^2 (V) for M of a kernel and sign 1, energy distance
   for M of distances and sign -1. Not collective. */
PetscErrorCode permutation_quadratic(const Labels *labels, const double *matrix, double sign, double *statistic, double *p_value);

typedef struct {
  double energy, energy_p; /* 2 E|x-y| - E|x-x'| - E|y-y'|, all pairs */
  double mmd, mmd_p;       /* squared MMD: V- or U-statistic */
} PermutationTest;

/* permutation_test - of the cells of the groups laid end to end, in the order of labels, streamed: no matrix of cells by cells is held. memory: bytes for weights of labellings; where
   they do not fit the pairs are formed several times. Collective on comm; the same on any number of ranks (statistics to rounding). Program error: STATISTIC_U with one cell on a side. */
PetscErrorCode permutation_test(MPI_Comm comm, const Labels *labels, const Kernel *kernel, Statistic statistic, PetscInt groups, const CellGroup *group, double memory,
                                PermutationTest *test);
/* Bytes a rank needs for it. */
double permutation_bytes(PetscInt64 cells, PetscInt dimension, PetscInt permutations, double memory);

/* false_discovery_rates - Benjamini and Hochberg (1995) over what is not dropped (NULL: nothing is). fdr may be p_value. Not collective. */
PetscErrorCode false_discovery_rates(PetscInt tests, const double *p_value, const unsigned char *dropped, double *fdr);

#endif
