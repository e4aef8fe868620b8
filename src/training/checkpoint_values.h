/* The large arrays of a checkpoint: each rank's pieces, written and read at their places in the file, with checksums while they pass by. */
#ifndef TRAINING_CHECKPOINT_VALUES_H
#define TRAINING_CHECKPOINT_VALUES_H

#include <perturbdiff/training.h>

enum { SECTIONS = 4 };
extern const char *const section_name[SECTIONS];

/* Place of a set that only HDF5 can read. */
#define PLACE_UNKNOWN UINT64_MAX

/* All below: arrays of (SECTIONS, parameters); place: first byte of a set in the file. */

/* checkpoint_values_start - begin to write this rank's pieces, by threads; until one of the two below returns the arrays of state, and place, must stay as they are.
   direct: past the page cache where the file system can. The file should have its final size. Collective.
   checkpoint_values_finish - wait until all is written and flushed, or has failed, and free the writer; sum: checksums of the whole sets, on rank 0; hidden: seconds of the
   writing before the call. Collective; user errors are those of this rank. checkpoint_values_discard: the same when the file is not wanted any more. Not collective. */
typedef struct ValuesWriter ValuesWriter;
PetscErrorCode checkpoint_values_start(const FileDraft *draft, const TrainingState *state, const uint64_t *place, PetscBool direct, ValuesWriter **writer);
PetscErrorCode checkpoint_values_finish(ValuesWriter **writer, uint64_t *sum, double *hidden);
PetscErrorCode checkpoint_values_discard(ValuesWriter **writer);

/* checkpoint_read_values - this rank's pieces of the first sections; sum: checksums of its pieces. keep PETSC_FALSE: the values are not stored. Not collective. */
PetscErrorCode checkpoint_read_values(MPI_Comm comm, hid_t h5, const char *path, int sections, const uint64_t *place, PetscBool keep, TrainingState *state, uint64_t *sum);

/* checkpoint_share_values - the ranks' even shares of a state that is whole on all ranks, as checkpoint_read_values left them, brought to all. Collective. */
PetscErrorCode checkpoint_share_values(MPI_Comm comm, int sections, TrainingState *state);

#endif
