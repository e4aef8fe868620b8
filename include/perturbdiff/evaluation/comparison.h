/* Any number of predictions in one table: spread over repeats, bootstrap intervals over perturbations, paired tests against the best baseline. */
#ifndef PERTURBDIFF_EVALUATION_COMPARISON_H
#define PERTURBDIFF_EVALUATION_COMPARISON_H

#include <petscsys.h>
#include <stdint.h>

/* Scores of rows (a repeat of a model each) in groups; a group belongs to a unit (its perturbation): units are what is drawn anew and tested, because populations of one
   perturbation are not independent. Nothing is owned. */
typedef struct {
  PetscInt        rows, models, groups, units;
  const PetscInt *model;     /* (rows) index of the row's model, ascending in order of first appearance */
  const PetscInt *unit;      /* (groups) */
  const double   *value;     /* (rows, groups); NaN: none */
  int             direction; /* more (1) or less (-1) is better */
  const unsigned char *baseline, *tested; /* (models) may be the best baseline; is compared with it */
  const int32_t  *drawn; /* (resamples, units) of comparison_draws; NULL: drawn where they are needed, again for every model */
} ComparedScores;

/* Of one model. mean: over groups, of the mean over repeats. interval: 2.5 and 97.5 % of the means over units drawn with replacement (percentile bootstrap, Efron 1979).
   best: the baseline with the best mean, -1 where there is none; difference from it over the groups both have, its interval, the Wilcoxon signed-rank p of the
   units' mean differences, and that p adjusted over the tested models (Holm 1979). NaN where not tested. */
typedef struct {
  PetscInt repeats, groups, best;
  double   mean, over_repeats, interval[2], difference, difference_interval[2], p_value, adjusted;
} ComparedModel;

/* comparison_draws - the units drawn in each resample, for any scores on so many units. Free with PetscFree. compare_models - result (models). resamples: of the bootstrap; the units drawn depend on seed, their number and the resample only, so all models are drawn alike. Not
   collective. */
PetscErrorCode comparison_draws(PetscInt units, PetscInt resamples, uint64_t seed, int32_t **drawn);
PetscErrorCode compare_models(const ComparedScores *scores, PetscInt resamples, uint64_t seed, ComparedModel *result);

#endif
