/* Differential expression: the table, the rank-sum test and the false discovery rates (METRICS, "On differential expression"). */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>

static PetscErrorCode copy_names(PetscInt count, char *const *name, char ***copy)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, copy));
  for (PetscInt i = 0; i < count; i++) PetscCall(PetscStrallocpy(name[i], &(*copy)[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode differential_create(PetscInt targets, char *const *target, PetscInt genes, char *const *gene, DifferentialTable *table)
{
  const size_t rows = (size_t)targets * (size_t)genes;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(table, sizeof *table));
  table->targets = targets;
  table->genes = genes;
  PetscCall(copy_names(targets, target, &table->target));
  PetscCall(copy_names(genes, gene, &table->gene));
  PetscCall(PetscCalloc2(targets, &table->target_cells, targets, &table->reference_cells));
  PetscCall(PetscCalloc4(rows, &table->target_mean, rows, &table->reference_mean, rows, &table->log2_fold_change, rows, &table->percent_change));
  PetscCall(PetscCalloc4(rows, &table->p_value, rows, &table->statistic, rows, &table->fdr, rows, &table->dropped));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode differential_destroy(DifferentialTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(strings_free(table->targets, &table->target));
  PetscCall(strings_free(table->genes, &table->gene));
  PetscCall(PetscFree2(table->target_cells, table->reference_cells));
  PetscCall(PetscFree4(table->target_mean, table->reference_mean, table->log2_fold_change, table->percent_change));
  PetscCall(PetscFree4(table->p_value, table->statistic, table->fdr, table->dropped));
  PetscCall(PetscMemzero(table, sizeof *table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt differential_target(const DifferentialTable *table, const char *target)
{
  for (PetscInt t = 0; t < table->targets; t++)
    if (!strcmp(table->target[t], target)) return t;
  return -1;
}

/* ---- rank-sum test ------------------------------------------------------------------------------------------------------------- */

double tie_sum(PetscInt64 count, const double *value)
{
  double sum = 0;

  for (PetscInt64 i = 0; i < count;) {
    PetscInt64 j = i + 1;
    while (j < count && value[j] == value[i]) j++;
    const double t = (double)(j - i);
    sum += t * t * t - t;
    i = j;
  }
  return sum;
}

/* First of the ascending values in [from, count) that is not below v, or with `past` that is above it, by steps that double and then halve: values are looked up in ascending order, and of a long
   list of control values few are touched. */
static inline PetscInt64 bound(PetscInt64 from, PetscInt64 count, const double *value, double v, int past)
{
  PetscInt64 step = 1;

#define LEFT_OF(x) (past ? (x) <= v : (x) < v)
  if (from >= count || !LEFT_OF(value[from])) return from;
  while (from + step < count && LEFT_OF(value[from + step])) {
    from += step;
    step *= 2;
  }
  /* value[from] lies left, the bound within `step` of it. */
  PetscInt64 left = PetscMin(step, count - from);
  while (left > 1) {
    const PetscInt64 half = left / 2;
    if (LEFT_OF(value[from + half])) {
      from += half;
      left -= half;
    } else {
      left = half;
    }
  }
  return from + 1;
#undef LEFT_OF
}

/* The sum of the ranks of a's values in both, without those of zeros; ties: what groups of equal values add to b's. */
static double rank_values(const GeneValues *a, const GeneValues *b, double zeros, double *ties)
{
  double     rank_sum = 0;
  PetscInt64 below = 0;

  for (PetscInt64 i = 0; i < a->entries;) {
    const double     v = a->value[i];
    const PetscInt64 equal = bound(i, a->entries, a->value, v, 1) - i;
    below = bound(below, b->entries, b->value, v, 0);
    const PetscInt64 same = bound(below, b->entries, b->value, v, 1) - below;
    const double     t_a = (double)equal, t_b = (double)same, t = t_a + t_b;
    rank_sum += t_a * (zeros + (double)(i + below) + (t + 1) / 2);
    *ties += (t * t * t - t) - (t_b * t_b * t_b - t_b);
    below += same;
    i += equal;
  }
  return rank_sum;
}

/* Normal approximation of U with ranks shared among ties, corrected by 1/2 for continuity (Mann and Whitney 1947; METRICS). */
static double two_sided_p(double u, double n_a, double n_b, double ties)
{
  const double n = n_a + n_b, variance = n_a * n_b / 12 * ((n + 1) - ties / (n * (n - 1)));

  if (!(variance > 0)) return 1;
  const double z = (PetscMax(u, n_a * n_b - u) - n_a * n_b / 2 - 0.5) / sqrt(variance);
  return PetscMin(erfc(z / sqrt(2)), 1);
}

void rank_sum_with_ties(const GeneValues *a, const GeneValues *b, double ties_b, double *u, double *p_value)
{
  const double n_a = (double)a->cells, n_b = (double)b->cells, zeros = (double)(a->cells - a->entries + b->cells - b->entries);
  /* Zeros are the least values: one block of ties below all others. */
  double     rank_sum = (double)(a->cells - a->entries) * (zeros + 1) / 2, ties = ties_b + (zeros * zeros * zeros - zeros);

  rank_sum += rank_values(a, b, zeros, &ties);
  *u = rank_sum - n_a * (n_a + 1) / 2;
  *p_value = two_sided_p(*u, n_a, n_b, ties);
}

void rank_sum_test(const GeneValues *a, const GeneValues *b, double *u, double *p_value)
{
  rank_sum_with_ties(a, b, tie_sum(b->entries, b->value), u, p_value);
}

/* ---- one row ------------------------------------------------------------------------------------------------------------------- */

void differential_fold_changes(DifferentialTable *table, size_t at)
{
  const double target = table->target_mean[at], reference = table->reference_mean[at];
  const double difference = table->single ? (double)((float)target - (float)reference) : target - reference;
  const double fold = log2(target / reference), percent = difference / reference;

  table->log2_fold_change[at] = isnan(fold) ? 0 : fold;
  table->percent_change[at] = isnan(percent) ? 0 : percent;
}
