/* Mapping the file, and its arrays in the map. */
#include "data/cellstore_array.h"
#include "data/stored_array.h"
#include <errno.h>
#include <fcntl.h>
#include <perturbdiff/runtime/error.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

PetscErrorCode filemap_open(const char *path, FileMap *map)
{
  struct stat status;
  const int   file = open(path, O_RDONLY | O_CLOEXEC);
  void       *bytes;

  PetscFunctionBeginUser;
  if (file < 0) return error_user("%s: cannot be opened: %s", path, strerror(errno));
  if (fstat(file, &status) || !status.st_size) {
    close(file);
    return error_user("%s: cannot be read", path);
  }
  bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (bytes == MAP_FAILED) return error_user("%s: cannot be mapped into memory: %s", path, strerror(errno));
  map->bytes = bytes;
  map->size  = (size_t)status.st_size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode filemap_close(FileMap *map)
{
  PetscFunctionBeginUser;
  if (map->bytes && munmap((void *)(uintptr_t)map->bytes, map->size)) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "munmap: %s", strerror(errno));
  map->bytes = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Has the data set the kind of type and the extent asked for? */
static PetscBool dataset_fits(hid_t dataset, hid_t stored, hid_t wanted, int64_t count, hsize_t *extent)
{
  const hid_t     space = H5Dget_space(dataset);
  const PetscBool line  = H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_dims(space, extent, NULL) == 1 ? PETSC_TRUE : PETSC_FALSE;

  H5Sclose(space);
  if (!line || H5Tis_variable_str(stored) > 0 || H5Tget_class(stored) != H5Tget_class(wanted)) return PETSC_FALSE;
  return count < 0 || *extent == (hsize_t)count ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode open_dataset(hid_t dataset, hid_t stored_type, hid_t wanted, const char *path, const char *name, int64_t count, const FileMap *map, CellArray *array)
{
  hsize_t     extent = 0;
  StoredArray stored;
  ArrayState  state;
  char        foreign[96];

  PetscFunctionBeginUser;
  if (!dataset_fits(dataset, stored_type, wanted, count, &extent) || H5Tequal(stored_type, wanted) <= 0)
    return error_user("%s: damaged: /%s has not the shape or type of a cell store's; prepare it again", path, name);
  PetscCall(storedarray_open(dataset, wanted, (int64_t)extent, map->size, &stored, &state, foreign));
  *array = (CellArray){.width = stored.width, .count = stored.count, .chunks = stored.chunks};
  switch (state) {
  case ARRAY_GOOD: break;
  case ARRAY_FOREIGN: return error_user("%s: /%s is compressed by %s, a cell store by shuffle and gzip only; prepare it again", path, name, foreign);
  case ARRAY_WITHOUT_CHUNKS: return error_user("%s: damaged: /%s has not the chunks of a cell store; prepare it again", path, name);
  case ARRAY_TRUNCATED: return error_user("%s: truncated: /%s ends past the end of the file; prepare it again", path, name);
  }
  if (extent && stored.at >= 0) array->bytes = map->bytes + stored.at;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_open(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array)
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

PetscErrorCode cellarray_open_mapped(hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array)
{
  PetscFunctionBeginUser;
  PetscCall(cellarray_open(h5, path, name, type, count, map, array));
  if (array->chunks.chunks) return error_user("%s: /%s is in chunks, a cell store has it in one piece; prepare it again", path, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_close(CellArray *array)
{
  PetscFunctionBeginUser;
  PetscCall(chunktable_free(&array->chunks));
  *array = (CellArray){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
