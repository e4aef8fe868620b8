/* Pieces of the report that its files share: tables read from CSV, growing text, figures. */
#ifndef REPORT_INTERNAL_H
#define REPORT_INTERNAL_H

#include <perturbdiff/runtime/error.h>

/* A CSV file in memory; the first line names the columns. */
typedef struct {
  PetscInt rows, columns;
  char   **name; /* columns */
  char   **cell; /* rows * columns, row-major */
} CsvTable;

/* csv_read - not collective (rank 0). found: PETSC_FALSE when there is no such file. User error: a row of another width. */
PetscErrorCode csv_read(const char *path, CsvTable *table, PetscBool *found);
PetscErrorCode csv_free(CsvTable *table);
/* Index of a column, -1 if absent; the cell's text ("" where the column is absent) and number (NaN where there is none). */
PetscInt    csv_column(const CsvTable *table, const char *name);
const char *csv_text(const CsvTable *table, PetscInt row, const char *name);
double      csv_number(const CsvTable *table, PetscInt row, const char *name);

/* Text that grows. */
typedef struct {
  char  *text;
  size_t used, size;
} Text;
PetscErrorCode text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Add with &, <, > and quotes escaped for HTML. */
PetscErrorCode text_add_escaped(Text *text, const char *plain);

/* Colours that colour-blind readers can tell apart (Okabe and Ito), as used by all figures; eight of them. */
extern const char *const report_colours[8];

/* One svg element drawn by gnuplot from a script that sets neither terminal nor output; appended to page. drawn: PETSC_FALSE where gnuplot is missing or failed. */
PetscErrorCode figure_draw(const char *script, int width, int height, Text *page, PetscBool *drawn);

/* Scripts of the figures; used stays 0 where the tables hold nothing to draw. */
PetscErrorCode figure_training(const CsvTable *log, Text *script);
PetscErrorCode figure_scores(const CsvTable *scores, char *const *model, PetscInt models, Text *script);
PetscErrorCode figure_changes(const CsvTable *deltas, const char *const *model, PetscInt models, Text *script);

/* Settings shared by all figures: borders, grid, colours as line types 1 to 8. */
PetscErrorCode figure_style(Text *script);
/* Figures of an embedding folder, in the order they are shown; a script's used is 0 where a table is missing. Width and height in pixels. Not collective. */
enum { EMBEDDING_FIGURES = 3 };
typedef struct {
  const char *caption; /* static */
  int         width, height;
  Text        script;
} EmbeddingFigure;
PetscErrorCode embedding_figures(const char *folder, EmbeddingFigure *figures);

#endif
