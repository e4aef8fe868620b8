/* CSV text, read and written as RFC 4180 says: a cell in quotes may hold commas, line breaks and doubled quotes; spaces belong to a cell; every line
   has as many cells as the first, which names the columns. Lines end in LF or CRLF, the last one with or without; a byte order mark and blank lines
   are passed over. Nothing here is collective: ranks that read the same text have the same outcome. */
#ifndef PERTURBDIFF_RUNTIME_CSV_H
#define PERTURBDIFF_RUNTIME_CSV_H

#include <petscsys.h>
#include <stdio.h>

/* One cell onto the stream, in quotes where it must be. */
void csv_field(FILE *stream, const char *text);
/* The same to memory with room for 2 * strlen(text) + 2 characters, without a closing zero; where it ends. */
char *csv_put(char *to, const char *text);

/* Lines of a CSV text, one after another. */
typedef struct {
  const char *path;        /* for messages; not owned */
  PetscInt    columns;
  PetscInt64  line;        /* of the text, from 1 on, that the current cells begin in */
  char      **name, **cell; /* (columns) of the first line, of the current one */
  /* Of the reader alone. */
  char      *cursor;
  PetscInt64 ahead;        /* line of the cursor */
  PetscInt   room;         /* of cell */
  FILE      *stream;       /* not owned; NULL: the text is in memory */
  char      *names, *record; /* what name and cell point into where a stream is read */
  size_t     record_room;
} CsvLines;

/* csvlines_open - read the names of the columns. text is cut in place: names and cells stay valid as long as it does. csvlines_open_stream - the same of
   an open stream, of which only one line is held: cells are valid until the next line. User errors, with path and line: no text; misplaced quotes. */
PetscErrorCode csvlines_open(const char *path, char *text, CsvLines *lines);
PetscErrorCode csvlines_open_stream(const char *path, FILE *stream, CsvLines *lines);
PetscErrorCode csvlines_close(CsvLines *lines);
/* Index of a column, -1: none. */
PetscInt csvlines_column(const CsvLines *lines, const char *name);
/* csvlines_next - the next line's cells; more is false at the end. User errors: another number of cells than names; misplaced quotes. */
PetscErrorCode csvlines_next(CsvLines *lines, PetscBool *more);
/* A number of the current line; an empty cell is NaN. User error: not a number. */
PetscErrorCode csvlines_number(const CsvLines *lines, PetscInt column, double *value);

#endif
