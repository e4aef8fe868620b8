/* Ranges of rows of the selected matrix as CSR. */
#include "anndata_private.h"
#include <stdlib.h>
#include <string.h>

enum { DENSE_BLOCK = 1 << 22, SCAN_BLOCK = 1 << 22 }; /* values held at once while reading dense and column-wise matrices */

/* Entries that grow in number while reading. */
typedef struct {
  int64_t    count, room;
  int32_t   *row;  /* kept only when wanted */
  SparseRows kept; /* without offsets */
} Entries;

static PetscErrorCode entries_reserve(Entries *entries, int64_t more, PetscBool wide, PetscBool with_rows)
{
  PetscFunctionBeginUser;
  if (entries->count + more > entries->room) {
    const size_t room = (size_t)PetscMax(entries->count + more, 2 * entries->room);
    PetscCall(PetscRealloc(room * sizeof *entries->kept.column, &entries->kept.column));
    if (wide) PetscCall(PetscRealloc(room * sizeof *entries->kept.wide, &entries->kept.wide));
    else PetscCall(PetscRealloc(room * sizeof *entries->kept.value, &entries->kept.value));
    if (with_rows) PetscCall(PetscRealloc(room * sizeof *entries->row, &entries->row));
    entries->room = (int64_t)room;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode entries_free(Entries *entries)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(entries->row));
  PetscCall(sparserows_free(&entries->kept));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does a read give the selected matrix in double precision? */
static PetscBool reads_wide(const AnnData *file) { return file->keep_double ? anndata_is_double(file) : PETSC_FALSE; }

static hid_t value_type(const SparseRows *rows) { return rows->wide ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT; }
static void *values_of(const SparseRows *rows) { return rows->wide ? (void *)rows->wide : (void *)rows->value; }

/* Room for as many values as the file claims to hold. */
static PetscErrorCode allocate_values(const AnnData *file, int64_t entries, PetscBool wide, SparseRows *rows)
{
  PetscFunctionBeginUser;
  if (wide) PetscCall(anndata_allocate(file, file->matrix, entries, sizeof *rows->wide, &rows->wide));
  else PetscCall(anndata_allocate(file, file->matrix, entries, sizeof *rows->value, &rows->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- order within rows ------------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

  return x < y ? -1 : x > y;
}

/* Sort the entries [begin, end) by column, equal columns in the order of the file. */
static PetscErrorCode sort_entries(int64_t begin, int64_t end, SparseRows *rows)
{
  const int64_t n = end - begin;
  int64_t      *key;
  double       *copy;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &key, n, &copy));
  for (int64_t e = 0; e < n; e++) {
    key[e]  = ((int64_t)rows->column[begin + e] << 32) | e;
    copy[e] = sparserows_get(rows, begin + e);
  }
  qsort(key, (size_t)n, sizeof *key, compare_keys);
  for (int64_t e = 0; e < n; e++) {
    rows->column[begin + e] = (int32_t)(key[e] >> 32);
    sparserows_set(rows, begin + e, copy[key[e] & 0xffffffff]);
  }
  PetscCall(PetscFree2(key, copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows as the header promises: columns checked, ascending, duplicates summed, zeros dropped. */
static PetscErrorCode tidy(const AnnData *file, PetscInt64 first, SparseRows *rows)
{
  int64_t out = 0, begin = 0;

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < rows->rows; i++) {
    const int64_t end       = rows->offset[i + 1];
    PetscBool     ascending = PETSC_TRUE;
    int32_t       previous  = -1;
    for (int64_t e = begin; e < end; e++) {
      const int32_t column = rows->column[e];
      if (column < 0 || column >= rows->columns)
        return error_user("%s: '%s' has the column index %d in row %lld but only %lld columns; the file is damaged: write it again", file->path, file->matrix, column,
                          (long long)(first + i), (long long)rows->columns);
      if (column < previous) ascending = PETSC_FALSE;
      previous = column;
    }
    if (!ascending) PetscCall(sort_entries(begin, end, rows));
    for (int64_t e = begin; e < end;) {
      const int32_t column = rows->column[e];
      double        sum    = sparserows_get(rows, e++);
      for (; e < end && rows->column[e] == column; e++) sum += sparserows_get(rows, e);
      if (sum != 0) {
        rows->column[out] = column;
        sparserows_set(rows, out++, sum);
      }
    }
    begin               = end;
    rows->offset[i + 1] = out;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the forms ---------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode read_csr(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  char path[512];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/indptr", file->matrix));
  PetscCall(anndata_read_slab(file, file->indptr, path, H5T_NATIVE_INT64, first, count + 1, rows->offset));
  const int64_t base = rows->offset[0];
  for (PetscInt64 i = 0; i < count; i++)
    if (base < 0 || rows->offset[i] > rows->offset[i + 1] || rows->offset[i + 1] > file->entries) return anndata_damaged(file, path);
  for (PetscInt64 i = 0; i <= count; i++) rows->offset[i] -= base;
  const int64_t entries = rows->offset[count];
  PetscCall(anndata_allocate(file, file->matrix, entries, sizeof *rows->column, &rows->column));
  PetscCall(allocate_values(file, entries, reads_wide(file), rows));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/indices", file->matrix));
  PetscCall(anndata_read_slab(file, file->indices, path, H5T_NATIVE_INT32, base, entries, rows->column));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/data", file->matrix));
  PetscCall(anndata_read_slab(file, file->values, path, value_type(rows), base, entries, values_of(rows)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Append the entries [begin, end) of a column-wise matrix whose row lies in [first, first+count). column: that of begin, moved on. */
static PetscErrorCode scan_columns(AnnData *file, int64_t begin, int64_t end, PetscInt64 first, PetscInt64 count, int64_t *row, SparseRows *read, int64_t *column, Entries *entries)
{
  int64_t hits = 0, lowest = end, highest = begin;

  PetscFunctionBeginUser;
  PetscCall(anndata_read_slab(file, file->indices, file->matrix, H5T_NATIVE_INT64, begin, end - begin, row));
  for (int64_t e = begin; e < end; e++) {
    const int64_t r = row[e - begin];
    if (r < 0 || r >= file->rows)
      return error_user("%s: '%s' has the row index %lld but only %lld rows; the file is damaged: write it again", file->path, file->matrix, (long long)r, (long long)file->rows);
    if (r < first || r >= first + count) continue;
    if (!hits++) lowest = e;
    highest = e + 1;
  }
  if (!hits) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(anndata_read_slab(file, file->values, file->matrix, value_type(read), lowest, highest - lowest, values_of(read)));
  PetscCall(entries_reserve(entries, hits, read->wide ? PETSC_TRUE : PETSC_FALSE, PETSC_TRUE));
  for (int64_t e = lowest; e < highest; e++) {
    const int64_t r = row[e - begin];
    if (r < first || r >= first + count) continue;
    while (file->pointer[*column + 1] <= e) (*column)++;
    entries->row[entries->count]         = (int32_t)(r - first);
    entries->kept.column[entries->count] = (int32_t)*column;
    sparserows_set(&entries->kept, entries->count++, sparserows_get(read, e - lowest));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries found column by column, dealt out to their rows; columns stay ascending. */
static PetscErrorCode deal_to_rows(const Entries *entries, SparseRows *rows)
{
  int64_t *place;

  PetscFunctionBeginUser;
  PetscCall(sparserows_allocate(entries->count, entries->kept.wide ? PETSC_TRUE : PETSC_FALSE, rows));
  PetscCall(PetscMalloc1(rows->rows, &place));
  for (int64_t e = 0; e < entries->count; e++) rows->offset[entries->row[e] + 1]++;
  for (PetscInt64 i = 0; i < rows->rows; i++) {
    rows->offset[i + 1] += rows->offset[i];
    place[i] = rows->offset[i];
  }
  for (int64_t e = 0; e < entries->count; e++) {
    const int64_t p = place[entries->row[e]]++;
    rows->column[p] = entries->kept.column[e];
    sparserows_set(rows, p, sparserows_get(&entries->kept, e));
  }
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_csc(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  const int64_t  stored = file->columns ? file->pointer[file->columns] : 0, block = PetscMin(stored, (int64_t)SCAN_BLOCK);
  int64_t       *row, column = 0;
  SparseRows     read    = {0};
  Entries        entries = {0};
  PetscErrorCode code    = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(block, &row));
  PetscCall(allocate_values(file, block, reads_wide(file), &read));
  for (int64_t begin = 0; begin < stored && !code; begin += block) code = scan_columns(file, begin, PetscMin(stored, begin + block), first, count, row, &read, &column, &entries);
  PetscCall(PetscFree(row));
  PetscCall(sparserows_free(&read));
  if (!code) code = deal_to_rows(&entries, rows);
  PetscCall(entries_free(&entries));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows [first, first+count) of a two-dimensional data set or of the columns of a data frame, row-major, as values of block. */
static PetscErrorCode read_dense_block(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *block)
{
  PetscFunctionBeginUser;
  if (file->form == MATRIX_FRAME) {
    double *number;
    PetscCall(PetscMalloc1(count, &number));
    for (PetscInt64 j = 0; j < file->columns; j++) {
      const PetscErrorCode code = annarray_read_numbers(file, &file->frame[j], first, count, number);
      if (code) PetscCall(PetscFree(number));
      PetscCall(code);
      for (PetscInt64 i = 0; i < count; i++) sparserows_set(block, i * file->columns + j, number[i]);
    }
    PetscCall(PetscFree(number));
  } else {
    const hsize_t start[2] = {(hsize_t)first, 0}, part[2] = {(hsize_t)count, (hsize_t)file->columns};
    hid_t         space, memory;
    AnnTry(file, file->matrix, space = H5Dget_space(file->values));
    H5Check(memory = H5Screate_simple(2, part, NULL));
    AnnTry(file, file->matrix, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, part, NULL));
    AnnTry(file, file->matrix, H5Dread(file->values, value_type(block), memory, space, H5P_DEFAULT, values_of(block)));
    H5Check(H5Sclose(memory));
    AnnTry(file, file->matrix, H5Sclose(space));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_dense(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  const PetscInt64 most    = PetscMax((PetscInt64)1, PetscMin(count, DENSE_BLOCK / PetscMax((PetscInt64)1, file->columns)));
  const PetscBool  wide    = reads_wide(file);
  Entries          entries = {0};
  SparseRows       block   = {0};
  PetscErrorCode   code    = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(allocate_values(file, most * file->columns, wide, &block));
  for (PetscInt64 done = 0; done < count && !code; done += most) {
    const PetscInt64 part = PetscMin(most, count - done);
    code                  = read_dense_block(file, first + done, part, &block);
    for (PetscInt64 i = 0; i < part && !code; i++) {
      PetscCall(entries_reserve(&entries, file->columns, wide, PETSC_FALSE));
      int64_t e = entries.count;
      for (PetscInt64 j = 0; j < file->columns; j++) {
        const double value     = sparserows_get(&block, i * file->columns + j);
        entries.kept.column[e] = (int32_t)j;
        sparserows_set(&entries.kept, e, value);
        e += value != 0;
      }
      entries.count               = e;
      rows->offset[done + i + 1] = e;
    }
  }
  rows->column = entries.kept.column;
  rows->value  = entries.kept.value;
  rows->wide   = entries.kept.wide;
  PetscCall(sparserows_free(&block));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- public ------------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode read_rows(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(count + 1, &rows->offset));
  if (!count) PetscFunctionReturn(PETSC_SUCCESS);
  switch (file->form) {
  case MATRIX_CSR: PetscCall(read_csr(file, first, count, rows)); break;
  case MATRIX_CSC: PetscCall(read_csc(file, first, count, rows)); break;
  default: PetscCall(read_dense(file, first, count, rows)); break;
  }
  if (file->form == MATRIX_CSR || file->form == MATRIX_CSC) PetscCall(tidy(file, first, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_read_rows(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  PetscFunctionBeginUser;
  *rows = (SparseRows){.rows = count, .columns = file->columns};
  if (file->form == MATRIX_NONE) return error_user("%s: it has no X: choose a layer or an obsm matrix", file->path);
  if (first < 0 || count < 0 || first + count > file->rows)
    return error_user("%s: rows %lld to %lld asked for, but there are %lld cells", file->path, (long long)first, (long long)(first + count), (long long)file->rows);
  const PetscErrorCode code = read_rows(file, first, count, rows);
  if (code) PetscCall(sparserows_free(rows));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool anndata_is_double(const AnnData *file)
{
  const hid_t type = file->form == MATRIX_NONE || file->form == MATRIX_FRAME ? H5I_INVALID_HID : H5Dget_type(file->values);
  PetscBool   wide;

  if (type < 0) return PETSC_FALSE;
  wide = H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) > sizeof(float) ? PETSC_TRUE : PETSC_FALSE;
  H5Tclose(type);
  return wide;
}

PetscErrorCode anndata_keep_double(AnnData *file)
{
  PetscFunctionBeginUser;
  file->keep_double = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_rows_for_bytes(const AnnData *file, double bytes, PetscInt64 *rows)
{
  const double per_entry  = sizeof(int32_t) + (reads_wide(file) ? sizeof(double) : sizeof(float));
  const double per_row    = file->rows && file->entries ? (double)file->entries / (double)file->rows : (double)file->columns;
  const double of_sorting = file->form == MATRIX_CSC ? sizeof(int32_t) + per_entry : 0; /* entries are kept twice while they are dealt out */
  const double fit        = bytes / (sizeof(int64_t) + per_row * (per_entry + of_sorting));

  PetscFunctionBeginUser;
  *rows = fit < 1 ? 1 : fit > (double)file->rows ? PetscMax((PetscInt64)1, file->rows) : (PetscInt64)fit;
  /* Whole chunks, so that none is unpacked twice. */
  if (file->form == MATRIX_DENSE && *rows > file->chunk_rows && *rows < file->rows) *rows -= *rows % file->chunk_rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}
