/* cells STORE SET_SIZE SETS how [LIMIT] - read cell sets (cells and paired controls) of the training split into dense rows and say how fast.
     draw      cellsets_draw and cellstore_dense, the sets dealt over the ranks
     prefetch  the same by the thread of the training loop, whose batches are only taken
     bound     what memory allows: as many rows set to zero and as many bytes of entries read in order from an array that no cache holds
     check     untimed: the first SETS sets as two columns on standard output, cell number and sum of the dense row, for the peer to read and compare
   LIMIT: MiB of the mapped file that may stay in memory; past it all of its pages are given back, to the disk's own cache too, as a system short of
   memory does. What validation/performance/reading/run compares with h5py. */
#include <perturbdiff/data/cellset.h>
#include <perturbdiff/runtime/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_PAGEOUT
  #define MADV_PAGEOUT 21
#endif

typedef struct {
  const char *path, *how;
  PetscInt    size;
  PetscInt64  sets;
  long        limit; /* MiB; 0: none */
  long        most[3]; /* largest MiB seen: memory of the process, pages of files, memory shared between ranks */
} Run;

/* MiB of one line of /proc/self/status. */
static long status_mib(const char *key)
{
  char  line[256];
  long  kib  = 0;
  FILE *file = fopen("/proc/self/status", "r");

  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, key, strlen(key))) kib = atol(line + strlen(key) + 1);
  fclose(file);
  return kib / 1024;
}

/* Give back every page of the mapped store. */
static void give_back(const char *path)
{
  const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  char        line[4096];
  FILE       *file = fopen("/proc/self/maps", "r");

  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    unsigned long first, end;
    if (strstr(line, name) && sscanf(line, "%lx-%lx", &first, &end) == 2) madvise((void *)first, end - first, MADV_PAGEOUT);
  }
  fclose(file);
}

static void watch(Run *run)
{
  static const char *const keys[3] = {"RssAnon", "RssFile", "RssShmem"};

  for (int i = 0; i < 3; i++) {
    const long now = status_mib(keys[i]);
    if (now > run->most[i]) run->most[i] = now;
    if (i == 1 && run->limit && now > run->limit) give_back(run->path);
  }
}

static PetscErrorCode read_set(const CellStore *store, PetscInt size, const PetscInt64 *cells, Real *dense)
{
  const CellStoreTable *table = cellstore_table(store);

  return cellstore_dense(store, size, cells, 1 / table->value_scale, dense, table->gene.count);
}

static PetscErrorCode draw(Run *run, const CellStore *store, const CellSets *sets, int rank, int ranks)
{
  const size_t   size = (size_t)run->size, values = size * (size_t)cellstore_table(store)->gene.count;
  const PetscBool check = !strcmp(run->how, "check") ? PETSC_TRUE : PETSC_FALSE;
  CellSet        set;
  Real          *dense;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(size, &set.cell, size, &set.control, size, &set.filled, 2 * values, &dense));
  for (PetscInt64 n = rank; n < run->sets; n += ranks) {
    PetscCall(cellsets_draw(sets, n, &set));
    PetscCall(read_set(store, run->size, set.cell, dense));
    PetscCall(read_set(store, run->size, set.control, dense + values));
    if (run->limit) watch(run);
    for (size_t i = 0; check && i < 2 * size; i++) {
      const size_t genes = values / size;
      double       sum   = 0;
      for (size_t g = 0; g < genes; g++) sum += dense[i * genes + g];
      printf("%lld %.9g\n", (long long)(i < size ? set.cell[i] : set.control[i - size]), sum);
    }
  }
  PetscCall(PetscFree4(set.cell, set.control, set.filled, dense));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode prefetch(Run *run, const CellStore *store, const CellSets *sets, int rank, int ranks)
{
  Prefetch *ahead;
  CellBatch batch;
  double    stall = 0;

  PetscFunctionBeginUser;
  PetscCall(prefetch_create(store, sets, run->size, &(PrefetchShare){ranks, rank, 1, 0, run->size}, 0, &ahead));
  for (PetscInt64 n = rank; n < run->sets; n += ranks) {
    PetscCall(prefetch_next(ahead, &batch, &stall));
    if (run->limit) watch(run);
  }
  PetscCall(prefetch_destroy(&ahead));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 6 bytes an entry, as many entries a cell as the store has on average; the array is walked round and round. */
static PetscErrorCode bound(const Run *run, const CellStore *store)
{
  enum { BYTES = 1 << 28 };
  const size_t   rows = 2 * (size_t)run->size, genes = (size_t)cellstore_table(store)->gene.count;
  const PetscInt64 cells = cellstore_table(store)->cells;
  unsigned char *entries;
  Real          *dense;
  int32_t       *gene;
  float         *value;
  double         mean = 0;
  size_t         at = 0;
  uint64_t       sum = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(BYTES, &entries, rows * genes, &dense, genes, &gene, genes, &value));
  memset(entries, 1, BYTES);
  for (PetscInt64 c = 0; c < 1000; c++) {
    PetscInt count;
    PetscCall(cellstore_row(store, c * cells / 1000, &count, gene, value));
    mean += count / 1000.;
  }
  const size_t words = (size_t)(mean * 6 / sizeof(uint64_t));
  const double start = MPI_Wtime();
  for (PetscInt64 n = 0; n < run->sets; n++) {
    for (size_t i = 0; i < rows; i++) {
      const uint64_t *row = (const uint64_t *)(const void *)entries + at;
      memset(dense + i * genes, 0, genes * sizeof *dense);
      for (size_t w = 0; w < words; w++) sum += row[w];
      at = (at + 2 * words) * sizeof *row < BYTES ? at + words : 0;
    }
  }
  const double seconds = MPI_Wtime() - start;
  printf("%.0f cells/s (%.0f entries a cell)%s\n", (double)run->sets * (double)rows / seconds, mean, sum ? "" : " ");
  PetscCall(PetscFree4(entries, dense, gene, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode measure(Run *run)
{
  CellStore *store;
  CellSets  *sets;
  double     start, seconds;
  int        rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  PetscCall(cellstore_open(PETSC_COMM_WORLD, run->path, &store));
  if (!strcmp(run->how, "bound")) {
    PetscCall(bound(run, store));
    PetscCall(cellstore_close(&store));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(cellsets_create(cellstore_table(store), NULL, run->size, 0, &sets));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  start = MPI_Wtime();
  if (!strcmp(run->how, "prefetch")) PetscCallAgree(PETSC_COMM_WORLD, prefetch(run, store, sets, rank, ranks));
  else PetscCallAgree(PETSC_COMM_WORLD, draw(run, store, sets, rank, ranks));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  seconds = MPI_Wtime() - start;
  watch(run);
  if (!rank && strcmp(run->how, "check"))
    printf("%.0f cells/s, memory %ld MiB, of files %ld MiB, shared %ld MiB\n", (double)run->sets * 2 * run->size / seconds, run->most[0], run->most[1], run->most[2]);
  PetscCall(cellsets_destroy(&sets));
  PetscCall(cellstore_close(&store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  if (argc < 5) {
    fprintf(stderr, "usage: cells STORE SET_SIZE SETS draw|prefetch|bound|check [LIMIT]\n");
    return STATUS_USER_ERROR;
  }
  if (PetscInitialize(&argc, &argv, NULL, NULL) || error_handler_install()) return STATUS_PROGRAM_ERROR;
  Run                  run  = {.path = argv[1], .size = atoi(argv[2]), .sets = atoll(argv[3]), .how = argv[4], .limit = argc > 5 && argv[5][0] != '-' ? atol(argv[5]) : 0};
  const PetscErrorCode code = measure(&run);
  if (code) fprintf(stderr, "cells: %s\n", error_message());
  PetscFinalize();
  return code == ERROR_USER ? STATUS_USER_ERROR : code ? STATUS_PROGRAM_ERROR : STATUS_SUCCESS;
}
