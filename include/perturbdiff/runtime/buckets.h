/* Gradients reduced and parameters gathered a bucket at a time, while the network computes. A bucket is a contiguous piece of the flat parameter
   array; each rank owns one contiguous piece of every bucket (sizes differ by at most the number of stages; not in the order of ranks): its shard is all its pieces, bucket
   after bucket. Free of PETSc and HDF5 (see grid.h). */
#ifndef PERTURBDIFF_RUNTIME_BUCKETS_H
#define PERTURBDIFF_RUNTIME_BUCKETS_H

#include <perturbdiff/runtime/real.h>
#include <stddef.h>

typedef struct Buckets Buckets;

/* Where a rank's piece of a bucket lies: elements first..first+count-1 of the flat array, from `place` on in the shard. */
typedef struct {
  size_t first, count, place;
} BucketPiece;

/* buckets_create - size[i] elements in bucket i, which starts where bucket i-1 ends. Allocates all it will ever need (buckets_bytes).
   Collective on comm; all the others too unless said otherwise. */
int         buckets_create(MPI_Comm comm, int count, const size_t *size, Buckets **buckets);
int         buckets_destroy(Buckets **buckets);
size_t      buckets_bytes(int ranks, int count, const size_t *size);
/* Not collective: the piece of any rank; elements in this rank's shard. */
BucketPiece buckets_piece(const Buckets *buckets, int bucket, int rank);
size_t      buckets_shard(const Buckets *buckets);

/* buckets_array_create - zeros for a whole flat array in memory that the ranks of a node see, so that they spare themselves the messages to one another; the sums are
   the same. ARRAY_OF_RANK: each rank has its own; for reductions. ARRAY_OF_NODE: the ranks of a node have one, for gathers: none may write its piece before
   gather_start while another can still read it there. *values is NULL, and no error, where there is nobody to share with or no room: take any other memory then.
   Four at most; freed by buckets_destroy. */
typedef enum { ARRAY_OF_RANK, ARRAY_OF_NODE } BucketArray;
int buckets_array_create(Buckets *buckets, BucketArray use, Real **values);
/* Ranks of a node that would share an array there; 1: none would. Collective on comm. */
int buckets_sharing(MPI_Comm comm, int *ranks);

/* buckets_reduce_start - begin to sum a bucket of `flat` over the ranks; flat's bucket must not be read or written until buckets_reduce_finish, after which this rank's
   pieces of all buckets started hold their sums (the rest of these buckets is undefined). The order of summation depends only on the number of ranks and on the ranks of a
   node (where these differ between nodes: on the former), not on how the gradients move. With one rank nothing happens.
   Reductions and gathers are started in the same order on all ranks; a bucket may be started again once it was awaited. */
int buckets_reduce_start(Buckets *buckets, int bucket, Real *flat);
int buckets_reduce_finish(Buckets *buckets);

/* buckets_when_summed - have `summed` called from within start, progress and finish with elements first..first+count-1 of flat as soon as they hold their sums, while
   caches hold them too: of every bucket in ascending order and cut in the same way every time; the buckets in any order. Not collective. */
typedef void (*BucketSummed)(void *context, int bucket, size_t first, size_t count);
void buckets_when_summed(Buckets *buckets, BucketSummed summed, void *context);

/* buckets_gather_start - begin to put every rank's piece (from its shard) into `flat`'s bucket on all ranks; shard NULL: its own piece is in flat already.
   buckets_gather_wait: that bucket is there. */
int buckets_gather_start(Buckets *buckets, int bucket, const Real *shard, Real *flat);
int buckets_gather_wait(Buckets *buckets, int bucket);

/* buckets_progress - drive what has been started; call it between the layers of a pass. Returns at once. */
int buckets_progress(Buckets *buckets);

/* What communication took since the last call: seconds in which something was under way, seconds of these spent waiting in finish and wait, seconds spent inside
   start and progress, bytes sent by this rank or read by it in others' arrays. Overlap = 1 - waited / under way. Not collective; resets. */
typedef struct {
  double under_way, waited, driving, bytes;
} ExchangeTimes;
ExchangeTimes buckets_times(Buckets *buckets);

#endif
