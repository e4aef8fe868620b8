/* CSV tables with quoted cells, and growing text. */
#include "report/report_internal.h"
#include <perturbdiff/runtime/error.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  for (; *plain; plain++) PetscCall(text_add(text, *plain == '\'' ? "''" : "%c", *plain));
  PetscCall(text_add(text, "'"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cell from *cursor into text; returns the character that ended it: ',' '\n' or 0. */
static PetscErrorCode next_cell(const char **cursor, Text *cell, char *end)
{
  const char *c      = *cursor;
  PetscBool   quoted = *c == '"' ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  cell->used = 0;
  PetscCall(text_add(cell, "%s", ""));
  if (quoted) c++;
  for (; *c; c++) {
    if (quoted && *c == '"') {
      if (c[1] != '"') {
        quoted = PETSC_FALSE;
        continue;
      }
      c++;
    } else if (!quoted && (*c == ',' || *c == '\n')) break;
    if (*c != '\r') PetscCall(text_add(cell, "%c", *c));
  }
  *end    = *c;
  *cursor = *c ? c + 1 : c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode parse(const char *path, const char *content, CsvTable *table)
{
  Text   cell  = {0};
  size_t count = 0, capacity = 64;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(capacity, &table->cell));
  for (PetscInt line = 0; *content; line++) {
    PetscInt width = 0;
    char     end;
    do {
      PetscCall(next_cell(&content, &cell, &end));
      if (count == capacity) PetscCall(PetscRealloc((capacity *= 2) * sizeof *table->cell, &table->cell));
      PetscCall(PetscStrallocpy(cell.text, &table->cell[count++]));
      width++;
    } while (end == ',');
    if (!line) {
      table->columns = width;
      PetscCall(PetscMalloc1(width, &table->name));
      memcpy(table->name, table->cell, (size_t)width * sizeof *table->name);
      count = 0;
    } else if (width != table->columns) {
      PetscCall(PetscFree(cell.text));
      PetscFunctionReturn(error_user("%s:%d: %d columns where the first line has %d", path, (int)line + 1, (int)width, (int)table->columns));
    } else table->rows++;
  }
  PetscCall(PetscFree(cell.text));
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

PetscErrorCode csv_read(const char *folder, const char *name, CsvTable *table)
{
  char      path[PETSC_MAX_PATH_LEN];
  Text      content = {0};
  PetscBool found;

  PetscFunctionBeginUser;
  *table = (CsvTable){0};
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder, name));
  PetscCall(file_text(path, &content, &found));
  if (!found) PetscFunctionReturn(PETSC_SUCCESS);
  PetscErrorCode code = content.used ? parse(path, content.text, table) : error_user("%s: empty", path);
  PetscCall(PetscFree(content.text));
  PetscFunctionReturn(code);
}

PetscErrorCode csv_scan(const char *path, PetscErrorCode (*row)(void *, const CsvTable *), void *context)
{
  FILE    *file = fopen(path, "r");
  char    *line = NULL;
  size_t   room = 0;
  CsvTable table = {0};
  Text     pair = {0}, head = {0};

  PetscFunctionBeginUser;
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  if (getline(&line, &room, file) > 0) PetscCall(text_add(&head, "%s%s", line, strchr(line, '\n') ? "" : "\n"));
  PetscErrorCode code = PETSC_SUCCESS;
  while (!code && getline(&line, &room, file) > 0) {
    pair.used = 0;
    PetscCall(text_add(&pair, "%s%s", head.text, line));
    code = parse(path, pair.text, &table);
    if (!code) code = row(context, &table);
    PetscCall(csv_free(&table));
  }
  fclose(file);
  free(line);
  PetscCall(PetscFree(pair.text));
  PetscCall(PetscFree(head.text));
  PetscFunctionReturn(code);
}

PetscErrorCode csv_free(CsvTable *table)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < table->rows * table->columns; i++) PetscCall(PetscFree(table->cell[i]));
  for (PetscInt i = 0; i < table->columns; i++) PetscCall(PetscFree(table->name[i]));
  PetscCall(PetscFree(table->cell));
  PetscCall(PetscFree(table->name));
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
