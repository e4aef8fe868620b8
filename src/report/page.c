/* The page: a question, the scores, figures, and what is needed to run it again. */
#include "report/report_internal.h"
#include <perturbdiff/report.h>
#include <perturbdiff/runtime.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char page_head[] =
  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
  "<style>\nbody{font:16px/1.5 Helvetica,Arial,sans-serif;color:#222;max-width:60rem;margin:0 auto;padding:1rem}\n"
  "h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid #ddd}\n"
  "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #eee}\n"
  "th{border-bottom:2px solid #555;cursor:pointer;white-space:nowrap}th:first-child,td:first-child{text-align:left}\n"
  ".best{font-weight:bold;color:#005a8c}.reference{color:#666;font-style:italic}\n"
  "figure{margin:1rem 0}figcaption{color:#555;font-size:.9rem}svg{max-width:100%;height:auto}pre{background:#f6f6f6;padding:.7rem;overflow-x:auto;font-size:.85rem}\n"
  ".wide{overflow-x:auto}@media print{details{display:block}}\n</style>\n";

/* Sorting a table by a click on its heading; the page works without it. */
static const char page_script[] =
  "<script>\ndocument.querySelectorAll('th').forEach(function(h){h.addEventListener('click',function(){\n"
  "var t=h.closest('table'),b=t.tBodies[0],i=h.cellIndex,d=h.dataset.d=h.dataset.d==='1'?'-1':'1';\n"
  "Array.from(b.rows).sort(function(x,y){var p=x.cells[i].textContent,q=y.cells[i].textContent,u=parseFloat(p),v=parseFloat(q);\n"
  "return d*(isNaN(u)||isNaN(v)?p.localeCompare(q):u-v)}).forEach(function(r){b.appendChild(r)})})})\n</script>\n";

/* Names in the model column, in order of appearance. */
static PetscErrorCode list_models(const CsvTable *scores, PetscInt *count, char ***model)
{
  PetscFunctionBeginUser;
  *count = 0;
  PetscCall(PetscMalloc1(scores->rows + 1, model));
  for (PetscInt i = 0; i < scores->rows; i++) {
    const char *name = csv_text(scores, i, "model");
    PetscInt    j    = 0;
    while (j < *count && strcmp((*model)[j], name)) j++;
    if (j == *count) PetscCall(PetscStrallocpy(name, &(*model)[(*count)++]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double model_mean(const CsvTable *scores, const char *model, const char *column)
{
  double   sum   = 0;
  PetscInt count = 0;

  for (PetscInt i = 0; i < scores->rows; i++) {
    const double value = csv_number(scores, i, column);
    if (strcmp(csv_text(scores, i, "model"), model) || !isfinite(value)) continue;
    sum += value;
    count++;
  }
  return count ? sum / (double)count : NAN;
}

/* The ceiling is what two halves of the measured cells reach: no model competes with it. */
static PetscBool is_reference(const char *model) { return strcmp(model, "ceiling") ? PETSC_FALSE : PETSC_TRUE; }

static PetscErrorCode score_table(const CsvTable *scores, char *const *model, PetscInt models, Text *page)
{
  static const struct {
    const char *column, *title;
    int         sign;
  } metric[] = {{"energy_distance", "energy distance &darr;", -1}, {"pearson_delta", "correlation of changes &uarr;", 1}, {"r2", "R&sup2; &uarr;", 1}, {"mse", "MSE &darr;", -1},
                {"mae", "MAE &darr;", -1}};
  enum { METRICS = sizeof metric / sizeof *metric };

  PetscFunctionBeginUser;
  PetscCall(text_add(page, "<div class=\"wide\"><table><thead><tr><th>prediction</th>"));
  for (int k = 0; k < METRICS; k++) PetscCall(text_add(page, "<th>%s</th>", metric[k].title));
  PetscCall(text_add(page, "</tr></thead><tbody>\n"));
  for (PetscInt m = 0; m < models; m++) {
    PetscCall(text_add(page, "<tr%s><td>", is_reference(model[m]) ? " class=\"reference\"" : ""));
    PetscCall(text_add_escaped(page, model[m]));
    PetscCall(text_add(page, "</td>"));
    for (int k = 0; k < METRICS; k++) {
      const double mine = model_mean(scores, model[m], metric[k].column);
      PetscBool    best = is_reference(model[m]) || !isfinite(mine) ? PETSC_FALSE : PETSC_TRUE;
      for (PetscInt other = 0; other < models; other++) {
        const double theirs = model_mean(scores, model[other], metric[k].column);
        if (!is_reference(model[other]) && metric[k].sign * theirs > metric[k].sign * mine) best = PETSC_FALSE;
      }
      if (isfinite(mine)) PetscCall(text_add(page, "<td%s>%.4g</td>", best ? " class=\"best\"" : "", mine));
      else PetscCall(text_add(page, "<td>&ndash;</td>"));
    }
    PetscCall(text_add(page, "</tr>\n"));
  }
  PetscCall(text_add(page, "</tbody></table></div>\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_figure(Text *script, int width, int height, const char *caption, Text *page)
{
  PetscBool drawn = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (script->used) {
    PetscCall(text_add(page, "<figure>\n"));
    PetscCall(figure_draw(script->text, width, height, page, &drawn));
    if (!drawn) PetscCall(text_add(page, "<p>(No figure: gnuplot was not found when this page was made.)</p>"));
    PetscCall(text_add(page, "<figcaption>%s</figcaption></figure>\n", caption));
  }
  PetscCall(PetscFree(script->text));
  *script = (Text){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_evaluation(const char *folder, Text *page)
{
  char      path[PETSC_MAX_PATH_LEN];
  CsvTable  scores, deltas;
  PetscBool found;
  PetscInt  models;
  char    **model;
  Text      script = {0};

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/scores.csv", folder));
  PetscCall(csv_read(path, &scores, &found));
  if (!found) PetscFunctionReturn(error_user("%s: no scores.csv; name a folder that 'perturbdiff evaluate' wrote", folder));
  PetscCall(list_models(&scores, &models, &model));
  PetscCall(text_add(page, "<h2>Predictions against measured cells</h2>\n<p>Means over the held-out conditions in <code>"));
  PetscCall(text_add_escaped(page, folder));
  PetscCall(text_add(page, "</code>; the best value of each column is bold. <i>ceiling</i> compares two halves of the measured cells (half as many, so that its energy distance starts higher).</p>\n"));
  PetscCall(score_table(&scores, model, models, page));
  PetscCall(figure_scores(&scores, model, models, &script));
  PetscCall(add_figure(&script, 900, 90 + 40 * (int)models, "One point a condition and run; the black bar is the mean.", page));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/deltas.csv", folder));
  PetscCall(csv_read(path, &deltas, &found));
  if (found) {
    const char *shown[3];
    PetscInt    count = 0;
    for (PetscInt m = 0; m < models && count < 3; m++)
      if (!is_reference(model[m]) && strcmp(model[m], "control")) shown[count++] = model[m];
    PetscCall(figure_changes(&deltas, shown, count, &script));
    PetscCall(add_figure(&script, 900, 380, "Mean change of every gene from control, averaged over the held-out conditions: measured against predicted.", page));
    PetscCall(csv_free(&deltas));
  }
  PetscCall(strings_free(models, &model));
  PetscCall(csv_free(&scores));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_file(const char *folder, const char *name, const char *title, Text *page)
{
  char  path[PETSC_MAX_PATH_LEN], block[4096];
  FILE *file;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name));
  if (!(file = fopen(path, "r"))) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(text_add(page, "<details><summary>%s</summary><pre>", title));
  while (fgets(block, sizeof block, file)) PetscCall(text_add_escaped(page, block));
  PetscCall(text_add(page, "</pre></details>\n"));
  fclose(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_run(const char *folder, Text *page)
{
  char      path[PETSC_MAX_PATH_LEN];
  CsvTable  log;
  PetscBool found;
  Text      script = {0};

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/log.csv", folder));
  PetscCall(csv_read(path, &log, &found));
  if (!found) PetscFunctionReturn(error_user("%s: no log.csv; name a folder that 'perturbdiff train' wrote", folder));
  PetscCall(text_add(page, "<h2>Training</h2>\n<p><code>"));
  PetscCall(text_add_escaped(page, folder));
  PetscCall(text_add(page, "</code></p>\n"));
  PetscCall(figure_training(&log, &script));
  PetscCall(add_figure(&script, 900, 340, "Losses at the report intervals.", page));
  PetscCall(add_file(folder, "options.yaml", "Options that rerun this training", page));
  PetscCall(add_file(folder, "run.json", "Versions, machine and process grid", page));
  PetscCall(csv_free(&log));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_embedding(const char *folder, Text *page)
{
  EmbeddingFigure figure[EMBEDDING_FIGURES];
  size_t          scripts = 0;

  PetscFunctionBeginUser;
  PetscCall(embedding_figures(folder, figure));
  for (int k = 0; k < EMBEDDING_FIGURES; k++) scripts += figure[k].script.used;
  if (!scripts) PetscFunctionReturn(error_user("%s: no mmd.csv, spectrum.csv or components.csv; name a folder that 'perturbdiff embed' wrote", folder));
  PetscCall(text_add(page, "<h2>Distances between populations</h2>\n<p><code>"));
  PetscCall(text_add_escaped(page, folder));
  PetscCall(text_add(page, "</code></p>\n"));
  for (int k = 0; k < EMBEDDING_FIGURES; k++) PetscCall(add_figure(&figure[k].script, figure[k].width, figure[k].height, figure[k].caption, page));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode build(const ReportOptions *options, Text *page)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(page, "%s<title>", page_head));
  PetscCall(text_add_escaped(page, options->title));
  PetscCall(text_add(page, "</title></head><body>\n<h1>"));
  PetscCall(text_add_escaped(page, options->title));
  PetscCall(text_add(page, "</h1>\n<p>How do cell populations respond to perturbations that were never measured in them? A model trained on the measured conditions "
                           "generated the cells of conditions it had not seen; here they are set against the cells that were really measured.</p>\n"));
  for (PetscInt i = 0; i < options->evaluations; i++) PetscCall(add_evaluation(options->evaluation[i], page));
  for (PetscInt i = 0; i < options->runs; i++) PetscCall(add_run(options->run[i], page));
  for (PetscInt i = 0; i < options->embeddings; i++) PetscCall(add_embedding(options->embedding[i], page));
  PetscCall(text_add(page, "%s</body></html>\n", page_script));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode report_write(MPI_Comm comm, const ReportOptions *options)
{
  int            rank;
  Text           page = {0};
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!options->runs && !options->evaluations && !options->embeddings)
    PetscFunctionReturn(error_user("nothing to report: name folders by -run, -evaluation and -embedding"));
  if (!rank) code = build(options, &page);
  PetscCallAgree(comm, code);
  PetscCall(file_write_text(comm, options->output, rank ? "" : page.text));
  PetscCall(PetscFree(page.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}
