/* Dispersion of a gene against the genes of similar mean: 20 bins of equal width in log(1 + mean). */
#include "data/hvg.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <stdlib.h>

enum { BINS = 20 };

/* Edges as pandas.cut makes them: equal widths, the first edge moved 0.1 % of the range down so that the least value is inside. */
static void bin_edges(PetscInt genes, const double *x, double edge[BINS + 1])
{
  double least = x[0], most = x[0];

  for (PetscInt g = 1; g < genes; g++) {
    if (x[g] < least) least = x[g];
    if (x[g] > most) most = x[g];
  }
  const PetscBool one_value = least == most ? PETSC_TRUE : PETSC_FALSE;
  if (one_value) {
    const double widen = least != 0 ? 0.001 * fabs(least) : 0.001;
    least -= widen;
    most += widen;
  }
  const double step = (most - least) / BINS;
  for (int k = 0; k < BINS; k++) edge[k] = k * step + least;
  edge[BINS] = most;
  if (!one_value) edge[0] -= (most - least) * 0.001;
}

/* Bins are open below and closed above. */
static int bin_of(const double edge[BINS + 1], double x)
{
  int bin = 0;

  while (bin < BINS - 1 && edge[bin + 1] < x) bin++;
  return bin;
}

/* What is taken off and divided by in each bin: mean and standard deviation (n - 1) of the dispersions there; a bin with one gene gives it 1. */
static void bin_statistics(PetscInt genes, const int *bin, const double *dispersion, double average[BINS], double deviation[BINS])
{
  double count[BINS] = {0}, sum[BINS] = {0}, squares[BINS] = {0};

  for (PetscInt g = 0; g < genes; g++) {
    if (isnan(dispersion[g])) continue;
    count[bin[g]]++;
    sum[bin[g]] += dispersion[g];
  }
  for (int k = 0; k < BINS; k++) average[k] = sum[k] / count[k];
  for (PetscInt g = 0; g < genes; g++)
    if (!isnan(dispersion[g])) squares[bin[g]] += (dispersion[g] - average[bin[g]]) * (dispersion[g] - average[bin[g]]);
  for (int k = 0; k < BINS; k++) {
    deviation[k] = sqrt(squares[k] / (count[k] - 1));
    if (count[k] < 2) {
      deviation[k] = average[k];
      average[k]   = 0;
    }
  }
}

static int descending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;

  return (x < y) - (x > y);
}

/* The value of the wanted-th highest, NaN left out; NaN when there is none. */
static PetscErrorCode cut_off(PetscInt genes, const double *normalised, PetscInt wanted, double *cut)
{
  double  *sorted;
  PetscInt count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)genes, &sorted));
  for (PetscInt g = 0; g < genes; g++)
    if (!isnan(normalised[g])) sorted[count++] = normalised[g];
  qsort(sorted, (size_t)count, sizeof *sorted, descending);
  *cut = count ? sorted[(wanted < count ? wanted : count) - 1] : NAN;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode hvg_select(PetscInt genes, const double *mean, const double *variance, PetscInt wanted, double *log_mean, double *dispersion, int32_t *chosen, PetscInt *selected)
{
  double  edge[BINS + 1], average[BINS], deviation[BINS], cut = NAN, *normalised;
  int    *bin;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)genes, &bin, (size_t)genes, &normalised));
  for (PetscInt g = 0; g < genes; g++) {
    const double positive = mean[g] == 0 ? 1e-12 : mean[g];
    dispersion[g]         = variance[g] > 0 ? log(variance[g] / positive) : NAN;
    log_mean[g]           = log1p(positive);
  }
  bin_edges(genes, log_mean, edge);
  for (PetscInt g = 0; g < genes; g++) bin[g] = bin_of(edge, log_mean[g]);
  bin_statistics(genes, bin, dispersion, average, deviation);
  for (PetscInt g = 0; g < genes; g++) normalised[g] = (dispersion[g] - average[bin[g]]) / deviation[bin[g]];
  PetscCall(cut_off(genes, normalised, wanted, &cut));
  *selected = 0;
  for (PetscInt g = 0; g < genes; g++) {
    chosen[g] = normalised[g] >= cut;
    *selected += chosen[g];
  }
  PetscCall(PetscFree2(bin, normalised));
  PetscFunctionReturn(PETSC_SUCCESS);
}
