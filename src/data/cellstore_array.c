/* The arrays of an open store. */
#include "data/cellstore_array.h"
#include <perturbdiff/runtime/error.h>

/* Has the data set the kind of type and the extent asked for? */
static PetscBool dataset_fits(hid_t dataset, hid_t stored, hid_t wanted, int64_t count, hsize_t *extent)
{
  const hid_t     space = H5Dget_space(dataset);
  const PetscBool line  = H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_dims(space, extent, NULL) == 1 ? PETSC_TRUE : PETSC_FALSE;

  H5Sclose(space);
  if (!line || H5Tis_variable_str(stored) > 0 || H5Tget_class(stored) != H5Tget_class(wanted)) return PETSC_FALSE;
  return count < 0 || *extent == (hsize_t)count ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode open_dataset(hid_t dataset, hid_t stored, hid_t wanted, const char *path, const char *name, int64_t count, const FileMap *map, MappedArray *array)
{
  hsize_t    extent = 0;
  ArrayState state;
  char       foreign[96];

  PetscFunctionBeginUser;
  if (!dataset_fits(dataset, stored, wanted, count, &extent) || H5Tequal(stored, wanted) <= 0)
    return error_user("%s: damaged: /%s has not the shape or type of a cell store's; prepare it again", path, name);
  PetscCall(mappedarray_open(dataset, wanted, (int64_t)extent, map, array, &state, foreign));
  switch (state) {
  case ARRAY_GOOD: break;
  case ARRAY_FOREIGN: return error_user("%s: /%s is compressed by %s, a cell store by shuffle and gzip only; prepare it again", path, name, foreign);
  case ARRAY_WITHOUT_CHUNKS: return error_user("%s: damaged: /%s has not the chunks of a cell store; prepare it again", path, name);
  case ARRAY_TRUNCATED: return error_user("%s: truncated: /%s ends past the end of the file; prepare it again", path, name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_open(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, MappedArray *array)
{
  PetscErrorCode code;
  hid_t          dataset = H5Dopen2(h5, name, H5P_DEFAULT), stored;

  PetscFunctionBeginUser;
  if (dataset < 0) return error_user("%s: damaged: /%s is missing; prepare it again", path, name);
  H5Check(stored = H5Dget_type(dataset));
  code = open_dataset(dataset, stored, type == H5I_INVALID_HID ? stored : type, path, name, count, map, array);
  H5Check(H5Tclose(stored));
  H5Check(H5Dclose(dataset));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_open_mapped(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, MappedArray *array)
{
  PetscFunctionBeginUser;
  PetscCall(cellarray_open(h5, path, name, type, count, map, array));
  if (array->chunks.chunks) return error_user("%s: /%s is in chunks, a cell store has it in one piece; prepare it again", path, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}
