/* What a user sees: banner, one line a stage, progress with time left; all on standard error, by rank 0 only. */
#ifndef PERTURBDIFF_RUNTIME_LOG_H
#define PERTURBDIFF_RUNTIME_LOG_H

#include <petscsys.h>
#include <stdio.h>

/* log_line - one line from rank 0 of comm unless -quiet. Not collective (other ranks return at once). */
PetscErrorCode log_line(MPI_Comm comm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* log_banner - versions, ranks, threads, machine, BLAS kernel chosen. Collective on comm. */
PetscErrorCode log_banner(MPI_Comm comm, const char *command);

/* A stage of a command: log_stage_begin starts the clock, log_stage_end prints "<name>  <what>  <seconds> s". */
typedef struct {
  MPI_Comm    comm;
  const char *name; /* not owned */
  double      start;
} LogStage;
PetscErrorCode log_stage_begin(MPI_Comm comm, const char *name, LogStage *stage);
PetscErrorCode log_stage_end(LogStage *stage, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Progress towards a known total: on a terminal one line rewritten in place, in a batch log a plain line at each tenth. */
typedef struct {
  MPI_Comm    comm;
  const char *name; /* not owned */
  double      total, first, start, last_print;
  PetscBool   terminal;
} Progress;
PetscErrorCode progress_begin(MPI_Comm comm, const char *name, double first, double total, Progress *progress);
/* done: units finished so far; detail: further text for the line ("loss 0.123"), may be NULL; rate and time left are added. */
PetscErrorCode progress_update(Progress *progress, double done, const char *detail);
/* progress_late - the same for stages that are mostly short: nothing in the first two seconds. */
PetscErrorCode progress_late(Progress *progress, double done, const char *detail);
PetscErrorCode progress_end(Progress *progress);

/* Seconds as "1 h 02 min", "3 min 20 s" or "4.2 s". */
void format_seconds(double seconds, char *text, size_t size);
/* Bytes as "1.5 GiB". */
void format_bytes(double bytes, char *text, size_t size);

/* Facts about this build and machine, as written into run.json and shown by inspect -machine. Rank 0's view. */
const char *machine_cpu_name(void);
PetscInt    machine_threads(void);

#endif
