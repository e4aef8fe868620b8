/* One array over cells or entries of an open store: a view of the mapped file, or the places of its compressed chunks in it. */
#ifndef DATA_CELLSTORE_ARRAY_H
#define DATA_CELLSTORE_ARRAY_H

#include "data/mapped_array.h"

/* cellarray_open - a one-dimensional data set of count elements (-1: any) of the given type (H5I_INVALID_HID: any): a view of the map, or the
   table of its chunks. Not collective. User error: not such an array, damaged. cellarray_open_mapped: a view of the map, or a user error. End with mappedarray_close. */
PetscErrorCode cellarray_open(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, MappedArray *array);
PetscErrorCode cellarray_open_mapped(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, MappedArray *array);

#endif
