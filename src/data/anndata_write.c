/* Writing of AnnData files (encoding of anndata 0.8): X as CSR in pieces, obs, var and uns. All ranks write together. */
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <math.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, LEAST_CHUNK = 4096, WRITE_BLOCK = 1 << 26 };

typedef struct {
  char    *name;
  PetscInt levels;
  hid_t    codes; /* invalid before the first append */
} CodeColumn;

/* Cells of one append on this rank. */
typedef struct {
  PetscInt64 first, count;
} RowRange;

struct AnnWriter {
  FileDraft   draft;
  PetscInt64  genes, rows, entries; /* written so far by all ranks */
  hid_t       data, indices;
  PetscInt    columns, var_columns;
  CodeColumn *column;
  char      **var_column;
  /* Names and row pointers of this rank's cells wait for the commit: only then the longest name and the number of entries are known. */
  PetscInt64 kept, room;
  char     **name;
  int64_t   *end; /* entries of the whole matrix up to and with the row */
  PetscInt   ranges, range_room;
  RowRange  *range;
};

/* ---- groups and encodings ------------------------------------------------------------------------------------------------------ */

static PetscErrorCode encode(hid_t object, const char *type, const char *version)
{
  PetscFunctionBeginUser;
  PetscCall(h5_write_attribute_string(object, "encoding-type", type));
  PetscCall(h5_write_attribute_string(object, "encoding-version", version));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode encode_path(hid_t h5, const char *path, const char *type, const char *version)
{
  hid_t object;

  PetscFunctionBeginUser;
  H5Check(object = H5Oopen(h5, path, H5P_DEFAULT));
  PetscCall(encode(object, type, version));
  H5Check(H5Oclose(object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode make_group(hid_t h5, const char *path, const char *type, const char *version)
{
  hid_t group;

  PetscFunctionBeginUser;
  H5Check(group = H5Gcreate2(h5, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(encode(group, type, version));
  H5Check(H5Gclose(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The groups on the way to path, as nested dictionaries. */
static PetscErrorCode make_parents(hid_t h5, const char *path)
{
  char part[512];

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(part, path, sizeof part));
  for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (!h5_exists(h5, part)) PetscCall(make_group(h5, part, "dict", "0.1.0"));
    *slash = '/';
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- growing data sets --------------------------------------------------------------------------------------------------------- */

/* An empty data set of one dimension whose chunks fit what comes first, up to CHUNK_BYTES. */
static PetscErrorCode create_growing(hid_t h5, const char *path, hid_t type, PetscInt64 expected, hid_t *dataset)
{
  const hsize_t none = 0, unlimited = H5S_UNLIMITED, most = CHUNK_BYTES / H5Tget_size(type);
  hsize_t       chunk = LEAST_CHUNK;
  hid_t         space, properties;

  PetscFunctionBeginUser;
  while (chunk < (hsize_t)expected && chunk < most) chunk *= 2;
  H5Check(space = H5Screate_simple(1, &none, &unlimited));
  H5Check(properties = H5Pcreate(H5P_DATASET_CREATE));
  H5Check(H5Pset_chunk(properties, 1, &chunk));
  H5Check(H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER));
  H5Check(*dataset = H5Dcreate2(h5, path, type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Check(H5Pclose(properties));
  H5Check(H5Sclose(space));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* write_piece - each rank writes elements [first, first+count) of an existing data set. Collective; count may be 0. */
static PetscErrorCode write_piece(const AnnWriter *writer, hid_t dataset, hid_t type, PetscInt64 first, PetscInt64 count, const void *values)
{
  const MPI_Comm comm = writer->draft.comm;
  const size_t   size = H5Tget_size(type);
  PetscInt64     most = count;
  herr_t         status = 0;
  hid_t          transfer, space, memory;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPIU_INT64, MPI_MAX, comm));
  H5Check(transfer = H5Pcreate(H5P_DATASET_XFER));
  H5Check(H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE));
  H5Check(space = H5Dget_space(dataset));
  for (PetscInt64 done = 0; done < most; done += WRITE_BLOCK) {
    const hsize_t start = (hsize_t)(first + done), part = done < count ? (hsize_t)PetscMin((PetscInt64)WRITE_BLOCK, count - done) : 0;
    H5Check(memory = H5Screate_simple(1, &part, NULL));
    if (part) H5Check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &part, NULL));
    else {
      H5Check(H5Sselect_none(space));
      H5Check(H5Sselect_none(memory));
    }
    /* A rank whose write failed goes on, or the others would wait for it. */
    const herr_t now = H5Dwrite(dataset, type, memory, space, transfer, part ? (const char *)values + (size_t)done * size : "");
    if (now < 0) status = now;
    H5Check(H5Sclose(memory));
  }
  H5Check(H5Sclose(space));
  H5Check(H5Pclose(transfer));
  PetscCallAgree(comm, status < 0 ? h5_write_failed(dataset) : PETSC_SUCCESS);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The data set grows to total elements; each rank writes its piece. */
static PetscErrorCode grow_and_write(const AnnWriter *writer, hid_t dataset, hid_t type, PetscInt64 total, PetscInt64 first, PetscInt64 count, const void *values)
{
  const hsize_t extent = (hsize_t)total;

  PetscFunctionBeginUser;
  H5Check(H5Dset_extent(dataset, &extent));
  PetscCall(write_piece(writer, dataset, type, first, count, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- beginning ----------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode write_frame(AnnWriter *writer)
{
  static const char *const dictionary[] = {"layers", "obsm", "obsp", "uns", "varm", "varp"};
  const hid_t              h5           = writer->draft.h5;

  PetscFunctionBeginUser;
  PetscCall(encode_path(h5, "/", "anndata", "0.1.0"));
  for (size_t d = 0; d < sizeof dictionary / sizeof *dictionary; d++) PetscCall(make_group(h5, dictionary[d], "dict", "0.1.0"));
  PetscCall(make_group(h5, "X", "csr_matrix", "0.1.0"));
  PetscCall(make_group(h5, "obs", "dataframe", "0.2.0"));
  PetscCall(make_group(h5, "var", "dataframe", "0.2.0"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_create(MPI_Comm comm, const char *path, PetscInt64 genes, const char *const *gene_names, AnnWriter **writer)
{
  AnnWriter     *new;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  *writer = NULL;
  PetscCall(PetscCalloc1(1, &new));
  new->genes = genes;
  new->data = new->indices = H5I_INVALID_HID;
  code = file_draft_create(comm, path, &new->draft);
  if (!code) code = write_frame(new);
  if (!code) code = anndata_write_strings(new, "var/_index", (PetscInt64)genes, gene_names);
  if (code) PetscCall(anndata_discard(&new));
  PetscCall(code);
  *writer = new;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* pandas' own choice for so many categories. */
static hid_t code_type(PetscInt levels) { return levels <= INT8_MAX ? H5T_STD_I8LE : levels <= INT16_MAX ? H5T_STD_I16LE : H5T_STD_I32LE; }

PetscErrorCode anndata_declare_column(AnnWriter *writer, const char *name, PetscInt levels, const char *const *level)
{
  const hid_t   h5 = writer->draft.h5;
  const int8_t  ordered = 0;
  char          path[512];
  hid_t         group, attribute, space, type;

  PetscFunctionBeginUser;
  if (writer->data >= 0) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ORDER, "column '%s' declared after the first rows", name);
  PetscCall(PetscSNPrintf(path, sizeof path, "obs/%s", name));
  PetscCall(make_group(h5, path, "categorical", "0.2.0"));
  /* h5py's boolean */
  H5Check(type = H5Tenum_create(H5T_STD_I8LE));
  H5Check(H5Tenum_insert(type, "FALSE", &(int8_t){0}));
  H5Check(H5Tenum_insert(type, "TRUE", &(int8_t){1}));
  H5Check(space = H5Screate(H5S_SCALAR));
  H5Check(group = H5Gopen2(h5, path, H5P_DEFAULT));
  H5Check(attribute = H5Acreate2(group, "ordered", type, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Check(H5Awrite(attribute, type, &ordered));
  H5Check(H5Aclose(attribute));
  H5Check(H5Gclose(group));
  H5Check(H5Sclose(space));
  H5Check(H5Tclose(type));
  PetscCall(PetscSNPrintf(path, sizeof path, "obs/%s/categories", name));
  PetscCall(h5_write_strings(h5, path, levels, level));
  PetscCall(encode_path(h5, path, "string-array", "0.2.0"));
  PetscCall(PetscRealloc((size_t)(writer->columns + 1) * sizeof *writer->column, &writer->column));
  CodeColumn *column = &writer->column[writer->columns];
  *column            = (CodeColumn){.levels = levels, .codes = H5I_INVALID_HID};
  PetscCall(PetscStrallocpy(name, &column->name));
  writer->columns++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------------- */

/* X and the codes, their chunks fit to the first piece. */
static PetscErrorCode create_matrix(AnnWriter *writer, PetscInt64 rows, PetscInt64 entries)
{
  const hid_t h5 = writer->draft.h5;
  char        path[512];

  PetscFunctionBeginUser;
  PetscCall(create_growing(h5, "X/data", H5T_IEEE_F32LE, entries, &writer->data));
  PetscCall(create_growing(h5, "X/indices", H5T_STD_I32LE, entries, &writer->indices));
  for (PetscInt c = 0; c < writer->columns; c++) {
    PetscCall(PetscSNPrintf(path, sizeof path, "obs/%s/codes", writer->column[c].name));
    PetscCall(create_growing(h5, path, code_type(writer->column[c].levels), rows, &writer->column[c].codes));
    PetscCall(encode(writer->column[c].codes, "array", "0.2.0"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Copy the names of this append and note where its rows end. */
static PetscErrorCode keep_rows(AnnWriter *writer, PetscInt64 first, PetscInt64 first_entry, const SparseRows *rows, const char *const *names)
{
  const PetscInt64 count = rows->rows;
  RowRange        *last  = writer->ranges ? &writer->range[writer->ranges - 1] : NULL;

  PetscFunctionBeginUser;
  if (last && last->first + last->count == first) last->count += count;
  else {
    if (writer->ranges == writer->range_room) {
      writer->range_room = PetscMax(64, 2 * writer->range_room);
      PetscCall(PetscRealloc((size_t)writer->range_room * sizeof *writer->range, &writer->range));
    }
    writer->range[writer->ranges++] = (RowRange){.first = first, .count = count};
  }
  if (writer->kept + count > writer->room) {
    writer->room = PetscMax(writer->kept + count, 2 * writer->room);
    PetscCall(PetscRealloc((size_t)writer->room * sizeof *writer->name, &writer->name));
    PetscCall(PetscRealloc((size_t)writer->room * sizeof *writer->end, &writer->end));
  }
  for (PetscInt64 i = 0; i < count; i++) {
    PetscCall(PetscStrallocpy(names[i], &writer->name[writer->kept]));
    writer->end[writer->kept++] = first_entry + rows->offset[i + 1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_piece(const AnnWriter *writer, const SparseRows *rows, const int32_t *const *codes)
{
  PetscFunctionBeginUser;
  if (rows->rows && rows->columns != writer->genes)
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "rows of %lld columns for %lld genes", (long long)rows->columns, (long long)writer->genes);
  for (PetscInt c = 0; c < writer->columns; c++)
    for (PetscInt64 i = 0; i < rows->rows; i++)
      if (codes[c][i] < -1 || codes[c][i] >= writer->column[c].levels)
        SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "category %d of '%s' with %d levels", (int)codes[c][i], writer->column[c].name, (int)writer->column[c].levels);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for these rows, the last chunk of each data set included. */
static PetscErrorCode reserve(const AnnWriter *writer, PetscInt64 rows, PetscInt64 entries)
{
  const uint64_t sets = 2 + (uint64_t)writer->columns;

  PetscFunctionBeginUser;
  PetscCall(file_draft_reserve(&writer->draft, (uint64_t)entries * 8 + (uint64_t)rows * 4 * sets + sets * CHUNK_BYTES));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_append(AnnWriter *writer, const SparseRows *rows, const int32_t *const *codes, const char *const *cell_names)
{
  const MPI_Comm comm   = writer->draft.comm;
  PetscInt64     own[2] = {rows->rows, rows->rows ? rows->offset[rows->rows] : 0}, before[2] = {0, 0}, all[2];
  int            rank;

  PetscFunctionBeginUser;
  PetscCall(check_piece(writer, rows, codes));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Exscan(own, before, 2, MPIU_INT64, MPI_SUM, comm));
  if (!rank) before[0] = before[1] = 0;
  PetscCallMPI(MPI_Allreduce(own, all, 2, MPIU_INT64, MPI_SUM, comm));
  PetscCall(reserve(writer, all[0], all[1]));
  if (writer->data < 0) PetscCall(create_matrix(writer, all[0], all[1]));
  if (!all[0]) PetscFunctionReturn(PETSC_SUCCESS);

  const PetscInt64 first_row = writer->rows + before[0], first_entry = writer->entries + before[1];
  const PetscInt64 total_rows = writer->rows + all[0], total_entries = writer->entries + all[1];
  PetscCall(grow_and_write(writer, writer->indices, H5T_NATIVE_INT32, total_entries, first_entry, own[1], rows->column));
  PetscCall(grow_and_write(writer, writer->data, H5T_NATIVE_FLOAT, total_entries, first_entry, own[1], rows->value));
  for (PetscInt c = 0; c < writer->columns; c++)
    PetscCall(grow_and_write(writer, writer->column[c].codes, H5T_NATIVE_INT32, total_rows, first_row, own[0], own[0] ? codes[c] : NULL));
  if (own[0]) PetscCall(keep_rows(writer, first_row, first_entry, rows, cell_names));
  writer->rows    = total_rows;
  writer->entries = total_entries;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- further arrays ------------------------------------------------------------------------------------------------------------ */

/* A vector of var becomes one of its columns; its index does not. */
static PetscErrorCode note_var_column(AnnWriter *writer, const char *path, PetscInt64 rows)
{
  PetscFunctionBeginUser;
  if (strncmp(path, "var/", 4)) PetscFunctionReturn(PETSC_SUCCESS);
  if (rows != writer->genes) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "'%s' has %lld entries for %lld genes", path, (long long)rows, (long long)writer->genes);
  if (!strcmp(path, "var/_index")) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscRealloc((size_t)(writer->var_columns + 1) * sizeof *writer->var_column, &writer->var_column));
  PetscCall(PetscStrallocpy(path + 4, &writer->var_column[writer->var_columns]));
  writer->var_columns++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_write_array(AnnWriter *writer, const char *path, PetscInt64 rows, PetscInt64 columns, const double *values)
{
  int rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(writer->draft.comm, &rank));
  PetscCall(make_parents(writer->draft.h5, path));
  PetscCall(h5_write_slab(writer->draft.h5, path, H5T_NATIVE_DOUBLE, rows, columns, 0, rank ? 0 : rows, values));
  PetscCall(encode_path(writer->draft.h5, path, "array", "0.2.0"));
  PetscCall(note_var_column(writer, path, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_write_strings(AnnWriter *writer, const char *path, PetscInt64 count, const char *const *strings)
{
  PetscFunctionBeginUser;
  PetscCall(make_parents(writer->draft.h5, path));
  PetscCall(h5_write_strings(writer->draft.h5, path, count, strings));
  PetscCall(encode_path(writer->draft.h5, path, "string-array", "0.2.0"));
  PetscCall(note_var_column(writer, path, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* UTF-8 of fixed width: parallel HDF5 does not write strings of variable length. */
static PetscErrorCode fixed_string(size_t width, hid_t *type)
{
  PetscFunctionBeginUser;
  H5Check(*type = H5Tcopy(H5T_C_S1));
  H5Check(H5Tset_size(*type, width ? width : 1));
  H5Check(H5Tset_strpad(*type, H5T_STR_NULLPAD));
  H5Check(H5Tset_cset(*type, H5T_CSET_UTF8));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_mark_log1p(AnnWriter *writer)
{
  const double base = exp(1);

  PetscFunctionBeginUser;
  PetscCall(anndata_write_array(writer, "uns/log1p/base", 1, 0, &base));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_write_text(AnnWriter *writer, const char *path, const char *text)
{
  hid_t  type, space, dataset;
  herr_t status = 0;
  int    rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(writer->draft.comm, &rank));
  PetscCall(make_parents(writer->draft.h5, path));
  PetscCall(fixed_string(strlen(text), &type));
  H5Check(space = H5Screate(H5S_SCALAR));
  H5Check(dataset = H5Dcreate2(writer->draft.h5, path, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  if (!rank) status = H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text);
  PetscCall(encode(dataset, "string", "0.2.0"));
  PetscCallAgree(writer->draft.comm, status < 0 ? h5_write_failed(dataset) : PETSC_SUCCESS);
  H5Check(H5Dclose(dataset));
  H5Check(H5Sclose(space));
  H5Check(H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------- */

/* Most ranges that any rank keeps, and the longest name. */
static PetscErrorCode agree_on_sizes(const AnnWriter *writer, PetscInt64 *ranges, PetscInt64 *width)
{
  PetscInt64 most[2] = {writer->ranges, 1};

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < writer->kept; i++) most[1] = PetscMax(most[1], (PetscInt64)strlen(writer->name[i]));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, most, 2, MPIU_INT64, MPI_MAX, writer->draft.comm));
  *ranges = most[0];
  *width  = most[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* obs/_index: one range of names of each rank a round. */
static PetscErrorCode write_names(AnnWriter *writer, PetscInt64 ranges, PetscInt64 width)
{
  const hsize_t  extent = (hsize_t)writer->rows;
  char         **next   = writer->name, *bytes;
  hid_t          type, space, dataset;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(fixed_string((size_t)width, &type));
  H5Check(space = H5Screate_simple(1, &extent, NULL));
  H5Check(dataset = H5Dcreate2(writer->draft.h5, "obs/_index", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(encode(dataset, "string-array", "0.2.0"));
  for (PetscInt64 r = 0; r < ranges && !code; r++) {
    const RowRange range = r < writer->ranges ? writer->range[r] : (RowRange){0};
    PetscCall(PetscCalloc1((size_t)(range.count * width) + 1, &bytes));
    for (PetscInt64 i = 0; i < range.count; i++, next++) memcpy(bytes + i * width, *next, strlen(*next));
    code = write_piece(writer, dataset, type, range.first, range.count, bytes);
    PetscCall(PetscFree(bytes));
  }
  H5Check(H5Dclose(dataset));
  H5Check(H5Sclose(space));
  H5Check(H5Tclose(type));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* X/indptr, of the same type as the indices (scipy wants it so) unless there are too many entries. */
static PetscErrorCode write_pointers(AnnWriter *writer, PetscInt64 ranges)
{
  const hsize_t extent = (hsize_t)writer->rows + 1;
  const int64_t zero = 0, *next = writer->end;
  hid_t         space, dataset;
  int           rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(writer->draft.comm, &rank));
  H5Check(space = H5Screate_simple(1, &extent, NULL));
  H5Check(dataset = H5Dcreate2(writer->draft.h5, "X/indptr", writer->entries > INT32_MAX ? H5T_STD_I64LE : H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscErrorCode code = write_piece(writer, dataset, H5T_NATIVE_INT64, 0, rank ? 0 : 1, &zero);
  for (PetscInt64 r = 0; r < ranges && !code; r++) {
    const RowRange range = r < writer->ranges ? writer->range[r] : (RowRange){0};
    code                 = write_piece(writer, dataset, H5T_NATIVE_INT64, range.first + 1, range.count, next);
    next += range.count;
  }
  H5Check(H5Dclose(dataset));
  H5Check(H5Sclose(space));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What pandas needs to know of a table: its index and the order of its columns. */
static PetscErrorCode describe_table(hid_t h5, const char *table, PetscInt count, const char *const *columns)
{
  static const char *const none[1] = {""};
  hid_t                    group;

  PetscFunctionBeginUser;
  H5Check(group = H5Gopen2(h5, table, H5P_DEFAULT));
  PetscCall(h5_write_attribute_string(group, "_index", "_index"));
  PetscCall(h5_write_attribute_strings(group, "column-order", count, count ? columns : none));
  H5Check(H5Gclose(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_shape(AnnWriter *writer)
{
  const int64_t shape[2] = {writer->rows, writer->genes};
  const hsize_t two      = 2;
  hid_t         group, space, attribute;

  PetscFunctionBeginUser;
  H5Check(group = H5Gopen2(writer->draft.h5, "X", H5P_DEFAULT));
  H5Check(space = H5Screate_simple(1, &two, NULL));
  H5Check(attribute = H5Acreate2(group, "shape", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Check(H5Awrite(attribute, H5T_NATIVE_INT64, shape));
  H5Check(H5Aclose(attribute));
  H5Check(H5Sclose(space));
  H5Check(H5Gclose(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Close the growing data sets. */
static PetscErrorCode close_matrix(AnnWriter *writer)
{
  PetscFunctionBeginUser;
  if (writer->data < 0) PetscFunctionReturn(PETSC_SUCCESS);
  H5Check(H5Dclose(writer->data));
  H5Check(H5Dclose(writer->indices));
  for (PetscInt c = 0; c < writer->columns; c++) H5Check(H5Dclose(writer->column[c].codes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode finish(AnnWriter *writer)
{
  const char **names;
  PetscInt64   ranges, width;

  PetscFunctionBeginUser;
  if (writer->data < 0) PetscCall(create_matrix(writer, 0, 0));
  PetscCall(agree_on_sizes(writer, &ranges, &width));
  PetscCall(file_draft_reserve(&writer->draft, (uint64_t)writer->rows * (uint64_t)(width + 8) + CHUNK_BYTES));
  PetscCall(write_names(writer, ranges, width));
  PetscCall(write_pointers(writer, ranges));
  PetscCall(PetscMalloc1(writer->columns + 1, &names));
  for (PetscInt c = 0; c < writer->columns; c++) names[c] = writer->column[c].name;
  PetscErrorCode code = describe_table(writer->draft.h5, "obs", writer->columns, names);
  PetscCall(PetscFree(names));
  PetscCall(code);
  PetscCall(describe_table(writer->draft.h5, "var", writer->var_columns, (const char *const *)writer->var_column));
  PetscCall(write_shape(writer));
  PetscCall(close_matrix(writer));
  PetscCall(file_draft_commit(&writer->draft));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_commit(AnnWriter **writer)
{
  PetscFunctionBeginUser;
  const PetscErrorCode code = finish(*writer);
  PetscCall(anndata_discard(writer));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_discard(AnnWriter **writer)
{
  PetscFunctionBeginUser;
  if (!*writer) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(file_draft_discard(&(*writer)->draft));
  for (PetscInt c = 0; c < (*writer)->columns; c++) PetscCall(PetscFree((*writer)->column[c].name));
  for (PetscInt64 i = 0; i < (*writer)->kept; i++) PetscCall(PetscFree((*writer)->name[i]));
  PetscCall(strings_free((*writer)->var_columns, &(*writer)->var_column));
  PetscCall(PetscFree((*writer)->column));
  PetscCall(PetscFree((*writer)->name));
  PetscCall(PetscFree((*writer)->end));
  PetscCall(PetscFree((*writer)->range));
  PetscCall(PetscFree(*writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}
