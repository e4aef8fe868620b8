/* One array over cells or entries of an open store: a view of the mapped file, or unpacked into memory that the ranks of a node share. */
#ifndef DATA_CELLSTORE_ARRAY_H
#define DATA_CELLSTORE_ARRAY_H

#include <hdf5.h>
#include <petscsys.h>
#include <stdint.h>

typedef struct {
  const unsigned char *bytes; /* count elements of width bytes each; not aligned */
  size_t               width;
  int64_t              count;
  void                *owned;  /* memory of this rank alone */
  MPI_Win              window; /* memory shared in the node */
} CellArray;

/* The file as it lies on disk. */
typedef struct {
  const unsigned char *bytes;
  size_t               size;
} FileMap;
PetscErrorCode filemap_open(const char *path, FileMap *map);
PetscErrorCode filemap_close(FileMap *map);

/* cellarray_open - a one-dimensional data set of count elements (-1: any) as memory of the given type (H5I_INVALID_HID: as in the file).
   Collective. Contiguous data sets of that very type become views of the map. User error: not such an array, damaged. */
PetscErrorCode cellarray_open(MPI_Comm comm, hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array);
PetscErrorCode cellarray_close(CellArray *array);

#endif
