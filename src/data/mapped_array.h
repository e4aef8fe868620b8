/* One-dimensional data sets of a file that is mapped into memory: where their bytes lie in it. */
#ifndef DATA_MAPPED_ARRAY_H
#define DATA_MAPPED_ARRAY_H

#include "data/chunk_cache.h"
#include <hdf5.h>
#include <petscsys.h>
#include <stdint.h>

/* The file as it lies on disk. */
typedef struct {
  const unsigned char *bytes;
  size_t               size;
} FileMap;
/* Not collective; filemap_close is safe on a zeroed map. User errors: no such file, cannot be read. */
PetscErrorCode filemap_open(const char *path, FileMap *map);
PetscErrorCode filemap_close(FileMap *map);

/* count elements of width bytes each, in one piece (bytes, not aligned) or in chunks; neither where there are none. */
typedef struct {
  const unsigned char *bytes;
  size_t               width;
  int64_t              count;
  ChunkTable           chunks;
} MappedArray;

/* Why a data set is none: filters other than shuffle and deflate; chunks that are missing or too large; an end past that of the file. */
typedef enum { ARRAY_GOOD, ARRAY_FOREIGN, ARRAY_WITHOUT_CHUNKS, ARRAY_TRUNCATED } ArrayState;

/* mappedarray_open - an open data set of count elements of the type they have in the file. foreign: name of the foreign filter. Not collective. mappedarray_close is safe on
   a zeroed array. */
PetscErrorCode mappedarray_open(hid_t dataset, hid_t type, int64_t count, const FileMap *map, MappedArray *array, ArrayState *state, char foreign[96]);
PetscErrorCode mappedarray_close(MappedArray *array);
/* mappedarray_is_plain - are all elements in the map as they are, not packed? mappedarray_copy - then elements [begin, end) to out; neither HDF5 nor PETSc, by any thread. */
PetscBool mappedarray_is_plain(const MappedArray *array, const FileMap *map);
void      mappedarray_copy(const MappedArray *array, const FileMap *map, int64_t begin, int64_t end, void *out);

#endif
