/* Scores as CSV files and as a table to read. */
#include "evaluation/analyses_internal.h"
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

static double score(const ScoreTable *t, PetscInt row, PetscInt group, int which)
{
  return ((const double *)&t->scores[(size_t)row * (size_t)t->groups + (size_t)group])[which];
}

PetscInt scoretable_repeats(const ScoreTable *t, PetscInt row)
{
  PetscInt repeats = 0;
  for (PetscInt r = 0; r < t->rows; r++) repeats += !strcmp(t->model[r], t->model[row]);
  return repeats;
}

ScoreSummary scoretable_summary(const ScoreTable *t, PetscInt row, int which)
{
  const PetscInt repeats = scoretable_repeats(t, row);
  double        *of_repeat = malloc((size_t)(repeats + t->groups + repeats) * sizeof *of_repeat), *of_group = of_repeat + repeats, *one = of_group + t->groups,
         ignored;
  double      *values = malloc((size_t)t->groups * sizeof *values);
  ScoreSummary summary = {NAN, NAN, NAN};
  PetscInt     at = 0;

  if (of_repeat && values) {
    for (PetscInt r = 0; r < t->rows; r++) {
      if (strcmp(t->model[r], t->model[row])) continue;
      for (PetscInt k = 0; k < t->groups; k++) values[k] = score(t, r, k, which);
      mean_and_deviation(t->groups, values, &of_repeat[at++], &ignored);
    }
    for (PetscInt k = 0; k < t->groups; k++) {
      at = 0;
      for (PetscInt r = 0; r < t->rows; r++)
        if (!strcmp(t->model[r], t->model[row])) one[at++] = score(t, r, k, which);
      mean_and_deviation(repeats, one, &of_group[k], &ignored);
    }
    mean_and_deviation(repeats, of_repeat, &summary.mean, &summary.over_repeats);
    mean_and_deviation(t->groups, of_group, &ignored, &summary.over_groups);
  }
  free(values);
  free(of_repeat);
  return summary;
}

static PetscErrorCode print_scores(const void *table, FILE *stream)
{
  const ScoreTable *t = table;

  fprintf(stream, "model,perturbation,cell_type,batch,cells_real,cells_predicted");
  for (int s = 0; s < POPULATION_SCORES; s++) fprintf(stream, ",%s", population_score_name[s]);
  fprintf(stream, ",repeat\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    for (PetscInt k = 0; k < t->groups; k++) {
      analyses_begin_line(t, t->model[r], k, stream);
      fprintf(stream, "%lld,%lld", (long long)t->cells_real[k], (long long)t->cells_predicted[(size_t)r * (size_t)t->groups + (size_t)k]);
      for (int s = 0; s < POPULATION_SCORES; s++) fprintf(stream, ",%.10g", score(t, r, k, s));
      fprintf(stream, ",%lld\n", (long long)t->repeat[r]);
    }
  }
  return PETSC_SUCCESS;
}

static const char *kind_name(ScoreRowKind kind) { return kind == ROW_PREDICTION ? "prediction" : kind == ROW_BASELINE ? "baseline" : "ceiling"; }

/* Spearman-Brown: what whole populations would reach, from the correlation of their halves. */
static double corrected(double r) { return r > 0 ? 2 * r / (1 + r) : NAN; }

static PetscErrorCode print_summary(const void *table, FILE *stream)
{
  const ScoreTable *t = table;

  fprintf(stream, "model,kind,repeats,groups");
  for (int s = 0; s < POPULATION_SCORES; s++)
    fprintf(stream, ",%s_mean,%s_std,%s_repeat_std", population_score_name[s], population_score_name[s], population_score_name[s]);
  fprintf(stream, "\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    if (t->repeat[r] > 1) continue;
    csv_field(stream, t->model[r]);
    fprintf(stream, ",%s,%lld,%lld", kind_name(t->kind[r]), (long long)scoretable_repeats(t, r), (long long)t->groups);
    for (int s = 0; s < POPULATION_SCORES; s++) {
      const ScoreSummary summary = scoretable_summary(t, r, s);
      fprintf(stream, ",%.10g,%.10g,%.10g", summary.mean, summary.over_groups, summary.over_repeats);
    }
    fprintf(stream, "\n");
    if (t->kind[r] != ROW_CEILING) continue;
    fprintf(stream, "ceiling_corrected,ceiling,1,%lld", (long long)t->groups);
    for (int s = 0; s < POPULATION_SCORES; s++) fprintf(stream, ",%.10g,nan,nan", s ? NAN : corrected(scoretable_summary(t, r, s).mean));
    fprintf(stream, "\n");
  }
  return PETSC_SUCCESS;
}

static PetscErrorCode print_deltas(const void *table, FILE *stream)
{
  const ScoreTable *t = table;

  fprintf(stream, "model,gene,real,predicted,repeat\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    if (t->kind[r] == ROW_CEILING) continue;
    for (PetscInt g = 0; g < t->genes; g++) {
      csv_field(stream, t->model[r]);
      fputc(',', stream);
      csv_field(stream, t->gene[g]);
      fprintf(stream, ",%.8g,%.8g,%lld\n", t->change_real[g], t->change[(size_t)r * (size_t)t->genes + (size_t)g], (long long)t->repeat[r]);
    }
  }
  return PETSC_SUCCESS;
}

PetscErrorCode scoretable_write(MPI_Comm comm, const ScoreTable *t, const char *folder)
{
  PetscErrorCode (*const print[])(const void *, FILE *) = {print_scores, print_summary, print_deltas};
  const char *const name[] = {"scores.csv", "summary.csv", "deltas.csv"};
  char              path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(file_make_folder(comm, folder));
  for (int i = 0; i < 3; i++) {
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name[i]));
    PetscCall(file_write_printed(comm, path, print[i], t));
  }
  if (t->analyses) PetscCall(analyses_write(comm, t, folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which row has the best mean of a score, among predictions and baselines; -1: none. */
static PetscInt best_row(const ScoreTable *t, int which)
{
  PetscInt best = -1;
  double   value = 0;

  for (PetscInt r = 0; r < t->rows; r++) {
    const double mean = scoretable_summary(t, r, which).mean;
    if (t->kind[r] == ROW_CEILING || isnan(mean)) continue;
    if (best >= 0 && population_score_direction[which] * mean <= population_score_direction[which] * value) continue;
    best = r;
    value = mean;
  }
  return best;
}

static void print_row(const ScoreTable *t, PetscInt row, int width, const PetscInt best[POPULATION_SCORES], const int order[POPULATION_SCORES], FILE *stream)
{
  const PetscInt repeats = scoretable_repeats(t, row);
  char           label[256];

  if (repeats > 1)
    snprintf(label, sizeof label, "%s (%lld runs)", t->model[row], (long long)repeats);
  else
    snprintf(label, sizeof label, "%s", t->model[row]);
  fprintf(stream, "  %-*s", width, label);
  for (int i = 0; i < POPULATION_SCORES; i++) {
    const ScoreSummary summary = scoretable_summary(t, row, order[i]);
    char               text[64];
    if (isnan(summary.mean))
      snprintf(text, sizeof text, "-");
    else if (repeats > 1)
      snprintf(text, sizeof text, "%.4f +- %.4f", summary.mean, summary.over_repeats);
    else
      snprintf(text, sizeof text, "%.4f", summary.mean);
    fprintf(stream, " %18s%c", text, best[order[i]] == row ? '*' : ' ');
  }
  fprintf(stream, "\n");
}

PetscErrorCode scoretable_print(MPI_Comm comm, const ScoreTable *t, FILE *stream)
{
  /* The two numbers that matter most first. */
  const int         order[POPULATION_SCORES] = {4, 0, 3, 1, 2};
  const char *const axis[] = {"perturbation", "cell type", "batch"};
  PetscInt          best[POPULATION_SCORES], ceiling = -1;
  PetscMPIInt       rank;
  PetscInt64        cells = 0;
  int               width = 12;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank) PetscFunctionReturn(PETSC_SUCCESS);
  for (int s = 0; s < POPULATION_SCORES; s++) best[s] = best_row(t, s);
  for (PetscInt k = 0; k < t->groups; k++) cells += t->cells_real[k];
  for (PetscInt r = 0; r < t->rows; r++) {
    width = PetscMin(60, PetscMax(width, (int)strlen(t->model[r]) + (scoretable_repeats(t, r) > 1 ? 10 : 0)));
    if (t->kind[r] == ROW_CEILING) ceiling = r;
  }
  fprintf(stream, "\n  %lld populations (", (long long)t->groups);
  for (int a = 0; a < 3; a++)
    if (t->axes & 1 << a) fprintf(stream, "%s%s", a ? " x " : "", axis[a]);
  fprintf(stream, "), %lld real cells, %lld genes; means over populations\n\n  %-*s", (long long)cells, (long long)t->genes, width, "");
  for (int i = 0; i < POPULATION_SCORES; i++) fprintf(stream, " %18s ", population_score_name[order[i]]);
  fprintf(stream, "\n  %-*s", width, "");
  for (int i = 0; i < POPULATION_SCORES; i++) fprintf(stream, " %18s ", population_score_direction[order[i]] > 0 ? "higher is better" : "lower is better");
  fprintf(stream, "\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    if (r && t->kind[r] != t->kind[r - 1]) fprintf(stream, "\n");
    if (t->repeat[r] == 1) print_row(t, r, width, best, order, stream);
  }
  fprintf(stream, "\n  * best of its column.");
  for (PetscInt r = 0; r < t->rows; r++) {
    if (t->repeat[r] != 2) continue;
    fprintf(stream, " +-: standard deviation over runs.");
    break;
  }
  if (ceiling >= 0) {
    const double whole = corrected(scoretable_summary(t, ceiling, 0).mean);
    fprintf(stream, " ceiling: two halves of the real cells against each other (half as many cells, so its energy\n  distance starts higher)");
    if (!isnan(whole)) fprintf(stream, "; for whole populations pearson_delta would be %.4f (Spearman-Brown)", whole);
    fprintf(stream, ".");
  }
  fprintf(stream, "\n");
  fflush(stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}
