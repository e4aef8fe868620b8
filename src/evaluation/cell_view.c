/* The cells of a file by group: loading, and values by gene. */
#include "evaluation/pair_internal.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>
#include <perturbdiff/runtime/random.h>

PetscErrorCode cellview_destroy(CellView *view)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(view->group, view->order));
  PetscCall(PetscFree2(view->group_cells, view->group_entries));
  PetscCall(PetscFree2(view->member, view->member_begin));
  PetscCall(PetscFree(view->code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Groups are counted. */
static PetscErrorCode list_members(CellView *view)
{
  const PetscInt groups = view->perturbations + 1;
  PetscInt64     all = 0, *next;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < groups; k++) all += view->group_cells[k];
  PetscCall(PetscMalloc2(all, &view->member, groups + 1, &view->member_begin));
  view->member_begin[0] = 0;
  for (PetscInt k = 0; k < groups; k++) view->member_begin[k + 1] = view->member_begin[k] + view->group_cells[k];
  PetscCall(PetscMalloc1(groups, &next));
  PetscCall(PetscArraycpy(next, view->member_begin, groups));
  for (PetscInt64 i = 0; i < view->cells; i++)
    if (view->group[i] >= 0) view->member[next[view->group[i]]++] = i;
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_count(CellView *view)
{
  int32_t *gene = NULL;
  float   *value = NULL;

  PetscFunctionBeginUser;
  if (view->store) {
    const PetscInt all = cellstore_table(view->store)->gene.count;
    PetscCall(PetscMalloc2(all, &gene, all, &value));
  }
  PetscCall(PetscCalloc2(view->perturbations + 1, &view->group_cells, view->perturbations + 1, &view->group_entries));
  for (PetscInt64 i = 0; i < view->cells; i++) {
    const int32_t group = view->group[i];
    PetscInt      entries;

    if (group < 0) continue;
    view->group_cells[group]++;
    if (view->store) PetscCall(cellstore_row(view->store, i, &entries, gene, value));
    view->group_entries[group] += view->store ? entries : view->file->entries[i];
  }
  PetscCall(PetscFree2(gene, value));
  PetscCall(list_members(view));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for all cells of a group: how many values they have is known. */
static PetscErrorCode rows_create(const CellView *view, PetscInt group, SparseRows *rows)
{
  PetscFunctionBeginUser;
  *rows = (SparseRows){.columns = view->genes};
  PetscCall(PetscMalloc1(view->group_cells[group] + 1, &rows->offset));
  PetscCall(sparserows_allocate(view->group_entries[group], view->single ? PETSC_FALSE : PETSC_TRUE, rows));
  rows->offset[0] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scored genes of a cell: entries [begin, after) of from. */
static void append(const CellView *view, const SparseRows *from, int64_t begin, int64_t after, SparseRows *rows)
{
  int64_t end = rows->offset[rows->rows];

  for (int64_t e = begin; e < after; e++) {
    const int32_t gene  = view->position[from->column[e]];
    const double  value = sparserows_get(from, e);
    if (gene < 0 || value == 0) continue;
    rows->column[end] = gene;
    sparserows_set(rows, end++, value);
  }
  rows->offset[++rows->rows] = end;
}

static PetscErrorCode load_file(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  const PetscInt64 step = view->file->step;

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < view->cells; first += step) {
    PetscInt64 begin = first, end = PetscMin(first + step, view->cells);
    SparseRows part;

    while (begin < end && (view->group[begin] < 0 || !wanted[view->group[begin]])) begin++;
    while (end > begin && (view->group[end - 1] < 0 || !wanted[view->group[end - 1]])) end--;
    if (begin == end) continue;
    PetscCall(groupedfile_rows(view->file, begin, end - begin, &part));
    for (PetscInt64 i = begin; i < end; i++) {
      const int32_t group = view->group[i];
      if (group >= 0 && wanted[group]) append(view, &part, part.offset[i - begin], part.offset[i - begin + 1], &rows[group]);
    }
    PetscCall(groupedfile_rows_done(view->file, &part));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode load_store(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  const PetscInt all = cellstore_table(view->store)->gene.count;
  SparseRows     cell = {0};

  PetscFunctionBeginUser;
  PetscCall(sparserows_allocate(all, PETSC_FALSE, &cell));
  for (PetscInt64 i = 0; i < view->cells; i++) {
    PetscInt entries;
    if (view->group[i] < 0 || !wanted[view->group[i]]) continue;
    PetscCall(cellstore_row(view->store, i, &entries, cell.column, cell.value));
    append(view, &cell, 0, entries, &rows[view->group[i]]);
  }
  PetscCall(sparserows_free(&cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_load(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k <= view->perturbations; k++) {
    rows[k] = (SparseRows){0};
    if (!wanted[k]) continue;
    if (view->maker) PetscCall(view->maker->make(view->maker->context, view->code[k], view->type, &rows[k]));
    else PetscCall(rows_create(view, k, &rows[k]));
  }
  if (view->maker) PetscFunctionReturn(PETSC_SUCCESS);
  if (view->store)
    PetscCall(load_store(view, wanted, rows));
  else
    PetscCall(load_file(view, wanted, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool cellview_is_kept(const CellView *view) { return view->file && !view->maker && groupedfile_is_kept(view->file) ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode cellview_load_kept(const CellView *view, PetscInt group, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(rows_create(view, group, rows));
  for (PetscInt64 k = view->member_begin[group]; k < view->member_begin[group + 1]; k++) {
    SparseRows one;
    PetscCall(groupedfile_rows(view->file, view->member[k], 1, &one));
    append(view, &one, one.offset[0], one.offset[1], rows);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The i-th cell of a group goes to the half that the image of i under a random permutation falls into. */
static void assign_halves(const CellView *view, const PetscInt *place, uint64_t seed, PetscInt64 *seen, CellView half[2])
{
  for (PetscInt64 i = 0; i < view->cells; i++) {
    const int32_t group = view->group[i];

    half[0].group[i] = half[1].group[i] = -1;
    if (group < 0 || place[group] < 0) continue;
    const PetscInt64   size = view->group_cells[group] / 2;
    const RandomStream stream = random_stream(seed, RANDOM_EVALUATE, 2, (uint32_t)group, 0);
    const PetscInt64   at = (PetscInt64)random_permuted(&stream, (uint64_t)view->group_cells[group], (uint64_t)seen[group]++);
    if (at < 2 * size) half[at / size].group[i] = (int32_t)place[group];
  }
}

PetscErrorCode cellview_halves(const CellView *view, char **label, uint64_t seed, CellView half[2], char ***kept)
{
  const PetscInt groups = view->perturbations + 1;
  PetscInt      *place, count = 0;
  PetscInt64    *seen;

  PetscFunctionBeginUser;
  if (view->group_cells[view->perturbations] < 2) return error_user("%s: fewer than two control cells; the ceiling needs two halves of them", view->path);
  PetscCall(PetscMalloc1(groups, kept));
  PetscCall(PetscCalloc2(groups, &place, groups, &seen));
  for (PetscInt k = 0; k < groups; k++) {
    place[k] = view->group_cells[k] > 1 ? count : -1;
    if (place[k] >= 0) (*kept)[count++] = label[k];
  }
  for (int h = 0; h < 2; h++) {
    half[h] = *view;
    half[h].perturbations = count - 1;
    PetscCall(PetscMalloc2(view->cells, &half[h].group, count, &half[h].order));
    for (PetscInt k = 0; k < count; k++) half[h].order[k] = k;
  }
  assign_halves(view, place, seed, seen, half);
  for (int h = 0; h < 2; h++) PetscCall(cellview_count(&half[h]));
  PetscCall(PetscFree2(place, seen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over the cells of this rank's share of the rows. */
static PetscErrorCode sum_embedding(CellView *view, PetscInt64 first, PetscInt64 end, PetscInt columns, double *sum)
{
  PetscInt64 step;

  PetscFunctionBeginUser;
  PetscCall(anndata_rows_for_bytes(view->file->file, view->file->memory.chunk, &step));
  for (; first < end; first += step) {
    SparseRows rows;
    PetscCall(anndata_read_rows(view->file->file, first, PetscMin(step, end - first), &rows));
    for (PetscInt64 i = 0; i < rows.rows; i++) {
      double *row = sum + (size_t)PetscMax(view->group[first + i], 0) * (size_t)columns;
      for (int64_t e = rows.offset[i]; view->group[first + i] >= 0 && e < rows.offset[i + 1]; e++) row[rows.column[e]] += sparserows_get(&rows, e);
    }
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_embedding(CellView *view, MPI_Comm comm, const char *key, PetscInt *columns, double **mean)
{
  PetscMPIInt rank, size;
  PetscInt64  cells, width;
  char        path[512];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscSNPrintf(path, sizeof path, "obsm/%s", key));
  PetscCall(anndata_select(view->file->file, path));
  PetscCall(anndata_shape(view->file->file, &cells, &width));
  *columns = (PetscInt)width;
  const size_t count = (size_t)(view->perturbations + 1) * (size_t)width;
  PetscCall(PetscCalloc1(count, mean));
  PetscCallAgree(comm, sum_embedding(view, cells * rank / size, cells * (rank + 1) / size, *columns, *mean));
  PetscCall(sum_over_ranks(comm, (PetscInt64)count, MPI_DOUBLE, *mean));
  for (size_t i = 0; i < count; i++) (*mean)[i] = (double)(float)((*mean)[i] / (double)view->group_cells[i / (size_t)width]);
  PetscCall(anndata_select(view->file->file, "X"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genecolumns_create(const SparseRows *rows, PetscInt genes, GeneColumns *columns)
{
  const int64_t entries = rows->offset[rows->rows];
  int64_t      *next;

  PetscFunctionBeginUser;
  *columns = (GeneColumns){.cells = rows->rows, .genes = genes, .single = rows->wide ? PETSC_FALSE : PETSC_TRUE};
  PetscCall(PetscCalloc1(genes + 1, &columns->offset));
  PetscCall(PetscMalloc1(entries, &columns->value));
  PetscCall(PetscMalloc1(genes, &next));
  for (int64_t e = 0; e < entries; e++) columns->offset[rows->column[e] + 1]++;
  for (PetscInt g = 0; g < genes; g++) {
    next[g] = columns->offset[g];
    columns->offset[g + 1] += columns->offset[g];
  }
  for (int64_t e = 0; e < entries; e++) columns->value[next[rows->column[e]]++] = sparserows_get(rows, e);
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genecolumns_destroy(GeneColumns *columns)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(columns->offset));
  PetscCall(PetscFree(columns->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Quicksort with insertion below 24 values: the lists are short and there is one for every gene of every perturbation. */
static void sort_values(int64_t n, double *x)
{
  while (n > 24) {
    const double a = x[0], b = x[n / 2], c = x[n - 1];
    const double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    int64_t      i = 0, j = n - 1;

    for (;;) {
      while (x[i] < pivot) i++;
      while (x[j] > pivot) j--;
      if (i >= j) break;
      const double swap = x[i];
      x[i++] = x[j];
      x[j--] = swap;
    }
    /* The shorter side by recursion: its depth stays below log2 n. */
    const int64_t left = j + 1;
    if (left < n - left) {
      sort_values(left, x);
      x += left;
      n -= left;
    } else {
      sort_values(n - left, x + left);
      n = left;
    }
  }
  for (int64_t i = 1; i < n; i++) {
    const double value = x[i];
    int64_t      j = i;
    for (; j > 0 && x[j - 1] > value; j--) x[j] = x[j - 1];
    x[j] = value;
  }
}

/* A value, which is of single precision, as a whole number of the same order, and whose it is. */
typedef struct {
  uint32_t key;
  int32_t  gene;
} Keyed;

static uint32_t key_of_value(double value)
{
  const float narrow = (float)value;
  uint32_t    bits;

  memcpy(&bits, &narrow, sizeof bits);
  return bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
}

static double value_of_key(uint32_t key)
{
  const uint32_t bits = key & UINT32_C(0x80000000) ? key & UINT32_C(0x7fffffff) : ~key;
  float          narrow;

  memcpy(&narrow, &bits, sizeof narrow);
  return (double)narrow;
}

enum { DIGITS = 3, DIGIT_BITS = 11, BUCKETS = 1 << DIGIT_BITS, RADIX_LEAST = 1 << 13 };

/* The values of all genes at once, of single precision, digit by digit from the lowest, then dealt out to their genes: half the time of a quicksort of each gene. */
static PetscErrorCode sort_by_digits(GeneColumns *columns, PetscInt first, PetscInt end)
{
  const int64_t base = columns->offset[first], n = columns->offset[end] - base;
  int64_t      *place, *next;
  Keyed        *from, *to;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(DIGITS * BUCKETS, &place, columns->genes, &next));
  PetscCall(PetscMalloc2(n, &from, n, &to));
  for (PetscInt g = first; g < end; g++) {
    next[g] = columns->offset[g];
    for (int64_t e = columns->offset[g]; e < columns->offset[g + 1]; e++) {
      const uint32_t key = key_of_value(columns->value[e]);
      from[e - base] = (Keyed){key, (int32_t)g};
      for (int d = 0; d < DIGITS; d++) place[d * BUCKETS + (key >> d * DIGIT_BITS) % BUCKETS]++;
    }
  }
  Keyed *const allocated[2] = {from, to};
  for (int d = 0; d < DIGITS; d++) {
    int64_t *at = place + d * BUCKETS, sum = 0;
    for (int b = 0; b < BUCKETS; b++) {
      const int64_t count = at[b];
      at[b] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; i++) to[at[(from[i].key >> d * DIGIT_BITS) % BUCKETS]++] = from[i];
    Keyed *const swap = from;
    from = to;
    to = swap;
  }
  for (int64_t i = 0; i < n; i++) columns->value[next[from[i].gene]++] = value_of_key(from[i].key);
  from = allocated[0];
  to = allocated[1];
  PetscCall(PetscFree2(from, to));
  PetscCall(PetscFree2(place, next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genecolumns_sort(GeneColumns *columns, PetscInt first, PetscInt end)
{
  PetscFunctionBeginUser;
  if (columns->single && columns->offset[end] - columns->offset[first] >= RADIX_LEAST) {
    PetscCall(sort_by_digits(columns, first, end));
  } else {
    for (PetscInt g = first; g < end; g++) sort_values(columns->offset[g + 1] - columns->offset[g], columns->value + columns->offset[g]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
