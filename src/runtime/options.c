/* Options declared in tables; values checked once and kept in PETSc's database. */
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/options.h>
#include "runtime/input.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const OptionSpec options_common[] = {
  {"quiet", VALUE_SWITCH, "false", 0, 0, "", "Print errors only"},
  {"memory_limit", VALUE_NUMBER, "0", 0, 1e9, "GiB", "Memory a rank may plan for; 0: its share of what the node has"},
  {"cache_bytes", VALUE_NUMBER, "1e9", 0, 1e15, "bytes", "Memory of a node for unpacked cells of a compressed store"},
  {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};

/* Options of PETSc itself that every command accepts. */
static const char petsc_families[] = "log_ info malloc memory_ options_ start_in_debugger on_error_ debugger_ fp_trap citations checkstack history mpi_ viewer_ vec_ mat_";

static const OptionSpec *find(const Options *options, const char *name)
{
  for (const OptionSpec *const *group = options->groups; *group; group++)
    for (const OptionSpec *spec = *group; spec->name; spec++)
      if (!strcmp(spec->name, name)) return spec;
  return NULL;
}

static PetscBool in_family(const char *families, const char *name)
{
  PetscInt  count;
  char    **part;
  PetscBool found = PETSC_FALSE;

  if (!families || string_split(families, " ", &count, &part)) return PETSC_FALSE;
  for (PetscInt i = 0; i < count; i++) found = found || !strncmp(name, part[i], strlen(part[i])) ? PETSC_TRUE : PETSC_FALSE;
  return strings_free(count, &part) ? PETSC_FALSE : found;
}

static PetscErrorCode unknown(const Options *options, const char *name, const char *where)
{
  const char *names[512];
  size_t      count = 0;

  for (const OptionSpec *const *group = options->groups; *group; group++)
    for (const OptionSpec *spec = *group; spec->name && count < sizeof names / sizeof *names; spec++) names[count++] = spec->name;
  const char *near = nearest_name(name, names, count);
  if (near) return error_user("%s: unknown option '%s'; did you mean '%s'?", where, name, near);
  return error_user("%s: unknown option '%s'; -help lists the options", where, name);
}

PetscErrorCode string_split(const char *text, const char *separators, PetscInt *count, char ***parts)
{
  PetscInt    capacity = 1;
  const char *begin    = text;

  PetscFunctionBeginUser;
  for (const char *c = text; *c; c++) capacity += strchr(separators, *c) != NULL;
  PetscCall(PetscMalloc1(capacity, parts));
  *count = 0;
  for (;;) {
    size_t      length = strcspn(begin, separators);
    const char *end    = begin + length, *first = begin, *last = end;

    while (first < last && isspace((unsigned char)*first)) first++;
    while (last > first && isspace((unsigned char)last[-1])) last--;
    if (last > first) {
      PetscCall(PetscMalloc1((size_t)(last - first) + 1, &(*parts)[*count]));
      memcpy((*parts)[*count], first, (size_t)(last - first));
      (*parts)[(*count)++][last - first] = '\0';
    }
    if (!*end) break;
    begin = end + 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode strings_free(PetscInt count, char ***strings)
{
  PetscFunctionBeginUser;
  if (*strings)
    for (PetscInt i = 0; i < count; i++) PetscCall(PetscFree((*strings)[i]));
  PetscCall(PetscFree(*strings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool switch_value(const char *text, PetscBool *value)
{
  static const char *const yes[] = {"", "true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};

  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
    if (!strcasecmp(text, yes[i])) return (*value = PETSC_TRUE), PETSC_TRUE;
  for (size_t i = 0; i < sizeof no / sizeof *no; i++)
    if (!strcasecmp(text, no[i])) return (*value = PETSC_FALSE), PETSC_TRUE;
  return PETSC_FALSE;
}

static PetscInt choice_index(const char *choices, const char *word)
{
  PetscInt count, index = -1;
  char   **part;

  if (string_split(choices, "|", &count, &part)) return -1;
  for (PetscInt i = 0; i < count; i++)
    if (!strcmp(part[i], word)) index = i;
  return strings_free(count, &part) ? -1 : index;
}

static PetscErrorCode check_value(const OptionSpec *spec, const char *value, const char *where)
{
  char *end;

  PetscFunctionBeginUser;
  switch (spec->type) {
  case VALUE_INTEGER:
  case VALUE_NUMBER: {
    const double number = strtod(value, &end);

    if (!*value || *end || !isfinite(number)) PetscFunctionReturn(error_user("%s: option '%s' takes a number, not '%s'", where, spec->name, value));
    if (spec->type == VALUE_INTEGER && number != floor(number)) PetscFunctionReturn(error_user("%s: option '%s' takes a whole number, not '%s'", where, spec->name, value));
    if ((spec->least != 0 || spec->most != 0) && (number < spec->least || number > spec->most))
      PetscFunctionReturn(error_user("%s: option '%s' is %s, but must lie between %g and %g", where, spec->name, value, spec->least, spec->most));
    break;
  }
  case VALUE_SWITCH: {
    PetscBool ignored;
    if (!switch_value(value, &ignored)) PetscFunctionReturn(error_user("%s: option '%s' takes true or false, not '%s'", where, spec->name, value));
    break;
  }
  case VALUE_CHOICE:
    if (choice_index(spec->unit, value) < 0) PetscFunctionReturn(error_user("%s: option '%s' takes %s, not '%s'", where, spec->name, spec->unit, value));
    break;
  case VALUE_STRING:
  case VALUE_PATH:
  case VALUE_LIST:
    if (!*value && !spec->standard) PetscFunctionReturn(error_user("%s: option '%s' needs a value", where, spec->name));
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Set one option, joining repeated lists given at the same place. */
static PetscErrorCode set(const OptionSpec *spec, const char *name, const char *value, PetscBool join)
{
  char key[256];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(key, sizeof key, "-%s", name));
  if (spec && spec->type == VALUE_LIST && join) {
    const char *former;
    PetscBool   given;
    PetscCall(PetscOptionsFindPair(NULL, NULL, key, &former, &given));
    if (given && former && *former) {
      size_t size = strlen(former) + strlen(value) + 2;
      char  *both;
      PetscCall(PetscMalloc1(size, &both));
      PetscCall(PetscSNPrintf(both, size, "%s,%s", former, value));
      PetscCall(PetscOptionsSetValue(NULL, key, both));
      PetscCall(PetscFree(both));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  PetscCall(PetscOptionsSetValue(NULL, key, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode insert_one(const Options *options, const char *name, const char *value, const char *where, PetscBool join)
{
  const OptionSpec *spec = find(options, name);

  PetscFunctionBeginUser;
  if (spec) PetscCall(check_value(spec, value, where));
  else if (!in_family(petsc_families, name) && !in_family(options->petsc_prefixes, name)) PetscFunctionReturn(unknown(options, name, where));
  PetscCall(set(spec, name, value, join));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "-5" and "-1e-3" are values, "-set_size" is a name. */
static PetscBool is_name(const char *argument)
{
  if (argument[0] != '-' || !argument[1]) return PETSC_FALSE;
  return isdigit((unsigned char)argument[1]) || argument[1] == '.' ? PETSC_FALSE : PETSC_TRUE;
}

PetscErrorCode options_insert(const Options *options, int argc, char *const argv[])
{
  int          first = 0;
  InputEntries input = {0, NULL};

  PetscFunctionBeginUser;
  while (options->positional && first < argc && !is_name(argv[first]))
    PetscCall(insert_one(options, options->positional, argv[first++], "command line", PETSC_TRUE));
  if (argc > 0 && !is_name(argv[0]) && !first) {
    PetscCall(input_read(PETSC_COMM_WORLD, argv[0], &input));
    for (PetscInt i = 0; i < input.count; i++) {
      char where[PETSC_MAX_PATH_LEN + 32];
      PetscCall(PetscSNPrintf(where, sizeof where, "%s:%d", argv[0], (int)input.entry[i].line));
      PetscCall(insert_one(options, input.entry[i].name, input.entry[i].value, where, PETSC_FALSE));
    }
    first = 1;
  }
  PetscCall(input_free(&input));
  for (int i = first; i < argc;) {
    const char *name = argv[i] + 1, *value = "";
    PetscBool   join = PETSC_FALSE;

    if (!is_name(argv[i])) PetscFunctionReturn(error_user("command line: '%s' is not an option; options begin with -, and one YAML file may come first", argv[i]));
    if (*name == '-') name++;
    if (i + 1 < argc && !is_name(argv[i + 1])) value = argv[i + 1];
    for (int j = first; j < i; j++) join = join || (is_name(argv[j]) && !strcmp(argv[j] + 1 + (argv[j][1] == '-'), name)) ? PETSC_TRUE : PETSC_FALSE;
    const OptionSpec *spec = find(options, name);
    if (spec && spec->type != VALUE_SWITCH && !(i + 1 < argc && !is_name(argv[i + 1])))
      PetscFunctionReturn(error_user("command line: option '%s' needs a value", name));
    PetscCall(insert_one(options, name, value, "command line", join));
    i += i + 1 < argc && !is_name(argv[i + 1]) ? 2 : 1;
  }
  for (const OptionSpec *const *group = options->groups; *group; group++)
    for (const OptionSpec *spec = *group; spec->name; spec++) {
      PetscBool given;
      PetscCall(options_given(options, spec->name, &given));
      if (!spec->standard && !given) PetscFunctionReturn(error_user("option '-%s' is missing: %s", spec->name, spec->help));
    }
  PetscBool log_view; /* asked for in the input file: PETSc has started already */
  PetscCall(PetscOptionsHasName(NULL, NULL, "-log_view", &log_view));
  if (log_view) PetscCall(PetscLogDefaultBegin());
  PetscFunctionReturn(PETSC_SUCCESS);
}

int options_petsc_arguments(int argc, char **argv, int *petsc_argc, char ***petsc_argv)
{
  static const char *const early[] = {"-log_", "-info", "-malloc", "-memory_view", "-start_in_debugger", "-on_error_", "-fp_trap", "-no_signal_handler", "-citations"};

  if (!(*petsc_argv = calloc((size_t)argc + 1, sizeof **petsc_argv))) return 1;
  (*petsc_argv)[(*petsc_argc)++] = argv[0];
  for (int i = 1; i < argc; i++)
    for (size_t j = 0; j < sizeof early / sizeof *early; j++)
      if (!strncmp(argv[i], early[j], strlen(early[j]))) {
        (*petsc_argv)[(*petsc_argc)++] = argv[i];
        if (i + 1 < argc && !is_name(argv[i + 1])) (*petsc_argv)[(*petsc_argc)++] = argv[++i];
        break;
      }
  return 0;
}

void options_petsc_arguments_free(char **petsc_argv) { free(petsc_argv); }

PetscErrorCode options_given(const Options *options, const char *name, PetscBool *given)
{
  char key[256];

  PetscFunctionBeginUser;
  PetscCheck(find(options, name), PETSC_COMM_SELF, PETSC_ERR_PLIB, "option %s is not declared", name);
  PetscCall(PetscSNPrintf(key, sizeof key, "-%s", name));
  PetscCall(PetscOptionsHasName(NULL, NULL, key, given));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_string(const Options *options, const char *name, const char **value)
{
  const OptionSpec *spec = find(options, name);
  char              key[256];
  PetscBool         given;

  PetscFunctionBeginUser;
  PetscCheck(spec, PETSC_COMM_SELF, PETSC_ERR_PLIB, "option %s is not declared", name);
  PetscCall(PetscSNPrintf(key, sizeof key, "-%s", name));
  PetscCall(PetscOptionsFindPair(NULL, NULL, key, value, &given));
  if (!given) *value = spec->standard;
  if (!*value) *value = "";
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_number(const Options *options, const char *name, double *value)
{
  const char *text;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, name, &text));
  *value = strtod(text, NULL);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_integer(const Options *options, const char *name, PetscInt64 *value)
{
  const char *text;
  char       *end;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, name, &text));
  *value = (PetscInt64)strtoll(text, &end, 10);
  if (*end) *value = (PetscInt64)strtod(text, NULL); /* 1e6 */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_switch(const Options *options, const char *name, PetscBool *value)
{
  const char *text;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, name, &text));
  PetscCheck(switch_value(text, value), PETSC_COMM_SELF, PETSC_ERR_PLIB, "option %s: default is no switch", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_choice(const Options *options, const char *name, PetscInt *value)
{
  const char *text;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, name, &text));
  *value = choice_index(find(options, name)->unit, text);
  PetscCheck(*value >= 0, PETSC_COMM_SELF, PETSC_ERR_PLIB, "option %s: default is no choice", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_list(const Options *options, const char *name, PetscInt *count, char ***parts)
{
  const char *text;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, name, &text));
  PetscCall(string_split(text, ",", count, parts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void options_help(const Options *options, FILE *stream)
{
  for (const OptionSpec *const *group = options->groups; *group; group++)
    for (const OptionSpec *spec = *group; spec->name; spec++) {
      static const char *const kinds[] = {"TEXT", "PATH", "N", "X", "", "", "A,B,..."};
      char                     left[160];

      snprintf(left, sizeof left, "-%s %s", spec->name, spec->type == VALUE_CHOICE ? spec->unit : kinds[spec->type]);
      fprintf(stream, strlen(left) > 32 ? "  %s\n%36s" : "  %-34s", left, "");
      fprintf(stream, "%s", spec->help);
      if (spec->type != VALUE_CHOICE && spec->unit && *spec->unit) fprintf(stream, " [%s]", spec->unit);
      if (!spec->standard) fprintf(stream, " (must be given)");
      else if (*spec->standard) fprintf(stream, " (default %s)", spec->standard);
      fprintf(stream, "\n");
    }
}

/* Single-quoted YAML scalar. */
static PetscErrorCode append_quoted(char **text, size_t *used, size_t *size, const char *name, const char *value)
{
  const size_t need = strlen(name) + 2 * strlen(value) + 8;

  PetscFunctionBeginUser;
  if (*used + need > *size) {
    *size = 2 * (*used + need);
    PetscCall(PetscRealloc(*size, text));
  }
  *used += (size_t)sprintf(*text + *used, "%s: '", name);
  for (const char *c = value; *c; c++) {
    if (*c == '\'') (*text)[(*used)++] = '\'';
    (*text)[(*used)++] = *c;
  }
  *used += (size_t)sprintf(*text + *used, "'\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode options_yaml(const Options *options, char **text)
{
  size_t used = 0, size = 4096;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(size, text));
  (*text)[0] = '\0';
  for (const OptionSpec *const *group = options->groups; *group; group++)
    for (const OptionSpec *spec = *group; spec->name; spec++) {
      const char *value;
      PetscCall(options_string(options, spec->name, &value));
      if (spec->type == VALUE_SWITCH && !*value) value = "true";
      if (!*value) continue;
      PetscCall(append_quoted(text, &used, &size, spec->name, value));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}
