/* Runs of training: curves, speed and memory, what is needed to repeat them. */
#include "report/report_internal.h"
#include <cjson/cJSON.h>
#include <math.h>

/* Rows (x, y) of all folders' tables as data blocks, one a folder, and what to plot; name: of the blocks. */
static PetscErrorCode curves(PetscInt runs, const char *const *run, const char *file, const char *column, const char *where, Text *script, Text *plot)
{
  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < runs; r++) {
    CsvTable table;
    PetscInt count = 0;

    PetscCall(csv_read(run[r], file, &table));
    PetscCall(text_add(script, "$curve%d << EOD\n", (int)r));
    for (PetscInt i = 0; i < table.rows; i++) {
      const double x = csv_number(&table, i, "step"), y = csv_number(&table, i, column);
      if (!isfinite(x) || !isfinite(y) || (*where && csv_number(&table, i, where) != 1)) continue;
      PetscCall(text_add(script, "%g %g\n", x, y));
      count++;
    }
    PetscCall(text_add(script, "EOD\n"));
    if (count) {
      PetscCall(text_add(plot, "%s $curve%d using 1:2 with %s linetype %d title ", plot->used ? "," : "plot", (int)r, count < 30 ? "linespoints" : "lines", (int)(r % 8 + 1)));
      PetscCall(text_add_quoted(plot, run[r]));
    }
    PetscCall(csv_free(&table));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode curve_panel(Page *page, PetscInt runs, const char *const *run, const char *file, const char *column, const char *where, const char *title, const char *extra)
{
  Text script = {0}, plot = {0};

  PetscFunctionBeginUser;
  PetscCall(figure_style(&script));
  PetscCall(curves(runs, run, file, column, where, &script, &plot));
  if (plot.used) {
    PetscCall(text_add(&script, "set title '%s'\nset xlabel 'training step'\n%s\nset key top right\n%s\n", title, extra, plot.text));
    PetscCall(figure_panel(page, &script, 460, 330, title));
  }
  PetscCall(PetscFree(script.text));
  PetscCall(PetscFree(plot.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode has_rows(PetscInt runs, const char *const *run, const char *file, PetscBool *rows)
{
  PetscFunctionBeginUser;
  *rows = PETSC_FALSE;
  for (PetscInt r = 0; r < runs; r++) {
    CsvTable table;
    PetscCall(csv_read(run[r], file, &table));
    if (table.rows) *rows = PETSC_TRUE;
    PetscCall(csv_free(&table));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static cJSON *number_of(const cJSON *object, const char *name)
{
  cJSON *item = object ? cJSON_GetObjectItem(object, name) : NULL;
  return cJSON_IsNumber(item) ? item : NULL;
}

static PetscErrorCode add_number(Page *page, const cJSON *object, const char *name, double factor, const char *format)
{
  const cJSON *item = number_of(object, name);

  PetscFunctionBeginUser;
  PetscCall(text_add(&page->text, "<td>"));
  if (item) {
    char text[64];
    (void)PetscSNPrintf(text, sizeof text, format, item->valuedouble * factor);
    PetscCall(text_add(&page->text, "%s", text));
  } else PetscCall(text_add(&page->text, "&ndash;"));
  PetscCall(text_add(&page->text, "</td>"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum of a column of log.csv: seconds are those since the last line; the mean where it is a rate. */
static double column_mean(const CsvTable *table, const char *name)
{
  double   sum   = 0;
  PetscInt count = 0;
  for (PetscInt i = 0; i < table->rows; i++) {
    const double value = csv_number(table, i, name);
    if (isfinite(value)) sum += value, count++;
  }
  return count ? sum / (double)count : NAN;
}

static PetscErrorCode speed_row(Page *page, const char *run)
{
  char      path[PETSC_MAX_PATH_LEN];
  Text      text = {0};
  PetscBool found;
  CsvTable  log;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/run.json", run));
  PetscCall(file_text(path, &text, &found));
  cJSON       *json = text.used ? cJSON_Parse(text.text) : NULL;
  const cJSON *grid = json ? cJSON_GetObjectItem(json, "grid") : NULL;
  PetscCall(csv_read(run, "log.csv", &log));
  PetscCall(text_add(&page->text, "<tr><td>"));
  PetscCall(text_add_escaped(&page->text, run));
  PetscCall(text_add(&page->text, "</td>"));
  PetscCall(add_number(page, json, "step", 1, "%.0f"));
  PetscCall(add_number(page, json, "parameters", 1, "%.0f"));
  PetscCall(add_number(page, grid, "ranks", 1, "%.0f"));
  PetscCall(add_number(page, grid, "threads", 1, "%.0f"));
  PetscCall(add_number(page, json, "seconds", 1, "%.1f"));
  PetscCall(text_add(&page->text, "<td>%.0f</td>", column_mean(&log, "cells_per_second")));
  PetscCall(add_number(page, json, "stall_seconds", 1, "%.2f"));
  PetscCall(add_number(page, json, "communication_waited_seconds", 1, "%.2f"));
  PetscCall(add_number(page, json, "peak_memory_bytes", 1. / (1024 * 1024), "%.0f"));
  PetscCall(text_add(&page->text, "</tr>\n"));
  cJSON_Delete(json);
  PetscCall(csv_free(&log));
  PetscCall(PetscFree(text.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds of each phase as bars, of the first run. */
static PetscErrorCode phases_panel(Page *page, const char *run)
{
  static const char *const phase[] = {"read", "prepare", "forward", "backward", "reduce", "optimizer", "gather"};
  Text                     script  = {0};
  CsvTable                 log;

  PetscFunctionBeginUser;
  PetscCall(csv_read(run, "log.csv", &log));
  if (log.rows && csv_column(&log, "forward_seconds") >= 0) {
    PetscCall(figure_style(&script));
    PetscCall(text_add(&script, "$phases << EOD\n"));
    for (int p = 0; p < 7; p++) {
      char name[32];
      (void)PetscSNPrintf(name, sizeof name, "%s_seconds", phase[p]);
      PetscCall(text_add(&script, "%s %d %g\n", phase[p], 7 - p, csv_number(&log, log.rows - 1, name)));
    }
    PetscCall(text_add(&script, "EOD\nset title 'where the time of training went'\nset xlabel 'seconds (first rank)'\nset yrange [0.4:7.6]\nset xrange [0:*]\nset style fill solid 1\nunset key\n"
                                "plot $phases using (0):2:(0):3:($2-0.35):($2+0.35):ytic(1) with boxxyerror linecolor '%s'\n", COLOUR_REAL));
    PetscCall(figure_panel(page, &script, 460, 330, "Seconds by phase of training"));
  }
  PetscCall(csv_free(&log));
  PetscCall(PetscFree(script.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_runs(Page *page, PetscInt runs, const char *const *run)
{
  PetscBool validated;

  PetscFunctionBeginUser;
  PetscCall(has_rows(runs, run, "validation.csv", &validated));
  PetscCall(text_add(&page->text, "<h2 id=\"training\">Training</h2>\n"));
  PetscCall(figure_begin(page, "training"));
  PetscCall(curve_panel(page, runs, run, "log.csv", "loss", "", "loss of the denoiser", "set logscale y\nset format y '%g'"));
  if (validated) PetscCall(curve_panel(page, runs, run, "validation.csv", "energy_distance", "chosen", "energy distance of validation", ""));
  PetscCall(phases_panel(page, run[0]));
  PetscCall(figure_end(page, "Loss at the report intervals (mean squared error and energy distance of the clean estimate, log1p units); where a validation was run, its energy distance; seconds by phase of the first run."));
  PetscCall(text_add(&page->text, "<h3 id=\"speed\">Speed and memory</h3>\n<div class=\"wide\" tabindex=\"0\"><table class=\"sortable\" id=\"table-speed\"><thead><tr><th>run</th><th>steps</th><th>parameters</th><th>ranks</th><th>threads a rank</th>"
                                  "<th>seconds</th><th>cells a second</th><th>waited for data, s</th><th>waited for ranks, s</th><th>peak memory of the first rank, MiB</th></tr></thead><tbody>\n"));
  for (PetscInt r = 0; r < runs; r++) PetscCall(speed_row(page, run[r]));
  PetscCall(text_add(&page->text, "</tbody></table></div>\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* printed: also on paper, where it is opened; else on the screen alone. */
static PetscErrorCode add_file(Page *page, const char *folder, const char *name, const char *title, PetscBool printed)
{
  char      path[PETSC_MAX_PATH_LEN];
  Text      content = {0};
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name));
  PetscCall(file_text(path, &content, &found));
  if (content.used) {
    PetscCall(text_add(&page->text, "<details%s><summary>%s <code>", printed ? "" : " class=\"screen\"", title));
    PetscCall(text_add_escaped(&page->text, path));
    PetscCall(text_add(&page->text, "</code></summary><pre tabindex=\"0\">"));
    PetscCall(text_add_escaped(&page->text, content.text));
    PetscCall(text_add(&page->text, "</pre></details>\n"));
  }
  PetscCall(PetscFree(content.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_reproduction(Page *page, const char *run, PetscBool printed)
{
  PetscFunctionBeginUser;
  PetscCall(add_file(page, run, "options.yaml", "Options that rerun the training:", printed));
  PetscCall(add_file(page, run, "run.json", "Versions, machine, process grid, data:", printed));
  PetscCall(add_file(page, run, "folds.json", "How step and strength were chosen:", PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
