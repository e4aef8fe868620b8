/* Where the elements of a one-dimensional data set lie in its file. */
#ifndef DATA_STORED_ARRAY_H
#define DATA_STORED_ARRAY_H

#include "data/chunk_cache.h"
#include <hdf5.h>
#include <petscsys.h>
#include <stdint.h>

/* count elements of width bytes each: in one piece from byte `at` on, or in chunks (at -1). */
typedef struct {
  int64_t    at, count;
  size_t     width;
  ChunkTable chunks;
} StoredArray;

/* Why a data set is none: filters other than shuffle and deflate; chunks that are missing or too large; an end past that of the file. */
typedef enum { ARRAY_GOOD, ARRAY_FOREIGN, ARRAY_WITHOUT_CHUNKS, ARRAY_TRUNCATED } ArrayState;

/* storedarray_open - an open data set of count elements of the type they have in the file, of file_size bytes. foreign: name of the foreign filter. Not collective.
   storedarray_close is safe on a zeroed array. */
PetscErrorCode storedarray_open(hid_t dataset, hid_t type, int64_t count, uint64_t file_size, StoredArray *array, ArrayState *state, char foreign[96]);
PetscErrorCode storedarray_close(StoredArray *array);
/* storedarray_is_plain - are all elements in the file as they are, not packed? storedarray_read - then elements [begin, end) to out, from a file descriptor: are they all there?
   Neither HDF5 nor PETSc, by any thread. */
PetscBool storedarray_is_plain(const StoredArray *array, uint64_t file_size);
PetscBool storedarray_read(const StoredArray *array, int file, int64_t begin, int64_t end, void *out);

#endif
