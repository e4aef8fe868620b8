/* How the large arrays of a checkpoint are cut: a rank's pieces of them, and runs of these that lie in one set, as they are moved at once. */
#ifndef TRAINING_CHECKPOINT_RUNS_H
#define TRAINING_CHECKPOINT_RUNS_H

#include "training/checkpoint_values.h"

/* Elements of a run at most. */
enum { RUN = 1 << 20 };

/* Neighbouring elements of one set. */
typedef struct {
  int      section;
  PetscInt parameter;
  size_t   first, count; /* in the set */
  Real    *values;       /* NULL: look at them only */
  Real     after;        /* the element that follows, where it completes a word of the checksum */
  uint64_t sum;
  uint64_t written_first, written_last; /* bytes of the file from the one to the other are written already */
} Run;

typedef struct {
  PetscInt count, capacity;
  Run     *run; /* free with PetscFree */
} RunList;

/* Pieces of the flat array that this rank moves: those of its shard, or an even share of a state that is whole on all ranks. piece: within this or the state. */
typedef struct {
  PetscInt           count;
  const BucketPiece *piece;
  BucketPiece        share;
} Pieces;
PetscErrorCode pieces_of(MPI_Comm comm, const TrainingState *state, Pieces *pieces);

/* Where a section's array has a piece. */
Real *piece_values(const TrainingState *state, int section, const BucketPiece *piece);

/* cut_piece - append the runs of a piece of a section: cut at the borders of the sets and, inside, at multiples of RUN elements of the file, which parallel file systems and
   disks like best. place (SECTIONS, parameters): of the sets in the file, in bytes. after: the element behind the piece. keep PETSC_FALSE: runs without values. */
PetscErrorCode cut_piece(const TrainingState *state, int section, const BucketPiece *piece, const uint64_t *place, Real after, PetscBool keep, RunList *list);

/* First byte of a run in the file; place of its set PLACE_UNKNOWN: meaningless. */
static inline uint64_t run_place(const TrainingState *state, const uint64_t *place, const Run *run)
{
  return place[run->section * state->table.count + run->parameter] + run->first * sizeof(Real);
}

/* Part of the set's checksum: of the words that begin in the run; a word that begins in the run before is that one's. size: elements of the set. */
uint64_t run_checksum(const Run *run, size_t size);
/* Does a word of the checksum go on behind the run? */
PetscBool run_splits_word(const Run *run, size_t size);

/* Add the runs' checksums to sum (SECTIONS, parameters). */
void add_sums(const RunList *list, PetscInt parameters, uint64_t *sum);

#endif
