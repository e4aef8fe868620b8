/* What the sources on files share inside the room. */
#ifndef SRC_RUNTIME_FILE_PRIVATE_H
#define SRC_RUNTIME_FILE_PRIVATE_H

#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>

/* Temporary name "<folder>/.<name>.partial" beside path, created empty (rank 0 only). User errors: see file_draft_create. */
PetscErrorCode draft_begin(const char *path, char temporary[PETSC_MAX_PATH_LEN]);
/* Flush to the device and rename, or keep for file_hold_end; remove. Rank 0 only. */
PetscErrorCode draft_finish(const char *temporary, const char *path);
PetscErrorCode draft_remove(const char *temporary);
/* A folder was made, which goes again with the files that are held. Rank 0 only. */
PetscErrorCode draft_folder_made(const char *path);

/* Claim space for extra bytes and HDF5's cache of an open draft (h5 may be invalid) ahead of writing, so that a full device shows
   before HDF5 holds data that it cannot write. User error: no space. File systems that cannot do so pass. Rank 0 only. */
PetscErrorCode draft_reserve(const char *temporary, hid_t h5, uint64_t extra);

/* True between deadline_begin and deadline_end: signals then end the run in order, and drafts with it. */
PetscBool deadline_holds_signals(void);

#endif
