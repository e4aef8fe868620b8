/* Work shared by the OpenMP threads of a rank. */
#include <omp.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/threads.h>

int threads_that_allocate(void)
{
  PetscBool accounts = PETSC_TRUE;

  if (PetscDefined(USE_DEBUG) || omp_in_parallel() || PetscMallocGetDebug(&accounts, NULL, NULL) || accounts) return 1;
  return omp_get_max_threads();
}

PetscErrorCode threads_each(int threads, PetscInt64 items, PetscErrorCode (*task)(void *context, PetscInt64 item), void *context)
{
  PetscErrorCode error = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (threads < 2) {
    /* No team of one, inside which OpenMP would start and end threads for every loop of a task. */
    for (PetscInt64 k = 0; k < items; k++) PetscCall(task(context, k));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (PetscInt64 k = 0; k < items; k++) {
    PetscErrorCode before, code;

#pragma omp atomic read
    before = error;
    if (before) continue;
    code = task(context, k);
    if (code) {
#pragma omp atomic write
      error = code;
    }
  }
  PetscFunctionReturn(error);
}
