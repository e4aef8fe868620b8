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
  return threads_each_beside(threads, items, task, context, NULL);
}

PetscErrorCode threads_each_beside(int threads, PetscInt64 items, PetscErrorCode (*task)(void *context, PetscInt64 item), void *context, PetscErrorCode (*beside)(void *context))
{
  PetscErrorCode error = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (threads < 2) {
    /* No team of one, inside which OpenMP would start and end threads for every loop of a task. */
    if (beside) PetscCall(beside(context));
    for (PetscInt64 k = 0; k < items; k++) PetscCall(task(context, k));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
#pragma omp parallel num_threads(threads)
  {
#pragma omp master
    if (beside) {
      const PetscErrorCode code = beside(context);
      if (code) {
#pragma omp atomic write
        error = code;
      }
    }
#pragma omp for schedule(dynamic, 1)
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
  }
  PetscFunctionReturn(error);
}
