/* The table of metrics, its means over perturbations and their score against a baseline, as cell-eval writes them. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

const MetricInfo metric_info[METRICS] = {
    {"overlap_at_N", BEST_ONE, PETSC_TRUE},
    {"overlap_at_50", BEST_ONE, PETSC_TRUE},
    {"overlap_at_100", BEST_ONE, PETSC_TRUE},
    {"overlap_at_200", BEST_ONE, PETSC_TRUE},
    {"overlap_at_500", BEST_ONE, PETSC_TRUE},
    {"precision_at_N", BEST_ONE, PETSC_TRUE},
    {"precision_at_50", BEST_ONE, PETSC_TRUE},
    {"precision_at_100", BEST_ONE, PETSC_TRUE},
    {"precision_at_200", BEST_ONE, PETSC_TRUE},
    {"precision_at_500", BEST_ONE, PETSC_TRUE},
    {"de_spearman_sig", BEST_ONE, PETSC_TRUE},
    {"de_direction_match", BEST_ONE, PETSC_TRUE},
    {"de_spearman_lfc_sig", BEST_ONE, PETSC_TRUE},
    {"de_sig_genes_recall", BEST_ONE, PETSC_TRUE},
    {"de_nsig_counts_real", BEST_NONE, PETSC_FALSE},
    {"de_nsig_counts_pred", BEST_NONE, PETSC_FALSE},
    {"pr_auc", BEST_ONE, PETSC_TRUE},
    {"roc_auc", BEST_ONE, PETSC_TRUE},
    {"pearson_delta", BEST_ONE, PETSC_TRUE},
    {"mse", BEST_ZERO, PETSC_FALSE},
    {"mae", BEST_ZERO, PETSC_FALSE},
    {"mse_delta", BEST_ZERO, PETSC_FALSE},
    {"mae_delta", BEST_ZERO, PETSC_FALSE},
    {"discrimination_score_l1", BEST_ONE, PETSC_TRUE},
    {"discrimination_score_l2", BEST_ONE, PETSC_TRUE},
    {"discrimination_score_cosine", BEST_ONE, PETSC_TRUE},
    {"pearson_edistance", BEST_ONE, PETSC_FALSE},
};

PetscBool profile_has(Profile profile, Metric metric)
{
  switch (profile) {
  case PROFILE_FULL: return PETSC_TRUE;
  case PROFILE_DE: return metric < PEARSON_DELTA ? PETSC_TRUE : PETSC_FALSE;
  case PROFILE_ANNDATA: return metric >= PEARSON_DELTA ? PETSC_TRUE : PETSC_FALSE;
  case PROFILE_MINIMAL:
    return metric == OVERLAP_N || metric == PRECISION_N || metric == NSIG_REAL || metric == NSIG_PREDICTED || metric == PEARSON_DELTA || metric == MSE ||
                   metric == MAE || metric == DISCRIMINATION_L1
               ? PETSC_TRUE
               : PETSC_FALSE;
  case PROFILE_VCC: return metric == OVERLAP_N || metric == MAE || metric == DISCRIMINATION_L1 ? PETSC_TRUE : PETSC_FALSE;
  case PROFILE_PDS: return metric == DISCRIMINATION_L1 ? PETSC_TRUE : PETSC_FALSE;
  default: return PETSC_FALSE;
  }
}

PetscErrorCode metrictable_create(PetscInt perturbations, char **label, MetricTable *table)
{
  PetscFunctionBeginUser;
  *table = (MetricTable){.perturbations = perturbations, .label = label};
  PetscCall(PetscCalloc2(perturbations * METRICS, &table->value, perturbations * METRICS, &table->missing));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode metrictable_destroy(MetricTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(table->value, table->missing));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode table_path(const char *folder, const char *prefix, const char *name, char path[PETSC_MAX_PATH_LEN])
{
  char clean[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(clean, prefix, sizeof clean));
  for (char *c = clean; *c; c++)
    if (*c == '/') *c = '-';
  PetscCall(PetscSNPrintf(path, PETSC_MAX_PATH_LEN, "%s/%s%s%s", folder, clean, *clean ? "_" : "", name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- statistics of a column ----------------------------------------------------------------------------------------------------- */

/* As polars' describe: missing cells are left out, NaN are not; percentiles are the nearest value. */
enum { COUNT, NULL_COUNT, MEAN, STD, LEAST, QUARTER, HALF, THREE_QUARTERS, MOST, STATISTICS };
static const char *const statistic_name[STATISTICS] = {"count", "null_count", "mean", "std", "min", "25%", "50%", "75%", "max"};

/* NaN last. */
static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
  return (x > y) - (x < y);
}

/* missing[STD]: there is none of one value. */
static PetscErrorCode describe(const MetricTable *t, int metric, double statistic[STATISTICS], PetscBool *without_std)
{
  double  *sorted, squares = 0;
  PetscInt n = 0, numbers = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->perturbations, &sorted));
  statistic[MEAN] = 0;
  for (PetscInt p = 0; p < t->perturbations; p++) {
    if (t->missing[p * METRICS + metric]) continue;
    sorted[n] = t->value[p * METRICS + metric];
    numbers += !isnan(sorted[n]);
    statistic[MEAN] += sorted[n++];
  }
  statistic[COUNT] = (double)n;
  statistic[NULL_COUNT] = (double)(t->perturbations - n);
  statistic[MEAN] = n ? statistic[MEAN] / (double)n : NAN;
  for (PetscInt i = 0; i < n; i++) squares += (sorted[i] - statistic[MEAN]) * (sorted[i] - statistic[MEAN]);
  statistic[STD] = sqrt(squares / (double)(n - 1));
  /* A constant column has no spread, nor one by the rounding of its mean. */
  PetscBool varies = PETSC_FALSE;
  for (PetscInt i = 1; i < n; i++)
    if (sorted[i] != sorted[0]) varies = PETSC_TRUE;
  if (!varies && n > 1) statistic[STD] = 0;
  *without_std = n < 2 ? PETSC_TRUE : PETSC_FALSE;
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  statistic[LEAST] = n ? sorted[0] : NAN;
  statistic[MOST] = numbers ? sorted[numbers - 1] : NAN;
  for (int q = 1; q <= 3; q++) statistic[QUARTER + q - 1] = n ? sorted[(PetscInt)round(0.25 * q * (double)(n - 1))] : NAN;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------------- */

static void number(FILE *stream, double value)
{
  char text[NUMBER_TEXT];

  number_text(value, PETSC_FALSE, text);
  fputs(text, stream);
}

static void header(const MetricTable *t, const char *first, FILE *stream)
{
  fputs(first, stream);
  PetscBool comma = *first ? PETSC_TRUE : PETSC_FALSE;
  for (int m = 0; m < METRICS; m++) {
    if (!t->present[m]) continue;
    fprintf(stream, "%s%s", comma ? "," : "", metric_info[m].name);
    comma = PETSC_TRUE;
  }
  fputc('\n', stream);
}

static PetscErrorCode print_results(const void *table, FILE *stream)
{
  const MetricTable *t = table;
  PetscFunctionBeginUser;
  header(t, "perturbation", stream);
  for (PetscInt p = 0; p < t->perturbations; p++) {
    csv_field(stream, t->label[p]);
    for (int m = 0; m < METRICS; m++) {
      if (!t->present[m]) continue;
      fputc(',', stream);
      if (!t->missing[p * METRICS + m]) number(stream, t->value[p * METRICS + m]);
    }
    fputc('\n', stream);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_aggregate(const void *table, FILE *stream)
{
  const MetricTable *t = table;
  double    statistic[METRICS][STATISTICS];
  PetscBool without_std[METRICS];

  PetscFunctionBeginUser;
  header(t, "statistic", stream);
  for (int m = 0; m < METRICS; m++) PetscCall(describe(t, m, statistic[m], &without_std[m]));
  for (int s = 0; s < STATISTICS; s++) {
    fputs(statistic_name[s], stream);
    for (int m = 0; m < METRICS; m++) {
      if (!t->present[m]) continue;
      fputc(',', stream);
      if (s != STD || !without_std[m]) number(stream, statistic[m][s]);
    }
    fputc('\n', stream);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Means over perturbations brought from half to whole depth, 2r/(1+r) (Spearman 1910, Brown 1910), where that has a meaning. */
static PetscErrorCode print_ceiling(const void *table, FILE *stream)
{
  const MetricTable *t = table;
  PetscBool comma = PETSC_FALSE, without_std;
  double    statistic[STATISTICS];

  PetscFunctionBeginUser;
  header(t, "", stream);
  for (int m = 0; m < METRICS; m++) {
    if (!t->present[m]) continue;
    PetscCall(describe(t, m, statistic, &without_std));
    const double r = statistic[MEAN];
    if (comma) fputc(',', stream);
    number(stream, metric_info[m].reliable && r > 0 ? 2 * r / (1 + r) : NAN);
    comma = PETSC_TRUE;
  }
  fputc('\n', stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode metrictable_write(MPI_Comm comm, const MetricTable *table, const char *folder, const char *prefix, PetscBool ceiling)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(table_path(folder, prefix, ceiling ? "ceiling_results.csv" : "results.csv", path));
  PetscCall(file_write_printed(comm, path, print_results, table));
  PetscCall(table_path(folder, prefix, ceiling ? "agg_ceiling_results.csv" : "agg_results.csv", path));
  PetscCall(file_write_printed(comm, path, ceiling ? print_ceiling : print_aggregate, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- score against a baseline ---------------------------------------------------------------------------------------------------- */

/* The baseline's means in the order of the metrics. */
static PetscErrorCode read_means(const MetricTable *t, const char *path, char *text, double mean[METRICS])
{
  CsvLines  lines;
  PetscBool more;

  PetscFunctionBeginUser;
  PetscCall(csvlines_open(path, text, &lines));
  if (csvlines_column(&lines, "statistic") < 0) return error_user("%s: no column 'statistic'; -score takes a baseline's agg_results.csv", path);
  for (int m = 0; m < METRICS; m++)
    if ((csvlines_column(&lines, metric_info[m].name) >= 0) != t->present[m])
      return error_user("%s: %s is %s; score against a table of the same -profile", path, metric_info[m].name, t->present[m] ? "missing" : "not in this one");
  for (;;) {
    PetscCall(csvlines_next(&lines, &more));
    if (!more) return error_user("%s: no row 'mean'; -score takes a baseline's agg_results.csv", path);
    if (!strcmp(lines.cell[csvlines_column(&lines, "statistic")], "mean")) break;
  }
  for (int m = 0; m < METRICS; m++)
    if (t->present[m]) PetscCall(csvlines_number(&lines, csvlines_column(&lines, metric_info[m].name), &mean[m]));
  PetscCall(csvlines_close(&lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const MetricTable *table;
  const double      *baseline; /* (METRICS) means */
} Scored;

static PetscErrorCode print_scores(const void *context, FILE *stream)
{
  const Scored      *scored = context;
  const MetricTable *t = scored->table;
  const MetricBest   order[] = {BEST_ZERO, BEST_ONE};
  double             statistic[STATISTICS], total = 0;
  PetscInt           count = 0;
  PetscBool          without_std;

  PetscFunctionBeginUser;
  fputs("metric,from_baseline\n", stream);
  for (int o = 0; o < 2; o++) {
    for (int m = 0; m < METRICS; m++) {
      if (!t->present[m] || metric_info[m].best != order[o]) continue;
      PetscCall(describe(t, m, statistic, &without_std));
      const double u = statistic[MEAN], b = scored->baseline[m], raw = order[o] == BEST_ZERO ? 1 - u / b : (u - b) / (1 - b), score = raw > 0 ? raw : 0;
      fprintf(stream, "%s,", metric_info[m].name);
      number(stream, score);
      fputc('\n', stream);
      total += score;
      count++;
    }
  }
  fputs("avg_score,", stream);
  number(stream, total / (double)count);
  fputc('\n', stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode metrictable_score(MPI_Comm comm, const MetricTable *t, const char *baseline, const char *folder, const char *prefix)
{
  char        *text, path[PETSC_MAX_PATH_LEN];
  size_t       size;
  double       mean[METRICS];
  const Scored scored = {t, mean};

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, baseline, &text, &size));
  PetscCallAgree(comm, read_means(t, baseline, text, mean));
  PetscCall(PetscFree(text));
  PetscCall(file_make_folder(comm, folder));
  PetscCall(table_path(folder, prefix, "baseline_diff.csv", path));
  PetscCall(file_write_printed(comm, path, print_scores, &scored));
  PetscFunctionReturn(PETSC_SUCCESS);
}
