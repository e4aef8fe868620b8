/* CSV text (RFC 4180): cells written and lines read. */
#include <errno.h>
#include <math.h>
#include <perturbdiff/runtime/csv.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <stdlib.h>
#include <string.h>

static PetscBool needs_quotes(const char *text) { return text[strcspn(text, ",\"\n\r")] ? PETSC_TRUE : PETSC_FALSE; }

void csv_field(FILE *stream, const char *text)
{
  if (!needs_quotes(text)) {
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

char *csv_put(char *to, const char *text)
{
  const PetscBool quotes = needs_quotes(text);

  if (quotes) *to++ = '"';
  for (; *text; text++) {
    if (*text == '"') *to++ = '"';
    *to++ = *text;
  }
  if (quotes) *to++ = '"';
  return to;
}

/* ---- reading -------------------------------------------------------------------------------------------------------------------------- */

/* Characters that end a line here: 0 none, 1 LF, 2 CRLF; a CR at the end of the text counts as such. */
static int line_end(const char *c) { return *c == '\n' ? 1 : *c == '\r' && c[1] == '\n' ? 2 : *c == '\r' && !c[1] ? 1 : 0; }

static PetscErrorCode misplaced_quote(const CsvLines *lines)
{
  return error_user("%s:%lld: a quote inside a cell, or one that is never closed; put the whole cell in quotes and double those within", lines->path,
                    (long long)lines->line);
}

/* Cut one cell off in place, without its quotes. last: it ends the line. */
static PetscErrorCode cut_cell(CsvLines *lines, char **cell, PetscBool *last)
{
  const PetscBool quoted = *lines->cursor == '"' ? PETSC_TRUE : PETSC_FALSE;
  char           *read = lines->cursor + quoted, *write = read;

  *cell = write;
  if (quoted) {
    for (; *read && (*read != '"' || read[1] == '"'); *write++ = *read++) {
      lines->ahead += *read == '\n';
      read += *read == '"';
    }
    if (!*read++) return misplaced_quote(lines);
  } else {
    while (*read && *read != ',' && *read != '"' && !line_end(read)) read++;
    write = read;
  }
  const int end = line_end(read);
  if (*read && *read != ',' && !end) return misplaced_quote(lines);
  *last = *read == ',' ? PETSC_FALSE : PETSC_TRUE;
  lines->cursor = read + (*last ? end : 1);
  *write = '\0';
  return PETSC_SUCCESS;
}

/* The next line of the stream, with those that its quoted cells go on to; "" at the end. */
static PetscErrorCode read_record(CsvLines *lines)
{
  char   *line = NULL;
  size_t  room = 0, used = 0, quotes = 0;
  ssize_t length;

  if (!lines->record) {
    lines->record_room = 4096;
    PetscCall(PetscMalloc1(lines->record_room, &lines->record));
  }
  *lines->record = '\0';
  errno = 0;
  while ((length = getline(&line, &room, lines->stream)) > 0) {
    const size_t need = used + (size_t)length + 1;
    if (need > lines->record_room) PetscCall(PetscRealloc(lines->record_room = 2 * need, &lines->record));
    memcpy(lines->record + used, line, (size_t)length + 1);
    used += (size_t)length;
    for (ssize_t i = 0; i < length; i++) quotes += line[i] == '"';
    if (quotes % 2 == 0) break;
  }
  free(line);
  lines->cursor = lines->record;
  return ferror(lines->stream) ? file_error(lines->path, "read", errno) : PETSC_SUCCESS;
}

/* Cut the next line that is not blank; width: its cells, 0 at the end. */
static PetscErrorCode cut_line(CsvLines *lines, PetscInt *width)
{
  PetscBool last = PETSC_FALSE;

  *width = 0;
  for (;;) {
    if (lines->stream) PetscCall(read_record(lines));
    if (lines->ahead == 1 && !strncmp(lines->cursor, "\xEF\xBB\xBF", 3)) lines->cursor += 3; /* byte order mark of UTF-8 */
    for (int end; (end = line_end(lines->cursor)); lines->cursor += end) lines->ahead++;
    if (*lines->cursor) break;
    if (!lines->stream || feof(lines->stream)) return PETSC_SUCCESS;
  }
  for (lines->line = lines->ahead; !last; ++*width) {
    if (*width == lines->room) PetscCall(PetscRealloc((size_t)(lines->room = 2 * lines->room + 8) * sizeof *lines->cell, &lines->cell));
    PetscCall(cut_cell(lines, &lines->cell[*width], &last));
  }
  lines->ahead++;
  return PETSC_SUCCESS;
}

/* The line of names, which are kept apart from the lines to come. */
static PetscErrorCode read_names(CsvLines *lines)
{
  PetscFunctionBeginUser;
  lines->ahead = 1;
  PetscCall(cut_line(lines, &lines->columns));
  if (!lines->columns) PetscFunctionReturn(error_user("%s: empty; give a CSV file with a line of column names", lines->path));
  PetscCall(PetscMalloc1(lines->columns, &lines->name));
  PetscCall(PetscArraycpy(lines->name, lines->cell, lines->columns));
  lines->names = lines->record;
  lines->record = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csvlines_open(const char *path, char *text, CsvLines *lines)
{
  PetscFunctionBeginUser;
  *lines = (CsvLines){.path = path, .cursor = text};
  PetscCall(read_names(lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csvlines_open_stream(const char *path, FILE *stream, CsvLines *lines)
{
  PetscFunctionBeginUser;
  *lines = (CsvLines){.path = path, .stream = stream};
  PetscCall(read_names(lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode csvlines_close(CsvLines *lines)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(lines->name));
  PetscCall(PetscFree(lines->cell));
  PetscCall(PetscFree(lines->names));
  PetscCall(PetscFree(lines->record));
  *lines = (CsvLines){0};
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
  PetscInt width;

  PetscFunctionBeginUser;
  PetscCall(cut_line(lines, &width));
  *more = width ? PETSC_TRUE : PETSC_FALSE;
  if (width && width != lines->columns)
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
