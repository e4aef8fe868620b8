/* Do several draws of a predicted population spread as far as the real one lies from them? */
#include <math.h>
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/runtime/error.h>

static double mean_of_gene(PetscInt64 n, const double *x, PetscInt genes, PetscInt gene)
{
  double sum = 0;
  for (PetscInt64 i = 0; i < n; i++) sum += x[(size_t)i * (size_t)genes + (size_t)gene];
  return sum / (double)n;
}

static PetscErrorCode gene_coverage(PetscInt64 n, const double *real, PetscInt draws, const PetscInt64 *cells, const double *const *draw, PetscInt genes,
                                    CoverageScores *scores)
{
  double  *mean;
  PetscInt varying = 0, within[2] = {0, 0};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(draws, &mean));
  for (PetscInt g = 0; g < genes; g++) {
    const double truth = mean_of_gene(n, real, genes, g), level[2] = {0.5, 0.9};

    for (PetscInt d = 0; d < draws; d++) mean[d] = mean_of_gene(cells[d], draw[d], genes, g);
    PetscCall(PetscSortReal(draws, mean));
    if (!(mean[draws - 1] > mean[0])) continue;
    varying++;
    for (int l = 0; l < 2; l++)
      within[l] += truth >= quantile_of_sorted(draws, mean, (1 - level[l]) / 2) && truth <= quantile_of_sorted(draws, mean, (1 + level[l]) / 2);
  }
  scores->gene_coverage_50 = varying ? (double)within[0] / varying : NAN;
  scores->gene_coverage_90 = varying ? (double)within[1] / varying : NAN;
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode coverage_scores(PetscInt64 n, const double *real, PetscInt draws, const PetscInt64 *cells, const double *const *draw, PetscInt genes,
                               CoverageScores *scores)
{
  const PetscInt all = draws + 1;
  static const Kernel euclidean = {.kind = KERNEL_DISTANCE};
  CellFeatures **features;
  CellGroup     *group;
  double        *mean, *far, scale = 0;
  PetscInt       as_far = 1;

  PetscFunctionBeginUser;
  PetscCheck(draws > 1, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Coverage by fewer than two draws");
  PetscCall(gene_coverage(n, real, draws, cells, draw, genes, scores));
  PetscCall(PetscMalloc2((size_t)all * (size_t)all, &mean, all, &far));
  /* Population 0 is the real one. mean: mean distance of the cells of two populations. */
  PetscCall(PetscMalloc2(all, &features, all, &group));
  for (PetscInt a = 0; a < all; a++) {
    group[a] = (CellGroup){.cells = a ? cells[a - 1] : n};
    PetscCall(features_from_doubles(group[a].cells, genes, a ? draw[a - 1] : real, &features[a]));
    group[a].features = features[a];
  }
  PetscCall(kernel_means(PETSC_COMM_SELF, &euclidean, all, group, mean, NULL));
  for (PetscInt a = 0; a < all; a++) PetscCall(features_destroy(&features[a]));
  PetscCall(PetscFree2(features, group));
  for (PetscInt a = 0; a < all; a++) {
    double across = 0, within = 0;
    for (PetscInt b = 0; b < all; b++) {
      if (b == a) continue;
      across += mean[a * all + b] / draws;
      for (PetscInt c = 0; c < all; c++)
        if (c != a) within += mean[b * all + c] / ((double)draws * draws);
    }
    far[a] = 2 * across - mean[a * all + a] - within;
    scale = PetscMax(scale, across);
  }
  for (PetscInt d = 1; d < all; d++) as_far += far[d] >= far[0] - 1e-12 * scale;
  scores->energy_p = (double)as_far / all;
  PetscCall(PetscFree2(mean, far));
  PetscFunctionReturn(PETSC_SUCCESS);
}
