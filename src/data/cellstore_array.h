/* One array over cells or entries of an open store: a view of the mapped file, or the places of its compressed chunks in it. */
#ifndef DATA_CELLSTORE_ARRAY_H
#define DATA_CELLSTORE_ARRAY_H

#include "data/chunk_cache.h"
#include <hdf5.h>
#include <petscsys.h>
#include <stdint.h>

typedef struct {
  const unsigned char *bytes; /* count elements of width bytes each; not aligned; NULL: compressed */
  size_t               width;
  int64_t              count;
  ChunkTable           chunks; /* when compressed */
} CellArray;

/* The file as it lies on disk. */
typedef struct {
  const unsigned char *bytes;
  size_t               size;
} FileMap;
PetscErrorCode filemap_open(const char *path, FileMap *map);
PetscErrorCode filemap_close(FileMap *map);

/* cellarray_open - a one-dimensional data set of count elements (-1: any) of the given type (H5I_INVALID_HID: any): a view of the map, or the
   table of its chunks. Not collective. User error: not such an array, damaged. cellarray_open_mapped: a view of the map, or a user error. */
PetscErrorCode cellarray_open(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array);
PetscErrorCode cellarray_open_mapped(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array);
PetscErrorCode cellarray_close(CellArray *array);

#endif
