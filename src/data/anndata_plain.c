/* Rows of a CSR matrix that lies in the file as it would lie in memory, read there without HDF5, which serves one thread at a time. */
#include "anndata_private.h"
#include "data/stored_array.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct PlainRows {
  char        path[PETSC_MAX_PATH_LEN], matrix[256]; /* for messages */
  int         file;
  StoredArray values, indices;
  int64_t    *offset; /* rows + 1 */
  PetscBool   wide;
};

enum { MOST_CHUNKS = 8192 };

/* Are there too many chunks to ask HDF5 for each? An answer takes it as long as there are chunks before. */
static PetscBool has_many_chunks(const AnnData *file, hid_t dataset)
{
  const hid_t properties = H5Dget_create_plist(dataset);
  hsize_t     chunk      = 0;

  if (H5Pget_layout(properties) != H5D_CHUNKED || H5Pget_chunk(properties, 1, &chunk) != 1) chunk = 0;
  H5Pclose(properties);
  return chunk && (hsize_t)file->entries / chunk >= MOST_CHUNKS ? PETSC_TRUE : PETSC_FALSE;
}

/* A data set of the type that is read, neither packed nor missing a chunk. */
static PetscErrorCode open_array(const AnnData *file, hid_t dataset, hid_t type, uint64_t file_size, StoredArray *array, PetscBool *plain)
{
  hid_t      stored;
  ArrayState state;
  char       foreign[96];

  PetscFunctionBeginUser;
  AnnTry(file, file->matrix, stored = H5Dget_type(dataset));
  *plain = H5Tequal(stored, type) > 0 && !has_many_chunks(file, dataset) ? PETSC_TRUE : PETSC_FALSE;
  AnnTry(file, file->matrix, H5Tclose(stored));
  if (!*plain) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(storedarray_open(dataset, type, file->entries, file_size, array, &state, foreign));
  *plain = state == ARRAY_GOOD ? storedarray_is_plain(array, file_size) : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row pointers that a row can be taken by. */
static PetscErrorCode read_pointers(const AnnData *file, int64_t **offset, PetscBool *ordered)
{
  char path[512];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/indptr", file->matrix));
  PetscCall(anndata_allocate(file, path, file->rows + 1, sizeof **offset, offset));
  PetscCall(anndata_read_slab(file, file->indptr, path, H5T_NATIVE_INT64, 0, file->rows + 1, *offset));
  *ordered = (*offset)[0] >= 0 && (*offset)[file->rows] <= file->entries ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt64 i = 0; i < file->rows && *ordered; i++) *ordered = (*offset)[i] <= (*offset)[i + 1] ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does the HDF5 file begin where the file begins? Addresses count from there. */
static PetscBool begins_at_zero(const AnnData *file)
{
  const hid_t properties = H5Fget_create_plist(file->h5);
  hsize_t     before     = 1;

  if (properties < 0 || H5Pget_userblock(properties, &before) < 0) before = 1;
  H5Pclose(properties);
  return before ? PETSC_FALSE : PETSC_TRUE;
}

static PetscErrorCode open_rows(const AnnData *file, PlainRows *rows, PetscBool *plain)
{
  struct stat status;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(rows->path, file->path, sizeof rows->path));
  PetscCall(PetscStrncpy(rows->matrix, file->matrix, sizeof rows->matrix));
  rows->wide = file->keep_double ? anndata_is_double(file) : PETSC_FALSE;
  rows->file = open(file->path, O_RDONLY | O_CLOEXEC);
  *plain     = rows->file >= 0 && !fstat(rows->file, &status) && S_ISREG(status.st_mode) ? PETSC_TRUE : PETSC_FALSE;
  if (*plain) PetscCall(open_array(file, file->values, rows->wide ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, (uint64_t)status.st_size, &rows->values, plain));
  if (*plain) PetscCall(open_array(file, file->indices, H5T_NATIVE_INT32, (uint64_t)status.st_size, &rows->indices, plain));
  if (*plain) PetscCall(read_pointers(file, &rows->offset, plain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode plainrows_open(AnnData *file, PlainRows **rows)
{
  PetscBool plain;

  PetscFunctionBeginUser;
  *rows = NULL;
  if (file->form != MATRIX_CSR || !begins_at_zero(file)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(rows));
  (*rows)->file = -1;
  const PetscErrorCode code = open_rows(file, *rows, &plain);
  if (code || !plain) PetscCall(plainrows_close(rows));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode plainrows_close(PlainRows **rows)
{
  PetscFunctionBeginUser;
  if (!*rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(storedarray_close(&(*rows)->values));
  PetscCall(storedarray_close(&(*rows)->indices));
  if ((*rows)->file >= 0) close((*rows)->file);
  PetscCall(PetscFree((*rows)->offset));
  PetscCall(PetscFree(*rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int64_t plainrows_entries(const PlainRows *rows, PetscInt64 first, PetscInt64 count) { return rows->offset[first + count] - rows->offset[first]; }

PetscErrorCode plainrows_append(const PlainRows *rows, PetscInt64 first, PetscInt64 count, SparseRows *to)
{
  const int64_t begin = rows->offset[first], after = rows->offset[first + count], end = to->offset[to->rows];
  PetscBool     good;

  PetscFunctionBeginUser;
  good = storedarray_read(&rows->indices, rows->file, begin, after, to->column + end);
  good = good && storedarray_read(&rows->values, rows->file, begin, after, rows->wide ? (void *)(to->wide + end) : (void *)(to->value + end)) ? PETSC_TRUE : PETSC_FALSE;
  if (!good) return error_user("%s: '%s' cannot be read any more; was the file changed? Run again", rows->path, rows->matrix);
  for (PetscInt64 i = first; i < first + count; i++) to->offset[++to->rows] = end + rows->offset[i + 1] - begin;
  PetscFunctionReturn(PETSC_SUCCESS);
}
