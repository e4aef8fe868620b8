/* report: folders of runs, evaluations and embeddings -> one HTML page. */
#include "commands/commands.h"
#include <perturbdiff/report.h>

static const OptionSpec own[] = {
  {"out", VALUE_PATH, "report.html", 0, 0, "", "The page to write"},
  {"in", VALUE_LIST, "", 0, 0, "", "Folders written by train, evaluate and embed, in any order; also without -in"},
  {"title", VALUE_STRING, "Predicted responses of cell populations", 0, 0, "", "Heading of the page"},
  {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

static PetscErrorCode report(const Options *options)
{
  ReportOptions report = {0};
  char        **folder;
  LogStage      stage;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &report.output));
  PetscCall(options_string(options, "title", &report.title));
  PetscCall(options_list(options, "in", &report.folders, &folder));
  report.folder = (const char *const *)folder;
  PetscCall(log_stage_begin(PETSC_COMM_WORLD, "report", &stage));
  PetscCall(report_write(PETSC_COMM_WORLD, &report));
  PetscCall(log_stage_end(&stage, "%s", report.output));
  PetscCall(log_line(PETSC_COMM_WORLD, "  open it in a browser: xdg-open %s", report.output));
  PetscCall(strings_free(report.folders, &folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_report = {
  .name     = "report",
  .summary  = "one HTML page from folders of runs, evaluations and embeddings",
  .usage    = "report FOLDER ... [-out report.html] [-title TEXT]",
  .examples = "perturbdiff report run scores -out report.html\nperturbdiff report seed1 seed2 scores embedding -title 'Interferon in B cells'",
  .options  = {.groups = groups, .positional = "in"},
  .run      = report,
};
