/* The checkpoints of a run folder: which there are, which is the newest intact one, which go. */
#include "training/training_internal.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void checkpoint_path(const char *run, int64_t step, char *path, size_t size)
{
  (void)PetscSNPrintf(path, size, "%s/checkpoint-%08lld.h5", run, (long long)step);
}

static int by_step(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static PetscErrorCode list_folder(const char *run, PetscInt *count, int64_t **step)
{
  DIR           *folder = opendir(run);
  PetscInt       capacity = 0;
  struct dirent *entry;

  PetscFunctionBeginUser;
  while (folder && (entry = readdir(folder))) {
    long long number;
    int       end = 0;

    if (sscanf(entry->d_name, "checkpoint-%lld.h5%n", &number, &end) != 1 || !end || entry->d_name[end]) continue;
    if (*count == capacity) {
      capacity = 2 * capacity + 16;
      PetscCall(PetscRealloc(sizeof(int64_t) * (size_t)capacity, step));
    }
    (*step)[(*count)++] = number;
  }
  if (folder) closedir(folder);
  if (*count) qsort(*step, (size_t)*count, sizeof **step, by_step);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_list(MPI_Comm comm, const char *run, PetscInt *count, int64_t **step)
{
  int rank;

  PetscFunctionBeginUser;
  *count = 0;
  *step = NULL;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) PetscCall(list_folder(run, count, step));
  PetscCallMPI(MPI_Bcast(count, 1, MPIU_INT, 0, comm));
  if (!*step && *count) PetscCall(PetscMalloc1(*count, step));
  PetscCallMPI(MPI_Bcast(*step, *count, MPI_INT64_T, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_prune(MPI_Comm comm, const char *run, PetscInt keep)
{
  PetscInt count;
  int64_t *step;
  int      rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(checkpoint_list(comm, run, &count, &step));
  for (PetscInt i = 0; i + keep < count && !rank; i++) {
    char path[PETSC_MAX_PATH_LEN];

    checkpoint_path(run, step[i], path, sizeof path);
    (void)unlink(path);
  }
  PetscCall(PetscFree(step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 0: nothing there, 1: a file, 2: a folder; bit 2 (4): the folder has a best.h5. Rank 0's view, told to all. */
static PetscErrorCode kind_of(MPI_Comm comm, const char *path, const char *best, int *kind)
{
  struct stat status;
  int         rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) {
    *kind = stat(path, &status) ? 0 : S_ISDIR(status.st_mode) ? 2 : 1;
    if (*kind == 2 && !stat(best, &status)) *kind = 6;
  }
  PetscCallMPI(MPI_Bcast(kind, 1, MPI_INT, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Intact: path is kept and found set; damaged: named. Program errors pass. */
static PetscErrorCode try_checkpoint(MPI_Comm comm, const char *path, PetscBool *found)
{
  PetscFunctionBeginUser;
  const PetscErrorCode code = checkpoint_verify(comm, path);
  if (code == ERROR_USER)
    PetscCall(log_line(comm, "%s", error_message()));
  else
    PetscCall(code);
  *found = code ? PETSC_FALSE : PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_newest(MPI_Comm comm, const char *run, PetscBool prefer_best, char *path, size_t size)
{
  char      best[PETSC_MAX_PATH_LEN];
  PetscBool found = PETSC_FALSE;
  PetscInt  count;
  int64_t  *step;
  int       kind;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(best, sizeof best, "%s/best.h5", run));
  PetscCall(kind_of(comm, run, best, &kind));
  if (!kind) PetscFunctionReturn(error_user("%s: no such checkpoint or run folder", run));
  if (kind == 1) {
    PetscCall(PetscStrncpy(path, run, size));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (prefer_best && kind & 4) {
    PetscCall(PetscStrncpy(path, best, size));
    PetscCall(try_checkpoint(comm, path, &found));
  }
  PetscCall(checkpoint_list(comm, run, &count, &step));
  for (PetscInt i = count; i-- > 0 && !found;) {
    checkpoint_path(run, step[i], path, size);
    PetscCall(try_checkpoint(comm, path, &found));
  }
  PetscCall(PetscFree(step));
  if (found) PetscFunctionReturn(PETSC_SUCCESS);
  if (count) PetscFunctionReturn(error_user("%s: none of its %d checkpoints is intact; train again into a new folder", run, (int)count));
  PetscFunctionReturn(error_user("%s: no checkpoint in this folder; train into it first, or give a checkpoint file", run));
}

PetscErrorCode checkpoint_resume(MPI_Comm comm, const char *run, const Shard *shard, char *path, size_t size, TrainingState *state)
{
  PetscErrorCode code = ERROR_USER;
  PetscInt       count;
  int64_t       *step;

  PetscFunctionBeginUser;
  PetscCall(checkpoint_list(comm, run, &count, &step));
  for (PetscInt i = count; i-- > 0 && code == ERROR_USER;) {
    checkpoint_path(run, step[i], path, size);
    code = checkpoint_read_shard(comm, path, shard, state);
    if (code == ERROR_USER) PetscCall(log_line(comm, "%s", error_message()));
  }
  PetscCall(PetscFree(step));
  if (code == ERROR_USER) PetscFunctionReturn(error_user("%s: none of its %d checkpoints is intact; train again into a new folder", run, (int)count));
  PetscFunctionReturn(code);
}

PetscErrorCode count_checkpoints(MPI_Comm comm, const TrainingOptions *options, PetscInt *count)
{
  int64_t *step;

  PetscFunctionBeginUser;
  PetscCall(checkpoint_list(comm, options->folder, count, &step));
  PetscCall(PetscFree(step));
  if (*count && !options->resume)
    PetscFunctionReturn(error_user("%s: holds checkpoints of an earlier run; add -resume to go on with it, or give another folder", options->folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}
