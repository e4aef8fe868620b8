/* Stopping in time: time limit, signals, one agreement a step. */
#include "file_private.h"
#include <perturbdiff/runtime/deadline.h>
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Reasons in order of rank: all ranks follow the highest that any has. */
enum { KEEP_ON, TIME_LIMIT, FIRST_SIGNAL };
static const int         caught[] = {SIGUSR1, SIGINT, SIGTERM};
static const char *const reasons[] = {NULL, "time limit", "SIGUSR1", "SIGINT", "SIGTERM"};
enum { SIGNALS = sizeof caught / sizeof *caught };

/* What the handlers say to this process; signals belong to a process, so this cannot live in a Deadline. */
static volatile sig_atomic_t received, received_at;
static struct sigaction      former[SIGNALS];
static PetscBool             installed = PETSC_FALSE;

PetscBool deadline_holds_signals(void) { return installed; }

static void note(int number)
{
  const sig_atomic_t now = (sig_atomic_t)time(NULL);

  /* Asked again after a while by hand: end at once. (Launchers may deliver one signal twice.) */
  if (number == SIGINT && received && now > received_at + 1) {
    file_drafts_remove();
    signal(number, SIG_DFL);
    raise(number);
  }
  if (!received) received_at = now;
  for (int s = 0; s < SIGNALS; s++)
    if (caught[s] == number && received < FIRST_SIGNAL + s) received = FIRST_SIGNAL + s;
}

/* Seconds of "[D-]HH:MM:SS" with Slurm's short forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S. Negative when it does not parse. */
static double limit_seconds(const char *text)
{
  double            days = 0, part[3] = {0};
  int               parts = 0;
  char             *end;
  const char *const dash = strchr(text, '-');

  if (dash) {
    days = (double)strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || end != dash) return -1;
    text = dash + 1;
  }
  for (;; text = end + 1) {
    if (parts == 3 || !isdigit((unsigned char)*text)) return -1;
    part[parts++] = (double)strtoul(text, &end, 10);
    if (!*end) break;
    if (*end != ':') return -1;
  }
  if (dash) return 86400 * days + 3600 * part[0] + 60 * part[1] + part[2];
  return parts == 3 ? 3600 * part[0] + 60 * part[1] + part[2] : 60 * part[0] + part[1];
}

/* Seconds left, 0 without a limit. */
static PetscErrorCode seconds_left(const char *limit, double *seconds)
{
  const char *const job_end = getenv("SLURM_JOB_END_TIME");

  *seconds = 0;
  if (limit && *limit) {
    if (!strcasecmp(limit, "unlimited") || !strcasecmp(limit, "infinite")) return PETSC_SUCCESS;
    *seconds = limit_seconds(limit);
    if (*seconds < 0) return error_user("-time_limit %s: not a time; write HH:MM:SS, D-HH:MM:SS, MM:SS or minutes", limit);
  } else if (job_end && *job_end) {
    *seconds = difftime((time_t)strtoll(job_end, NULL, 10), time(NULL));
    if (*seconds < 1) *seconds = 1; /* already over: stop at the first check */
  }
  return PETSC_SUCCESS;
}

PetscErrorCode deadline_begin(MPI_Comm comm, const char *limit, Deadline *deadline)
{
  double seconds = 0;
  int    rank;

  PetscCall(PetscMemzero(deadline, sizeof *deadline));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : seconds_left(limit, &seconds));
  PetscCallMPI(MPI_Bcast(&seconds, 1, MPI_DOUBLE, 0, comm));
  deadline->comm = comm;
  deadline->last = MPI_Wtime();
  /* A hundredth, ten seconds at most, for leaving MPI and for clocks that differ. */
  if (seconds > 0) deadline->end = deadline->last + seconds - PetscMin(10, seconds / 100);
  received = KEEP_ON;
  if (installed) return PETSC_SUCCESS;
  for (int s = 0; s < SIGNALS; s++) {
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(caught[s], &action, &former[s])) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_SYS, "cannot catch signal %d", caught[s]);
  }
  installed = PETSC_TRUE;
  return PETSC_SUCCESS;
}

PetscErrorCode deadline_check(Deadline *deadline, double checkpoint_seconds, PetscBool *stop, const char **reason)
{
  const double now = MPI_Wtime();
  int          mine = received, all;

  deadline->longest = PetscMax(deadline->longest, now - deadline->last);
  deadline->last = now;
  /* Another step and the write, each a quarter slower than the slowest so far. */
  deadline->margin = 1.25 * (deadline->longest + checkpoint_seconds);
  if (!mine && deadline->end > 0 && now + deadline->margin > deadline->end) mine = TIME_LIMIT;
  PetscCallMPI(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MAX, deadline->comm));
  *stop = all != KEEP_ON;
  if (reason) *reason = reasons[all];
  return PETSC_SUCCESS;
}

PetscErrorCode deadline_end(Deadline *deadline)
{
  for (int s = 0; installed && s < SIGNALS; s++) sigaction(caught[s], &former[s], NULL);
  installed = PETSC_FALSE;
  return PETSC_SUCCESS;
}
