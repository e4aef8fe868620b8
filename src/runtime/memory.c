/* Memory left on a node, from the kernel's own accounts; long arrays on large pages. */
#define _DEFAULT_SOURCE
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/memory.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bytes that the heap of memory_keep_freed is made longer by, of a large page, and that a thread clears at a time. */
enum { HEAP = 256 << 20, LARGE_PAGE = 1 << 21, ZERO_STEP = 1 << 18 };

/* First number in a file after a label ("" for none); -1 where there is none. */
static double number_in(const char *path, const char *label)
{
  char   line[256];
  double number = -1;
  FILE  *file   = fopen(path, "r");

  while (file && number < 0 && fgets(line, sizeof line, file))
    if (!strncmp(line, label, strlen(label)) && sscanf(line + strlen(label), "%lf", &number) != 1) number = -1;
  if (file) fclose(file);
  return number;
}

PetscErrorCode memory_share(MPI_Comm comm, double *bytes)
{
  double   available   = 1024 * number_in("/proc/meminfo", "MemAvailable:");
  double   group       = number_in("/sys/fs/cgroup/memory.max", ""); /* "max": no limit */
  double   used        = number_in("/sys/fs/cgroup/memory.current", "");
  double   cache       = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");
  int      ranks;
  MPI_Comm node;

  PetscFunctionBeginUser;
  if (group > 0 && used >= 0) {
    const double left = group - used + (cache > 0 ? cache : 0);
    available         = available > 0 ? PetscMin(available, left) : left;
  }
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  *bytes = available > 0 ? available / ranks : 0;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, bytes, 1, MPI_DOUBLE, MPI_MIN, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode memory_print(MPI_Comm comm, double bytes, const char *note, PetscInt items, const MemoryItem *item)
{
  char text[32];

  PetscFunctionBeginUser;
  format_bytes(bytes, text, sizeof text);
  PetscCall(log_line(comm, "  memory     %s a rank%s", text, note));
  for (PetscInt i = 0; i < items; i++) {
    if (!item[i].bytes) continue;
    format_bytes(item[i].bytes, text, sizeof text);
    PetscCall(log_line(comm, "             %10s  %s", text, item[i].name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode memory_exceeded(const char *what, double bytes, double limit, const char *advice)
{
  char need[32], most[32];

  format_bytes(bytes, need, sizeof need);
  format_bytes(limit, most, sizeof most);
  return error_user("%s needs %s a rank and may take %s (-memory_limit, or its share of the node); %s", what, need, most, advice);
}

void memory_large_pages(void *address, size_t bytes)
{
#ifdef MADV_HUGEPAGE
  const uintptr_t first = ((uintptr_t)address + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE, end = ((uintptr_t)address + bytes) / LARGE_PAGE * LARGE_PAGE;

  if (end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
#endif
}

void memory_zero(void *address, size_t bytes)
{
#pragma omp parallel for schedule(static) if (bytes > 2 * (size_t)ZERO_STEP)
  for (size_t at = 0; at < bytes; at += ZERO_STEP) memset((char *)address + at, 0, PetscMin((size_t)ZERO_STEP, bytes - at));
}

void memory_keep_freed(void)
{
#if defined(__GLIBC__) && defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD) && defined(M_TOP_PAD) && defined(M_ARENA_MAX)
  /* A refusal costs time only. One heap for all threads, made longer once: the addresses are there, pages come when they are written, large ones. */
  (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
  (void)mallopt(M_TRIM_THRESHOLD, 2 * HEAP);
  (void)mallopt(M_ARENA_MAX, 1);
  (void)mallopt(M_TOP_PAD, HEAP);
  char *const before = sbrk(0);
  void *volatile grown = malloc(16 << 20); /* volatile: else compilers leave out both calls */
  char *const after = sbrk(0);
  free(grown);
  (void)mallopt(M_TOP_PAD, 1 << 20);
  if (after > before) memory_large_pages(before, (size_t)(after - before));
#endif
}

PetscErrorCode values_create(size_t n, Real **values)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, values));
  memory_large_pages(*values, n * sizeof(Real));
  PetscCall(PetscArrayzero(*values, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
