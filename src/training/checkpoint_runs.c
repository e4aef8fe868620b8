/* The arrays of a checkpoint cut into runs (checkpoint_runs.h). */
#include "training/checkpoint_runs.h"
#include <perturbdiff/runtime/grid.h>

/* Elements of a word of the checksum. */
enum { WORD = 8 / sizeof(Real) };

const char *const section_name[SECTIONS] = {"parameters", "average", "optimizer/first", "optimizer/second"};

PetscErrorCode pieces_of(MPI_Comm comm, const TrainingState *state, Pieces *pieces)
{
  long long first, count;
  int       rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  share_of((long long)state->table.total, rank, ranks, &first, &count);
  pieces->share = (BucketPiece){.first = (size_t)first, .count = (size_t)count, .place = (size_t)first};
  pieces->count = state->shard.piece ? state->shard.count : 1;
  pieces->piece = state->shard.piece ? state->shard.piece : &pieces->share;
  PetscFunctionReturn(PETSC_SUCCESS);
}

Real *piece_values(const TrainingState *state, int section, const BucketPiece *piece)
{
  Real *const values[SECTIONS] = {state->parameters, state->average, state->first, state->second};

  return values[section] + (section ? piece->place : piece->first);
}

static PetscErrorCode add_run(RunList *list, Run run)
{
  PetscFunctionBeginUser;
  if (list->count == list->capacity) {
    list->capacity = 2 * list->capacity + 256;
    PetscCall(PetscRealloc(sizeof *list->run * (size_t)list->capacity, &list->run));
  }
  list->run[list->count++] = run;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cut_piece(const TrainingState *state, int section, const BucketPiece *piece, const uint64_t *place, Real after, PetscBool keep, RunList *list)
{
  const size_t end = piece->first + piece->count;
  Real *const  values = keep ? piece_values(state, section, piece) : NULL;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < state->table.count; k++) {
    const Parameter *p = &state->table.item[k];
    const size_t     first = PetscMax(piece->first, p->offset), last = PetscMin(end, p->offset + parameter_size(p));
    const uint64_t   set = place[section * state->table.count + k];
    const size_t     shift = set % 8 ? 0 : (size_t)(set / sizeof(Real) % RUN); /* an odd place would cut words */

    for (size_t at = first; at < last;) {
      const size_t element = at - p->offset, stop = PetscMin(last, p->offset + ((element + shift) / RUN + 1) * RUN - shift);

      PetscCall(add_run(list, (Run){.section = section,
                                    .parameter = k,
                                    .first = element,
                                    .count = stop - at,
                                    .values = values ? values + (at - piece->first) : NULL,
                                    .after = after}));
      at = stop;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool run_splits_word(const Run *run, size_t size)
{
  const size_t end = run->first + run->count;

  return end < size && end % WORD ? PETSC_TRUE : PETSC_FALSE;
}

uint64_t run_checksum(const Run *run, size_t size)
{
  const size_t skip = run->first % WORD, end = run->first + run->count;
  const size_t split = run_splits_word(run, size) ? end % WORD : 0; /* elements of a word that goes on behind the run */
  uint64_t     sum = 0;

  if (skip + split <= run->count)
    sum = checksum_piece(run->values + skip, (run->count - skip - split) * sizeof(Real), (run->first + skip) * sizeof(Real));
  if (split) {
    const Real word[2] = {run->values[run->count - 1], run->after};
    sum += checksum_piece(word, sizeof word, (end - split) * sizeof(Real));
  }
  return sum;
}

void add_sums(const RunList *list, PetscInt parameters, uint64_t *sum)
{
  for (PetscInt i = 0; i < list->count; i++) sum[list->run[i].section * parameters + list->run[i].parameter] += list->run[i].sum;
}
