/* Figures of genes: predicted against measured changes, volcanoes of measured and predicted cells. */
#include "report/report_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANELS = 6, TARGETS = 3, NAMED = 6, POINTS = 1200 };

/* Names written so far in a panel: the left ends of what they take, the room of one in the panel's units, and the panel's left edge. */
typedef struct {
  PetscInt count;
  double   x[NAMED], y[NAMED], width, height, edge;
} Names;

/* A name to the left of its point, or to the right where the axis is near, if there is room beside those written. */
static PetscErrorCode add_name(Names *names, double x, double y, const char *name, Text *script)
{
  const int    right = x - names->width < names->edge;
  const double left = right ? x : x - names->width;

  PetscFunctionBeginUser;
  if (names->count == NAMED || !isfinite(x) || !isfinite(y)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < names->count; i++)
    if (fabs(names->x[i] - left) < names->width && fabs(names->y[i] - y) < names->height) PetscFunctionReturn(PETSC_SUCCESS);
  names->x[names->count] = left;
  names->y[names->count++] = y;
  PetscCall(text_add(script, "set label "));
  PetscCall(text_add_quoted(script, name));
  PetscCall(text_add(script, " at %.4g,%.4g %s offset %g,0.3 font ',11' noenhanced front\n", x, y, right ? "left" : "right", right ? 0.5 : -0.5));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- changes ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  double      real, predicted;
  const char *gene;
} Change;

static int largest_first(const void *a, const void *b)
{
  const double x = fabs(((const Change *)a)->real), y = fabs(((const Change *)b)->real);
  return (x < y) - (x > y);
}

static double correlation(PetscInt n, const Change *c)
{
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (PetscInt i = 0; i < n; i++) x += c[i].real / (double)n, y += c[i].predicted / (double)n;
  for (PetscInt i = 0; i < n; i++) xx += PetscSqr(c[i].real - x), yy += PetscSqr(c[i].predicted - y), xy += (c[i].real - x) * (c[i].predicted - y);
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

static PetscErrorCode changes_panel(Page *page, const char *label, PetscInt n, Change *change)
{
  Text         script = {0};
  const double r      = correlation(n, change);
  double       low[2] = {0, 0}, high[2] = {0, 0};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) {
    low[0]  = fmin(low[0], change[i].real);
    high[0] = fmax(high[0], change[i].real);
    low[1]  = fmin(low[1], change[i].predicted);
    high[1] = fmax(high[1], change[i].predicted);
  }
  qsort(change, (size_t)n, sizeof *change, largest_first);
  PetscCall(figure_style(&script));
  PetscCall(text_add(&script, "$genes << EOD\n"));
  /* The smallest changes, which lie on each other, are thinned. */
  for (PetscInt i = 0; i < n; i += i < POINTS / 2 ? 1 : PetscMax(1, 2 * (n - POINTS / 2) / POINTS)) PetscCall(text_add(&script, "%.4g %.4g\n", change[i].real, change[i].predicted));
  PetscCall(text_add(&script, "EOD\n"));
  /* The line of exact predictions goes from the least to the largest measured change: the panel is as high as that at least. */
  Names names = {.width = 0.24 * (high[0] - low[0]), .height = 0.06 * (fmax(high[0], high[1]) - fmin(low[0], low[1])), .edge = low[0]};
  for (PetscInt i = 0; i < PetscMin(n, 3 * NAMED); i++) PetscCall(add_name(&names, change[i].real, change[i].predicted, change[i].gene, &script));
  PetscCall(text_add(&script, "set title "));
  PetscCall(text_add_quoted(&script, label));
  PetscCall(text_add(&script, "\nset xlabel 'measured change (log1p)'\nset ylabel 'predicted change (log1p)'\nset label 'r = %.2f, %d genes' at graph 0.04,0.95\nset offsets graph 0.04, graph 0.12, graph 0.04, graph 0.04\n"
                              "plot x with lines linecolor '#999999' dashtype 2 notitle, $genes using 1:2 with points pointtype 7 pointsize 0.35 linecolor '%s' notitle\n",
                     r, (int)n, COLOUR_PREDICTED));
  PetscCall(figure_panel(page, &script, 460, 400, label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_changes(Page *page, const Scores *s)
{
  const CsvTable *t = &s->changes;
  Change         *change;
  char            label[512], last[512] = "";
  PetscInt        count = 0, panels = 0;

  PetscFunctionBeginUser;
  if (!t->rows || !s->prediction) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(t->rows, &change));
  PetscCall(text_add(&page->text, "<h2 id=\"genes\">Genes</h2>\n"));
  PetscCall(figure_begin(page, "changes"));
  for (PetscInt i = 0; i <= t->rows && panels < PANELS; i++) {
    if (i < t->rows && strcmp(csv_text(t, i, "model"), s->prediction)) continue;
    if (i < t->rows) csv_population(t, i, "", label, sizeof label);
    if (count && (i == t->rows || strcmp(label, last))) {
      PetscCall(changes_panel(page, last, count, change));
      panels++;
      count = 0;
    }
    if (i == t->rows) break;
    memcpy(last, label, sizeof last);
    change[count++] = (Change){csv_number(t, i, "real"), csv_number(t, i, "predicted"), csv_text(t, i, "gene")};
  }
  PetscCall(figure_end(page, "Mean change of every gene from control: measured against predicted, one panel for each population shown. On the dashed line the prediction is exact; the genes that move most are named; r is Pearson's correlation over all genes."));
  PetscCall(PetscFree(change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- volcanoes ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
  double fold, score, fdr; /* log2 fold change, -log10 p */
  char   gene[32];
} Gene;

/* The targets with most significant genes, found in one pass over lines sorted by target. */
typedef struct {
  char     name[128];
  PetscInt significant;
} Target;
typedef struct {
  Target best[TARGETS], now;
} Strongest;

static void settle(Strongest *s)
{
  for (int i = 0; i < TARGETS && s->now.significant; i++)
    if (s->now.significant > s->best[i].significant) {
      memmove(&s->best[i + 1], &s->best[i], (size_t)(TARGETS - 1 - i) * sizeof *s->best);
      s->best[i] = s->now;
      break;
    }
  s->now.significant = 0;
}

static PetscErrorCode count_line(void *context, const CsvTable *line)
{
  Strongest  *s    = context;
  const char *name = csv_text(line, 0, "target");

  if (strncmp(name, s->now.name, sizeof s->now.name - 1)) {
    settle(s);
    (void)PetscStrncpy(s->now.name, name, sizeof s->now.name);
  }
  s->now.significant += csv_number(line, 0, "fdr") < 0.05;
  return PETSC_SUCCESS;
}

/* Genes of the targets chosen. */
typedef struct {
  const Strongest *strongest;
  PetscInt         count[TARGETS];
  Gene            *gene[TARGETS];
} Volcanoes;

static PetscErrorCode keep_line(void *context, const CsvTable *line)
{
  Volcanoes *v = context;

  PetscFunctionBeginUser;
  for (int t = 0; t < TARGETS; t++) {
    if (!v->strongest->best[t].significant || strncmp(csv_text(line, 0, "target"), v->strongest->best[t].name, sizeof v->strongest->best[t].name - 1)) continue;
    if (!(v->count[t] & (v->count[t] + 1)) || !v->gene[t]) PetscCall(PetscRealloc((size_t)(2 * v->count[t] + 2) * sizeof *v->gene[t], &v->gene[t]));
    Gene *g = &v->gene[t][v->count[t]++];
    /* The fold change of a gene without counts on one side is infinite, p may be 0 in double precision. */
    g->fold  = fmin(10, fmax(-10, csv_number(line, 0, "log2_fold_change")));
    g->score = fmin(300, -log10(fmax(1e-300, csv_number(line, 0, "p_value"))));
    g->fdr   = csv_number(line, 0, "fdr");
    PetscCall(PetscStrncpy(g->gene, csv_text(line, 0, "feature"), sizeof g->gene));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int highest_first(const void *a, const void *b)
{
  const Gene *x = a, *y = b;
  return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : strcmp(x->gene, y->gene);
}

static PetscErrorCode volcano_panel(Page *page, const char *target, const char *side, const char *colour, PetscInt n, Gene *gene, double fold, double score)
{
  Text     script = {0};
  PetscInt significant = 0, thinned = 0;
  char     title[256];

  PetscFunctionBeginUser;
  qsort(gene, (size_t)n, sizeof *gene, highest_first);
  PetscCall(figure_style(&script));
  PetscCall(text_add(&script, "$genes << EOD\n"));
  for (PetscInt i = 0; i < n; i++) {
    const PetscBool low = gene[i].fdr < 0.05 ? PETSC_FALSE : PETSC_TRUE;
    significant += !low;
    if ((low && thinned++ % PetscMax(1, n / (POINTS / 2))) || !isfinite(gene[i].fold) || !isfinite(gene[i].score)) continue;
    PetscCall(text_add(&script, "%.4g %.4g 0x%s\n", gene[i].fold, gene[i].score, (low ? "#bbbbbb" : colour) + 1));
  }
  PetscCall(text_add(&script, "EOD\n"));
  Names names = {.width = 0.5 * fold, .height = 0.06 * score, .edge = -1.1 * fold};
  for (PetscInt i = 0; i < PetscMin(n, 4 * NAMED); i++) PetscCall(add_name(&names, gene[i].fold, gene[i].score, gene[i].gene, &script));
  (void)PetscSNPrintf(title, sizeof title, "%s, %s", target, side);
  PetscCall(text_add(&script, "set title "));
  PetscCall(text_add_quoted(&script, title));
  PetscCall(text_add(&script, "\nset xlabel 'log2 fold change'\nset ylabel '-log10 p'\nset xrange [%g:%g]\nset yrange [0:%g]\nset label '%d of %d genes significant' at graph 0.04,0.96\n"
                              "plot $genes using 1:2:3 with points pointtype 7 pointsize 0.4 linecolor rgbcolor variable notitle\n",
                     -1.1 * fold, 1.1 * fold, 1.12 * score, (int)significant, (int)n));
  PetscCall(figure_panel(page, &script, 460, 380, title));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Folder with cell-eval's tables of the best prediction: its own, or the evaluation's where there is but one. */
static PetscErrorCode add_volcanoes(Page *page, const Scores *s)
{
  static const char *const file[2]  = {"real_de.csv", "pred_de.csv"}, *const side[2] = {"measured", "predicted"}, *const colour[2] = {COLOUR_REAL, COLOUR_PREDICTED};
  char                     path[2][PETSC_MAX_PATH_LEN];
  Strongest                strongest = {0};
  Volcanoes                v[2]      = {{.strongest = &strongest}, {.strongest = &strongest}};

  PetscFunctionBeginUser;
  if (!s->prediction) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < 2; i++) {
    char folder[PETSC_MAX_PATH_LEN], name[PETSC_MAX_PATH_LEN];
    PetscCall(PetscSNPrintf(folder, sizeof folder, "%s/%s", s->folder, s->prediction));
    PetscCall(file_ending(folder, file[i], name));
    if (!*name) {
      PetscCall(PetscSNPrintf(folder, sizeof folder, "%s", s->folder));
      PetscCall(file_ending(folder, file[i], name));
    }
    PetscCall(PetscSNPrintf(path[i], sizeof path[i], "%s/%s", folder, name));
  }
  PetscCall(csv_scan(path[0], count_line, &strongest));
  settle(&strongest);
  for (int i = 0; i < 2; i++) PetscCall(csv_scan(path[i], keep_line, &v[i]));
  if (v[0].count[0] && v[1].count[0]) {
    PetscCall(figure_begin(page, "volcanoes"));
    for (int t = 0; t < TARGETS && v[0].count[t] && v[1].count[t]; t++) {
      double fold = 0.1, score = 1;
      for (int i = 0; i < 2; i++)
        for (PetscInt g = 0; g < v[i].count[t]; g++) {
          if (isfinite(v[i].gene[t][g].fold)) fold = fmax(fold, fabs(v[i].gene[t][g].fold));
          score = fmax(score, v[i].gene[t][g].score);
        }
      for (int i = 0; i < 2; i++) PetscCall(volcano_panel(page, strongest.best[t].name, side[i], colour[i], v[i].count[t], v[i].gene[t], fold, score));
    }
    PetscCall(figure_end(page, "Differential expression against control for the perturbations with most significant genes, measured beside predicted on the same axes: Wilcoxon rank-sum test, coloured where the false discovery rate is below 5&nbsp;%. "
                               "The same genes should stand out on both sides, about as high. Fold changes beyond a factor of 1,024, infinite ones among them, are drawn at its edge. Where there are tables for several cell types, the first is shown."));
  }
  for (int i = 0; i < 2; i++)
    for (int t = 0; t < TARGETS; t++) PetscCall(PetscFree(v[i].gene[t]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode add_gene_figures(Page *page, const Scores *s)
{
  PetscFunctionBeginUser;
  PetscCall(add_changes(page, s));
  PetscCall(add_volcanoes(page, s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
