/* smpi_step - replays the communication of training steps under SimGrid: the calls that training makes of src/runtime/{grid,buckets,cellexchange}.c, which are compiled into
   this program as they are, with computation replaced by the delays that step_delays measured. Prints one line of CSV. Options: name=value (see Setting).
   Built and started by validation/scaling/simulate. */
#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/runtime/cellexchange.h>
#include <perturbdiff/runtime/grid.h>
#include <smpi/smpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sizes.h"

typedef struct {
  const char *delays;       /* CSV of step_delays */
  int         parts;        /* C */
  int         sets;         /* of a group of C ranks in a step */
  int         steps;        /* from the optimizer of the step before to this one's */
  int         threads;      /* of a rank: computation is so many times faster, times thread_efficiency */
  double      thread_efficiency;
  double      copy_rate;    /* bytes a second at which a core moves what it sends, receives and sums; 0: moving is free */
  double      jitter;       /* each rank is slower by up to this fraction, another in each step */
  double      noise;        /* the same for each pass of each bucket by itself */
  int         ranks_a_node; /* said in the output only */
} Setting;

typedef struct {
  Setting       set;
  int           buckets;
  size_t        size[MOST_BUCKETS];
  double        forward[MOST_BUCKETS], backward[MOST_BUCKETS], prepare, objective, optimizer, calls; /* per set; per parameter */
  int           set_size, hidden, genes;
  ProcessGrid   grid;
  Buckets      *exchange;
  CellExchange *cells;
  Real         *flat, *shard, *rows;
  double        computed, bytes, cell_bytes, waited, under_way;
  unsigned      passes; /* so far */
} Replay;

#define Must(call) \
  do { \
    if ((call) != MPI_SUCCESS) { \
      fprintf(stderr, "%s failed\n", #call); \
      MPI_Abort(MPI_COMM_WORLD, 1); \
    } \
  } while (0)

static void read_delays(Replay *r)
{
  char   line[256], name[64];
  double value;
  FILE  *file = fopen(r->set.delays, "r");

  r->buckets = sizes_read(r->set.delays, r->size);
  while (file && fgets(line, sizeof line, file)) {
    int    bucket;
    double parameters, forward, backward;
    if (sscanf(line, "%d,%lf,%lf,%lf", &bucket, &parameters, &forward, &backward) == 4) {
      r->forward[bucket]  = forward;
      r->backward[bucket] = backward;
    } else if (sscanf(line, "%63[^,],%lf", name, &value) == 2) {
      if (!strcmp(name, "prepare_seconds_a_set")) r->prepare = value;
      if (!strcmp(name, "objective_seconds_a_set")) r->objective = value;
      if (!strcmp(name, "optimizer_seconds_a_parameter")) r->optimizer = value;
      if (!strcmp(name, "progress_calls_a_block")) r->calls = value;
      if (!strcmp(name, "set_size")) r->set_size = (int)value;
      if (!strcmp(name, "hidden")) r->hidden = (int)value;
      if (!strcmp(name, "genes")) r->genes = (int)value;
    }
  }
  if (!file || r->buckets < 3 || !r->set_size) {
    fprintf(stderr, "%s: not a table of step_delays\n", r->set.delays);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  fclose(file);
}

static void pass_time(double seconds)
{
  if (seconds > 5e-7) usleep((useconds_t)(seconds * 1e6 + 0.5));
}

/* In place of MPI_Waitany in src/runtime (simulate). SimGrid 3.32 keeps all messages that were found done by a test in a list of their rank, which every wait searches. Late by
   5 us and a twentieth of the wait at most. */
int wait_by_asking(int count, MPI_Request *requests, int *index, MPI_Status *status)
{
  double waited = 0;

  for (;;) {
    const double pause = 5e-6 + 0.05 * waited;
    int          done, code = MPI_Testany(count, requests, index, &done, status);
    if (done || code != MPI_SUCCESS) return code;
    pass_time(pause);
    waited += pause;
  }
}

/* The core moves what was sent since the last call; as much is received. */
static void charge_copies(Replay *r)
{
  const ExchangeTimes b = buckets_times(r->exchange), c = cellexchange_times(r->cells);

  r->bytes += b.bytes;
  r->cell_bytes += c.bytes;
  r->waited += b.waited + c.waited;
  r->under_way += b.under_way;
  if (r->set.copy_rate > 0) pass_time((b.bytes + c.bytes) / r->set.copy_rate);
}

static void progress(Replay *r)
{
  Must(buckets_progress(r->exchange));
  Must(cellexchange_progress(r->cells));
  charge_copies(r);
}

/* 1 to 1 + most, the same on every machine: a hash of rank and occasion. */
static double slowness(const Replay *r, double most, unsigned occasion)
{
  unsigned h = (unsigned)r->grid.rank * 2654435761u ^ (occasion * 40503u + 977u);

  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  h *= 3266489917u;
  h ^= h >> 16;
  return 1 + most * (double)(h % 1024) / 1023;
}

/* Computation of so many seconds of one core for a whole set, for all sets of the step, with calls of progress between. */
static void compute(Replay *r, double seconds_a_set, double slow, int calls)
{
  const double speed   = r->set.threads > 1 ? r->set.threads * r->set.thread_efficiency : 1;
  const double seconds = seconds_a_set * r->set.sets / r->set.parts / speed * slow * slowness(r, r->set.noise, r->passes++ + 7919);

  r->computed += seconds;
  for (int i = 0; i < calls; i++) {
    pass_time(seconds / calls);
    progress(r);
  }
}

static void forward_pass(Replay *r, double slow)
{
  for (int b = 0; b < r->buckets; b++) {
    const int block = b > 0 && b < r->buckets - 1, width = 2 * r->hidden;
    Must(buckets_gather_wait(r->exchange, b));
    charge_copies(r);
    if (block && r->set.parts > 1) {
      /* As attention does: values, keys, then the multilayer perceptrons run beside them. */
      compute(r, 0.3 * r->forward[b], slow, 1);
      for (int k = 0; k < 2; k++) Must(cellexchange_gather_start(r->cells, r->set.sets, width, r->rows, width, r->rows));
      compute(r, 0.4 * r->forward[b], slow, (int)r->calls - 2);
      Must(cellexchange_finish(r->cells));
      compute(r, 0.3 * r->forward[b], slow, 1);
    } else compute(r, r->forward[b], slow, block ? (int)r->calls : 1);
  }
}

static int use_block(void *context, int first_cell, int cells, const Real *block)
{
  Replay *r = context;

  (void)first_cell;
  (void)block;
  compute(r, r->objective / r->set.sets * cells / r->set_size, 1, 1);
  return 0;
}

static void objective(Replay *r, double slow)
{
  double sums[2] = {0};

  if (r->set.parts == 1) {
    compute(r, r->objective, slow, 1);
    return;
  }
  for (int i = 0; i < r->set.sets; i++) Must(cellexchange_ring(r->cells, r->genes, r->rows, use_block, r));
  Must(cellexchange_sum(r->cells, 2, sums));
}

static void backward_pass(Replay *r, double slow)
{
  for (int b = r->buckets - 1; b >= 0; b--) {
    const int block = b > 0 && b < r->buckets - 1, width = 2 * r->hidden;
    if (block && r->set.parts > 1) {
      compute(r, 0.6 * r->backward[b], slow, (int)r->calls - 2);
      for (int k = 0; k < 2; k++) Must(cellexchange_reduce_start(r->cells, r->set.sets, width, r->rows, r->rows, width));
      compute(r, 0.2 * r->backward[b], slow, 1);
      Must(cellexchange_finish(r->cells));
      compute(r, 0.2 * r->backward[b], slow, 1);
    } else compute(r, r->backward[b], slow, block ? (int)r->calls : 1);
    Must(buckets_reduce_start(r->exchange, b, r->flat));
    charge_copies(r);
  }
}

/* The norm is known when all buckets are; then each bucket's shard is updated and travels while the next is, and the next cells are made ready. */
static void optimize(Replay *r, double slow)
{
  const double share = 1. / r->grid.ranks, speed = r->set.threads > 1 ? r->set.threads * r->set.thread_efficiency : 1;
  double       norm = 0;

  Must(buckets_reduce_finish(r->exchange));
  charge_copies(r);
  Must(MPI_Allreduce(MPI_IN_PLACE, &norm, 1, MPI_DOUBLE, MPI_SUM, r->grid.all));
  for (int b = 0; b < r->buckets; b++) {
    const double seconds = r->optimizer * (double)r->size[b] * share / speed * slow;
    r->computed += seconds;
    pass_time(seconds);
    Must(buckets_gather_start(r->exchange, b, r->shard, r->flat));
    charge_copies(r);
  }
}

static void one_step(Replay *r, int step)
{
  const double slow = slowness(r, r->set.jitter, (unsigned)step);

  compute(r, r->prepare, slow, 1);
  forward_pass(r, 0.5 * slow); /* self-conditioning in half of the steps: the mean step */
  forward_pass(r, slow);
  objective(r, slow);
  backward_pass(r, slow);
  optimize(r, slow);
}

static void read_settings(int argc, char **argv, Setting *s)
{
  *s = (Setting){.parts = 1, .sets = 1, .steps = 1, .threads = 1, .thread_efficiency = 1};
  for (int i = 1; i < argc; i++) {
    const char *value = strchr(argv[i], '=');
    const size_t n    = value ? (size_t)(value - argv[i]) : 0;
    if (!value) continue;
    value++;
#define NUMBER(field, convert) if (n == strlen(#field) && !strncmp(argv[i], #field, n)) s->field = convert(value);
    NUMBER(parts, atoi) NUMBER(sets, atoi) NUMBER(steps, atoi) NUMBER(threads, atoi) NUMBER(ranks_a_node, atoi)
    NUMBER(thread_efficiency, atof) NUMBER(copy_rate, atof) NUMBER(jitter, atof) NUMBER(noise, atof)
    if (n == 6 && !strncmp(argv[i], "delays", n)) s->delays = value;
  }
}

/* One block of memory for all ranks: payloads mean nothing. */
static Real *shared(size_t values)
{
  Real *memory = SMPI_SHARED_MALLOC(values * sizeof(Real));

  if (!memory) MPI_Abort(MPI_COMM_WORLD, 1);
  return memory;
}

int main(int argc, char **argv)
{
  Replay r = {{0}};
  size_t total = 0;
  double begun = 0, sums[4], most[4];

  MPI_Init(&argc, &argv);
  read_settings(argc, argv, &r.set);
  read_delays(&r);
  Must(grid_create(MPI_COMM_WORLD, r.set.parts, &r.grid));
  Must(buckets_create(r.grid.all, r.buckets, r.size, &r.exchange));
  Must(cellexchange_create(r.grid.cells, r.set_size, r.set.sets, 2 * r.hidden > r.genes ? 2 * r.hidden : r.genes, &r.cells));
  for (int b = 0; b < r.buckets; b++) total += r.size[b];
  r.flat  = shared(total);
  r.shard = shared(total);
  r.rows  = shared((size_t)r.set.sets * (size_t)r.set_size * (size_t)(2 * r.hidden > r.genes ? 2 * r.hidden : r.genes));
  /* A step begins with the parameters of the one before under way. */
  optimize(&r, 1);
  r.computed = r.bytes = r.cell_bytes = r.waited = r.under_way = 0;
  begun      = MPI_Wtime();
  for (int step = 1; step <= r.set.steps; step++) one_step(&r, step);
  const double own[4] = {MPI_Wtime() - begun, r.computed, r.waited, r.bytes + r.cell_bytes};
  for (int b = 0; b < r.buckets; b++) Must(buckets_gather_wait(r.exchange, b)); /* what the next step would await */
  MPI_Reduce(own, most, 4, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  MPI_Reduce(own, sums, 4, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  const double n = r.set.steps, p = r.grid.ranks;
  if (!r.grid.rank)
    printf("%d,%d,%d,%d,%d,%d,%g,%g,%g,%.6f,%.6f,%.6f,%.0f,%.4f\n", r.grid.ranks, r.set.ranks_a_node, r.set.threads, r.grid.groups, r.grid.parts, r.set.sets, r.set.copy_rate, r.set.jitter, r.set.noise,
           most[0] / n, sums[1] / p / n, sums[2] / p / n, sums[3] / p / n, sums[1] / p / most[0]);
  SMPI_SHARED_FREE(r.flat);
  SMPI_SHARED_FREE(r.shard);
  SMPI_SHARED_FREE(r.rows);
  Must(cellexchange_destroy(&r.cells));
  Must(buckets_destroy(&r.exchange));
  Must(grid_destroy(&r.grid));
  return MPI_Finalize();
}
