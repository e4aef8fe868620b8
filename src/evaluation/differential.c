/* Differential expression: the table, the rank-sum test and the false discovery rates (METRICS, "On differential expression"). */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>
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
  PetscCall(PetscMalloc4(rows, &table->target_mean, rows, &table->reference_mean, rows, &table->log2_fold_change, rows, &table->percent_change));
  PetscCall(PetscMalloc4(rows, &table->p_value, rows, &table->statistic, rows, &table->fdr, rows, &table->dropped));
  memset(table->dropped, 0, rows * sizeof *table->dropped);
  PetscFunctionReturn(PETSC_SUCCESS);
}

void differential_drop_all(DifferentialTable *table)
{
  double *const column[] = {table->target_mean, table->reference_mean, table->log2_fold_change, table->percent_change, table->p_value, table->statistic, table->fdr};
  const size_t  rows = (size_t)table->targets * (size_t)table->genes;

  for (size_t c = 0; c < sizeof column / sizeof *column; c++) memory_zero(column[c], rows * sizeof *column[c]);
  memset(table->dropped, 1, rows * sizeof *table->dropped);
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

/* First of the ascending values in [from, count) that is not below v, by steps that double and then halve: values are looked up in ascending order, and of a long list of control values few
   are touched. */
static inline int64_t not_below(int64_t from, int64_t count, const double *value, double v)
{
  int64_t step = 1;

  if (from >= count || value[from] >= v) return from;
  while (from + step < count && value[from + step] < v) {
    from += step;
    step *= 2;
  }
  /* value[from] lies below, the first that does not within `step` of it. */
  for (int64_t left = PetscMin(step, count - from); left > 1;) {
    const int64_t   half = left / 2;
    const PetscBool below = value[from + half] < v ? PETSC_TRUE : PETSC_FALSE;
    from += below ? half : 0;
    left = below ? left - half : half;
  }
  return from + 1;
}

/* The sum of the ranks of a's values in both, without those of zeros; ties: what groups of equal values add to b's. */
static double rank_values(const GeneColumns *a, const GeneRuns *b, PetscInt gene, double zeros, double *ties)
{
  const int64_t  begin = a->offset[gene], end = a->offset[gene + 1], first = b->offset[gene], runs = b->offset[gene + 1] - first;
  const double  *value = b->value + first;
  const int32_t *upto = b->upto + first;
  double         rank_sum = 0;

  for (int64_t i = begin, next, run = 0; i < end; i = next) {
    const double v = genecolumns_get(a, i);
    for (next = i + 1; next < end && genecolumns_get(a, next) == v;) next++;
    run = not_below(run, runs, value, v);
    const int32_t below = run ? upto[run - 1] : 0;
    const double  t_a = (double)(next - i), t_b = run < runs && value[run] == v ? (double)(upto[run] - below) : 0, t = t_a + t_b;
    rank_sum += t_a * (zeros + (double)(i - begin + below) + (t + 1) / 2);
    *ties += (t * t * t - t) - (t_b * t_b * t_b - t_b);
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

void rank_sum_test(const GeneColumns *a, const GeneRuns *b, PetscInt gene, double *u, double *p_value)
{
  const double n_a = (double)a->cells, n_b = (double)b->cells, values_a = (double)(a->offset[gene + 1] - a->offset[gene]);
  const double values_b = b->offset[gene] < b->offset[gene + 1] ? (double)b->upto[b->offset[gene + 1] - 1] : 0;
  /* Zeros are the least values: one block of ties below all others. */
  const double zeros = n_a - values_a + n_b - values_b;
  double       rank_sum = (n_a - values_a) * (zeros + 1) / 2, ties = b->ties[gene] + (zeros * zeros * zeros - zeros);

  rank_sum += rank_values(a, b, gene, zeros, &ties);
  *u = rank_sum - n_a * (n_a + 1) / 2;
  *p_value = two_sided_p(*u, n_a, n_b, ties);
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
