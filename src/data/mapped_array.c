/* Mapping a file, and finding its data sets in it. */
#include "data/mapped_array.h"
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

/* Byte address in the file of a contiguous data set, -1 if it is not in one piece. */
static int64_t contiguous_at(hid_t dataset)
{
  const hid_t   properties = H5Dget_create_plist(dataset);
  const haddr_t at         = H5Pget_layout(properties) == H5D_CONTIGUOUS ? H5Dget_offset(dataset) : HADDR_UNDEF;

  H5Pclose(properties);
  return at == HADDR_UNDEF ? -1 : (int64_t)at;
}

PetscErrorCode mappedarray_open(hid_t dataset, hid_t type, int64_t count, const FileMap *map, MappedArray *array, ArrayState *state, char foreign[96])
{
  const int64_t at = contiguous_at(dataset);
  PetscBool     readable;

  PetscFunctionBeginUser;
  *array = (MappedArray){.width = H5Tget_size(type), .count = count};
  *state = ARRAY_GOOD;
  if (!count) PetscFunctionReturn(PETSC_SUCCESS);
  if (at < 0) {
    PetscCall(chunktable_read(dataset, type, count, &array->chunks, &readable, foreign));
    if (!readable) *state = *foreign ? ARRAY_FOREIGN : ARRAY_WITHOUT_CHUNKS;
  } else if ((uint64_t)at > map->size || (uint64_t)count > (map->size - (uint64_t)at) / array->width) *state = ARRAY_TRUNCATED;
  else array->bytes = map->bytes + at;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode mappedarray_close(MappedArray *array)
{
  PetscFunctionBeginUser;
  PetscCall(chunktable_free(&array->chunks));
  *array = (MappedArray){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool mappedarray_is_plain(const MappedArray *array, const FileMap *map)
{
  const ChunkTable *chunks = &array->chunks;
  const uint64_t    bytes  = (uint64_t)chunks->elements * chunks->width;

  if (!array->count || array->bytes) return PETSC_TRUE;
  if (!chunks->chunks || chunks->shuffle >= 0 || chunks->deflate >= 0) return PETSC_FALSE;
  for (int64_t c = 0; c < chunks->chunks; c++)
    if (chunks->size[c] != bytes || bytes > map->size || chunks->at[c] > map->size - bytes) return PETSC_FALSE;
  return PETSC_TRUE;
}

void mappedarray_copy(const MappedArray *array, const FileMap *map, int64_t begin, int64_t end, void *out)
{
  const size_t   width = array->width;
  unsigned char *to    = out;

  if (array->bytes && begin < end) memcpy(to, array->bytes + (size_t)begin * width, (size_t)(end - begin) * width);
  while (!array->bytes && begin < end) {
    const int64_t elements = array->chunks.elements, chunk = begin / elements, inside = begin % elements;
    const size_t  bytes    = (size_t)PetscMin(end - begin, elements - inside) * width;
    memcpy(to, map->bytes + array->chunks.at[chunk] + (size_t)inside * width, bytes);
    to += bytes;
    begin += (int64_t)(bytes / width);
  }
}
