/* Reduction and gather of buckets by exchanges with few ranks at a time. The ranks are written in a mixed radix, P = f1 f2 ... fk, f1 running
   over neighbours. A reduction has k stages: in stage i the f_i ranks that differ in digit i alone hold sums of the same block, cut it into f_i parts, and each
   collects the sum of the part that bears its digit. Every rank sends (P-1)/P of the bucket in all, the least there is, in f_i - 1 messages a stage, for any P.
   The first digits are those inside a node, so the large parts stay there, and what leaves a node is one bucket and not one for each of its ranks.
   A gather is the same backwards. (Recursive halving and doubling, Thakur, Rabenseifner and Gropp 2005, with radices other than 2 and neighbours first.)

   In arrays of buckets_array_create the stages inside a node need no messages: a rank adds up its part straight from the others' arrays, in the order in which the
   messages would have been added, once their counters say that the bucket is complete there; a gather only waits for the counters. Nobody may overwrite what another
   still reads. Gradients: reduce_finish ends when the others' counters say that they have their sums. Parameters: written after the sum of the gradients' norm, which no
   rank reaches within its passes, and read by a pass after gather_wait. */
#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/grid.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/nodearray.h"
#include "runtime/stages.h"
#include "runtime/try_mpi.h"

/* Elements of a message at most: small enough for a sum to find in the cache what it received. A simulation, which does not sum, may take larger ones. */
#ifndef BUCKETS_MESSAGE
  #define BUCKETS_MESSAGE ((size_t)1 << 15)
#endif
/* Messages under way of an exchange in each direction: what a network can move between two calls of buckets_progress. */
#define WINDOW 32
/* Exchanges driven at once, the others wait for their turn. */
#define LANES 4
/* Elements summed from the others' arrays in one call of progress: about two milliseconds. */
#define SUMMED_AT_ONCE ((size_t)1 << 21)
#define ARRAYS 4

typedef enum { REDUCE, GATHER, KINDS } Kind;
typedef enum { IDLE, QUEUED, ACTIVE, READ, DONE } State; /* READ: this rank has its sums, others may still read its array */
/* Counters of a bucket that a rank shows to its node: how often its gradients were complete, its piece was gathered, it had summed. */
typedef enum { READY, GATHERED = GATHER, SUMMED, COUNTERS } Counter;

typedef struct {
  Kind   kind;
  int    bucket;
  State  state;
  Real  *flat;
  const NodeArray *direct; /* flat, if the node's ranks see it; else NULL */
  unsigned         turn;   /* what the counters reach this time */
} Exchange;

/* The messages of a stage in one direction: with the rank `step` digits away, elements from `done` on of the part; then the next step. */
typedef struct {
  int          step;
  size_t       done;
  unsigned     started, finished; /* message i uses request i % WINDOW */
  MPI_Request *request;           /* [WINDOW] */
} Stream;

typedef struct {
  Exchange *exchange; /* NULL: free */
  int       stage;
  int       direct;       /* in the stages without messages, in which `summed` elements are done */
  size_t    summed;
  size_t    first, count; /* the stage's block in flat */
  Stream    send, receive;
  Real     *landing; /* [WINDOW * message]: what reductions receive */
  struct {
    size_t first, count;
    int    step;
  } landed[WINDOW];
} Lane;

struct Buckets {
  MPI_Comm     comm, node;
  int          ranks, rank, count, lanes;
  int          node_ranks, node_rank;
  Stages       stages;
  size_t      *first, *place; /* [count+1] in flat and in this rank's shard */
  size_t       message;
  Exchange    *exchange; /* [KINDS * count] */
  Exchange   **queue;    /* [KINDS * count], a ring */
  size_t       queued, started;
  int          under_way;
  Lane         lane[LANES];
  MPI_Request  request[LANES * 2 * WINDOW];
  Real        *landing;
  double       since;
  ExchangeTimes times;
  NodeArray    counters; /* [COUNTERS * count] of each rank */
  struct {
    NodeArray memory;
    Kind      kind; /* what it spares messages in: REDUCE, an array a rank; GATHER, one for the node */
  } array[ARRAYS];
  int          arrays;
  size_t       allowance; /* elements that may still be summed directly in this call */
  BucketSummed summed;
  void        *context;
};

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* What a rank holds of a bucket after the first `stages` stages of a reduction. */
static void block_of(const Buckets *b, int bucket, int rank, int stages, size_t *first, size_t *count)
{
  *first = b->first[bucket];
  *count = b->first[bucket + 1] - b->first[bucket];
  stages_block(&b->stages, rank, stages, first, count);
}

static size_t largest(int count, const size_t *size)
{
  size_t most = 0;

  for (int i = 0; i < count; i++) most = size[i] > most ? size[i] : most;
  return most;
}

static size_t landing_elements(int ranks, int count, const size_t *size)
{
  return ranks == 1 ? 0 : (size_t)(count < LANES ? count : LANES) * WINDOW * smaller(BUCKETS_MESSAGE, largest(count, size));
}

size_t buckets_bytes(int ranks, int count, const size_t *size)
{
  return sizeof(Buckets) + landing_elements(ranks, count, size) * sizeof(Real) + (size_t)count * KINDS * (sizeof(Exchange) + sizeof(Exchange *)) +
         2 * ((size_t)count + 1) * sizeof(size_t);
}

static int allocate(int ranks, int count, const size_t *size, Buckets **buckets)
{
  Buckets *b = calloc(1, sizeof *b);

  if (!b) return MPI_ERR_NO_MEM;
  *buckets    = b;
  b->comm     = MPI_COMM_NULL;
  b->node     = MPI_COMM_NULL;
  b->count    = count;
  b->ranks    = ranks;
  b->first    = calloc((size_t)count + 1, sizeof *b->first);
  b->place    = calloc((size_t)count + 1, sizeof *b->place);
  b->exchange = calloc((size_t)(KINDS * count + 1), sizeof *b->exchange);
  b->queue    = calloc((size_t)(KINDS * count + 1), sizeof *b->queue);
  b->landing  = malloc(landing_elements(ranks, count, size) * sizeof(Real) + 1);
  return b->first && b->place && b->exchange && b->queue && b->landing ? MPI_SUCCESS : MPI_ERR_NO_MEM;
}

static void lay_out(Buckets *b, const size_t *size)
{
  b->message = smaller(BUCKETS_MESSAGE, largest(b->count, size));
  b->lanes   = b->count < LANES ? b->count : LANES;
  for (int i = 0; i < b->count; i++) {
    size_t first, count;
    b->first[i + 1] = b->first[i] + size[i];
    block_of(b, i, b->rank, b->stages.count, &first, &count);
    b->place[i + 1] = b->place[i] + count;
    for (int kind = 0; kind < KINDS; kind++) b->exchange[kind * b->count + i] = (Exchange){.kind = (Kind)kind, .bucket = i};
  }
  for (int i = 0; i < LANES * 2 * WINDOW; i++) b->request[i] = MPI_REQUEST_NULL;
  for (int i = 0; i < b->lanes; i++) {
    b->lane[i].send.request    = b->request + 2 * i * WINDOW;
    b->lane[i].receive.request = b->request + (2 * i + 1) * WINDOW;
    b->lane[i].landing         = b->landing + (size_t)i * WINDOW * b->message;
  }
}

int buckets_create(MPI_Comm comm, int count, const size_t *size, Buckets **buckets)
{
  Buckets *b;
  int      ranks;

  *buckets = NULL;
  TryMPI(MPI_Comm_size(comm, &ranks));
  TryMPI(allocate(ranks, count, size, buckets));
  b = *buckets;
  TryMPI(MPI_Comm_dup(comm, &b->comm));
  TryMPI(MPI_Comm_rank(b->comm, &b->rank));
  TryMPI(node_find(b->comm, b->rank, &b->node, &b->node_ranks));
  b->node_rank = b->rank % b->node_ranks;
  b->stages    = stages_create(ranks, b->node_ranks);
  lay_out(b, size);
  return MPI_SUCCESS;
}

int buckets_destroy(Buckets **buckets)
{
  Buckets *b = *buckets;

  if (!b) return MPI_SUCCESS;
  for (int i = 0; i < b->arrays; i++) nodearray_destroy(&b->array[i].memory);
  nodearray_destroy(&b->counters);
  if (b->node != MPI_COMM_NULL) TryMPI(MPI_Comm_free(&b->node));
  if (b->comm != MPI_COMM_NULL) TryMPI(MPI_Comm_free(&b->comm));
  free(b->first);
  free(b->place);
  free(b->exchange);
  free(b->queue);
  free(b->landing);
  free(b);
  *buckets = NULL;
  return MPI_SUCCESS;
}

int buckets_array_create(Buckets *b, BucketArray use, Real **values)
{
  const size_t bytes = b->first[b->count] * sizeof(Real);
  NodeArray   *array = &b->array[b->arrays].memory;

  *values = NULL;
  if (b->node_ranks == 1 || !bytes) return MPI_SUCCESS;
  if (b->arrays == ARRAYS) return MPI_ERR_NO_MEM;
  if (!b->counters.of) TryMPI(nodearray_create_everywhere(b->comm, b->node, (size_t)(COUNTERS * b->count) * sizeof(atomic_uint), &b->counters));
  if (!b->counters.of) return MPI_SUCCESS;
  TryMPI(nodearray_create_everywhere(b->comm, b->node, use == ARRAY_OF_RANK || b->node_rank == 0 ? bytes : 0, array));
  if (!array->of) return MPI_SUCCESS;
  b->array[b->arrays++].kind = use == ARRAY_OF_RANK ? REDUCE : GATHER;
  *values                    = array->of[use == ARRAY_OF_RANK ? b->node_rank : 0];
  return MPI_SUCCESS;
}

static const NodeArray *find_array(const Buckets *b, Kind kind, const Real *flat)
{
  for (int i = 0; i < b->arrays; i++)
    if (b->array[i].kind == kind && b->array[i].memory.of[kind == REDUCE ? b->node_rank : 0] == (const void *)flat) return &b->array[i].memory;
  return NULL;
}

static atomic_uint *counter_of(const Buckets *b, int node_rank, Counter counter, int bucket)
{
  return (atomic_uint *)b->counters.of[node_rank] + (int)counter * b->count + bucket;
}

static void show(Buckets *b, Counter counter, const Exchange *e) { atomic_store_explicit(counter_of(b, b->node_rank, counter, e->bucket), e->turn, memory_order_release); }

/* Have all ranks of the node come to this turn? Counters may wrap around. */
static int all_show(const Buckets *b, Counter counter, const Exchange *e)
{
  for (int r = 0; r < b->node_ranks; r++)
    if ((int)(atomic_load_explicit(counter_of(b, r, counter, e->bucket), memory_order_acquire) - e->turn) < 0) return 0;
  return 1;
}

BucketPiece buckets_piece(const Buckets *b, int bucket, int rank)
{
  BucketPiece piece = {.place = b->place[bucket]};

  block_of(b, bucket, rank, b->stages.count, &piece.first, &piece.count);
  if (rank == b->rank) return piece;
  piece.place = 0;
  for (int i = 0; i < bucket; i++) {
    size_t first, count;
    block_of(b, i, rank, b->stages.count, &first, &count);
    piece.place += count;
  }
  return piece;
}

size_t buckets_shard(const Buckets *b) { return b->place[b->count]; }

/* to = a + b; to may be a. Simulations of the communication share one payload between all ranks, where sums mean nothing. */
VECTOR_CLONES static void sum(size_t n, const Real *a, const Real *b, Real *to)
{
#ifndef BUCKETS_WITHOUT_SUMS
  #pragma GCC ivdep
  for (size_t i = 0; i < n; i++) to[i] = a[i] + b[i];
#endif
}

/* The next message of a stream: the part, the peer's digit, and the piece of the part. 0: none left in this stage. */
static int next_message(const Buckets *b, const Lane *lane, const Stream *stream, Stream *after, int *peer, size_t *first, size_t *count)
{
  const int radix = b->stages.radix[lane->stage], own = stages_digit(&b->stages, b->rank, lane->stage), sends = stream == &lane->send;

  *after = *stream;
  for (; after->step < radix; after->step++, after->done = 0) {
    const int digit = (own + (sends ? after->step : radix - after->step)) % radix;
    const int part  = sends == (lane->exchange->kind == REDUCE) ? digit : own;
    size_t    total;
    stages_part(lane->count, part, radix, first, &total);
    if (after->done == total) continue;
    *peer  = b->rank + (digit - own) * b->stages.stride[lane->stage];
    *count = smaller(b->message, total - after->done);
    *first += lane->first + after->done;
    after->done += *count;
    return 1;
  }
  return 0;
}

static int post(Buckets *b, Lane *lane, Stream *stream, int *moved)
{
  const Exchange *e   = lane->exchange;
  const int       tag = (int)e->kind * b->count + e->bucket;
  Stream          after;
  int             peer;
  size_t          first, count;

  while (stream->started - stream->finished < WINDOW && next_message(b, lane, stream, &after, &peer, &first, &count)) {
    const unsigned slot = stream->started % WINDOW;
    if (stream == &lane->send) {
      TryMPI(MPI_Isend(e->flat + first, (int)count, MPI_REAL_TYPE, peer, tag, b->comm, &stream->request[slot]));
      b->times.bytes += (double)count * sizeof(Real);
    } else {
      Real *to = e->kind == REDUCE ? lane->landing + slot * b->message : e->flat + first;
      TryMPI(MPI_Irecv(to, (int)count, MPI_REAL_TYPE, peer, tag, b->comm, &stream->request[slot]));
      lane->landed[slot].first = first;
      lane->landed[slot].count = count;
      lane->landed[slot].step  = after.step;
    }
    *stream = after;
    stream->started++;
    *moved = 1;
  }
  return MPI_SUCCESS;
}

/* Sums over all ranks that are there from now on. */
static void tell(const Buckets *b, const Exchange *e, size_t first, size_t count)
{
  if (b->summed && count) b->summed(b->context, e->bucket, first, count);
}

/* Messages are taken in the order in which they were posted, so that sums have one order. */
static int take(Buckets *b, Lane *lane, Stream *stream, int *moved)
{
  const Exchange *e = lane->exchange;

  while (stream->started != stream->finished) {
    const unsigned slot = stream->finished % WINDOW;
    int            done;
    TryMPI(MPI_Test(&stream->request[slot], &done, MPI_STATUS_IGNORE));
    if (!done) return MPI_SUCCESS;
    if (stream == &lane->receive && e->kind == REDUCE) {
      const size_t first = lane->landed[slot].first, count = lane->landed[slot].count;
      sum(count, e->flat + first, lane->landing + slot * b->message, e->flat + first);
      if (lane->stage == b->stages.count - 1 && lane->landed[slot].step == b->stages.radix[lane->stage] - 1) tell(b, e, first, count);
    }
    stream->finished++;
    *moved = 1;
  }
  return MPI_SUCCESS;
}

static void enter_stage(Buckets *b, Lane *lane, int stage)
{
  lane->stage = stage;
  block_of(b, lane->exchange->bucket, b->rank, stage, &lane->first, &lane->count);
  lane->send    = (Stream){.step = 1, .request = lane->send.request};
  lane->receive = (Stream){.step = 1, .request = lane->receive.request};
}

/* Sums of the ranks of a node that the first `stages` stages bring together at a rank: in `to`, or where they lie already. */
static const Real *node_sum(const Buckets *b, const NodeArray *array, int stages, int rank, size_t first, size_t n, Real *to, Real *scratch)
{
  if (!stages) return (const Real *)array->of[rank] + first;

  const int   stage = stages - 1, radix = b->stages.radix[stage], own = stages_digit(&b->stages, rank, stage);
  const Real *sums = node_sum(b, array, stage, rank, first, n, to, scratch);
  for (int step = 1; step < radix; step++) {
    const int peer = rank + ((own + radix - step) % radix - own) * b->stages.stride[stage];
    sum(n, sums, node_sum(b, array, stage, peer, first, n, scratch, scratch + n), to);
    sums = to;
  }
  return sums;
}

/* The stages inside a node without messages, as far as the others and the allowance let; 1: they are done. */
static int drive_direct(Buckets *b, Lane *lane, int *moved)
{
  const Exchange *e = lane->exchange;
  size_t          first, count;

  if (e->kind == GATHER) return all_show(b, GATHERED, e);
  if (!all_show(b, READY, e)) return 0;
  block_of(b, e->bucket, b->rank, b->stages.node_count, &first, &count);
  while (lane->summed < count && b->allowance) {
    const size_t n = smaller(b->message, count - lane->summed), at = first + lane->summed;
    node_sum(b, e->direct, b->stages.node_count, b->node_rank, at, n, e->flat + at, lane->landing);
    if (b->stages.node_count == b->stages.count) tell(b, e, at, n);
    b->times.bytes += (double)n * (double)(b->node_ranks - 1) * sizeof(Real);
    b->allowance -= smaller(n, b->allowance);
    lane->summed += n;
    *moved = 1;
  }
  if (lane->summed < count) return 0;
  show(b, SUMMED, e);
  return 1;
}

static void enter_direct(Buckets *b, Lane *lane)
{
  lane->direct = 1;
  lane->summed = 0;
  if (lane->exchange->kind == GATHER) show(b, GATHERED, lane->exchange);
}

/* The first stage with messages; none: the last of the direct ones. */
static void enter_exchange(Buckets *b, Lane *lane)
{
  const Exchange *e = lane->exchange;

  lane->direct = 0;
  if (e->direct && (e->kind == REDUCE || b->stages.node_count == b->stages.count)) enter_direct(b, lane);
  else enter_stage(b, lane, e->kind == REDUCE ? 0 : b->stages.count - 1);
}

static void complete(Buckets *b, Exchange *e)
{
  e->state = DONE;
  if (--b->under_way == 0) b->times.under_way += MPI_Wtime() - b->since;
}

static void leave_lane(Buckets *b, Lane *lane)
{
  if (lane->exchange->kind == REDUCE && lane->exchange->direct) lane->exchange->state = READ;
  else complete(b, lane->exchange);
  lane->exchange = NULL;
}

static int drive_lane(Buckets *b, Lane *lane, int *moved)
{
  const int reduces = lane->exchange->kind == REDUCE, ended = reduces ? b->stages.count : lane->exchange->direct ? b->stages.node_count - 1 : -1;
  Stream    after;
  int       peer, again = 1;
  size_t    first, count;

  while (again) {
    again = 0;
    if (lane->direct) {
      if (!drive_direct(b, lane, moved)) return MPI_SUCCESS;
      *moved       = 1;
      lane->direct = 0;
      if (!reduces || b->stages.node_count == b->stages.count) return leave_lane(b, lane), MPI_SUCCESS;
      enter_stage(b, lane, b->stages.node_count);
    }
    TryMPI(post(b, lane, &lane->receive, &again));
    TryMPI(post(b, lane, &lane->send, &again));
    TryMPI(take(b, lane, &lane->receive, &again));
    TryMPI(take(b, lane, &lane->send, &again));
    *moved |= again;
    if (lane->send.started != lane->send.finished || lane->receive.started != lane->receive.finished) continue;
    if (next_message(b, lane, &lane->send, &after, &peer, &first, &count) || next_message(b, lane, &lane->receive, &after, &peer, &first, &count)) continue;
    const int stage = lane->stage + (reduces ? 1 : -1);
    *moved          = 1;
    if (stage != ended) enter_stage(b, lane, stage);
    else if (!reduces && lane->exchange->direct) enter_direct(b, lane);
    else return leave_lane(b, lane), MPI_SUCCESS;
    again = 1;
  }
  return MPI_SUCCESS;
}

/* Drive everything as far as it goes without waiting; of direct sums so many elements. */
static int drive(Buckets *b, size_t allowance)
{
  int moved = 1;

  b->allowance = allowance;
  while (moved) {
    moved = 0;
    for (int i = 0; i < b->lanes; i++) {
      Lane *lane = &b->lane[i];
      if (!lane->exchange) {
        if (b->started == b->queued) continue;
        lane->exchange        = b->queue[b->started++ % (size_t)(KINDS * b->count)];
        lane->exchange->state = ACTIVE;
        enter_exchange(b, lane);
      }
      TryMPI(drive_lane(b, lane, &moved));
    }
  }
  for (int i = 0; i < b->count; i++) {
    Exchange *e = &b->exchange[(int)REDUCE * b->count + i];
    if (e->state == READ && all_show(b, SUMMED, e)) complete(b, e);
  }
  return MPI_SUCCESS;
}

static int start(Buckets *b, Kind kind, int bucket, Real *flat)
{
  const double begun = MPI_Wtime();
  Exchange    *e     = &b->exchange[(int)kind * b->count + bucket];

  if (e->state == QUEUED || e->state == ACTIVE || e->state == READ) return MPI_ERR_REQUEST;
  if (b->under_way++ == 0) b->since = begun;
  e->flat   = flat;
  e->direct = find_array(b, kind, flat);
  e->turn += e->direct != NULL;
  if (b->ranks == 1) {
    if (kind == REDUCE) tell(b, e, b->first[bucket], b->first[bucket + 1] - b->first[bucket]);
    complete(b, e);
  } else {
    if (e->direct && kind == REDUCE) show(b, READY, e);
    else if (e->direct && b->stages.node_count == b->stages.count) show(b, GATHERED, e);
    e->state                                             = QUEUED;
    b->queue[b->queued++ % (size_t)(KINDS * b->count)] = e;
    TryMPI(drive(b, SUMMED_AT_ONCE));
  }
  b->times.driving += MPI_Wtime() - begun;
  return MPI_SUCCESS;
}

/* Wait for a message or, where other ranks' counters are looked at, let these ranks have the core. */
static int pause_for(Buckets *b, const Exchange *e)
{
  int one, looks = e->state == READ;

  for (int i = 0; i < b->lanes; i++) looks |= b->lane[i].exchange && b->lane[i].direct;
  if (looks) return sched_yield(), MPI_SUCCESS;
  return MPI_Waitany(b->lanes * 2 * WINDOW, b->request, &one, MPI_STATUS_IGNORE);
}

/* Wait until the exchanges of a kind from bucket `first` to `last` - 1 that were started are done. */
static int await(Buckets *b, Kind kind, int first, int last)
{
  const double begun = MPI_Wtime();

  for (int i = first; i < last; i++) {
    Exchange *e = &b->exchange[(int)kind * b->count + i];
    while (e->state != IDLE && e->state != DONE) {
      TryMPI(drive(b, SIZE_MAX));
      if (e->state != DONE) TryMPI(pause_for(b, e));
    }
    e->state = IDLE;
  }
  b->times.waited += MPI_Wtime() - begun;
  return MPI_SUCCESS;
}

int buckets_reduce_start(Buckets *b, int bucket, Real *flat) { return start(b, REDUCE, bucket, flat); }
int buckets_reduce_finish(Buckets *b) { return await(b, REDUCE, 0, b->count); }

int buckets_gather_start(Buckets *b, int bucket, const Real *shard, Real *flat)
{
  const BucketPiece piece = buckets_piece(b, bucket, b->rank);
  const double      begun = MPI_Wtime();

  if (shard && shard + piece.place != flat + piece.first) memcpy(flat + piece.first, shard + piece.place, piece.count * sizeof(Real));
  b->times.driving += MPI_Wtime() - begun;
  return start(b, GATHER, bucket, flat);
}

int buckets_gather_wait(Buckets *b, int bucket) { return await(b, GATHER, bucket, bucket + 1); }

void buckets_when_summed(Buckets *b, BucketSummed summed, void *context)
{
  b->summed  = summed;
  b->context = context;
}

int buckets_progress(Buckets *b)
{
  const double begun = MPI_Wtime();

  if (!b->under_way) return MPI_SUCCESS;
  TryMPI(drive(b, SUMMED_AT_ONCE));
  b->times.driving += MPI_Wtime() - begun;
  return MPI_SUCCESS;
}

ExchangeTimes buckets_times(Buckets *b)
{
  const double  now   = MPI_Wtime();
  ExchangeTimes times = b->times;

  if (b->under_way) times.under_way += now - b->since;
  b->since = now;
  b->times = (ExchangeTimes){0};
  return times;
}
