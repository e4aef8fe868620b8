/* Metrics on pseudobulk means and their changes from control (METRICS, "On means"). */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>

/* Change of a mean from the control's, in the precision of the matrix. */
static double change(const double *mean, const double *control, PetscInt g, PetscBool single)
{
  return single ? (double)((float)mean[g] - (float)control[g]) : mean[g] - control[g];
}

/* Mean squared and absolute difference, in the precision of the matrix and numpy's order. work: (genes). */
static void errors(PetscInt genes, const double *x, const double *y, PetscBool single, double *work, double *squared, double *absolute)
{
  for (PetscInt g = 0; g < genes; g++) work[g] = single ? (double)fabsf((float)x[g] - (float)y[g]) : fabs(x[g] - y[g]);
  *absolute = numpy_sum(genes, work, single) / genes;
  for (PetscInt g = 0; g < genes; g++) work[g] = single ? (double)((float)work[g] * (float)work[g]) : work[g] * work[g];
  *squared = numpy_sum(genes, work, single) / genes;
  if (single) {
    *absolute = (double)(float)*absolute;
    *squared = (double)(float)*squared;
  }
}

/* Distances between a predicted and a real change over all genes but target. */
static void distances(PetscInt genes, const double *predicted, const double *real, PetscInt target, PetscBool single, double distance[3])
{
  double l1 = 0, l2 = 0, xy = 0, xx = 0, yy = 0;

#pragma omp simd reduction(+ : l1, l2, xy, xx, yy)
  for (PetscInt g = 0; g < genes; g++) {
    const double x = predicted[g], y = real[g], difference = x - y;
    l1 += fabs(difference);
    l2 += difference * difference;
    xy += x * y;
    xx += x * x;
    yy += y * y;
  }
  if (target >= 0) {
    const double x = predicted[target], y = real[target];
    l1 -= fabs(x - y);
    l2 -= (x - y) * (x - y);
    xy -= x * y;
    xx -= x * x;
    yy -= y * y;
  }
  distance[0] = l1;
  distance[1] = single ? (double)sqrtf((float)PetscMax(l2, 0)) : sqrt(PetscMax(l2, 0));
  /* scikit-learn: a vector of zeros has the distance 1 to all. */
  distance[2] = xx > 0 && yy > 0 ? PetscMax(0, 1 - xy / (sqrt(xx) * sqrt(yy))) : 1;
}

PetscErrorCode metrics_of_means(PetscInt perturbations, PetscInt genes, PetscInt p, PetscInt target, const FileSummary *real, const FileSummary *predicted,
                                PetscBool single, double *value)
{
  const size_t  width = (size_t)genes;
  const double *control_real = real->mean + (size_t)perturbations * width, *control_predicted = predicted->mean + (size_t)perturbations * width;
  double       *x, *y, *work, own[3], other[3];
  PetscInt      nearer[3] = {0, 0, 0};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(genes, &x, genes, &y, genes, &work));
  for (PetscInt g = 0; g < genes; g++) {
    x[g] = change(predicted->mean + (size_t)p * width, control_predicted, g, single);
    y[g] = change(real->mean + (size_t)p * width, control_real, g, single);
  }
  value[PEARSON_DELTA] = genes < 2 ? NAN : pearson_correlation(genes, x, y);
  errors(genes, predicted->mean + (size_t)p * width, real->mean + (size_t)p * width, single, work, &value[MSE], &value[MAE]);
  errors(genes, x, y, single, work, &value[MSE_DELTA], &value[MAE_DELTA]);
  distances(genes, x, y, target, single, own);
  for (PetscInt q = 0; q < perturbations; q++) {
    if (q == p) continue;
    for (PetscInt g = 0; g < genes; g++) y[g] = change(real->mean + (size_t)q * width, control_real, g, single);
    distances(genes, x, y, target, single, other);
    for (int d = 0; d < 3; d++) nearer[d] += other[d] < own[d] || (other[d] == own[d] && q < p);
  }
  for (int d = 0; d < 3; d++) value[DISCRIMINATION_L1 + d] = 1 - (double)nearer[d] / (double)perturbations;
  PetscCall(PetscFree3(x, y, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}
