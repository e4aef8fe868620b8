/* Room evaluation: metrics between real and predicted populations, baselines, tables (METRICS). */
#ifndef PERTURBDIFF_EVALUATION_H
#define PERTURBDIFF_EVALUATION_H

#include <perturbdiff/data.h>
#include <petscsys.h>

/* Numbers of one group (perturbation x cell type [x batch]); means over cells on log1p values. */
typedef struct {
  double pearson_delta, mse, mae, r2, energy_distance;
} PopulationScores;

/* population_scores - real (n,G), predicted (m,G), control means (G) of the real and of the predicted file; row-major double. Energy distance
   2 E|x-y| - E|x-x'| - E|y-y'|, all pairs. Not collective. */
PetscErrorCode population_scores(PetscInt64 n, const double *real, PetscInt64 m, const double *predicted, PetscInt64 genes, const double *control_real, const double *control_predicted,
                                 PopulationScores *scores);

typedef enum { BASELINE_CONTROL, BASELINE_MEAN_SHIFT, BASELINE_ADDITIVE, BASELINE_NEAREST } BaselineMethod;

/* baseline_predict - cells (count, genes) in log1p units for a condition from training populations only: control cells drawn; plus the mean shift over other training
   populations, clipped at 0; additive: least-squares perturbation + cell type effects on mean changes; nearest: cells of the training population of the same perturbation
   whose control mean is nearest. means from cellstore_means. Draws keyed by seed and condition. Not collective. */
PetscErrorCode baseline_predict(CellStore *store, const double *means, BaselineMethod method, PetscInt perturbation, PetscInt cell_type, PetscInt batch, PetscInt64 count,
                                uint64_t seed, double *cells);

#endif
