/* How far the distribution of predicted cells is from that of the real ones, beyond means: distances between populations with permutation tests, marginals of
   genes, their correlation, a classifier that tries to tell them apart, and coverage by several draws. */
#ifndef PERTURBDIFF_EVALUATION_DISTRIBUTION_H
#define PERTURBDIFF_EVALUATION_DISTRIBUTION_H

#include <petscsys.h>
#include <stdint.h>

/* p: share of permutations of the cells' labels with a statistic at least as large, (1 + those) / (1 + permutations) (Phipson and Smyth 2010); NaN without
   permutations. */
typedef struct {
  double energy_distance, energy_p;   /* 2 E|x-y| - E|x-x'| - E|y-y'|, all pairs (Szekely and Rizzo 2004) */
  double mmd_squared, mmd_p;          /* V-statistic, mean of Gaussian kernels of 1/4, 1/2, 1, 2, 4 times the median distance between real cells (Gretton et al. 2012);
                                         NaN where that is 0 */
  double wasserstein, wasserstein_p;  /* mean over genes of the Wasserstein-1 distance of the marginals */
  double correlation_difference;      /* root mean square difference of the correlations of all pairs of genes that vary in the real cells, of the most variable
                                         CORRELATION_GENES of them; a gene that does not vary in the prediction is correlated with none */
  double zeros_real, zeros_predicted; /* share of values that are 0 */
  double zeros_difference;            /* mean over genes of the absolute difference of the gene's shares */
  double variance_ratio;              /* median over genes that vary in the real cells of predicted / real variance */
  double classifier_accuracy;         /* logistic regression, 5-fold cross-validated, equally many real and predicted cells: 1/2 is chance */
  double classifier_auroc;            /* of the pooled decisions of the held-out cells */
  double classifier_p;                /* accuracy against chance, normal approximation (Lopez-Paz and Oquab 2017) */
} DistributionScores;

enum { DISTRIBUTION_SCORES = sizeof(DistributionScores) / sizeof(double), CORRELATION_GENES = 500, CLASSIFIER_CELLS = 400, CLASSIFIER_FOLDS = 5 };

/* Names in the order of the struct; direction: more (1) or less (-1) is better, 0: no score but a p-value or a description. */
extern const char *const distribution_score_name[DISTRIBUTION_SCORES];
extern const int         distribution_score_direction[DISTRIBUTION_SCORES];

/* Marginals of one gene. */
typedef struct {
  double wasserstein, zeros_real, zeros_predicted, variance_real, variance_predicted; /* sample variances, NaN of one cell */
} GeneMarginals;

typedef struct {
  PetscInt   permutations;
  PetscInt64 cells; /* larger populations are represented by so many cells, drawn */
  uint64_t   seed;
} DistributionOptions;

/* distribution_key - 32 bits of a name: random numbers of a population are keyed by what it is called. */
uint32_t distribution_key(const char *name);

/* distribution_scores - real (n,genes), predicted (m,genes), row-major, values not negative (log1p). Memory: 2 (n+m)^2 + (n+m) genes doubles at most, n and m as
   limited by options->cells. Random numbers depend on seed, key, n and m alone: predictions of one size are tested by the same permutations. marginals (genes):
   where not NULL. Not collective. */
PetscErrorCode distribution_scores(const DistributionOptions *options, uint32_t key, PetscInt64 n, const double *real, PetscInt64 m, const double *predicted,
                                   PetscInt genes, DistributionScores *scores, GeneMarginals *marginals);

/* calibration_curve - share of real values at or below the predicted quantile of level (l + 1) / (levels + 1), as the mean over cells and genes of the probability
   integral transform for discrete values (Czado, Gneiting and Held 2009): equal distributions give the level itself. real (n, genes), predicted (m, genes), values
   not negative; genes above 0 in at least a tenth of the real cells, counted of them; without any all NaN. Not collective. */
PetscErrorCode calibration_curve(PetscInt n, const double *real, PetscInt m, const double *predicted, PetscInt genes, PetscInt levels, double *share, PetscInt *counted);

/* logistic_decisions - decision[i] = w.x_i + b of the logistic regression fitted on all folds but that of cell i: least |w|^2/2 + sum of log losses (scikit-learn's
   C = 1), b free, by Newton steps on the dual. gram (cells, cells): inner products x_i.x_j about any common origin. Not collective. */
PetscErrorCode logistic_decisions(PetscInt cells, const double *gram, const unsigned char *label, PetscInt folds, const PetscInt *fold, double *decision);

/* Several draws of one predicted population. */
typedef struct {
  double gene_coverage_50, gene_coverage_90; /* share of genes, among those whose predicted means vary, whose real mean lies within the middle 50 and 90 % of the draws' means */
  double energy_p; /* rank of the real population among the draws by energy distance to the mixture of all others: (1 + draws at least as far) / (1 + draws),
                      uniform where real and predicted populations are drawn alike; real is inside the 90 % region where it is above 0.1 */
} CoverageScores;

/* coverage_scores - real (n,genes), draws of cells[d] rows each; at least 2 draws. Not collective. */
PetscErrorCode coverage_scores(PetscInt64 n, const double *real, PetscInt draws, const PetscInt64 *cells, const double *const *draw, PetscInt genes,
                               CoverageScores *scores);

#endif
