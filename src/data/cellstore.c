/* Opening a cell store, its rows and means. */
#include "data/cellstore_array.h"
#include "data/cellstore_format.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>

/* Of unpacked chunks on a node when -cache_bytes is not given: the default of that option. */
#define CACHE_BYTES 1e9

struct CellStore {
  char          *path;
  CellStoreTable table;
  int64_t        entries;
  uint64_t       table_checksum;
  FileMap        map;
  CellArray      offset, gene, value, name;
  ChunkCache    *cache; /* of gene and value; NULL when the file is mapped */
};

const CellStoreTable *cellstore_table(const CellStore *store) { return &store->table; }
const char           *cellstore_path(const CellStore *store) { return store->path; }

/* ---- Opening ---- */

static PetscErrorCode damaged(const CellStore *store, const char *what) { return error_user("%s: damaged: %s; prepare it again", store->path, what); }

static PetscErrorCode read_header(CellStore *store, hid_t h5)
{
  CellStoreTable *table = &store->table;
  char           *format;
  int64_t         version, checksum, table_checksum;
  PetscBool       found;

  PetscFunctionBeginUser;
  PetscCall(h5_read_attribute_string(h5, "format", &format, &found));
  const PetscBool store_file = found && !strcmp(format, CELLSTORE_FORMAT) ? PETSC_TRUE : PETSC_FALSE;
  if (found) PetscCall(PetscFree(format));
  if (!store_file) return error_user("%s: not a cell store; make one by 'perturbdiff prepare'", store->path);
  PetscCall(h5_read_attribute_int64(h5, "version", &version, &found));
  if (!found) return damaged(store, "attribute version is missing");
  if (version > CELLSTORE_VERSION)
    return error_user("%s: written by a newer perturbdiff (store version %lld, this one reads up to %d); prepare it again or update", store->path, (long long)version,
                      CELLSTORE_VERSION);
  PetscCall(h5_read_attribute_string(h5, "perturbation_column", &table->perturbation_column, &found));
  if (found) PetscCall(h5_read_attribute_string(h5, "cell_type_column", &table->cell_type_column, &found));
  if (found) PetscCall(h5_read_attribute_string(h5, "batch_column", &table->batch_column, &found));
  if (found) PetscCall(h5_read_attribute_double(h5, "value_scale", &table->value_scale, &found));
  if (found) PetscCall(h5_read_attribute_double(h5, "library_size", &table->library_size, &found));
  if (found) PetscCall(h5_read_attribute_int64(h5, "table_checksum", &table_checksum, &found));
  if (found) PetscCall(h5_read_attribute_int64(h5, "checksum", &checksum, &found));
  if (!found) return damaged(store, "an attribute is missing");
  store->table_checksum = (uint64_t)table_checksum;
  table->checksum       = (uint64_t)checksum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_vocabulary(CellStore *store, hid_t h5, const char *name, Vocabulary *vocabulary)
{
  PetscInt64 count;

  PetscFunctionBeginUser;
  if (!h5_exists(h5, name)) return error_user("%s: damaged: /%s is missing; prepare it again", store->path, name);
  PetscCall(h5_read_strings(h5, name, &count, &vocabulary->name));
  vocabulary->count = (PetscInt)count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_vocabularies(CellStore *store, hid_t h5)
{
  CellStoreTable *table = &store->table;
  char           *control;
  PetscBool       found;
  hid_t           dataset;

  PetscFunctionBeginUser;
  PetscCall(read_vocabulary(store, h5, "genes/name", &table->gene));
  PetscCall(read_vocabulary(store, h5, "vocabulary/perturbation", &table->perturbation));
  PetscCall(read_vocabulary(store, h5, "vocabulary/cell_type", &table->cell_type));
  PetscCall(read_vocabulary(store, h5, "vocabulary/batch", &table->batch));
  PetscCall(read_vocabulary(store, h5, "vocabulary/dataset", &table->dataset));
  H5Check(dataset = H5Dopen2(h5, "vocabulary/perturbation", H5P_DEFAULT));
  PetscCall(h5_read_attribute_string(dataset, "control", &control, &found));
  H5Check(H5Dclose(dataset));
  if (!found) return damaged(store, "/vocabulary/perturbation has no attribute control");
  table->control = vocabulary_find(&table->perturbation, control);
  PetscCall(PetscFree(control));
  if (table->control < 0) return damaged(store, "the control label is not among the perturbations");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Do the indices of a population point into the tables, and do its cells follow those of the one before? */
static PetscBool population_fits(const CellStoreTable *table, const Population *p, PetscInt64 first_cell)
{
  const PetscBool labels = p->perturbation >= 0 && p->perturbation < table->perturbation.count && p->cell_type >= 0 && p->cell_type < table->cell_type.count && p->batch >= 0 &&
                           p->batch < table->batch.count && p->dataset >= 0 && p->dataset < table->dataset.count;

  return labels && p->first_cell == first_cell && p->cells > 0 && p->control >= -1 && p->control < table->populations && p->split <= SPLIT_TEST;
}

static PetscErrorCode read_populations(CellStore *store, hid_t h5)
{
  static const char *const names[8] = {"populations/perturbation", "populations/cell_type",  "populations/batch",   "populations/dataset",
                                       "populations/control",      "populations/split",      "populations/first_cell", "populations/cells"};
  CellStoreTable *table = &store->table;
  PetscInt64      rows, columns, count = 0;
  int64_t        *field;

  PetscFunctionBeginUser;
  for (int c = 0; c < 8; c++) {
    if (!h5_exists(h5, names[c])) return error_user("%s: damaged: /%s is missing; prepare it again", store->path, names[c]);
    PetscCall(h5_extent(h5, names[c], &rows, &columns));
    if (columns || rows < 1 || rows > PETSC_MAX_INT / 2 || (c && rows != count)) return damaged(store, "the columns of /populations do not fit each other");
    count = rows;
  }
  table->populations = (PetscInt)count;
  PetscCall(PetscCalloc1((size_t)count, &table->population));
  PetscCall(PetscMalloc1((size_t)count, &field));
  for (int c = 0; c < 8; c++) {
    PetscCall(h5_read_slab(h5, names[c], H5T_NATIVE_INT64, 0, count, field));
    for (PetscInt i = 0; i < count; i++) {
      Population *p        = &table->population[i];
      PetscInt   *small[5] = {&p->perturbation, &p->cell_type, &p->batch, &p->dataset, &p->control};
      const PetscInt index = field[i] < -1 || field[i] > PETSC_MAX_INT ? PETSC_MAX_INT : (PetscInt)field[i];
      if (c < 5) *small[c] = index;
      else if (c == 5) p->split = (Split)index;
      else if (c == 6) p->first_cell = field[i];
      else p->cells = field[i];
    }
  }
  PetscCall(PetscFree(field));
  for (PetscInt i = 0; i < count; i++) {
    if (!population_fits(table, &table->population[i], table->cells)) return damaged(store, "/populations points outside the store");
    table->cells += table->population[i].cells;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int64_t entry_of(const CellStore *store, PetscInt64 cell)
{
  int64_t entry;

  memcpy(&entry, store->offset.bytes + (size_t)cell * sizeof entry, sizeof entry);
  return entry;
}

static PetscErrorCode read_tables(CellStore *store, hid_t h5)
{
  uint64_t checksum;

  PetscFunctionBeginUser;
  PetscCall(read_header(store, h5));
  PetscCall(read_vocabularies(store, h5));
  PetscCall(read_populations(store, h5));
  PetscCall(cellstore_table_checksum(&store->table, &checksum));
  if (checksum != store->table_checksum) return damaged(store, "the tables do not have the checksum they were written with");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whatever HDF5 stumbles over in the tables is damage, not a fault of the program: no trace for it. */
static PetscErrorCode read_tables_quietly(CellStore *store, hid_t h5)
{
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  code = read_tables(store, h5);
  PetscCall(PetscPopErrorHandler());
  if (code && code != ERROR_USER) return damaged(store, "its tables cannot be read");
  PetscFunctionReturn(code);
}

/* The arrays as this rank sees them. */
static PetscErrorCode open_arrays(CellStore *store, hid_t h5)
{
  const char *path = store->path;
  hid_t       dataset, type;

  PetscFunctionBeginUser;
  PetscCall(filemap_open(path, &store->map));
  PetscCall(cellarray_open_mapped(h5, path, "cells/offset", H5T_NATIVE_INT64, store->table.cells + 1, &store->map, &store->offset));
  if (entry_of(store, 0) != 0) return damaged(store, "/cells/offset does not begin at 0");
  store->entries = entry_of(store, store->table.cells);
  if (store->entries < 0) return damaged(store, "/cells/offset ends below 0");
  if ((dataset = H5Dopen2(h5, "cells/gene", H5P_DEFAULT)) < 0) return damaged(store, "/cells/gene is missing");
  H5Check(type = H5Dget_type(dataset));
  const PetscBool narrow = H5Tget_size(type) <= 2 ? PETSC_TRUE : PETSC_FALSE;
  H5Check(H5Tclose(type));
  H5Check(H5Dclose(dataset));
  PetscCall(cellarray_open(h5, path, "cells/gene", narrow ? H5T_NATIVE_UINT16 : H5T_NATIVE_UINT32, store->entries, &store->map, &store->gene));
  PetscCall(cellarray_open(h5, path, "cells/value", H5T_NATIVE_FLOAT, store->entries, &store->map, &store->value));
  PetscCall(cellarray_open_mapped(h5, path, "cells/name", H5I_INVALID_HID, store->table.cells, &store->map, &store->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_cells(CellStore *store, MPI_Comm comm, hid_t h5)
{
  const ChunkTable *tables[2]   = {&store->gene.chunks, &store->value.chunks};
  double            cache_bytes = CACHE_BYTES;

  PetscFunctionBeginUser;
  PetscCallAgree(comm, open_arrays(store, h5));
  if (!store->gene.chunks.chunks && !store->value.chunks.chunks) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-cache_bytes", &cache_bytes, NULL));
  PetscCall(chunkcache_create(comm, store->path, store->map.bytes, store->map.size, 2, tables, cache_bytes, &store->cache));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellstore_open(MPI_Comm comm, const char *path, CellStore **store)
{
  CellStore     *s;
  hid_t          h5;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  *store = NULL;
  PetscCall(file_open(comm, path, "cell store", &h5));
  PetscCall(PetscNew(&s));
  PetscCall(PetscStrallocpy(path, &s->path));
  code = error_agree(comm, read_tables_quietly(s, h5));
  if (!code) code = error_agree(comm, open_cells(s, comm, h5));
  /* What a failed read left open keeps a damaged file from closing: no second error. */
  if (H5Fclose(h5) < 0 && !code) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5: %s cannot be closed", path);
  if (code) PetscCall(cellstore_close(&s));
  PetscCall(code);
  *store = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double cellstore_cache_bytes(const CellStore *store) { return chunkcache_share(store->cache); }

PetscErrorCode cellstore_close(CellStore **store)
{
  CellStore *s = *store;

  PetscFunctionBeginUser;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  CellStoreTable *table           = &s->table;
  Vocabulary     *vocabularies[5] = {&table->gene, &table->perturbation, &table->cell_type, &table->batch, &table->dataset};
  for (int i = 0; i < 5; i++) PetscCall(strings_free(vocabularies[i]->count, &vocabularies[i]->name));
  PetscCall(PetscFree(table->perturbation_column));
  PetscCall(PetscFree(table->cell_type_column));
  PetscCall(PetscFree(table->batch_column));
  PetscCall(PetscFree(table->population));
  PetscCall(chunkcache_destroy(&s->cache));
  PetscCall(cellarray_close(&s->offset));
  PetscCall(cellarray_close(&s->gene));
  PetscCall(cellarray_close(&s->value));
  PetscCall(cellarray_close(&s->name));
  PetscCall(filemap_close(&s->map));
  PetscCall(PetscFree(s->path));
  PetscCall(PetscFree(*store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Rows. These run in the thread that fetches ahead: no PETSc call stack, no allocation. ---- */

/* Entries [first, first + entries) of a cell, checked against the arrays' extents. */
static PetscErrorCode row_range(const CellStore *store, PetscInt64 cell, int64_t *first, int64_t *entries)
{
  if (cell < 0 || cell >= store->table.cells) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "cell %lld of %lld", (long long)cell, (long long)store->table.cells);
  *first   = entry_of(store, cell);
  *entries = entry_of(store, cell + 1) - *first;
  if (*first < 0 || *entries < 0 || *entries > store->table.gene.count || *first > store->entries - *entries) return damaged(store, "/cells/offset points outside the entries");
  return PETSC_SUCCESS;
}

/* Where entries are in memory, for a caller that reads one stretch after the other; zeroed before the first. */
typedef struct {
  int64_t              first, end; /* entries it holds */
  const unsigned char *gene, *value; /* of entry first */
  int64_t              chunk[2];
  int32_t              slot[2];
  const unsigned char *bytes[2];
  unsigned char        pinned[2];
} Stretch;

static void stretch_release(const CellStore *store, Stretch *stretch)
{
  for (int a = 0; a < 2; a++)
    if (stretch->pinned[a]) chunkcache_unpin(store->cache, stretch->slot[a]);
  *stretch = (Stretch){0};
}

/* Address of an entry of an array and the end of what follows it in memory; the chunk it lies in stays pinned until another is wanted. */
static PetscErrorCode stretch_array(const CellStore *store, int which, const CellArray *array, int64_t entry, Stretch *stretch, const unsigned char **at)
{
  const int64_t chunk = array->bytes ? 0 : entry / array->chunks.elements;

  if (array->bytes) {
    *at = array->bytes + (size_t)entry * array->width;
    return PETSC_SUCCESS;
  }
  if (!stretch->pinned[which] || stretch->chunk[which] != chunk) {
    if (stretch->pinned[which]) chunkcache_unpin(store->cache, stretch->slot[which]);
    stretch->pinned[which] = 0;
    PetscErrorCode code    = chunkcache_pin(store->cache, which, chunk, &stretch->slot[which], &stretch->bytes[which]);
    if (code) return code;
    stretch->pinned[which] = 1;
    stretch->chunk[which]  = chunk;
  }
  *at          = stretch->bytes[which] + (size_t)(entry - chunk * array->chunks.elements) * array->width;
  stretch->end = PetscMin(stretch->end, (chunk + 1) * array->chunks.elements);
  return PETSC_SUCCESS;
}

/* Genes and values from entry first on, as far as they lie in one piece and before end. */
static PetscErrorCode stretch_to(const CellStore *store, int64_t first, int64_t end, Stretch *stretch)
{
  PetscErrorCode code;

  stretch->first = first;
  stretch->end   = end;
  code           = stretch_array(store, 0, &store->gene, first, stretch, &stretch->gene);
  return code ? code : stretch_array(store, 1, &store->value, first, stretch, &stretch->value);
}

static uint32_t gene_at(size_t width, const unsigned char *genes, int64_t entry)
{
  uint16_t narrow;
  uint32_t wide;

  if (width == sizeof narrow) {
    memcpy(&narrow, genes + (size_t)entry * sizeof narrow, sizeof narrow);
    return narrow;
  }
  memcpy(&wide, genes + (size_t)entry * sizeof wide, sizeof wide);
  return wide;
}

static float value_at(const unsigned char *values, int64_t entry)
{
  float value;

  memcpy(&value, values + (size_t)entry * sizeof value, sizeof value);
  return value;
}

/* Largest gene index, so that what follows need not look at each. */
static uint32_t largest_gene(size_t width, const unsigned char *genes, int64_t count)
{
  uint32_t top    = 0;
  uint16_t narrow = 0;

  if (width == sizeof narrow) {
    for (int64_t e = 0; e < count; e++) {
      const uint16_t g = (uint16_t)gene_at(sizeof narrow, genes, e);
      narrow           = g > narrow ? g : narrow;
    }
    return narrow;
  }
  for (int64_t e = 0; e < count; e++) {
    const uint32_t g = gene_at(sizeof top, genes, e);
    top              = g > top ? g : top;
  }
  return top;
}

/* ---- One cell: list or dense row ---- */

static PetscErrorCode list_row(const CellStore *store, PetscInt64 cell, Stretch *stretch, PetscInt *entries, int32_t *gene, float *value)
{
  const size_t   width = store->gene.width;
  int64_t        first = 0, count = 0;
  PetscErrorCode code = row_range(store, cell, &first, &count);

  for (int64_t done = 0; !code && done < count; done += stretch->end - stretch->first) {
    if ((code = stretch_to(store, first + done, first + count, stretch))) break;
    const int64_t n = stretch->end - stretch->first;
    if (largest_gene(width, stretch->gene, n) >= (uint32_t)store->table.gene.count) return damaged(store, "/cells/gene points outside the genes");
    for (int64_t e = 0; e < n; e++) gene[done + e] = (int32_t)gene_at(width, stretch->gene, e);
    memcpy(value + done, stretch->value, (size_t)n * sizeof *value);
  }
  *entries = (PetscInt)count;
  return code;
}

PetscErrorCode cellstore_row(const CellStore *store, PetscInt64 cell, PetscInt *entries, int32_t *gene, float *value)
{
  Stretch              stretch = {0};
  const PetscErrorCode code    = list_row(store, cell, &stretch, entries, gene, value);

  stretch_release(store, &stretch);
  return code;
}

static void scatter(size_t width, int64_t count, const unsigned char *gene, const unsigned char *value, double factor, Real *restrict row)
{
  if (width == sizeof(uint16_t))
    for (int64_t e = 0; e < count; e++) row[gene_at(sizeof(uint16_t), gene, e)] = (Real)(value_at(value, e) * factor);
  else
    for (int64_t e = 0; e < count; e++) row[gene_at(sizeof(uint32_t), gene, e)] = (Real)(value_at(value, e) * factor);
}

static PetscErrorCode dense_row(const CellStore *store, PetscInt64 cell, Stretch *stretch, double factor, Real *row)
{
  const uint32_t genes = (uint32_t)store->table.gene.count;
  const size_t   width = store->gene.width;
  int64_t        first = 0, count = 0;
  PetscErrorCode code = row_range(store, cell, &first, &count);

  memset(row, 0, genes * sizeof *row);
  for (int64_t done = 0; !code && done < count; done += stretch->end - stretch->first) {
    if ((code = stretch_to(store, first + done, first + count, stretch))) break;
    const int64_t n = stretch->end - stretch->first;
    if (largest_gene(width, stretch->gene, n) >= genes) return damaged(store, "/cells/gene points outside the genes");
    scatter(width, n, stretch->gene, stretch->value, factor, row);
  }
  return code;
}

static int by_key(const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return x < y ? -1 : x > y;
}

/* At most BLOCK cells in the order in which they lie in the file, so that each chunk is unpacked once. */
enum { BLOCK_BITS = 10, BLOCK = 1 << BLOCK_BITS };

static PetscErrorCode dense_sorted(const CellStore *store, PetscInt64 count, const PetscInt64 *cells, Stretch *stretch, double factor, Real *dense, PetscInt64 ld)
{
  uint64_t       key[BLOCK];
  PetscErrorCode code = PETSC_SUCCESS;

  for (PetscInt64 i = 0; i < count; i++) key[i] = (uint64_t)cells[i] << BLOCK_BITS | (uint64_t)i;
  qsort(key, (size_t)count, sizeof *key, by_key);
  for (PetscInt64 i = 0; i < count && !code; i++) {
    const PetscInt64 at = (PetscInt64)(key[i] & (BLOCK - 1));
    code                = dense_row(store, cells[at], stretch, factor, dense + at * ld);
  }
  return code;
}

PetscErrorCode cellstore_dense(const CellStore *store, PetscInt64 count, const PetscInt64 *cells, double factor, Real *dense, PetscInt64 ld)
{
  Stretch        stretch = {0};
  PetscErrorCode code    = PETSC_SUCCESS;

  for (PetscInt64 i = 0; i < count && !code; i += BLOCK) code = dense_sorted(store, PetscMin(BLOCK, count - i), cells + i, &stretch, factor, dense + i * ld, ld);
  stretch_release(store, &stretch);
  return code;
}

PetscErrorCode cellstore_name(CellStore *store, PetscInt64 cell, char **name)
{
  const size_t         width = store->name.width;
  const unsigned char *bytes = store->name.bytes + (size_t)cell * width;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(width + 1, name));
  memcpy(*name, bytes, width);
  (*name)[width] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Whole-store passes ---- */

/* Sum of the rows of one population, in the order of its cells: the same on any number of ranks. */
static PetscErrorCode population_mean(const CellStore *store, const Population *population, int32_t *gene, float *value, double *mean)
{
  PetscInt entries;

  PetscFunctionBeginUser;
  for (PetscInt64 c = 0; c < population->cells; c++) {
    PetscCall(cellstore_row(store, population->first_cell + c, &entries, gene, value));
    for (PetscInt e = 0; e < entries; e++) mean[gene[e]] += value[e];
  }
  for (PetscInt g = 0; g < store->table.gene.count; g++) mean[g] /= (double)population->cells;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's populations, dealt so that each has about the same number of cells: those whose middle cell lies in its share. */
static PetscErrorCode own_means(const CellStore *store, int rank, int size, double *means)
{
  const CellStoreTable *table = &store->table;
  PetscErrorCode        code  = PETSC_SUCCESS;
  int32_t              *gene;
  float                *value;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)table->gene.count, &gene, (size_t)table->gene.count, &value));
  for (PetscInt i = 0; i < table->populations && !code; i++) {
    const Population *p      = &table->population[i];
    const PetscInt64  middle = p->first_cell + p->cells / 2;
    if ((int)((double)middle / (double)table->cells * size) == rank) code = population_mean(store, p, gene, value, means + (size_t)i * (size_t)table->gene.count);
  }
  PetscCall(PetscFree2(gene, value));
  PetscFunctionReturn(code);
}

PetscErrorCode cellstore_means(CellStore *store, MPI_Comm comm, double **means)
{
  const PetscInt genes = store->table.gene.count, populations = store->table.populations;
  int            rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscCalloc1((size_t)populations * (size_t)genes, means));
  PetscCallAgree(comm, own_means(store, rank, size, *means));
  for (PetscInt i = 0; i < populations; i++) PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, *means + (size_t)i * (size_t)genes, genes, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode cells_checksum(const CellStore *store, PetscInt64 first, PetscInt64 end, uint64_t *checksum)
{
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt       entries;
  int32_t       *gene;
  float         *value;

  PetscFunctionBeginUser;
  *checksum = 0;
  PetscCall(PetscMalloc2((size_t)store->table.gene.count, &gene, (size_t)store->table.gene.count, &value));
  for (PetscInt64 cell = first; cell < end && !code; cell++) {
    code = cellstore_row(store, cell, &entries, gene, value);
    if (!code) *checksum += cellstore_row_checksum(cell, entry_of(store, cell), entries, gene, value);
  }
  PetscCall(PetscFree2(gene, value));
  PetscFunctionReturn(code);
}

PetscErrorCode cellstore_verify(CellStore *store, MPI_Comm comm)
{
  const PetscInt64 cells = store->table.cells;
  uint64_t         own, all;
  int              rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallAgree(comm, cells_checksum(store, cells * rank / size, cells * (rank + 1) / size, &own));
  PetscCallMPI(MPI_Allreduce(&own, &all, 1, MPI_UINT64_T, MPI_SUM, comm));
  if (all + store->table_checksum != store->table.checksum) return damaged(store, "the cells do not have the checksum they were written with");
  PetscFunctionReturn(PETSC_SUCCESS);
}
