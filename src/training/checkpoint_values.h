/* The large arrays of a checkpoint: each rank's pieces, written and read at their places in the file, with checksums while they pass by. */
#ifndef TRAINING_CHECKPOINT_VALUES_H
#define TRAINING_CHECKPOINT_VALUES_H

#include <perturbdiff/training.h>

enum { SECTIONS = 4 };
extern const char *const section_name[SECTIONS];

/* Place of a set that only HDF5 can read. */
#define PLACE_UNKNOWN UINT64_MAX

/* All below: arrays of (SECTIONS, parameters); place: first byte of a set in the file. */

/* checkpoint_write_values - this rank's pieces, flushed to the device; sum: checksums of the whole sets, on rank 0. Collective; user errors are those of this rank. */
PetscErrorCode checkpoint_write_values(const FileDraft *draft, const TrainingState *state, const uint64_t *place, uint64_t *sum);

/* checkpoint_read_values - this rank's pieces of the first sections; sum: checksums of its pieces. keep PETSC_FALSE: the values are not stored. Not collective. */
PetscErrorCode checkpoint_read_values(MPI_Comm comm, hid_t h5, const char *path, int sections, const uint64_t *place, PetscBool keep, TrainingState *state, uint64_t *sum);

/* checkpoint_share_values - the ranks' even shares of a state that is whole on all ranks, as checkpoint_read_values left them, brought to all. Collective. */
PetscErrorCode checkpoint_share_values(MPI_Comm comm, int sections, TrainingState *state);

#endif
