/* The large arrays of a checkpoint. A data set is one run of bytes in the file, so a rank's piece of it is one run too, whatever rows it cuts: it is written and
   read there by the rank itself, a few MiB at a time. */
#include "training/checkpoint_values.h"
#include <errno.h>
#include <fcntl.h>
#include <perturbdiff/runtime/grid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Elements of a word of the checksum, and of the runs moved at once. */
enum { WORD = 8 / sizeof(Real), RUN = 1 << 20, MAPPED = SECTIONS - 1 };

const char *const section_name[SECTIONS] = {"parameters", "average", "optimizer/first", "optimizer/second"};

/* Neighbouring elements of one set. */
typedef struct {
  int      section;
  PetscInt parameter;
  size_t   first, count; /* in the set */
  Real    *values;       /* NULL: look at them only */
  Real     after;        /* the element that follows, where it completes a word */
  uint64_t sum;
} Run;

typedef struct {
  PetscInt count, capacity;
  Run     *run;
} RunList;

/* Pieces of the flat array that this rank moves: those of its shard, or an even share of a state that is whole on all ranks. */
typedef struct {
  PetscInt           count;
  const BucketPiece *piece;
  BucketPiece        share;
} Pieces;

static PetscErrorCode pieces_of(MPI_Comm comm, const TrainingState *state, Pieces *pieces)
{
  long long first, count;
  int       rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  share_of((long long)state->table.total, rank, ranks, &first, &count);
  pieces->share = (BucketPiece){.first = (size_t)first, .count = (size_t)count, .place = (size_t)first};
  pieces->count = state->shard.piece ? state->shard.count : 1;
  pieces->piece = state->shard.piece ? state->shard.piece : &pieces->share;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static Real *piece_values(const TrainingState *state, int section, const BucketPiece *piece)
{
  Real *const values[SECTIONS] = {state->parameters, state->average, state->first, state->second};

  return values[section] + (section ? piece->place : piece->first);
}

static PetscErrorCode add_run(RunList *list, Run run)
{
  PetscFunctionBeginUser;
  if (list->count == list->capacity) {
    list->capacity = 2 * list->capacity + 256;
    PetscCall(PetscRealloc(sizeof *list->run * (size_t)list->capacity, &list->run));
  }
  list->run[list->count++] = run;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A piece of a section cut at the borders of the sets and, inside, at whole words. after: the element behind the piece. */
static PetscErrorCode cut_piece(const TrainingState *state, int section, const BucketPiece *piece, Real after, PetscBool keep, RunList *list)
{
  const size_t end = piece->first + piece->count;
  Real *const  values = keep ? piece_values(state, section, piece) : NULL;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < state->table.count; k++) {
    const Parameter *p = &state->table.item[k];
    const size_t     last = PetscMin(end, p->offset + parameter_size(p));

    for (size_t at = PetscMax(piece->first, p->offset); at < last;) {
      const size_t stop = PetscMin(last, p->offset + ((at - p->offset) / RUN + 1) * RUN);

      PetscCall(add_run(list, (Run){.section = section,
                                    .parameter = k,
                                    .first = at - p->offset,
                                    .count = stop - at,
                                    .values = values ? values + (at - piece->first) : NULL,
                                    .after = after}));
      at = stop;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over the words that begin in the run; a word that begins in the run before is that one's. size: of the set. */
static uint64_t run_checksum(const Run *run, size_t size)
{
  const size_t skip = run->first % WORD, end = run->first + run->count;
  const size_t split = end < size ? end % WORD : 0; /* elements of a word that goes on behind the run */
  uint64_t     sum = 0;

  if (skip + split <= run->count)
    sum = checksum_piece(run->values + skip, (run->count - skip - split) * sizeof(Real), (run->first + skip) * sizeof(Real));
  if (split) {
    const Real word[2] = {run->values[run->count - 1], run->after};
    sum += checksum_piece(word, sizeof word, (end - split) * sizeof(Real));
  }
  return sum;
}

/* Elements behind this rank's pieces, one for each dealt section, told by the ranks that hold them. next: (pieces, MAPPED). */
static PetscErrorCode elements_behind(MPI_Comm comm, const TrainingState *state, const Pieces *pieces, Real (*next)[MAPPED])
{
  typedef struct {
    size_t first, count;
    Real   value[MAPPED];
  } Head;
  Head *mine, *all;
  int   ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(PetscCalloc2(pieces->count, &mine, pieces->count * ranks, &all));
  for (PetscInt i = 0; i < pieces->count; i++) {
    mine[i].first = pieces->piece[i].first;
    mine[i].count = pieces->piece[i].count;
    for (int s = 0; s < MAPPED && mine[i].count; s++) mine[i].value[s] = *piece_values(state, s + 1, &pieces->piece[i]);
  }
  const int bytes = (int)(sizeof *mine * (size_t)pieces->count);
  PetscCallMPI(MPI_Allgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, comm));
  for (PetscInt i = 0; i < pieces->count; i++)
    for (PetscInt j = 0; j < pieces->count * ranks; j++)
      if (all[j].count && all[j].first == pieces->piece[i].first + pieces->piece[i].count) memcpy(next[i], all[j].value, sizeof *next);
  PetscCall(PetscFree2(mine, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode runs_to_write(MPI_Comm comm, const TrainingState *state, RunList *list)
{
  Pieces pieces;
  Real(*next)[MAPPED];

  PetscFunctionBeginUser;
  PetscCall(pieces_of(comm, state, &pieces));
  PetscCall(PetscCalloc1(pieces.count, &next));
  PetscCall(elements_behind(comm, state, &pieces, next));
  for (int s = 0; s < SECTIONS; s++)
    for (PetscInt i = 0; i < pieces.count; i++) {
      const BucketPiece *piece = &pieces.piece[i];
      const size_t       end = piece->first + piece->count;

      PetscCall(cut_piece(state, s, piece, s ? next[i][s - 1] : end < state->table.total ? state->parameters[end] : 0, PETSC_TRUE, list));
    }
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All bytes, whatever pieces the system takes them in; an error number. */
static int write_all(int file, const void *bytes, size_t size, uint64_t place)
{
  for (const char *text = bytes; size;) {
    const ssize_t done = pwrite(file, text, size, (off_t)place);

    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done ? errno : ENOSPC;
    text += done, size -= (size_t)done, place += (uint64_t)done;
  }
  return 0;
}

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

/* A run is written while its checksum has it in the cache. Returns an error number. */
static int write_runs(int file, const TrainingState *state, const uint64_t *place, RunList *list)
{
  int failure = 0;

#pragma omp parallel for schedule(dynamic)
  for (PetscInt i = 0; i < list->count; i++) {
    Run      *run = &list->run[i];
    const int number =
        write_all(file, run->values, run->count * sizeof(Real), place[run->section * state->table.count + run->parameter] + run->first * sizeof(Real));

    run->sum = run_checksum(run, parameter_size(&state->table.item[run->parameter]));
    if (number) {
#pragma omp atomic write
      failure = number;
    }
  }
  if (fsync(file) && !failure) failure = errno;
  return failure;
}

static void add_sums(const RunList *list, PetscInt parameters, uint64_t *sum)
{
  for (PetscInt i = 0; i < list->count; i++) sum[list->run[i].section * parameters + list->run[i].parameter] += list->run[i].sum;
}

PetscErrorCode checkpoint_write_values(const FileDraft *draft, const TrainingState *state, const uint64_t *place, uint64_t *sum)
{
  const int sets = SECTIONS * (int)state->table.count;
  RunList   list = {0};
  int       rank, number = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(draft->comm, &rank));
  PetscCall(runs_to_write(draft->comm, state, &list));
  void (*former)(int) = signal(SIGXFSZ, SIG_IGN); /* a file size limit shows as a failed write */
  const int file = open(draft->temporary, O_WRONLY);
  if (file < 0) number = errno;
  if (!number) number = write_runs(file, state, place, &list);
  if (file >= 0 && close(file) && !number) number = errno;
  signal(SIGXFSZ, former);
  PetscCall(PetscArrayzero(sum, sets));
  add_sums(&list, state->table.count, sum);
  PetscCallMPI(MPI_Reduce(rank ? sum : MPI_IN_PLACE, rank ? NULL : sum, sets, MPI_UINT64_T, MPI_SUM, 0, draft->comm));
  PetscCall(PetscFree(list.run));
  PetscFunctionReturn(number ? file_error(draft->path, "write", number) : PETSC_SUCCESS);
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
  const uint64_t   at = place[run->section * state->table.count + run->parameter];
  const size_t     end = run->first + run->count, size = parameter_size(p);
  Run              filled = *run, behind = {.section = run->section, .first = end, .count = 1};

  if (!filled.values) filled.values = seen;
  if (at == PLACE_UNKNOWN) {
    PetscCall(read_converted(h5, p, &filled, filled.values));
    if (end % WORD && end < size) PetscCall(read_converted(h5, p, &behind, &filled.after));
  } else if (read_all(file, filled.values, run->count * sizeof(Real), at + run->first * sizeof(Real)) ||
             (end % WORD && end < size && read_all(file, &filled.after, sizeof(Real), at + end * sizeof(Real))))
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
    for (PetscInt i = 0; i < pieces.count; i++) PetscCall(cut_piece(state, s, &pieces.piece[i], 0, keep, &list));
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
