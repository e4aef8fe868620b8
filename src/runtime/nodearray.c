/* Memory without a name in any file system (memfd), which the other ranks of the node open through /proc: nothing is left behind however a run ends, a small /dev/shm, as
   containers have it, is no limit, and pages may be large. (A window of MPI lies in files of /dev/shm, with small pages, and tells of too little room by a screenful or
   a bus error.) */
#if !defined(_GNU_SOURCE)
  #define _GNU_SOURCE
#endif
#include "runtime/nodearray.h"
#include <perturbdiff/runtime/buckets.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "runtime/try_mpi.h"

/* Where the others find an array, and how they know that it is this one: another container may number its processes alike. */
typedef struct {
  long long process, file, device, inode, bytes;
} Ticket;
enum { LARGE_PAGE = 1 << 21, TICKET = sizeof(Ticket) / sizeof(long long) };

static Ticket make(size_t bytes)
{
  Ticket      ticket = {.process = getpid(), .file = -1, .bytes = (long long)bytes};
  struct stat status;

#ifdef MFD_CLOEXEC
  ticket.file = bytes ? memfd_create("perturbdiff", MFD_CLOEXEC) : -1;
#endif
  if (ticket.file < 0) return ticket;
  if (ftruncate((int)ticket.file, (off_t)bytes) || fstat((int)ticket.file, &status)) {
    (void)close((int)ticket.file);
    ticket.file = -1;
    return ticket;
  }
  ticket.device = (long long)status.st_dev;
  ticket.inode  = (long long)status.st_ino;
  return ticket;
}

static int open_ticket(const Ticket *ticket)
{
  char        path[64];
  struct stat status;

  snprintf(path, sizeof path, "/proc/%lld/fd/%lld", ticket->process, ticket->file);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return -1;
  if (!fstat(file, &status) && (long long)status.st_dev == ticket->device && (long long)status.st_ino == ticket->inode && status.st_size == (off_t)ticket->bytes) return file;
  (void)close(file);
  return -1;
}

/* Bytes first to first + count are there from now on: what memory lacks is told here and not by a signal at the first write. */
static int reserve(int file, char *address, size_t first, size_t count)
{
  int code;

  if (!count) return 1;
#ifdef MADV_POPULATE_WRITE
  if (!madvise(address + first, count, MADV_POPULATE_WRITE)) return 1;
  if (errno != EINVAL) return 0;
#endif
  do code = posix_fallocate(file, (off_t)first, (off_t)count);
  while (code == EINTR);
  return code == 0;
}

/* At a multiple of a large page, which the kernel else does not choose. */
static void *map_aligned(int file, size_t bytes)
{
  char           *room = mmap(NULL, bytes + LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const uintptr_t first = ((uintptr_t)room + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE, page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (first + bytes + page - 1) / page * page;

  if (room == MAP_FAILED) return NULL;
  void *address = mmap((void *)first, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  if (first > (uintptr_t)room) (void)munmap(room, first - (uintptr_t)room);
  if ((uintptr_t)room + bytes + LARGE_PAGE > end) (void)munmap((void *)end, (uintptr_t)room + bytes + LARGE_PAGE - end);
  if (address == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  (void)madvise(address, bytes, MADV_HUGEPAGE);
#endif
  return address;
}

/* Map an array, and reserve what is this rank's of it: its own; of one that the first rank alone has, a share, so that its pages lie where the node's ranks run. */
static void *map(const Ticket *ticket, int rank, int owner, int alone, int ranks)
{
  const size_t bytes = (size_t)ticket->bytes, pages = (bytes + LARGE_PAGE - 1) / LARGE_PAGE;
  const int    file = ticket->file < 0 ? -1 : open_ticket(ticket);
  char        *address = file < 0 ? NULL : map_aligned(file, bytes);
  size_t       first = 0, end = rank == owner ? bytes : 0;

  if (alone) {
    first = pages * (size_t)rank / (size_t)ranks * LARGE_PAGE;
    end   = pages * (size_t)(rank + 1) / (size_t)ranks * LARGE_PAGE;
    end   = end < bytes ? end : bytes;
  }
  if (address && end > first && !reserve(file, address, first, end - first)) {
    (void)munmap(address, bytes);
    address = NULL;
  }
  if (file >= 0) (void)close(file);
  return address;
}

int nodearray_create(MPI_Comm node, size_t own, NodeArray *array)
{
  Ticket ticket = make(own), *tickets;
  int    rank, mapped = 1, all, holders = 0;

  *array = (NodeArray){0};
  TryMPI(MPI_Comm_rank(node, &rank));
  TryMPI(MPI_Comm_size(node, &array->ranks));
  array->of    = calloc((size_t)array->ranks, sizeof *array->of);
  array->bytes = calloc((size_t)array->ranks, sizeof *array->bytes);
  tickets      = calloc((size_t)array->ranks, sizeof *tickets);
  if (!array->of || !array->bytes || !tickets) {
    free(tickets);
    nodearray_destroy(array);
    return MPI_ERR_NO_MEM;
  }
  TryMPI(MPI_Allgather(&ticket, TICKET, MPI_LONG_LONG, tickets, TICKET, MPI_LONG_LONG, node));
  for (int r = 0; r < array->ranks; r++) holders += tickets[r].bytes > 0;
  for (int r = 0; r < array->ranks && mapped; r++) {
    if (!tickets[r].bytes) continue;
    array->of[r]    = map(&tickets[r], rank, r, holders == 1, array->ranks);
    array->bytes[r] = (size_t)tickets[r].bytes;
    mapped          = array->of[r] != NULL;
  }
  TryMPI(MPI_Allreduce(&mapped, &all, 1, MPI_INT, MPI_MIN, node));
  if (ticket.file >= 0) (void)close((int)ticket.file);
  free(tickets);
  if (!all) nodearray_destroy(array);
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

int node_find(MPI_Comm comm, int rank, MPI_Comm *node, int *node_ranks)
{
  int range[2] = {rank, -rank}, own[4], most[4];

  TryMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, node));
  TryMPI(MPI_Comm_size(*node, node_ranks));
  TryMPI(MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_INT, MPI_MAX, *node));
  own[0] = *node_ranks;
  own[1] = -*node_ranks;
  own[2] = range[0] + range[1] + 1 != *node_ranks;
  own[3] = -range[1] % *node_ranks;
  TryMPI(MPI_Allreduce(own, most, 4, MPI_INT, MPI_MAX, comm));
  if (most[0] != -most[1] || most[2] || most[3]) *node_ranks = 1;
  return MPI_SUCCESS;
}

int nodearray_create_everywhere(MPI_Comm comm, MPI_Comm node, size_t bytes, NodeArray *array)
{
  int all;

  TryMPI(nodearray_create(node, bytes, array));
  const int mine = array->of != NULL;
  TryMPI(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm));
  if (!all) nodearray_destroy(array);
  return MPI_SUCCESS;
}

/* Of buckets.h: whether it works is seen by doing it with one value. */
int buckets_sharing(MPI_Comm comm, int *ranks)
{
  MPI_Comm  node;
  NodeArray array;
  int       rank;

  TryMPI(MPI_Comm_rank(comm, &rank));
  TryMPI(node_find(comm, rank, &node, ranks));
  if (*ranks > 1) {
    TryMPI(nodearray_create_everywhere(comm, node, sizeof(Real), &array));
    if (!array.of) *ranks = 1;
    nodearray_destroy(&array);
  }
  TryMPI(MPI_Comm_free(&node));
  return MPI_SUCCESS;
}
