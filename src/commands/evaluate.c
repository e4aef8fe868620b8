/* evaluate: predicted cells against real ones, with baselines and the ceiling in the same table. */
#include "commands/commands.h"
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/runtime/memory.h>
#include <string.h>

static const OptionSpec own[] = {
    {"real", VALUE_PATH, NULL, 0, 0, "", "Real cells: AnnData file, or the cell store made by prepare (then all baselines are possible)"},
    {"predicted", VALUE_LIST, NULL, 0, 0, "", "Predicted cells: a.h5ad or name=a.h5ad; the same name again, or name#2=b.h5ad, is another run of that model"},
    {"out", VALUE_PATH, NULL, 0, 0, "", "Folder to write scores.csv, summary.csv, deltas.csv, comparison.csv (all metrics of all rows) and the tables of cell-eval into"},
    {"perturbation_column", VALUE_STRING, "", 0, 0, "", "Column of obs with the perturbation; none: the store's, else 'perturbation'"},
    {"control", VALUE_STRING, "", 0, 0, "", "Label of the control cells; none: the store's, else 'control'"},
    {"cell_type_column", VALUE_STRING, "", 0, 0, "", "Column with the cell type; none: the store's, else cell types are not told apart"},
    {"batch_column", VALUE_STRING, "", 0, 0, "", "Column with the batch; none: the store's, else batches are not told apart"},
    {"baselines", VALUE_LIST, "all", 0, 0, "", "Among control, mean_shift, perturbation_mean, additive, ridge, nearest, cme; all: what -real allows; none"},
    {"ceiling", VALUE_SWITCH, "true", 0, 0, "", "Score two halves of the real cells against each other"},
    {"library_size", VALUE_NUMBER, "0", 0, 1e9, "counts", "Counts of a cell are brought to this; 0: the store's, else the median of each file (of each cell type with -cell_type_column)"},
    {"profile", VALUE_CHOICE, "full", 0, 0, PROFILE_NAMES,
     "Metrics of cell-eval's tables, results.csv, agg_results.csv, real_de.csv, pred_de.csv (all but clustering_agreement, which draws at random)"},
    {"prefix", VALUE_STRING, "", 0, 0, "", "Put before the names of cell-eval's tables"},
    {"score", VALUE_PATH, "", 0, 0, "", "agg_results.csv of a baseline: baseline_diff.csv says how far the metrics are from it (0) to the best (1)"},
    {"real_de", VALUE_PATH, "", 0, 0, "", "Differential expression of the real cells, as CSV, in place of computing it"},
    {"predicted_de", VALUE_PATH, "", 0, 0, "", "The same of the predicted cells"},
    {"cpm_filter", VALUE_NUMBER, "-1", -1, 1e6, "counts per million", "Leave out genes with at most this in both groups; negative: none"},
    {"embedding", VALUE_STRING, "", 0, 0, "", "Matrix of obsm for discrimination_score_l2 and _cosine; none: the genes"},
    {"distribution", VALUE_SWITCH, "false", 0, 0, "",
     "distribution.csv: energy distance and MMD with permutation p, Wasserstein distances, correlations, zeros, variances, a classifier; coverage.csv: by runs"},
    {"distribution_genes", VALUE_SWITCH, "false", 0, 0, "", "With -distribution: distribution_genes.csv, a row for every gene of every population"},
    {"distribution_cells", VALUE_INTEGER, "2000", 2, 20000, "cells", "Larger populations are represented by so many cells, drawn"},
    {"permutations", VALUE_INTEGER, "199", 0, 1e6, "", "Permutations of the cells' labels behind the p-values of -distribution"},
    {"questions", VALUE_PATH, "", 0, 0, "",
     "Which genes change, and which way? CSV file with perturbation, cell_type, gene, differentially_expressed, direction; make: from the real cells"},
    {"questions_each", VALUE_INTEGER, "50", 1, 1e5, "", "With -questions make: significant genes asked of each population at most, and as many others"},
    {"genesets", VALUE_PATH, "", 0, 0, "", "GMT file: genesets.csv, over-representation and rank enrichment of its sets, predicted against real"},
    {"geneset_least", VALUE_INTEGER, "10", 1, 1e6, "genes", "Leave out sets with fewer scored genes"},
    {"geneset_most", VALUE_INTEGER, "500", 1, 1e6, "genes", "Leave out sets with more scored genes"},
    {"bootstrap", VALUE_INTEGER, "2000", 100, 1e6, "", "Resamples of perturbations behind the intervals of comparison.csv"},
    {"report_populations", VALUE_INTEGER, "6", 0, 100, "",
     "Populations with the strongest real change whose cells and changes are written for figures: cells.csv, calibration.csv, changes.csv, distances.csv"},
    {"memory", VALUE_NUMBER, "1024", 0.001, 1e6, "MiB",
     "Of a rank for cells held at once, about: of a file that takes more than 3/8 of that, and is not uncompressed CSR, a batch of populations is read at a time"},
    {"seed", VALUE_INTEGER, "0", 0, 9e15, "", "Seed of the halves, the baselines' draws, permutations, questions and resamples"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

/* "name=path" or "path", whose name is the file's without folder and ending. */
static PetscErrorCode split_name(const char *given, char **model, char **path)
{
  const char *equal = strchr(given, '='), *slash = strchr(given, '/');

  PetscFunctionBeginUser;
  if (equal && equal > given && (!slash || equal < slash)) {
    PetscCall(PetscStrallocpy(equal + 1, path));
    PetscCall(PetscStrallocpy(given, model));
    (*model)[equal - given] = '\0';
    if (!**path) return error_user("-predicted %s: no file after '='", given);
    /* name#3: a run of the model "name". */
    char *run = strrchr(*model, '#');
    if (run && run > *model) *run = '\0';
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  slash = strrchr(given, '/');
  PetscCall(PetscStrallocpy(given, path));
  PetscCall(PetscStrallocpy(slash ? slash + 1 : given, model));
  char *dot = strrchr(*model, '.');
  if (dot && dot > *model) *dot = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode choose_baselines(PetscInt count, char *const *name, const char *real, BaselineMethod *baseline, PetscInt *baselines)
{
  PetscBool store;

  PetscFunctionBeginUser;
  *baselines = 0;
  if (count == 1 && !strcmp(name[0], "none")) PetscFunctionReturn(PETSC_SUCCESS);
  if (count == 1 && !strcmp(name[0], "all")) {
    PetscCall(evaluate_is_store(PETSC_COMM_WORLD, real, &store));
    for (int m = 0; m < (store ? BASELINES : 1); m++) baseline[(*baselines)++] = (BaselineMethod)m;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < count; i++) {
    int m = 0;
    while (m < BASELINES && strcmp(name[i], baseline_name[m])) m++;
    if (m == BASELINES) return error_user("-baselines %s: not one of control, mean_shift, perturbation_mean, additive, ridge, nearest, cme, all, none", name[i]);
    for (PetscInt j = 0; j < *baselines; j++)
      if (baseline[j] == (BaselineMethod)m) return error_user("-baselines: '%s' is given twice", name[i]);
    baseline[(*baselines)++] = (BaselineMethod)m;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_pair_options(const Options *options, const EvaluateOptions *o, PairOptions *pair)
{
  PetscInt profile;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "out", &pair->folder));
  PetscCall(options_choice(options, "profile", &profile));
  PetscCall(options_string(options, "prefix", &pair->prefix));
  PetscCall(options_string(options, "score", &pair->score));
  PetscCall(options_string(options, "real_de", &pair->real_de));
  PetscCall(options_string(options, "predicted_de", &pair->predicted_de));
  PetscCall(options_string(options, "embedding", &pair->embedding));
  PetscCall(options_number(options, "cpm_filter", &pair->cpm_filter));
  if (pair->cpm_filter < 0) pair->cpm_filter = NAN;
  pair->profile = (Profile)profile;
  pair->ceiling = o->ceiling;
  pair->seed = o->seed;
  pair->memory = o->memory;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_count(const Options *options, const char *name, PetscInt *count)
{
  PetscInt64 value;

  PetscFunctionBeginUser;
  PetscCall(options_integer(options, name, &value));
  *count = (PetscInt)value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_analysis_options(const Options *options, AnalysisOptions *a)
{
  PetscFunctionBeginUser;
  PetscCall(options_switch(options, "distribution", &a->distribution));
  PetscCall(options_switch(options, "distribution_genes", &a->distribution_genes));
  PetscCall(options_integer(options, "distribution_cells", &a->distribution_cells));
  PetscCall(read_count(options, "permutations", &a->permutations));
  PetscCall(options_string(options, "questions", &a->questions));
  PetscCall(read_count(options, "questions_each", &a->questions_each));
  PetscCall(options_string(options, "genesets", &a->genesets));
  PetscCall(read_count(options, "geneset_least", &a->geneset_least));
  PetscCall(read_count(options, "geneset_most", &a->geneset_most));
  PetscCall(read_count(options, "bootstrap", &a->bootstrap));
  PetscCall(read_count(options, "report_populations", &a->shown));
  if (a->geneset_least > a->geneset_most) {
    return error_user("-geneset_least %lld is above -geneset_most %lld; no set can have that size", (long long)a->geneset_least, (long long)a->geneset_most);
  }
  if (a->distribution_genes && !a->distribution) return error_user("-distribution_genes: add -distribution");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_options(const Options *options, EvaluateOptions *o)
{
  PetscInt64 seed;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "real", &o->real));
  PetscCall(options_string(options, "perturbation_column", &o->perturbation_column));
  PetscCall(options_string(options, "control", &o->control));
  PetscCall(options_string(options, "cell_type_column", &o->cell_type_column));
  PetscCall(options_string(options, "batch_column", &o->batch_column));
  PetscCall(options_switch(options, "ceiling", &o->ceiling));
  PetscCall(options_number(options, "library_size", &o->library_size));
  PetscCall(options_number(options, "memory", &o->memory));
  o->memory *= 0x1p20;
  PetscCall(options_integer(options, "seed", &seed));
  o->seed = (uint64_t)seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode score(const EvaluateOptions *o, const char *folder)
{
  MPI_Comm   comm = PETSC_COMM_WORLD;
  ScoreTable table;
  LogStage   stage;

  PetscFunctionBeginUser;
  PetscCall(log_stage_begin(comm, "evaluate", &stage));
  PetscCall(evaluate_files(comm, o, &table));
  PetscCall(log_stage_end(&stage, "%lld populations, %lld rows", (long long)table.groups, (long long)table.rows));
  PetscCall(scoretable_write(comm, &table, folder));
  PetscCall(scoretable_print(comm, &table, stdout));
  PetscCall(scoretable_destroy(&table));
  PetscCall(log_line(comm, "wrote %s/scores.csv, summary.csv, deltas.csv, comparison.csv%s%s%s", folder, o->analysis->distribution ? ", distribution.csv" : "",
                     *o->analysis->questions ? ", question_scores.csv" : "", *o->analysis->genesets ? ", genesets.csv" : ""));
  PetscCall(log_line(comm, "next: perturbdiff report RUN %s -out report.html", folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode evaluate(const Options *options)
{
  EvaluateOptions o = {0};
  PairOptions     pair = {0};
  AnalysisOptions analysis = {0};
  BaselineMethod  baseline[BASELINES];
  PetscInt        given, names;
  char          **predicted, **name, **model, **path;
  const char     *folder;

  PetscFunctionBeginUser;
  memory_keep_freed();
  PetscCall(read_options(options, &o));
  PetscCall(read_pair_options(options, &o, &pair));
  PetscCall(read_analysis_options(options, &analysis));
  o.pair = &pair;
  o.analysis = &analysis;
  PetscCall(options_string(options, "out", &folder));
  PetscCall(options_list(options, "baselines", &names, &name));
  PetscCall(choose_baselines(names, name, o.real, baseline, &o.baselines));
  PetscCall(strings_free(names, &name));
  PetscCall(options_list(options, "predicted", &given, &predicted));
  if (!given) return error_user("-predicted: no file; give a.h5ad or name=a.h5ad");
  if (*pair.predicted_de && given > 1) return error_user("-predicted_de: belongs to one prediction, %lld are given; evaluate each by itself", (long long)given);
  PetscCall(PetscMalloc1(given, &model));
  PetscCall(PetscMalloc1(given, &path));
  for (PetscInt i = 0; i < given; i++) PetscCall(split_name(predicted[i], &model[i], &path[i]));
  PetscCall(strings_free(given, &predicted));
  o.baseline = baseline;
  o.predictions = given;
  o.predicted = (const char *const *)path;
  o.model = (const char *const *)model;
  PetscCall(score(&o, folder));
  PetscCall(strings_free(given, &model));
  PetscCall(strings_free(given, &path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_evaluate = {
    .name = "evaluate",
    .summary = "scores of predicted cells against real ones, with baselines and ceiling",
    .usage = "evaluate [INPUT.yaml] -real cells.h5|real.h5ad -predicted [name=]a.h5ad[,...] -out DIR [options]",
    .examples = "perturbdiff evaluate -real cells.h5 -predicted predicted.h5ad -out scores\n"
                "perturbdiff evaluate -real cells.h5 -predicted predicted.h5ad -out scores -distribution -questions make -genesets hallmark.gmt\n"
                "perturbdiff evaluate -real cells.h5 -predicted model=seed1.h5ad,model=seed2.h5ad,other=other.h5ad -out scores\n"
                "mpirun -n 4 perturbdiff evaluate -real real.h5ad -predicted predicted.h5ad -perturbation_column drug -control DMSO -cell_type_column "
                "cell_type -out scores",
    .options = {.groups = groups},
    .run = evaluate,
};
