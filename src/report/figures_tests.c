/* Volcano of embed's permutation tests: how far from its control, and how surely. */
#include "report/report_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Pixels of the figure and its plot; populations named, letters of a name. */
enum { WIDTH = 900, HEIGHT = 520, LEFT = 80, RIGHT = 30, TOP = 16, BOTTOM = 104, NAMED = 10, LETTERS = 40, LETTER_WIDTH = 6, LINE = 17, SHIFTS = 9 };
static const double significant = 0.05;

typedef struct {
  PetscInt row;
  double   effect, score, fdr; /* energy distance, -log10 of the adjusted p */
  int      together;           /* batches tested together */
} Tested;

/* Where names go: pixels from the left and the bottom of the plot. */
typedef struct {
  double left, right, bottom;
} Box;

typedef struct {
  double low, high, top; /* log2 of the least and largest effect shown; largest score */
} Axes;

static double across(const Axes *a, double effect) { return (log2(effect) - a->low) / (a->high - a->low) * (WIDTH - LEFT - RIGHT); }
static double along(const Axes *a, double score) { return score / a->top * (HEIGHT - TOP - BOTTOM); }

static int farthest_first(const void *x, const void *y)
{
  const Tested *a = x, *b = y;

  return a->effect != b->effect ? (a->effect < b->effect) - (a->effect > b->effect) : a->row - b->row;
}

/* What tells a row from others: parts that are the same in all rows are left out. */
static void row_name(const CsvTable *table, PetscInt row, char *name, size_t size)
{
  static const char *const part[] = {"perturbation", "cell_type", "batch"};

  *name = 0;
  for (int p = 0; p < 3; p++) {
    const char *text = csv_text(table, row, part[p]);
    PetscBool   same = PETSC_TRUE;
    for (PetscInt i = 0; i < table->rows && same; i++) same = !strcmp(csv_text(table, i, part[p]), text) ? PETSC_TRUE : PETSC_FALSE;
    if (!*text || same) continue;
    const size_t used = strlen(name);
    snprintf(name + used, size - used, "%s%s", used ? ", " : "", text);
  }
  if (!*name) (void)PetscStrncpy(name, csv_text(table, row, "perturbation"), size);
}

/* The nearest place over a point, straight or to a side, where a name hides no other. */
static PetscBool free_place(int placed, const Box *box, double x, double y, double half, Box *best)
{
  const double width = WIDTH - LEFT - RIGHT;
  double       nearest = INFINITY;

  for (double bottom = y + LINE; bottom + LINE / 2 <= HEIGHT - TOP - BOTTOM; bottom += LINE)
    for (int k = 0; k < SHIFTS; k++) {
      const double shift = (k % 2 ? -1 : 1) * ((k + 1) / 2) * 0.6 * half, middle = PetscMin(PetscMax(x + shift, half), width - half), far = hypot(middle - x, 1.5 * (bottom - y));
      const Box    own   = {middle - half, middle + half, bottom};
      PetscBool    open  = far < nearest ? PETSC_TRUE : PETSC_FALSE;
      for (int other = 0; other < placed && open; other++)
        if (own.left < box[other].right + 2 * LETTER_WIDTH && box[other].left < own.right + 2 * LETTER_WIDTH && fabs(own.bottom - box[other].bottom) < LINE) open = PETSC_FALSE;
      if (!open) continue;
      nearest = far;
      *best   = own;
    }
  return isfinite(nearest) ? PETSC_TRUE : PETSC_FALSE;
}

/* Names over the strongest significant points, of all batches together where there are such, each a line higher until it hides no other, with a line to its point. */
static PetscErrorCode add_names(const CsvTable *table, const Axes *a, PetscInt count, const Tested *tested, Text *script)
{
  Box box[NAMED];
  int placed = 0, together = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < count; i++) together |= tested[i].together && tested[i].fdr < significant;
  PetscCall(text_add(script, "set style textbox opaque noborder fillcolor 'white' margins 0.4,0.2\n"));
  for (PetscInt i = 0; i < count && placed < NAMED; i++) {
    char         name[256];
    const double x = across(a, tested[i].effect), y = along(a, tested[i].score);
    if (!(tested[i].fdr < significant) || tested[i].together != together) continue;
    row_name(table, tested[i].row, name, sizeof name);
    if (strlen(name) > LETTERS) {
      size_t end = LETTERS - 2; /* never within a letter of several bytes */
      while (end && ((unsigned char)name[end] & 0xC0) == 0x80) end--;
      memcpy(name + end, "...", 4);
    }
    const double half = 0.5 * LETTER_WIDTH * (double)strlen(name);
    Box          own;
    if (!free_place(placed, box, x, y, half, &own)) continue;
    const double middle = own.left + half;
    box[placed++] = own;
    PetscCall(text_add(script, "set arrow from screen %g,%g to screen %g,%g nohead linecolor '#999999' linewidth 0.7 back\nset label ", (LEFT + x) / WIDTH, (BOTTOM + y) / HEIGHT,
                       (LEFT + middle) / WIDTH, (BOTTOM + own.bottom - 6) / HEIGHT));
    PetscCall(text_add_quoted(script, name));
    PetscCall(text_add(script, " at screen %g,%g center noenhanced font ',11' front boxed\n", (LEFT + middle) / WIDTH, (BOTTOM + own.bottom) / HEIGHT));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_tests(const CsvTable *table, PetscInt *count, Tested *tested, Axes *a)
{
  double least = INFINITY, largest = 0;

  PetscFunctionBeginUser;
  *count = 0;
  for (PetscInt i = 0; i < table->rows; i++) {
    const double effect = csv_number(table, i, "energy_distance"), fdr = csv_number(table, i, "energy_fdr");
    if (!isfinite(effect) || !(fdr > 0)) continue;
    if (effect > 0) least = PetscMin(least, effect);
    largest              = PetscMax(largest, effect);
    tested[(*count)++] = (Tested){i, effect, -log10(fdr), fdr, csv_number(table, i, "blocks") > 1};
  }
  if (!(largest > 0)) *count = 0;
  for (PetscInt i = 0; i < *count; i++) tested[i].effect = PetscMax(tested[i].effect, least); /* a distance of nothing stands at the left edge */
  qsort(tested, (size_t)*count, sizeof *tested, farthest_first);
  /* Two powers of two at least, so that there are marks on the axis. */
  const double margin = PetscMax(0.15 + 0.03 * log2(largest / least), 1.05 - 0.5 * log2(largest / least));
  a->low  = log2(least) - margin;
  a->high = log2(largest) + margin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A dashed line across at a score, and what it is, at its left end. */
static PetscErrorCode add_level(double score, const char *colour, double lift, const char *what, Text *script)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(script, "set arrow from graph 0,first %g to graph 1,first %g nohead dashtype 2 linecolor '%s' linewidth 1 back\nset label '%s' at graph 0.01,first %g offset 0,%g left textcolor '#555555' font ',11'\n",
                     score, score, colour, what, score, lift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode figure_tests(const CsvTable *table, EmbeddingFigure *figure)
{
  static const struct {
    int         shape, together, found;
    const char *colour, *title;
  } kind[4] = {{7, 0, 1, COLOUR_REAL, "population"}, {7, 0, 0, COLOUR_CONTROL, "not significant"}, {13, 1, 1, COLOUR_PREDICTED, "all batches together"},
               {13, 1, 0, COLOUR_CONTROL, "not significant, together"}};
  Text    *script = &figure->script;
  Tested  *tested;
  Axes     a;
  char     floor_name[80];
  PetscInt count;

  PetscFunctionBeginUser;
  if (!table->rows || csv_column(table, "energy_fdr") < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(table->rows, &tested));
  PetscCall(read_tests(table, &count, tested, &a));
  if (!count) {
    PetscCall(PetscFree(tested));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const double permutations = csv_number(table, 0, "permutations"), least = permutations > 0 ? log10(permutations + 1) : 0;
  a.top = 1.05 * -log10(significant);
  for (PetscInt i = 0; i < count; i++) a.top = PetscMax(a.top, tested[i].score);
  a.top = 1.55 * PetscMax(a.top, least);
  figure->width  = WIDTH;
  figure->height = HEIGHT;
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set lmargin at screen %g\nset rmargin at screen %g\nset bmargin at screen %g\nset tmargin at screen %g\n", (double)LEFT / WIDTH,
                     1 - (double)RIGHT / WIDTH, (double)BOTTOM / HEIGHT, 1 - (double)TOP / HEIGHT));
  PetscCall(text_add(script, "set logscale x 2\nset format x '%%g'\nset xrange [%.6g:%.6g]\nset yrange [0:%.6g]\nset xlabel 'energy distance to control'\nset ylabel '-log10 p, adjusted'\nset ytics 0,%g,%.6g\n", exp2(a.low), exp2(a.high), a.top,
                     a.top > 6 ? 1. : 0.5, a.top / 1.55 + 0.01));
  (void)PetscSNPrintf(floor_name, sizeof floor_name, "least p that %.0f permutations can give", permutations);
  /* Points lie on the line and closely below it: its name keeps clear of them. */
  if (least > 0) PetscCall(add_level(least, "#555555", -1.3, floor_name, script));
  PetscCall(add_level(-log10(significant), COLOUR_CONTROL, fabs(least + log10(significant)) < 0.2 ? -1.5 : -0.6, "false discovery rate 5 %", script));
  PetscCall(add_names(table, &a, count, tested, script));
  for (int k = 0, kinds = 0; k < 4; k++) {
    PetscInt own = 0;
    PetscCall(text_add(script, "$kind%d << EOD\nNaN NaN\n", k));
    for (PetscInt i = 0; i < count; i++) {
      if (tested[i].together != kind[k].together || (tested[i].fdr < significant) != kind[k].found) continue;
      PetscCall(text_add(script, "%.6g %.6g\n", tested[i].effect, tested[i].score));
      own++;
    }
    PetscCall(text_add(script, "EOD\n"));
    if (own) PetscCall(legend_entry(script, kind[k].title, kind[k].shape, kind[k].colour, 0.09 + 0.235 * kinds++, 16. / HEIGHT));
  }
  for (int k = 0; k < 4; k++)
    PetscCall(text_add(script, "%s $kind%d with points pointtype %d pointsize %g linewidth 0.5 linecolor '%s' notitle", k ? "," : "plot", k, kind[k].shape, kind[k].together ? 1.1 : 0.8, kind[k].colour));
  PetscCall(text_add(script, "\n"));
  PetscCall(PetscFree(tested));
  PetscFunctionReturn(PETSC_SUCCESS);
}
