/* Figures of an embedding folder: distances between populations, spectra, components. */
#include "report/report_internal.h"
#include <math.h>
#include <perturbdiff/hilbert/cluster.h>
#include <perturbdiff/report.h>
#include <perturbdiff/runtime/file.h>
#include <stdlib.h>
#include <string.h>

static const char *const figure_name[EMBEDDING_FIGURES] = {"populations.svg", "tests.svg", "components.svg", "spectrum.svg"};

/* Populations up to which each has its label beside the distances, and up to which the distances are drawn at all. */
enum { LABELS_MOST = 80, POPULATIONS_MOST = 1000 };

/* Labels of both axes in the order of the rows, and room for them: the matrix stays square, the figure is as high as it needs. */
static PetscErrorCode add_labels(const CsvTable *table, const PetscInt *order, EmbeddingFigure *figure)
{
  const PetscInt n      = table->rows;
  const int      size   = n > 50 ? 6 : n > 30 ? 8 : 10;
  Text          *script = &figure->script;
  size_t         longest = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) longest = PetscMax(longest, strlen(table->cell[i * table->columns]));
  const double room = n > LABELS_MOST ? 20 : PetscMin(0.45 * figure->width, 0.68 * size * (double)longest + 12), right = 0.88 * figure->width, top = 12;
  figure->height    = (int)(right + top);
  PetscCall(text_add(script, "set lmargin at screen %g\nset rmargin at screen %g\nset bmargin at screen %g\nset tmargin at screen %g\n", room / figure->width, right / figure->width,
                     room / figure->height, 1 - top / figure->height));
  if (n > LABELS_MOST) {
    PetscCall(text_add(script, "unset xtics\nunset ytics\n"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int axis = 0; axis < 2; axis++) {
    PetscCall(text_add(script, axis ? "set ytics noenhanced font ',%d' (" : "set xtics rotate by 90 right noenhanced font ',%d' (", size));
    for (PetscInt k = 0; k < n; k++) {
      if (k) PetscCall(text_add(script, ","));
      PetscCall(text_add_quoted(script, table->cell[order[k] * table->columns]));
      PetscCall(text_add(script, " %d", (int)k));
    }
    PetscCall(text_add(script, ")\n"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Squared distances of a table, their roots drawn with rows and columns ordered by average linkage. */
static PetscErrorCode figure_populations(const CsvTable *table, const char *what, EmbeddingFigure *figure)
{
  const PetscInt n      = table->rows;
  Text          *script = &figure->script;
  double        *distance, *scratch;
  PetscInt      *order;

  PetscFunctionBeginUser;
  if (n < 2 || n > POPULATIONS_MOST || table->columns != n + 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc3((size_t)n * (size_t)n, &distance, (size_t)n * (size_t)n, &scratch, n, &order));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      const double value  = strtod(table->cell[i * table->columns + j + 1], NULL);
      distance[i * n + j] = value > 0 ? sqrt(value) : 0;
    }
  PetscCall(PetscArraycpy(scratch, distance, (size_t)n * (size_t)n));
  PetscCall(cluster_average(n, scratch, order, NULL));
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "unset grid\nset border 0\nset tics scale 0\nset cblabel '%s'\nset xrange [-0.5:%d-0.5]\nset yrange [%d-0.5:-0.5]\n", what, (int)n, (int)n));
  PetscCall(text_add(script, "set palette defined (0 '#0b2a4a', 0.25 '#0072B2', 0.6 '#b9d9ec', 1 '#fff8e8')\n"));
  PetscCall(add_labels(table, order, figure));
  PetscCall(text_add(script, "$distances << EOD\n"));
  for (PetscInt k = 0; k < n; k++) {
    for (PetscInt l = 0; l < n; l++) PetscCall(text_add(script, "%.4g ", distance[order[k] * n + order[l]]));
    PetscCall(text_add(script, "\n"));
  }
  PetscCall(text_add(script, "EOD\nplot $distances matrix with image pixels notitle\n"));
  PetscCall(PetscFree3(distance, scratch, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of an operator as a data block: index, eigenvalue and effective dimension. */
static PetscErrorCode operator_block(const CsvTable *table, const char *name, Text *script, PetscInt *count)
{
  PetscFunctionBeginUser;
  *count = 0;
  PetscCall(text_add(script, "$%s << EOD\n", name));
  for (PetscInt i = 0; i < table->rows; i++) {
    if (strcmp(csv_text(table, i, "operator"), name)) continue;
    PetscCall(text_add(script, "%s %g %g\n", csv_text(table, i, "index"), csv_number(table, i, "fraction"), csv_number(table, i, "effective_dimension")));
    (*count)++;
  }
  PetscCall(text_add(script, "EOD\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Left: eigenvalues as parts of their sum; right: effective dimension against lambda as a part of the sum. */
static PetscErrorCode figure_spectrum(const CsvTable *table, Text *script)
{
  static const char *const name[2] = {"between", "within"}, *const title[2] = {"between populations", "within populations"};
  PetscInt                 count[2];

  PetscFunctionBeginUser;
  if (!table->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set grid xtics linecolor '#eeeeee'\n"));
  for (int k = 0; k < 2; k++) PetscCall(operator_block(table, name[k], script, &count[k]));
  PetscCall(text_add(script, "set multiplot layout 1,2\nset format '10^{%%T}'\nset logscale xy\nset xrange [0.9:*]\nset key top right\nset xlabel 'index'\nset ylabel 'eigenvalue / trace'\n"));
  for (int panel = 0; panel < 2; panel++) {
    if (panel) PetscCall(text_add(script, "set key bottom left\nset xrange [*:*]\nset xlabel 'lambda / trace'\nset ylabel 'effective dimension'\n"));
    for (int k = 0, drawn = 0; k < 2; k++)
      if (count[k])
        PetscCall(text_add(script, "%s $%s using %s with %s linetype %d title '%s'", drawn++ ? "," : "plot", name[k], panel ? "2:3" : "1:2", panel ? "lines" : "linespoints", k + 1, title[k]));
    PetscCall(text_add(script, "\n"));
  }
  PetscCall(text_add(script, "unset multiplot\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Names that have a colour of their own in a panel; further ones share "others". */
enum { COLOURS = 7, NAMED_MOST = 14 };
static const int shape[] = {7, 5, 9, 13, 11, 15}; /* filled circle, square, triangle, diamond, triangle, pentagon */

typedef struct {
  PetscInt    count;
  const char *name[NAMED_MOST];
  double      value[NAMED_MOST];
} Names;

static PetscInt name_place(const Names *names, const char *name)
{
  for (PetscInt k = 0; k < names->count; k++)
    if (!strcmp(names->name[k], name)) return k;
  return names->count;
}

/* The names with the largest values, each by its largest, in order of appearance. */
static void keep_largest(Names *names, PetscInt most, const char *name, double value)
{
  PetscInt place = name_place(names, name), least = 0;

  if (place == names->count && names->count < most) {
    names->name[names->count]    = name;
    names->value[names->count++] = value;
    return;
  }
  for (PetscInt k = 1; k < names->count; k++)
    if (names->value[k] < names->value[least]) least = k;
  if (place < names->count) names->value[place] = PetscMax(names->value[place], value);
  else if (names->value[least] < value) {
    names->name[least]  = name;
    names->value[least] = value;
  }
}

/* One panel and its legend in the `below` pixels under it: columns of $panel are the components, colour, shape, and 0 a named point, 1 another, 2 a control. */
static PetscErrorCode components_panel(const CsvTable *table, const char *column, const Names *names, int panel, double left, double below, double height, Text *script)
{
  const PetscBool by_type  = !strcmp(column, "cell_type") ? PETSC_TRUE : PETSC_FALSE;
  PetscInt        controls = 0, others = 0;

  PetscFunctionBeginUser;
  PetscCall(text_add(script, "unset label\n$panel%d << EOD\n", panel));
  for (PetscInt i = 0; i < table->rows; i++) {
    const int      control = csv_number(table, i, "control") > 0;
    const PetscInt place   = name_place(names, csv_text(table, i, column));
    const int      kind    = control ? 2 : place == names->count;

    controls += control;
    others += kind == 1;
    PetscCall(text_add(script, "%s %s %d %d %d\n", csv_text(table, i, "component_1"), csv_text(table, i, "component_2"), place == names->count || (control && !by_type) ? 8 : (int)(place % COLOURS) + 1,
                       shape[by_type ? place / COLOURS % 6 : place % 6], kind));
  }
  PetscCall(text_add(script, "EOD\n"));
  const PetscInt entries = names->count + (controls > 0) + (others > 0);
  for (PetscInt k = 0; k < entries; k++) {
    const PetscBool named = k < names->count ? PETSC_TRUE : PETSC_FALSE, control = !named && k == names->count && controls ? PETSC_TRUE : PETSC_FALSE;
    PetscCall(legend_entry(script, named ? names->name[k] : control ? "control" : "others", named ? shape[by_type ? k / COLOURS % 6 : k % 6] : control ? 3 : 6,
                           named ? report_colours[k % COLOURS] : COLOUR_CONTROL, left + 0.22 * (double)(k % 2), (below - 78. - 20. * (double)(k / 2)) / height));
  }
  PetscCall(text_add(script, "plot $panel%d using ($5 == 1 ? $1 : NaN):2 with points pointtype 6 pointsize 0.6 linewidth 1 linecolor '%s' notitle, $panel%d using ($5 == 2 ? $1 : NaN):2:3 with points pointtype 3 "
                     "pointsize 1.3 linewidth 1.3 linecolor variable notitle, $panel%d using ($5 == 0 ? $1 : NaN):2:4:3 with points pointtype variable linecolor variable pointsize 0.9 notitle",
                     panel, COLOUR_CONTROL, panel, panel));
  PetscCall(text_add(script, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First two components, by cell type and by perturbation; to_control chooses the perturbations named. */
static PetscErrorCode figure_components(const CsvTable *table, const CsvTable *to_control, EmbeddingFigure *figure)
{
  Text  *script = &figure->script;
  Names  names[2] = {{0}, {0}};

  PetscFunctionBeginUser;
  if (table->rows < 2 || csv_column(table, "component_2") < 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < table->rows; i++)
    if (names[0].count < NAMED_MOST) keep_largest(&names[0], NAMED_MOST, csv_text(table, i, "cell_type"), 0);
  for (PetscInt i = 0; i < to_control->rows; i++) keep_largest(&names[1], COLOURS, csv_text(to_control, i, "perturbation"), csv_number(to_control, i, "mmd"));
  const int rows = (int)PetscMax((names[0].count + 3) / 2, (names[1].count + 3) / 2), below = 80 + 20 * rows;
  figure->height = 412 + below;
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set grid xtics linecolor '#eeeeee'\nset xlabel 'first component'\nset ylabel 'second component' offset 1,0\nset offsets graph 0.04, graph 0.04, graph 0.04, graph 0.04\n"
                             "set multiplot\nset tmargin at screen %g\nset bmargin at screen %g\n", 1 - 46. / figure->height, (double)below / figure->height));
  for (int panel = 0; panel < 2; panel++) {
    const double left = panel ? 0.575 : 0.075;
    PetscCall(text_add(script, "set lmargin at screen %g\nset rmargin at screen %g\nset title 'by %s'\n", left, left + 0.405, panel ? "perturbation" : "cell type"));
    PetscCall(components_panel(table, panel ? "perturbation" : "cell_type", &names[panel], panel, left, below, figure->height, script));
  }
  PetscCall(text_add(script, "unset multiplot\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embedding_figures(const char *folder, EmbeddingFigure *figure)
{
  enum { MMD, TESTS, COMPONENTS, SPECTRUM, CONTROL, TABLES };
  static const char *const file[TABLES] = {"mmd.csv", "tests.csv", "components.csv", "spectrum.csv", "to_control.csv"};
  CsvTable                 table[TABLES];

  PetscFunctionBeginUser;
  for (int k = 0; k < TABLES; k++) PetscCall(csv_read(folder, file[k], &table[k]));
  figure[0] = (EmbeddingFigure){"Distance between any two populations in the kernel's Hilbert space (root of mmd.csv), alike ones side by side (average linkage).", 900, 820, {0}};
  figure[1] = (EmbeddingFigure){"Permutation E-test of every perturbed population against its control: energy distance, and p adjusted for the false discovery rate. Controls are not tested against "
                                "themselves. No p is below one in the number of permutations and one; points on that line differ in distance only, and more permutations (embed -tests) would lift them.",
                                0, 0, {0}};
  figure[2] = (EmbeddingFigure){"First two kernel principal components of the populations, left by cell type, right by perturbation (those farthest from their controls have a colour); stars are controls.",
                                900, 480, {0}};
  figure[3] = (EmbeddingFigure){"Covariance operators of the embeddings: eigenvalues, and the effective dimension at regularisation lambda, both against the trace.", 900, 380, {0}};
  PetscCall(figure_populations(&table[MMD], "maximum mean discrepancy", &figure[0]));
  PetscCall(figure_tests(&table[TESTS], &figure[1]));
  PetscCall(figure_components(&table[COMPONENTS], &table[CONTROL], &figure[2]));
  PetscCall(figure_spectrum(&table[SPECTRUM], &figure[3].script));
  for (int k = 0; k < TABLES; k++) PetscCall(csv_free(&table[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode report_embedding_figures(MPI_Comm comm, const char *folder, PetscInt *drawn)
{
  EmbeddingFigure figure[EMBEDDING_FIGURES] = {0};
  char            path[PETSC_MAX_PATH_LEN];
  int             rank, made[EMBEDDING_FIGURES] = {0};
  Text            svg[EMBEDDING_FIGURES] = {0};
  PetscErrorCode  code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  *drawn = 0;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) code = embedding_figures(folder, figure);
  PetscCallAgree(comm, code);
  for (int k = 0; k < EMBEDDING_FIGURES; k++) {
    PetscBool done = PETSC_FALSE;
    if (figure[k].script.used) PetscCall(figure_draw(figure[k].script.text, figure[k].width, figure[k].height, 0, &svg[k], &done));
    made[k] = done;
    PetscCall(PetscFree(figure[k].script.text));
  }
  PetscCallMPI(MPI_Bcast(made, EMBEDDING_FIGURES, MPI_INT, 0, comm));
  for (int k = 0; k < EMBEDDING_FIGURES; k++) {
    if (made[k]) {
      PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, figure_name[k]));
      PetscCall(file_write_text(comm, path, rank ? "" : svg[k].text));
      (*drawn)++;
    }
    PetscCall(PetscFree(svg[k].text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
