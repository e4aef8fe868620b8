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
  PetscCall(PetscMalloc1(t->ranks, &t->squares));
  t->shard = (Shard){.total = table.total, .whole = table.total};
  if (t->ranks > 1) {
    PetscCallMPI(buckets_create(t->grid.all, (int)t->bucket_count, size, &t->buckets));
    t->shard.count = t->bucket_count;
    t->shard.total = buckets_shard(t->buckets);
    PetscCall(PetscMalloc1(t->bucket_count, &t->shard.piece));
    for (PetscInt b = 0; b < t->bucket_count; b++) t->shard.piece[b] = buckets_piece(t->buckets, (int)b, t->rank);
    PetscCall(values_create(t->shard.total, &t->sums));
    PetscCallMPI(buckets_array_create(t->buckets, ARRAY_OF_RANK, &t->gradients));
    PetscCallMPI(buckets_array_create(t->buckets, ARRAY_OF_NODE, &t->shard.parameters));
  }
  t->own_gradients = t->gradients ? PETSC_FALSE : PETSC_TRUE;
  if (t->own_gradients) PetscCall(values_create(table.total, &t->gradients));
  if (!t->buckets) t->sums = t->gradients;
  PetscCall(PetscFree(size));
  PetscCall(parametertable_destroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_destroy(Trainer *t)
{
  PetscFunctionBeginUser;
  if (t->sums != t->gradients) PetscCall(PetscFree(t->sums));
  if (t->own_gradients) PetscCall(PetscFree(t->gradients));
  PetscCallMPI(buckets_destroy(&t->buckets));
  PetscCall(PetscFree(t->shard.piece));
  PetscCall(PetscFree(t->arriving));
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
  PetscCallMPI(buckets_reduce_start(t->buckets, (int)bucket, t->gradients, t->sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode progress(void *context)
{
  PetscFunctionBeginUser;
  PetscCall(shards_progress(context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode shards_hooks(Trainer *t)
{
  const DenoiserHooks hooks = {.need = need, .done = done, .progress = progress, .context = t};

  PetscFunctionBeginUser;
  if (t->buckets) PetscCall(denoiser_set_hooks(t->denoiser, &hooks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The part of a parameter that lies in a piece. */
static PetscBool overlap(const Parameter *p, const BucketPiece *piece, size_t *first, size_t *count)
{
  const size_t begin = PetscMax(p->offset, piece->first), end = PetscMin(p->offset + parameter_size(p), piece->first + piece->count);

  *first = begin;
  *count = end > begin ? end - begin : 0;
  return *count ? PETSC_TRUE : PETSC_FALSE;
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
  double mine = 0, sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < t->bucket_count; b++) {
    const BucketPiece piece = own_piece(t, b);

    for (PetscInt k = 0; k < t->state.table.count; k++) {
      const Parameter *p = &t->state.table.item[k];
      size_t           first, count;

      if (p->bucket == b && parameter_takes_part(p, conditional) && overlap(p, &piece, &first, &count))
        mine += sum_of_squares(count, t->sums + piece.place + (first - piece.first));
    }
  }
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_DOUBLE, t->squares, 1, MPI_DOUBLE, t->comm));
  for (int r = 0; r < t->ranks; r++) sum += t->squares[r];
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

    if (p->bucket != bucket || !overlap(p, piece, &first, &count)) continue;
    const size_t at = piece->place + (first - piece->first);
    if (parameter_takes_part(p, u->conditional))
      adamw_range(u->adamw, u->scale, state->steps_taken[k], p->flags & PARAMETER_DECAY ? PETSC_TRUE : PETSC_FALSE, count, t->sums + at,
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
