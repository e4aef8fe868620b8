/* Gradients summed and parameters gathered a bucket at a time while the network computes; each rank updates its pieces (ARCHITECTURE, "The process grid"). */
#include "training/training_internal.h"
#include <math.h>

PetscErrorCode bucket_sizes(const ParameterTable *table, PetscInt *count, size_t **size)
{
  PetscFunctionBeginUser;
  *count = table->item[table->count - 1].bucket + 1;
  PetscCall(PetscCalloc1(*count, size));
  for (PetscInt k = 0; k < table->count; k++) (*size)[table->item[k].bucket] += parameter_size(&table->item[k]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_create(Trainer *t, const DenoiserShape *shape)
{
  ParameterTable table;
  size_t        *size;

  PetscFunctionBeginUser;
  PetscCall(parametertable_create(shape, &table));
  PetscCall(bucket_sizes(&table, &t->bucket_count, &size));
  PetscCall(PetscCalloc1(t->bucket_count, &t->arriving));
  PetscCall(PetscMalloc1(t->ranks, &t->squares_of_ranks));
  PetscCall(PetscCalloc1(table.count, &t->squares));
  t->shard = (Shard){.total = table.total, .whole = table.total};
  if (t->ranks > 1) {
    PetscCallMPI(buckets_create(t->grid.all, (int)t->bucket_count, size, &t->buckets));
    t->shard.count = t->bucket_count;
    t->shard.total = buckets_shard(t->buckets);
    PetscCall(PetscMalloc1(t->bucket_count, &t->shard.piece));
    for (PetscInt b = 0; b < t->bucket_count; b++) t->shard.piece[b] = buckets_piece(t->buckets, (int)b, t->rank);
    PetscCallMPI(buckets_array_create(t->buckets, ARRAY_OF_RANK, &t->gradients));
    PetscCallMPI(buckets_array_create(t->buckets, ARRAY_OF_NODE, &t->shard.parameters));
  }
  t->own_gradients = t->gradients ? PETSC_FALSE : PETSC_TRUE;
  if (t->own_gradients) PetscCall(values_create(table.total, &t->gradients));
  PetscCall(PetscFree(size));
  PetscCall(parametertable_destroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_destroy(Trainer *t)
{
  PetscFunctionBeginUser;
  if (t->own_gradients) PetscCall(PetscFree(t->gradients));
  PetscCallMPI(buckets_destroy(&t->buckets));
  PetscCall(PetscFree(t->shard.piece));
  PetscCall(PetscFree(t->arriving));
  PetscCall(PetscFree(t->squares_of_ranks));
  PetscCall(PetscFree(t->squares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_progress(Trainer *t)
{
  PetscFunctionBeginUser;
  if (t->buckets) PetscCallMPI(buckets_progress(t->buckets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode await_bucket(Trainer *t, PetscInt bucket)
{
  PetscFunctionBeginUser;
  if (!t->arriving[bucket]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(phase_begin(t, PHASE_GATHER));
  PetscCallMPI(buckets_gather_wait(t->buckets, (int)bucket));
  PetscCall(phase_end(t, PHASE_GATHER, 0));
  t->arriving[bucket] = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_wait(Trainer *t)
{
  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < t->bucket_count; b++) PetscCall(await_bucket(t, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hook of the forward pass. */
static PetscErrorCode need(void *context, PetscInt bucket)
{
  Trainer     *t = context;
  const double before = t->seconds[PHASE_GATHER];

  PetscFunctionBeginUser;
  PetscCall(await_bucket(t, bucket));
  t->seconds[PHASE_FORWARD] -= t->seconds[PHASE_GATHER] - before;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hook of the backward pass. */
static PetscErrorCode done(void *context, PetscInt bucket)
{
  Trainer *t = context;

  PetscFunctionBeginUser;
  PetscCallMPI(buckets_reduce_start(t->buckets, (int)bucket, t->gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode progress(void *context)
{
  PetscFunctionBeginUser;
  PetscCall(shards_progress(context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The part of a parameter that lies in `length` elements from `piece` on. */
static PetscBool overlap(const Parameter *p, size_t piece, size_t length, size_t *first, size_t *count)
{
  const size_t begin = PetscMax(p->offset, piece), end = PetscMin(p->offset + parameter_size(p), piece + length);

  *first = begin;
  *count = end > begin ? end - begin : 0;
  return *count ? PETSC_TRUE : PETSC_FALSE;
}

/* Elements that hold their sums, fresh in the caches. */
static void add_squares(void *context, int bucket, size_t piece, size_t length)
{
  Trainer             *t = context;
  const ParameterTable *table = &t->state.table;
  size_t                first, count;

  for (PetscInt k = 0; k < table->count; k++)
    if (table->item[k].bucket == bucket && overlap(&table->item[k], piece, length, &first, &count)) t->squares[k] += sum_of_squares(count, t->gradients + first);
}

PetscErrorCode shards_hooks(Trainer *t)
{
  const DenoiserHooks hooks = {.need = need, .done = done, .progress = progress, .context = t};

  PetscFunctionBeginUser;
  if (!t->buckets) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(denoiser_set_hooks(t->denoiser, &hooks));
  buckets_when_summed(t->buckets, add_squares, t);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's piece of a bucket; one rank: the bucket. */
static BucketPiece own_piece(const Trainer *t, PetscInt bucket)
{
  BucketPiece whole = {0};

  if (t->shard.piece) return t->shard.piece[bucket];
  for (PetscInt k = t->state.table.count - 1; k >= 0; k--) {
    const Parameter *p = &t->state.table.item[k];
    if (p->bucket != bucket) continue;
    whole.first = whole.place = p->offset;
    whole.count += parameter_size(p);
  }
  return whole;
}

/* Norm over all parameters that took part; every rank adds the ranks' parts in the same order. */
static PetscErrorCode global_norm(Trainer *t, PetscBool conditional, double *norm)
{
  const ParameterTable *table = &t->state.table;
  double                mine = 0, sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter *p = &table->item[k];

    if (!parameter_takes_part(p, conditional)) continue;
    mine += t->buckets ? t->squares[k] : sum_of_squares(parameter_size(p), t->gradients + p->offset);
  }
  PetscCall(PetscArrayzero(t->squares, table->count));
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_DOUBLE, t->squares_of_ranks, 1, MPI_DOUBLE, t->comm));
  for (int r = 0; r < t->ranks; r++) sum += t->squares_of_ranks[r];
  *norm = sqrt(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a step does to the pieces. */
typedef struct {
  const AdamWOptions *adamw;
  double              scale, average_decay;
  PetscBool           conditional, average;
} Update;

static void update_piece(Trainer *t, const Update *u, PetscInt bucket, const BucketPiece *piece)
{
  TrainingState *state = &t->state;

  for (PetscInt k = 0; k < state->table.count; k++) {
    const Parameter *p = &state->table.item[k];
    size_t           first, count;

    if (p->bucket != bucket || !overlap(p, piece->first, piece->count, &first, &count)) continue;
    const size_t at = piece->place + (first - piece->first);
    if (parameter_takes_part(p, u->conditional))
      adamw_range(u->adamw, u->scale, state->steps_taken[k], p->flags & PARAMETER_DECAY ? PETSC_TRUE : PETSC_FALSE, count, t->gradients + first,
                  state->parameters + first, state->first + at, state->second + at, u->average ? state->average + at : NULL, u->average_decay);
    else if (u->average)
      ema_update(count, u->average_decay, state->parameters + first, state->average + at);
  }
}

/* This rank's piece of a bucket, which lies among its parameters, goes to the others. */
static PetscErrorCode send_piece(Trainer *t, PetscInt bucket)
{
  PetscFunctionBeginUser;
  PetscCallMPI(buckets_gather_start(t->buckets, (int)bucket, NULL, t->state.parameters));
  t->arriving[bucket] = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_update(Trainer *t, const AdamWOptions *options, PetscBool conditional, PetscBool average, double average_decay)
{
  Update update = {.adamw = options, .average_decay = average_decay, .conditional = conditional, .average = average};

  PetscFunctionBeginUser;
  PetscCall(phase_begin(t, PHASE_REDUCE));
  if (t->buckets) PetscCallMPI(buckets_reduce_finish(t->buckets));
  PetscCall(global_norm(t, conditional, &t->norm));
  PetscCall(phase_end(t, PHASE_REDUCE, 0));
  PetscCall(saving_end(t)); /* the arrays change from here on; messages are none under way */
  PetscCall(phase_begin(t, PHASE_OPTIMIZER));
  update.scale = adamw_scale(options, t->norm);
  for (PetscInt k = 0; k < t->state.table.count; k++) t->state.steps_taken[k] += parameter_takes_part(&t->state.table.item[k], conditional);
  for (PetscInt b = 0; b < t->bucket_count; b++) {
    const BucketPiece piece = own_piece(t, b);

    update_piece(t, &update, b, &piece);
    if (t->buckets) PetscCall(send_piece(t, b));
    PetscCall(shards_progress(t));
  }
  PetscCall(phase_end(t, PHASE_OPTIMIZER, 14. * (double)t->shard.total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_gather_parameters(Trainer *t)
{
  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < t->bucket_count && t->buckets; b++) PetscCall(send_piece(t, b));
  PetscCall(shards_wait(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_average(Trainer *t, const Real **average)
{
  PetscFunctionBeginUser;
  *average = t->state.average;
  if (!t->buckets) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(shards_wait(t));
  for (PetscInt b = 0; b < t->bucket_count; b++) PetscCallMPI(buckets_gather_start(t->buckets, (int)b, t->state.average, t->gradients));
  for (PetscInt b = 0; b < t->bucket_count; b++) PetscCallMPI(buckets_gather_wait(t->buckets, (int)b));
  *average = t->gradients;
  PetscFunctionReturn(PETSC_SUCCESS);
}
