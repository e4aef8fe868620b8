/* The large arrays of a checkpoint on their way to the file: each rank writes its runs at their places, by threads of its own, while the program goes on.
   Past the page cache where the file system lets it (O_DIRECT): writes through it into one file stand in line at the file's lock, take the cores that training wants for
   another copy, push the training data out of memory, and need pages that a virtual machine may first have to get back from its host, at a fifth of the disk's speed. */
#define _GNU_SOURCE
#include "training/checkpoint_runs.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Threads of a rank: while one fills its buffer those of the others are being written. Bytes of a run below which the page cache is as good. */
enum { WRITERS = 3, LEAST_DIRECT = 1 << 16, BUFFER = RUN * sizeof(Real) };

struct ValuesWriter {
  MPI_Comm             comm;
  const TrainingState *state; /* not owned, its arrays neither */
  const uint64_t      *place; /* not owned */
  char                 path[PETSC_MAX_PATH_LEN];
  RunList              list;
  int                  file, direct; /* open through the page cache, and past it (-1: not) */
  uint64_t             page;         /* direct writes begin and end at its multiples, in the file and in memory */
  char                *buffer[WRITERS];
  pthread_t            thread[WRITERS];
  int                  threads;
  double               begun, ended;
  void (*former)(int);
  atomic_int entered, left, next, refused, failure; /* threads that began, that have not ended; next run; a direct write was refused; an error number */
};

size_t checkpoint_buffer_bytes(size_t elements) { return (size_t)WRITERS * PetscMin(elements * sizeof(Real), (size_t)BUFFER); }

static double now(void)
{
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Elements behind this rank's pieces, one for each dealt section, told by the ranks that hold them. next: (pieces, SECTIONS - 1). */
static PetscErrorCode elements_behind(MPI_Comm comm, const TrainingState *state, const Pieces *pieces, Real (*next)[SECTIONS - 1])
{
  typedef struct {
    size_t first, count;
    Real   value[SECTIONS - 1];
  } Head;
  Head *mine, *all;
  int   ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(PetscCalloc2(pieces->count, &mine, pieces->count * ranks, &all));
  for (PetscInt i = 0; i < pieces->count; i++) {
    mine[i].first = pieces->piece[i].first;
    mine[i].count = pieces->piece[i].count;
    for (int s = 0; s < SECTIONS - 1 && mine[i].count; s++) mine[i].value[s] = *piece_values(state, s + 1, &pieces->piece[i]);
  }
  const int bytes = (int)(sizeof *mine * (size_t)pieces->count);
  PetscCallMPI(MPI_Allgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, comm));
  for (PetscInt i = 0; i < pieces->count; i++)
    for (PetscInt j = 0; j < pieces->count * ranks; j++)
      if (all[j].count && all[j].first == pieces->piece[i].first + pieces->piece[i].count) memcpy(next[i], all[j].value, sizeof *next);
  PetscCall(PetscFree2(mine, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode runs_to_write(MPI_Comm comm, const TrainingState *state, const uint64_t *place, RunList *list)
{
  Pieces pieces;
  Real(*next)[SECTIONS - 1];

  PetscFunctionBeginUser;
  PetscCall(pieces_of(comm, state, &pieces));
  PetscCall(PetscCalloc1(pieces.count, &next));
  PetscCall(elements_behind(comm, state, &pieces, next));
  for (int s = 0; s < SECTIONS; s++)
    for (PetscInt i = 0; i < pieces.count; i++) {
      const BucketPiece *piece = &pieces.piece[i];
      const size_t       end = piece->first + piece->count;

      PetscCall(cut_piece(state, s, piece, place, s ? next[i][s - 1] : end < state->table.total ? state->parameters[end] : 0, PETSC_TRUE, list));
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

/* A large run: its whole pages past the page cache, or all of it through it where there is no other way. Notes what it wrote. An error number. */
static int write_pages(ValuesWriter *w, Run *run, char *buffer)
{
  const char    *bytes = (const char *)run->values;
  const uint64_t begin = run_place(w->state, w->place, run), end = begin + run->count * sizeof(Real);
  const uint64_t first = (begin + w->page - 1) / w->page * w->page, last = end / w->page * w->page;
  int            number = EINVAL;

  run->written_first = run->written_last = begin;
  if (last < first + LEAST_DIRECT) return 0;
  if (buffer && w->direct >= 0 && !atomic_load(&w->refused)) {
    memcpy(buffer, bytes + (first - begin), last - first);
    number = write_all(w->direct, buffer, last - first, first);
    if (number == EINVAL) atomic_store(&w->refused, 1); /* the file system has another idea of pages */
  }
  if (number == EINVAL) number = write_all(w->file, bytes + (first - begin), last - first, first);
  run->written_first = first;
  run->written_last = last;
  return number;
}

/* What write_pages left: small runs, and ends, which may share a page with another rank's. */
static int write_rest(const ValuesWriter *w, const Run *run)
{
  const char    *bytes = (const char *)run->values;
  const uint64_t begin = run_place(w->state, w->place, run), end = begin + run->count * sizeof(Real);
  const int      number = write_all(w->file, bytes, run->written_first - begin, begin);

  return number ? number : write_all(w->file, bytes + (run->written_last - begin), end - run->written_last, run->written_last);
}

/* A thread's part: large runs as they come. Who ends last writes the rest, which by the page cache has the file for itself and would hold up the others, and flushes.
   Neither MPI nor PETSc. */
static void *write_runs(void *context)
{
  ValuesWriter *w = context;
  char         *buffer = w->buffer[atomic_fetch_add(&w->entered, 1)];

  for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->list.count && !atomic_load(&w->failure);) {
    Run *run = &w->list.run[i];

    run->sum = run_checksum(run, parameter_size(&w->state->table.item[run->parameter]));
    const int number = write_pages(w, run, buffer);
    if (number) atomic_store(&w->failure, number);
  }
  if (atomic_fetch_sub(&w->left, 1) > 1) return NULL;
  for (PetscInt i = 0; i < w->list.count && !atomic_load(&w->failure); i++) atomic_store(&w->failure, write_rest(w, &w->list.run[i]));
  if (fsync(w->file) && !atomic_load(&w->failure)) atomic_store(&w->failure, errno);
  w->ended = now();
  return NULL;
}

/* Signals are the program's own thread's. Where the system gives no thread, this one writes. */
static void start_threads(ValuesWriter *w)
{
  sigset_t all, before;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  atomic_store(&w->left, WRITERS);
  while (w->threads < WRITERS && !pthread_create(&w->thread[w->threads], NULL, write_runs, w)) w->threads++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  for (int i = w->threads; i < WRITERS; i++) (void)write_runs(w);
}

static void open_file(ValuesWriter *w, const char *path, PetscBool direct)
{
  const long page = sysconf(_SC_PAGESIZE);
  size_t     most = 1;

  w->page = page > 4096 ? (uint64_t)page : 4096;
  w->direct = -1;
  w->file = open(path, O_WRONLY | O_CLOEXEC);
  if (w->file < 0) atomic_store(&w->failure, errno);
#ifdef O_DIRECT
  if (direct && w->file >= 0) w->direct = open(path, O_WRONLY | O_CLOEXEC | O_DIRECT);
#endif
  for (PetscInt i = 0; i < w->list.count; i++) most = PetscMax(most, w->list.run[i].count * sizeof(Real));
  for (int i = 0; i < WRITERS && w->direct >= 0; i++)
    if (posix_memalign((void **)&w->buffer[i], w->page, most)) w->buffer[i] = NULL;
}

PetscErrorCode checkpoint_values_start(const FileDraft *draft, const TrainingState *state, const uint64_t *place, PetscBool direct, ValuesWriter **writer)
{
  ValuesWriter *w;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&w));
  *writer = w;
  w->comm = draft->comm;
  w->state = state;
  w->place = place;
  PetscCall(PetscStrncpy(w->path, draft->path, sizeof w->path));
  PetscCall(runs_to_write(draft->comm, state, place, &w->list));
  w->former = signal(SIGXFSZ, SIG_IGN); /* a file size limit shows as a failed write */
  open_file(w, draft->temporary, direct);
  w->begun = now();
  if (w->file >= 0) start_threads(w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first error number of the writing. */
static int wait_and_close(ValuesWriter *w)
{
  for (int i = 0; i < w->threads; i++) pthread_join(w->thread[i], NULL);
  signal(SIGXFSZ, w->former);
  int number = atomic_load(&w->failure);
  if (w->direct >= 0 && close(w->direct) && !number) number = errno;
  if (w->file >= 0 && close(w->file) && !number) number = errno;
  return number;
}

static PetscErrorCode free_writer(ValuesWriter **writer)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < WRITERS; i++) free((*writer)->buffer[i]);
  PetscCall(PetscFree((*writer)->list.run));
  PetscCall(PetscFree(*writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_values_discard(ValuesWriter **writer)
{
  PetscFunctionBeginUser;
  atomic_store(&(*writer)->failure, ECANCELED); /* no more runs */
  (void)wait_and_close(*writer);
  PetscCall(free_writer(writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_values_finish(ValuesWriter **writer, uint64_t *sum, double *hidden)
{
  ValuesWriter *w = *writer;
  const double  called = now();
  const int     sets = SECTIONS * (int)w->state->table.count;
  char          path[PETSC_MAX_PATH_LEN];
  int           rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(w->comm, &rank));
  const int number = wait_and_close(w);
  *hidden = PetscMax(0, PetscMin(called, w->ended) - w->begun);
  PetscCall(PetscArrayzero(sum, sets));
  add_sums(&w->list, w->state->table.count, sum);
  PetscCallMPI(MPI_Reduce(rank ? sum : MPI_IN_PLACE, rank ? NULL : sum, sets, MPI_UINT64_T, MPI_SUM, 0, w->comm));
  PetscCall(PetscStrncpy(path, w->path, sizeof path));
  PetscCall(free_writer(writer));
  PetscFunctionReturn(number ? file_error(path, "write", number) : PETSC_SUCCESS);
}
