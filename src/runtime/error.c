/* Mistakes of the user as one line on rank 0; agreement of all ranks on an error. */
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <hdf5.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE 2048

/* The one pending message of this rank; PETSc keeps its error stack the same way. */
static struct {
  char      text[MESSAGE_SIZE];
  PetscBool agreed;
} pending;

PetscErrorCode error_user(const char *format, ...)
{
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(pending.text, sizeof pending.text, format, arguments);
  va_end(arguments);
  for (char *c = pending.text; *c; c++)
    if (*c == '\n' || *c == '\r') *c = ' ';
  pending.agreed = PETSC_FALSE;
  return ERROR_USER;
}

const char *error_message(void) { return pending.text; }

PetscBool error_is_agreed(void) { return pending.agreed; }

PetscErrorCode error_agree(MPI_Comm comm, PetscErrorCode code)
{
  int rank, size;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (code && code != ERROR_USER && code != ERROR_STOPPED) {
    file_drafts_remove();
    MPI_Abort(MPI_COMM_WORLD, STATUS_PROGRAM_ERROR);
  }
  /* Lowest rank with a user error; size when nobody has one. */
  int mine = code == ERROR_USER ? rank : size, first;
  PetscCallMPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm));
  if (first < size) {
    PetscCallMPI(MPI_Bcast(pending.text, MESSAGE_SIZE, MPI_CHAR, first, comm));
    pending.agreed = PETSC_TRUE;
    return ERROR_USER;
  }
  int stopped = code == ERROR_STOPPED, any;
  PetscCallMPI(MPI_Allreduce(&stopped, &any, 1, MPI_INT, MPI_MAX, comm));
  return any ? ERROR_STOPPED : PETSC_SUCCESS;
}

static PetscErrorCode handler(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code, PetscErrorType kind, const char *message, void *context)
{
  if (code == ERROR_USER || code == ERROR_STOPPED) return code;
  return PetscTraceBackErrorHandler(comm, line, function, file, code, kind, message, context);
}

PetscErrorCode error_handler_install(void)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(handler, NULL));
  H5Check(H5Eset_auto2(H5E_DEFAULT, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Levenshtein distance; words longer than the buffer count as far apart. */
static size_t edit_distance(const char *a, const char *b)
{
  enum { LONGEST = 128 };
  const size_t m = strlen(a), n = strlen(b);
  size_t       row[LONGEST + 1];

  if (m > LONGEST || n > LONGEST) return LONGEST;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; i <= m; i++) {
    size_t diagonal = row[0];
    row[0]          = i;
    for (size_t j = 1; j <= n; j++) {
      const size_t above = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
      size_t       best = (above < row[j - 1] ? above : row[j - 1]) + 1;
      if (change < best) best = change;
      row[j]   = best;
      diagonal = above;
    }
  }
  return row[n];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
  const char  *best     = NULL;
  const size_t length   = strlen(word);
  size_t       distance = SIZE_MAX;

  for (size_t i = 0; i < count; i++) {
    size_t d = edit_distance(word, names[i]);
    /* "lear" for "learning_rate": a beginning counts as near. */
    if (length >= 3 && !strncmp(word, names[i], length) && d > 2) d = 2;
    if (d < distance) {
      distance = d;
      best     = names[i];
    }
  }
  return distance <= 1 + length / 2 ? best : NULL;
}
