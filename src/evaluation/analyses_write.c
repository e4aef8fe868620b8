/* Tables of the analyses and the comparison of all models. */
#include "evaluation/analyses_internal.h"
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/evaluation/comparison.h>
#include <perturbdiff/runtime.h>
#include <string.h>

static const char *const geneset_score_name[] = {"geneset_spearman", "geneset_jaccard_overlap", "geneset_jaccard_rank"};

static double value_of(const ScoreTable *t, PetscInt row, PetscInt group, int which)
{
  return t->analyses->value[((size_t)row * (size_t)t->groups + (size_t)group) * ANALYSIS_SCORES + (size_t)which];
}

static PetscErrorCode print_distribution(const void *table, FILE *stream)
{
  const ScoreTable *t = table;
  PetscFunctionBeginUser;
  fprintf(stream, "model,perturbation,cell_type,batch,cells_real,cells_predicted");
  for (int s = 0; s < DISTRIBUTION_SCORES; s++) fprintf(stream, ",%s", distribution_score_name[s]);
  fprintf(stream, ",repeat\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    for (PetscInt k = 0; k < t->groups; k++) {
      analyses_begin_line(t, t->model[r], k, stream);
      fprintf(stream, "%lld,%lld", (long long)t->cells_real[k], (long long)t->cells_predicted[(size_t)r * (size_t)t->groups + (size_t)k]);
      for (int s = 0; s < DISTRIBUTION_SCORES; s++) fprintf(stream, ",%.10g", value_of(t, r, k, s));
      fprintf(stream, ",%lld\n", (long long)t->repeat[r]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_questions(const void *table, FILE *stream)
{
  const ScoreTable *t = table;
  const QuestionTable *q = &t->analyses->questions;

  PetscFunctionBeginUser;
  fprintf(stream, "perturbation,cell_type,batch,gene,differentially_expressed,direction\n");
  for (PetscInt i = 0; i < q->count; i++) {
    if (q->gene[i] < 0) continue;
    csv_field(stream, t->label[0][q->group[i]]);
    for (int axis = 1; axis < 3; axis++) {
      fputc(',', stream);
      csv_field(stream, t->label[axis][q->group[i]]);
    }
    fputc(',', stream);
    csv_field(stream, t->gene[q->gene[i]]);
    fprintf(stream, ",%d,%s\n", q->expressed[i], q->direction[i] > 0 ? "up" : q->direction[i] < 0 ? "down" : "");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A row of a group, and of all questions where group is -1. */
static PetscErrorCode print_question_row(const ScoreTable *t, PetscInt row, PetscInt group, FILE *stream)
{
  const Analyses *a = t->analyses;
  const size_t    at = (size_t)row * (size_t)a->questions.count;
  QuestionScores  s;

  PetscFunctionBeginUser;
  PetscCall(question_scores(&a->questions, group, a->score + at, a->called + at, &s));
  if (group >= 0 && !s.asked) PetscFunctionReturn(PETSC_SUCCESS);
  if (group >= 0) {
    analyses_begin_line(t, t->model[row], group, stream);
  } else {
    csv_field(stream, t->model[row]);
    fprintf(stream, ",all,,,");
  }
  fprintf(stream, "%lld,%lld", (long long)s.asked, (long long)s.expressed);
  for (int i = 0; i < QUESTION_SCORES; i++) fprintf(stream, ",%.10g", ((const double *)&s)[i]);
  fprintf(stream, ",%lld\n", (long long)t->repeat[row]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_question_scores(const void *table, FILE *stream)
{
  const ScoreTable *t = table;
  PetscFunctionBeginUser;
  fprintf(stream, "model,perturbation,cell_type,batch,questions,differentially_expressed");
  for (int i = 0; i < QUESTION_SCORES; i++) fprintf(stream, ",%s", question_score_name[i]);
  fprintf(stream, ",repeat\n");
  for (PetscInt r = 0; r < t->rows; r++) {
    if (t->kind[r] == ROW_CEILING) continue;
    for (PetscInt k = -1; k < t->groups; k++) PetscCall(print_question_row(t, r, k, stream));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- comparison -------------------------------------------------------------------------------------------------------------------- */

/* Score number i of all that models are compared by: the population scores, then those of the analyses. */
static void score_info(int i, const char **name, int *direction)
{
  const int which = i - POPULATION_SCORES;

  *direction = 1;
  if (which < 0) {
    *name = population_score_name[i];
    *direction = population_score_direction[i];
  } else if (which < ANALYSIS_QUESTIONS) {
    *name = distribution_score_name[which];
    /* The energy distance is there already, of all cells. */
    *direction = which ? distribution_score_direction[which] : 0;
  } else
    *name = which < ANALYSIS_GENESETS ? question_score_name[which - ANALYSIS_QUESTIONS] : geneset_score_name[which - ANALYSIS_GENESETS];
}

static PetscBool computed(const Analyses *a, int i)
{
  const int which = i - POPULATION_SCORES;
  if (which < 0) return PETSC_TRUE;
  if (which < ANALYSIS_QUESTIONS) return a->options->distribution;
  return which < ANALYSIS_GENESETS ? a->asked : a->sets.sets > 0 ? PETSC_TRUE : PETSC_FALSE;
}

/* Names of distinct texts: index (n) of each, in the order of first appearance. */
static PetscInt distinct(PetscInt n, char *const *text, PetscInt *index, PetscInt *first)
{
  PetscInt count = 0;

  for (PetscInt i = 0; i < n; i++) {
    PetscInt c = 0;
    while (c < count && strcmp(text[first[c]], text[i])) c++;
    if (c == count) first[count++] = i;
    index[i] = c;
  }
  return count;
}

/* Units drawn that are kept: 64 MiB. */
enum { MOST_DRAWS = 1 << 24 };

/* Lines of one score for all models. whole: one number for all units of the table, of which there are no intervals and no tests. */
static PetscErrorCode print_compared(const ScoreTable *t, const char *name, const ComparedScores *s, const PetscInt *first, PetscBool whole, FILE *stream)
{
  static const char *const kind_name[] = {[ROW_PREDICTION] = "prediction", [ROW_BASELINE] = "baseline", [ROW_CEILING] = "ceiling"};
  ComparedModel           *result;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->models, &result));
  PetscCall(compare_models(s, t->analyses->options->bootstrap, t->analyses->seed, result));
  for (PetscInt m = 0; m < s->models; m++) {
    ComparedModel *c = &result[m];
    if (!c->groups) continue;
    if (whole) c->interval[0] = c->interval[1] = c->difference_interval[0] = c->difference_interval[1] = c->p_value = c->adjusted = NAN;
    fprintf(stream, "%s,%s,", name, s->direction > 0 ? "higher" : "lower");
    csv_field(stream, t->model[first[m]]);
    fprintf(stream, ",%s,%lld,%lld,%lld,%.10g,%.10g,%.10g,%.10g,", kind_name[t->kind[first[m]]], (long long)c->repeats, (long long)c->groups, (long long)s->units,
            c->mean, c->over_repeats, c->interval[0], c->interval[1]);
    if (c->best >= 0) csv_field(stream, t->model[first[c->best]]);
    fprintf(stream, ",%.10g,%.10g,%.10g,%.10g,%.10g\n", c->difference, c->difference_interval[0], c->difference_interval[1], c->p_value, c->adjusted);
  }
  PetscCall(PetscFree(result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Draws for scores on s->units, which many scores share, where they take little memory. Free with PetscFree. */
static PetscErrorCode share_draws(const ScoreTable *t, ComparedScores *s, int32_t **drawn)
{
  const PetscInt resamples = t->analyses->options->bootstrap;

  PetscFunctionBeginUser;
  *drawn = NULL;
  if ((double)resamples * (double)s->units <= MOST_DRAWS) PetscCall(comparison_draws(s->units, resamples, t->analyses->seed, drawn));
  s->drawn = *drawn;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Metrics of cell-eval, whose groups are perturbations of a cell type. */
static PetscErrorCode compare_metrics(const ScoreTable *t, ComparedScores *s, const PetscInt *first, FILE *stream)
{
  const PairMetrics *metrics = t->metrics;
  const PetscInt     units = s->units;
  int32_t           *drawn = NULL;
  PetscInt          *unit, *first_group;
  double            *value;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(metrics->groups, &unit, metrics->groups, &first_group, (size_t)t->rows * (size_t)metrics->groups, &value));
  s->groups = metrics->groups;
  s->unit = unit;
  s->value = value;
  s->units = distinct(metrics->groups, metrics->perturbation, unit, first_group);
  if (s->units != units) PetscCall(share_draws(t, s, &drawn));
  for (int i = 0; i < METRICS; i++) {
    const PetscBool whole = metric_shared((Metric)i);
    char            name[64];

    if (metric_info[i].best == BEST_NONE) continue;
    for (PetscInt r = 0; r < t->rows; r++)
      for (PetscInt k = 0; k < metrics->groups; k++) {
        const size_t at = (size_t)r * (size_t)metrics->groups + (size_t)k;
        PetscBool    again = PETSC_FALSE;

        for (PetscInt j = 0; whole && j < k && !again; j++)
          if (!strcmp(metrics->cell_type[j], metrics->cell_type[k])) again = PETSC_TRUE;
        value[at] = again ? NAN : metrics->value[at * METRICS + (size_t)i];
      }
    s->direction = metric_info[i].best == BEST_ONE ? 1 : -1;
    PetscCall(PetscSNPrintf(name, sizeof name, "celleval_%s", metric_info[i].name));
    PetscCall(print_compared(t, name, s, first, whole, stream));
  }
  PetscCall(PetscFree(drawn));
  PetscCall(PetscFree3(unit, first_group, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_comparison(const void *table, FILE *stream)
{
  const ScoreTable *t = table;
  PetscInt      *model, *first, *unit, *first_group;
  unsigned char *baseline, *tested;
  int32_t       *drawn;
  double        *value;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc6(t->rows, &model, t->rows, &first, t->groups, &unit, t->groups, &first_group, t->rows, &baseline, t->rows, &tested));
  PetscCall(PetscMalloc1((size_t)t->rows * (size_t)t->groups, &value));
  ComparedScores s = {.rows = t->rows, .groups = t->groups, .model = model, .unit = unit, .value = value, .baseline = baseline, .tested = tested};
  s.models = distinct(t->rows, t->model, model, first);
  s.units = distinct(t->groups, t->label[0], unit, first_group);
  PetscCall(share_draws(t, &s, &drawn));
  for (PetscInt m = 0; m < s.models; m++) {
    baseline[m] = t->kind[first[m]] == ROW_BASELINE;
    tested[m] = t->kind[first[m]] == ROW_PREDICTION;
  }
  fprintf(stream, "score,direction,model,kind,repeats,groups,perturbations,mean,repeat_std,lower_95,upper_95,best_baseline,difference,difference_lower_95,"
                  "difference_upper_95,p,p_holm\n");
  for (int i = 0; i < POPULATION_SCORES + ANALYSIS_SCORES; i++) {
    const char *name;

    score_info(i, &name, &s.direction);
    if (!s.direction || !computed(t->analyses, i)) continue;
    for (PetscInt r = 0; r < t->rows; r++)
      for (PetscInt k = 0; k < t->groups; k++) {
        const size_t at = (size_t)r * (size_t)t->groups + (size_t)k;
        value[at] = i < POPULATION_SCORES ? ((const double *)&t->scores[at])[i] : value_of(t, r, k, i - POPULATION_SCORES);
      }
    PetscCall(print_compared(t, name, &s, first, PETSC_FALSE, stream));
  }
  if (t->metrics) PetscCall(compare_metrics(t, &s, first, stream));
  PetscCall(PetscFree(drawn));
  PetscCall(PetscFree6(model, first, unit, first_group, baseline, tested));
  PetscCall(PetscFree(value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode write_table(MPI_Comm comm, const ScoreTable *t, const char *folder, const char *name, PetscErrorCode (*print)(const void *, FILE *))
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name));
  PetscCall(file_write_printed(comm, path, print, t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode analyses_write(MPI_Comm comm, const ScoreTable *t, const char *folder)
{
  static const char *const name[ANALYSIS_TABLES] = {"distribution_genes.csv", "coverage.csv", "genesets.csv", "genesets_agreement.csv", "cells.csv", "calibration.csv"};
  const Analyses          *a = t->analyses;
  char                     path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(write_table(comm, t, folder, "comparison.csv", print_comparison));
  if (a->options->distribution) PetscCall(write_table(comm, t, folder, "distribution.csv", print_distribution));
  if (a->asked) {
    PetscCall(write_table(comm, t, folder, "questions.csv", print_questions));
    PetscCall(write_table(comm, t, folder, "question_scores.csv", print_question_scores));
  }
  if (a->shown) {
    PetscCall(write_table(comm, t, folder, "changes.csv", shown_print_changes));
    PetscCall(write_table(comm, t, folder, "distances.csv", shown_print_distances));
  }
  for (int i = 0; i < ANALYSIS_TABLES; i++) {
    if (!a->lines[i]) continue;
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name[i]));
    PetscCall(file_write_text(comm, path, a->table[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
