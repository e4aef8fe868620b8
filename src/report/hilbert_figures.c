/* Figures of an embedding folder: distances between populations, spectra, components. */
#include "report/report_internal.h"
#include <math.h>
#include <perturbdiff/hilbert/cluster.h>
#include <perturbdiff/report.h>
#include <perturbdiff/runtime/file.h>
#include <stdlib.h>
#include <string.h>

static const char *const figure_name[EMBEDDING_FIGURES] = {"populations.svg", "spectrum.svg", "components.svg"};

/* Populations up to which each has its label beside the distances, and up to which the distances are drawn at all; levels told apart. */
enum { LABELS_MOST = 80, POPULATIONS_MOST = 1000, LEVELS_MOST = 64 };

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

/* Number of a row's value in a column among the column's values in order of appearance; the last of `most` stands for all further ones. */
static PetscInt level_of(const CsvTable *table, PetscInt row, const char *column, PetscInt most, PetscInt *count, const char **level)
{
  const char *text = csv_text(table, row, column);

  for (PetscInt k = 0; k < *count; k++)
    if (!strcmp(level[k], text)) return k;
  if (*count == most) return most - 1;
  level[(*count)++] = text;
  return *count - 1;
}

/* First two components: colour by cell type, shape by perturbation, controls as stars. */
static PetscErrorCode figure_components(const CsvTable *table, Text *script)
{
  enum { SHAPES = 6, TITLES = 12 };
  static const int shape[SHAPES] = {7, 5, 9, 11, 13, 15}; /* filled circle, square, triangles, diamond, pentagon */
  const char      *type[LEVELS_MOST], *perturbation[LEVELS_MOST];
  PetscInt         types = 0, perturbations = 0, controls = 0;

  PetscFunctionBeginUser;
  if (table->rows < 2 || csv_column(table, "component_2") < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(figure_style(script));
  PetscCall(text_add(script, "set grid xtics linecolor '#eeeeee'\nset xlabel 'first component'\nset ylabel 'second component'\nset key outside right top noenhanced\n$points << EOD\n"));
  for (PetscInt i = 0; i < table->rows; i++) {
    const int      control = csv_number(table, i, "control") > 0;
    const PetscInt colour  = level_of(table, i, "cell_type", LEVELS_MOST, &types, type) % 8;
    const PetscInt mark    = control ? 0 : level_of(table, i, "perturbation", LEVELS_MOST, &perturbations, perturbation) % SHAPES;

    controls += control;
    PetscCall(text_add(script, "%g %g %d %d %d\n", csv_number(table, i, "component_1"), csv_number(table, i, "component_2"), (int)colour + 1, shape[mark], control));
  }
  PetscCall(text_add(script, "EOD\nplot $points using ($5 > 0 ? NaN : $1):2:4:3 with points pointtype variable linecolor variable pointsize 0.9 notitle"));
  if (controls) PetscCall(text_add(script, ", $points using ($5 > 0 ? $1 : NaN):2:3 with points pointtype 3 pointsize 1.6 linewidth 1.5 linecolor variable notitle"));
  for (PetscInt k = 0; k < PetscMin(types, TITLES); k++) {
    PetscCall(text_add(script, ", NaN with points pointtype 7 pointsize 1 linecolor %d title ", (int)(k % 8) + 1));
    PetscCall(text_add_quoted(script, type[k]));
  }
  for (PetscInt k = 0; k < perturbations && perturbations <= SHAPES; k++) {
    PetscCall(text_add(script, ", NaN with points pointtype %d pointsize 1 linecolor '#555555' title ", shape[k]));
    PetscCall(text_add_quoted(script, perturbation[k]));
  }
  if (controls) PetscCall(text_add(script, ", NaN with points pointtype 3 pointsize 1.4 linecolor '#555555' title 'control'"));
  PetscCall(text_add(script, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embedding_figures(const char *folder, EmbeddingFigure *figure)
{
  static const char *const file[4] = {"energy_distance.csv", "mmd.csv", "spectrum.csv", "components.csv"};
  CsvTable                 table[4];
  PetscBool                found[4];

  PetscFunctionBeginUser;
  for (int k = 0; k < 4; k++) {
    PetscCall(csv_read(folder, file[k], &table[k]));
    found[k] = table[k].columns ? PETSC_TRUE : PETSC_FALSE;
  }
  figure[0] = (EmbeddingFigure){"Distance between the cells of any two populations, alike ones side by side (average linkage).", 900, 820, {0}};
  figure[1] = (EmbeddingFigure){"Covariance operators of the embeddings: eigenvalues, and the effective dimension at regularisation lambda, both against the trace.", 900, 380, {0}};
  figure[2] = (EmbeddingFigure){"First two kernel principal components of the populations: colour is the cell type, shape the perturbation, stars are controls.", 900, 560, {0}};
  if (found[0]) PetscCall(figure_populations(&table[0], "root of the energy distance", &figure[0]));
  else if (found[1]) PetscCall(figure_populations(&table[1], "maximum mean discrepancy", &figure[0]));
  if (found[2]) PetscCall(figure_spectrum(&table[2], &figure[1].script));
  if (found[3]) PetscCall(figure_components(&table[3], &figure[2].script));
  for (int k = 0; k < 4; k++)
    if (found[k]) PetscCall(csv_free(&table[k]));
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
