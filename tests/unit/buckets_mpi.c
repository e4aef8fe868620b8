/* Buckets: sums against closed forms, every element owned once, gathers that bring back what the owners have; any sizes, any order of waits. */
#include "check.h"
#include <perturbdiff/runtime/buckets.h>
#include <sys/resource.h>
#include <unistd.h>

/* Empty, smaller than the ranks, uneven, of several messages, of more messages than are under way at once. */
static const size_t sizes[] = {3, 0, 1000003, 1, 64, 3145729, 5, 70001, 9, 2};
enum { COUNT = sizeof sizes / sizeof *sizes };

static int    ranks, own_rank;
static size_t total;
static Real  *flat, *shard;
static Buckets *buckets;

/* Whole numbers, so that any order of summation gives the same. */
static double whole(int r, size_t i, int step) { return (r + 1) * ((double)((i * 7 + (size_t)step * 13) % 61) - 30) + r % 3; }

static double sum_of_whole(size_t i, int step)
{
  double s = 0;

  for (int r = 0; r < ranks; r++) s += whole(r, i, step);
  return s;
}

static int begin(void **state)
{
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  MPI_Comm_rank(PETSC_COMM_WORLD, &own_rank);
  for (int i = 0; i < COUNT; i++) total += sizes[i];
  if (buckets_create(PETSC_COMM_WORLD, COUNT, sizes, &buckets)) return 1;
  flat  = malloc(total * sizeof *flat);
  shard = malloc((buckets_shard(buckets) + 1) * sizeof *shard);
  return !flat || !shard;
}

static int end(void **state)
{
  free(flat);
  free(shard);
  return buckets_destroy(&buckets) || buckets;
}

static void pieces_cover_once(void **state)
{
  unsigned char *owned = calloc(total, 1);
  size_t         first = 0;

  for (int r = 0; r < ranks; r++) {
    size_t place = 0;
    for (int i = 0; i < COUNT; i++) {
      const BucketPiece piece = buckets_piece(buckets, i, r);
      assert_true(piece.place == place);
      place += piece.count;
      for (size_t k = 0; k < piece.count; k++) owned[piece.first + k]++;
    }
    if (r == own_rank) assert_true(place == buckets_shard(buckets));
  }
  for (size_t i = 0; i < total; i++) assert_true(owned[i] == 1);
  for (int i = 0; i < COUNT; first += sizes[i++]) {
    for (int r = 0; r < ranks; r++) {
      const BucketPiece piece = buckets_piece(buckets, i, r);
      if (!piece.count) continue;
      assert_true(piece.first >= first && piece.first + piece.count <= first + sizes[i]);
      assert_true(piece.count <= sizes[i] / (size_t)ranks + 4); /* balanced */
    }
  }
  free(owned);
  assert_true(buckets_bytes(1, COUNT, sizes) < buckets_bytes(2, COUNT, sizes));
  assert_true(buckets_bytes(4096, COUNT, sizes) < (size_t)32 << 20);
}

/* This rank's sums, out of the flat array. */
static void keep_sums(const Buckets *of, const Real *from, Real *to)
{
  for (int i = 0; i < COUNT; i++) {
    const BucketPiece piece = buckets_piece(of, i, own_rank);
    memcpy(to + piece.place, from + piece.first, piece.count * sizeof *to);
  }
}

static void check_shard(int step)
{
  for (int i = 0; i < COUNT; i++) {
    const BucketPiece piece = buckets_piece(buckets, i, own_rank);
    for (size_t k = 0; k < piece.count; k++) assert_true((double)shard[piece.place + k] == sum_of_whole(piece.first + k, step));
  }
}

/* Steps as training does them: buckets from the last to the first, started as they are complete, gathered in the order of use. */
static void steps_of_training(void **state)
{
  for (int step = 0; step < 3; step++) {
    size_t first = total;
    for (int i = COUNT - 1; i >= 0; i--) {
      first -= sizes[i];
      for (size_t k = first; k < first + sizes[i]; k++) flat[k] = (Real)whole(own_rank, k, step);
      check_call(buckets_reduce_start(buckets, i, flat));
      check_call(buckets_progress(buckets));
    }
    check_call(buckets_reduce_finish(buckets));
    keep_sums(buckets, flat, shard);
    check_shard(step);
    for (size_t k = 0; k < total; k++) flat[k] = -1;
    for (int i = 0; i < COUNT; i++) {
      const BucketPiece piece = buckets_piece(buckets, i, own_rank);
      Real             *values = i % 2 ? flat + piece.first : shard + piece.place; /* in place already, or in the shard */
      for (size_t k = 0; k < piece.count; k++) values[k] = 2 * shard[piece.place + k];
      check_call(buckets_gather_start(buckets, i, i % 2 ? NULL : shard, flat));
    }
    for (int i = 0, n = 0; i < COUNT; i++) {
      check_call(buckets_gather_wait(buckets, i));
      for (size_t k = 0; k < sizes[i]; k++, n++) assert_true((double)flat[n] == 2 * sum_of_whole((size_t)n, step));
    }
  }
}

/* Ranks that wait in different orders, some of them late; a second reduction of one bucket while others are under way. */
static void waits_out_of_order(void **state)
{
  size_t first[COUNT + 1] = {0};

  for (int i = 0; i < COUNT; i++) first[i + 1] = first[i] + sizes[i];
  for (size_t k = 0; k < total; k++) flat[k] = (Real)whole(own_rank, k, 7);
  for (int i = 0; i < COUNT; i++) check_call(buckets_reduce_start(buckets, i, flat));
  for (int i = 0; i < 20 * own_rank; i++) check_call(buckets_progress(buckets));
  check_call(buckets_reduce_finish(buckets));
  keep_sums(buckets, flat, shard);
  check_shard(7);
  check_call(buckets_reduce_finish(buckets)); /* nothing under way */
  for (int i = 0; i < COUNT; i++) check_call(buckets_gather_start(buckets, i, shard, flat));
  for (int j = 0; j < COUNT; j++) {
    const int i = (j * 3 + own_rank * 7) % COUNT; /* 3 and the count have no common factor */
    check_call(buckets_gather_wait(buckets, i));
    for (size_t k = first[i]; k < first[i + 1]; k++) assert_true((double)flat[k] == sum_of_whole(k, 7));
  }
}

/* What a caller is told of sums: of each bucket how many elements, in order, and something that depends on their values and how they were cut. */
typedef struct {
  const Buckets *of;
  const Real    *flat;
  size_t         count[COUNT];
  double         mixed[COUNT];
} Told;

static void listen(void *context, int bucket, size_t first, size_t count)
{
  Told  *told = context;
  double part = 0;

  assert_true(count > 0 && first == buckets_piece(told->of, bucket, own_rank).first + told->count[bucket]);
  for (size_t k = first; k < first + count; k++) part += 1. / (1 + (double)told->flat[k]);
  told->mixed[bucket] += part;
  told->count[bucket] += count;
}

static void check_told(const Told *told, const Told *before)
{
  for (int i = 0; i < COUNT; i++) {
    const BucketPiece piece = buckets_piece(told->of, i, own_rank);
    double            sum = 0;

    assert_true(told->count[i] == piece.count && (!before || told->mixed[i] == before->mixed[i]));
    for (size_t k = 0; k < piece.count; k++) sum += 1. / (1 + (double)told->flat[piece.first + k]);
    check_close(told->mixed[i], sum, 1e-9, sum);
  }
}

/* Fractions: the same bits every time, and the right sum. */
static void same_bits(void **state)
{
  Real *before = malloc((buckets_shard(buckets) + 1) * sizeof *before);
  Told  told[3] = {{.of = buckets, .flat = flat}, {.of = buckets, .flat = flat}, {.of = buckets, .flat = flat}};

  for (int turn = 0; turn < 3; turn++) {
    buckets_when_summed(buckets, listen, &told[turn]);
    for (size_t k = 0; k < total; k++) flat[k] = (Real)(1. / (1 + own_rank + (double)(k % 1013)));
    for (int i = 0; i < COUNT; i++) {
      check_call(buckets_reduce_start(buckets, i, flat));
      if (turn == 1) check_call(buckets_reduce_finish(buckets)); /* one at a time */
      if (turn == 2 && own_rank == ranks - 1) check_call(buckets_progress(buckets));
    }
    check_call(buckets_reduce_finish(buckets));
    check_told(&told[turn], turn ? told : NULL);
    keep_sums(buckets, flat, shard);
    if (turn) assert_memory_equal(before, shard, buckets_shard(buckets) * sizeof *shard);
    memcpy(before, shard, buckets_shard(buckets) * sizeof *shard);
  }
  buckets_when_summed(buckets, NULL, NULL);
  for (int i = 0; i < COUNT; i++) {
    const BucketPiece piece = buckets_piece(buckets, i, own_rank);
    for (size_t k = 0; k < piece.count; k++) {
      double s = 0;
      for (int r = 0; r < ranks; r++) s += 1. / (1 + r + (double)((piece.first + k) % 1013));
      if (!(fabs((double)shard[piece.place + k] - s) <= ranks * 1.2e-7 * s)) check_close(shard[piece.place + k], s, ranks * 1.2e-7, s);
    }
  }
  free(before);
}

/* Small enough for the shared memory of any container. */
static const size_t few[COUNT] = {3, 0, 100003, 1, 64, 314573, 5, 7001, 9, 2};

static void late(unsigned *seed)
{
  if (rand_r(seed) % 4 == 0) usleep((useconds_t)(rand_r(seed) % 2000));
}

/* Ranks of a pretended node, neighbours; 0: those of the real one. */
static int pretended;

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part)
{
  int rank;

  if (!pretended) return PMPI_Comm_split_type(comm, type, key, info, part);
  MPI_Comm_rank(comm, &rank);
  return PMPI_Comm_split(comm, rank / pretended, key, part);
}

/* Memory that a node shares: the bits that messages give, and steps in which some ranks are late, gradients are overwritten as soon as they may be and parameters
   by their owner while the others go on. */
static void check_arrays(void)
{
  int      sharing;
  unsigned seed = 1 + (unsigned)own_rank;
  size_t   all = 0, first[COUNT + 1] = {0};
  Real    *gradients, *parameters, *spare[2] = {NULL, NULL};
  Buckets *own;

  for (int i = 0; i < COUNT; i++) first[i + 1] = all += few[i];
  check_call(buckets_create(PETSC_COMM_WORLD, COUNT, few, &own));
  check_call(buckets_array_create(own, ARRAY_OF_RANK, &gradients));
  check_call(buckets_array_create(own, ARRAY_OF_NODE, &parameters));
  check_call(buckets_sharing(PETSC_COMM_WORLD, &sharing));
  const int shared = gradients && parameters;
  assert_int_equal(sharing, !shared ? 1 : pretended ? pretended : ranks);
  if (ranks == 1) assert_true(!gradients && !parameters);
  else if (!shared && !own_rank) print_message("no shared memory here: messages alone are tested\n");
  if (!gradients) gradients = spare[0] = calloc(all, sizeof *gradients);
  if (!parameters) parameters = spare[1] = calloc(all, sizeof *parameters);
  for (size_t k = 0; k < all; k++) assert_true(gradients[k] == 0 && parameters[k] == 0);
  Real *sums = malloc((buckets_shard(own) + 1) * sizeof *sums);

  Told told[2] = {{.of = own, .flat = flat}, {.of = own, .flat = gradients}};
  for (int kind = 0; kind < 2; kind++) { /* `flat` and `shard` are any memory */
    buckets_when_summed(own, listen, &told[kind]);
    for (size_t k = 0; k < all; k++) (kind ? gradients : flat)[k] = (Real)(1. / (1 + own_rank + (double)(k % 1013)));
    for (int i = COUNT - 1; i >= 0; i--) check_call(buckets_reduce_start(own, i, kind ? gradients : flat));
    check_call(buckets_reduce_finish(own));
    check_told(&told[kind], told);
    keep_sums(own, kind ? gradients : flat, kind ? sums : shard);
  }
  buckets_when_summed(own, NULL, NULL);
  assert_memory_equal(sums, shard, buckets_shard(own) * sizeof *sums);

  (void)buckets_times(own);
  for (int step = 0; step < 12; step++) {
    double norm = step;
    for (int i = COUNT - 1; i >= 0; i--) {
      for (size_t k = first[i]; k < first[i + 1]; k++) gradients[k] = (Real)whole(own_rank, k, step);
      check_call(buckets_reduce_start(own, i, gradients));
      late(&seed);
      check_call(buckets_progress(own));
    }
    check_call(buckets_reduce_finish(own));
    keep_sums(own, gradients, sums);
    for (size_t k = 0; k < all; k++) gradients[k] = NAN;
    late(&seed);
    MPI_Allreduce(MPI_IN_PLACE, &norm, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
    for (int i = 0; i < COUNT; i++) {
      const BucketPiece piece = buckets_piece(own, i, own_rank);
      for (size_t k = 0; k < piece.count; k++) parameters[piece.first + k] = 2 * sums[piece.place + k];
      check_call(buckets_gather_start(own, i, NULL, parameters));
      late(&seed);
    }
    for (int i = 0; i < COUNT; i++) {
      check_call(buckets_gather_wait(own, i));
      for (size_t k = first[i]; k < first[i + 1]; k++) assert_true((double)parameters[k] == 2 * sum_of_whole(k, step));
      late(&seed);
    }
  }
  /* On one node a gather moves nothing and a reduction what it must. */
  const double least = 12 * (double)(buckets_shard(own) * (size_t)(ranks - 1) * sizeof(Real));
  if (shared && !pretended) check_close(buckets_times(own).bytes, least, 0, 1);

  /* Any other memory of a node's rank is gathered by messages. */
  for (int i = 0; i < COUNT; i++) check_call(buckets_gather_start(own, i, sums, gradients));
  for (int i = COUNT - 1; i >= 0; i--) check_call(buckets_gather_wait(own, i));
  for (size_t k = 0; k < all; k++) assert_true((double)gradients[k] == sum_of_whole(k, 11));
  free(spare[0]);
  free(spare[1]);
  free(sums);
  check_call(buckets_destroy(&own));
}

static void arrays_of_nodes(void **state) { check_arrays(); }

/* Two nodes: messages between them, none inside. */
static void arrays_of_two_nodes(void **state)
{
  pretended = ranks / 2;
  if (ranks == 4) check_arrays();
  pretended = 0;
}

/* Where one rank cannot open another's memory, none shares, and nobody waits. */
static void one_cannot_share(void **state)
{
  struct rlimit files, none;
  int           sharing;
  Real         *values;
  Buckets      *own;

  check_call(buckets_create(PETSC_COMM_WORLD, COUNT, few, &own));
  getrlimit(RLIMIT_NOFILE, &files);
  none          = files;
  none.rlim_cur = 0;
  if (own_rank == ranks - 1) setrlimit(RLIMIT_NOFILE, &none);
  const int created = buckets_array_create(own, ARRAY_OF_RANK, &values), asked = buckets_sharing(PETSC_COMM_WORLD, &sharing);
  setrlimit(RLIMIT_NOFILE, &files);
  assert_true(!created && !asked && !values && sharing == 1);
  check_call(buckets_destroy(&own));
}

static void times(void **state)
{
  ExchangeTimes t = buckets_times(buckets);
  double        sent, least = 0;

  assert_true(t.under_way > 0 && t.driving > 0 && t.waited >= 0 && t.under_way + 1e-3 >= t.waited);
  t = buckets_times(buckets);
  assert_true(t.under_way == 0 && t.waited == 0 && t.driving == 0 && t.bytes == 0);
  for (size_t k = 0; k < total; k++) flat[k] = 0;
  for (int i = 0; i < COUNT; i++) check_call(buckets_reduce_start(buckets, i, flat));
  check_call(buckets_reduce_finish(buckets));
  /* A reduction into shards cannot move less: all but the sums that stay, from each rank. */
  t     = buckets_times(buckets);
  least = (double)((total - buckets_shard(buckets)) * sizeof(Real));
  check_close(t.bytes, least, 1e-5, least);
  MPI_Allreduce(&t.bytes, &sent, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  check_close(sent, (double)((ranks - 1) * total * sizeof(Real)), 0, 1);
}

/* With one rank the gradients can be their own shard. */
static void alone(void **state)
{
  const size_t size[] = {5, 4};
  Real         values[9];
  Buckets     *own;

  for (int i = 0; i < 9; i++) values[i] = (Real)i;
  check_call(buckets_create(PETSC_COMM_SELF, 2, size, &own));
  assert_true(buckets_shard(own) == 9);
  for (int i = 0; i < 2; i++) check_call(buckets_reduce_start(own, i, values));
  check_call(buckets_reduce_finish(own));
  for (int i = 0; i < 2; i++) check_call(buckets_gather_start(own, i, values, values));
  for (int i = 0; i < 2; i++) check_call(buckets_gather_wait(own, i));
  for (int i = 0; i < 9; i++) assert_true(values[i] == (Real)i);
  check_call(buckets_destroy(&own));
  check_call(buckets_destroy(&own));
}

/* A bucket that is under way is not started again. */
static void refusals(void **state)
{
  const size_t size[] = {100000};
  Buckets     *own;

  check_call(buckets_create(PETSC_COMM_WORLD, 1, size, &own));
  if (own_rank == 0) check_call(buckets_reduce_start(own, 0, flat));
  if (own_rank == 0 && ranks > 1) assert_int_not_equal(buckets_reduce_start(own, 0, flat), MPI_SUCCESS); /* no other has begun */
  MPI_Barrier(PETSC_COMM_WORLD);
  if (own_rank != 0) check_call(buckets_reduce_start(own, 0, flat));
  check_call(buckets_reduce_finish(own));
  check_call(buckets_destroy(&own));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup(pieces_cover_once, begin), cmocka_unit_test(steps_of_training), cmocka_unit_test(waits_out_of_order),
                                          cmocka_unit_test(same_bits), cmocka_unit_test(arrays_of_nodes), cmocka_unit_test(arrays_of_two_nodes), cmocka_unit_test(one_cannot_share), cmocka_unit_test(times), cmocka_unit_test(alone), cmocka_unit_test_teardown(refusals, end)};

TEST_MAIN(tests)
