/* Options: declared once in a table (name, type, default, range, unit, help); values live in PETSc's options database. */
#ifndef PERTURBDIFF_RUNTIME_OPTIONS_H
#define PERTURBDIFF_RUNTIME_OPTIONS_H

#include <petscsys.h>
#include <stdio.h>

typedef enum {
  VALUE_STRING,
  VALUE_PATH,
  VALUE_INTEGER,
  VALUE_NUMBER,
  VALUE_SWITCH,
  VALUE_CHOICE, /* unit holds the choices: "linear|cosine" */
  VALUE_LIST    /* comma separated; given repeatedly, the values are joined */
} OptionType;

typedef struct {
  const char *name;     /* without the dash; a YAML key's path joined with _ */
  OptionType  type;
  const char *standard; /* default as text; NULL: must be given; "": none */
  double      least, most; /* closed range of numbers; both 0: any */
  const char *unit;     /* unit, or the choices of VALUE_CHOICE separated by | */
  const char *help;     /* one sentence */
} OptionSpec;

/* The options one command accepts: groups of tables, each ended by an entry whose name is NULL. */
typedef struct {
  const OptionSpec *const *groups;         /* ended by NULL */
  const char              *petsc_prefixes; /* further PETSc option families accepted, e.g. "ts_ snes_"; may be NULL */
  const char              *positional;     /* option that plain leading arguments fill, for a command that takes no input file; may be NULL */
} Options;

/* Options every command accepts: quiet, threads, time_limit, ... */
extern const OptionSpec options_common[];

/* options_insert - check the command line and the YAML input against the tables and fill PETSc's database.
   argc/argv: what follows the command's name (first may be a YAML file's path). Collective on PETSC_COMM_WORLD.
   User errors, the same on all ranks: unreadable or unparsable YAML (with line), unknown name (nearest known named),
   value out of type or range, required option missing. Command line wins over YAML. */
PetscErrorCode options_insert(const Options *options, int argc, char *const argv[]);

/* options_petsc_arguments - the arguments PETSc itself must see when it starts (-log_view, -info, -malloc_...), with the
   program's name first. Before PetscInitialize; returns nonzero when memory is out. */
int  options_petsc_arguments(int argc, char **argv, int *petsc_argc, char ***petsc_argv);
void options_petsc_arguments_free(char **petsc_argv);

/* Values: what the user gave or the default. Not collective. Asking for an undeclared name is a program error.
   Strings are owned by PETSc's database or the table and live until PetscFinalize; "" means none. */
PetscErrorCode options_string(const Options *options, const char *name, const char **value);
PetscErrorCode options_integer(const Options *options, const char *name, PetscInt64 *value);
PetscErrorCode options_number(const Options *options, const char *name, double *value);
PetscErrorCode options_switch(const Options *options, const char *name, PetscBool *value);
/* Index of the chosen word in the unit field's list. */
PetscErrorCode options_choice(const Options *options, const char *name, PetscInt *value);
/* Comma-separated parts, white space trimmed; free with strings_free. */
PetscErrorCode options_list(const Options *options, const char *name, PetscInt *count, char ***parts);
PetscErrorCode options_given(const Options *options, const char *name, PetscBool *given);

/* Print the tables as help text. */
void options_help(const Options *options, FILE *stream);

/* options_yaml - the full set in use as YAML text that reruns the command; caller frees with PetscFree. */
PetscErrorCode options_yaml(const Options *options, char **text);

/* string_split - parts of text at any of separators, trimmed, empty ones dropped; free with strings_free. */
PetscErrorCode string_split(const char *text, const char *separators, PetscInt *count, char ***parts);
PetscErrorCode strings_free(PetscInt count, char ***strings);

#endif
