/* Pieces of the report that its files share: tables read from CSV, growing text, figures, the page being written. */
#ifndef REPORT_INTERNAL_H
#define REPORT_INTERNAL_H

#include <perturbdiff/report.h>
#include <perturbdiff/runtime/error.h>

/* A CSV file in memory; the first line names the columns. Zeroed: no file. */
typedef struct {
  PetscInt rows, columns;
  char   **name; /* columns */
  char   **cell; /* rows * columns, row-major */
  char    *text; /* (owned) what the names and cells point into */
} CsvTable;

/* Text that grows. */
typedef struct {
  char  *text;
  size_t used, size;
} Text;
PetscErrorCode text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Add with &, <, > and quotes escaped for HTML. */
PetscErrorCode text_add_escaped(Text *text, const char *plain);
/* Add between single quotes for gnuplot. */
PetscErrorCode text_add_quoted(Text *text, const char *plain);

/* The whole file, if there is one. Not collective (rank 0), like all of this room but report_write. */
PetscErrorCode file_text(const char *path, Text *content, PetscBool *found);

/* csv_read - zero rows and columns where the folder has no such file. csv_scan - row() sees a table of one row for each line in turn, none where there is no
   file: for tables too long to hold. User errors as csvlines_open and csvlines_next. */
PetscErrorCode csv_read(const char *folder, const char *name, CsvTable *table);
PetscErrorCode csv_scan(const char *path, PetscErrorCode (*row)(void *context, const CsvTable *one), void *context);
PetscErrorCode csv_free(CsvTable *table);
/* Index of a column, -1 if absent; the cell's text ("" where the column is absent) and number (NaN where there is none). */
PetscInt    csv_column(const CsvTable *table, const char *name);
const char *csv_text(const CsvTable *table, PetscInt row, const char *name);
double      csv_number(const CsvTable *table, PetscInt row, const char *name);

/* The first file of the folder whose name ends in suffix, ceilings left out; "" where there is none. */
PetscErrorCode file_ending(const char *folder, const char *suffix, char name[PETSC_MAX_PATH_LEN]);

/* Names in a column, in order of appearance; free with strings_free. */
PetscErrorCode csv_distinct(const CsvTable *table, const char *column, PetscInt *count, char ***names);
/* "perturbation, cell type, batch" of a row, empty ones left out; axis: "" or "real_". */
void csv_population(const CsvTable *table, PetscInt row, const char *axis, char *label, size_t size);

/* Colours that colour-blind readers can tell apart (Okabe and Ito), each with one meaning in all figures. */
#define COLOUR_REAL      "#0072B2"
#define COLOUR_PREDICTED "#D55E00"
#define COLOUR_CONTROL   "#8C8C8C"
extern const char *const report_colours[8];

/* The page being written, and what stands in it. */
typedef struct {
  Text      text;
  PetscBool gnuplot;
  PetscInt  figures, panels; /* drawn so far; panels also keep the ids of the SVGs apart */
} Page;

/* A figure: panels side by side on a wide screen, one below the other on a narrow one. id: of the element. figure_panel draws one svg from a script that sets neither
   terminal nor output and empties it; label is what a screen reader says. figure_end: caption is HTML. Without gnuplot all three write nothing but free the script. */
PetscErrorCode figure_begin(Page *page, const char *id);
PetscErrorCode figure_panel(Page *page, Text *script, int width, int height, const char *label);
PetscErrorCode figure_end(Page *page, const char *caption);
/* One svg element drawn by gnuplot from a script, appended to text; its ids begin with the panel's number unless that is 0. drawn: PETSC_FALSE where gnuplot is missing or failed. */
PetscErrorCode figure_draw(const char *script, int width, int height, PetscInt panel, Text *text, PetscBool *drawn);
/* One entry of a legend at a place of the screen (gnuplot's own drops those it finds no room for): a mark, then its name. colour: '#rrggbb'. */
PetscErrorCode legend_entry(Text *script, const char *name, int shape, const char *colour, double x, double y);
/* Axes, grid, line types. */
PetscErrorCode figure_style(Text *script);

/* What evaluate wrote into a folder; tables that are not there have no rows. */
typedef struct {
  const char *folder;
  CsvTable    scores, comparison, cells, calibration, changes, distances, coverage;
  PetscInt    models;
  char      **model; /* (models) in the order of the tables */
  char       *prediction; /* (owned) the best prediction by energy distance, NULL: none */
  char       *baseline;   /* the best baseline, likewise */
} Scores;

/* Row of comparison.csv, -1: none. */
PetscInt comparison_row(const Scores *s, const char *score, const char *model);
/* Is every model's interval over perturbations one of several perturbations? */
PetscBool comparison_intervals(const Scores *s);
/* How a score is called in the page, its unit and its table's name. */
const char *score_title(const char *name);

/* The ten metrics of cell-eval that papers show, by their names there; several: of one perturbation they say nothing. */
enum { USUAL_METRICS = 10 };
typedef struct {
  const char *score, *title;
  PetscBool   several;
} UsualMetric;
extern const UsualMetric usual_metric[USUAL_METRICS];
PetscBool metric_of_celleval(const char *score);
/* Is there a number of the metric, that means something? */
PetscBool usual_says_something(const Scores *s, int usual);

/* Sections: headline and tables (tables.c), figures of scores (figures_scores.c), of cells and genes (figures_cells.c), of runs (training.c), embeddings (embedding.c). */
PetscErrorCode scores_read(const char *folder, Scores *s);
PetscErrorCode scores_free(Scores *s);
PetscErrorCode add_headline(Page *page, const Scores *s);
PetscErrorCode add_populations(Page *page, const Scores *s);
PetscErrorCode add_score_table(Page *page, const Scores *s);
PetscErrorCode add_usual_metrics(Page *page, const Scores *s);
PetscErrorCode add_score_figures(Page *page, const Scores *s);
PetscErrorCode add_radar(Page *page, const Scores *s);
PetscErrorCode add_cell_figures(Page *page, const Scores *s);
PetscErrorCode add_gene_figures(Page *page, const Scores *s);
PetscErrorCode add_runs(Page *page, PetscInt runs, const char *const *run);
PetscErrorCode add_reproduction(Page *page, const char *run, PetscBool printed);
PetscErrorCode add_embedding(Page *page, const char *folder);

/* Figures of an embedding folder, in the order they are shown; a script's used is 0 where a table is missing. Width and height in pixels. Not collective. */
enum { EMBEDDING_FIGURES = 4 };
typedef struct {
  const char *caption; /* static */
  int         width, height;
  Text        script;
} EmbeddingFigure;
PetscErrorCode embedding_figures(const char *folder, EmbeddingFigure *figures);
/* figures_tests.c: energy distance against adjusted p of tests.csv, the strongest named; no script where the table has no test. */
PetscErrorCode figure_tests(const CsvTable *table, EmbeddingFigure *figure);

#endif
