/* The second pass over the inputs: cells are routed from the order of the files to the order of the store.

   The store is written in windows of consecutive cells, as many as the ranks can hold together. For each window the blocks of
   input that hold some of its cells are dealt round the ranks; in each round every rank reads one block and sends its rows to the
   ranks that own their places. So memory is bounded by the chunk, every write is one contiguous piece a rank, and an input
   that fits into one window, or is sorted by population, is read once. */
#include "data/prepare_internal.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>

/* A block of input rows with cells of the window, dealt to this rank. */
typedef struct {
  PetscInt    input;
  PetscInt64  first, rows;
  PetscInt64 *place; /* (rows) cell of the store, -1: not in this window */
} Block;

/* Rows on their way: header, name and entries of each, one after another. */
typedef struct {
  int64_t  rows, entries, row_capacity, entry_capacity;
  int64_t *header; /* (rows, 3) place, source row, entries */
  char    *name;   /* (rows, name_length) */
  int32_t *gene;
  float   *value;
} RowBatch;

typedef struct {
  Preparation *preparation;
  size_t       name_length;
  PetscInt64   first, cells; /* the window */
  PetscInt64   relevant;     /* blocks with cells of it, over all ranks */
  PetscInt     blocks, block_capacity;
  Block       *block;
  RowBatch     sent, arrived; /* arrived: this rank's share of the window, rows in order of arrival */
  MPI_Datatype header_type, name_type;
} Window;

/* ---- Batches of rows ---- */

static PetscErrorCode batch_reserve(RowBatch *batch, int64_t rows, int64_t entries, size_t name_length)
{
  PetscFunctionBeginUser;
  if (rows > batch->row_capacity) {
    batch->row_capacity = rows + rows / 4 + 16;
    PetscCall(PetscRealloc((size_t)batch->row_capacity * 3 * sizeof *batch->header, &batch->header));
    PetscCall(PetscRealloc((size_t)batch->row_capacity * name_length, &batch->name));
  }
  if (entries > batch->entry_capacity) {
    batch->entry_capacity = entries + entries / 4 + 16;
    PetscCall(PetscRealloc((size_t)batch->entry_capacity * sizeof *batch->gene, &batch->gene));
    PetscCall(PetscRealloc((size_t)batch->entry_capacity * sizeof *batch->value, &batch->value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode batch_free(RowBatch *batch)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(batch->header));
  PetscCall(PetscFree(batch->name));
  PetscCall(PetscFree(batch->gene));
  PetscCall(PetscFree(batch->value));
  *batch = (RowBatch){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Which blocks ---- */

/* First cell of a rank's share of the window. */
static PetscInt64 share_begin(const Window *window, int rank) { return window->first + window->cells * rank / window->preparation->ranks; }

static PetscErrorCode deal_block(Window *window, PetscInt input, PetscInt64 first, PetscInt64 rows, const PetscInt64 *place)
{
  const Preparation *p = window->preparation;

  PetscFunctionBeginUser;
  if (window->relevant++ % p->ranks != p->rank) PetscFunctionReturn(PETSC_SUCCESS);
  if (window->blocks == window->block_capacity) {
    window->block_capacity = 2 * window->block_capacity + 8;
    PetscCall(PetscRealloc((size_t)window->block_capacity * sizeof *window->block, &window->block));
  }
  /* Only from the first row that is wanted to the last. */
  PetscInt64 begin = 0, end = rows;
  while (place[begin] < 0) begin++;
  while (place[end - 1] < 0) end--;
  Block *block = &window->block[window->blocks++];
  *block       = (Block){.input = input, .first = first + begin, .rows = end - begin};
  PetscCall(PetscMalloc1((size_t)block->rows, &block->place));
  memcpy(block->place, place + begin, (size_t)block->rows * sizeof *place);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Walk all cells in input order, each taking the next place of its population. All ranks walk alike. */
static PetscErrorCode deal_blocks(Window *window)
{
  const Preparation *p = window->preparation;
  PetscInt64        *next, *place, most = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < p->inputs; i++) most = p->input[i].block_rows > most ? p->input[i].block_rows : most;
  PetscCall(PetscMalloc2((size_t)p->table.populations, &next, (size_t)most, &place));
  for (PetscInt i = 0; i < p->table.populations; i++) next[i] = p->table.population[i].first_cell;
  window->relevant = 0;
  window->blocks   = 0;
  for (PetscInt i = 0; i < p->inputs; i++) {
    const PrepareInput *input = &p->input[i];
    for (PetscInt64 first = 0; first < input->cells; first += input->block_rows) {
      const PetscInt64 rows = input->cells - first < input->block_rows ? input->cells - first : input->block_rows;
      PetscBool        any  = PETSC_FALSE;
      for (PetscInt64 r = 0; r < rows; r++) {
        const int32_t population = p->population[input->first_cell + first + r];
        place[r]                 = population < 0 ? -1 : next[population]++;
        if (place[r] < window->first || place[r] >= window->first + window->cells) place[r] = -1;
        else any = PETSC_TRUE;
      }
      if (any) PetscCall(deal_block(window, i, first, rows, place));
    }
  }
  PetscCall(PetscFree2(next, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Reading and packing ---- */

typedef struct {
  int32_t gene;
  float   value;
} Entry;

static int by_gene(const void *a, const void *b) { return ((const Entry *)a)->gene - ((const Entry *)b)->gene; }

/* The kept genes of a normalised row, ascending; returns their number. scratch holds as many entries as the row. */
static int64_t select_row(const PrepareInput *input, int64_t entries, const int32_t *column, const float *value, Entry *scratch, int32_t *gene, float *kept)
{
  int64_t   count  = 0;
  PetscBool sorted = PETSC_TRUE;

  for (int64_t e = 0; e < entries; e++) {
    const int32_t g = input->kept[column[e]];
    if (g < 0 || !(value[e] > 0)) continue;
    if (count && scratch[count - 1].gene > g) sorted = PETSC_FALSE;
    scratch[count++] = (Entry){g, value[e]};
  }
  if (!sorted) qsort(scratch, (size_t)count, sizeof *scratch, by_gene);
  for (int64_t e = 0; e < count; e++) {
    gene[e] = scratch[e].gene;
    kept[e] = scratch[e].value;
  }
  return count;
}

/* Rows of the block that belong to the window, by the rank they go to, in input order. */
static PetscErrorCode pack_rows(Window *window, const Block *block, SparseRows *read, char *const *names, int *rows_to, int *entries_to)
{
  const Preparation  *p     = window->preparation;
  const PrepareInput *input = &p->input[block->input];
  RowBatch           *sent  = &window->sent;
  Entry              *scratch;

  PetscFunctionBeginUser;
  PetscCall(batch_reserve(sent, block->rows, read->offset[block->rows], window->name_length));
  PetscCall(PetscMalloc1((size_t)input->genes + 1, &scratch));
  sent->rows = sent->entries = 0;
  for (int rank = 0; rank < p->ranks; rank++) {
    const PetscInt64 begin = share_begin(window, rank), end = share_begin(window, rank + 1);
    const int64_t    rows = sent->rows, entries = sent->entries;
    for (PetscInt64 r = 0; r < block->rows; r++) {
      if (block->place[r] < begin || block->place[r] >= end) continue;
      const int64_t at = read->offset[r], length = read->offset[r + 1] - at;
      int64_t      *header = sent->header + 3 * sent->rows;
      prepare_values(input->kind, length, read->value + at, read->value + at);
      header[0] = block->place[r];
      header[1] = block->first + r;
      header[2] = select_row(input, length, read->column + at, read->value + at, scratch, sent->gene + sent->entries, sent->value + sent->entries);
      memset(sent->name + (size_t)sent->rows * window->name_length, 0, window->name_length);
      memcpy(sent->name + (size_t)sent->rows * window->name_length, names[r], strlen(names[r]));
      sent->rows++;
      sent->entries += header[2];
    }
    rows_to[rank]    = (int)(sent->rows - rows);
    entries_to[rank] = (int)(sent->entries - entries);
  }
  PetscCall(PetscFree(scratch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_block(Window *window, const Block *block, int *rows_to, int *entries_to)
{
  AnnData   *file = window->preparation->input[block->input].file;
  char     **names;
  SparseRows read;

  PetscFunctionBeginUser;
  PetscCall(anndata_read_rows(file, block->first, block->rows, &read));
  PetscCall(anndata_cell_names(file, block->first, block->rows, &names));
  PetscCall(pack_rows(window, block, &read, names, rows_to, entries_to));
  PetscCall(strings_free((PetscInt)block->rows, &names));
  PetscCall(sparserows_free(&read));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Exchange ---- */

static void displacements(int ranks, const int *count, int *displacement)
{
  displacement[0] = 0;
  for (int r = 1; r < ranks; r++) displacement[r] = displacement[r - 1] + count[r - 1];
}

/* Send what was packed; what comes for this rank's share goes behind what has arrived. counts: (4, ranks) rows and entries to, then from. */
static PetscErrorCode exchange_rows(Window *window, int *counts, int *displacement)
{
  const Preparation *p       = window->preparation;
  const int          n       = p->ranks;
  int               *rows_to = counts, *entries_to = counts + n, *rows_from = counts + 2 * n, *entries_from = counts + 3 * n;
  int               *out = displacement, *in = displacement + n;
  RowBatch          *sent = &window->sent, *arrived = &window->arrived;
  int64_t            rows = 0, entries = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Alltoall(rows_to, 1, MPI_INT, rows_from, 1, MPI_INT, p->comm));
  PetscCallMPI(MPI_Alltoall(entries_to, 1, MPI_INT, entries_from, 1, MPI_INT, p->comm));
  for (int r = 0; r < n; r++) {
    rows += rows_from[r];
    entries += entries_from[r];
  }
  PetscCall(batch_reserve(arrived, arrived->rows + rows, arrived->entries + entries, window->name_length));
  displacements(n, rows_to, out);
  displacements(n, rows_from, in);
  PetscCallMPI(MPI_Alltoallv(sent->header, rows_to, out, window->header_type, arrived->header + 3 * arrived->rows, rows_from, in, window->header_type, p->comm));
  PetscCallMPI(MPI_Alltoallv(sent->name, rows_to, out, window->name_type, arrived->name + (size_t)arrived->rows * window->name_length, rows_from, in, window->name_type, p->comm));
  displacements(n, entries_to, out);
  displacements(n, entries_from, in);
  PetscCallMPI(MPI_Alltoallv(sent->gene, entries_to, out, MPI_INT32_T, arrived->gene + arrived->entries, entries_from, in, MPI_INT32_T, p->comm));
  PetscCallMPI(MPI_Alltoallv(sent->value, entries_to, out, MPI_FLOAT, arrived->value + arrived->entries, entries_from, in, MPI_FLOAT, p->comm));
  arrived->rows += rows;
  arrived->entries += entries;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Writing ---- */

/* This rank's share, which arrived in any order, as rows in store order. */
static PetscErrorCode sort_share(const Window *window, SparseRows *rows, char **names, int64_t **source_row)
{
  const PetscInt64 begin   = share_begin(window, window->preparation->rank);
  const RowBatch  *arrived = &window->arrived;
  const size_t     count   = (size_t)arrived->rows;
  int64_t         *start, *from, at = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(count, &start, count, &from));
  for (int64_t i = 0; i < arrived->rows; i++) {
    from[arrived->header[3 * i] - begin] = i;
    start[i]                             = at;
    at += arrived->header[3 * i + 2];
  }
  *rows = (SparseRows){.rows = arrived->rows, .columns = window->preparation->table.gene.count};
  PetscCall(PetscMalloc1(count + 1, &rows->offset));
  PetscCall(sparserows_allocate(arrived->entries, PETSC_FALSE, rows));
  PetscCall(PetscMalloc1(count * window->name_length, names));
  PetscCall(PetscMalloc1(count, source_row));
  rows->offset[0] = 0;
  for (size_t c = 0; c < count; c++) {
    const int64_t i = from[c], entries = arrived->header[3 * i + 2];
    memcpy(rows->column + rows->offset[c], arrived->gene + start[i], (size_t)entries * sizeof *rows->column);
    memcpy(rows->value + rows->offset[c], arrived->value + start[i], (size_t)entries * sizeof *rows->value);
    memcpy(*names + c * window->name_length, arrived->name + (size_t)i * window->name_length, window->name_length);
    (*source_row)[c]    = arrived->header[3 * i + 1];
    rows->offset[c + 1] = rows->offset[c] + entries;
  }
  PetscCall(PetscFree2(start, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_share(Window *window, CellStoreWriter *writer)
{
  const int      rank = window->preparation->rank;
  SparseRows     rows;
  char          *names;
  int64_t       *source_row;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  if (window->arrived.rows != share_begin(window, rank + 1) - share_begin(window, rank)) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_PLIB, "rows of a window are missing");
  PetscCall(sort_share(window, &rows, &names, &source_row));
  /* What arrived is in rows now: its memory is free for the writer's buffers. */
  PetscCall(batch_free(&window->arrived));
  code = cellstore_append(writer, &rows, names, source_row);
  PetscCall(sparserows_free(&rows));
  PetscCall(PetscFree(names));
  PetscCall(PetscFree(source_row));
  PetscFunctionReturn(code);
}

/* ---- The pass ---- */

static PetscErrorCode run_window(Window *window, CellStoreWriter *writer)
{
  const Preparation *p = window->preparation;
  int               *counts, *displacement;

  PetscFunctionBeginUser;
  PetscCall(deal_blocks(window));
  PetscCall(PetscMalloc2(4 * (size_t)p->ranks, &counts, 2 * (size_t)p->ranks, &displacement));
  for (PetscInt64 round = 0; round * p->ranks < window->relevant; round++) {
    PetscErrorCode code = PETSC_SUCCESS;
    memset(counts, 0, 2 * (size_t)p->ranks * sizeof *counts);
    if (round < window->blocks) code = read_block(window, &window->block[round], counts, counts + p->ranks);
    PetscCallAgree(p->comm, code);
    PetscCall(exchange_rows(window, counts, displacement));
  }
  PetscCall(PetscFree2(counts, displacement));
  for (PetscInt b = 0; b < window->blocks; b++) PetscCall(PetscFree(window->block[b].place));
  PetscCall(batch_free(&window->sent));
  PetscCall(write_share(window, writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run_windows(Preparation *preparation, int64_t entries, CellStoreWriter *writer)
{
  const PetscInt64 cells = preparation->table.cells;
  /* A cell passes through arrival and sorted copy, so that a quarter of the chunk is the share of a rank. */
  const double     cell_bytes = 8.0 * (double)entries / (double)cells + 32.0 + (double)preparation->name_length;
  const double     fit        = preparation->options->chunk_bytes / 4 * preparation->ranks / cell_bytes;
  const PetscInt64 step       = fit < 1 ? 1 : fit < (double)cells ? (PetscInt64)fit : cells;
  Window           window     = {.preparation = preparation, .name_length = preparation->name_length};
  PetscErrorCode   code       = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (step < cells) PetscCall(log_line(preparation->comm, "             written in %lld windows of %lld cells (-chunk_bytes)", (long long)((cells + step - 1) / step), (long long)step));
  PetscCallMPI(MPI_Type_contiguous(3, MPI_INT64_T, &window.header_type));
  PetscCallMPI(MPI_Type_commit(&window.header_type));
  PetscCallMPI(MPI_Type_contiguous((int)window.name_length, MPI_CHAR, &window.name_type));
  PetscCallMPI(MPI_Type_commit(&window.name_type));
  for (window.first = 0; window.first < cells && !code; window.first += step) {
    window.cells = cells - window.first < step ? cells - window.first : step;
    code         = run_window(&window, writer);
  }
  PetscCallMPI(MPI_Type_free(&window.header_type));
  PetscCallMPI(MPI_Type_free(&window.name_type));
  PetscCall(PetscFree(window.block));
  PetscCall(batch_free(&window.sent));
  PetscCall(batch_free(&window.arrived));
  PetscFunctionReturn(code);
}

PetscErrorCode prepare_write(Preparation *preparation)
{
  const PrepareOptions *options = preparation->options;
  CellStoreContent      content = {.compress = options->compress, .command = options->command, .sources = preparation->inputs};
  CellStoreWriter      *writer;
  int64_t              *sizes, *checksums;
  PetscErrorCode        code;

  PetscFunctionBeginUser;
  if (!preparation->name_length) preparation->name_length = 1;
  for (PetscInt g = 0; g < preparation->table.gene.count; g++)
    if (preparation->chosen[g] >= 0) content.entries += preparation->gene_entries[preparation->chosen[g]];
  if (!content.entries) return error_user("no cells left: all values of the %d genes kept are zero", (int)preparation->table.gene.count);
  PetscCall(PetscMalloc2((size_t)preparation->inputs, &sizes, (size_t)preparation->inputs, &checksums));
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    sizes[i]     = preparation->input[i].size;
    checksums[i] = preparation->input[i].checksum;
  }
  content.name_length     = preparation->name_length;
  content.gene_mean       = preparation->log_mean;
  content.gene_dispersion = preparation->dispersion;
  content.gene_variable   = preparation->variable;
  content.source_path     = options->input;
  content.source_size     = sizes;
  content.source_checksum = checksums;
  code = cellstore_create(preparation->comm, options->output, &preparation->table, &content, &writer);
  PetscCall(PetscFree2(sizes, checksums));
  PetscCall(code);
  code = run_windows(preparation, content.entries, writer);
  if (code) PetscCall(cellstore_discard(&writer));
  PetscCall(code);
  PetscCall(cellstore_commit(&writer, &preparation->table.checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
