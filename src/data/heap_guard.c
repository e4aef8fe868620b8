/* HDF5 1.10 trusts the lengths in a file's heap of strings: damage there makes it fault inside H5Dread, where no error can be returned.
   While such strings are read, a fault is told as what it is, a damaged file, and ends the process with the status of a user error. */
#include "anndata_private.h"
#include <perturbdiff/runtime/file.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int        faults[] = {SIGSEGV, SIGBUS, SIGABRT};
static struct sigaction former[sizeof faults / sizeof *faults];
static char             line[PETSC_MAX_PATH_LEN + 128];
static size_t           line_length;

static void tell_and_end(int number)
{
  /* Rank 0, if it meets the fault too, speaks first, and mpiexec ends the others. */
  if (PetscGlobalRank) sleep(1);
  file_drafts_remove();
  _exit(write(STDERR_FILENO, line, line_length) < 0 ? STATUS_PROGRAM_ERROR : STATUS_USER_ERROR);
}

void heap_guard_begin(const AnnData *file)
{
  struct sigaction action = {.sa_handler = tell_and_end};

  sigemptyset(&action.sa_mask);
  snprintf(line, sizeof line, "perturbdiff: %s: its strings cannot be read; the file is damaged: copy or write it again\n", file->path);
  line_length = strlen(line);
  for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) sigaction(faults[f], &action, &former[f]);
}

void heap_guard_end(void)
{
  for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) sigaction(faults[f], &former[f], NULL);
}
