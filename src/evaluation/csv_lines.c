/* CSV text: cells written and lines read. */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <stdlib.h>
#include <string.h>

void csv_field(FILE *stream, const char *text)
{
  if (!text[strcspn(text, ",\"\n\r")]) {
    fputs(text, stream);
    return;
  }
  fputc('"', stream);
  for (; *text; text++) {
    if (*text == '"') fputc('"', stream);
    fputc(*text, stream);
  }
  fputc('"', stream);
}

/* Cut one cell off in place, quotes removed; ended: the character that ended it. */
static char *cut_cell(char **cursor, char *ended)
{
  char *read = *cursor, *begin = read, *write = read;

  if (*read == '"') {
    for (read++; *read && !(*read == '"' && read[1] != '"'); read++) {
      if (*read == '"') read++;
      *write++ = *read;
    }
    if (*read) read++;
  }
  while (*read && *read != ',' && *read != '\n') *write++ = *read++;
  *ended = *read;
  *cursor = *read ? read + 1 : read;
  if (write > begin && *ended != ',' && write[-1] == '\r') write--;
  *write = '\0';
  return begin;
}

PetscErrorCode csvlines_open(const char *path, char *text, CsvLines *lines)
{
  PetscInt columns = 1;
  char     ended;

  PetscFunctionBeginUser;
  *lines = (CsvLines){.path = path, .cursor = text, .line = 1};
  if (!*text) return error_user("%s: empty; give a CSV file with a line of column names", path);
  for (const char *c = text; *c && *c != '\n'; c++) columns += *c == ',';
  PetscCall(PetscMalloc2(columns, &lines->name, columns, &lines->cell));
  do lines->name[lines->columns++] = cut_cell(&lines->cursor, &ended);
  while (ended == ',');
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csvlines_close(CsvLines *lines)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(lines->name, lines->cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt csvlines_column(const CsvLines *lines, const char *name)
{
  for (PetscInt i = 0; i < lines->columns; i++)
    if (!strcmp(lines->name[i], name)) return i;
  return -1;
}

PetscErrorCode csvlines_next(CsvLines *lines, PetscBool *more)
{
  PetscInt width = 0;
  char     ended;

  PetscFunctionBeginUser;
  *more = *lines->cursor ? PETSC_TRUE : PETSC_FALSE;
  if (!*more) PetscFunctionReturn(PETSC_SUCCESS);
  lines->line++;
  do {
    char *cell = cut_cell(&lines->cursor, &ended);
    if (width < lines->columns) lines->cell[width] = cell;
    width++;
  } while (ended == ',');
  if (width != lines->columns)
    return error_user("%s:%lld: %lld columns where the first line has %lld", lines->path, (long long)lines->line, (long long)width, (long long)lines->columns);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csvlines_number(const CsvLines *lines, PetscInt column, double *value)
{
  const char *text = lines->cell[column];
  char       *end;

  PetscFunctionBeginUser;
  *value = *text ? strtod(text, &end) : NAN;
  if (*text && *end) return error_user("%s:%lld: '%s' in column %s is not a number", lines->path, (long long)lines->line, text, lines->name[column]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
