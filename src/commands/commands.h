/* The commands of the program. A command reads its options, calls the rooms and writes its results; it holds no mathematics. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <perturbdiff/runtime.h>

typedef struct {
  const char   *name, *summary; /* one line */
  const char   *usage;          /* what follows "perturbdiff" */
  const char   *examples;       /* real lines a user can type, one a line */
  const Options options;
  PetscErrorCode (*run)(const Options *options);
} Command;

extern const Command command_simulate, command_prepare, command_embed, command_train, command_sample, command_baseline, command_evaluate, command_report, command_inspect;

/* The command line as typed, for files that record how they were made. Borrowed. */
const char *command_line(void);

#endif
