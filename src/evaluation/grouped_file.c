/* An AnnData file whose cells fall into populations: its scale and its labels. */
#include "evaluation/evaluate_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/sort.h>
#include <perturbdiff/runtime/threads.h>
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
  PetscBool tidy;           /* none of them 0; of rows not read yet: they are as a read would give them, and good */
} Scan;

/* The sum of a row, while all values are counts: nobody asks for that of others. */
#define SCAN_ROW(name, type, floor_of)                                                                       \
  VECTOR_CLONES static double name(int64_t count, const type *restrict value, Scan *scan)                    \
  {                                                                                                          \
    double  total = 0;                                                                                       \
    type    least = 0, largest = 0;                                                                          \
    int64_t broken = 0, bad = 0, zeros = 0;                                                                  \
                                                                                                             \
    _Pragma("omp simd reduction(min : least) reduction(max : largest) reduction(+ : broken, bad, zeros)")    \
    for (int64_t e = 0; e < count; e++) {                                                                    \
      const type x = value[e];                                                                               \
      least = x < least ? x : least;                                                                         \
      largest = x > largest ? x : largest;                                                                   \
      broken += (double)x - (double)floor_of(x) > largest_rounding;                                          \
      bad += x != x;                                                                                         \
      zeros += x == 0;                                                                                       \
    }                                                                                                        \
    scan->least = bad ? NAN : PetscMin(scan->least, (double)least);                                          \
    scan->largest = PetscMax(scan->largest, (double)largest);                                                \
    if (broken) scan->whole = PETSC_FALSE;                                                                   \
    if (zeros) scan->tidy = PETSC_FALSE;                                                                     \
    for (int64_t e = 0; scan->whole && e < count; e++) total += (double)value[e];                            \
    return total;                                                                                            \
  }
SCAN_ROW(scan_single, float, floorf)
SCAN_ROW(scan_double, double, floor)

static double scan_row(const SparseRows *rows, PetscInt64 i, Scan *scan)
{
  const int64_t at = rows->offset[i], count = rows->offset[i + 1] - at;

  return rows->wide ? scan_double(count, rows->wide + at, scan) : scan_single(count, rows->value + at, scan);
}

static PetscBool scan_is_good(const Scan *scan) { return scan->least >= 0 && !isinf(scan->largest) ? PETSC_TRUE : PETSC_FALSE; }

/* Rows [begin, end) as they are read: their sums (cells) and entries. kept: NULL, or the chunks, one after the other. */
static PetscErrorCode scan_rows(GroupedFile *file, PetscInt64 begin, PetscInt64 end, double *sum, SparseRows *kept, Scan *scan)
{
  PetscFunctionBeginUser;
  *scan = (Scan){0, 0, PETSC_TRUE, PETSC_TRUE};
  for (PetscInt64 first = begin; first < end; first += file->step) {
    SparseRows rows;

    PetscCall(anndata_read_rows(file->file, first, PetscMin(file->step, end - first), &rows));
    for (PetscInt64 i = 0; i < rows.rows; i++) {
      sum[first + i] = scan_row(&rows, i, scan);
      if (!scan_is_good(scan)) {
        int64_t e = rows.offset[i];
        while (sparserows_get(&rows, e) >= 0 && !isinf(sparserows_get(&rows, e))) e++;
        const double wrong = sparserows_get(&rows, e);
        const long long column = (long long)rows.column[e] + 1;
        PetscCall(sparserows_free(&rows));
        return error_user("%s: value %g in row %lld, column %lld of X; counts or log values must be finite and not negative", file->path, wrong,
                          (long long)(first + i + 1), column);
      }
      file->entries[first + i] = (int32_t)(rows.offset[i + 1] - rows.offset[i]);
    }
    if (kept) *kept++ = rows;
    else PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Do columns ascend, each once, among so many? */
VECTOR_CLONES static PetscBool columns_ascend(int64_t count, const int32_t *restrict column, PetscInt64 columns)
{
  int64_t wrong = 0;

  _Pragma("omp simd reduction(+ : wrong)")
  for (int64_t e = 1; e < count; e++) wrong += column[e] <= column[e - 1];
  return !count || (!wrong && column[0] >= 0 && column[count - 1] < columns) ? PETSC_TRUE : PETSC_FALSE;
}

enum { SCAN_ROWS = 64 }; /* that a thread takes at a time */

typedef struct {
  GroupedFile *file;
  PetscInt64   begin, end;
  PetscBool    wide;
  double      *sum;
  Scan        *scan; /* of each SCAN_ROWS rows */
  PetscErrorCode (*beside)(void *context);
  void *context;
} PlainScan;

static PetscErrorCode beside_scan(void *scan)
{
  const PlainScan *s = scan;

  return s->beside(s->context);
}

static PetscErrorCode scan_some(void *context, PetscInt64 k)
{
  const PlainScan *s = context;
  GroupedFile     *file = s->file;
  const PetscInt64 first = s->begin + k * SCAN_ROWS, count = PetscMin(SCAN_ROWS, s->end - first);
  Scan            *scan = &s->scan[k];
  int64_t          offset[SCAN_ROWS + 1] = {0};
  SparseRows       rows = {.offset = offset};

  PetscFunctionBeginUser;
  *scan = (Scan){0, 0, PETSC_TRUE, PETSC_TRUE};
  for (PetscInt64 i = first; i < first + count && scan->tidy; i++)
    if (plainrows_entries(file->plain, i, 1) > file->genes) scan->tidy = PETSC_FALSE;
  if (!scan->tidy) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(sparserows_allocate(plainrows_entries(file->plain, first, count), s->wide, &rows));
  const PetscErrorCode code = plainrows_append(file->plain, first, count, &rows);
  for (PetscInt64 i = 0; i < count && !code && scan->tidy; i++) {
    const int64_t entries = offset[i + 1] - offset[i];
    s->sum[first + i] = scan_row(&rows, i, scan);
    file->entries[first + i] = (int32_t)entries;
    if (!scan_is_good(scan) || !columns_ascend(entries, rows.column + offset[i], file->genes)) scan->tidy = PETSC_FALSE;
  }
  rows.offset = NULL;
  PetscCall(sparserows_free(&rows));
  PetscFunctionReturn(code);
}

/* Scan this rank's rows past HDF5, where they are plain, and meanwhile beside(context). A rank that finds one that a read would change or refuse goes no further, and so do all: reading says
   what is wrong with which. */
static PetscErrorCode scan_plain(MPI_Comm all, PetscInt64 begin, PetscInt64 end, double *sum, PetscErrorCode (*beside)(void *), void *context, GroupedFile *file, Scan *scan)
{
  const PetscInt64 blocks = (end - begin + SCAN_ROWS - 1) / SCAN_ROWS;
  PlainScan       work = {file, begin, end, file->wide, sum, NULL, beside, context};
  int              good;

  PetscFunctionBeginUser;
  *scan = (Scan){0, 0, PETSC_TRUE, PETSC_TRUE};
  if (!file->plain) {
    if (beside) PetscCall(beside(context));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(blocks, &work.scan));
  PetscCallAgree(all, threads_each_beside(threads_that_allocate(), blocks, scan_some, &work, beside ? beside_scan : NULL));
  for (PetscInt64 k = 0; k < blocks; k++) {
    const Scan *one = &work.scan[k];
    scan->largest = PetscMax(scan->largest, one->largest);
    if (!one->whole) scan->whole = PETSC_FALSE;
    if (!one->tidy) scan->tidy = PETSC_FALSE;
  }
  PetscCall(PetscFree(work.scan));
  good = scan->tidy;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &good, 1, MPI_INT, MPI_MIN, all));
  if (!good) PetscCall(plainrows_close(&file->plain));
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

/* Chunks of this rank's rows into memory that the ranks of a node share. */
static PetscErrorCode keep_rows(MPI_Comm node, PetscInt chunks, SparseRows *chunk, PetscInt64 first, GroupedFile *file)
{
  const PetscBool wide = file->wide;
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
    groupedfile_scale(file, first, &chunk[c]);
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

/* A rank's share of the rows. */
static PetscInt64 share_begin(const GroupedFile *file, PetscMPIInt rank, PetscMPIInt size) { return file->cells * rank / size; }

/* All ranks' sums (cells) and entries, and what they found. */
static PetscErrorCode gather_scans(MPI_Comm comm, double *sum, GroupedFile *file, Scan *scan)
{
  PetscMPIInt size, *counts, *offsets;
  int         whole = scan->whole;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscMalloc2(size, &counts, size, &offsets));
  for (PetscMPIInt r = 0; r < size; r++) {
    offsets[r] = (PetscMPIInt)share_begin(file, r, size);
    counts[r] = (PetscMPIInt)share_begin(file, r + 1, size) - offsets[r];
  }
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, sum, counts, offsets, MPI_DOUBLE, comm));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, file->entries, counts, offsets, MPI_INT32_T, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &scan->largest, 1, MPI_DOUBLE, MPI_MAX, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &whole, 1, MPI_INT, MPI_MIN, comm));
  scan->whole = whole ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values are counts or log values, and to what counts are brought. */
static PetscErrorCode settle_scale(double library_size, const Scan *scan, double *sum, GroupedFile *file)
{
  PetscFunctionBeginUser;
  file->counts = scan->whole;
  file->library_size = library_size;
  if (!file->counts || library_size > 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (file->column[1].levels) PetscCall(find_type_libraries(file, sum));
  file->library_size = median_of_positive(file->cells, sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank reads its share of the rows; all learn the scale; rows that are to be kept are brought to it. */
static PetscErrorCode read_share(MPI_Comm all, MPI_Comm comm, PetscBool keep, double library_size, double *sum, GroupedFile *file, Scan *scan)
{
  PetscMPIInt rank, size;
  PetscInt    chunks = 0;
  SparseRows *chunk = NULL;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  const PetscInt64 begin = share_begin(file, rank, size), end = share_begin(file, rank + 1, size);
  if (keep) {
    chunks = (PetscInt)((end - begin + file->step - 1) / file->step);
    PetscCall(PetscCalloc1(chunks, &chunk));
  }
  PetscCallAgree(all, scan_rows(file, begin, end, sum, chunk, scan));
  PetscCall(gather_scans(comm, sum, file, scan));
  PetscCall(settle_scale(library_size, scan, sum, file));
  if (comm == MPI_COMM_SELF) {
    for (PetscInt c = 0; c < chunks; c++) groupedfile_scale(file, c * file->step, &chunk[c]);
    file->chunks = chunks;
    file->chunk = chunk;
    chunk = NULL;
  } else if (keep) PetscCall(keep_rows(comm, chunks, chunk, begin, file));
  PetscCall(PetscFree(chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_scan(MPI_Comm all, double library_size, PetscErrorCode (*beside)(void *), void *context, GroupedFile *file)
{
  PetscMPIInt rank, size;
  MPI_Comm    comm = all;
  PetscBool   keep = PETSC_FALSE;
  double     *sum;
  Scan        scan;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(all, &rank));
  PetscCallMPI(MPI_Comm_size(all, &size));
  PetscCall(PetscMalloc1(file->cells, &sum));
  PetscCall(scan_plain(all, share_begin(file, rank, size), share_begin(file, rank + 1, size), sum, beside, context, file, &scan));
  if (file->plain) {
    PetscCall(gather_scans(all, sum, file, &scan));
    PetscCall(settle_scale(library_size, &scan, sum, file));
  } else {
    PetscCall(choose_readers(all, file, &comm, &keep));
    PetscCall(read_share(all, comm, keep, library_size, sum, file, &scan));
    if (comm != all && comm != MPI_COMM_SELF) PetscCallMPI(MPI_Comm_free(&comm));
  }
  PetscCall(PetscFree(sum));
  /* A network trained too little may predict any value; its file says that they are log values. */
  if (!file->counts && scan.largest >= largest_log_value && !anndata_exists(file->file, "uns/log1p")) {
    return error_user("%s: values with decimals up to %g are neither counts nor log values (below %g); give counts or log1p values", file->path, scan.largest,
                      largest_log_value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_open(MPI_Comm comm, const char *path, const char *const column[AXES], double memory, GroupedFile *file)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(file, sizeof *file));
  file->window = MPI_WIN_NULL;
  file->path = path;
  PetscCall(anndata_open(comm, path, &file->file));
  PetscCall(anndata_keep_double(file->file));
  file->wide = anndata_is_double(file->file);
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
  PetscCallAgree(comm, plainrows_open(file->file, &file->plain));
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
  PetscCall(plainrows_close(&file->plain));
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
