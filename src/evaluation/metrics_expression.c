/* Metrics on two tables of differential expression (METRICS, "On differential expression"). Fold changes and rates are compared in single precision,
   as cell-eval does: that decides ties. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

/* Significant genes by falling |log2 fold change|. */
static PetscInt significant_genes(const DifferentialTable *t, PetscInt row, Ranked *item)
{
  PetscInt count = 0;

  for (PetscInt g = 0; g < t->genes; g++)
    if (differential_significant(t, row, g)) item[count++] = (Ranked){(double)fabsf((float)t->log2_fold_change[(size_t)row * (size_t)t->genes + (size_t)g]), g};
  sort_largest_first(count, item);
  return count;
}

/* Share of genes that the first k of both lists have in common. mark: (genes) zeros, left so. */
static double common_share(PetscInt k, PetscInt n, const Ranked *real, PetscInt m, const Ranked *predicted, unsigned char *mark)
{
  PetscInt common = 0;

  if (!k) return 0;
  for (PetscInt i = 0; i < PetscMin(k, n); i++) mark[real[i].index] = 1;
  for (PetscInt i = 0; i < PetscMin(k, m); i++) common += mark[predicted[i].index];
  for (PetscInt i = 0; i < PetscMin(k, n); i++) mark[real[i].index] = 0;
  return (double)common / (double)k;
}

static int sign(double x) { return (x > 0) - (x < 0); }

/* Direction and Spearman correlation of fold changes over the real significant genes. */
static PetscErrorCode compare_folds(const DifferentialTable *real, PetscInt r, const DifferentialTable *predicted, PetscInt q, double *value,
                                    unsigned char *missing)
{
  const PetscInt genes = real->genes;
  PetscInt       count = 0, present = 0, equal = 0, found = 0;
  double        *x, *y;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(genes, &x, genes, &y));
  for (PetscInt g = 0; g < genes; g++) {
    const size_t at = (size_t)q * (size_t)genes + (size_t)g;
    if (!differential_significant(real, r, g)) continue;
    x[count] = (double)(float)real->log2_fold_change[(size_t)r * (size_t)genes + (size_t)g];
    y[count] = predicted->dropped[at] ? 0 : (double)(float)predicted->log2_fold_change[at];
    if (!predicted->dropped[at]) {
      present++;
      equal += sign(x[count]) == sign(y[count]);
    }
    found += differential_significant(predicted, q, g);
    count++;
  }
  missing[DIRECTION_MATCH] = !present;
  missing[SPEARMAN_LFC_SIG] = missing[SIG_GENES_RECALL] = !count;
  if (present) value[DIRECTION_MATCH] = (double)equal / (double)present;
  if (count) {
    value[SIG_GENES_RECALL] = (double)found / (double)count;
    PetscCall(spearman_correlation(count, x, y, &value[SPEARMAN_LFC_SIG]));
  }
  PetscCall(PetscFree2(x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Areas under the curves of precision over recall and of true over false positives: genes by falling -log10 of the predicted rate. */
static PetscErrorCode areas(const DifferentialTable *real, PetscInt r, const DifferentialTable *predicted, PetscInt q, double *precision_recall, double *roc)
{
  const PetscInt genes = real->genes;
  double        *score;
  unsigned char *label;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(genes, &score, genes, &label));
  for (PetscInt g = 0; g < genes; g++) {
    const size_t at = (size_t)q * (size_t)genes + (size_t)g;
    if (real->dropped[(size_t)r * (size_t)genes + (size_t)g]) continue;
    const float rate = predicted->dropped[at] ? 1 : (float)predicted->fdr[at];
    score[count] = (double)-(logf(rate < 1e-10f ? 1e-10f : rate > 1 ? 1 : rate) / logf(10));
    label[count++] = differential_significant(real, r, g);
  }
  PetscCall(ranking_areas(count, score, label, roc, precision_recall));
  PetscCall(PetscFree2(score, label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode metrics_of_expression(const DifferentialTable *real, PetscInt r, const DifferentialTable *predicted, PetscInt q, double *value,
                                     unsigned char *missing)
{
  const PetscInt genes = real->genes, length[] = {0, 50, 100, 200, 500};
  Ranked          *genes_real, *genes_predicted;
  unsigned char *mark;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(genes, &genes_real, genes, &genes_predicted));
  PetscCall(PetscCalloc1(genes, &mark));
  const PetscInt n = significant_genes(real, r, genes_real), m = significant_genes(predicted, q, genes_predicted);
  for (int i = 0; i < 5; i++) {
    const PetscInt overlap = PetscMin(length[i] ? length[i] : n, n);
    const PetscInt precision = PetscMin(length[i] ? length[i] : m, m);
    value[OVERLAP_N + i] = common_share(overlap, n, genes_real, m, genes_predicted, mark);
    value[PRECISION_N + i] = common_share(precision, n, genes_real, m, genes_predicted, mark);
  }
  value[NSIG_REAL] = n;
  value[NSIG_PREDICTED] = m;
  PetscCall(compare_folds(real, r, predicted, q, value, missing));
  PetscCall(areas(real, r, predicted, q, &value[PR_AUC], &value[ROC_AUC]));
  PetscCall(PetscFree2(genes_real, genes_predicted));
  PetscCall(PetscFree(mark));
  PetscFunctionReturn(PETSC_SUCCESS);
}
