/* Stopping in time: a wall-clock limit (option or Slurm) and the signals TERM, INT, USR1. */
#ifndef PERTURBDIFF_RUNTIME_DEADLINE_H
#define PERTURBDIFF_RUNTIME_DEADLINE_H

#include <petscsys.h>

typedef struct {
  MPI_Comm comm;
  double   end;     /* MPI_Wtime at which the run must have ended; 0: no limit */
  double   margin;  /* seconds kept for the checkpoint, learnt from the longest step and write */
  double   longest; /* longest interval between two checks so far */
  double   last;    /* time of the last check */
} Deadline;

/* deadline_begin - limit: "HH:MM:SS", "D-HH:MM:SS", "MM:SS", "MINUTES" as Slurm writes them, "" to read SLURM_JOB_END_TIME if
   set. Installs handlers for SIGTERM, SIGINT, SIGUSR1. Collective. User error: a limit that does not parse. */
PetscErrorCode deadline_begin(MPI_Comm comm, const char *limit, Deadline *deadline);

/* deadline_check - after each step: stop is set on all ranks alike when a signal came to any rank or when another step
   and a checkpoint (checkpoint_seconds, the last one measured) might not fit. reason: static text. Collective. */
PetscErrorCode deadline_check(Deadline *deadline, double checkpoint_seconds, PetscBool *stop, const char **reason);

/* Restore the former signal handlers. */
PetscErrorCode deadline_end(Deadline *deadline);

#endif
