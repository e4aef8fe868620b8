/* The writer of the cell store: every rank its hyperslabs, collective. */
#include "data/cellstore_write.h"
#include "data/cellstore_format.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <time.h>

enum { CHUNK_BYTES = 1 << 20 };

struct CellStoreWriter {
  MPI_Comm   comm;
  int        rank;
  FileDraft  draft;
  PetscInt64 cells, cells_written;
  int64_t    entries, entries_written;
  size_t     name_length;
  PetscInt   compress;
  PetscBool  narrow; /* gene indices fit 16 bits */
  hid_t      offset, gene, value, name, source_row;
  uint64_t   table_checksum, cells_checksum; /* cells: this rank's part */
};

/* A one-dimensional array of the tables, written by rank 0. */
static PetscErrorCode write_array(const CellStoreWriter *writer, const char *name, hid_t type, PetscInt64 count, const void *values)
{
  PetscFunctionBeginUser;
  PetscCall(h5_write_slab(writer->draft.h5, name, type, count, 0, 0, writer->rank ? 0 : count, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode make_group(hid_t h5, const char *name)
{
  hid_t group;

  PetscFunctionBeginUser;
  H5Check(group = H5Gcreate2(h5, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Check(H5Gclose(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_vocabulary(const CellStoreWriter *writer, const char *name, const Vocabulary *vocabulary)
{
  PetscFunctionBeginUser;
  PetscCall(h5_write_strings(writer->draft.h5, name, vocabulary->count, (const char *const *)vocabulary->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_attributes(const CellStoreWriter *writer, const CellStoreTable *table, const CellStoreContent *content)
{
  const hid_t h5 = writer->draft.h5;
  char        created[32];
  time_t      now = time(NULL);

  PetscFunctionBeginUser;
  /* All ranks write the same bytes of metadata. */
  PetscCallMPI(MPI_Bcast(&now, sizeof now, MPI_BYTE, 0, writer->comm));
  strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  PetscCall(h5_write_attribute_string(h5, "format", CELLSTORE_FORMAT));
  PetscCall(h5_write_attribute_int64(h5, "version", CELLSTORE_VERSION));
  PetscCall(h5_write_attribute_string(h5, "created", created));
  PetscCall(h5_write_attribute_string(h5, "command", content->command ? content->command : ""));
  PetscCall(h5_write_attribute_string(h5, "perturbation_column", table->perturbation_column));
  PetscCall(h5_write_attribute_string(h5, "cell_type_column", table->cell_type_column));
  PetscCall(h5_write_attribute_string(h5, "batch_column", table->batch_column));
  PetscCall(h5_write_attribute_double(h5, "value_scale", table->value_scale));
  PetscCall(h5_write_attribute_double(h5, "library_size", table->library_size));
  PetscCall(h5_write_attribute_int64(h5, "table_checksum", (int64_t)writer->table_checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_genes(const CellStoreWriter *writer, const CellStoreTable *table, const CellStoreContent *content)
{
  PetscFunctionBeginUser;
  PetscCall(make_group(writer->draft.h5, "genes"));
  PetscCall(write_vocabulary(writer, "genes/name", &table->gene));
  if (content->gene_mean) PetscCall(write_array(writer, "genes/mean", H5T_NATIVE_DOUBLE, table->gene.count, content->gene_mean));
  if (content->gene_dispersion) PetscCall(write_array(writer, "genes/dispersion", H5T_NATIVE_DOUBLE, table->gene.count, content->gene_dispersion));
  if (content->gene_variable) PetscCall(write_array(writer, "genes/highly_variable", H5T_NATIVE_INT32, table->gene.count, content->gene_variable));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_vocabularies(const CellStoreWriter *writer, const CellStoreTable *table)
{
  hid_t perturbation;

  PetscFunctionBeginUser;
  PetscCall(make_group(writer->draft.h5, "vocabulary"));
  PetscCall(write_vocabulary(writer, "vocabulary/perturbation", &table->perturbation));
  PetscCall(write_vocabulary(writer, "vocabulary/cell_type", &table->cell_type));
  PetscCall(write_vocabulary(writer, "vocabulary/batch", &table->batch));
  PetscCall(write_vocabulary(writer, "vocabulary/dataset", &table->dataset));
  H5Check(perturbation = H5Dopen2(writer->draft.h5, "vocabulary/perturbation", H5P_DEFAULT));
  PetscCall(h5_write_attribute_string(perturbation, "control", table->perturbation.name[table->control]));
  H5Check(H5Dclose(perturbation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_sources(const CellStoreWriter *writer, const CellStoreContent *content)
{
  PetscFunctionBeginUser;
  if (!content->sources) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(make_group(writer->draft.h5, "sources"));
  PetscCall(h5_write_strings(writer->draft.h5, "sources/path", content->sources, content->source_path));
  PetscCall(write_array(writer, "sources/size", H5T_NATIVE_INT64, content->sources, content->source_size));
  PetscCall(write_array(writer, "sources/checksum", H5T_NATIVE_INT64, content->sources, content->source_checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Columns of the table of populations. */
static PetscErrorCode write_populations(const CellStoreWriter *writer, const CellStoreTable *table)
{
  static const char *const names[8] = {"populations/perturbation", "populations/cell_type",  "populations/batch",   "populations/dataset",
                                       "populations/control",      "populations/split",      "populations/first_cell", "populations/cells"};
  int64_t *column;

  PetscFunctionBeginUser;
  PetscCall(make_group(writer->draft.h5, "populations"));
  PetscCall(PetscMalloc1((size_t)table->populations, &column));
  for (int c = 0; c < 8; c++) {
    for (PetscInt i = 0; i < table->populations; i++) {
      const Population *p         = &table->population[i];
      const int64_t     fields[8] = {p->perturbation, p->cell_type, p->batch, p->dataset, p->control, p->split, p->first_cell, p->cells};
      column[i]                   = fields[c];
    }
    PetscCall(write_array(writer, names[c], H5T_NATIVE_INT64, table->populations, column));
  }
  PetscCall(PetscFree(column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An array over cells or entries: in one piece unless compressed. */
static PetscErrorCode create_cells(const CellStoreWriter *writer, const char *name, hid_t type, int64_t count, PetscInt compress, hid_t *dataset)
{
  const hsize_t extent = (hsize_t)count, most = CHUNK_BYTES / H5Tget_size(type), chunk = extent < most ? extent : most;
  hid_t         space, properties;

  PetscFunctionBeginUser;
  H5Check(space = H5Screate_simple(1, &extent, NULL));
  H5Check(properties = H5Pcreate(H5P_DATASET_CREATE));
  H5Check(H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER));
  if (compress && extent) {
    H5Check(H5Pset_chunk(properties, 1, &chunk));
    H5Check(H5Pset_shuffle(properties));
    H5Check(H5Pset_deflate(properties, (unsigned)compress));
  } else H5Check(H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY));
  H5Check(*dataset = H5Dcreate2(writer->draft.h5, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Check(H5Pclose(properties));
  H5Check(H5Sclose(space));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes of a gene index and a value in the file. */
static size_t entry_bytes(const CellStoreWriter *writer) { return (writer->narrow ? sizeof(uint16_t) : sizeof(uint32_t)) + sizeof(float); }

static PetscErrorCode create_cell_arrays(CellStoreWriter *writer, PetscInt compress)
{
  const size_t cell_bytes = 2 * sizeof(int64_t) + writer->name_length;
  hid_t        text;

  PetscFunctionBeginUser;
  PetscCall(make_group(writer->draft.h5, "cells"));
  PetscCall(file_draft_reserve(&writer->draft, (uint64_t)(writer->cells + 1) * cell_bytes + (compress ? 0 : (uint64_t)writer->entries * entry_bytes(writer))));
  H5Check(text = H5Tcopy(H5T_C_S1));
  H5Check(H5Tset_size(text, writer->name_length));
  H5Check(H5Tset_strpad(text, H5T_STR_NULLPAD));
  H5Check(H5Tset_cset(text, H5T_CSET_UTF8));
  PetscCall(create_cells(writer, "cells/offset", H5T_NATIVE_INT64, writer->cells + 1, 0, &writer->offset));
  PetscCall(create_cells(writer, "cells/gene", writer->narrow ? H5T_NATIVE_UINT16 : H5T_NATIVE_UINT32, writer->entries, compress, &writer->gene));
  PetscCall(create_cells(writer, "cells/value", H5T_NATIVE_FLOAT, writer->entries, compress, &writer->value));
  PetscCall(create_cells(writer, "cells/name", text, writer->cells, 0, &writer->name));
  PetscCall(create_cells(writer, "cells/source_row", H5T_NATIVE_INT64, writer->cells, 0, &writer->source_row));
  H5Check(H5Tclose(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_tables(CellStoreWriter *writer, const CellStoreTable *table, const CellStoreContent *content)
{
  PetscFunctionBeginUser;
  PetscCall(write_attributes(writer, table, content));
  PetscCall(write_genes(writer, table, content));
  PetscCall(write_vocabularies(writer, table));
  PetscCall(write_populations(writer, table));
  PetscCall(write_sources(writer, content));
  PetscCall(create_cell_arrays(writer, content->compress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellstore_create(MPI_Comm comm, const char *path, const CellStoreTable *table, const CellStoreContent *content, CellStoreWriter **writer)
{
  CellStoreWriter *w;
  PetscErrorCode   code;

  PetscFunctionBeginUser;
  *writer = NULL;
  PetscCall(PetscNew(&w));
  w->comm        = comm;
  w->cells       = table->cells;
  w->entries     = content->entries;
  w->compress    = content->compress;
  w->narrow      = table->gene.count <= 65536 ? PETSC_TRUE : PETSC_FALSE;
  w->name_length = content->name_length ? content->name_length : 1;
  PetscCallMPI(MPI_Comm_rank(comm, &w->rank));
  PetscCall(cellstore_table_checksum(table, &w->table_checksum));
  code = file_draft_create(comm, path, &w->draft);
  if (!code) code = write_tables(w, table, content);
  if (code) PetscCall(cellstore_discard(&w));
  PetscCall(code);
  *writer = w;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's part [first, first + count) of an array, collective. */
static PetscErrorCode write_part(hid_t dataset, hid_t type, int64_t first, int64_t count, const void *values)
{
  const hsize_t start = (hsize_t)first, length = (hsize_t)count;
  hid_t         file, memory, transfer, own = type == H5I_INVALID_HID ? H5Dget_type(dataset) : H5Tcopy(type);
  herr_t        failed;

  PetscFunctionBeginUser;
  H5Check(own);
  H5Check(file = H5Dget_space(dataset));
  H5Check(memory = H5Screate_simple(1, &length, NULL));
  if (count) H5Check(H5Sselect_hyperslab(file, H5S_SELECT_SET, &start, NULL, &length, NULL));
  else {
    H5Check(H5Sselect_none(file));
    H5Check(H5Sselect_none(memory));
  }
  H5Check(transfer = H5Pcreate(H5P_DATASET_XFER));
  H5Check(H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE));
  failed = H5Dwrite(dataset, own, memory, file, transfer, values);
  H5Check(H5Pclose(transfer));
  H5Check(H5Sclose(memory));
  H5Check(H5Sclose(file));
  H5Check(H5Tclose(own));
  if (failed < 0) return error_user("writing the cell store failed; is the disk full or the connection to it lost?");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gene indices in the width of the file. */
static PetscErrorCode write_gene_part(CellStoreWriter *writer, int64_t first, int64_t count, const int32_t *column)
{
  uint16_t      *narrow = NULL;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  if (!writer->narrow) {
    PetscCall(write_part(writer->gene, H5T_NATIVE_INT32, first, count, column));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1((size_t)count, &narrow));
  for (int64_t i = 0; i < count; i++) narrow[i] = (uint16_t)column[i];
  code = write_part(writer->gene, H5T_NATIVE_UINT16, first, count, narrow);
  PetscCall(PetscFree(narrow));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellstore_append(CellStoreWriter *writer, const SparseRows *rows, const char *name, const int64_t *source_row)
{
  const int64_t own[2] = {rows->rows, rows->rows ? rows->offset[rows->rows] : 0};
  int64_t       before[2] = {0, 0}, all[2], *offset;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Exscan(own, before, 2, MPI_INT64_T, MPI_SUM, writer->comm));
  if (!writer->rank) before[0] = before[1] = 0;
  PetscCallMPI(MPI_Allreduce(own, all, 2, MPI_INT64_T, MPI_SUM, writer->comm));
  const int64_t cell = writer->cells_written + before[0], entry = writer->entries_written + before[1];
  if (writer->cells_written + all[0] > writer->cells || writer->entries_written + all[1] > writer->entries)
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "more cells or entries than the store was created for");

  /* Before compression, since how far it goes is not known. */
  if (writer->compress) PetscCall(file_draft_reserve(&writer->draft, (uint64_t)all[1] * entry_bytes(writer)));
  /* Each row's end is written with the row; rank 0 adds the beginning of the very first. */
  const int64_t lead = !writer->rank && !writer->cells_written ? 1 : 0;
  PetscCall(PetscMalloc1((size_t)(own[0] + 1), &offset));
  if (lead) offset[0] = 0;
  for (int64_t i = 0; i < own[0]; i++) {
    const int64_t first = rows->offset[i], count = rows->offset[i + 1] - first;
    offset[i + lead] = entry + rows->offset[i + 1];
    writer->cells_checksum += cellstore_row_checksum(cell + i, entry + first, (PetscInt)count, rows->column + first, rows->value + first);
  }
  PetscCallAgree(writer->comm, write_part(writer->offset, H5T_NATIVE_INT64, cell + 1 - lead, own[0] + lead, offset));
  PetscCall(PetscFree(offset));
  PetscCallAgree(writer->comm, write_gene_part(writer, entry, own[1], rows->column));
  PetscCallAgree(writer->comm, write_part(writer->value, H5T_NATIVE_FLOAT, entry, own[1], rows->value));
  PetscCallAgree(writer->comm, write_part(writer->name, H5I_INVALID_HID, cell, own[0], name));
  PetscCallAgree(writer->comm, write_part(writer->source_row, H5T_NATIVE_INT64, cell, own[0], source_row));
  writer->cells_written += all[0];
  writer->entries_written += all[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode close_arrays(CellStoreWriter *writer)
{
  const hid_t arrays[5] = {writer->offset, writer->gene, writer->value, writer->name, writer->source_row};

  PetscFunctionBeginUser;
  /* Those that were made before something failed. */
  for (int i = 0; i < 5; i++)
    if (arrays[i] > 0) H5Check(H5Dclose(arrays[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellstore_commit(CellStoreWriter **writer, uint64_t *checksum)
{
  CellStoreWriter *w = *writer;
  PetscErrorCode   code;
  uint64_t         all;

  PetscFunctionBeginUser;
  if (w->cells_written != w->cells || w->entries_written != w->entries) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "the store is not complete");
  PetscCallMPI(MPI_Allreduce(&w->cells_checksum, &all, 1, MPI_UINT64_T, MPI_SUM, w->comm));
  all += w->table_checksum;
  PetscCall(h5_write_attribute_int64(w->draft.h5, "checksum", (int64_t)all));
  if (checksum) *checksum = all;
  PetscCall(close_arrays(w));
  code = file_draft_commit(&w->draft);
  if (code) PetscCall(file_draft_discard(&w->draft));
  PetscCall(PetscFree(*writer));
  PetscFunctionReturn(code);
}

PetscErrorCode cellstore_discard(CellStoreWriter **writer)
{
  PetscFunctionBeginUser;
  if (!*writer) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(close_arrays(*writer));
  PetscCall(file_draft_discard(&(*writer)->draft));
  PetscCall(PetscFree(*writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}
