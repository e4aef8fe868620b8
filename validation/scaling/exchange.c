/* exchange SIZES.csv [repeats] - rate of a reduction and gather of all buckets (no computation beside them) against MPI_Allreduce of the same bytes and against the least
   that a machine with one memory could do. Built by validation/scaling/exchange_rate from src/runtime/buckets.c itself. Prints CSV. */
#include <perturbdiff/runtime/buckets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sizes.h"

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double slowest(double seconds)
{
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

enum { REDUCE, GATHER, ALLREDUCE, COPY, WAYS, MOST_REPEATS = 99 };

int main(int argc, char **argv)
{
  static const char *const name[WAYS] = {"reduce", "gather", "allreduce", "copy"};
  static double            seconds[WAYS][MOST_REPEATS];
  size_t                   size[MOST_BUCKETS], total = 0;
  const int                repeats = argc > 2 ? atoi(argv[2]) : 7;
  int                      ranks, rank, count;
  Buckets                 *buckets;

  MPI_Init(&argc, &argv);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (argc < 2 || repeats < 1 || repeats > MOST_REPEATS || (count = sizes_read(argv[1], size)) < 1 || buckets_create(MPI_COMM_WORLD, count, size, &buckets)) {
    fprintf(stderr, "usage: exchange SIZES.csv [repeats]\n");
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  for (int i = 0; i < count; i++) total += size[i];
  Real *flat = malloc(total * sizeof *flat), *shard = malloc((buckets_shard(buckets) + 1) * sizeof *shard);
  if (!flat || !shard) MPI_Abort(MPI_COMM_WORLD, 1);
  for (size_t i = 0; i < total; i++) flat[i] = 1;
  memset(shard, 0, buckets_shard(buckets) * sizeof *shard);
  for (int turn = -1; turn < repeats; turn++) {
    double begun[WAYS + 1];
    for (int way = 0; way < WAYS; way++) {
      MPI_Barrier(MPI_COMM_WORLD);
      begun[way] = MPI_Wtime();
      if (way == REDUCE) {
        for (int i = count - 1; i >= 0; i--) buckets_reduce_start(buckets, i, flat);
        buckets_reduce_finish(buckets);
      } else if (way == GATHER) {
        for (int i = 0; i < count; i++) buckets_gather_start(buckets, i, shard, flat);
        for (int i = 0; i < count; i++) buckets_gather_wait(buckets, i);
      } else if (way == ALLREDUCE) {
        for (size_t i = 0, first = 0; i < (size_t)count; first += size[i++]) MPI_Allreduce(MPI_IN_PLACE, flat + first, (int)size[i], MPI_REAL_TYPE, MPI_SUM, MPI_COMM_WORLD);
      } else {
        memmove(flat, flat + total / 2, total / 2 * sizeof *flat);
      }
      if (turn >= 0) seconds[way][turn] = slowest(MPI_Wtime() - begun[way]);
      else for (size_t i = 0; i < total; i++) flat[i] = 1;
    }
  }
  if (!rank) printf("ranks,what,megabytes,seconds,gigabytes_per_second\n");
  for (int way = 0; way < WAYS; way++) {
    qsort(seconds[way], (size_t)repeats, sizeof **seconds, ascending);
    const double median = seconds[way][repeats / 2], bytes = (double)total * sizeof(Real) / (way == COPY ? 2 : 1);
    if (!rank) printf("%d,%s,%.1f,%.4f,%.2f\n", ranks, name[way], bytes / 1e6, median, bytes / median / 1e9);
  }
  free(flat);
  free(shard);
  buckets_destroy(&buckets);
  return MPI_Finalize();
}
