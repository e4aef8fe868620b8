/* The part of TOML that split files use: tables, dotted and quoted keys, strings, arrays of strings, comments. */
#include "data/split_file.h"
#include <ctype.h>
#include <perturbdiff/runtime/error.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  const char *path, *at; /* file's name; what is left of its text */
  int         line;
  SplitFile  *file;
  int         table_depth; /* components of the current [table] */
  char       *key[SPLIT_DEPTH];
} Toml;

static PetscErrorCode wrong(const Toml *toml, const char *what) { return error_user("%s, line %d: %s", toml->path, toml->line, what); }

static void skip_blanks(Toml *toml)
{
  while (*toml->at == ' ' || *toml->at == '\t') toml->at++;
}

/* White space, comments and ends of line. */
static void skip_lines(Toml *toml)
{
  for (;; toml->at++) {
    if (*toml->at == '#')
      while (*toml->at && *toml->at != '\n') toml->at++;
    if (*toml->at == '\n') toml->line++;
    else if (*toml->at != ' ' && *toml->at != '\t' && *toml->at != '\r') return;
  }
}

/* Nothing but a comment may follow on the line. */
static PetscErrorCode end_of_line(Toml *toml)
{
  skip_blanks(toml);
  if (*toml->at == '#')
    while (*toml->at && *toml->at != '\n') toml->at++;
  if (*toml->at == '\r') toml->at++;
  return *toml->at && *toml->at != '\n' ? wrong(toml, "something follows the value or table name; begin a new line") : PETSC_SUCCESS;
}

/* UTF-8 of a code point; number of bytes. */
static size_t encode(uint32_t code, char *out)
{
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  out[0] = (char)(((0xf00 >> (more + 1)) & 0xff) | (code >> (6 * more)));
  for (int i = 1; i <= more; i++) out[i] = (char)(0x80 | ((code >> (6 * (more - i))) & 0x3f));
  return (size_t)more + 1;
}

/* The escape after a backslash, appended at out[*length]. */
static PetscErrorCode escape(Toml *toml, char *out, size_t *length)
{
  static const char letters[] = "btnfr\"\\", meaning[] = "\b\t\n\f\r\"\\";
  const char        letter    = *toml->at;
  const char       *known     = letter ? strchr(letters, letter) : NULL;

  PetscFunctionBeginUser;
  if (known) {
    out[(*length)++] = meaning[known - letters];
    toml->at++;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const int digits = letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
  uint32_t  code   = 0;
  if (!digits) return wrong(toml, "unknown escape in a string; write \\\\ for a backslash");
  toml->at++;
  for (int i = 0; i < digits; i++, toml->at++) {
    if (!isxdigit((unsigned char)*toml->at)) return wrong(toml, "\\u needs 4 and \\U 8 hexadecimal digits");
    const char c = *toml->at;
    code         = code * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  if (!code || code > 0x10ffff) return wrong(toml, "not a Unicode character");
  *length += encode(code, out + *length);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "basic" or 'literal' string; free with PetscFree. */
static PetscErrorCode quoted(Toml *toml, char **text)
{
  const char     quote  = *toml->at++;
  size_t         length = 0;
  PetscErrorCode code   = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (toml->at[0] == quote && toml->at[1] == quote) return wrong(toml, "strings over several lines are not read in split files");
  PetscCall(PetscMalloc1(strcspn(toml->at, "\n") + 4, text));
  while (*toml->at && *toml->at != '\n' && *toml->at != quote && !code) {
    if (*toml->at == '\\' && quote == '"') {
      toml->at++;
      code = escape(toml, *text, &length);
    } else (*text)[length++] = *toml->at++;
  }
  if (!code && *toml->at != quote) code = wrong(toml, "a string has no closing quote");
  if (code) {
    PetscCall(PetscFree(*text));
    return code;
  }
  toml->at++;
  (*text)[length] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode bare(Toml *toml, char **text)
{
  size_t length = 0;

  PetscFunctionBeginUser;
  while (isalnum((unsigned char)toml->at[length]) || toml->at[length] == '_' || toml->at[length] == '-') length++;
  if (!length) return wrong(toml, "a name is expected here; put names with other characters than letters, digits, - and _ in quotes");
  PetscCall(PetscMalloc1(length + 1, text));
  memcpy(*text, toml->at, length);
  (*text)[length] = '\0';
  toml->at += length;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode truncate_key(Toml *toml, int *depth, int keep)
{
  PetscFunctionBeginUser;
  while (*depth > keep) {
    (*depth)--;
    PetscCall(PetscFree(toml->key[*depth]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* name, "name" or name.name..., appended to the key. */
static PetscErrorCode dotted(Toml *toml, int *depth)
{
  PetscFunctionBeginUser;
  for (;;) {
    skip_blanks(toml);
    if (*depth == SPLIT_DEPTH) return wrong(toml, "nested too deep for a split file");
    if (*toml->at == '"' || *toml->at == '\'') PetscCall(quoted(toml, &toml->key[*depth]));
    else PetscCall(bare(toml, &toml->key[*depth]));
    (*depth)++;
    skip_blanks(toml);
    if (*toml->at != '.') break;
    toml->at++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode string_value(Toml *toml, int depth)
{
  const int line = toml->line;
  char     *text;

  PetscFunctionBeginUser;
  if (*toml->at != '"' && *toml->at != '\'') return wrong(toml, "a string in quotes or an array of strings is expected here");
  PetscCall(quoted(toml, &text));
  PetscCall(splitfile_add(toml->file, depth, (const char *const *)toml->key, text, line));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode array_value(Toml *toml, int depth)
{
  const int begin = toml->line;

  PetscFunctionBeginUser;
  toml->at++;
  for (;;) {
    skip_lines(toml);
    if (*toml->at == ']') break;
    if (!*toml->at) return error_user("%s, line %d: an array has no closing ]", toml->path, begin);
    PetscCall(string_value(toml, depth));
    skip_lines(toml);
    if (*toml->at == ',') toml->at++;
    else if (*toml->at != ']') return wrong(toml, "the strings of an array are separated by commas and end with ]");
  }
  toml->at++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [table] or key = value. */
static PetscErrorCode statement(Toml *toml)
{
  PetscFunctionBeginUser;
  if (*toml->at == '[') {
    if (toml->at[1] == '[') return wrong(toml, "arrays of tables are not read in split files");
    toml->at++;
    PetscCall(truncate_key(toml, &toml->table_depth, 0));
    PetscCall(dotted(toml, &toml->table_depth));
    if (*toml->at != ']') return wrong(toml, "the name of a table ends with ]");
    toml->at++;
  } else {
    int depth = toml->table_depth;
    PetscErrorCode code = dotted(toml, &depth);
    if (!code && *toml->at != '=') code = wrong(toml, "key = value is expected here");
    if (!code) {
      toml->at++;
      skip_blanks(toml);
      code = *toml->at == '[' ? array_value(toml, depth) : string_value(toml, depth);
    }
    PetscCall(truncate_key(toml, &depth, toml->table_depth));
    PetscCall(code);
  }
  PetscCall(end_of_line(toml));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode splitfile_parse_toml(const char *path, const char *text, SplitFile *file)
{
  Toml           toml = {.path = path, .at = text, .line = 1, .file = file};
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  for (skip_lines(&toml); *toml.at && !code; skip_lines(&toml)) code = statement(&toml);
  PetscCall(truncate_key(&toml, &toml.table_depth, 0));
  PetscFunctionReturn(code);
}
