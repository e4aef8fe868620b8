/* Figures as gnuplot scripts, turned into SVG elements. */
#include "report/report_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const report_colours[8] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C"};

PetscErrorCode figure_draw(const char *script, int width, int height, Text *page, PetscBool *drawn)
{
  char  path[] = "/tmp/perturbdiff-figure-XXXXXX", command[128], block[4096];
  int   descriptor;
  FILE *pipe, *svg;

  PetscFunctionBeginUser;
  *drawn = PETSC_FALSE;
  if ((descriptor = mkstemp(path)) < 0) PetscFunctionReturn(PETSC_SUCCESS);
  close(descriptor);
  snprintf(command, sizeof command, "gnuplot >/dev/null 2>&1");
  if ((pipe = popen(command, "w"))) {
    fprintf(pipe, "set terminal svg size %d,%d dynamic font 'Helvetica,Arial,sans-serif,14' linewidth 1.2 background '#ffffff'\nset output '%s'\n", width, height, path);
    fputs(script, pipe);
    fputs("\nunset output\n", pipe);
    const int status = pclose(pipe);
    if (!status && (svg = fopen(path, "r"))) {
      PetscBool inside = PETSC_FALSE;
      while (fgets(block, sizeof block, svg)) {
        if (!inside && strstr(block, "<svg")) inside = PETSC_TRUE;
        if (inside) PetscCall(text_add(page, "%s", block));
      }
      *drawn = inside;
      fclose(svg);
    }
  }
  unlink(path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_style(Text *script)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "set border 3 linecolor '#555555'\nset tics nomirror textcolor '#333333'\nset grid ytics linecolor '#dddddd' linetype 1\nset key noenhanced\n"));
  for (int i = 0; i < 8; i++) PetscCall(text_add(script, "set linetype %d linecolor '%s' linewidth 2 pointtype 7 pointsize 0.5\n", i + 1, report_colours[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A data block of the rows where all named columns hold numbers; count of rows written. */
static PetscErrorCode block(const CsvTable *table, const char *name, const char *x, const char *y, Text *script, PetscInt *count)
{
  PetscFunctionBeginUser;
  *count = 0;
  PetscCall(text_add(script, "$%s << EOD\n", name));
  for (PetscInt i = 0; i < table->rows; i++) {
    const double a = csv_number(table, i, x), b = csv_number(table, i, y);
    if (!isfinite(a) || !isfinite(b)) continue;
    PetscCall(text_add(script, "%g %g\n", a, b));
    (*count)++;
  }
  PetscCall(text_add(script, "EOD\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_training(const CsvTable *log, Text *script)
{
  static const char *const series[][2] = {{"loss", "loss"}, {"mse", "mean squared error"}, {"energy", "half energy distance"}, {"validation_loss", "validation loss"}};
  Text                     plot        = {0};
  PetscInt                 drawn       = 0;

  PetscFunctionBeginUser;
  PetscCall(figure_style(script));
  for (int i = 0; i < 4; i++) {
    PetscInt count;
    PetscCall(block(log, series[i][0], "step", series[i][0], script, &count));
    if (!count) continue;
    PetscCall(text_add(&plot, "%s $%s using 1:2 with %s linetype %d title '%s'", drawn++ ? "," : "plot", series[i][0], i == 3 ? "linespoints" : "lines", i + 1, series[i][1]));
  }
  if (drawn) PetscCall(text_add(script, "set logscale y\nset xlabel 'training step'\nset ylabel 'loss'\nset key top right\n%s\n", plot.text));
  else script->used = 0;
  PetscCall(PetscFree(plot.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One panel: a row of points for each model, its mean as a bar; model 0 on top. */
static PetscErrorCode scores_panel(const CsvTable *scores, char *const *model, PetscInt models, const char *column, const char *title, PetscBool labels, Text *script)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "$points << EOD\n"));
  for (PetscInt m = 0; m < models; m++)
    for (PetscInt i = 0; i < scores->rows; i++) {
      const double value = csv_number(scores, i, column);
      if (strcmp(csv_text(scores, i, "model"), model[m]) || !isfinite(value)) continue;
      /* Rows are spread a little so that equal values stay visible. */
      PetscCall(text_add(script, "%g %g %d\n", value, (double)(models - m) + 0.18 * sin(2.399 * (double)i), (int)(m % 8 + 1)));
    }
  PetscCall(text_add(script, "EOD\n$means << EOD\n"));
  for (PetscInt m = 0; m < models; m++) {
    double   sum   = 0;
    PetscInt count = 0;
    for (PetscInt i = 0; i < scores->rows; i++) {
      const double value = csv_number(scores, i, column);
      if (strcmp(csv_text(scores, i, "model"), model[m]) || !isfinite(value)) continue;
      sum += value;
      count++;
    }
    if (count) PetscCall(text_add(script, "%g %d\n", sum / (double)count, (int)(models - m)));
  }
  PetscCall(text_add(script, "EOD\nset title '%s'\nset yrange [0.4:%d.6]\nset ytics (", title, (int)models));
  for (PetscInt m = 0; m < models; m++) PetscCall(text_add(script, "%s'%s' %d", m ? "," : "", labels ? model[m] : "", (int)(models - m)));
  PetscCall(text_add(script, ") noenhanced\nplot $points using 1:2:3 with points linecolor variable pointtype 7 pointsize 0.6 notitle,"
                             " $means using 1:2:(0):(0.32) with vectors nohead linecolor '#000000' linewidth 2 notitle,"
                             " $means using 1:2:(0):(-0.32) with vectors nohead linecolor '#000000' linewidth 2 notitle\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_scores(const CsvTable *scores, char *const *model, PetscInt models, Text *script)
{
  PetscFunctionBeginUser;
  if (!models) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set grid xtics linecolor '#eeeeee'\nset multiplot\nset lmargin at screen 0.17\nset rmargin at screen 0.57\n"));
  PetscCall(scores_panel(scores, model, models, "energy_distance", "energy distance (smaller is better)", PETSC_TRUE, script));
  PetscCall(text_add(script, "set lmargin at screen 0.6\nset rmargin at screen 0.98\n"));
  PetscCall(scores_panel(scores, model, models, "pearson_delta", "correlation of changes (larger is better)", PETSC_FALSE, script));
  PetscCall(text_add(script, "unset multiplot\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_changes(const CsvTable *deltas, const char *const *model, PetscInt models, Text *script)
{
  PetscFunctionBeginUser;
  if (!deltas->rows || !models) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set multiplot layout 1,%d\nset xlabel 'measured change (log1p)'\nset ylabel 'predicted change'\nset grid xtics linecolor '#eeeeee'\n", (int)models));
  for (PetscInt m = 0; m < models; m++) {
    PetscCall(text_add(script, "$changes << EOD\n"));
    for (PetscInt i = 0; i < deltas->rows; i++)
      if (!strcmp(csv_text(deltas, i, "model"), model[m]) && !(csv_number(deltas, i, "repeat") > 1))
        PetscCall(text_add(script, "%g %g\n", csv_number(deltas, i, "real"), csv_number(deltas, i, "predicted")));
    PetscCall(text_add(script, "EOD\nset title '%s' noenhanced\nplot x with lines linecolor '#999999' dashtype 2 notitle, $changes using 1:2 with points linecolor '%s' pointtype 7 pointsize 0.35 notitle\n",
                       model[m], report_colours[m % 8]));
  }
  PetscCall(text_add(script, "unset multiplot\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
