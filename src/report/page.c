/* The page: what came out, in words first; figures; what is needed to run it again. */
#include "report/report_internal.h"
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

static const char page_head[] =
  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
  "<link rel=\"icon\" href=\"data:,\">\n<style>\n"
  "*{box-sizing:border-box}body{font:17px/1.55 Helvetica,Arial,sans-serif;color:#1a1a1a;background:#fff;max-width:68rem;margin:0 auto;padding:1rem 1.2rem 3rem}\n"
  "h1{font-size:1.75rem;line-height:1.25;margin:.6rem 0 .4rem}h2{font-size:1.3rem;margin:2.6rem 0 .6rem;padding-bottom:.2rem;border-bottom:2px solid #ddd}h3{font-size:1.08rem;margin:1.8rem 0 .4rem}\n"
  "p,ul{max-width:46rem}nav{font-size:.92rem}nav a{display:inline-block;margin-right:1rem;padding:.15rem 0}a{color:#005a8c}\n"
  ".headline{background:#f2f6fa;border-left:5px solid #0072B2;padding:.8rem 1.1rem;margin:1.2rem 0}.verdict{font-size:1.22rem;line-height:1.4;margin:.2rem 0 .6rem}.headline ul{margin:.3rem 0;padding-left:1.2rem}\n"
  ".small,small{font-size:.85rem;color:#444}td small{display:block;font-size:.76rem;white-space:nowrap}\n"
  ".wide{overflow-x:auto;margin:.8rem 0}table{border-collapse:collapse;min-width:60%;font-size:.93rem;font-variant-numeric:tabular-nums}\n"
  "th,td{padding:.32rem .7rem;text-align:right;vertical-align:top;border-bottom:1px solid #e5e5e5}th{border-bottom:2px solid #555;vertical-align:bottom;padding:0}\n"
  "th button{font:inherit;font-weight:bold;color:inherit;background:none;border:0;padding:.32rem .7rem;text-align:inherit;cursor:pointer;min-height:2.4rem}th button:hover{background:#f2f6fa}\n"
  "th:first-child,td:first-child,th.text,td.text{text-align:left}th[aria-sort=ascending] button::after{content:' \\25B4'}th[aria-sort=descending] button::after{content:' \\25BE'}\n"
  ":focus-visible{outline:3px solid #E69F00;outline-offset:1px}#table-speed td:first-child{white-space:nowrap}#table-usual td,#table-usual th button{padding:.3rem .27rem}#table-usual{font-size:.85rem}#table-usual small{font-size:.68rem}"
  "tr.prediction td:first-child{font-weight:bold}tr.ceiling{color:#555;font-style:italic}.best{font-weight:bold;color:#004a74}\n"
  "figure{margin:1.2rem 0 1.8rem}.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,23rem),1fr));gap:.6rem 1rem}.panel svg{width:100%;height:auto;display:block}\n"
  "figcaption{font-size:.92rem;color:#333;max-width:46rem;margin-top:.5rem}pre{background:#f6f6f6;padding:.8rem;overflow-x:auto;font-size:.82rem;line-height:1.4}\n"
  "details{margin:.5rem 0}summary{cursor:pointer;padding:.3rem 0}code{font-size:.92em;overflow-wrap:anywhere}\n"
  "@media (max-width:600px){body{font-size:16px;padding:.6rem .8rem 2rem}h1{font-size:1.4rem}th,td{padding:.3rem .45rem}th button{padding:.3rem .45rem}.headline{padding:.6rem .8rem}.large{overflow-x:auto}.large svg{min-width:42rem}}\n"
  "@media print{body{max-width:none;font-size:10.5pt;padding:0}nav{display:none}.wide{overflow:visible}table{font-size:8pt}th,td,th button{padding:.15rem .3rem}td small,#table-usual small{font-size:6pt}#table-usual small{white-space:normal}h2+p,h3+p{break-after:avoid}#table-usual{font-size:7pt}#table-usual td,#table-usual th button{padding:.1rem .18rem}thead{break-inside:avoid;display:table-header-group}figure,tr,.headline,.panel,#table-scores,#table-distribution,#table-genes,#table-usual,#table-speed{break-inside:avoid}"
  "h2,h3{break-after:avoid}.panels{grid-template-columns:1fr 1fr}.panels:has(>.panel:only-child){grid-template-columns:minmax(0,34rem)}#figure-calibration .panels:has(>.panel:only-child),#figure-distances .panels:has(>.panel:only-child){grid-template-columns:minmax(0,23rem)}.screen{display:none}"
  "pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:7pt;line-height:1.25;tab-size:2;columns:3}a{color:inherit;text-decoration:none}}\n</style>\n";

/* Sorting a table by its headings, with the mouse or the keyboard; the page works without it. */
static const char page_script[] =
  "<script>\n'use strict';\ndocument.querySelectorAll('table.sortable th').forEach(function(h){\n"
  "var b=document.createElement('button');b.type='button';b.title='sort';while(h.firstChild)b.appendChild(h.firstChild);h.appendChild(b);h.scope='col';\n"
  "b.addEventListener('click',function(){var t=h.closest('table'),body=t.tBodies[0],i=h.cellIndex,d=h.getAttribute('aria-sort')==='ascending'?-1:1;\n"
  "t.querySelectorAll('th').forEach(function(o){o.removeAttribute('aria-sort')});h.setAttribute('aria-sort',d>0?'ascending':'descending');\n"
  "function key(r){var c=r.cells[i],v=c.dataset.value||c.textContent,n=parseFloat(v);return isNaN(n)||/[^-+0-9.e\\u2605\\s]/.test(v)?v:n}\n"
  "Array.from(body.rows).sort(function(x,y){var p=key(x),q=key(y),s=typeof p==='string',u=typeof q==='string';\n"
  "return s&&u?d*p.localeCompare(q):s!==u?(s?1:-1):d*(p-q)}).forEach(function(r){body.appendChild(r)})})})\n"
  "window.addEventListener('beforeprint',function(){document.querySelectorAll('details:not(.screen)').forEach(function(d){d.open=true})})\n</script>\n";

/* What a folder holds. */
typedef enum { FOLDER_NONE, FOLDER_RUN, FOLDER_SCORES, FOLDER_EMBEDDING } FolderKind;

static PetscErrorCode folder_kind(const char *folder, FolderKind *kind)
{
  static const char *const file[] = {"", "log.csv", "scores.csv", "to_control.csv"};
  char                     path[PETSC_MAX_PATH_LEN];
  PetscBool                there;

  PetscFunctionBeginUser;
  *kind = FOLDER_NONE;
  PetscCall(PetscTestDirectory(folder, 'r', &there));
  if (!there) return error_user("%s: no such folder; name folders written by train, evaluate or embed", folder);
  for (int k = FOLDER_RUN; k <= FOLDER_EMBEDDING && *kind == FOLDER_NONE; k++) {
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, file[k]));
    PetscCall(PetscTestFile(path, 'r', &there));
    if (there) *kind = (FolderKind)k;
  }
  if (*kind == FOLDER_NONE) return error_user("%s: no log.csv, scores.csv or to_control.csv in it; name folders written by train, evaluate or embed", folder);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_evaluation(Page *page, const char *folder)
{
  Scores s;

  PetscFunctionBeginUser;
  PetscCall(scores_read(folder, &s));
  PetscCall(add_headline(page, &s));
  PetscCall(add_score_table(page, &s));
  PetscCall(add_score_figures(page, &s));
  PetscCall(add_usual_metrics(page, &s));
  PetscCall(add_radar(page, &s));
  PetscCall(add_cell_figures(page, &s));
  PetscCall(add_gene_figures(page, &s));
  PetscCall(add_populations(page, &s));
  if (s.scores.rows && !s.cells.rows)
    PetscCall(text_add(&page->text, "<p class=\"small\">Figures of cells and genes need the tables that <code>perturbdiff evaluate</code> writes with <code>-report_populations</code> above 0.</p>\n"));
  PetscCall(scores_free(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Links to the sections that came to be. */
static PetscErrorCode add_contents(Text *head, const char *body)
{
  static const char *const section[][2] = {{"result", "Result"}, {"scores", "Scores"}, {"cells", "Cells"}, {"calibration", "Calibration"}, {"genes", "Genes"},
                                           {"data", "Held out"}, {"populations", "Measured populations"}, {"training", "Training"}, {"speed", "Speed"}, {"reproduce", "Reproduce"}};

  PetscFunctionBeginUser;
  PetscCall(text_add(head, "<nav aria-label=\"contents\">"));
  for (size_t i = 0; i < sizeof section / sizeof *section; i++) {
    char id[64];
    (void)PetscSNPrintf(id, sizeof id, " id=\"%s\"", section[i][0]);
    if (strstr(body, id)) PetscCall(text_add(head, "<a href=\"#%s\">%s</a>", section[i][0], section[i][1]));
  }
  PetscCall(text_add(head, "</nav>\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode build(const ReportOptions *options, Text *text)
{
  Page         page = {.gnuplot = system("gnuplot --version >/dev/null 2>&1") ? PETSC_FALSE : PETSC_TRUE};
  FolderKind  *kind;
  const char **run;
  PetscInt     runs = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(options->folders, &kind, options->folders, &run));
  for (PetscInt i = 0; i < options->folders; i++) {
    PetscCall(folder_kind(options->folder[i], &kind[i]));
    if (kind[i] == FOLDER_RUN) run[runs++] = options->folder[i];
  }
  for (PetscInt i = 0; i < options->folders; i++)
    if (kind[i] == FOLDER_SCORES) PetscCall(add_evaluation(&page, options->folder[i]));
  for (PetscInt i = 0; i < options->folders; i++)
    if (kind[i] == FOLDER_EMBEDDING) PetscCall(add_embedding(&page, options->folder[i]));
  if (runs) PetscCall(add_runs(&page, runs, run));
  PetscCall(text_add(&page.text, "<h2 id=\"reproduce\">To reproduce</h2>\n<p>Made by perturbdiff from"));
  for (PetscInt i = 0; i < options->folders; i++) {
    PetscCall(text_add(&page.text, "%s <code>", i ? "," : ""));
    PetscCall(text_add_escaped(&page.text, options->folder[i]));
    PetscCall(text_add(&page.text, "</code>"));
  }
  PetscCall(text_add(&page.text, ".</p>\n"));
  /* Paper has room for one run's options; those of the others are on the screen. */
  for (PetscInt i = 0; i < runs; i++) PetscCall(add_reproduction(&page, run[i], i ? PETSC_FALSE : PETSC_TRUE));
  PetscCall(PetscFree2(kind, run));

  PetscCall(text_add(text, "%s<title>", page_head));
  PetscCall(text_add_escaped(text, options->title));
  PetscCall(text_add(text, "</title></head><body data-figures=\"%d\" data-panels=\"%d\">\n<h1>", (int)page.figures, (int)page.panels));
  PetscCall(text_add_escaped(text, options->title));
  PetscCall(text_add(text, "</h1>\n<p>How do cell populations respond to perturbations that were never measured in them? A model trained on the measured conditions "
                           "generated cells of conditions it had not seen; here they are set against the cells that were really measured, and against simpler predictions.</p>\n"));
  PetscCall(add_contents(text, page.text.text));
  if (!page.gnuplot) PetscCall(text_add(text, "<p><b>Without figures:</b> gnuplot was not found when this page was made. Install it and run <code>perturbdiff report</code> again.</p>\n"));
  PetscCall(text_add(text, "<main>\n%s</main>\n%s</body></html>\n", page.text.text, page_script));
  PetscCall(PetscFree(page.text.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode report_write(MPI_Comm comm, const ReportOptions *options)
{
  int            rank;
  Text           page = {0};
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!options->folders) PetscFunctionReturn(error_user("nothing to report: name folders written by train, evaluate or embed"));
  if (!rank) code = build(options, &page);
  PetscCallAgree(comm, code);
  PetscCall(file_write_text(comm, options->output, rank ? "" : page.text));
  PetscCall(PetscFree(page.text));
  PetscFunctionReturn(PETSC_SUCCESS);
}
