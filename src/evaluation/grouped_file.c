/* An AnnData file whose cells fall into populations: its scale, its labels, its cells in chunks. */
#include "evaluation/evaluate_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

/* Memory of one chunk of a file. */
static const double chunk_bytes = 32 << 20;
/* Log values that are not counts lie below this (METRICS). */
static const double largest_log_value = 15;
/* Parts of a whole number that pass for rounding (cell-eval's epsilon). */
static const double largest_rounding = 1e-3;

/* What a scan of some rows finds. */
typedef struct {
  double    largest;
  PetscBool whole; /* all values whole numbers */
} Scan;

/* sum, entries: of the rows [begin, end). */
static PetscErrorCode scan_rows(GroupedFile *file, PetscInt64 begin, PetscInt64 end, double *sum, int32_t *entries, Scan *scan)
{
  PetscInt64 step;

  PetscFunctionBeginUser;
  *scan = (Scan){0, PETSC_TRUE};
  PetscCall(anndata_rows_for_bytes(file->file, chunk_bytes, &step));
  for (PetscInt64 first = begin; first < end; first += step) {
    SparseRows rows;

    PetscCall(anndata_read_rows(file->file, first, PetscMin(step, end - first), &rows));
    for (PetscInt64 i = 0; i < rows.rows; i++) {
      double total = 0;
      for (int64_t e = rows.offset[i]; e < rows.offset[i + 1]; e++) {
        const double value = (double)rows.value[e];
        if (!(value >= 0) || isinf(value)) {
          return error_user("%s: value %g in row %lld, column %lld of X; counts or log values must be finite and not negative", file->path, value,
                            (long long)(first + i + 1), (long long)rows.column[e] + 1);
        }
        total += value;
        scan->largest = PetscMax(scan->largest, value);
        if (value - floor(value) > largest_rounding) scan->whole = PETSC_FALSE;
      }
      sum[first + i - begin] = total;
      entries[first + i - begin] = (int32_t)(rows.offset[i + 1] - rows.offset[i]);
    }
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median of the sums above zero; sums are sorted. */
static double median_of_positive(PetscInt64 count, double *sum)
{
  PetscInt64 zeros = 0;

  qsort(sum, (size_t)count, sizeof *sum, ascending);
  while (zeros < count && sum[zeros] <= 0) zeros++;
  const PetscInt64 n = count - zeros;
  return n ? 0.5 * (sum[zeros + (n - 1) / 2] + sum[zeros + n / 2]) : 0;
}

/* Each rank scans its share of the rows; all learn the scale. */
static PetscErrorCode find_scale(MPI_Comm comm, double library_size, GroupedFile *file)
{
  PetscMPIInt rank, size, *counts, *offsets;
  double     *own, *sum, largest;
  int32_t    *own_entries;
  Scan        scan;
  int         whole;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscMalloc5(size, &counts, size, &offsets, file->cells, &own, file->cells, &sum, file->cells, &own_entries));
  for (PetscMPIInt r = 0; r < size; r++) {
    offsets[r] = (PetscMPIInt)(file->cells * r / size);
    counts[r] = (PetscMPIInt)(file->cells * (r + 1) / size) - offsets[r];
  }
  PetscCallAgree(comm, scan_rows(file, offsets[rank], offsets[rank] + counts[rank], own, own_entries, &scan));
  PetscCallMPI(MPI_Allgatherv(own, counts[rank], MPI_DOUBLE, sum, counts, offsets, MPI_DOUBLE, comm));
  PetscCallMPI(MPI_Allgatherv(own_entries, counts[rank], MPI_INT32_T, file->entries, counts, offsets, MPI_INT32_T, comm));
  PetscCallMPI(MPI_Allreduce(&scan.largest, &largest, 1, MPI_DOUBLE, MPI_MAX, comm));
  whole = scan.whole;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &whole, 1, MPI_INT, MPI_MIN, comm));
  file->counts = whole ? PETSC_TRUE : PETSC_FALSE;
  file->library_size = library_size > 0 ? library_size : median_of_positive(file->cells, sum);
  PetscCall(PetscFree5(counts, offsets, own, sum, own_entries));
  /* A network trained too little may predict any value; its file says that they are log values. */
  if (!file->counts && largest >= largest_log_value && !anndata_exists(file->file, "uns/log1p")) {
    return error_user("%s: values with decimals up to %g are neither counts nor log values (below %g); give counts or log1p values", file->path, largest,
                      largest_log_value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_open(MPI_Comm comm, const char *path, const char *const column[AXES], double library_size, GroupedFile *file)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(file, sizeof *file));
  file->path = path;
  PetscCall(anndata_open(comm, path, &file->file));
  PetscCall(anndata_shape(file->file, &file->cells, &file->genes));
  for (int a = 0; a < AXES; a++)
    if (*column[a]) PetscCall(anndata_column(file->file, "obs", column[a], &file->column[a]));
  if (!file->cells || !file->genes) return error_user("%s: no %s in it", path, file->cells ? "genes" : "cells");
  if (file->cells > PETSC_MPI_INT_MAX)
    return error_user("%s: %lld cells are more than the %d that can be scored at once", path, (long long)file->cells, PETSC_MPI_INT_MAX);
  PetscCall(PetscMalloc3(file->cells, &file->key, file->genes, &file->position, file->cells, &file->entries));
  PetscCall(find_scale(comm, library_size, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_close(GroupedFile *file)
{
  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) PetscCall(anncolumn_free(&file->column[a]));
  PetscCall(PetscFree3(file->key, file->position, file->entries));
  PetscCall(anndata_close(&file->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Index of each of the column's levels among the labels; -1 where there is none. */
static PetscErrorCode map_levels(const AnnColumn *column, PetscInt labels, char *const *label, int32_t *map)
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < column->levels; l++) {
    map[l] = -1;
    for (PetscInt j = 0; j < labels && map[l] < 0; j++)
      if (!strcmp(column->level[l], label[(l + j) % labels])) map[l] = (int32_t)((l + j) % labels);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_keys(GroupedFile *file, const char *real, const Axes *axes)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(file->key, file->cells));
  for (int a = 0; a < AXES; a++) {
    const AnnColumn *column = &file->column[a];
    int32_t         *map;

    if (!*axes->column[a]) continue;
    PetscCall(PetscMalloc1(column->levels, &map));
    PetscCall(map_levels(column, axes->count[a], axes->label[a], map));
    for (PetscInt64 i = 0; i < file->cells; i++) {
      const int32_t code = column->code[i];

      if (code >= 0 && map[code] < 0) {
        return error_user("%s: label '%s' of column '%s' is not in %s, which has %lld labels there", file->path, column->level[code], axes->column[a], real,
                          (long long)axes->count[a]);
      }
      if (code < 0) file->key[i] = -1;
      if (file->key[i] >= 0) file->key[i] = file->key[i] * axes->count[a] + map[code];
    }
    PetscCall(PetscFree(map));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Log value on the scale of the scores. Single precision in scanpy's order (normalize_total, log1p): it decides which values are equal. */
static double scaled(const GroupedFile *file, double value, double total)
{
  if (!file->counts) return value;
  const float share = (float)total / (float)file->library_size;
  return total > 0 ? (double)log1pf((float)value / share) : 0;
}

PetscErrorCode groupedfile_rows(GroupedFile *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(anndata_read_rows(file->file, first, count, rows));
  for (PetscInt64 i = 0; i < count && file->counts; i++) {
    double total = 0;
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) total += (double)rows->value[e];
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) rows->value[e] = (float)scaled(file, (double)rows->value[e], total);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Append the scored genes of row i to a slot's rows; the arrays grow by doubling. */
static PetscErrorCode append_row(const GroupedFile *file, const SparseRows *from, PetscInt64 i, int64_t *capacity, SparseRows *to)
{
  int64_t end = to->offset[to->rows];

  PetscFunctionBeginUser;
  if (end + from->offset[i + 1] - from->offset[i] > *capacity) {
    *capacity = 2 * (end + from->offset[i + 1] - from->offset[i]);
    PetscCall(PetscRealloc((size_t)*capacity * sizeof *to->column, &to->column));
    PetscCall(PetscRealloc((size_t)*capacity * sizeof *to->value, &to->value));
  }
  for (int64_t e = from->offset[i]; e < from->offset[i + 1]; e++) {
    const int32_t gene = file->position[from->column[e]];
    if (gene < 0) continue;
    to->column[end] = gene;
    to->value[end++] = from->value[e];
  }
  to->offset[++to->rows] = end;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void sum_row(const GroupedFile *file, const SparseRows *rows, PetscInt64 i, double *sum)
{
  for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
    const int32_t gene = file->position[rows->column[e]];
    if (gene >= 0) sum[gene] += (double)rows->value[e];
  }
}

static PetscErrorCode load_chunk(GroupedFile *file, PetscInt64 first, PetscInt64 count, const PetscInt *slot, const SlotList *slots, PetscInt genes,
                                 const unsigned char *wanted, int64_t *capacity, SlotCells *cells)
{
  SparseRows rows;

  PetscFunctionBeginUser;
  PetscCall(groupedfile_rows(file, first, count, &rows));
  for (PetscInt64 i = 0; i < count; i++) {
    const PetscInt s = slot[first + i];

    if (s < 0) continue;
    if (wanted[s]) PetscCall(append_row(file, &rows, i, &capacity[s], &cells->rows[s]));
    if (slots->control_row[s] >= 0) sum_row(file, &rows, i, cells->mean + (size_t)slots->control_row[s] * (size_t)genes);
  }
  PetscCall(sparserows_free(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_load(GroupedFile *file, const SlotList *slots, PetscInt genes, const unsigned char *wanted, SlotCells *cells)
{
  PetscInt  *slot;
  int64_t   *capacity;
  PetscInt64 step;

  PetscFunctionBeginUser;
  PetscCall(slotcells_create(slots, genes, cells));
  PetscCall(PetscMalloc1(file->cells, &slot));
  PetscCall(PetscCalloc1(slots->count, &capacity));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    slot[i] = file->key[i] < 0 ? -1 : key_find(slots->count, slots->key, file->key[i]);
    if (slot[i] < 0) continue;
    cells->cells[slot[i]]++;
    if (!wanted[slot[i]] && slots->control_row[slot[i]] < 0) slot[i] = -1;
  }
  for (PetscInt s = 0; s < slots->count; s++)
    if (wanted[s]) PetscCall(PetscCalloc1(cells->cells[s] + 1, &cells->rows[s].offset));
  PetscCall(anndata_rows_for_bytes(file->file, chunk_bytes, &step));
  for (PetscInt64 first = 0; first < file->cells; first += step) {
    const PetscInt64 count = PetscMin(step, file->cells - first);
    PetscInt64       used = 0;

    for (PetscInt64 i = first; i < first + count; i++) used += slot[i] >= 0;
    if (used) PetscCall(load_chunk(file, first, count, slot, slots, genes, wanted, capacity, cells));
  }
  for (PetscInt s = 0; s < slots->count; s++) {
    double *mean = slots->control_row[s] >= 0 ? cells->mean + (size_t)slots->control_row[s] * (size_t)genes : NULL;
    for (PetscInt g = 0; mean && cells->cells[s] && g < genes; g++) mean[g] /= (double)cells->cells[s];
  }
  PetscCall(PetscFree(slot));
  PetscCall(PetscFree(capacity));
  PetscFunctionReturn(PETSC_SUCCESS);
}
