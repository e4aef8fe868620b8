/* Data sets in one piece or in chunks, and their bytes without HDF5. */
#include "data/stored_array.h"
#include <perturbdiff/runtime/error.h>
#include <unistd.h>

/* Byte address in the file of a contiguous data set, -1 if it is not in one piece. */
static int64_t contiguous_at(hid_t dataset)
{
  const hid_t   properties = H5Dget_create_plist(dataset);
  const haddr_t at         = H5Pget_layout(properties) == H5D_CONTIGUOUS ? H5Dget_offset(dataset) : HADDR_UNDEF;

  H5Pclose(properties);
  return at == HADDR_UNDEF ? -1 : (int64_t)at;
}

PetscErrorCode storedarray_open(hid_t dataset, hid_t type, int64_t count, uint64_t file_size, StoredArray *array, ArrayState *state, char foreign[96])
{
  PetscBool readable;

  PetscFunctionBeginUser;
  *array = (StoredArray){.at = count ? contiguous_at(dataset) : 0, .width = H5Tget_size(type), .count = count};
  *state = ARRAY_GOOD;
  if (array->at < 0) {
    PetscCall(chunktable_read(dataset, type, count, &array->chunks, &readable, foreign));
    if (!readable) *state = *foreign ? ARRAY_FOREIGN : ARRAY_WITHOUT_CHUNKS;
  } else if ((uint64_t)array->at > file_size || (uint64_t)count > (file_size - (uint64_t)array->at) / array->width) *state = ARRAY_TRUNCATED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode storedarray_close(StoredArray *array)
{
  PetscFunctionBeginUser;
  PetscCall(chunktable_free(&array->chunks));
  *array = (StoredArray){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool storedarray_is_plain(const StoredArray *array, uint64_t file_size)
{
  const ChunkTable *chunks = &array->chunks;
  const uint64_t    bytes  = (uint64_t)chunks->elements * chunks->width;

  if (array->at >= 0) return PETSC_TRUE;
  if (!chunks->chunks || chunks->shuffle >= 0 || chunks->deflate >= 0) return PETSC_FALSE;
  for (int64_t c = 0; c < chunks->chunks; c++)
    if (chunks->size[c] != bytes || bytes > file_size || chunks->at[c] > file_size - bytes) return PETSC_FALSE;
  return PETSC_TRUE;
}

static PetscBool read_bytes(int file, uint64_t at, size_t count, unsigned char *out)
{
  while (count) {
    const ssize_t read = pread(file, out, count, (off_t)at);
    if (read <= 0) return PETSC_FALSE;
    out += read;
    at += (uint64_t)read;
    count -= (size_t)read;
  }
  return PETSC_TRUE;
}

PetscBool storedarray_read(const StoredArray *array, int file, int64_t begin, int64_t end, void *out)
{
  const size_t   width = array->width;
  unsigned char *to    = out;

  if (array->at >= 0) return read_bytes(file, (uint64_t)array->at + (uint64_t)begin * width, (size_t)(end - begin) * width, to);
  while (begin < end) {
    const int64_t  elements = array->chunks.elements, inside = begin % elements;
    const uint64_t at = array->chunks.at[begin / elements] + (uint64_t)inside * width, stride = (uint64_t)elements * width;
    int64_t        part = PetscMin(end - begin, elements - inside);
    /* Chunks that follow one another in the file are one piece. */
    for (int64_t c = (begin + part) / elements; begin + part < end && array->chunks.at[c] == array->chunks.at[c - 1] + stride; c++)
      part = PetscMin(end - begin, part + elements);
    if (!read_bytes(file, at, (size_t)part * width, to)) return PETSC_FALSE;
    to += (size_t)part * width;
    begin += part;
  }
  return PETSC_TRUE;
}
