/* POSIX shared memory whose name lives only until all have mapped it, so that nothing is left behind however a run ends. (A window of MPI would do the same, but tells of
   too small a /dev/shm, which containers often have, with a screenful for the user or a bus error.) */
#if !defined(_GNU_SOURCE)
  #define _GNU_SOURCE
#endif
#include "runtime/nodearray.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "runtime/try_mpi.h"

enum { NAME = 64 };

/* A page that shared memory has no room for is a bus error when it is first written: all are taken here. */
static int reserve(int file, void *address, size_t bytes)
{
  int code;

#ifdef MADV_HUGEPAGE
  (void)madvise(address, bytes, MADV_HUGEPAGE);
#endif
#ifdef MADV_POPULATE_WRITE
  if (!madvise(address, bytes, MADV_POPULATE_WRITE)) return 1;
  if (errno != EINVAL) return 0;
#else
  (void)address;
#endif
  do code = posix_fallocate(file, 0, (off_t)bytes);
  while (code == EINTR);
  return code == 0;
}

static void *map(int file, size_t bytes)
{
  void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

  return address == MAP_FAILED ? NULL : address;
}

static void *make(const char *name, size_t bytes)
{
  const int file    = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  void     *address = file < 0 || ftruncate(file, (off_t)bytes) ? NULL : map(file, bytes);

  if (address && !reserve(file, address, bytes)) {
    (void)munmap(address, bytes);
    address = NULL;
  }
  if (file >= 0) (void)close(file);
  return address;
}

static void *attach(const char *name, size_t bytes)
{
  const int file    = shm_open(name, O_RDWR, 0);
  void     *address = file < 0 ? NULL : map(file, bytes);

  if (file >= 0) (void)close(file);
  return address;
}

static int agree(MPI_Comm node, int mine, int *all) { return MPI_Allreduce(&mine, all, 1, MPI_INT, MPI_MIN, node); }

int nodearray_create(MPI_Comm node, size_t own, NodeArray *array)
{
  static unsigned made = 0;
  char            name[NAME], (*names)[NAME];
  int             rank, ok;
  unsigned long   bytes = own;

  *array = (NodeArray){0};
  TryMPI(MPI_Comm_rank(node, &rank));
  TryMPI(MPI_Comm_size(node, &array->ranks));
  array->of            = calloc((size_t)array->ranks, sizeof *array->of);
  array->bytes         = calloc((size_t)array->ranks, sizeof *array->bytes);
  names                = calloc((size_t)array->ranks, sizeof *names);
  unsigned long *sizes = calloc((size_t)array->ranks, sizeof *sizes);
  if (!array->of || !array->bytes || !names || !sizes) {
    free(names);
    free(sizes);
    nodearray_destroy(array);
    return MPI_ERR_NO_MEM;
  }
  snprintf(name, sizeof name, "/perturbdiff-%ld-%u-%lx", (long)getpid(), made++, (unsigned long)(1e6 * MPI_Wtime()));
  if (own) array->of[rank] = make(name, own);
  array->bytes[rank] = own;
  TryMPI(agree(node, !own || array->of[rank], &ok));
  TryMPI(MPI_Allgather(name, NAME, MPI_CHAR, names, NAME, MPI_CHAR, node));
  TryMPI(MPI_Allgather(&bytes, 1, MPI_UNSIGNED_LONG, sizes, 1, MPI_UNSIGNED_LONG, node));
  int mapped = ok;
  for (int r = 0; r < array->ranks && mapped; r++) {
    if (r == rank || !sizes[r]) continue;
    array->of[r]    = attach(names[r], sizes[r]);
    array->bytes[r] = sizes[r];
    mapped          = array->of[r] != NULL;
  }
  TryMPI(agree(node, mapped, &ok));
  if (own && array->of[rank]) (void)shm_unlink(name);
  free(names);
  free(sizes);
  if (!ok) nodearray_destroy(array);
  return MPI_SUCCESS;
}

void nodearray_destroy(NodeArray *array)
{
  for (int r = 0; r < array->ranks && array->of; r++)
    if (array->of[r]) (void)munmap(array->of[r], array->bytes[r]);
  free(array->of);
  free(array->bytes);
  *array = (NodeArray){0};
}
