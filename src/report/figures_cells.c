/* Figures of the populations shown: cells in principal components with density contours, calibration, distances of changes. */
#include "report/report_internal.h"
#include <math.h>
#include <perturbdiff/runtime/options.h>
#include <perturbdiff/runtime/sort.h>
#include <string.h>

enum { GRID = 48, PANELS = 6 };

typedef struct {
  PetscInt count;
  double  *x, *y;
} Points;

static double deviation(PetscInt n, const double *x)
{
  double mean = 0, sum = 0;
  for (PetscInt i = 0; i < n; i++) mean += x[i] / (double)n;
  for (PetscInt i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
  return n > 1 ? sqrt(sum / (double)(n - 1)) : 0;
}

/* Gaussian kernel density up to a factor; bandwidths by Scott's rule in two dimensions, n^(-1/6) standard deviations. */
static double density(const Points *p, const double h[2], double x, double y)
{
  double sum = 0;
  for (PetscInt i = 0; i < p->count; i++) sum += exp(-0.5 * (PetscSqr((x - p->x[i]) / h[0]) + PetscSqr((y - p->y[i]) / h[1])));
  return sum;
}

/* Data block of the lines around the densest regions that hold half and nine tenths of the cells. */
static PetscErrorCode contours(const Points *p, int number, const double low[2], const double high[2], Text *script, PetscBool *drawn)
{
  double *at, h[2];

  PetscFunctionBeginUser;
  *drawn = PETSC_FALSE;
  for (int d = 0; d < 2; d++) h[d] = deviation(p->count, d ? p->y : p->x) * pow((double)PetscMax(1, p->count), -1. / 6);
  if (p->count < 20 || !(h[0] > 0) || !(h[1] > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(p->count, &at));
  for (PetscInt i = 0; i < p->count; i++) at[i] = density(p, h, p->x[i], p->y[i]);
  sort_doubles(p->count, at);
  PetscCall(text_add(script, "$grid%d << EOD\n", number));
  for (int i = 0; i < GRID; i++) {
    for (int j = 0; j < GRID; j++) {
      const double x = low[0] + (high[0] - low[0]) * i / (GRID - 1), y = low[1] + (high[1] - low[1]) * j / (GRID - 1);
      PetscCall(text_add(script, "%.4g %.4g %.4g\n", x, y, density(p, h, x, y)));
    }
    PetscCall(text_add(script, "\n"));
  }
  PetscCall(text_add(script, "EOD\nset contour base\nset cntrparam levels discrete %.6g,%.6g\nunset surface\nset table $lines%d\nsplot $grid%d using 1:2:3 with lines\nunset table\nunset contour\n", at[p->count / 10],
                     at[p->count / 2], number, number));
  PetscCall(PetscFree(at));
  *drawn = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells of one kind of a population; model: of the prediction. */
static PetscErrorCode cells_of(const CsvTable *t, const char *label, const char *kind, const char *model, Points *p)
{
  char other[512];

  PetscFunctionBeginUser;
  p->count = 0;
  PetscCall(PetscMalloc2(t->rows, &p->x, t->rows, &p->y));
  for (PetscInt i = 0; i < t->rows; i++) {
    if (strcmp(csv_text(t, i, "kind"), kind) || (model && strcmp(csv_text(t, i, "model"), model))) continue;
    csv_population(t, i, "", other, sizeof other);
    if (strcmp(other, label)) continue;
    p->x[p->count]   = csv_number(t, i, "component_1");
    p->y[p->count++] = csv_number(t, i, "component_2");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode cells_panel(Page *page, const Scores *s, const char *label, const double share[2])
{
  static const char *const kind[3] = {"control", "real", "prediction"}, *const title[3] = {"control", "measured", "predicted"}, *const colour[3] = {COLOUR_CONTROL, COLOUR_REAL, COLOUR_PREDICTED};
  Text                     script = {0}, plot = {0}, lines = {0};
  Points                   p[3];
  double                   low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};

  PetscFunctionBeginUser;
  for (int k = 0; k < 3; k++) {
    PetscCall(cells_of(&s->cells, label, kind[k], k == 2 ? s->prediction : NULL, &p[k]));
    for (PetscInt i = 0; i < p[k].count; i++) {
      low[0]  = fmin(low[0], p[k].x[i]);
      high[0] = fmax(high[0], p[k].x[i]);
      low[1]  = fmin(low[1], p[k].y[i]);
      high[1] = fmax(high[1], p[k].y[i]);
    }
  }
  for (int d = 0; d < 2; d++) {
    const double margin = 0.15 * (high[d] - low[d]);
    low[d] -= margin;
    high[d] += margin;
  }
  PetscCall(figure_style(&script));
  for (int k = 0; k < 3 && high[0] > low[0] && high[1] > low[1]; k++) {
    PetscBool drawn;
    PetscCall(text_add(&script, "$cells%d << EOD\n", k));
    for (PetscInt i = 0; i < p[k].count; i++) PetscCall(text_add(&script, "%.4g %.4g\n", p[k].x[i], p[k].y[i]));
    PetscCall(text_add(&script, "EOD\n"));
    PetscCall(contours(&p[k], k, low, high, &script, &drawn));
    if (p[k].count)
      PetscCall(text_add(&plot, "%s $cells%d using 1:2 with points pointtype 7 pointsize 0.28 linecolor '%s' notitle", plot.used ? "," : "plot", k, colour[k]));
    if (drawn) PetscCall(text_add(&lines, ", $lines%d using 1:2 with lines linewidth 2.2 linecolor '%s' title '%s'", k, colour[k], title[k]));
    else if (p[k].count) PetscCall(text_add(&lines, ", NaN with points pointtype 7 pointsize 1 linecolor '%s' title '%s'", colour[k], title[k]));
  }
  if (plot.used) {
    PetscCall(text_add(&script, "set surface\nset title "));
    PetscCall(text_add_quoted(&script, label));
    PetscCall(text_add(&script, "\nset xrange [%g:%g]\nset yrange [%g:%g]\nset xlabel 'component 1 (%.0f %% of the variance)'\nset ylabel 'component 2 (%.0f %%)'\nset bmargin 5.5\nset key at screen 0.5,0.03 center horizontal\n%s%s\n", low[0], high[0],
                       low[1], high[1], 100 * share[0], 100 * share[1], plot.text, lines.used ? lines.text : ""));
    PetscCall(figure_panel(page, &script, 460, 420, label));
  }
  for (int k = 0; k < 3; k++) PetscCall(PetscFree2(p[k].x, p[k].y));
  PetscCall(PetscFree(script.text));
  PetscCall(PetscFree(plot.text));
  PetscCall(PetscFree(lines.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_components(Page *page, const Scores *s)
{
  char     label[512], last[512] = "";
  PetscInt panels = 0;

  PetscFunctionBeginUser;
  if (!s->cells.rows || !s->prediction) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(text_add(&page->text, "<h2 id=\"cells\">Cells</h2>\n"));
  PetscCall(figure_begin(page, "components"));
  for (PetscInt i = 0; i < s->cells.rows && panels < PANELS; i++) {
    csv_population(&s->cells, i, "", label, sizeof label);
    if (!strcmp(label, last)) continue;
    memcpy(last, label, sizeof last);
    const double share[2] = {csv_number(&s->cells, i, "variance_1"), csv_number(&s->cells, i, "variance_2")};
    PetscCall(cells_panel(page, s, label, share));
    panels++;
  }
  PetscCall(figure_end(page, "Cells of the populations with the strongest measured change, at most 300 of each kind, in the two leading principal components of the measured and control cells; predicted cells are projected onto them. "
                             "Lines enclose the densest regions with 50&nbsp;% and 90&nbsp;% of the cells. Look whether orange lies on blue, in place and in shape, and not on grey."));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- calibration --------------------------------------------------------------------------------------------------------------- */

/* Mean over the populations shown of one model's curve. */
static PetscErrorCode calibration_block(const CsvTable *t, const char *model, int number, Text *script)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "$curve%d << EOD\n0 0\n", number));
  for (int l = 1; l < 20; l++) {
    double   sum = 0;
    PetscInt count = 0;
    for (PetscInt i = 0; i < t->rows; i++)
      if (!strcmp(csv_text(t, i, "model"), model) && fabs(csv_number(t, i, "level") - l / 20.) < 1e-6) sum += csv_number(t, i, "real_share"), count++;
    if (count) PetscCall(text_add(script, "%g %g\n", l / 20., sum / (double)count));
  }
  PetscCall(text_add(script, "1 1\nEOD\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_calibration(Page *page, const Scores *s)
{
  Text     script = {0}, plot = {0};
  PetscInt models;
  char   **model;
  int      used = 0;

  PetscFunctionBeginUser;
  if (!s->calibration.rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(csv_distinct(&s->calibration, "model", &models, &model));
  PetscCall(figure_style(&script));
  for (PetscInt m = 0; m < models; m++) {
    const PetscBool control = strcmp(model[m], "control") ? PETSC_FALSE : PETSC_TRUE;
    PetscCall(calibration_block(&s->calibration, model[m], (int)m, &script));
    PetscCall(text_add(&plot, ", $curve%d using 1:2 with linespoints pointtype 7 pointsize 0.5 linecolor '%s' title ", (int)m,
                       control ? COLOUR_CONTROL : s->prediction && !strcmp(model[m], s->prediction) ? COLOUR_PREDICTED : report_colours[2 + used++ % 5]));
    PetscCall(text_add_quoted(&plot, control ? "control (no change)" : model[m]));
  }
  PetscCall(text_add(&page->text, "<h3 id=\"calibration\">Calibration</h3>\n"));
  PetscCall(figure_begin(page, "calibration"));
  PetscCall(text_add(&script, "set xrange [0:1]\nset yrange [0:1]\nset size square\nset xlabel 'level of the predicted quantile'\nset ylabel 'measured values at or below it'\nset key top left\n"
                              "plot x with lines linecolor '#999999' dashtype 2 notitle%s\n", plot.text));
  PetscCall(figure_panel(page, &script, 460, 440, "Calibration of predicted quantiles"));
  PetscCall(figure_end(page, "Are the predicted distributions of single genes calibrated? Share of measured values at or below the predicted quantile (probability integral transform for values with ties), mean over the populations shown and over "
                             "genes found in at least a tenth of their cells. On the dashed line: calibrated; an S across it: predicted spread too wide or too narrow; above it: predicted too high."));
  PetscCall(PetscFree(plot.text));
  PetscCall(strings_free(models, &model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- distances ----------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode add_distances(Page *page, const Scores *s)
{
  Text     script = {0}, tics = {0}, real = {0};
  char     label[512], other[512], first[512] = "";
  PetscInt rows = 0, columns = 0, cells = 0;

  PetscFunctionBeginUser;
  if (!s->distances.rows || !s->prediction) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_style(&script));
  PetscCall(text_add(&script, "$cells << EOD\n"));
  for (PetscInt i = 0, at = 0; i < s->distances.rows; i++) {
    if (strcmp(csv_text(&s->distances, i, "model"), s->prediction)) continue;
    csv_population(&s->distances, i, "", label, sizeof label);
    csv_population(&s->distances, i, "real_", other, sizeof other);
    if (!*first || strcmp(first, label)) {
      memcpy(first, label, sizeof first);
      PetscCall(text_add(&tics, "%s", rows ? "," : ""));
      PetscCall(text_add_quoted(&tics, label));
      PetscCall(text_add(&tics, " %d", (int)rows++));
      at = 0;
    }
    if (rows == 1) {
      PetscCall(text_add(&real, "%s", columns ? "," : ""));
      PetscCall(text_add_quoted(&real, other));
      PetscCall(text_add(&real, " %d", (int)columns++));
    }
    PetscCall(text_add(&script, "%d %d %g\n", (int)at++, (int)(rows - 1), csv_number(&s->distances, i, "distance")));
    cells++;
  }
  PetscCall(text_add(&script, "EOD\n"));
  if (rows > 1 && columns > 1) {
    PetscCall(text_add(&page->text, "<h3 id=\"distances\">Predicted against measured changes, all pairs</h3>\n"));
    PetscCall(figure_begin(page, "distances"));
    PetscCall(text_add(&script, "unset grid\nunset key\nset yrange [%d.5:-0.5] \nset xrange [-0.5:%d.5]\nset ytics (%s) noenhanced font ',11'\nset xtics (%s) noenhanced font ',11' rotate by 40 right\nset label 'measured' at screen 0.6,0.04 center\nset label 'predicted' at screen 0.04,0.68 center rotate by 90\n"
                                "set cblabel 'Euclidean distance (log1p)'\nset palette defined (0 '#56B4E9', 1 '#ffffff')\nset lmargin at screen 0.38\nset bmargin at screen 0.40\n"
                                "plot $cells using 1:2:3 with image pixels%s\n",
                       (int)rows - 1, (int)columns - 1, tics.text, real.text, rows <= 8 ? ", $cells using 1:2:(sprintf('%.2g',$3)) with labels textcolor '#000000' font ',11' notitle" : ""));
    PetscCall(figure_panel(page, &script, 560, 470, "Distances of predicted from measured changes"));
    PetscCall(figure_end(page, "Euclidean distance of each predicted mean change (row) from each measured one (column), populations shown. Dark is near: a prediction that tells perturbations apart is darkest on the diagonal."));
  }
  PetscCall(PetscFree(script.text));
  PetscCall(PetscFree(tics.text));
  PetscCall(PetscFree(real.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_cell_figures(Page *page, const Scores *s)
{
  PetscFunctionBeginUser;
  PetscCall(add_components(page, s));
  PetscCall(add_calibration(page, s));
  PetscCall(add_distances(page, s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
