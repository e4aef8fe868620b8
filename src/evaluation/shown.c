/* Some cells, the calibration and the changes of the strongest populations: what figures are drawn from (report). */
#include "evaluation/analyses_internal.h"
#include <math.h>
#include <perturbdiff/evaluation/genecolumns.h>
#include <perturbdiff/hilbert/features.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/sort.h>
#include <stdlib.h>
#include <string.h>

/* Predictions shown, levels of calibration; words of the random streams. */
enum { SHOWN_MODELS = 4, LEVELS = 19, STEP_SHOWN = 64 };

PetscErrorCode shown_choose(Analyses *a, const ScoreTable *t, const double *strength)
{
  Ranked  *order;
  PetscInt models = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(t->groups, &a->shown, t->rows, &a->shown_row, t->groups, &a->shown_change));
  PetscCall(PetscMalloc1(t->groups, &order));
  for (PetscInt k = 0; k < t->groups; k++) order[k] = (Ranked){strength[k], k};
  sort_largest_first(t->groups, order);
  for (PetscInt i = 0; i < PetscMin(t->groups, a->options->shown); i++) a->shown[order[i].index] = 1;
  PetscCall(PetscFree(order));
  for (PetscInt r = 0; r < t->rows; r++) {
    const PetscBool control = t->kind[r] == ROW_BASELINE && !strcmp(t->model[r], baseline_name[BASELINE_CONTROL]) ? PETSC_TRUE : PETSC_FALSE;
    if (control || (t->kind[r] == ROW_PREDICTION && t->repeat[r] == 1 && models++ < SHOWN_MODELS)) a->shown_row[r] = 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shown_destroy(Analyses *a, const ScoreTable *t)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; a->shown && k < t->groups; k++) PetscCall(PetscFree(a->shown_change[k]));
  PetscCall(PetscFree3(a->shown, a->shown_row, a->shown_change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt shown_order(const Analyses *a, uint32_t key, uint32_t side, PetscInt64 n, PetscInt64 order[SHOWN_CELLS])
{
  const RandomStream stream = random_stream(a->seed, RANDOM_RESAMPLE, STEP_SHOWN + side, key, 0);
  const PetscInt     drawn = (PetscInt)PetscMin(n, SHOWN_CELLS);

  for (PetscInt i = 0; i < drawn; i++) order[i] = (PetscInt64)random_permuted(&stream, (uint64_t)n, (uint64_t)i);
  return drawn;
}

PetscErrorCode shown_free(const ScoreTable *t, ShownGroup *shown)
{
  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < t->rows; r++) PetscCall(PetscFree(shown->row[r].x));
  PetscCall(PetscFree(shown->row));
  PetscCall(PetscFree(shown->real.x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Text of a group's lines. */
static PetscErrorCode open_lines(Analyses *a, AnalysisTable table, PetscInt group, size_t *length, FILE **stream)
{
  PetscFunctionBeginUser;
  *stream = open_memstream(&a->lines[table][group], length);
  PetscCheck(*stream, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode close_lines(FILE *stream)
{
  PetscFunctionBeginUser;
  PetscCheck(!fclose(stream), PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- calibration --------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode sorted_genes(PetscInt n, const double *x, PetscInt genes, GeneColumns *sorted)
{
  PetscFunctionBeginUser;
  PetscCall(genecolumns_of_dense(n, x, genes, sorted));
  PetscCall(genecolumns_sort(sorted, 0, genes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number of cells without the gene, and the i-th smallest value of all. */
static PetscInt zeros_of(const GeneColumns *sorted, PetscInt g) { return (PetscInt)(sorted->cells - (sorted->offset[g + 1] - sorted->offset[g])); }

static double value_at(const GeneColumns *sorted, PetscInt g, PetscInt zeros, PetscInt i)
{
  return i < zeros ? 0 : genecolumns_get(sorted, sorted->offset[g] + i - zeros);
}

/* Of one gene: equal values, most of them zero, have the same share. */
static void add_gene(const GeneColumns *real, const GeneColumns *predicted, PetscInt g, PetscInt levels, double *cdf)
{
  const PetscInt n = (PetscInt)real->cells, m = (PetscInt)predicted->cells, zeros[2] = {zeros_of(real, g), zeros_of(predicted, g)};

  for (PetscInt i = 0, next, to = 0; i < n; i = next) {
    const double x = value_at(real, g, zeros[0], i);

    for (next = PetscMax(i + 1, zeros[0]); next < n && value_at(real, g, zeros[0], next) == x;) next++;
    while (to < m && value_at(predicted, g, zeros[1], to) < x) to++;
    const double low = (double)to / m;
    while (to < m && value_at(predicted, g, zeros[1], to) == x) to++;
    const double high = (double)to / m;
    for (PetscInt l = 0; l < levels; l++) {
      const double level = (double)(l + 1) / (levels + 1);
      cdf[l] += (double)(next - i) * (high > low ? PetscMin(1, PetscMax(0, (level - low) / (high - low))) : level >= low);
    }
  }
}

/* Probability integral transform of discrete values (Czado, Gneiting and Held 2009): cdf[l] = mean over cells and genes of the share of level l
   that lies within [F(x-), F(x)], F the distribution function of the predicted values. Equal distributions give cdf[l] = level l. Genes found in
   at least a tenth of the real cells; their number is returned. */
PetscErrorCode calibration_curve(PetscInt n, const double *real, PetscInt m, const double *predicted, PetscInt genes, PetscInt levels, double *cdf, PetscInt *counted)
{
  GeneColumns sorted[2];

  PetscFunctionBeginUser;
  *counted = 0;
  PetscCall(sorted_genes(n, real, genes, &sorted[0]));
  PetscCall(sorted_genes(m, predicted, genes, &sorted[1]));
  PetscCall(PetscArrayzero(cdf, levels));
  for (PetscInt g = 0; g < genes; g++) {
    if (10 * (n - zeros_of(&sorted[0], g)) < n || !n) continue;
    (*counted)++;
    add_gene(&sorted[0], &sorted[1], g, levels, cdf);
  }
  for (PetscInt l = 0; l < levels; l++) cdf[l] = *counted ? cdf[l] / ((double)n * *counted) : NAN;
  for (int s = 0; s < 2; s++) PetscCall(genecolumns_destroy(&sorted[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shown_calibration(Analyses *a, const ScoreTable *t, const ShownGroup *shown)
{
  double   cdf[LEVELS];
  PetscInt counted;
  size_t   length;
  FILE    *stream;

  PetscFunctionBeginUser;
  PetscCall(open_lines(a, TABLE_CALIBRATION, shown->group, &length, &stream));
  for (PetscInt r = 0; r < t->rows; r++) {
    if (!shown->row[r].x) continue;
    PetscCall(calibration_curve(shown->real.cells, shown->real.x, shown->row[r].cells, shown->row[r].x, t->genes, LEVELS, cdf, &counted));
    for (int l = 0; counted && l < LEVELS; l++) {
      analyses_begin_line(t, t->model[r], shown->group, stream);
      fprintf(stream, "%.2f,%.6g,%lld\n", (l + 1.) / (LEVELS + 1), cdf[l], (long long)counted);
    }
  }
  PetscCall(close_lines(stream));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- principal components ------------------------------------------------------------------------------------------------------ */

/* Coordinates of the cells on two components and their shares of the variance. */
static void write_cells(const ScoreTable *t, PetscInt group, const char *model, const char *kind, const PrincipalComponents *c, const ShownCells *drawn, FILE *stream)
{
  for (PetscInt i = 0; i < drawn->cells; i++) {
    double at[2] = {0, 0};
    for (PetscInt g = 0; g < t->genes; g++)
      for (int d = 0; d < 2; d++) at[d] += (drawn->x[(size_t)i * (size_t)t->genes + (size_t)g] - c->mean[g]) * c->loadings[2 * g + d];
    analyses_begin_line(t, model, group, stream);
    fprintf(stream, "%s,%.5g,%.5g,%.4g,%.4g\n", kind, at[0], at[1], c->variance[0] / c->total, c->variance[1] / c->total);
  }
}

/* Components of the measured cells, perturbed and control; predicted cells are projected onto them. */
PetscErrorCode shown_components(Analyses *a, const ScoreTable *t, const ShownGroup *shown)
{
  CellGroup           side[2];
  CellFeatures       *features[2];
  PetscInt            sides = 0, cells = shown->real.cells;
  PrincipalComponents components;
  PetscErrorCode      code;
  size_t              length;
  FILE               *stream;

  PetscFunctionBeginUser;
  PetscCall(features_from_doubles(shown->real.cells, t->genes, shown->real.x, &features[0]));
  side[sides++] = (CellGroup){features[0], 0, shown->real.cells};
  for (PetscInt r = 0; r < t->rows && sides < 2; r++) {
    if (t->kind[r] != ROW_BASELINE || !shown->row[r].x) continue;
    PetscCall(features_from_doubles(shown->row[r].cells, t->genes, shown->row[r].x, &features[1]));
    side[sides++] = (CellGroup){features[1], 0, shown->row[r].cells};
    cells += shown->row[r].cells;
  }
  /* Cells that span no plane are no picture, and no mistake. */
  code = cells < 3 || t->genes < 2 ? ERROR_USER : principal_components_alone(sides, side, 2, &components);
  if (code && code != ERROR_USER) PetscCall(code);
  if (!code) {
    PetscCall(open_lines(a, TABLE_CELLS, shown->group, &length, &stream));
    write_cells(t, shown->group, "real", "real", &components, &shown->real, stream);
    for (PetscInt r = 0; r < t->rows; r++)
      if (shown->row[r].x) write_cells(t, shown->group, t->model[r], t->kind[r] == ROW_BASELINE ? "control" : "prediction", &components, &shown->row[r], stream);
    PetscCall(close_lines(stream));
    PetscCall(principal_components_free(&components));
  }
  for (PetscInt s = 0; s < sides; s++) PetscCall(features_destroy(&features[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- changes of genes ---------------------------------------------------------------------------------------------------------- */

PetscErrorCode shown_keep_changes(Analyses *a, const ScoreTable *t, PetscInt group, const double *change)
{
  const size_t count = (size_t)(t->rows + 1) * (size_t)t->genes;

  PetscFunctionBeginUser;
  if (!a->shown || !a->shown[group]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(count, &a->shown_change[group]));
  PetscCall(PetscArraycpy(a->shown_change[group], change, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Changes of the genes that row r predicts for a group, NULL where they are not shown; the real ones are a->shown_change[group]. */
static const double *predicted_change(const ScoreTable *t, PetscInt r, PetscInt group)
{
  const Analyses *a = t->analyses;

  if (t->kind[r] != ROW_PREDICTION || !a->shown_row[r] || !a->shown_change[group]) return NULL;
  return a->shown_change[group] + (size_t)(r + 1) * (size_t)t->genes;
}

PetscErrorCode shown_print_changes(const void *table, FILE *stream)
{
  const ScoreTable *t = table;

  PetscFunctionBeginUser;
  fprintf(stream, "model,perturbation,cell_type,batch,gene,real,predicted\n");
  for (PetscInt r = 0; r < t->rows; r++)
    for (PetscInt k = 0; k < t->groups; k++) {
      const double *predicted = predicted_change(t, r, k);

      for (PetscInt g = 0; predicted && g < t->genes; g++) {
        analyses_begin_line(t, t->model[r], k, stream);
        csv_field(stream, t->gene[g]);
        fprintf(stream, ",%.5g,%.5g\n", t->analyses->shown_change[k][g], predicted[g]);
      }
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How far the change predicted for group k lies from the real change of group j. */
static void print_distance(const ScoreTable *t, PetscInt r, PetscInt k, PetscInt j, const double *predicted, const double *real, FILE *stream)
{
  double square = 0;

  for (PetscInt g = 0; g < t->genes; g++) square += PetscSqr(predicted[g] - real[g]);
  analyses_begin_line(t, t->model[r], k, stream);
  for (int axis = 0; axis < 3; axis++) {
    csv_field(stream, t->label[axis][j]);
    fputc(',', stream);
  }
  fprintf(stream, "%.6g\n", sqrt(square));
}

PetscErrorCode shown_print_distances(const void *table, FILE *stream)
{
  const ScoreTable *t = table;

  PetscFunctionBeginUser;
  fprintf(stream, "model,perturbation,cell_type,batch,real_perturbation,real_cell_type,real_batch,distance\n");
  for (PetscInt r = 0; r < t->rows; r++)
    for (PetscInt k = 0; k < t->groups; k++) {
      const double *predicted = predicted_change(t, r, k);

      for (PetscInt j = 0; predicted && j < t->groups; j++)
        if (t->analyses->shown_change[j]) print_distance(t, r, k, j, predicted, t->analyses->shown_change[j], stream);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}
