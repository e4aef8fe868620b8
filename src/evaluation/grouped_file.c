/* An AnnData file whose cells fall into populations: its scale, its labels, its cells in chunks. */
#include "evaluation/evaluate_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/sort.h>
#include <string.h>

/* Log values that are not counts lie below this (METRICS). */
static const double largest_log_value = 15;
/* Parts of a whole number that pass for rounding (cell-eval's epsilon). */
static const double largest_rounding = 1e-3;

CellMemory cellmemory_of(double bytes)
{
  const double all = bytes > 0 ? bytes : 1 << 30;
  return (CellMemory){.chunk = all / 32, .kept = 3 * all / 8, .batch = all / 2, .small_batch = all / 32};
}

/* What a scan of some rows finds. */
typedef struct {
  double    least, largest; /* least: of the values and 0; NaN where one is */
  PetscBool whole;          /* all values whole numbers */
} Scan;

/* The sum of a row. */
#define SCAN_ROW(name, type, floor_of)                                                                       \
  VECTOR_CLONES static double name(int64_t count, const type *restrict value, Scan *scan)                    \
  {                                                                                                          \
    double  total = 0;                                                                                       \
    type    least = 0, largest = 0;                                                                          \
    int64_t broken = 0, bad = 0;                                                                             \
                                                                                                             \
    for (int64_t e = 0; e < count; e++) total += (double)value[e];                                           \
    _Pragma("omp simd reduction(min : least) reduction(max : largest) reduction(+ : broken, bad)")           \
    for (int64_t e = 0; e < count; e++) {                                                                    \
      const type x = value[e];                                                                               \
      least = x < least ? x : least;                                                                         \
      largest = x > largest ? x : largest;                                                                   \
      broken += (double)x - (double)floor_of(x) > largest_rounding;                                          \
      bad += x != x;                                                                                         \
    }                                                                                                        \
    scan->least = bad ? NAN : PetscMin(scan->least, (double)least);                                          \
    scan->largest = PetscMax(scan->largest, (double)largest);                                                \
    if (broken) scan->whole = PETSC_FALSE;                                                                   \
    return total;                                                                                            \
  }
SCAN_ROW(scan_single, float, floorf)
SCAN_ROW(scan_double, double, floor)

/* sum, entries: of the rows [begin, end). kept: NULL, or the chunks, one after the other. */
static PetscErrorCode scan_rows(GroupedFile *file, PetscInt64 begin, PetscInt64 end, PetscInt64 step, double *sum, int32_t *entries, SparseRows *kept, Scan *scan)
{
  PetscFunctionBeginUser;
  *scan = (Scan){0, 0, PETSC_TRUE};
  for (PetscInt64 first = begin; first < end; first += step) {
    SparseRows rows;

    PetscCall(anndata_read_rows(file->file, first, PetscMin(step, end - first), &rows));
    for (PetscInt64 i = 0; i < rows.rows; i++) {
      const int64_t at = rows.offset[i], count = rows.offset[i + 1] - at;
      sum[first + i - begin] = rows.wide ? scan_double(count, rows.wide + at, scan) : scan_single(count, rows.value + at, scan);
      if (!(scan->least >= 0) || isinf(scan->largest)) {
        int64_t e = at;
        while (sparserows_get(&rows, e) >= 0 && !isinf(sparserows_get(&rows, e))) e++;
        const double wrong = sparserows_get(&rows, e);
        const long long column = (long long)rows.column[e] + 1;
        PetscCall(sparserows_free(&rows));
        return error_user("%s: value %g in row %lld, column %lld of X; counts or log values must be finite and not negative", file->path, wrong,
                          (long long)(first + i + 1), column);
      }
      entries[first + i - begin] = (int32_t)(rows.offset[i + 1] - rows.offset[i]);
    }
    if (kept) *kept++ = rows;
    else PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Median of the sums above zero; sums are sorted. */
static double median_of_positive(PetscInt64 count, double *sum)
{
  PetscInt64 zeros = 0;

  sort_doubles(count, sum);
  while (zeros < count && sum[zeros] <= 0) zeros++;
  const PetscInt64 n = count - zeros;
  return n ? 0.5 * (sum[zeros + (n - 1) / 2] + sum[zeros + n / 2]) : 0;
}

/* Log value on the scale of the scores, in the precision of the matrix and scanpy's order (normalize_total, log1p): it decides which values are equal. */
static double scaled(double library_size, double value, double total, PetscBool wide)
{
  const float share = (float)total / (float)library_size;

  if (!(total > 0)) return 0;
  return wide ? log1p(value / (total / library_size)) : (double)log1pf((float)value / share);
}

static double library_of(const GroupedFile *file, PetscInt64 cell)
{
  const int32_t type = file->type_library ? file->column[1].code[cell] : -1;
  return type < 0 ? file->library_size : file->type_library[type];
}

/* Rows of the cells from `first` on. */
static void scale_rows(const GroupedFile *file, PetscInt64 first, SparseRows *rows)
{
  for (PetscInt64 i = 0; i < rows->rows && file->counts; i++) {
    double total = 0;
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) total += sparserows_get(rows, e);
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++)
      sparserows_set(rows, e, scaled(library_of(file, first + i), sparserows_get(rows, e), total, rows->wide ? PETSC_TRUE : PETSC_FALSE));
  }
}

/* Chunks of this rank's rows into memory that the ranks of a node share. */
static PetscErrorCode keep_rows(MPI_Comm node, PetscInt chunks, SparseRows *chunk, PetscInt64 first, GroupedFile *file)
{
  const PetscBool wide = anndata_is_double(file->file);
  const size_t    each = wide ? sizeof(double) : sizeof(float);
  const MPI_Aint  to_values = (MPI_Aint)(((size_t)file->cells + 1) * sizeof(int64_t));
  int64_t        own = 0, before = 0, all;
  PetscMPIInt    rank;
  MPI_Aint       size;
  int            unit;
  char          *memory;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < chunks; c++) own += chunk[c].offset[chunk[c].rows];
  PetscCallMPI(MPI_Comm_rank(node, &rank));
  PetscCallMPI(MPI_Exscan(&own, &before, 1, MPI_INT64_T, MPI_SUM, node));
  PetscCallMPI(MPI_Allreduce(&own, &all, 1, MPI_INT64_T, MPI_SUM, node));
  size = rank ? 0 : to_values + (MPI_Aint)((size_t)all * (each + sizeof(int32_t)));
  PetscCallMPI(MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, node, &memory, &file->window));
  PetscCallMPI(MPI_Win_shared_query(file->window, 0, &size, &unit, &memory));
  file->kept = (SparseRows){.rows = file->cells, .columns = file->genes};
  file->kept.offset = (int64_t *)(void *)memory;
  char *const values = memory + to_values;
  if (wide) file->kept.wide = (double *)(void *)values;
  else file->kept.value = (float *)(void *)values;
  file->kept.column = (int32_t *)(void *)(values + (size_t)all * each);
  if (!rank) file->kept.offset[0] = 0;
  for (PetscInt c = 0; c < chunks; c++) {
    const size_t entries = (size_t)chunk[c].offset[chunk[c].rows];
    scale_rows(file, first, &chunk[c]);
    for (PetscInt64 i = 0; i < chunk[c].rows; i++) file->kept.offset[first + i + 1] = before + chunk[c].offset[i + 1];
    memcpy(file->kept.column + before, chunk[c].column, entries * sizeof(int32_t));
    memcpy(values + (size_t)before * each, wide ? (const void *)chunk[c].wide : (const void *)chunk[c].value, entries * each);
    first += chunk[c].rows;
    before += (int64_t)entries;
    PetscCall(sparserows_free(&chunk[c]));
  }
  PetscCallMPI(MPI_Win_fence(0, file->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Median of the sums of each cell type. */
static PetscErrorCode find_type_libraries(GroupedFile *file, const double *sum)
{
  const AnnColumn *type = &file->column[1];
  double          *of_type;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(type->levels, &file->type_library));
  PetscCall(PetscMalloc1(file->cells, &of_type));
  for (PetscInt l = 0; l < type->levels; l++) {
    PetscInt64 count = 0;
    for (PetscInt64 i = 0; i < file->cells; i++)
      if (type->code[i] == (int32_t)l) of_type[count++] = sum[i];
    file->type_library[l] = median_of_positive(count, of_type);
  }
  PetscCall(PetscFree(of_type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Who reads which rows, and keeps them: each rank all of them where that fits into the memory a node's ranks may share, else they keep one copy, else every
   rank scans its share. comm: MPI_COMM_SELF, the node, or all. */
static PetscErrorCode choose_readers(MPI_Comm all, GroupedFile *file, MPI_Comm *comm, PetscBool *keep)
{
  PetscInt64  fit_one, fit_all;
  PetscMPIInt ranks;
  MPI_Comm    node;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ranks, 1, MPI_INT, MPI_MAX, all));
  PetscCall(anndata_rows_for_bytes(file->file, file->memory.kept, &fit_one));
  PetscCall(anndata_rows_for_bytes(file->file, file->memory.kept / ranks, &fit_all));
  *keep = fit_one >= file->cells ? PETSC_TRUE : PETSC_FALSE;
  *comm = all;
  if (fit_all >= file->cells) *comm = MPI_COMM_SELF;
  else if (*keep) *comm = node;
  if (*comm != node) PetscCallMPI(MPI_Comm_free(&node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank scans its share of the rows; all learn the scale. */
static PetscErrorCode find_scale(MPI_Comm all, double library_size, GroupedFile *file)
{
  PetscMPIInt rank, size, *counts, *offsets;
  MPI_Comm    comm = all;
  const PetscInt64 step = file->step;
  PetscInt    chunks = 0;
  PetscBool   keep = PETSC_FALSE;
  double     *own, *sum, largest;
  int32_t    *own_entries;
  SparseRows *chunk = NULL;
  Scan        scan;
  int         whole;

  PetscFunctionBeginUser;
  PetscCall(choose_readers(all, file, &comm, &keep));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscMalloc5(size, &counts, size, &offsets, file->cells, &own, file->cells, &sum, file->cells, &own_entries));
  for (PetscMPIInt r = 0; r < size; r++) {
    offsets[r] = (PetscMPIInt)(file->cells * r / size);
    counts[r] = (PetscMPIInt)(file->cells * (r + 1) / size) - offsets[r];
  }
  if (keep) {
    chunks = (PetscInt)((counts[rank] + step - 1) / step);
    PetscCall(PetscCalloc1(chunks, &chunk));
  }
  PetscCallAgree(all, scan_rows(file, offsets[rank], offsets[rank] + counts[rank], step, own, own_entries, chunk, &scan));
  PetscCallMPI(MPI_Allgatherv(own, counts[rank], MPI_DOUBLE, sum, counts, offsets, MPI_DOUBLE, comm));
  PetscCallMPI(MPI_Allgatherv(own_entries, counts[rank], MPI_INT32_T, file->entries, counts, offsets, MPI_INT32_T, comm));
  PetscCallMPI(MPI_Allreduce(&scan.largest, &largest, 1, MPI_DOUBLE, MPI_MAX, comm));
  whole = scan.whole;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &whole, 1, MPI_INT, MPI_MIN, comm));
  file->counts = whole ? PETSC_TRUE : PETSC_FALSE;
  if (file->counts && library_size <= 0 && file->column[1].levels) PetscCall(find_type_libraries(file, sum));
  file->library_size = library_size > 0 ? library_size : median_of_positive(file->cells, sum);
  if (comm == MPI_COMM_SELF) {
    for (PetscInt c = 0; c < chunks; c++) scale_rows(file, c * step, &chunk[c]);
    file->chunks = chunks;
    file->chunk = chunk;
    chunk = NULL;
  } else if (keep) {
    PetscCall(keep_rows(comm, chunks, chunk, offsets[rank], file));
    PetscCallMPI(MPI_Comm_free(&comm));
  }
  PetscCall(PetscFree(chunk));
  PetscCall(PetscFree5(counts, offsets, own, sum, own_entries));
  /* A network trained too little may predict any value; its file says that they are log values. */
  if (!file->counts && largest >= largest_log_value && !anndata_exists(file->file, "uns/log1p")) {
    return error_user("%s: values with decimals up to %g are neither counts nor log values (below %g); give counts or log1p values", file->path, largest,
                      largest_log_value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_open(MPI_Comm comm, const char *path, const char *const column[AXES], double library_size, double memory, GroupedFile *file)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(file, sizeof *file));
  file->window = MPI_WIN_NULL;
  file->path = path;
  PetscCall(anndata_open(comm, path, &file->file));
  PetscCall(anndata_keep_double(file->file));
  PetscCall(anndata_shape(file->file, &file->cells, &file->genes));
  for (int a = 0; a < AXES; a++)
    if (*column[a]) PetscCall(anndata_column(file->file, "obs", column[a], &file->column[a]));
  if (!anndata_exists(file->file, "X")) return error_user("%s: no matrix X in it; write the values to be scored into X", path);
  if (!file->cells || !file->genes) return error_user("%s: no %s in it", path, file->cells ? "genes" : "cells");
  if (file->cells > PETSC_MPI_INT_MAX)
    return error_user("%s: %lld cells are more than the %d that can be scored at once", path, (long long)file->cells, PETSC_MPI_INT_MAX);
  PetscCall(PetscMalloc3(file->cells, &file->key, file->genes, &file->position, file->cells, &file->entries));
  file->memory = cellmemory_of(memory);
  PetscCall(anndata_rows_for_bytes(file->file, file->memory.chunk, &file->step));
  PetscCall(find_scale(comm, library_size, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_close(GroupedFile *file)
{
  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) PetscCall(anncolumn_free(&file->column[a]));
  PetscCall(PetscFree3(file->key, file->position, file->entries));
  PetscCall(PetscFree(file->type_library));
  if (file->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&file->window));
  for (PetscInt c = 0; c < file->chunks; c++) PetscCall(sparserows_free(&file->chunk[c]));
  PetscCall(PetscFree(file->chunk));
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

/* Labels of cells that the real file does not have. */
static PetscErrorCode refuse_labels(const GroupedFile *file, const AnnColumn *column, const int32_t *map, const char *name, const char *real)
{
  const char    *first[3] = {"", "", ""};
  unsigned char *used;
  PetscInt       missing = 0, all = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(column->levels, &used));
  for (PetscInt64 i = 0; i < file->cells; i++)
    if (column->code[i] >= 0) used[column->code[i]] = 1;
  for (PetscInt l = 0; l < column->levels; l++) {
    all += used[l];
    if (used[l] && map[l] < 0 && missing++ < 3) first[missing - 1] = column->level[l];
  }
  PetscCall(PetscFree(used));
  if (missing)
    return error_user("%s: %lld of its %lld labels of column '%s' are not in %s ('%s'%s%s%s%s%s%s%s); give files with the same", file->path, (long long)missing, (long long)all,
                      name, real, first[0], missing > 1 ? ", '" : "", first[1], missing > 1 ? "'" : "", missing > 2 ? ", '" : "", first[2], missing > 2 ? "'" : "",
                      missing > 3 ? ", ..." : "");
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
    PetscCall(refuse_labels(file, column, map, axes->column[a], real));
    for (PetscInt64 i = 0; i < file->cells; i++) {
      const int32_t code = column->code[i];

      if (code < 0) file->key[i] = -1;
      if (file->key[i] >= 0) file->key[i] = file->key[i] * axes->count[a] + map[code];
    }
    PetscCall(PetscFree(map));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool groupedfile_is_kept(const GroupedFile *file) { return file->chunk || file->window != MPI_WIN_NULL ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode groupedfile_rows(GroupedFile *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCheck(count < 1 || first / file->step == (first + count - 1) / file->step, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Rows of two chunks");
  if (file->chunk) {
    *rows = file->chunk[first / file->step];
    rows->rows = count;
    rows->offset += first % file->step;
  } else if (file->window != MPI_WIN_NULL) {
    *rows = file->kept;
    rows->rows = count;
    rows->offset += first;
  } else {
    PetscCall(anndata_read_rows(file->file, first, count, rows));
    scale_rows(file, first, rows);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_rows_done(const GroupedFile *file, SparseRows *rows)
{
  PetscFunctionBeginUser;
  if (!groupedfile_is_kept(file)) PetscCall(sparserows_free(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void groupedfile_append(const GroupedFile *file, const SparseRows *from, PetscInt64 i, SparseRows *to)
{
  int64_t end = to->offset[to->rows];

  for (int64_t e = from->offset[i]; e < from->offset[i + 1]; e++) {
    const int32_t gene = file->position[from->column[e]];
    if (gene < 0) continue;
    to->column[end] = gene;
    sparserows_set(to, end++, sparserows_get(from, e));
  }
  to->offset[++to->rows] = end;
}

static void sum_row(const GroupedFile *file, const SparseRows *rows, PetscInt64 i, double *sum)
{
  for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
    const int32_t gene = file->position[rows->column[e]];
    if (gene >= 0) sum[gene] += sparserows_get(rows, e);
  }
}

/* Slot of every cell, -1: not needed. */
static PetscErrorCode slots_of_cells(const GroupedFile *file, const SlotList *slots, const unsigned char *needed, PetscInt **slot)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(file->cells, slot));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    const PetscInt s = file->key[i] < 0 ? -1 : key_find(slots->count, slots->key, file->key[i]);
    (*slot)[i] = s >= 0 && needed[s] ? s : -1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All cells with a slot, in chunks: into the rows that have room, and into sums (controls, genes) where sum is not NULL. */
static PetscErrorCode read_slots(GroupedFile *file, const PetscInt *slot, const SlotList *slots, PetscInt genes, SparseRows *to, double *sum)
{
  const PetscInt64 step = file->step;

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < file->cells; first += step) {
    PetscInt64 begin = first, end = PetscMin(first + step, file->cells);
    SparseRows rows;

    while (begin < end && slot[begin] < 0) begin++;
    while (end > begin && slot[end - 1] < 0) end--;
    if (begin == end) continue;
    PetscCall(groupedfile_rows(file, begin, end - begin, &rows));
    for (PetscInt64 i = begin; i < end; i++) {
      const PetscInt s = slot[i];
      if (s < 0) continue;
      if (to[s].offset) groupedfile_append(file, &rows, i - begin, &to[s]);
      if (sum && slots->control_row[s] >= 0) sum_row(file, &rows, i - begin, sum + (size_t)slots->control_row[s] * (size_t)genes);
    }
    PetscCall(groupedfile_rows_done(file, &rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_load(GroupedFile *file, const SlotList *slots, PetscInt genes, const unsigned char *wanted, SparseRows *rows)
{
  PetscInt *slot;
  int64_t  *entries;

  PetscFunctionBeginUser;
  PetscCall(slots_of_cells(file, slots, wanted, &slot));
  PetscCall(PetscCalloc1(2 * slots->count, &entries));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    if (slot[i] < 0) continue;
    entries[2 * slot[i]] += file->entries[i];
    entries[2 * slot[i] + 1]++;
  }
  for (PetscInt s = 0; s < slots->count; s++) {
    if (!wanted[s]) continue;
    rows[s] = (SparseRows){.columns = genes};
    PetscCall(PetscCalloc1(entries[2 * s + 1] + 1, &rows[s].offset));
    PetscCall(sparserows_allocate(entries[2 * s], anndata_is_double(file->file), &rows[s]));
  }
  PetscCall(PetscFree(entries));
  PetscCall(read_slots(file, slot, slots, genes, rows, NULL));
  PetscCall(PetscFree(slot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_controls(GroupedFile *file, const SlotList *slots, PetscInt genes, SlotCells *cells)
{
  unsigned char *control;
  PetscInt      *slot;

  PetscFunctionBeginUser;
  PetscCall(slotcells_create(slots, genes, cells));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    const PetscInt s = file->key[i] < 0 ? -1 : key_find(slots->count, slots->key, file->key[i]);
    if (s < 0) continue;
    cells->cells[s]++;
    cells->entries[s] += file->entries[i];
  }
  PetscCall(PetscMalloc1(slots->count, &control));
  for (PetscInt s = 0; s < slots->count; s++) control[s] = slots->control_row[s] >= 0;
  PetscCall(slots_of_cells(file, slots, control, &slot));
  PetscCall(read_slots(file, slot, slots, genes, cells->rows, cells->mean));
  for (PetscInt s = 0; s < slots->count; s++) {
    double *mean = control[s] ? cells->mean + (size_t)slots->control_row[s] * (size_t)genes : NULL;
    for (PetscInt g = 0; mean && cells->cells[s] && g < genes; g++) mean[g] /= (double)cells->cells[s];
  }
  PetscCall(PetscFree(control));
  PetscCall(PetscFree(slot));
  PetscFunctionReturn(PETSC_SUCCESS);
}
