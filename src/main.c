/* The command table, start-up and shut-down. */
#include "commands/commands.h"
#include "config.h"
#include "revision.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const Command *const commands[] = {&command_simulate, &command_prepare, &command_embed, &command_train, &command_sample, &command_baseline, &command_evaluate, &command_report, &command_inspect};
enum { COMMANDS = sizeof commands / sizeof *commands };

static char typed[8192];

const char *command_line(void) { return typed; }

static void remember(int argc, char **argv)
{
  size_t used = 0;

  for (int i = 0; i < argc && used < sizeof typed; i++) {
    const char *word = i ? argv[i] : "perturbdiff", *quote = strpbrk(word, " |*;&") || !*word ? "'" : "";
    used += (size_t)snprintf(typed + used, sizeof typed - used, "%s%s%s%s", i ? " " : "", quote, word, quote);
  }
}

static int leading_rank(void)
{
  int rank;
  return MPI_Comm_rank(PETSC_COMM_WORLD, &rank) ? 0 : !rank;
}

static void help(void)
{
  printf("perturbdiff %s - learns how populations of cells respond to perturbations and generates the responses nobody measured\n\n"
         "usage: perturbdiff COMMAND [INPUT.yaml] [-option value ...]      alone, or under mpirun or srun\n\n",
         PACKAGE_VERSION);
  for (int i = 0; i < COMMANDS; i++)
    printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
  printf("\nperturbdiff help COMMAND (or COMMAND -help) shows its options. An input file holds the same options as YAML; the command line wins.\n"
         "PETSc's own options work as well, for instance -log_view. Exit status: 0 done, 1 error of the program, 2 mistake in the input,\n"
         "85 stopped in time with a checkpoint written.\n");
}

static void help_command(const Command *command)
{
  printf("perturbdiff %s - %s\n\nusage: perturbdiff %s\n\nExamples:\n", command->name, command->summary, command->usage);
  for (const char *line = command->examples; *line;) {
    const size_t length = strcspn(line, "\n");
    printf("  %.*s\n", (int)length, line);
    line += length + (line[length] == '\n');
  }
  printf("\nOptions:\n");
  options_help(&command->options, stdout);
}

static PetscErrorCode find_command(const char *name, const Command **found)
{
  const char *names[COMMANDS + 1];
  size_t      count = 0;

  for (int i = 0; i < COMMANDS; i++) {
    if (!strcmp(commands[i]->name, name)) return (*found = commands[i]), PETSC_SUCCESS;
    names[count++] = commands[i]->name;
  }
  names[count++]   = "help";
  const char *near = nearest_name(name, names, count);
  if (near) return error_user("unknown command '%s'; did you mean '%s'?", name, near);
  return error_user("unknown command '%s'; 'perturbdiff help' lists the commands", name);
}

static PetscBool is_word(const char *argument, const char *word)
{
  argument += *argument == '-';
  argument += *argument == '-';
  return strcmp(argument, word) ? PETSC_FALSE : PETSC_TRUE;
}

static PetscErrorCode run(int argc, char **argv)
{
  const Command *command;

  PetscFunctionBeginUser;
  if (argc < 2 || is_word(argv[1], "help") || is_word(argv[1], "h")) {
    if (argc > 2) PetscCall(find_command(argv[2], &command));
    if (leading_rank()) argc > 2 ? help_command(command) : help();
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (argv[1][0] == '-' && (is_word(argv[1], "version") || is_word(argv[1], "V"))) {
    if (leading_rank()) printf("perturbdiff %s (%s)\n", PACKAGE_VERSION, GIT_REVISION);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(find_command(argv[1], &command));
  for (int i = 2; i < argc; i++)
    if (argv[i][0] == '-' && (is_word(argv[i], "help") || is_word(argv[i], "h"))) {
      if (leading_rank()) help_command(command);
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  PetscCall(options_insert(&command->options, argc - 2, argv + 2));
  PetscCall(log_banner(PETSC_COMM_WORLD, command->name));
  PetscCall(command->run(&command->options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* True once all ranks have come here as well; false when some have not within the patience, because only some saw the mistake
   and the others wait for them elsewhere. */
static PetscBool all_arrive(MPI_Comm farewell, double patience)
{
  MPI_Request  request;
  int          arrived = 0;
  const double end     = MPI_Wtime() + patience;

  if (MPI_Ibarrier(farewell, &request)) return PETSC_FALSE;
  while (!arrived && MPI_Wtime() < end) {
    if (MPI_Test(&request, &arrived, MPI_STATUS_IGNORE)) return PETSC_FALSE;
    if (!arrived) usleep(1000);
  }
  return arrived ? PETSC_TRUE : PETSC_FALSE;
}

/* One line on standard error; a mistake seen by one rank only ends all of them. */
static int report_error(MPI_Comm farewell, PetscErrorCode code)
{
  if (code == ERROR_STOPPED) return STATUS_STOPPED;
  if (code != ERROR_USER) {
    file_drafts_remove();
    MPI_Abort(MPI_COMM_WORLD, STATUS_PROGRAM_ERROR);
  }
  const PetscBool together = error_is_agreed() ? PETSC_TRUE : all_arrive(farewell, 5);
  if (leading_rank() || !together) fprintf(stderr, "perturbdiff: %s\n", error_message());
  fflush(stderr);
  if (!together) {
    file_drafts_remove();
    MPI_Abort(MPI_COMM_WORLD, STATUS_USER_ERROR);
  }
  return STATUS_USER_ERROR;
}

int main(int argc, char **argv)
{
  int      status = STATUS_SUCCESS, petsc_argc = 0;
  char   **petsc_argv = NULL;
  MPI_Comm farewell;

  launch_shortcuts();
  blas_guard(argc, argv);
  remember(argc, argv);
  if (options_petsc_arguments(argc, argv, &petsc_argc, &petsc_argv)) return STATUS_PROGRAM_ERROR;
  if (PetscInitialize(&petsc_argc, &petsc_argv, NULL, NULL)) return STATUS_PROGRAM_ERROR;
  signal(SIGPIPE, SIG_IGN); /* a reader that left early, or gnuplot missing, is no fault of the program */
  if (MPI_Comm_dup(PETSC_COMM_WORLD, &farewell)) return STATUS_PROGRAM_ERROR;
  PetscErrorCode code = error_handler_install();
  if (!code) code = run(argc, argv);
  if (code) status = report_error(farewell, code);
  if (MPI_Comm_free(&farewell)) status = STATUS_PROGRAM_ERROR;
  if (PetscFinalize()) status = STATUS_PROGRAM_ERROR;
  options_petsc_arguments_free(petsc_argv);
  return status;
}
