/* Files that appear whole or not at all, and small helpers around parallel HDF5. */
#ifndef PERTURBDIFF_RUNTIME_FILE_H
#define PERTURBDIFF_RUNTIME_FILE_H

#include <hdf5.h>
#include <perturbdiff/runtime/real.h>
#include <petscsys.h>
#include <stdint.h>
#include <stdio.h>

/* Real in memory. */
#ifdef PERTURBDIFF_DOUBLE
  #define H5T_REAL_TYPE H5T_NATIVE_DOUBLE
#else
  #define H5T_REAL_TYPE H5T_NATIVE_FLOAT
#endif

/* A file being written under a temporary name beside its final one. */
typedef struct {
  MPI_Comm comm;
  char     path[PETSC_MAX_PATH_LEN], temporary[PETSC_MAX_PATH_LEN];
  hid_t    h5; /* open HDF5 file, or H5I_INVALID_HID */
} FileDraft;

/* file_draft_create - check that path can be written and create the temporary file as parallel HDF5 (MPI-IO).
   Collective. User errors: folder missing, no permission, path is a folder. file_draft_commit: flush, close, fsync, rename; every
   object of the file must have been closed. On an error it discards the draft. file_draft_discard: close and remove (safe to
   call on a zeroed or committed draft). Disk full shows as a user error. A signal or exit() removes drafts that are still open. */
PetscErrorCode file_draft_create(MPI_Comm comm, const char *path, FileDraft *draft);
/* file_draft_create_first - the same, opened with HDF5 by the first rank alone (h5 is H5I_INVALID_HID on the others): for a file whose data sets' bytes all
   ranks then write themselves into `temporary` at their places, large ones at multiples of 4096 bytes. Commit and discard stay collective. */
PetscErrorCode file_draft_create_first(MPI_Comm comm, const char *path, FileDraft *draft);
PetscErrorCode file_draft_commit(FileDraft *draft);
PetscErrorCode file_draft_discard(FileDraft *draft);
/* Claim room for extra bytes before a data set grows by H5Dwrite: on a full device MPI-IO takes a short write for a whole one.
   Collective. User error: no space. h5_write_slab and h5_write_strings do so themselves. */
PetscErrorCode file_draft_reserve(const FileDraft *draft, uint64_t extra);
/* Unlink what is still being written by this rank; safe in signal handlers. Call before MPI_Abort, which skips exit(). */
void file_drafts_remove(void);

/* Files that appear together or not at all. Between the two, files are finished under their temporary names. file_hold_end - whole: all get their own names, user errors as when
   writing, after which some may have them; else, as when the program ends before that, they go, and folders made by file_make_folder with them. Collective where whole, or in
   the same order on all ranks. */
void           file_hold_begin(void);
PetscErrorCode file_hold_end(MPI_Comm comm, PetscBool whole);

/* file_open - open an HDF5 file for reading on all ranks. Collective. User errors: missing, no permission, not HDF5, truncated;
   what: the kind of file for the message ("AnnData file"). */
PetscErrorCode file_open(MPI_Comm comm, const char *path, const char *what, hid_t *h5);

/* User error for a failed system call on path; doing: "write", "read", "create". A draft is called by its final name. */
PetscErrorCode file_error(const char *path, const char *doing, int number);

/* file_write_text - write a small text file from rank 0, atomically. Collective. Same user errors. file_write_printed - the same of what print(context, stream)
   prints; it is called on rank 0 alone, so it must not be collective; an error it returns leaves no file. */
PetscErrorCode file_write_text(MPI_Comm comm, const char *path, const char *text);
PetscErrorCode file_write_printed(MPI_Comm comm, const char *path, PetscErrorCode (*print)(const void *context, FILE *stream), const void *context);
/* A text file written piece by piece, by one rank. textdraft_begin, textdraft_end: on a failure of either nothing is left; user errors as above, those of writing at the end.
   textdraft_add: any thread, one at a time. Not collective. */
typedef struct {
  char    path[PETSC_MAX_PATH_LEN], temporary[PETSC_MAX_PATH_LEN];
  int     file, failure; /* descriptor; errno of what failed first */
  int64_t written;       /* bytes */
} TextDraft;
PetscErrorCode textdraft_begin(const char *path, TextDraft *draft);
void           textdraft_add(TextDraft *draft, const char *text, size_t size);
PetscErrorCode textdraft_end(TextDraft *draft);
/* Whole text file, read by rank 0 and broadcast; free with PetscFree. Collective. User errors: missing, unreadable. */
PetscErrorCode file_read_text(MPI_Comm comm, const char *path, char **text, size_t *length);
/* Make a folder and its parents. Collective. User errors as above. */
PetscErrorCode file_make_folder(MPI_Comm comm, const char *path);

/* HDF5: strings are UTF-8: attributes of variable length, data sets of the longest string's length (parallel HDF5 cannot write
   variable-length data sets); both kinds are read. Collective where the file is open for parallel writing (metadata).
   User errors, here and below: no space on the device; reading: no such data set, unreadable data. */
PetscErrorCode h5_write_attribute_string(hid_t object, const char *name, const char *value);
PetscErrorCode h5_write_attribute_int64(hid_t object, const char *name, int64_t value);
PetscErrorCode h5_write_attribute_double(hid_t object, const char *name, double value);
PetscErrorCode h5_write_attribute_strings(hid_t object, const char *name, PetscInt count, const char *const *values);
/* found may be NULL: then a missing attribute is a program error. An attribute of another kind counts as missing, a boolean one is
   an integer. String result freed with PetscFree. */
PetscErrorCode h5_read_attribute_string(hid_t object, const char *name, char **value, PetscBool *found);
PetscErrorCode h5_read_attribute_int64(hid_t object, const char *name, int64_t *value, PetscBool *found);
PetscErrorCode h5_read_attribute_double(hid_t object, const char *name, double *value, PetscBool *found);
/* One-dimensional arrays of strings, same values on all ranks; rank 0's bytes are written. Result freed with strings_free. */
PetscErrorCode h5_write_strings(hid_t location, const char *name, PetscInt64 count, const char *const *strings);
PetscErrorCode h5_read_strings(hid_t location, const char *name, PetscInt64 *count, char ***strings);
/* h5_write_slab - each rank writes rows [first, first+rows) of a (total_rows, columns) data set (columns 0: one-dimensional),
   creating it. type: memory and file type. Collective on the file's ranks. rows may be 0, and values then NULL. */
PetscErrorCode h5_write_slab(hid_t location, const char *name, hid_t type, PetscInt64 total_rows, PetscInt64 columns, PetscInt64 first, PetscInt64 rows, const void *values);
/* Read rows [first, first+rows) of a one- or two-dimensional data set into memory of the given type. Independent. */
PetscErrorCode h5_read_slab(hid_t location, const char *name, hid_t type, PetscInt64 first, PetscInt64 rows, void *values);
/* Extent of a data set (columns = 0 when one-dimensional). */
PetscErrorCode h5_extent(hid_t location, const char *name, PetscInt64 *rows, PetscInt64 *columns);
PetscBool      h5_exists(hid_t location, const char *name);

/* h5_filter_name - filter number i of a data set's pipeline, as users know it: "zstd (HDF5 filter 32015)". properties: its creation properties.
   Returns the filter's number (HDF5's registry), negative on an error. Not collective. */
int h5_filter_name(hid_t properties, unsigned i, char *text, size_t size);

/* For a rank whose own H5Dwrite on an object of a draft failed: the user error to return ("no space left ..."). */
PetscErrorCode h5_write_failed(hid_t object);

/* Order-independent 64-bit checksum of a piece of a larger array (mix of value bytes and position in bytes): the sum modulo 2^64
   over pieces is the checksum of the whole, whatever the number of ranks. Pieces must start at multiples of 8 bytes. */
uint64_t checksum_piece(const void *bytes, size_t size, uint64_t position);

#endif
