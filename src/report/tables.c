/* What the scores say: the headline, the table of scores, the populations, cell-eval's metrics. */
#include "report/report_internal.h"
#include <math.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>

/* Scores that every evaluation has come first; units where there are any. */
static const struct {
  const char *name, *title;
} titles[] = {{"energy_distance", "energy distance"}, {"pearson_delta", "correlation of changes"}, {"r2", "R² of means"}, {"mse", "mean squared error"}, {"mae", "mean absolute error"},
              {"mmd_squared", "MMD²"}, {"wasserstein", "Wasserstein distance"}, {"correlation_difference", "gene correlations, difference"}, {"zeros_difference", "share of zeros, difference"},
              {"classifier_accuracy", "real or predicted? accuracy"}, {"classifier_auroc", "real or predicted? AUROC"},
              {"question_auroc", "changed genes, AUROC"}, {"question_auprc", "changed genes, AUPRC"}, {"question_accuracy", "changed genes, accuracy"},
              {"direction_auroc", "directions, AUROC"}, {"direction_accuracy", "directions, accuracy"}, {"geneset_spearman", "gene sets, correlation"},
              {"geneset_jaccard_overlap", "gene sets over-represented, Jaccard"}, {"geneset_jaccard_rank", "gene sets enriched, Jaccard"}};

/* Shares and correlations, which need three decimals and no more; distances have their own scale. */
static PetscBool is_share(const char *score)
{
  static const char *const name[] = {"pearson_delta", "r2", "classifier_", "question_", "direction_", "geneset_", "celleval_"};

  for (size_t i = 0; i < sizeof name / sizeof *name; i++)
    if (!strncmp(score, name[i], strlen(name[i]))) return PETSC_TRUE;
  return PETSC_FALSE;
}

const char *score_title(const char *name)
{
  for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
    if (!strcmp(titles[i].name, name)) return titles[i].title;
  return name;
}

PetscInt comparison_row(const Scores *s, const char *score, const char *model)
{
  for (PetscInt i = 0; i < s->comparison.rows; i++)
    if (!strcmp(csv_text(&s->comparison, i, "score"), score) && !strcmp(csv_text(&s->comparison, i, "model"), model)) return i;
  return -1;
}

PetscBool comparison_intervals(const Scores *s)
{
  return s->comparison.rows && csv_number(&s->comparison, 0, "perturbations") > 1 ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode best_of_kind(const Scores *s, const char *kind, char **name)
{
  PetscInt best = -1;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < s->models; m++) {
    const PetscInt row = comparison_row(s, titles[0].name, s->model[m]);
    if (row < 0 || strcmp(csv_text(&s->comparison, row, "kind"), kind) || !isfinite(csv_number(&s->comparison, row, "mean"))) continue;
    if (best < 0 || csv_number(&s->comparison, row, "mean") < csv_number(&s->comparison, best, "mean")) best = row;
  }
  *name = NULL;
  if (best >= 0) PetscCall(PetscStrallocpy(csv_text(&s->comparison, best, "model"), name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode scores_read(const char *folder, Scores *s)
{
  PetscFunctionBeginUser;
  *s = (Scores){.folder = folder};
  PetscCall(csv_read(folder, "scores.csv", &s->scores));
  PetscCall(csv_read(folder, "comparison.csv", &s->comparison));
  PetscCall(csv_read(folder, "cells.csv", &s->cells));
  PetscCall(csv_read(folder, "calibration.csv", &s->calibration));
  PetscCall(csv_read(folder, "changes.csv", &s->changes));
  PetscCall(csv_read(folder, "distances.csv", &s->distances));
  PetscCall(csv_read(folder, "coverage.csv", &s->coverage));
  PetscCall(csv_distinct(&s->scores, "model", &s->models, &s->model));
  PetscCall(best_of_kind(s, "prediction", &s->prediction));
  /* Of equal baselines the one that the comparison names. */
  const PetscInt row = s->prediction ? comparison_row(s, titles[0].name, s->prediction) : -1;
  if (row >= 0 && *csv_text(&s->comparison, row, "best_baseline")) PetscCall(PetscStrallocpy(csv_text(&s->comparison, row, "best_baseline"), &s->baseline));
  else PetscCall(best_of_kind(s, "baseline", &s->baseline));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode scores_free(Scores *s)
{
  CsvTable *table[] = {&s->scores, &s->comparison, &s->cells, &s->calibration, &s->changes, &s->distances, &s->coverage};

  PetscFunctionBeginUser;
  for (int i = 0; i < 7; i++) PetscCall(csv_free(table[i]));
  PetscCall(strings_free(s->models, &s->model));
  PetscCall(PetscFree(s->prediction));
  PetscCall(PetscFree(s->baseline));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- headline ------------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode add_code(Page *page, const char *name)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(&page->text, "<b>"));
  PetscCall(text_add_escaped(&page->text, name));
  PetscCall(text_add(&page->text, "</b>"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "energy distance 1.93 against 2.31 (difference -0.38, 95 % interval -0.50 to -0.22)". */
static PetscErrorCode add_difference(Page *page, const Scores *s, const char *score)
{
  const CsvTable *c    = &s->comparison;
  const PetscInt  mine = comparison_row(s, score, s->prediction);
  const char     *name = mine < 0 ? "" : csv_text(c, mine, "best_baseline");
  const PetscInt  theirs = mine < 0 ? -1 : comparison_row(s, score, name);

  PetscFunctionBeginUser;
  if (theirs < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(text_add(&page->text, is_share(score) ? "<li>%s (%s is better): %.3f, best baseline %.3f (" : "<li>%s (%s is better): %.4g, best baseline %.4g (", score_title(score), csv_text(c, mine, "direction"), csv_number(c, mine, "mean"),
                     csv_number(c, theirs, "mean")));
  PetscCall(text_add_escaped(&page->text, name));
  PetscCall(text_add(&page->text, "); difference %+.3g", csv_number(c, mine, "difference")));
  if (comparison_intervals(s))
    PetscCall(text_add(&page->text, ", 95&nbsp;%% interval %+.3g to %+.3g, Holm-adjusted p = %.2g", csv_number(c, mine, "difference_lower_95"), csv_number(c, mine, "difference_upper_95"),
                       csv_number(c, mine, "p_holm")));
  if (csv_number(c, mine, "repeats") > 1) PetscCall(text_add(&page->text, ", standard deviation over %g training runs %.2g", csv_number(c, mine, "repeats"), csv_number(c, mine, "repeat_std")));
  PetscCall(text_add(&page->text, "</li>\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In which of the ten usual metrics the prediction is ahead of all baselines, and in which one is ahead of it. */
static PetscErrorCode add_usual_verdict(Page *page, const Scores *s)
{
  const CsvTable *c = &s->comparison;
  PetscInt        count[2] = {0, 0};
  Text            names[2] = {{0}, {0}};

  PetscFunctionBeginUser;
  for (int u = 0; u < USUAL_METRICS; u++) {
    const PetscInt row = comparison_row(s, usual_metric[u].score, s->prediction);
    if (row < 0 || !usual_says_something(s, u) || !*csv_text(c, row, "best_baseline")) continue;
    const double difference = csv_number(c, row, "difference") * (strcmp(csv_text(c, row, "direction"), "lower") ? 1 : -1);
    if (!isfinite(difference) || difference == 0) continue;
    const int behind = difference < 0;
    PetscCall(text_add(&names[behind], "%s%s", count[behind]++ ? ", " : "", usual_metric[u].title));
    if (behind) PetscCall(text_add(&names[1], " (%s)", csv_text(c, row, "best_baseline")));
  }
  if (count[0] + count[1])
    PetscCall(text_add(&page->text, "<li>of the <a href=\"#usual\">usual metrics of cell-eval</a> ahead of every baseline in %d%s%s; behind the best baseline in %d%s%s</li>\n", (int)count[0],
                       count[0] ? ": " : "", count[0] ? names[0].text : "", (int)count[1], count[1] ? ": " : "", count[1] ? names[1].text : ""));
  for (int b = 0; b < 2; b++) PetscCall(PetscFree(names[b].text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_headline(Page *page, const Scores *s)
{
  const PetscInt mine = s->prediction ? comparison_row(s, titles[0].name, s->prediction) : -1;

  PetscFunctionBeginUser;
  if (mine < 0 || !s->baseline) PetscFunctionReturn(PETSC_SUCCESS);
  const CsvTable *c          = &s->comparison;
  const double    value      = csv_number(c, mine, "mean"), other = csv_number(c, comparison_row(s, titles[0].name, s->baseline), "mean");
  const double    difference = csv_number(c, mine, "difference"), low = csv_number(c, mine, "difference_lower_95"), high = csv_number(c, mine, "difference_upper_95");
  const double    spread     = csv_number(c, mine, "repeats") > 1 ? csv_number(c, mine, "repeat_std") : 0;
  const PetscBool certain    = comparison_intervals(s) ? (low > 0) == (high > 0) : fabs(difference) > 2 * spread;
  const char     *verdict    = !certain ? "cannot be told from" : difference < 0 ? "beats" : "does not beat";

  PetscCall(text_add(&page->text, "<section class=\"headline\" id=\"result\"><p class=\"verdict\">"));
  PetscCall(add_code(page, s->prediction));
  PetscCall(text_add(&page->text, " %s the best baseline, ", verdict));
  PetscCall(add_code(page, s->baseline));
  if (certain && other > 0) PetscCall(text_add(&page->text, ": its cells are %.0f&nbsp;%% %s the measured ones in energy distance", 100 * fabs(1 - value / other), difference < 0 ? "closer to" : "further from"));
  PetscCall(text_add(&page->text, ".</p><ul>\n"));
  PetscCall(add_difference(page, s, titles[0].name));
  PetscCall(add_difference(page, s, titles[1].name));
  PetscCall(add_usual_verdict(page, s));
  PetscCall(text_add(&page->text, "</ul><p class=\"small\">Means over %g held-out populations of %g perturbation%s. %s</p></section>\n", csv_number(c, mine, "groups"),
                     csv_number(c, mine, "perturbations"), comparison_intervals(s) ? "s" : "",
                     comparison_intervals(s) ? "Intervals: bootstrap over perturbations." : "With one perturbation there is no interval over perturbations: the answer holds for it alone, and 'beats' means by more than twice the spread of the training runs."));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- tables -------------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode table_begin(Page *page, const char *id)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(&page->text, "<div class=\"wide\" tabindex=\"0\"><table class=\"sortable\" id=\"%s\"><thead><tr>", id));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is the row the best of its score among predictions and baselines? Where all are alike none is. */
static PetscBool is_best(const Scores *s, PetscInt row)
{
  const CsvTable *c     = &s->comparison;
  const double    sign  = strcmp(csv_text(c, row, "direction"), "lower") ? 1 : -1, mine = csv_number(c, row, "mean");
  PetscBool       worse = PETSC_FALSE;

  if (!strcmp(csv_text(c, row, "kind"), "ceiling") || !isfinite(mine)) return PETSC_FALSE;
  for (PetscInt i = 0; i < c->rows; i++) {
    const double other = csv_number(c, i, "mean");
    if (strcmp(csv_text(c, i, "score"), csv_text(c, row, "score")) || !strcmp(csv_text(c, i, "kind"), "ceiling")) continue;
    if (sign * other > sign * mine) return PETSC_FALSE;
    if (sign * other < sign * mine) worse = PETSC_TRUE;
  }
  return worse;
}

/* The value of one score of one model, with its interval or spread. */
static PetscErrorCode add_score_cell(Page *page, const Scores *s, const char *score, const char *model)
{
  const CsvTable *c    = &s->comparison;
  const PetscInt  row  = comparison_row(s, score, model);
  const double    mean = row < 0 ? NAN : csv_number(c, row, "mean");

  PetscFunctionBeginUser;
  if (!isfinite(mean)) {
    PetscCall(text_add(&page->text, "<td>&ndash;</td>"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const PetscBool best = is_best(s, row);
  PetscCall(text_add(&page->text, "<td data-value=\"%.10g\"%s>", mean, best ? " class=\"best\"" : ""));
  /* Shares and correlations need no more digits, and ten columns little room. */
  PetscCall(text_add(&page->text, is_share(score) ? "%.3f%s" : "%.4g%s", mean, best ? "&#8239;&#9733;" : ""));
  if (comparison_intervals(s) && isfinite(csv_number(c, row, "lower_95")))
    PetscCall(text_add(&page->text, is_share(score) ? "<small>%.2f to %.2f</small>" : "<small>%.3g to %.3g</small>", csv_number(c, row, "lower_95"), csv_number(c, row, "upper_95")));
  else if (csv_number(c, row, "repeats") > 1) PetscCall(text_add(&page->text, "<small>&plusmn; %.2g</small>", csv_number(c, row, "repeat_std")));
  PetscCall(text_add(&page->text, "</td>"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A row for each model, a column for each score; title: of the columns, as HTML. */
static PetscErrorCode add_score_rows(Page *page, const Scores *s, const char *id, PetscInt scores, const char *const *score, const char *const *title)
{
  const CsvTable *c = &s->comparison;

  PetscFunctionBeginUser;
  PetscCall(table_begin(page, id));
  PetscCall(text_add(&page->text, "<th>prediction</th>"));
  for (PetscInt i = 0; i < scores; i++) {
    const PetscInt row = comparison_row(s, score[i], csv_text(c, 0, "model"));
    PetscCall(text_add(&page->text, "<th title=\"%s\">%s %s</th>", score[i], title[i], row >= 0 && !strcmp(csv_text(c, row, "direction"), "lower") ? "&darr;" : "&uarr;"));
  }
  PetscCall(text_add(&page->text, "</tr></thead><tbody>\n"));
  for (PetscInt m = 0; m < s->models; m++) {
    const PetscInt first = comparison_row(s, titles[0].name, s->model[m]);
    PetscCall(text_add(&page->text, "<tr class=\"%s\"><td>", first < 0 ? "" : csv_text(c, first, "kind")));
    PetscCall(text_add_escaped(&page->text, s->model[m]));
    PetscCall(text_add(&page->text, "</td>"));
    for (PetscInt i = 0; i < scores; i++) PetscCall(add_score_cell(page, s, score[i], s->model[m]));
    PetscCall(text_add(&page->text, "</tr>\n"));
  }
  PetscCall(text_add(&page->text, "</tbody></table></div>\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tables of scores: no more columns in one than a sheet of paper has room for. */
static int table_of(const char *score)
{
  static const char *const questions[] = {"question_", "direction_", "geneset_"}, *const distributions[] = {"mmd_squared", "wasserstein", "correlation_", "zeros_", "classifier_"};

  for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
    if (!strncmp(score, questions[i], strlen(questions[i]))) return 2;
  for (size_t i = 0; i < sizeof distributions / sizeof *distributions; i++)
    if (!strncmp(score, distributions[i], strlen(distributions[i]))) return 1;
  return 0;
}

PetscErrorCode add_score_table(Page *page, const Scores *s)
{
  static const char *const id[]    = {"table-scores", "table-distribution", "table-genes"};
  static const char *const about[] = {"", "<h3>Distributions</h3>\n<p>Measured against predicted cells as populations, beyond their means. MMD is with Gaussian kernels; Wasserstein distances are means over genes; a classifier that "
                                          "tells predicted from measured cells no better than by chance has 0.5.</p>\n",
                                      "<h3>Questions and gene sets</h3>\n<p>Which genes change, and which way, asked of the predicted cells; and how far gene sets found in predicted and in measured cells agree.</p>\n"};
  PetscInt     scores;
  char       **score;
  const char **column, **title;

  PetscFunctionBeginUser;
  if (!s->comparison.rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(csv_distinct(&s->comparison, "score", &scores, &score));
  PetscCall(PetscMalloc2(scores + 1, &column, scores + 1, &title));
  PetscCall(text_add(&page->text, "<h2 id=\"scores\">Scores</h2>\n<p>Means over the held-out populations, on log1p values of 10,000 counts a cell; the best of each column is marked with a star. "
                                  "%s The <i>ceiling</i> sets two halves of the measured cells against each other: half as many cells, so that its distances start higher.</p>\n",
                     comparison_intervals(s) ? "Small: 95&nbsp;% interval over perturbations." : "Small: standard deviation over training runs."));
  for (int table = 0; table < 3; table++) {
    PetscInt shown = 0;
    /* The distance of the headline comes first; cell-eval's have a table of their own. */
    if (!table) column[shown++] = titles[0].name;
    for (PetscInt i = 0; i < scores; i++)
      if (strcmp(score[i], titles[0].name) && !metric_of_celleval(score[i]) && table_of(score[i]) == table) column[shown++] = score[i];
    for (PetscInt i = 0; i < shown; i++) title[i] = score_title(column[i]);
    if (!shown) continue;
    PetscCall(text_add(&page->text, "%s", about[table]));
    PetscCall(add_score_rows(page, s, id[table], shown, column, title));
  }
  PetscCall(PetscFree2(column, title));
  PetscCall(strings_free(scores, &score));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double population_mean(const Scores *s, const char *model, const char *label, const char *column)
{
  double   sum   = 0;
  PetscInt count = 0;
  char     other[512];

  for (PetscInt i = 0; i < s->scores.rows; i++) {
    if (strcmp(csv_text(&s->scores, i, "model"), model)) continue;
    csv_population(&s->scores, i, "", other, sizeof other);
    if (strcmp(other, label)) continue;
    sum += csv_number(&s->scores, i, column);
    count++;
  }
  return count ? sum / (double)count : NAN;
}

/* A dash where there is no number. */
static PetscErrorCode add_number_cell(Page *page, const char *format, double value)
{
  char text[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, sizeof text, format, value));
  PetscCall(text_add(&page->text, "<td>%s</td>", isfinite(value) ? text : "&ndash;"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations in the page at most: longer tables are read elsewhere. */
enum { POPULATIONS = 200 };

PetscErrorCode add_populations(Page *page, const Scores *s)
{
  const char *const column[] = {"perturbation", "cell_type", "batch"}, *const title[] = {"perturbation", "cell type", "batch"};
  const char       *one      = s->prediction ? s->prediction : s->models ? s->model[0] : "";
  PetscInt          shown    = 0;

  PetscFunctionBeginUser;
  PetscCall(text_add(&page->text, "<h2 id=\"data\">Populations held out</h2>\n"));
  PetscCall(table_begin(page, "table-populations"));
  for (int a = 0; a < 3; a++) PetscCall(text_add(&page->text, "<th class=\"text\">%s</th>", title[a]));
  PetscCall(text_add(&page->text, "<th>cells measured</th><th>cells predicted</th><th>energy distance</th>"));
  if (s->baseline) PetscCall(text_add(&page->text, "<th>energy distance of %s</th>", s->baseline));
  PetscCall(text_add(&page->text, "<th>correlation of changes</th></tr></thead><tbody>\n"));
  for (PetscInt i = 0; i < s->scores.rows; i++) {
    char label[512];
    if (strcmp(csv_text(&s->scores, i, "model"), one) || csv_number(&s->scores, i, "repeat") > 1 || shown++ >= POPULATIONS) continue;
    csv_population(&s->scores, i, "", label, sizeof label);
    PetscCall(text_add(&page->text, "<tr>"));
    for (int a = 0; a < 3; a++) {
      PetscCall(text_add(&page->text, "<td class=\"text\">"));
      PetscCall(text_add_escaped(&page->text, csv_text(&s->scores, i, column[a])));
      PetscCall(text_add(&page->text, "</td>"));
    }
    PetscCall(text_add(&page->text, "<td>%s</td><td>%s</td>", csv_text(&s->scores, i, "cells_real"), csv_text(&s->scores, i, "cells_predicted")));
    PetscCall(add_number_cell(page, "%.4g", population_mean(s, one, label, "energy_distance")));
    if (s->baseline) PetscCall(add_number_cell(page, "%.4g", population_mean(s, s->baseline, label, "energy_distance")));
    PetscCall(add_number_cell(page, "%.3f", population_mean(s, one, label, "pearson_delta")));
    PetscCall(text_add(&page->text, "</tr>\n"));
  }
  PetscCall(text_add(&page->text, "</tbody></table></div>\n"));
  if (shown > POPULATIONS) PetscCall(text_add(&page->text, "<p class=\"small\">The first %d of %d; all are in scores.csv.</p>\n", POPULATIONS, (int)shown));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- cell-eval ----------------------------------------------------------------------------------------------------------------- */

const UsualMetric usual_metric[USUAL_METRICS] = {{"celleval_pearson_delta", "PDCorr", PETSC_FALSE},
                                                 {"celleval_mae", "MAE", PETSC_FALSE},
                                                 {"celleval_discrimination_score_l1", "PDS", PETSC_TRUE},
                                                 {"celleval_overlap_at_N", "DEOver", PETSC_FALSE},
                                                 {"celleval_precision_at_N", "DEPrec", PETSC_FALSE},
                                                 {"celleval_de_direction_match", "DirAgr", PETSC_FALSE},
                                                 {"celleval_de_spearman_lfc_sig", "LFCSpear", PETSC_FALSE},
                                                 {"celleval_de_spearman_sig", "ES", PETSC_TRUE},
                                                 {"celleval_roc_auc", "AUROC", PETSC_FALSE},
                                                 {"celleval_pr_auc", "AUPRC", PETSC_FALSE}};

PetscBool metric_of_celleval(const char *score) { return strncmp(score, "celleval_", 9) ? PETSC_FALSE : PETSC_TRUE; }

PetscBool usual_says_something(const Scores *s, int u)
{
  for (PetscInt m = 0; m < s->models; m++) {
    const PetscInt row = comparison_row(s, usual_metric[u].score, s->model[m]);
    if (row >= 0 && isfinite(csv_number(&s->comparison, row, "mean")) && (!usual_metric[u].several || comparison_intervals(s))) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

PetscErrorCode add_usual_metrics(Page *page, const Scores *s)
{
  const char *score[USUAL_METRICS], *title[USUAL_METRICS];
  PetscInt    shown = 0;

  PetscFunctionBeginUser;
  for (int u = 0; u < USUAL_METRICS; u++) {
    if (!usual_says_something(s, u)) continue;
    score[shown] = usual_metric[u].score;
    title[shown++] = usual_metric[u].title;
  }
  if (!shown) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(text_add(&page->text, "<h3 id=\"usual\">The ten usual metrics</h3>\n<p>As cell-eval computes them, means over perturbations; a star marks the best of a column, the ceiling left out. PDCorr: correlation of mean "
                                  "changes. MAE: of means. PDS: how near a prediction is to its own perturbation among all. DEOver and DEPrec: overlap of the lists of changed genes, as long as the measured and as the predicted one. "
                                  "DirAgr and LFCSpear: direction and ranks of the fold changes of genes that do change. ES: numbers of changed genes, ranked. AUROC, AUPRC: which genes change. A gene changes where the "
                                  "rank-sum test against control cells has a false discovery rate below 5&nbsp;%%.%s</p>\n",
                     shown < USUAL_METRICS ? " PDS and ES say nothing of a single perturbation and are left out." : ""));
  PetscCall(add_score_rows(page, s, "table-usual", shown, score, title));
  PetscFunctionReturn(PETSC_SUCCESS);
}
