/* Distributions, questions and gene sets of every population, on the rank that scores it. */
#include "evaluation/analyses_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

static const char *const heading[ANALYSIS_TABLES] = {
    [TABLE_GENES] = "gene,wasserstein,zeros_real,zeros_predicted,variance_real,variance_predicted",
    [TABLE_CELLS] = "kind,component_1,component_2,variance_1,variance_2",
    [TABLE_CALIBRATION] = "level,real_share,genes",
    [TABLE_COVERAGE] = "draws,gene_coverage_50,gene_coverage_90,energy_p",
    [TABLE_GENESETS] = "set,size,real_overlap,real_enrichment,real_p,real_fdr,real_rank_effect,real_rank_p,real_rank_fdr,"
                       "predicted_overlap,predicted_enrichment,predicted_p,predicted_fdr,predicted_rank_effect,predicted_rank_p,predicted_rank_fdr",
    [TABLE_AGREEMENT] = "sets,spearman,jaccard_overlap,jaccard_rank,significant_overlap_real,significant_overlap_predicted,significant_rank_real,"
                        "significant_rank_predicted"};

static PetscBool wanted(const AnalysisOptions *o, AnalysisTable table)
{
  switch (table) {
  case TABLE_GENES:
    return o->distribution && o->distribution_genes ? PETSC_TRUE : PETSC_FALSE;
  case TABLE_COVERAGE:
    return o->distribution;
  case TABLE_CELLS:
  case TABLE_CALIBRATION:
    return o->shown > 0 ? PETSC_TRUE : PETSC_FALSE;
  default:
    return *o->genesets ? PETSC_TRUE : PETSC_FALSE;
  }
}

static double *values_of(const Analyses *a, const ScoreTable *t, PetscInt row, PetscInt group)
{
  return a->value + ((size_t)row * (size_t)t->groups + (size_t)group) * ANALYSIS_SCORES;
}

/* "perturbation|cell type|batch": the name that keys the random numbers of a population. */
uint32_t analyses_key(const ScoreTable *t, PetscInt group)
{
  char text[1024];
  snprintf(text, sizeof text, "%s|%s|%s", t->label[0][group], t->label[1][group], t->label[2][group]);
  return distribution_key(text);
}

PetscErrorCode analyses_create(MPI_Comm comm, const AnalysisOptions *options, uint64_t seed, const ScoreTable *t, Analyses **made)
{
  const QuestionScope scope = {.groups = t->groups, .genes = t->genes, .label = {t->label[0], t->label[1], t->label[2]}, .gene = (const char *const *)t->gene};
  Analyses           *a;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(made));
  a = *made;
  a->options = options;
  a->seed = seed;
  a->comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &a->rank));
  a->asked = *options->questions ? PETSC_TRUE : PETSC_FALSE;
  a->contrasts = a->asked || *options->genesets ? PETSC_TRUE : PETSC_FALSE;
  if (*options->genesets) {
    PetscCall(genesets_read(comm, options->genesets, t->genes, scope.gene, options->geneset_least, options->geneset_most, &a->sets));
    PetscCall(log_line(comm, "  %s: %lld sets, %lld with fewer than %lld or more than %lld scored genes left out", options->genesets, (long long)a->sets.sets,
                       (long long)a->sets.skipped, (long long)options->geneset_least, (long long)options->geneset_most));
  }
  if (a->asked && !strcmp(options->questions, "make"))
    PetscCall(questions_create(t->groups * 2 * options->questions_each, &a->questions));
  else if (a->asked)
    PetscCall(questions_read(comm, options->questions, &scope, &a->questions));
  const size_t answers = (size_t)t->rows * (size_t)a->questions.count, values = (size_t)t->rows * (size_t)t->groups * ANALYSIS_SCORES;
  PetscCall(PetscCalloc3(answers, &a->score, answers, &a->called, values, &a->value));
  for (int i = 0; i < ANALYSIS_TABLES; i++)
    if (wanted(options, (AnalysisTable)i)) PetscCall(PetscCalloc1(t->groups, &a->lines[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode analyses_destroy(const ScoreTable *t, Analyses **analyses)
{
  Analyses *a = *analyses;

  PetscFunctionBeginUser;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < ANALYSIS_TABLES; i++) {
    for (PetscInt k = 0; a->lines[i] && k < t->groups; k++) free(a->lines[i][k]);
    PetscCall(PetscFree(a->lines[i]));
    free(a->table[i]);
  }
  PetscCall(PetscFree3(a->score, a->called, a->value));
  PetscCall(shown_destroy(a, t));
  if (a->asked) PetscCall(questions_destroy(&a->questions));
  PetscCall(genesets_destroy(&a->sets));
  PetscCall(PetscFree(*analyses));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool analyses_need_cells(const Analyses *a) { return a->options->distribution || a->contrasts ? PETSC_TRUE : PETSC_FALSE; }

PetscBool analyses_use_threads(const Analyses *a, const ScoreTable *t)
{
  for (PetscInt r = 0; a->options->distribution && r < t->rows; r++)
    if (t->repeat[r] > 1) return PETSC_FALSE;
  return PETSC_TRUE;
}

double analyses_bytes(const Analyses *a, PetscInt genes, PetscInt64 cells)
{
  const double drawn = 2 * (double)PetscMin(cells, a->options->distribution_cells), dense = (double)cells * genes, values = 3 * dense;

  /* Cells real, predicted, and sorted by gene or pooled; distances and their kernel, weights of labellings. */
  return sizeof(double) * (values + (a->options->distribution ? drawn * (2 * drawn + 256) : 0));
}

void analyses_leave_out(Analyses *a, const ScoreTable *t, PetscInt group)
{
  for (PetscInt r = 0; r < t->rows; r++)
    for (int i = 0; i < ANALYSIS_SCORES; i++) values_of(a, t, r, group)[i] = NAN;
}

/* Tables of the strongest populations are written apart. */
static PetscBool of_all_groups(int table) { return table != TABLE_CELLS && table != TABLE_CALIBRATION ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode analyses_begin_group(Analyses *a, const ScoreTable *t, PetscInt group, PetscInt64 cells, const double *real, const GeneRuns *control, GroupAnalysis *w)
{
  GeneColumns sorted;

  PetscFunctionBeginUser;
  *w = (GroupAnalysis){.group = group, .key = analyses_key(t, group)};
  PetscCall(PetscCalloc3(t->rows, &w->draw, a->sets.sets, &w->real_test, a->sets.sets, &w->test));
  for (int i = 0; i < ANALYSIS_TABLES; i++) {
    if (!a->lines[i] || !of_all_groups(i)) continue;
    w->stream[i] = open_memstream(&a->lines[i][group], &w->length[i]);
    PetscCheck(w->stream[i], PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  }
  if (!a->contrasts) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(genecolumns_of_dense(cells, real, t->genes, &sorted));
  PetscCall(genecolumns_sort(&sorted, 0, t->genes));
  PetscCall(contrast_create(&sorted, control, &w->real));
  PetscCall(genecolumns_destroy(&sorted));
  if (a->sets.sets) PetscCall(geneset_tests(&a->sets, &w->real, w->real_test));
  if (!strcmp(a->options->questions, "make")) {
    const PetscInt each = a->options->questions_each;
    PetscCall(questions_make(&w->real, group, each, a->seed, w->key, group * 2 * each, &a->questions));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void analyses_begin_line(const ScoreTable *t, const char *model, PetscInt group, FILE *stream)
{
  csv_field(stream, model);
  for (int axis = 0; axis < 3; axis++) {
    fputc(',', stream);
    csv_field(stream, t->label[axis][group]);
  }
  fputc(',', stream);
}

static PetscErrorCode distribution_row(Analyses *a, const ScoreTable *t, const GroupAnalysis *w, PetscInt row, const AnalysedRow *given)
{
  const DistributionOptions options = {a->options->permutations, a->options->distribution_cells, a->seed};
  GeneMarginals            *marginal;
  DistributionScores        scores;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->genes, &marginal));
  PetscCall(distribution_scores(&options, w->key, given->count_real, given->real, given->count, given->cells, t->genes, &scores, marginal));
  memcpy(values_of(a, t, row, w->group), &scores, sizeof scores);
  for (PetscInt g = 0; a->lines[TABLE_GENES] && g < t->genes; g++) {
    analyses_begin_line(t, t->model[row], w->group, w->stream[TABLE_GENES]);
    csv_field(w->stream[TABLE_GENES], t->gene[g]);
    fprintf(w->stream[TABLE_GENES], ",%.8g,%.8g,%.8g,%.8g,%.8g,%lld\n", marginal[g].wasserstein, marginal[g].zeros_real, marginal[g].zeros_predicted,
            marginal[g].variance_real, marginal[g].variance_predicted, (long long)t->repeat[row]);
  }
  PetscCall(PetscFree(marginal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void write_test(FILE *stream, const GeneSetTest *test)
{
  fprintf(stream, ",%lld,%.8g,%.8g,%.8g,%.8g,%.8g,%.8g", (long long)test->overlap, test->enrichment, exp(test->log_p), test->fdr, test->effect,
          exp(test->effect_log_p), test->effect_fdr);
}

static PetscErrorCode genesets_row(Analyses *a, const ScoreTable *t, const GroupAnalysis *w, PetscInt row, const GeneContrast *contrast)
{
  FILE            *stream = w->stream[TABLE_GENESETS];
  GeneSetAgreement agreement;
  double          *value = values_of(a, t, row, w->group) + ANALYSIS_GENESETS;

  PetscFunctionBeginUser;
  PetscCall(geneset_tests(&a->sets, contrast, w->test));
  for (PetscInt s = 0; s < a->sets.sets; s++) {
    analyses_begin_line(t, t->model[row], w->group, stream);
    csv_field(stream, a->sets.name[s]);
    fprintf(stream, ",%lld", (long long)(a->sets.first[s + 1] - a->sets.first[s]));
    write_test(stream, &w->real_test[s]);
    write_test(stream, &w->test[s]);
    fprintf(stream, ",%lld\n", (long long)t->repeat[row]);
  }
  PetscCall(geneset_agreement(a->sets.sets, w->real_test, w->test, &agreement));
  analyses_begin_line(t, t->model[row], w->group, w->stream[TABLE_AGREEMENT]);
  fprintf(w->stream[TABLE_AGREEMENT], "%lld,%.10g,%.10g,%.10g,%lld,%lld,%lld,%lld,%lld\n", (long long)a->sets.sets, agreement.spearman,
          agreement.jaccard_overlap, agreement.jaccard_rank, (long long)agreement.significant_overlap[0], (long long)agreement.significant_overlap[1],
          (long long)agreement.significant_rank[0], (long long)agreement.significant_rank[1], (long long)t->repeat[row]);
  value[0] = agreement.spearman;
  value[1] = agreement.jaccard_overlap;
  value[2] = agreement.jaccard_rank;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The row's answers to the questions about its group. */
static void answer_questions(Analyses *a, PetscInt group, PetscInt row, const GeneContrast *contrast)
{
  const PetscInt each = 2 * a->options->questions_each, count = a->questions.count;
  const PetscBool made = !strcmp(a->options->questions, "make") ? PETSC_TRUE : PETSC_FALSE;

  /* Those that are made have a place for each group; other groups' may be being made. */
  for (PetscInt q = made ? group * each : 0; q < (made ? (group + 1) * each : count); q++) {
    const PetscInt gene = a->questions.gene[q];
    if (a->questions.group[q] != group || gene < 0) continue;
    a->score[(size_t)row * (size_t)count + (size_t)q] = contrast->score[gene];
    a->called[(size_t)row * (size_t)count + (size_t)q] = contrast_significant(contrast, gene);
  }
}

PetscErrorCode analyses_row(Analyses *a, const ScoreTable *t, GroupAnalysis *w, PetscInt row, const AnalysedRow *given)
{
  GeneColumns  sorted;
  GeneContrast contrast;

  PetscFunctionBeginUser;
  if (!given->count) PetscFunctionReturn(PETSC_SUCCESS);
  if (a->options->distribution) {
    PetscCall(distribution_row(a, t, w, row, given));
    if (t->kind[row] == ROW_PREDICTION && scoretable_repeats(t, row) > 1) {
      PetscCall(PetscMalloc1((size_t)given->count * (size_t)t->genes, &w->draw[row]));
      PetscCall(PetscArraycpy(w->draw[row], given->cells, (size_t)given->count * (size_t)t->genes));
    }
  }
  if (!a->contrasts || !given->control) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(genecolumns_of_dense(given->count, given->cells, t->genes, &sorted));
  PetscCall(genecolumns_sort(&sorted, 0, t->genes));
  PetscCall(contrast_create(&sorted, given->control, &contrast));
  PetscCall(genecolumns_destroy(&sorted));
  answer_questions(a, w->group, row, &contrast);
  if (a->sets.sets) PetscCall(genesets_row(a, t, w, row, &contrast));
  PetscCall(contrast_destroy(&contrast));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coverage by the repeats of every model that has several. */
static PetscErrorCode coverage_rows(const ScoreTable *t, const GroupAnalysis *w, PetscInt64 cells, const double *real)
{
  const double **draw;
  PetscInt64    *count;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(t->rows, &draw, t->rows, &count));
  for (PetscInt r = 0; r < t->rows; r++) {
    PetscInt       draws = 0;
    CoverageScores scores;

    if (!w->draw[r] || t->repeat[r] > 1) continue;
    for (PetscInt q = r; q < t->rows; q++) {
      if (!w->draw[q] || strcmp(t->model[q], t->model[r])) continue;
      draw[draws] = w->draw[q];
      count[draws++] = t->cells_predicted[(size_t)q * (size_t)t->groups + (size_t)w->group];
    }
    PetscCall(coverage_scores(cells, real, draws, count, draw, t->genes, &scores));
    analyses_begin_line(t, t->model[r], w->group, w->stream[TABLE_COVERAGE]);
    fprintf(w->stream[TABLE_COVERAGE], "%lld,%.10g,%.10g,%.10g\n", (long long)draws, scores.gene_coverage_50, scores.gene_coverage_90, scores.energy_p);
  }
  for (PetscInt r = 0; r < t->rows; r++) PetscCall(PetscFree(w->draw[r]));
  PetscCall(PetscFree2(draw, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode analyses_end_group(Analyses *a, const ScoreTable *t, GroupAnalysis *w, PetscInt64 cells, const double *real)
{
  PetscFunctionBeginUser;
  if (a->options->distribution) PetscCall(coverage_rows(t, w, cells, real));
  for (int i = 0; i < ANALYSIS_TABLES; i++)
    if (w->stream[i]) PetscCheck(!fclose(w->stream[i]), PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  if (a->contrasts) PetscCall(contrast_destroy(&w->real));
  PetscCall(PetscFree3(w->draw, w->real_test, w->test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lines of all groups below the heading, in the order of groups. Rank 0's text is malloc'd. */
static PetscErrorCode join_lines(Analyses *a, const ScoreTable *t, AnalysisTable table, const PetscMPIInt *owner)
{
  FILE  *stream = NULL;
  size_t length;

  PetscFunctionBeginUser;
  if (!a->rank) {
    stream = open_memstream(&a->table[table], &length);
    PetscCheck(stream, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
    fprintf(stream, "model,perturbation,cell_type,batch,%s%s\n", heading[table], table == TABLE_GENES || table == TABLE_GENESETS || table == TABLE_AGREEMENT ? ",repeat" : "");
  }
  for (PetscInt k = 0; k < t->groups; k++) {
    char             *text = a->lines[table][k];
    const char *const own = text ? text : "";

    if (owner[k] && a->rank == owner[k]) PetscCallMPI(MPI_Send(own, (PetscMPIInt)strlen(own) + 1, MPI_CHAR, 0, 0, a->comm));
    if (a->rank) continue;
    if (owner[k]) {
      MPI_Status  status;
      PetscMPIInt size;
      PetscCallMPI(MPI_Probe(owner[k], 0, a->comm, &status));
      PetscCallMPI(MPI_Get_count(&status, MPI_CHAR, &size));
      text = a->lines[table][k] = malloc((size_t)size);
      PetscCheck(text, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
      PetscCallMPI(MPI_Recv(text, size, MPI_CHAR, owner[k], 0, a->comm, MPI_STATUS_IGNORE));
    }
    if (text) fputs(text, stream);
    free(text);
    a->lines[table][k] = NULL;
  }
  if (stream) PetscCheck(!fclose(stream), PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode analyses_join(Analyses *a, const ScoreTable *t, const PetscMPIInt *owner)
{
  const PetscMPIInt questions = (PetscMPIInt)a->questions.count, answers = (PetscMPIInt)t->rows * questions;

  PetscFunctionBeginUser;
  for (int i = 0; i < ANALYSIS_TABLES; i++)
    if (a->lines[i]) PetscCall(join_lines(a, t, (AnalysisTable)i, owner));
  if (a->asked) {
    QuestionTable *q = &a->questions;
    if (!strcmp(a->options->questions, "make")) {
      /* Set on one rank each; elsewhere 0, and -1 for the gene. */
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, q->gene, questions, MPIU_INT, MPI_MAX, a->comm));
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, q->group, questions, MPIU_INT, MPI_SUM, a->comm));
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, q->expressed, questions, MPI_INT, MPI_SUM, a->comm));
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, q->direction, questions, MPI_INT, MPI_SUM, a->comm));
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, a->score, answers, MPI_DOUBLE, MPI_SUM, a->comm));
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, a->called, answers, MPI_DOUBLE, MPI_SUM, a->comm));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, a->value, (PetscMPIInt)(t->rows * t->groups * ANALYSIS_SCORES), MPI_DOUBLE, MPI_SUM, a->comm));
  for (PetscInt r = 0; a->asked && r < t->rows; r++) {
    for (PetscInt k = 0; t->kind[r] != ROW_CEILING && k < t->groups; k++) {
      const size_t   at = (size_t)r * (size_t)questions;
      QuestionScores s;
      PetscCall(question_scores(&a->questions, k, a->score + at, a->called + at, &s));
      memcpy(values_of(a, t, r, k) + ANALYSIS_QUESTIONS, &s, QUESTION_SCORES * sizeof(double));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
