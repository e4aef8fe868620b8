/* Ranks, tests and adjusted p-values that the tables of an evaluation share. Nothing here is collective. */
#ifndef PERTURBDIFF_EVALUATION_STATISTICS_H
#define PERTURBDIFF_EVALUATION_STATISTICS_H

#include <petscsys.h>

/* average_ranks - rank[i] from 1, shared among ties; x holds no NaN. ties: the sum of t^3 - t over blocks of t equal values; may be NULL. */
PetscErrorCode average_ranks(PetscInt n, const double *x, double *rank, double *ties);

/* pearson_correlation - over n pairs without a NaN, within [-1, 1]; NaN where one side does not vary. */
double pearson_correlation(PetscInt64 n, const double *x, const double *y);

/* spearman_correlation - Pearson of the average ranks, over the pairs without a NaN; NaN where fewer than two are left or one side does not vary. */
PetscErrorCode spearman_correlation(PetscInt n, const double *x, const double *y, double *correlation);

/* hypergeometric_log_tail - log P(X >= overlap) where `drawn` of `total` are taken at random and `marked` of the total are marked. Relative error of the
   probability 1e-12 where long double has 64 bits of fraction, down to the range of exp. */
double hypergeometric_log_tail(PetscInt overlap, PetscInt total, PetscInt marked, PetscInt drawn);

/* rank_sum_correlated - Mann-Whitney test of the n1 indexed values against the other n - n1, from the average ranks of all n and their tie sum, where the
   indexed values are correlated (Barry, Nobel and Wright 2008; Wu and Smyth 2012, CAMERA with ranks, whose default is 0.01; 0: the plain test). effect:
   rank-biserial correlation 2 U / (n1 n2) - 1, positive where the indexed values are larger; log_p: log of the two-sided p, twice the smaller tail of the
   normal approximation with continuity correction, at most 0. */
void rank_sum_correlated(PetscInt n, const double *rank, double ties, PetscInt n1, const PetscInt *index, double correlation, double *effect, double *log_p);

/* log of the upper tail of the standard normal distribution, for any z. */
double normal_log_tail(double z);

/* signed_rank_test - Wilcoxon's test that differences are symmetric about 0: statistic = the smaller sum of signed ranks, two-sided p. NaN are left out, zeros dropped
   (Wilcoxon 1945). The distribution over all signs is exact, ties included, up to 100 differences; above, the normal approximation corrected for ties.
   p is 1 where no difference is left, NaN without differences. */
PetscErrorCode signed_rank_test(PetscInt n, const double *difference, double *statistic, double *p_value);

/* holm_adjust - adjusted[i] of Holm (1979); NaN are left out and stay NaN. adjusted may be p_value. */
PetscErrorCode holm_adjust(PetscInt n, const double *p_value, double *adjusted);

/* ranking_areas - areas under the ROC curve (trapezoids, ties count half) and under precision-recall (average precision, step-wise) of scores for labels 0 and 1;
   NaN where one class is empty. Either result may be NULL. */
PetscErrorCode ranking_areas(PetscInt n, const double *score, const unsigned char *label, double *roc, double *precision_recall);

/* mean_and_deviation - mean and sample standard deviation of what is a number: 0 with one, NaN with none. */
void mean_and_deviation(PetscInt n, const double *x, double *mean, double *deviation);

/* quantile_of_sorted - the q-quantile of n ascending values, linear between them (numpy's default). */
double quantile_of_sorted(PetscInt n, const double *ascending, double q);

#endif
