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

enum { AXES_MOST = 12, SERIES_MOST = 5 };

/* Share of the way from the worst to the best of all rows but the ceiling; NaN where they do not differ. */
static double share_of_best(const Scores *s, const char *score, const char *model)
{
  const CsvTable *c = &s->comparison;
  double          least = INFINITY, most = -INFINITY, value = NAN;
  PetscBool       lower = PETSC_FALSE;

  for (PetscInt i = 0; i < c->rows; i++) {
    const double mean = csv_number(c, i, "mean");
    if (strcmp(csv_text(c, i, "score"), score) || !strcmp(csv_text(c, i, "kind"), "ceiling") || !isfinite(mean)) continue;
    least = fmin(least, mean);
    most  = fmax(most, mean);
    lower = strcmp(csv_text(c, i, "direction"), "lower") ? PETSC_FALSE : PETSC_TRUE;
    if (!strcmp(csv_text(c, i, "model"), model)) value = mean;
  }
  if (!(most > least)) return NAN;
  return lower ? (most - value) / (most - least) : (value - least) / (most - least);
}

static PetscErrorCode radar(const Scores *s, Text *script, PetscInt *axes)
{
  PetscInt    scores, series = 0;
  char      **score;
  const char *axis[AXES_MOST], *model[SERIES_MOST] = {NULL};

  PetscFunctionBeginUser;
  *axes = 0;
  PetscCall(csv_distinct(&s->comparison, "score", &scores, &score));
  for (PetscInt i = 0; i < scores && *axes < AXES_MOST; i++) {
    const double share = s->prediction ? share_of_best(s, score[i], s->prediction) : NAN;
    if (isfinite(share)) axis[(*axes)++] = score[i];
  }
  for (PetscInt m = 0; m < s->models && series < SERIES_MOST - 2; m++) {
    const PetscInt row = comparison_row(s, "energy_distance", s->model[m]);
    if (row >= 0 && !strcmp(csv_text(&s->comparison, row, "kind"), "prediction")) model[series++] = s->model[m];
  }
  if (s->baseline) model[series++] = s->baseline;
  if (!s->baseline || strcmp(s->baseline, "control")) model[series++] = "control";
  if (*axes >= 3) {
    PetscCall(text_add(script, "set encoding utf8\nset key noenhanced below center horizontal textcolor '#222222' samplen 1.5\nunset border\nunset tics\nset size ratio -1\nset xrange [-2.15:2.15]\nset yrange [-1.3:1.3]\nset parametric\nset trange [0:2*pi]\n"));
    for (PetscInt a = 0; a < *axes; a++) {
      const double angle = 2 * PETSC_PI * a / (double)*axes, x = sin(angle), y = cos(angle);
      PetscCall(text_add(script, "set arrow from 0,0 to %g,%g nohead linecolor '#cccccc'\nset label '%s' at %g,%g %s textcolor '#222222' font ',12'\n", x, y, score_title(axis[a]), 1.08 * x, 1.1 * y,
                         x > 0.1 ? "left" : x < -0.1 ? "right" : "center"));
    }
    Text plot = {0};
    for (PetscInt i = 0; i < series; i++) {
      const char *colour = i == series - 1 && !strcmp(model[i], "control") ? COLOUR_CONTROL : s->baseline && !strcmp(model[i], s->baseline) ? COLOUR_REAL : report_colours[i ? i + 1 : 0];
      PetscCall(text_add(script, "$series%d << EOD\n", (int)i));
      for (PetscInt a = 0; a <= *axes; a++) {
        const double angle = 2 * PETSC_PI * (a % *axes) / (double)*axes, share = share_of_best(s, axis[a % *axes], model[i]);
        if (isfinite(share)) PetscCall(text_add(script, "%g %g\n", share * sin(angle), share * cos(angle)));
      }
      PetscCall(text_add(script, "EOD\n"));
      PetscCall(text_add(&plot, ", $series%d using 1:2 with linespoints linewidth 2.2 linecolor '%s' pointtype %d pointsize 0.6 title ", (int)i, colour, (int)(2 * i + 5)));
      PetscCall(text_add_quoted(&plot, model[i]));
    }
    PetscCall(text_add(script, "plot cos(t),sin(t) with lines linecolor '#cccccc' notitle, 0.5*cos(t),0.5*sin(t) with lines linecolor '#e4e4e4' notitle%s\n", plot.text));
    PetscCall(PetscFree(plot.text));
  }
  PetscCall(strings_free(scores, &score));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_score_figures(Page *page, const Scores *s)
{
  static const char *const shown[] = {"energy_distance", "pearson_delta", "r2", "mae"};
  Text                     script  = {0};
  PetscInt                 axes;

  PetscFunctionBeginUser;
  if (!s->comparison.rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_begin(page, "scores"));
  for (int i = 0; i < 4; i++) {
    PetscCall(score_panel(s, shown[i], &script));
    PetscCall(figure_panel(page, &script, 460, 110 + 26 * (int)s->models, score_title(shown[i])));
  }
  PetscCall(figure_end(page, comparison_intervals(s) ? "Scores on the held-out populations. Grey: one population and run; coloured: mean with its 95&nbsp;% interval over perturbations (orange the best prediction, blue the best baseline)."
                                                     : "Scores on the held-out populations. Grey: one population and run; coloured: mean, with the standard deviation over training runs as a bar (orange the best prediction, blue the best baseline)."));
  PetscCall(radar(s, &script, &axes));
  if (script.used) {
    PetscCall(figure_begin(page, "radar"));
    PetscCall(figure_panel(page, &script, 500, 350, "All scores on a radar"));
    PetscCall(figure_end(page, "All scores at once. The rim is the best of all predictions and baselines, the centre the worst; a curve further out is better everywhere it is. The scale is relative: the table has the values."));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
