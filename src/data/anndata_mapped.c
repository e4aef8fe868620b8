/* Rows of a CSR matrix that lies in the file as it would lie in memory. */
#include "anndata_private.h"
#include "data/mapped_array.h"

struct MappedRows {
  FileMap     map;
  MappedArray values, indices;
  int64_t    *offset; /* rows + 1 */
  PetscBool   wide;
};

/* A data set of the type that is read, neither packed nor missing a chunk. */
static PetscErrorCode open_array(const AnnData *file, hid_t dataset, hid_t type, const FileMap *map, MappedArray *array, PetscBool *plain)
{
  hid_t      stored;
  ArrayState state;
  char       foreign[96];

  PetscFunctionBeginUser;
  AnnTry(file, file->matrix, stored = H5Dget_type(dataset));
  *plain = H5Tequal(stored, type) > 0 ? PETSC_TRUE : PETSC_FALSE;
  AnnTry(file, file->matrix, H5Tclose(stored));
  if (!*plain) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(mappedarray_open(dataset, type, file->entries, map, array, &state, foreign));
  *plain = state == ARRAY_GOOD ? mappedarray_is_plain(array, map) : PETSC_FALSE;
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

static PetscErrorCode open_rows(const AnnData *file, MappedRows *rows, PetscBool *good)
{
  PetscFunctionBeginUser;
  rows->wide = file->keep_double ? anndata_is_double(file) : PETSC_FALSE;
  PetscCall(read_pointers(file, &rows->offset, good));
  if (!*good) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(filemap_open(file->path, &rows->map));
  PetscCall(open_array(file, file->values, rows->wide ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, &rows->map, &rows->values, good));
  if (*good) PetscCall(open_array(file, file->indices, H5T_NATIVE_INT32, &rows->map, &rows->indices, good));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode mappedrows_open(AnnData *file, MappedRows **rows)
{
  PetscBool good;

  PetscFunctionBeginUser;
  *rows = NULL;
  if (file->form != MATRIX_CSR || !begins_at_zero(file)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(rows));
  const PetscErrorCode code = open_rows(file, *rows, &good);
  if (code || !good) PetscCall(mappedrows_close(rows));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode mappedrows_close(MappedRows **rows)
{
  PetscFunctionBeginUser;
  if (!*rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(mappedarray_close(&(*rows)->values));
  PetscCall(mappedarray_close(&(*rows)->indices));
  PetscCall(filemap_close(&(*rows)->map));
  PetscCall(PetscFree((*rows)->offset));
  PetscCall(PetscFree(*rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int64_t mappedrows_entries(const MappedRows *rows, PetscInt64 row) { return rows->offset[row + 1] - rows->offset[row]; }

void mappedrows_append(const MappedRows *rows, PetscInt64 row, SparseRows *to)
{
  const int64_t begin = rows->offset[row], after = rows->offset[row + 1], end = to->offset[to->rows];

  mappedarray_copy(&rows->indices, &rows->map, begin, after, to->column + end);
  mappedarray_copy(&rows->values, &rows->map, begin, after, rows->wide ? (void *)(to->wide + end) : (void *)(to->value + end));
  to->offset[++to->rows] = end + after - begin;
}
