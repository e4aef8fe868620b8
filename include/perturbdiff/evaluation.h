/* Room evaluation: metrics between real and predicted populations, baselines, tables (METRICS). */
#ifndef PERTURBDIFF_EVALUATION_H
#define PERTURBDIFF_EVALUATION_H

#include <perturbdiff/data.h>
#include <petscsys.h>

/* Numbers of one group (perturbation x cell type [x batch]); means over cells on log1p values. pearson_delta is NaN where a delta does not vary over genes,
   r2 where the real mean does not. */
typedef struct {
  double pearson_delta, mse, mae, r2, energy_distance;
} PopulationScores;

enum { POPULATION_SCORES = sizeof(PopulationScores) / sizeof(double) };

/* Names of the scores in the order of the struct, and for each whether more (1) or less (-1) is better. */
extern const char *const population_score_name[POPULATION_SCORES];
extern const int         population_score_direction[POPULATION_SCORES];

/* population_scores - real (n,G), predicted (m,G), control means (G) of the real and of the predicted file; row-major double. Energy distance
   2 E|x-y| - E|x-x'| - E|y-y'|, all pairs. Not collective. */
PetscErrorCode population_scores(PetscInt64 n, const double *real, PetscInt64 m, const double *predicted, PetscInt64 genes, const double *control_real, const double *control_predicted,
                                 PopulationScores *scores);

/* mean_distance - mean Euclidean distance of all pairs of rows of x (n,G) and y (m,G); y may be x. Blocks of Gram products in double, exact zeros on the diagonal when y is x. */
PetscErrorCode mean_distance(PetscInt64 n, const double *x, PetscInt64 m, const double *y, PetscInt64 genes, double *mean);

typedef enum { BASELINE_CONTROL, BASELINE_MEAN_SHIFT, BASELINE_ADDITIVE, BASELINE_NEAREST, BASELINES } BaselineMethod;

/* Names as users type them, in the order of BaselineMethod. */
extern const char *const baseline_name[BASELINES];

/* baseline_predict - cells (count, genes) in log1p units for a condition from training populations only: control cells drawn; plus the mean shift over other training
   populations (center_shift), clipped at 0; additive: the same with least-squares perturbation + cell type effects on mean changes; nearest: cells of the training population
   of the same perturbation whose control mean is nearest (control cells where the perturbation has none). means from cellstore_means. Draws keyed by seed and condition. Not
   collective. User error: no control cells to draw from. */
PetscErrorCode baseline_predict(CellStore *store, const double *means, BaselineMethod method, PetscInt perturbation, PetscInt cell_type, PetscInt batch, PetscInt64 count,
                                uint64_t seed, double *cells);

/* baseline_additive_shift - shift (G) = a_perturbation + b_cell_type, the least-squares fit of the mean changes of all training populations, one weight each; effects that no training
   population shows are zero. Not collective. */
PetscErrorCode baseline_additive_shift(const CellStoreTable *table, const double *means, PetscInt perturbation, PetscInt cell_type, double *shift);

#endif
