/* The cells of an AnnData file: on the scale of the scores, one by one where they are at hand, else in chunks. */
#include "evaluation/evaluate_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/threads.h>
#include <string.h>

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

enum { SMALL_COUNTS = 64 }; /* whose log value is found once a cell */

/* Entries [begin, end), a cell's, brought to the scale where they are counts. */
static void scale_cell(const GroupedFile *file, PetscInt64 cell, int64_t begin, int64_t end, SparseRows *rows)
{
  const PetscBool wide = rows->wide ? PETSC_TRUE : PETSC_FALSE;
  const double    library_size = library_of(file, cell);
  double          total = 0, known[SMALL_COUNTS];

  for (int c = 0; c < SMALL_COUNTS; c++) known[c] = -1;
  for (int64_t e = begin; e < end; e++) total += sparserows_get(rows, e);
  for (int64_t e = begin; e < end; e++) {
    const double    value = sparserows_get(rows, e);
    const int       count = value < SMALL_COUNTS ? (int)value : 0;
    const PetscBool small = (double)count == value ? PETSC_TRUE : PETSC_FALSE;
    if (small && known[count] < 0) known[count] = scaled(library_size, value, total, wide);
    sparserows_set(rows, e, small ? known[count] : scaled(library_size, value, total, wide));
  }
}

void groupedfile_scale(const GroupedFile *file, PetscInt64 first, SparseRows *rows)
{
  for (PetscInt64 i = 0; i < rows->rows && file->counts; i++) scale_cell(file, first + i, rows->offset[i], rows->offset[i + 1], rows);
}

PetscBool groupedfile_is_kept(const GroupedFile *file) { return file->plain || file->chunk || file->window != MPI_WIN_NULL ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode groupedfile_rows(GroupedFile *file, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(anndata_read_rows(file->file, first, count, rows));
  groupedfile_scale(file, first, rows);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const int32_t *groupedfile_moves(const GroupedFile *file, const int32_t *position)
{
  for (PetscInt64 g = 0; g < file->genes; g++)
    if (position[g] != (int32_t)g) return position;
  return NULL;
}

void scored_append(const SparseRows *from, int64_t begin, int64_t after, const int32_t *moves, SparseRows *to)
{
  int64_t end = to->offset[to->rows];

  for (int64_t e = begin; e < after; e++) {
    const int32_t gene = moves ? moves[from->column[e]] : from->column[e];
    const double  value = sparserows_get(from, e);
    if (gene < 0 || value == 0) continue;
    to->column[end] = gene;
    sparserows_set(to, end++, value);
  }
  to->offset[++to->rows] = end;
}

/* The scored genes of a cell behind the rows of `to`. */
static PetscErrorCode append_cell(const GroupedFile *file, PetscInt64 cell, const int32_t *moves, SparseRows *to)
{
  const int64_t begin = to->offset[to->rows];

  PetscFunctionBeginUser;
  if (file->plain) {
    PetscCall(plainrows_append(file->plain, cell, 1, to));
    if (!file->counts && !moves) PetscFunctionReturn(PETSC_SUCCESS);
    const int64_t after = to->offset[to->rows--];
    if (file->counts) scale_cell(file, cell, begin, after, to);
    /* In place: what is left out only moves the rest forward. */
    scored_append(to, begin, after, moves, to);
  } else {
    const SparseRows *from = file->chunk ? &file->chunk[cell / file->step] : &file->kept;
    const PetscInt64  i = file->chunk ? cell % file->step : cell;
    scored_append(from, from->offset[i], from->offset[i + 1], moves, to);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { CELLS_AT_ONCE = 64 }; /* that a thread reads */

/* Cells that stay as they are in the file: it is known before where each goes. */
typedef struct {
  const GroupedFile *file;
  PetscInt64         count, first; /* first: row of the first */
  const PetscInt64  *cell;         /* (count) */
  const SparseRows  *to;
} PlainCells;

static PetscErrorCode read_some(void *context, PetscInt64 k)
{
  const PlainCells *s = context;

  PetscFunctionBeginUser;
  for (PetscInt64 i = k * CELLS_AT_ONCE; i < PetscMin((k + 1) * CELLS_AT_ONCE, s->count); i++) {
    int64_t    offset[2] = {s->to->offset[s->first + i]};
    SparseRows row = *s->to;

    row.rows = 0;
    row.offset = offset;
    PetscCall(plainrows_append(s->file->plain, s->cell[i], 1, &row));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_append_cells(const GroupedFile *file, PetscInt64 count, const PetscInt64 *cell, const int32_t *moves, SparseRows *to)
{
  PlainCells cells = {.file = file, .count = count, .first = to->rows, .cell = cell, .to = to};

  PetscFunctionBeginUser;
  if (!file->plain || file->counts || moves) {
    for (PetscInt64 i = 0; i < count; i++) PetscCall(append_cell(file, cell[i], moves, to));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt64 i = 0; i < count; i++, to->rows++) to->offset[to->rows + 1] = to->offset[to->rows] + file->entries[cell[i]];
  PetscCall(threads_each(threads_that_allocate(), (count + CELLS_AT_ONCE - 1) / CELLS_AT_ONCE, read_some, &cells));
  PetscFunctionReturn(PETSC_SUCCESS);
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

/* What is done with a row i, one of those read, of a slot. */
typedef void (*RowUse)(void *context, const SparseRows *rows, PetscInt64 i, PetscInt slot);

/* All cells with a slot, in chunks. */
static PetscErrorCode read_slots(GroupedFile *file, const PetscInt *slot, RowUse use, void *context)
{
  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < file->cells; first += file->step) {
    PetscInt64 begin = first, end = PetscMin(first + file->step, file->cells);
    SparseRows rows;

    while (begin < end && slot[begin] < 0) begin++;
    while (end > begin && slot[end - 1] < 0) end--;
    if (begin == end) continue;
    PetscCall(groupedfile_rows(file, begin, end - begin, &rows));
    for (PetscInt64 i = begin; i < end; i++)
      if (slot[i] >= 0) use(context, &rows, i - begin, slot[i]);
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const int32_t *moves;
  SparseRows    *rows; /* (slots) */
} SlotLoad;

static void append_row(void *context, const SparseRows *rows, PetscInt64 i, PetscInt slot)
{
  const SlotLoad *load = context;

  scored_append(rows, rows->offset[i], rows->offset[i + 1], load->moves, &load->rows[slot]);
}

PetscErrorCode groupedfile_load(GroupedFile *file, const SlotList *slots, PetscInt genes, const unsigned char *wanted, SparseRows *rows)
{
  SlotLoad  load = {groupedfile_moves(file, file->position), rows};
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
    PetscCall(sparserows_allocate(entries[2 * s], file->wide, &rows[s]));
  }
  PetscCall(PetscFree(entries));
  if (groupedfile_is_kept(file)) {
    for (PetscInt64 i = 0; i < file->cells; i++)
      if (slot[i] >= 0) PetscCall(append_cell(file, i, load.moves, &rows[slot[i]]));
  } else PetscCall(read_slots(file, slot, append_row, &load));
  PetscCall(PetscFree(slot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const SlotList *slots;
  const int32_t  *moves; /* groupedfile_moves */
  double         *sum;      /* (controls, genes) */
  PetscInt        genes;
} ControlSums;

static void sum_row(void *context, const SparseRows *rows, PetscInt64 i, PetscInt slot)
{
  const ControlSums *sums = context;
  double            *sum = sums->sum + (size_t)sums->slots->control_row[slot] * (size_t)sums->genes;

  for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) {
    const int32_t gene = sums->moves ? sums->moves[rows->column[e]] : rows->column[e];
    if (gene >= 0) sum[gene] += sparserows_get(rows, e);
  }
}

/* The same of a file whose cells are at hand. */
static PetscErrorCode sum_kept(const GroupedFile *file, const PetscInt *slot, const ControlSums *sums)
{
  ControlSums placed = *sums;
  int64_t     offset[2] = {0};
  SparseRows  row = {.offset = offset};

  PetscFunctionBeginUser;
  placed.moves = NULL;
  PetscCall(sparserows_allocate(file->genes, file->wide, &row));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    if (slot[i] < 0) continue;
    row.rows = 0;
    PetscCall(append_cell(file, i, sums->moves, &row));
    sum_row(&placed, &row, 0, slot[i]);
  }
  row.offset = NULL;
  PetscCall(sparserows_free(&row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groupedfile_controls(GroupedFile *file, const SlotList *slots, PetscInt genes, SlotCells *cells)
{
  ControlSums    sums = {.slots = slots, .moves = groupedfile_moves(file, file->position), .genes = genes};
  unsigned char *control;
  PetscInt      *slot;

  PetscFunctionBeginUser;
  PetscCall(slotcells_create(slots, genes, cells));
  sums.sum = cells->mean;
  for (PetscInt64 i = 0; i < file->cells; i++) {
    const PetscInt s = file->key[i] < 0 ? -1 : key_find(slots->count, slots->key, file->key[i]);
    if (s < 0) continue;
    cells->cells[s]++;
    cells->entries[s] += file->entries[i];
  }
  PetscCall(PetscMalloc1(slots->count, &control));
  for (PetscInt s = 0; s < slots->count; s++) control[s] = slots->control_row[s] >= 0;
  PetscCall(slots_of_cells(file, slots, control, &slot));
  if (groupedfile_is_kept(file)) PetscCall(sum_kept(file, slot, &sums));
  else PetscCall(read_slots(file, slot, sum_row, &sums));
  for (PetscInt s = 0; s < slots->count; s++) {
    double *mean = control[s] ? cells->mean + (size_t)slots->control_row[s] * (size_t)genes : NULL;
    for (PetscInt g = 0; mean && cells->cells[s] && g < genes; g++) mean[g] /= (double)cells->cells[s];
  }
  PetscCall(PetscFree(control));
  PetscCall(PetscFree(slot));
  PetscFunctionReturn(PETSC_SUCCESS);
}
