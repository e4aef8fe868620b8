/* Checkpoints of a run while it goes on: between two updates the arrays stay as they are, so threads write them behind the next step's passes, without a copy. */
#include "training/training_internal.h"

PetscErrorCode saving_begin(Trainer *t, const char *path)
{
  const double begin = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCheck(!t->saving, t->comm, PETSC_ERR_PLIB, "%s: another checkpoint is being written", path);
  PetscCall(checkpoint_begin(t->comm, path, &t->state, t->options->checkpoint_direct, &t->saving));
  t->saves.last = MPI_Wtime() - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode saving_end(Trainer *t)
{
  const double begin = MPI_Wtime();
  double       hidden;

  PetscFunctionBeginUser;
  if (!t->saving) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(checkpoint_end(&t->saving, &hidden));
  PetscCall(checkpoint_prune(t->comm, t->options->folder, t->options->checkpoint_keep));
  t->saves.count++;
  t->saves.last += hidden + MPI_Wtime() - begin;
  t->saves.seconds += t->saves.last;
  t->saves.hidden += hidden;
  PetscFunctionReturn(PETSC_SUCCESS);
}
