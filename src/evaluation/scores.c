/* Scores of one predicted population against the real one (METRICS, "On means"). */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/runtime/error.h>

const char *const population_score_name[POPULATION_SCORES] = {"pearson_delta", "mse", "mae", "r2", "energy_distance"};
const int         population_score_direction[POPULATION_SCORES] = {1, -1, -1, 1, -1};

static void column_means(PetscInt64 n, PetscInt64 genes, const double *x, double *mean)
{
  for (PetscInt64 g = 0; g < genes; g++) mean[g] = 0;
  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt64 g = 0; g < genes; g++) mean[g] += x[i * genes + g];
  for (PetscInt64 g = 0; g < genes; g++) mean[g] /= (double)n;
}

/* Differences of log values below this are rounding. */
static const double no_change = 1e-10;

/* Pearson correlation of a - b and c - d over genes; NaN where one of them does not vary. */
static double pearson_of_differences(PetscInt64 genes, const double *a, const double *b, const double *c, const double *d)
{
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;

  for (PetscInt64 g = 0; g < genes; g++) {
    mean_x += (a[g] - b[g]) / (double)genes;
    mean_y += (c[g] - d[g]) / (double)genes;
  }
  for (PetscInt64 g = 0; g < genes; g++) {
    const double x = a[g] - b[g] - mean_x, y = c[g] - d[g] - mean_y;
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  return PetscMin(xx, yy) > no_change * no_change * (double)genes ? xy / sqrt(xx * yy) : NAN;
}

static void mean_scores(PetscInt64 genes, const double *real, const double *predicted, PopulationScores *scores)
{
  double average = 0, residual = 0, absolute = 0, spread = 0;

  for (PetscInt64 g = 0; g < genes; g++) average += real[g] / (double)genes;
  for (PetscInt64 g = 0; g < genes; g++) {
    const double difference = predicted[g] - real[g];
    residual += difference * difference;
    absolute += fabs(difference);
    spread += (real[g] - average) * (real[g] - average);
  }
  scores->mse = residual / (double)genes;
  scores->mae = absolute / (double)genes;
  scores->r2 = spread > 0 ? 1 - residual / spread : NAN;
}

/* All but the energy distance. */
static void scores_of_means(PetscInt64 genes, const double *real, const double *control_real, const double *predicted, const double *control_predicted, PopulationScores *scores)
{
  scores->pearson_delta = pearson_of_differences(genes, real, control_real, predicted, control_predicted);
  mean_scores(genes, real, predicted, scores);
}

PetscErrorCode population_scores(PetscInt64 n, const double *real, PetscInt64 m, const double *predicted, PetscInt64 genes, const double *control_real,
                                 const double *control_predicted, PopulationScores *scores)
{
  double *mean_real, *mean_predicted;

  PetscFunctionBeginUser;
  PetscCheck(n > 0 && m > 0 && genes > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Scores of an empty population");
  PetscCall(PetscMalloc2(genes, &mean_real, genes, &mean_predicted));
  column_means(n, genes, real, mean_real);
  column_means(m, genes, predicted, mean_predicted);
  scores_of_means(genes, mean_real, control_real, mean_predicted, control_predicted, scores);
  PetscCall(energy_distance(n, real, m, predicted, (PetscInt)genes, &scores->energy_distance));
  PetscCall(PetscFree2(mean_real, mean_predicted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void population_scores_of_means(PetscInt genes, const double *real, const double *control_real, const double *predicted, const double *control_predicted, double energy_distance,
                                PopulationScores *scores, double *change_predicted)
{
  scores_of_means(genes, real, control_real, predicted, control_predicted, scores);
  scores->energy_distance = energy_distance;
  for (PetscInt g = 0; g < genes; g++) change_predicted[g] = predicted[g] - control_predicted[g];
}

static void row_means(const SparseRows *rows, PetscInt genes, double *mean)
{
  for (PetscInt g = 0; g < genes; g++) mean[g] = 0;
  for (int64_t e = 0; e < rows->offset[rows->rows]; e++) mean[rows->column[e]] += sparserows_get(rows, e);
  for (PetscInt g = 0; g < genes; g++) mean[g] /= (double)rows->rows;
}

PetscErrorCode realpopulation_create(const SparseRows *rows, PetscInt genes, RealPopulation *real)
{
  PetscFunctionBeginUser;
  PetscCheck(rows->rows > 0 && genes > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Scores of an empty population");
  PetscCall(PetscMalloc1(genes, &real->mean));
  row_means(rows, genes, real->mean);
  PetscCall(distancecells_create(rows, genes, &real->cells));
  PetscCall(distance_mean(&real->cells, &real->cells, &real->within));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode realpopulation_destroy(RealPopulation *real)
{
  PetscFunctionBeginUser;
  PetscCall(distancecells_destroy(&real->cells));
  PetscCall(PetscFree(real->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode population_scores_of_rows(RealPopulation *real, const SparseRows *predicted, const double *control_real, const double *control_predicted, PopulationScores *scores,
                                         double *change_predicted)
{
  const PetscInt genes = real->cells.genes;
  DistanceCells  cells;
  double         across, within;

  PetscFunctionBeginUser;
  PetscCheck(predicted->rows > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Scores of an empty population");
  row_means(predicted, genes, change_predicted);
  PetscCall(distancecells_create(predicted, genes, &cells));
  PetscCall(distance_mean(&real->cells, &cells, &across));
  PetscCall(distance_mean(&cells, &cells, &within));
  population_scores_of_means(genes, real->mean, control_real, change_predicted, control_predicted, 2 * across - real->within - within, scores, change_predicted);
  PetscCall(distancecells_destroy(&cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}
