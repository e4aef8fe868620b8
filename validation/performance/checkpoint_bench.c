/* checkpoint_bench FOLDER [-hidden 512 -depth 8 -genes 2000] - checkpoints of a state dealt over the ranks against a plain write of as many bytes by the same ranks into
   the same folder, and reading likewise; both flushed to the device, in turns, three rounds. One line with medians; what validation/performance/checkpoint runs. */
#include <fcntl.h>
#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/training.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 3, PIECE = 1 << 26 };
typedef enum { PLAIN_WRITE, CHECKPOINT_WRITE, PLAIN_READ, CHECKPOINT_READ, KINDS } Kind;

typedef struct {
  int           rank, ranks;
  char          plain[PETSC_MAX_PATH_LEN], checkpoint[PETSC_MAX_PATH_LEN];
  TrainingState state;
  Shard         shard;
  Real         *bytes; /* a rank's share of the plain file */
  size_t        own;   /* its length */
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
  b->own = 4 * b->shard.total;
  PetscCall(PetscMalloc1(b->own, &b->bytes));
  for (size_t i = 0; i < b->own; i++) b->bytes[i] = b->state.parameters[i % b->shard.whole];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's bytes at its place in one file. */
static PetscErrorCode plain(const Bench *b, PetscBool writes)
{
  const size_t bytes = b->own * sizeof(Real);
  long long    own = (long long)bytes, end;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Scan(&own, &end, 1, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD));
  if (!b->rank && writes) PetscCheck(!close(open(b->plain, O_WRONLY | O_CREAT | O_TRUNC, 0666)), PETSC_COMM_SELF, PETSC_ERR_FILE_OPEN, "%s", b->plain);
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  const int file = open(b->plain, writes ? O_WRONLY : O_RDONLY);
  for (size_t done = 0; done < bytes;) {
    const size_t  count = PetscMin((size_t)PIECE, bytes - done);
    const off_t   place = (off_t)(end - own) + (off_t)done;
    const ssize_t moved = writes ? pwrite(file, (char *)b->bytes + done, count, place) : pread(file, (char *)b->bytes + done, count, place);
    PetscCheck(moved > 0, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
    done += (size_t)moved;
  }
  if (writes) PetscCheck(!fsync(file), PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
  PetscCheck(!close(file), PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s", b->plain);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode once(Bench *b, Kind kind, double *seconds)
{
  TrainingState read = {0};

  PetscFunctionBeginUser;
  if (!b->rank && kind == PLAIN_WRITE) (void)unlink(b->plain);
  if (!b->rank && kind == CHECKPOINT_WRITE) (void)unlink(b->checkpoint);
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  const double begin = MPI_Wtime();
  if (kind == CHECKPOINT_WRITE)
    PetscCall(checkpoint_write(PETSC_COMM_WORLD, b->checkpoint, &b->state));
  else if (kind == CHECKPOINT_READ)
    PetscCall(checkpoint_read_shard(PETSC_COMM_WORLD, b->checkpoint, &b->shard, &read));
  else
    PetscCall(plain(b, kind == PLAIN_WRITE ? PETSC_TRUE : PETSC_FALSE));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  *seconds = MPI_Wtime() - begin;
  if (kind == CHECKPOINT_READ) PetscCall(trainingstate_destroy(&read));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static PetscErrorCode measure(Bench *b)
{
  double       seconds[KINDS][ROUNDS];
  const double bytes = 4. * (double)b->shard.whole * (double)sizeof(Real);

  PetscFunctionBeginUser;
  for (int round = 0; round < ROUNDS; round++)
    for (int kind = 0; kind < KINDS; kind++) PetscCall(once(b, (Kind)kind, &seconds[kind][round]));
  for (int kind = 0; kind < KINDS; kind++) qsort(seconds[kind], ROUNDS, sizeof(double), ascending);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%d rank(s), %.2f GB: write plain %.2f GB/s, checkpoint %.2f GB/s, ratio %.2f; read plain %.2f GB/s, checkpoint %.2f GB/s, ratio %.2f\n",
                        b->ranks, 1e-9 * bytes, 1e-9 * bytes / seconds[PLAIN_WRITE][1], 1e-9 * bytes / seconds[CHECKPOINT_WRITE][1],
                        seconds[PLAIN_WRITE][1] / seconds[CHECKPOINT_WRITE][1], 1e-9 * bytes / seconds[PLAIN_READ][1], 1e-9 * bytes / seconds[CHECKPOINT_READ][1],
                        seconds[PLAIN_READ][1] / seconds[CHECKPOINT_READ][1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  DenoiserShape shape = {.genes = 2000, .hidden = 512, .depth = 8, .heads = 8, .perturbations = 90, .cell_types = 18, .batches = 12, .covariate_dim = 128, .time_frequencies = 128};
  Bench         b = {0};
  Buckets      *buckets;

  PetscFunctionBeginUser;
  if (argc < 2) return 2;
  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &b.rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &b.ranks));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-hidden", &shape.hidden, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-depth", &shape.depth, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-genes", &shape.genes, NULL));
  PetscCall(PetscSNPrintf(b.plain, sizeof b.plain, "%s/plain.bin", argv[1]));
  PetscCall(PetscSNPrintf(b.checkpoint, sizeof b.checkpoint, "%s/checkpoint.h5", argv[1]));
  PetscCall(deal(&b, &shape, &buckets));
  PetscCall(fill(&b, &shape));
  PetscCall(measure(&b));
  if (!b.rank) (void)unlink(b.plain), (void)unlink(b.checkpoint);
  PetscCall(PetscFree(b.bytes));
  PetscCall(PetscFree(b.shard.piece));
  PetscCall(trainingstate_destroy(&b.state));
  PetscCallMPI(buckets_destroy(&buckets));
  PetscCall(PetscFinalize());
  return 0;
}
