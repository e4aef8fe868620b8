/* Errors: a mistake of the user is one line and exit status 2; an error of the program is a trace and status 1. */
#ifndef PERTURBDIFF_RUNTIME_ERROR_H
#define PERTURBDIFF_RUNTIME_ERROR_H

#include <petscsys.h>

#if PETSC_VERSION_LT(3, 19, 0)
  #define PETSC_SUCCESS 0
#endif

/* Code carried by a mistake of the user through PetscCall chains; no trace is printed for it. */
#define ERROR_USER ((PetscErrorCode)199)
/* Code carried by a run that stopped in time with its checkpoint written. */
#define ERROR_STOPPED ((PetscErrorCode)198)

enum { STATUS_SUCCESS = 0, STATUS_PROGRAM_ERROR = 1, STATUS_USER_ERROR = 2, STATUS_STOPPED = 85 };

/* error_user - record what the user must mend and return ERROR_USER.
   Not collective. One line, no newline: what is wrong, where (file, key, value), what to do. Use as
       if (missing) return error_user("%s: no column '%s' in obs; it has: %s", path, name, list);
   Where only some ranks can see the mistake, the caller's phase must end in PetscCallAgree. */
PetscErrorCode error_user(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* error_agree - make one rank's error the error of all ranks of comm.
   Collective. Returns 0 when every rank passed 0. With a user error anywhere (and no program error) every rank returns
   ERROR_USER and carries the message of the lowest rank that had one. A program error on any rank aborts all ranks
   with status 1 after its trace. */
PetscErrorCode error_agree(MPI_Comm comm, PetscErrorCode code);

/* Run an expression that may fail on some ranks only, and agree on the outcome. Collective on comm. */
#define PetscCallAgree(comm, ...) PetscCall(error_agree((comm), (__VA_ARGS__)))

/* Message recorded last on this rank by error_user or brought here by error_agree ("" when none). */
const char *error_message(void);

/* True when the pending error is known to be the same on all ranks (raised or passed by error_agree). */
PetscBool error_is_agreed(void);

/* Install the PETSc error handler that keeps silent about ERROR_USER and ERROR_STOPPED, and switch off HDF5's own
   printing. After PetscInitialize. */
PetscErrorCode error_handler_install(void);

/* A call into HDF5 or another C library that reports failure by a negative number. */
#define H5Check(expression)                                                                                         \
  do {                                                                                                              \
    if ((expression) < 0) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5: %s failed", #expression);                  \
  } while (0)

/* nearest_name - the entry of names[count] closest to word by edit distance, NULL when none is near. */
const char *nearest_name(const char *word, const char *const *names, size_t count);

#endif
