/* Figures of scores: means with intervals, and all scores on one radar. */
#include "report/report_internal.h"
#include <math.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>

static const char *colour_of(const Scores *s, const char *model, const char *kind)
{
  if (s->prediction && !strcmp(model, s->prediction)) return COLOUR_PREDICTED;
  if (!strcmp(kind, "prediction")) return report_colours[2];
  if (s->baseline && !strcmp(model, s->baseline)) return COLOUR_REAL;
  return COLOUR_CONTROL;
}

/* A row for each model: a small dot for each population and run, the mean as a large one with its interval. */
static PetscErrorCode score_panel(const Scores *s, const char *score, Text *script)
{
  const CsvTable *c = &s->comparison;
  PetscInt        drawn = 0;
  double          least = INFINITY, most = -INFINITY, step;

  PetscFunctionBeginUser;
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "$points << EOD\n"));
  for (PetscInt m = 0; m < s->models; m++)
    for (PetscInt i = 0; i < s->scores.rows && drawn < 2000; i++) {
      const double value = csv_number(&s->scores, i, score);
      if (strcmp(csv_text(&s->scores, i, "model"), s->model[m]) || !isfinite(value)) continue;
      /* Spread a little so that equal values stay visible. */
      PetscCall(text_add(script, "%g %g\n", value, (double)(s->models - m) + 0.22 * sin(2.399 * (double)i)));
      drawn++;
      least = fmin(least, value);
      most  = fmax(most, value);
    }
  PetscCall(text_add(script, "EOD\n$means << EOD\n"));
  for (PetscInt m = 0; m < s->models; m++) {
    const PetscInt row = comparison_row(s, score, s->model[m]);
    if (row < 0 || !isfinite(csv_number(c, row, "mean"))) continue;
    const double mean = csv_number(c, row, "mean"), spread = csv_number(c, row, "repeats") > 1 ? csv_number(c, row, "repeat_std") : 0;
    const char  *colour = colour_of(s, s->model[m], csv_text(c, row, "kind"));
    PetscCall(text_add(script, "%g %d %g %g 0x%s\n", mean, (int)(s->models - m), comparison_intervals(s) ? csv_number(c, row, "lower_95") : mean - spread,
                       comparison_intervals(s) ? csv_number(c, row, "upper_95") : mean + spread, colour + 1));
  }
  /* About five labels on the axis: 1, 2 or 5 times a power of ten apart. */
  if (most > least) {
    const double power = pow(10, floor(log10((most - least) / 4))), factor = (most - least) / 4 / power;
    step               = power * (factor > 5 ? 10 : factor > 2 ? 5 : factor > 1 ? 2 : 1);
  } else step = 1;
  PetscCall(text_add(script, "EOD\nset xtics %g\n", step));
  /* No distance is below 0 and no correlation above 1, nor does the axis show such. */
  const PetscInt any = comparison_row(s, score, s->model[0]);
  if (any >= 0 && most > least) PetscCall(text_add(script, strcmp(csv_text(c, any, "direction"), "lower") ? "set xrange [*:1]\n" : "set xrange [0:*]\n"));
  PetscCall(text_add(script, "set title '%s (%s)'\nset yrange [0.4:%d.6]\nset offsets graph 0.03, graph 0.03, 0, 0\nset ytics (", score_title(score),
                     comparison_row(s, score, s->model[0]) >= 0 ? !strcmp(csv_text(c, comparison_row(s, score, s->model[0]), "direction"), "lower") ? "smaller is better" : "larger is better" : "",
                     (int)s->models));
  for (PetscInt m = 0; m < s->models; m++) {
    PetscCall(text_add(script, "%s", m ? "," : ""));
    PetscCall(text_add_quoted(script, s->model[m]));
    PetscCall(text_add(script, " %d", (int)(s->models - m)));
  }
  PetscCall(text_add(script, ") noenhanced\nset lmargin at screen 0.32\nplot $points using 1:2 with points linecolor '#bbbbbb' pointtype 7 pointsize 0.35 notitle,"
                             " $means using 3:2:($4-$3):(0):5 with vectors nohead linewidth 3 linecolor rgbcolor variable notitle,"
                             " $means using 1:2:5 with points pointtype 7 pointsize 1 linecolor rgbcolor variable notitle\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- radar --------------------------------------------------------------------------------------------------------------------- */

enum { SERIES_MOST = 9, PREDICTIONS = 3, OTHERS = 4 };

/* A curve of the radar. */
typedef struct {
  const char *model, *colour;
  double      width;
  int         point, dash;
} Series;

static double mean_of(const Scores *s, const char *score, const char *model)
{
  const PetscInt row = comparison_row(s, score, model);
  return row < 0 ? NAN : csv_number(&s->comparison, row, "mean");
}

/* Distance from the centre: the metric itself where 1 is best, negative ones at the centre; an error as the share by which it is below the largest of all rows. */
static double radius_of(const Scores *s, int u, const char *model)
{
  const char    *score = usual_metric[u].score;
  const double   value = mean_of(s, score, model);
  const PetscInt row = comparison_row(s, score, model);
  double         most = 0;

  if (!usual_says_something(s, u) || !isfinite(value)) return NAN;
  if (strcmp(csv_text(&s->comparison, row, "direction"), "lower")) return fmin(1, fmax(0, value));
  for (PetscInt m = 0; m < s->models; m++) {
    const double other = mean_of(s, score, s->model[m]);
    if (isfinite(other)) most = fmax(most, other);
  }
  return most > 0 ? 1 - value / most : NAN;
}

static PetscBool same_curve(const Scores *s, const char *a, const char *b)
{
  for (int u = 0; u < USUAL_METRICS; u++) {
    const double x = radius_of(s, u, a), y = radius_of(s, u, b);
    if (isfinite(x) != isfinite(y) || fabs(x - y) > 1e-9) return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

static const char *kind_of(const Scores *s, const char *model)
{
  const PetscInt row = comparison_row(s, "energy_distance", model);
  return row < 0 ? "" : csv_text(&s->comparison, row, "kind");
}

/* Predictions, the best baseline, the others whose curves differ from those before, the ceiling. */
static PetscInt choose_series(const Scores *s, Series *series)
{
  static const char *const prediction[PREDICTIONS] = {COLOUR_PREDICTED, "#009E73", "#CC79A7"}, *const other[OTHERS] = {"#56B4E9", "#E69F00", "#882255", "#332288"};
  PetscInt                 count = 0, others = 0;

  /* The best prediction first, in the colour that it has everywhere. */
  if (s->prediction) series[count++] = (Series){s->prediction, prediction[0], 3.2, 7, 1};
  for (PetscInt m = 0; m < s->models && count < PREDICTIONS; m++)
    if (!strcmp(kind_of(s, s->model[m]), "prediction") && strcmp(s->model[m], s->prediction)) {
      series[count] = (Series){s->model[m], prediction[count], 2.4, 7, 1};
      count++;
    }
  if (s->baseline) series[count++] = (Series){s->baseline, COLOUR_REAL, 2.4, 5, 1};
  for (PetscInt m = 0; m < s->models && count < SERIES_MOST - 1; m++) {
    const PetscBool control = strcmp(s->model[m], "control") ? PETSC_FALSE : PETSC_TRUE;
    PetscBool       again = strcmp(kind_of(s, s->model[m]), "baseline") ? PETSC_TRUE : PETSC_FALSE;
    for (PetscInt i = 0; i < count && !again; i++) again = same_curve(s, s->model[m], series[i].model);
    if (again || (!control && others == OTHERS)) continue;
    series[count++] = (Series){s->model[m], control ? COLOUR_CONTROL : other[others], 1.4, control ? 2 : (int)(9 + 2 * others), control ? 1 : 4};
    others += !control;
  }
  for (PetscInt m = 0; m < s->models; m++)
    if (!strcmp(kind_of(s, s->model[m]), "ceiling")) series[count++] = (Series){s->model[m], "#444444", 1.4, 1, 3};
  return count;
}

static PetscErrorCode add_axes(const Scores *s, Text *script)
{
  PetscFunctionBeginUser;
  for (int u = 0; u < USUAL_METRICS; u++) {
    const double    angle = 2 * PETSC_PI * u / USUAL_METRICS, x = sin(angle), y = cos(angle);
    const PetscBool there = usual_says_something(s, u);
    PetscCall(text_add(script, "set arrow from 0,0 to %g,%g nohead linecolor '#cccccc'\nset label \"%s%s\" at %g,%g %s textcolor '%s' font ',14'\n", x, y, usual_metric[u].title,
                       there ? "" : "\\n(not defined)", 1.1 * x, 1.12 * y, x > 0.1 ? "left" : x < -0.1 ? "right" : "center", there ? "#222222" : "#8c8c8c"));
  }
  for (int ring = 1; ring <= 4; ring++)
    PetscCall(text_add(script, "set object %d circle at 0,0 size first %g fillstyle empty border linecolor '%s'\n", ring, 0.25 * ring, ring == 4 ? "#aaaaaa" : "#e0e0e0"));
  PetscCall(text_add(script, "set label '0.5' at 0.155,0.476 center textcolor '#777777' font ',11'\nset label '1' at 0.29,0.895 center textcolor '#777777' font ',11'\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The usual metrics of cell-eval; script stays empty where they were not computed. */
static PetscErrorCode radar(const Scores *s, Text *script)
{
  Series   series[SERIES_MOST + 1];
  PetscInt count, axes = 0;
  Text     plot = {0};

  PetscFunctionBeginUser;
  for (int u = 0; u < USUAL_METRICS; u++) axes += usual_says_something(s, u);
  if (axes < 3 || !s->prediction) PetscFunctionReturn(PETSC_SUCCESS);
  count = choose_series(s, series);
  PetscCall(text_add(script, "set encoding utf8\nset key noenhanced below center horizontal maxcols 4 textcolor '#222222' samplen 2.5\nunset border\nunset tics\nset size ratio -1\nset xrange [-1.75:1.75]\n"
                             "set yrange [-1.2:1.2]\n"));
  PetscCall(add_axes(s, script));
  for (PetscInt i = 0; i < count; i++) {
    PetscCall(text_add(script, "$series%d << EOD\n", (int)i));
    for (int u = 0; u <= USUAL_METRICS; u++) {
      const double angle = 2 * PETSC_PI * (u % USUAL_METRICS) / USUAL_METRICS, radius = radius_of(s, u % USUAL_METRICS, series[i].model);
      /* A gap where there is no number. */
      if (isfinite(radius)) PetscCall(text_add(script, "%g %g\n", radius * sin(angle), radius * cos(angle)));
      else PetscCall(text_add(script, "\n"));
    }
    PetscCall(text_add(script, "EOD\n"));
  }
  /* The best prediction leads the key and is drawn again, on top of the others. */
  for (PetscInt k = 0; k <= count; k++) {
    const Series *c = &series[k % count];
    PetscCall(text_add(&plot, "%s $series%d using 1:2 with linespoints linewidth %g linecolor '%s' dashtype %d pointtype %d pointsize 0.7", k ? "," : "", (int)(k % count), c->width, c->colour,
                       c->dash, c->point));
    PetscCall(text_add(&plot, k < count ? " title " : " notitle"));
    if (k < count) PetscCall(text_add_quoted(&plot, c->model));
  }
  PetscCall(text_add(script, "plot%s\n", plot.text));
  PetscCall(PetscFree(plot.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_score_figures(Page *page, const Scores *s)
{
  static const char *const shown[] = {"energy_distance", "pearson_delta", "r2", "mae"};
  Text                     script  = {0};

  PetscFunctionBeginUser;
  if (!s->comparison.rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_begin(page, "scores"));
  for (int i = 0; i < 4; i++) {
    PetscCall(score_panel(s, shown[i], &script));
    PetscCall(figure_panel(page, &script, 460, 110 + 26 * (int)s->models, score_title(shown[i])));
  }
  PetscCall(figure_end(page, comparison_intervals(s) ? "Scores on the held-out populations. Grey: one population and run; coloured: mean with its 95&nbsp;% interval over perturbations (orange the best prediction, blue the best baseline)."
                                                     : "Scores on the held-out populations. Grey: one population and run; coloured: mean, with the standard deviation over training runs as a bar (orange the best prediction, blue the best baseline)."));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_radar(Page *page, const Scores *s)
{
  Text script = {0};

  PetscFunctionBeginUser;
  PetscCall(radar(s, &script));
  if (!script.used) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_begin(page, "radar"));
  PetscCall(figure_panel(page, &script, 560, 500, "The ten usual metrics on a radar"));
  PetscCall(figure_end(page, "The ten usual metrics of predictions and baselines. Further out is better everywhere, the rim is perfect: the values themselves (negative ones at the centre), of MAE the share by which it is below the largest. "
                             "At most three predictions, the best baseline, control and four more are drawn, and none whose curve is another's; dotted: ceiling, half of the measured cells against the other half."));
  PetscFunctionReturn(PETSC_SUCCESS);
}
