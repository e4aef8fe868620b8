/* checkpoint_bench FOLDER [-hidden 512 -depth 8 -genes 2000 -rounds 4 -each -direct 1] - checkpoints of a state dealt over the ranks against a plain write of as many bytes by the same
   ranks into one file of the same folder, each rank a contiguous share in pieces of 64 MiB, flushed both, through the page cache and past it; and reading likewise, from the device.
   In turns, of which every round begins with another. One line with medians; -each: every round too; -direct 0: checkpoints through the page cache. What validation/performance/checkpoint runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/training.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ROUNDS = 64, PIECE = 1 << 26, PAGE = 4096 };
typedef enum { PLAIN_WRITE, DIRECT_WRITE, CHECKPOINT_WRITE, PLAIN_READ, CHECKPOINT_READ, KINDS } Kind;
static const char *const kind_name[KINDS] = {"plain write", "plain write past the page cache", "checkpoint write", "plain read", "checkpoint read"};

typedef struct {
  int           rank, ranks;
  PetscBool     direct;
  char          plain[PETSC_MAX_PATH_LEN], checkpoint[PETSC_MAX_PATH_LEN];
  TrainingState state;
  Shard         shard;
  char         *bytes; /* a rank's share of the plain file, at a multiple of a page */
  size_t        own;   /* its length, a multiple of a page */
} Bench;

static PetscErrorCode deal(Bench *b, const DenoiserShape *shape, Buckets **buckets)
{
  ParameterTable table;
  size_t        *size;

  PetscFunctionBeginUser;
  PetscCall(parametertable_create(shape, &table));
  const PetscInt count = table.item[table.count - 1].bucket + 1;
  PetscCall(PetscCalloc1(count, &size));
  for (PetscInt k = 0; k < table.count; k++) size[table.item[k].bucket] += parameter_size(&table.item[k]);
  PetscCallMPI(buckets_create(PETSC_COMM_WORLD, (int)count, size, buckets));
  b->shard = (Shard){.count = count, .total = buckets_shard(*buckets), .whole = table.total};
  PetscCall(PetscMalloc1(count, &b->shard.piece));
  for (PetscInt i = 0; i < count; i++) b->shard.piece[i] = buckets_piece(*buckets, (int)i, b->rank);
  PetscCall(PetscFree(size));
  PetscCall(parametertable_destroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values of all the bits there are, so that nothing on the way finds them easier than others. */
static PetscErrorCode fill(Bench *b, const DenoiserShape *shape)
{
  PetscFunctionBeginUser;
  PetscCall(trainingstate_create(shape, &b->shard, &b->state));
  PetscCall(parameters_start(&b->state.table, 1, PETSC_FALSE, b->state.parameters));
  for (size_t i = 0; i < b->shard.total; i++) {
    b->state.average[i] = b->state.parameters[i];
    b->state.first[i] = (Real)1e-3 * b->state.parameters[i];
    b->state.second[i] = (Real)1e-6 * b->state.parameters[i] * b->state.parameters[i];
  }
  b->own = 4 * b->shard.total * sizeof(Real) / PAGE * PAGE;
  PetscCheck(!posix_memalign((void **)&b->bytes, PAGE, b->own), PETSC_COMM_SELF, PETSC_ERR_MEM, "%zu bytes", b->own);
  for (size_t done = 0, count; done < b->own; done += count) {
    count = PetscMin(b->shard.whole * sizeof(Real), b->own - done);
    memcpy(b->bytes + done, b->state.parameters, count);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's bytes at its place in one file; read into new memory, as a run that goes on reads its state. Written, the file is there in full length before: it need not grow under several writers. */
static PetscErrorCode plain(const Bench *b, PetscBool writes, int how)
{
  char     *bytes = writes ? b->bytes : malloc(b->own);
  long long own = (long long)b->own, end, all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Scan(&own, &end, 1, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Allreduce(&own, &all, 1, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD));
  if (!b->rank && writes) {
    const int created = open(b->plain, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    PetscCheck(created >= 0 && !ftruncate(created, (off_t)all) && !close(created), PETSC_COMM_SELF, PETSC_ERR_FILE_OPEN, "%s", b->plain);
  }
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  const int file = open(b->plain, how | (writes ? O_WRONLY : O_RDONLY));
  for (size_t done = 0; done < b->own;) {
    const size_t  count = PetscMin((size_t)PIECE, b->own - done);
    const off_t   place = (off_t)(end - own) + (off_t)done;
    const ssize_t moved = writes ? pwrite(file, bytes + done, count, place) : pread(file, bytes + done, count, place);
    PetscCheck(moved > 0, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
    done += (size_t)moved;
  }
  if (writes) PetscCheck(!fsync(file), PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
  PetscCheck(!close(file), PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
  if (!writes) free(bytes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nothing of the file in the page cache, as when a job goes on where another ended. */
static void forget(const char *path)
{
  const int file = open(path, O_RDONLY);

  (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  (void)close(file);
}

/* Nobody's turn pays for what the one before left: files gone, the device at rest. */
static PetscErrorCode prepare(const Bench *b, Kind kind)
{
  PetscFunctionBeginUser;
  if (!b->rank) {
    if (kind == PLAIN_WRITE || kind == DIRECT_WRITE) (void)unlink(b->plain);
    if (kind == CHECKPOINT_WRITE) (void)unlink(b->checkpoint);
    sync();
    if (kind == PLAIN_READ) forget(b->plain);
    if (kind == CHECKPOINT_READ) forget(b->checkpoint);
  }
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode once(Bench *b, Kind kind, double *seconds)
{
  TrainingState    read = {0};
  CheckpointWrite *write;

  PetscFunctionBeginUser;
  PetscCall(prepare(b, kind));
  const double begin = MPI_Wtime();
  if (kind == CHECKPOINT_WRITE) {
    PetscCall(checkpoint_begin(PETSC_COMM_WORLD, b->checkpoint, &b->state, b->direct, &write));
    PetscCall(checkpoint_end(&write, NULL));
  } else if (kind == CHECKPOINT_READ)
    PetscCall(checkpoint_read_shard(PETSC_COMM_WORLD, b->checkpoint, &b->shard, &read));
  else
    PetscCall(plain(b, kind == PLAIN_READ ? PETSC_FALSE : PETSC_TRUE, kind == DIRECT_WRITE ? O_DIRECT : 0));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  *seconds = MPI_Wtime() - begin;
  if (kind == CHECKPOINT_READ) PetscCall(trainingstate_destroy(&read));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median(int count, double *seconds)
{
  qsort(seconds, (size_t)count, sizeof *seconds, ascending);
  return (seconds[(count - 1) / 2] + seconds[count / 2]) / 2;
}

/* Writes and reads apart, so that a file is there to be read. The first turn of all only finds memory and is not counted. */
static PetscErrorCode measure(Bench *b, int rounds, PetscBool each)
{
  static double seconds[KINDS][MOST_ROUNDS];
  double        rate[KINDS], unused;
  const double  gigabytes = 4e-9 * (double)b->shard.whole * (double)sizeof(Real);
  const int     writes = PLAIN_READ, reads = KINDS - PLAIN_READ;

  PetscFunctionBeginUser;
  PetscCall(once(b, PLAIN_WRITE, &unused));
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < writes; i++) PetscCall(once(b, (Kind)((i + round) % writes), &seconds[(i + round) % writes][round]));
    for (int i = 0; i < reads; i++) PetscCall(once(b, (Kind)(writes + (i + round) % reads), &seconds[writes + (i + round) % reads][round]));
    for (int kind = 0; kind < KINDS && each; kind++)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  round %d  %-32s %.2f GB/s\n", round + 1, kind_name[kind], gigabytes / seconds[kind][round]));
  }
  for (int kind = 0; kind < KINDS; kind++) rate[kind] = gigabytes / median(rounds, seconds[kind]);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "%d rank(s), %.2f GB, medians of %d: write plain %.2f GB/s, past the page cache %.2f, checkpoint %.2f: %.2f and %.2f of them; "
                        "read plain %.2f GB/s, checkpoint %.2f: %.2f of it\n",
                        b->ranks, gigabytes, rounds, rate[PLAIN_WRITE], rate[DIRECT_WRITE], rate[CHECKPOINT_WRITE], rate[CHECKPOINT_WRITE] / rate[PLAIN_WRITE],
                        rate[CHECKPOINT_WRITE] / rate[DIRECT_WRITE], rate[PLAIN_READ], rate[CHECKPOINT_READ], rate[CHECKPOINT_READ] / rate[PLAIN_READ]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  DenoiserShape shape = {.genes = 2000, .hidden = 512, .depth = 8, .heads = 8, .perturbations = 90, .cell_types = 18, .batches = 12, .covariate_dim = 128, .time_frequencies = 128};
  Bench         b = {.direct = PETSC_TRUE};
  Buckets      *buckets;
  PetscInt      rounds = 4;
  PetscBool     each = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (argc < 2) return 2;
  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &b.rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &b.ranks));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-hidden", &shape.hidden, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-depth", &shape.depth, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-genes", &shape.genes, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-rounds", &rounds, NULL));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-each", &each));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-direct", &b.direct, NULL));
  rounds = PetscMax(1, PetscMin(rounds, MOST_ROUNDS));
  PetscCall(PetscSNPrintf(b.plain, sizeof b.plain, "%s/plain.bin", argv[1]));
  PetscCall(PetscSNPrintf(b.checkpoint, sizeof b.checkpoint, "%s/checkpoint.h5", argv[1]));
  PetscCall(deal(&b, &shape, &buckets));
  PetscCall(fill(&b, &shape));
  PetscCall(measure(&b, (int)rounds, each));
  if (!b.rank) (void)unlink(b.plain), (void)unlink(b.checkpoint);
  free(b.bytes);
  PetscCall(PetscFree(b.shard.piece));
  PetscCall(trainingstate_destroy(&b.state));
  PetscCallMPI(buckets_destroy(&buckets));
  PetscCall(PetscFinalize());
  return 0;
}
