/* The large arrays of a checkpoint read back. A data set is one run of bytes in the file, so a rank's piece of it is one run too, whatever rows it cuts: the rank reads it
   there itself, a few MiB at a time. */
#include "training/checkpoint_runs.h"
#include <errno.h>
#include <fcntl.h>
#include <perturbdiff/runtime/grid.h>
#include <stdlib.h>
#include <unistd.h>

static int read_all(int file, void *bytes, size_t size, uint64_t place)
{
  for (char *text = bytes; size;) {
    const ssize_t done = pread(file, text, size, (off_t)place);

    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done ? errno : EIO;
    text += done, size -= (size_t)done, place += (uint64_t)done;
  }
  return 0;
}

/* A run of a set in another form, by whole rows. */
static PetscErrorCode read_converted(hid_t h5, const Parameter *p, const Run *run, Real *values)
{
  const size_t width = (size_t)(p->columns ? p->columns : 1), first = run->first / width, end = (run->first + run->count + width - 1) / width;
  char         name[160];
  Real        *rows;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(name, sizeof name, "%s/%s", section_name[run->section], p->name));
  PetscCall(PetscMalloc1((end - first) * width, &rows));
  const PetscErrorCode code = h5_read_slab(h5, name, H5T_REAL_TYPE, (PetscInt64)first, (PetscInt64)(end - first), rows);
  if (!code) PetscCall(PetscArraycpy(values, rows + run->first - first * width, run->count));
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(code);
}

/* One run and, where a word goes on behind it, the element there. seen: room for RUN + 1 elements, used where the values are not kept. */
static PetscErrorCode read_run(hid_t h5, int file, const TrainingState *state, const uint64_t *place, Real *seen, Run *run)
{
  const Parameter *p = &state->table.item[run->parameter];
  const PetscBool  known = place[run->section * state->table.count + run->parameter] == PLACE_UNKNOWN ? PETSC_FALSE : PETSC_TRUE;
  const uint64_t   at = run_place(state, place, run);
  const size_t     end = run->first + run->count, size = parameter_size(p);
  Run              filled = *run, behind = {.section = run->section, .first = end, .count = 1};

  if (!filled.values) filled.values = seen;
  if (!known) {
    PetscCall(read_converted(h5, p, &filled, filled.values));
    if (run_splits_word(run, size)) PetscCall(read_converted(h5, p, &behind, &filled.after));
  } else if (read_all(file, filled.values, run->count * sizeof(Real), at) ||
             (run_splits_word(run, size) && read_all(file, &filled.after, sizeof(Real), at + run->count * sizeof(Real))))
    return PETSC_ERR_FILE_READ;
  run->sum = run_checksum(&filled, size);
  return PETSC_SUCCESS;
}

/* Plain runs by all threads; HDF5 is not for threads, so what only it can read comes after, by one. */
static PetscErrorCode read_runs(hid_t h5, int file, const TrainingState *state, const uint64_t *place, RunList *list)
{
  PetscErrorCode failure = PETSC_SUCCESS;

#pragma omp parallel
  {
    Real *seen = malloc((RUN + 1) * sizeof *seen);

#pragma omp for schedule(dynamic)
    for (PetscInt i = 0; i < list->count; i++) {
      Run *run = &list->run[i];

      if (place[run->section * state->table.count + run->parameter] == PLACE_UNKNOWN) continue;
      const PetscErrorCode code = seen ? read_run(h5, file, state, place, seen, run) : PETSC_ERR_MEM;
      if (code) {
#pragma omp atomic write
        failure = code;
      }
    }
    free(seen);
  }
  for (PetscInt i = 0; i < list->count && !failure; i++) {
    Run  *run = &list->run[i];
    Real *seen;

    if (place[run->section * state->table.count + run->parameter] != PLACE_UNKNOWN) continue;
    PetscCall(PetscMalloc1(RUN, &seen));
    failure = read_run(h5, file, state, place, seen, run);
    PetscCall(PetscFree(seen));
  }
  return failure;
}

PetscErrorCode checkpoint_read_values(MPI_Comm comm, hid_t h5, const char *path, int sections, const uint64_t *place, PetscBool keep, TrainingState *state, uint64_t *sum)
{
  RunList list = {0};
  Pieces  pieces;

  PetscFunctionBeginUser;
  PetscCall(pieces_of(comm, state, &pieces));
  for (int s = 0; s < sections; s++)
    for (PetscInt i = 0; i < pieces.count; i++) PetscCall(cut_piece(state, s, &pieces.piece[i], place, 0, keep, &list));
  const int file = open(path, O_RDONLY);
  const PetscErrorCode code = file < 0 ? PETSC_ERR_FILE_OPEN : read_runs(h5, file, state, place, &list);
  if (file >= 0) close(file);
  if (!code) add_sums(&list, state->table.count, sum);
  PetscCall(PetscFree(list.run));
  PetscCheck(!code, PETSC_COMM_SELF, PETSC_ERR_FILE_READ, "%s: values cannot be read", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_share_values(MPI_Comm comm, int sections, TrainingState *state)
{
  const long long most = 1LL << 28; /* elements a message */
  int             ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  for (int s = 0; s < sections && ranks > 1; s++)
    for (int r = 0; r < ranks; r++) {
      long long first, count;

      share_of((long long)state->table.total, r, ranks, &first, &count);
      for (long long at = first; at < first + count; at += most) {
        BucketPiece piece = {.first = (size_t)at, .place = (size_t)at};
        PetscCallMPI(MPI_Bcast(piece_values(state, s, &piece), (int)PetscMin(most, first + count - at), MPI_REAL_TYPE, r, comm));
      }
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}
