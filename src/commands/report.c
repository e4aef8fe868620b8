/* report: run and evaluation folders -> one HTML page. */
#include "commands/commands.h"
#include <perturbdiff/report.h>

static const OptionSpec own[] = {
  {"out", VALUE_PATH, "report.html", 0, 0, "", "The page to write"},
  {"run", VALUE_LIST, "", 0, 0, "", "Run folders written by train"},
  {"evaluation", VALUE_LIST, "", 0, 0, "", "Folders written by evaluate"},
  {"embedding", VALUE_LIST, "", 0, 0, "", "Folders written by embed"},
  {"title", VALUE_STRING, "Predicted responses of cell populations", 0, 0, "", "Heading of the page"},
  {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

static PetscErrorCode report(const Options *options)
{
  ReportOptions report = {0};
  char        **run, **evaluation, **embedding;
  LogStage      stage;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &report.output));
  PetscCall(options_string(options, "title", &report.title));
  PetscCall(options_list(options, "run", &report.runs, &run));
  PetscCall(options_list(options, "evaluation", &report.evaluations, &evaluation));
  PetscCall(options_list(options, "embedding", &report.embeddings, &embedding));
  report.embedding  = (const char *const *)embedding;
  report.run        = (const char *const *)run;
  report.evaluation = (const char *const *)evaluation;
  PetscCall(log_stage_begin(PETSC_COMM_WORLD, "report", &stage));
  PetscCall(report_write(PETSC_COMM_WORLD, &report));
  PetscCall(log_stage_end(&stage, "%s", report.output));
  PetscCall(log_line(PETSC_COMM_WORLD, "  open it in a browser: xdg-open %s", report.output));
  PetscCall(strings_free(report.runs, &run));
  PetscCall(strings_free(report.evaluations, &evaluation));
  PetscCall(strings_free(report.embeddings, &embedding));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_report = {
  .name     = "report",
  .summary  = "one HTML page from run, evaluation and embedding folders",
  .usage    = "report -out report.html [-run RUN,...] [-evaluation DIR,...] [-embedding DIR,...]",
  .examples = "perturbdiff report -run run -evaluation scores -out report.html\nperturbdiff report -run seed1,seed2 -evaluation scores -title 'Interferon in B cells'",
  .options  = {.groups = groups},
  .run      = report,
};
