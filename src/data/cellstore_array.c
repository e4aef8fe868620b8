/* Mapping the file, and unpacking what cannot be mapped. */
#include "data/cellstore_array.h"
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

/* Memory that all ranks of the node see; own memory where there is one rank or no room for sharing. */
static PetscErrorCode allocate(MPI_Comm node, CellArray *array, size_t size, void **memory, PetscBool *shared)
{
  int ranks, rank, failed, any;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_rank(node, &rank));
  *shared = PETSC_FALSE;
  if (ranks > 1) {
    void *own;
    PetscCallMPI(MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN));
    failed = MPI_Win_allocate_shared(rank ? 0 : (MPI_Aint)size, 1, MPI_INFO_NULL, node, &own, &array->window) != MPI_SUCCESS;
    PetscCallMPI(MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, node));
    if (!any) {
      MPI_Aint bytes;
      int      unit;
      PetscCallMPI(MPI_Win_shared_query(array->window, 0, &bytes, &unit, memory));
      *shared = PETSC_TRUE;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    if (!failed) PetscCallMPI(MPI_Win_free(&array->window));
    array->window = MPI_WIN_NULL;
  }
  PetscCall(PetscMalloc(size, &array->owned));
  *memory = array->owned;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Elements [first, end), a few chunks at a time. */
static PetscErrorCode unpack(hid_t dataset, hid_t type, const char *path, const char *name, hsize_t first, hsize_t end, size_t width, unsigned char *memory)
{
  const hsize_t step = ((hsize_t)64 << 20) / width;

  PetscFunctionBeginUser;
  for (hsize_t at = first; at < end; at += step) {
    const hsize_t count = end - at < step ? end - at : step;
    hid_t         file, space;
    herr_t        failed;
    H5Check(file = H5Dget_space(dataset));
    H5Check(space = H5Screate_simple(1, &count, NULL));
    H5Check(H5Sselect_hyperslab(file, H5S_SELECT_SET, &at, NULL, &count, NULL));
    failed = H5Dread(dataset, type, space, file, H5P_DEFAULT, memory + at * width);
    H5Check(H5Sclose(space));
    H5Check(H5Sclose(file));
    if (failed < 0) return error_user("%s: damaged: /%s cannot be unpacked; prepare it again", path, name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode load(MPI_Comm comm, hid_t dataset, hid_t type, const char *path, const char *name, CellArray *array)
{
  const hsize_t count = (hsize_t)array->count;
  MPI_Comm      node;
  void         *memory;
  int           ranks, rank;
  PetscBool     shared = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_rank(node, &rank));
  PetscCall(allocate(node, array, (size_t)count * array->width, &memory, &shared));
  const hsize_t first = shared ? count * (hsize_t)rank / (hsize_t)ranks : 0, end = shared ? count * ((hsize_t)rank + 1) / (hsize_t)ranks : count;
  if (shared) PetscCallMPI(MPI_Win_fence(0, array->window));
  PetscCallAgree(comm, unpack(dataset, type, path, name, first, end, array->width, memory));
  if (shared) PetscCallMPI(MPI_Win_fence(0, array->window));
  array->bytes = memory;
  PetscCallMPI(MPI_Comm_free(&node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Byte address in the file of a contiguous data set, -1 if it is not in one piece. */
static int64_t contiguous_at(hid_t dataset)
{
  const hid_t   properties = H5Dget_create_plist(dataset);
  const haddr_t at         = H5Pget_layout(properties) == H5D_CONTIGUOUS ? H5Dget_offset(dataset) : HADDR_UNDEF;

  H5Pclose(properties);
  return at == HADDR_UNDEF ? -1 : (int64_t)at;
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

static PetscErrorCode open_dataset(MPI_Comm comm, hid_t dataset, hid_t stored, hid_t wanted, const char *path, const char *name, int64_t count, const FileMap *map,
                                   CellArray *array)
{
  const int64_t at     = contiguous_at(dataset);
  hsize_t       extent = 0;

  PetscFunctionBeginUser;
  if (!dataset_fits(dataset, stored, wanted, count, &extent)) return error_user("%s: damaged: /%s has not the shape or type of a cell store's; prepare it again", path, name);
  array->count = (int64_t)extent;
  array->width = H5Tget_size(wanted);
  if (!extent) PetscFunctionReturn(PETSC_SUCCESS);
  if (at < 0 || H5Tequal(stored, wanted) <= 0) PetscCall(load(comm, dataset, wanted, path, name, array));
  else if ((uint64_t)at + extent * array->width > map->size) return error_user("%s: truncated: /%s ends past the end of the file; prepare it again", path, name);
  else array->bytes = map->bytes + at;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_open(MPI_Comm comm, hid_t h5, const char *path, const char *name, hid_t type, int64_t count, const FileMap *map, CellArray *array)
{
  PetscErrorCode code;
  hid_t          dataset = H5Dopen2(h5, name, H5P_DEFAULT), stored;

  PetscFunctionBeginUser;
  if (dataset < 0) return error_user("%s: damaged: /%s is missing; prepare it again", path, name);
  array->window = MPI_WIN_NULL;
  H5Check(stored = H5Dget_type(dataset));
  code = open_dataset(comm, dataset, stored, type == H5I_INVALID_HID ? stored : type, path, name, count, map, array);
  H5Check(H5Tclose(stored));
  H5Check(H5Dclose(dataset));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellarray_close(CellArray *array)
{
  PetscFunctionBeginUser;
  /* A zeroed array was never opened: MPI_WIN_NULL need not be zero. */
  if (array->width && array->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&array->window));
  PetscCall(PetscFree(array->owned));
  *array = (CellArray){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
