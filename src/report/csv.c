/* CSV tables in memory, and growing text. */
#include "report/report_internal.h"
#include <perturbdiff/runtime/csv.h>
#include <perturbdiff/runtime/file.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PetscErrorCode text_add(Text *text, const char *format, ...)
{
  va_list arguments;
  int     need;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  need = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (text->used + (size_t)need + 1 > text->size) {
    text->size = 2 * (text->used + (size_t)need + 1);
    PetscCall(PetscRealloc(text->size, &text->text));
  }
  va_start(arguments, format);
  text->used += (size_t)vsnprintf(text->text + text->used, text->size - text->used, format, arguments);
  va_end(arguments);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode text_add_escaped(Text *text, const char *plain)
{
  PetscFunctionBeginUser;
  for (; *plain; plain++) {
    switch (*plain) {
    case '&': PetscCall(text_add(text, "&amp;")); break;
    case '<': PetscCall(text_add(text, "&lt;")); break;
    case '>': PetscCall(text_add(text, "&gt;")); break;
    case '"': PetscCall(text_add(text, "&quot;")); break;
    default: PetscCall(text_add(text, "%c", *plain));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode text_add_quoted(Text *text, const char *plain)
{
  PetscFunctionBeginUser;
  PetscCall(text_add(text, "'"));
  /* The end of a line would end the command, and begin another one with what follows. */
  for (; *plain; plain++) PetscCall(text_add(text, *plain == '\'' ? "''" : "%c", (unsigned char)*plain < ' ' ? ' ' : *plain));
  PetscCall(text_add(text, "'"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode file_text(const char *path, Text *content, PetscBool *found)
{
  FILE *file = fopen(path, "r");
  char  block[4096];

  PetscFunctionBeginUser;
  *found = file ? PETSC_TRUE : PETSC_FALSE;
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  while (fgets(block, sizeof block, file)) PetscCall(text_add(content, "%s", block));
  fclose(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode file_ending(const char *folder, const char *suffix, char name[PETSC_MAX_PATH_LEN])
{
  DIR                 *list = opendir(folder);
  const struct dirent *entry;

  PetscFunctionBeginUser;
  *name = '\0';
  while (list && (entry = readdir(list))) {
    const size_t length = strlen(entry->d_name), end = strlen(suffix);
    if (length < end || strcmp(entry->d_name + length - end, suffix) || strstr(entry->d_name, "ceiling")) continue;
    if (!*name || strcmp(entry->d_name, name) < 0) PetscCall(PetscStrncpy(name, entry->d_name, PETSC_MAX_PATH_LEN));
  }
  if (list) closedir(list);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_lines(CsvLines *lines, CsvTable *table)
{
  size_t    capacity = 0;
  PetscBool more;

  PetscFunctionBeginUser;
  table->columns = lines->columns;
  PetscCall(PetscMalloc1(table->columns, &table->name));
  PetscCall(PetscArraycpy(table->name, lines->name, table->columns));
  for (;; table->rows++) {
    PetscCall(csvlines_next(lines, &more));
    if (!more) break;
    const size_t used = (size_t)(table->rows * table->columns), need = used + (size_t)table->columns;
    if (need > capacity) PetscCall(PetscRealloc((capacity = 2 * need) * sizeof *table->cell, &table->cell));
    PetscCall(PetscArraycpy(table->cell + used, lines->cell, table->columns));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csv_read(const char *folder, const char *name, CsvTable *table)
{
  char           path[PETSC_MAX_PATH_LEN];
  size_t         length;
  CsvLines       lines;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  *table = (CsvTable){0};
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name));
  if (access(path, F_OK)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(file_read_text(PETSC_COMM_SELF, path, &table->text, &length));
  code = csvlines_open(path, table->text, &lines);
  if (!code) code = read_lines(&lines, table);
  PetscCall(csvlines_close(&lines));
  PetscFunctionReturn(code);
}

PetscErrorCode csv_scan(const char *path, PetscErrorCode (*row)(void *, const CsvTable *), void *context)
{
  FILE          *file = fopen(path, "r");
  CsvLines       lines;
  PetscErrorCode code;
  PetscBool      more = PETSC_TRUE;

  PetscFunctionBeginUser;
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  code = csvlines_open_stream(path, file, &lines);
  while (!code && more) {
    code = csvlines_next(&lines, &more);
    const CsvTable one = {.rows = 1, .columns = lines.columns, .name = lines.name, .cell = lines.cell};
    if (!code && more) code = row(context, &one);
  }
  PetscCall(csvlines_close(&lines));
  fclose(file);
  PetscFunctionReturn(code);
}

PetscErrorCode csv_free(CsvTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(table->cell));
  PetscCall(PetscFree(table->name));
  PetscCall(PetscFree(table->text));
  *table = (CsvTable){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt csv_column(const CsvTable *table, const char *name)
{
  for (PetscInt i = 0; i < table->columns; i++)
    if (!strcmp(table->name[i], name)) return i;
  return -1;
}

const char *csv_text(const CsvTable *table, PetscInt row, const char *name)
{
  const PetscInt column = csv_column(table, name);
  return column < 0 ? "" : table->cell[row * table->columns + column];
}

double csv_number(const CsvTable *table, PetscInt row, const char *name)
{
  const char  *text = csv_text(table, row, name);
  char        *end;
  const double value = strtod(text, &end);
  return *text && !*end ? value : NAN;
}

PetscErrorCode csv_distinct(const CsvTable *table, const char *column, PetscInt *count, char ***names)
{
  PetscFunctionBeginUser;
  *count = 0;
  PetscCall(PetscMalloc1(table->rows + 1, names));
  for (PetscInt i = 0; i < table->rows; i++) {
    const char *name = csv_text(table, i, column);
    PetscInt    j    = *count;
    while (j > 0 && strcmp((*names)[j - 1], name)) j--;
    if (!j) PetscCall(PetscStrallocpy(name, &(*names)[(*count)++]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void csv_population(const CsvTable *table, PetscInt row, const char *axis, char *label, size_t size)
{
  static const char *const column[] = {"perturbation", "cell_type", "batch"};
  size_t                   used     = 0;

  *label = '\0';
  for (int a = 0; a < 3; a++) {
    char name[32];
    snprintf(name, sizeof name, "%s%s", axis, column[a]);
    const char *text = csv_text(table, row, name);
    if (*text && used < size) used += (size_t)snprintf(label + used, size - used, "%s%s", used ? ", " : "", text);
  }
}
