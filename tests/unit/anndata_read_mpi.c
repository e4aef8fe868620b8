/* Files written by anndata 0.6 to 0.12 (tests/data/anndata/make_fixtures.py), every form read in ranges on every rank. */
#include "check.h"
#include <hdf5.h>
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CELLS = 12, GENES = 7 };

/* known_matrix() of make_fixtures.py. */
static float known(PetscInt64 i, PetscInt64 j)
{
  return i != 5 && (i * i + 3 * j) % 4 == 0 ? (float)(i + 2 * j + 1) : 0;
}

static void fixture(char *path, size_t size, const char *name)
{
  const char *folder = getenv("srcdir");

  snprintf(path, size, "%s/tests/data/anndata/%s.h5ad", folder ? folder : ".", name);
}

static AnnData *open_fixture(const char *name)
{
  char     path[1024];
  AnnData *file;

  fixture(path, sizeof path, name);
  const PetscErrorCode code = anndata_open(PETSC_COMM_WORLD, path, &file);
  if (code) fail_msg("%s", error_message());
  return file;
}

/* Rows [first, first+count): values, order, no zeros. */
static void check_rows(AnnData *file, const char *what, PetscInt64 first, PetscInt64 count, PetscBool booleans)
{
  SparseRows rows;
  PetscInt64 cells, genes;

  check_call(anndata_shape(file, &cells, &genes));
  if (anndata_read_rows(file, first, count, &rows)) fail_msg("%s: %s", what, error_message());
  assert_int_equal(rows.rows, count);
  assert_int_equal(rows.columns, genes);
  assert_int_equal(rows.offset[0], 0);
  for (PetscInt64 i = 0; i < count; i++) {
    float   found[GENES + 1] = {0};
    int32_t previous         = -1;
    for (int64_t e = rows.offset[i]; e < rows.offset[i + 1]; e++) {
      assert_true(rows.column[e] > previous && rows.column[e] < genes);
      assert_true(rows.value[e] != 0);
      previous               = rows.column[e];
      found[rows.column[e]] = rows.value[e];
    }
    for (PetscInt64 j = 0; j < genes; j++) {
      const float expected = j == GENES ? 0 : booleans ? known(first + i, j) != 0 : known(first + i, j);
      if (found[j] != expected) fail_msg("%s (%d, %d): %g instead of %g", what, (int)(first + i), (int)j, found[j], expected);
    }
  }
  check_call(sparserows_free(&rows));
}

/* All rows, every rank's share of them, and single ones in an order of its own. */
static void check_matrix(AnnData *file, const char *what, PetscInt64 columns)
{
  const PetscBool booleans = strstr(what, "bool") != NULL;
  PetscInt64      cells, genes;
  int             rank, size;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  check_call(anndata_shape(file, &cells, &genes));
  assert_int_equal(cells, CELLS);
  assert_int_equal(genes, columns);
  check_rows(file, what, CELLS * rank / size, CELLS * (rank + 1) / size - CELLS * rank / size, booleans);
  check_rows(file, what, 0, CELLS, booleans);
  for (int i = 0; i < CELLS; i += 1 + rank) check_rows(file, what, CELLS - 1 - i, 1, booleans);
  check_rows(file, what, CELLS, 0, booleans);
}

static void select_and_check(AnnData *file, const char *matrix, PetscInt64 columns)
{
  if (anndata_select(file, matrix)) fail_msg("%s", error_message());
  check_matrix(file, matrix, columns);
}

static void x_of_every_version(void **state)
{
  static const char *const files[] = {"v06_csr_raw", "v06_dense",   "v06_dense_lzf", "v06_csr_gzip", "v07_csr_raw",  "v07_dense",   "v07_dense_lzf",  "v07_csc",
                                      "v08_csr_raw", "v08_dense",   "v08_dense_lzf", "v08_csc",      "v010_csr_raw", "v010_dense",  "v010_csr_gzip", "v010_csc",
                                      "v012_csr_raw", "v012_dense", "v012_dense_lzf", "v012_csc",    "v012_dense_types", "v012_sparse_types", "v012_disorder"};

  for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
    AnnData           *file = open_fixture(files[f]);
    const char *const *gene;
    char             **cell;
    check_matrix(file, files[f], GENES);
    check_call(anndata_gene_names(file, &gene));
    assert_string_equal(gene[0], "gene_0");
    assert_string_equal(gene[3], "HLA-\u03b6");
    assert_string_equal(gene[6], "gene_6");
    check_call(anndata_cell_names(file, 9, 3, &cell));
    assert_string_equal(cell[0], "cell_9");
    assert_string_equal(cell[2], "cell_11");
    check_call(strings_free(3, &cell));
    if (strstr(files[f], "raw")) {
      select_and_check(file, "raw/X", GENES + 1);
      check_call(anndata_gene_names(file, &gene));
      assert_string_equal(gene[7], "extra");
      select_and_check(file, "X", GENES);
    }
    check_call(anndata_close(&file));
  }
}

static void layers_of_every_type(void **state)
{
  static const char *const dense[]    = {"float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"};
  static const char *const sparse[]   = {"int8", "float64", "bool", "csc_int8", "csc_float64", "csc_bool"};
  static const char *const disorder[] = {"csc", "chunked", "big_endian"};
  AnnData                 *file;
  char                     path[64];

  file = open_fixture("v012_dense_types");
  for (size_t i = 0; i < sizeof dense / sizeof *dense; i++) {
    snprintf(path, sizeof path, "layers/%s", dense[i]);
    select_and_check(file, path, GENES);
  }
  check_call(anndata_close(&file));
  file = open_fixture("v012_sparse_types");
  for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++) select_and_check(file, sparse[i], GENES);
  check_call(anndata_close(&file));
  file = open_fixture("v012_disorder");
  for (size_t i = 0; i < sizeof disorder / sizeof *disorder; i++) select_and_check(file, disorder[i], GENES);
  check_call(anndata_close(&file));
}

static void obsm_matrices(void **state)
{
  AnnData           *file = open_fixture("v012_obsm");
  const char *const *gene;
  PetscInt64         cells, genes;

  select_and_check(file, "X_hvg", GENES);
  check_call(anndata_gene_names(file, &gene));
  assert_string_equal(gene[3], "HLA-\u03b6"); /* var/highly_variable marks all 7 */
  select_and_check(file, "obsm/sparse", GENES);
  select_and_check(file, "obsm/scores", GENES);
  check_call(anndata_gene_names(file, &gene));
  assert_string_equal(gene[6], "score 6");
  check_call(anndata_select(file, "obsm/five"));
  check_call(anndata_shape(file, &cells, &genes));
  assert_int_equal(genes, 5);
  check_rows(file, "five", 2, 7, PETSC_FALSE);
  check_call(anndata_gene_names(file, &gene));
  assert_string_equal(gene[4], "five_4"); /* uns/X_five_names has two names only */
  check_call(anndata_close(&file));
}

/* The column has these labels, and code(i) is the label of cell i. */
static void check_column(AnnData *file, const char *name, PetscInt levels, const char *const *level, int (*code)(int))
{
  AnnColumn column;

  if (anndata_column(file, "obs", name, &column)) fail_msg("%s", error_message());
  assert_int_equal(column.count, CELLS);
  assert_int_equal(column.levels, levels);
  for (PetscInt k = 0; k < levels; k++) assert_string_equal(column.level[k], level[k]);
  for (int i = 0; i < CELLS; i++)
    if (column.code[i] != code(i)) fail_msg("%s of cell %d: %d instead of %d", name, i, column.code[i], code(i));
  check_call(anncolumn_free(&column));
}

static int of_four(int i) { return i % 4 == 3 ? -1 : i % 4; }
static int parity(int i) { return i % 2; }
static int of_barcode(int i) { return i * 5 % 12; }
static int of_donor(int i) { return i * 5 % 3; }
static int of_three(int i) { return i % 3 == 2 ? -1 : i % 3; }

/* Rank of i among the guides that are there: g k, k = 5 i mod 12, where i % 4 != 3. */
static int of_guide(int i)
{
  int below = 0;

  for (int k = 0; k < 12; k++) below += k % 4 != 3 && k * 5 % 12 < i * 5 % 12;
  return i % 4 == 3 ? -1 : below;
}

static void columns(void **state)
{
  static const char *const version[] = {"v06", "v07", "v08", "v010", "v012"};
  static const char *const drugs[] = {"control", "IFN-\u03b2", "drug b"}, *const plates[] = {"30", "5"}, *const donors[] = {"-1", "0", "1"};
  static const char *const doses[] = {"0.1", "2.5", "10"}, *const truth[] = {"False", "True"}, *const passages[] = {"4", "5"};
  const char              *barcodes[12], *guides[9] = {"g00", "g01", "g02", "g04", "g05", "g06", "g08", "g09", "g10"};
  char                     text[12][8], name[64];

  for (int k = 0; k < 12; k++) {
    snprintf(text[k], sizeof text[k], "b%02d", k);
    barcodes[k] = text[k];
  }
  for (size_t v = 0; v < sizeof version / sizeof *version; v++) {
    snprintf(name, sizeof name, "%s_dense", version[v]);
    AnnData *file = open_fixture(name);
    check_column(file, "perturbation", 3, drugs, of_four);
    check_column(file, "plate", 2, plates, parity);
    check_column(file, "barcode", 12, barcodes, of_barcode);
    check_column(file, "donor", 3, donors, of_donor);
    check_column(file, "dose", 3, doses, of_four);
    check_column(file, "dose32", 3, doses, of_four);
    check_column(file, "treated", 2, truth, parity);
    if (v >= 3) {
      check_column(file, "passage", 2, passages, of_three);
      check_column(file, "cycling", 2, truth, of_three);
    }
    if (v >= 4) check_column(file, "guide", 9, guides, of_guide);
    check_call(anndata_close(&file));
  }
}

/* The call fails as a mistake of the user, and the message holds the words. */
#define check_refused(call, words)                                                                                     \
  do {                                                                                                                 \
    assert_int_equal((call), ERROR_USER);                                                                              \
    if (!strstr(error_message(), (words))) fail_msg("'%s' does not say '%s'", error_message(), (words));               \
  } while (0)

static void mistakes_of_users(void **state)
{
  AnnData   *file = open_fixture("v012_dense_types"), *none;
  AnnColumn  column;
  SparseRows rows;
  char       path[1024];

  check_refused(anndata_select(file, "layers/flot16"), "did you mean 'layers/float16'?");
  check_refused(anndata_read_rows(file, 0, 1, &rows), "choose a layer");
  check_call(anndata_select(file, "X"));
  check_refused(anndata_read_rows(file, 10, 3, &rows), "there are 12 cells");
  check_refused(anndata_read_rows(file, -1, 3, &rows), "there are 12 cells");
  check_refused(anndata_column(file, "obs", "perturbatoin", &column), "did you mean 'perturbation'?");
  check_refused(anndata_column(file, "obs", "zzzzzzzz", &column), "it has: perturbation");
  check_call(anndata_close(&file));
  fixture(path, sizeof path, "no_such_file");
  check_refused(anndata_open(PETSC_COMM_WORLD, path, &none), "no_such_file");
  assert_null(none);
}

/* Real counts; the numbers are those that anndata and scipy give. */
static void real_cells(void **state)
{
  char        path[1024];
  const char *folder = getenv("srcdir");
  AnnData    *file;
  AnnColumn   column;
  SparseRows  rows;
  PetscInt64  cells, genes, treated = 0, most;
  double      sum = 0, of_gene = 0;

  snprintf(path, sizeof path, "%s/inputs/data/kang_ifnb_pbmc.h5ad", folder ? folder : ".");
  if (anndata_open(PETSC_COMM_WORLD, path, &file)) fail_msg("%s", error_message());
  check_call(anndata_shape(file, &cells, &genes));
  assert_int_equal(cells, 1556);
  assert_int_equal(genes, 1267);
  check_call(anndata_rows_for_bytes(file, 1e6, &most));
  assert_true(most > 200 && most < 1556);
  int64_t entries = 0;
  for (PetscInt64 first = 0; first < cells; first += most) {
    check_call(anndata_read_rows(file, first, PetscMin(most, cells - first), &rows));
    entries += rows.offset[rows.rows];
    for (int64_t e = 0; e < rows.offset[rows.rows]; e++) {
      sum += rows.value[e];
      if (rows.column[e] == 777) of_gene += rows.value[e];
    }
    check_call(sparserows_free(&rows));
  }
  assert_int_equal(entries, 585251);
  check_close(sum, 2338396, 0, 1);
  check_close(of_gene, 2489, 0, 1);
  check_call(anndata_column(file, "obs", "perturbation", &column));
  assert_string_equal(column.level[0], "IFN-beta");
  for (PetscInt64 i = 0; i < cells; i++) treated += column.code[i] == 0;
  assert_int_equal(treated, 806);
  check_call(anncolumn_free(&column));
  check_call(anndata_close(&file));
}

/* Rank 0 makes a copy of a fixture, cut to a part of its length. */
static void copy_fixture(const char *name, const char *copy, double part)
{
  char path[1024];
  int  rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) {
    static char bytes[1 << 17];
    fixture(path, sizeof path, name);
    FILE *in = fopen(path, "rb"), *out = fopen(copy, "wb");
    assert_true(in && out);
    const size_t size = fread(bytes, 1, sizeof bytes, in);
    assert_true(size > 0 && size < sizeof bytes);
    assert_int_equal(fwrite(bytes, 1, (size_t)((double)size * part), out), (size_t)((double)size * part));
    fclose(in);
    fclose(out);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* Rank 0 overwrites one element of a data set, or the attribute "shape" of a group. */
static void spoil(const char *path, const char *object, hsize_t element, int64_t value)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    const hid_t   file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), thing = H5Oopen(file, object, H5P_DEFAULT);
    const hsize_t one = 1;
    const int64_t shape[2] = {CELLS, value};
    if (H5Iget_type(thing) == H5I_GROUP) {
      const hid_t attribute = H5Aopen(thing, "shape", H5P_DEFAULT);
      assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, shape) >= 0);
      H5Aclose(attribute);
    } else {
      const hid_t space = H5Dget_space(thing), memory = H5Screate_simple(1, &one, NULL);
      H5Sselect_elements(space, H5S_SELECT_SET, 1, &element);
      assert_true(H5Dwrite(thing, H5T_NATIVE_INT64, memory, space, H5P_DEFAULT, &value) >= 0);
      H5Sclose(space);
      H5Sclose(memory);
    }
    H5Oclose(thing);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void damaged_files(void **state)
{
  static const struct {
    const char *fixture, *object;
    hsize_t     element;
    int64_t     value;
    const char *words;
  } damage[] = {{"v012_csr_raw", "X/indices", 3, 7, "column index 7"},       {"v012_csr_raw", "X/indices", 3, -2, "column index -2"},
                {"v012_csr_raw", "X/indptr", 2, 1000, "X/indptr"},           {"v012_csr_raw", "X/indptr", 4, 0, "X/indptr"},
                {"v012_csr_raw", "X", 0, 9, "columns but 'var' names 7"},    {"v012_csc", "X", 0, 9, "do not agree"},
                {"v012_csc", "X/indices", 5, 12, "row index 12"},            {"v012_csc", "X/indptr", 1, 1 << 20, "X/indptr"},
                {"v07_csr_raw", "obs/perturbation", 2, 3, "category number 3"}, {"v012_csc", "obs/perturbation/codes", 2, -2, "category number -2"}};
  const char *const copy = "anndata_damaged.h5ad";
  AnnData          *file;
  AnnColumn         column;
  SparseRows        rows;
  int               rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int part = 0; part < 20; part++) {
    copy_fixture("v012_csr_raw", copy, 0.05 * part);
    check_refused(anndata_open(PETSC_COMM_WORLD, copy, &file), copy);
    assert_null(file);
  }
  for (size_t d = 0; d < sizeof damage / sizeof *damage; d++) {
    copy_fixture(damage[d].fixture, copy, 1);
    spoil(copy, damage[d].object, damage[d].element, damage[d].value);
    PetscErrorCode code = anndata_open(PETSC_COMM_WORLD, copy, &file);
    if (!code) {
      code = error_agree(PETSC_COMM_WORLD, anndata_read_rows(file, 0, CELLS, &rows));
      if (!code) {
        check_call(sparserows_free(&rows));
        code = anndata_column(file, "obs", "perturbation", &column);
      }
      assert_int_equal(anndata_close(&file), 0);
    }
    check_refused(code, damage[d].words);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) remove(copy);
}

/* How the values and indices of X are written anew. */
typedef struct {
  const char *name;
  hid_t       value, index;
  hsize_t     chunk, without; /* elements; 0: in one piece. without: so many of the last chunks are never written */
  PetscBool   packed, wide;   /* wide: read in double precision */
  PetscBool   plain;         /* expected */
} Storage;

/* Rank 0 writes an array of X again, its last chunk first so that chunks do not lie in order. */
static void store_again(hid_t file, const char *object, hid_t type, const Storage *how)
{
  double        value[CELLS * GENES];
  const hid_t   old   = H5Dopen2(file, object, H5P_DEFAULT), extent = H5Dget_space(old), properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t count = (hsize_t)H5Sget_simple_extent_npoints(extent), step = how->chunk ? PetscMin(how->chunk, count) : count;

  assert_true(H5Dread(old, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0);
  const hid_t space = H5Screate_simple(1, &count, NULL);
  H5Sclose(extent);
  H5Dclose(old);
  H5Ldelete(file, object, H5P_DEFAULT);
  if (how->chunk) H5Pset_chunk(properties, 1, &step);
  if (how->packed) H5Pset_deflate(properties, 4);
  const hid_t   new    = H5Dcreate2(file, object, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  const hsize_t pieces = (count + step - 1) / step;
  assert_true(new >= 0 && pieces > how->without);
  for (hsize_t piece = pieces - how->without; piece-- > 0;) {
    const hsize_t start = piece * step, part = PetscMin(step, count - start);
    const hid_t   memory = H5Screate_simple(1, &part, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &part, NULL);
    assert_true(H5Dwrite(new, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, value + start) >= 0);
    H5Sclose(memory);
  }
  H5Dclose(new);
  H5Pclose(properties);
  H5Sclose(space);
}

static void store_matrix(const char *path, const Storage *how)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  copy_fixture("v012_csr_raw", path, 1);
  if (!rank) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    store_again(file, "X/data", how->value, how);
    store_again(file, "X/indices", how->index, how);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* Rows in an order of the rank's own, appended to one another, and all at once. */
static void check_plain(const PlainRows *plain, const char *what, PetscBool wide)
{
  int64_t    offset[CELLS + 1] = {0};
  int32_t    column[CELLS * GENES];
  float      value[CELLS * GENES];
  double     wide_value[CELLS * GENES];
  SparseRows rows = {.columns = GENES, .offset = offset, .column = column, .value = wide ? NULL : value, .wide = wide ? wide_value : NULL};
  int        rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int all = 0; all < 2; all++) {
    rows.rows = 0;
    if (all) check_call(plainrows_append(plain, 0, CELLS, &rows));
    for (int k = 0; k < CELLS; k++) {
      const PetscInt64 i = all ? k : (5 * k + rank) % CELLS;
      double           found[GENES] = {0};

      if (!all) check_call(plainrows_append(plain, i, 1, &rows));
      assert_int_equal(rows.rows, all ? CELLS : k + 1);
      assert_int_equal(offset[k + 1] - offset[k], plainrows_entries(plain, i, 1));
      for (int64_t e = offset[k]; e < offset[k + 1]; e++) found[column[e]] += sparserows_get(&rows, e);
      for (PetscInt64 j = 0; j < GENES; j++)
        if (found[j] != (double)known(i, j)) fail_msg("%s (%d, %d): %g instead of %g", what, (int)i, (int)j, found[j], (double)known(i, j));
    }
  }
}

static void plain_rows(void **state)
{
  const hid_t       single = H5T_NATIVE_FLOAT, wide = H5T_NATIVE_DOUBLE, narrow = H5T_NATIVE_INT32;
  const Storage     storage[] = {{"in one piece", single, narrow, 0, 0, PETSC_FALSE, PETSC_FALSE, PETSC_TRUE},
                                 {"in chunks", single, narrow, 3, 0, PETSC_FALSE, PETSC_FALSE, PETSC_TRUE},
                                 {"one to a chunk", single, narrow, 1, 0, PETSC_FALSE, PETSC_TRUE, PETSC_TRUE},
                                 {"one chunk", single, narrow, 80, 0, PETSC_FALSE, PETSC_FALSE, PETSC_TRUE},
                                 {"double", wide, narrow, 4, 0, PETSC_FALSE, PETSC_TRUE, PETSC_TRUE},
                                 {"double in one piece", wide, narrow, 0, 0, PETSC_FALSE, PETSC_TRUE, PETSC_TRUE},
                                 {"double read as single", wide, narrow, 4, 0, PETSC_FALSE, PETSC_FALSE, PETSC_FALSE},
                                 {"whole numbers", H5T_NATIVE_INT16, narrow, 4, 0, PETSC_FALSE, PETSC_FALSE, PETSC_FALSE},
                                 {"big endian", H5T_IEEE_F32BE, narrow, 4, 0, PETSC_FALSE, PETSC_FALSE, PETSC_FALSE},
                                 {"long indices", single, H5T_NATIVE_INT64, 4, 0, PETSC_FALSE, PETSC_FALSE, PETSC_FALSE},
                                 {"packed", single, narrow, 4, 0, PETSC_TRUE, PETSC_FALSE, PETSC_FALSE}};
  static const char *const other[] = {"v012_csc", "v012_dense", "v06_csr_gzip", "v012_dense_lzf"};
  const char *const copy = "anndata_plain.h5ad";
  AnnData          *file;
  PlainRows       *plain;
  int               rank;

  for (size_t s = 0; s < sizeof storage / sizeof *storage; s++) {
    store_matrix(copy, &storage[s]);
    check_call(anndata_open(PETSC_COMM_WORLD, copy, &file));
    if (storage[s].wide) check_call(anndata_keep_double(file));
    check_call(plainrows_open(file, &plain));
    if ((plain != NULL) != storage[s].plain) fail_msg("%s: %s", storage[s].name, plain ? "plain" : "not plain");
    if (!storage[s].wide) check_rows(file, storage[s].name, 0, CELLS, PETSC_FALSE);
    /* They stay whatever else is selected. */
    check_call(anndata_select(file, "raw/X"));
    if (plain) check_plain(plain, storage[s].name, anndata_is_double(file) || storage[s].value == wide ? PETSC_TRUE : PETSC_FALSE);
    check_call(plainrows_close(&plain));
    check_call(anndata_close(&file));
  }
  for (size_t f = 0; f < sizeof other / sizeof *other; f++) {
    file = open_fixture(other[f]);
    check_call(plainrows_open(file, &plain));
    assert_null(plain);
    check_call(anndata_close(&file));
  }
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) remove(copy);
}

/* Rank 0 replaces the first eight bytes that hold the one number by the other. */
static void replace_number(const char *path, uint64_t from, uint64_t to)
{
  static unsigned char bytes[1 << 17];
  FILE                *file = fopen(path, "r+b");
  size_t               at   = 0;

  assert_non_null(file);
  const size_t size = fread(bytes, 1, sizeof bytes, file);
  while (at + 8 <= size && memcmp(bytes + at, &from, 8)) at++;
  assert_true(at + 8 <= size);
  fseek(file, (long)at, SEEK_SET);
  assert_int_equal(fwrite(&to, 1, 8, file), 8);
  fclose(file);
}

/* What is not where it should be is not read there. */
static void damaged_plain_rows(void **state)
{
  const Storage     whole = {"in one piece", H5T_NATIVE_FLOAT, H5T_NATIVE_INT32, 0, 0, PETSC_FALSE, PETSC_FALSE, PETSC_TRUE};
  Storage           pieces = {"in chunks", H5T_NATIVE_FLOAT, H5T_NATIVE_INT32, 3, 0, PETSC_FALSE, PETSC_FALSE, PETSC_TRUE};
  const char *const copy = "anndata_map_damaged.h5ad";
  AnnData          *file;
  PlainRows       *plain = NULL;
  SparseRows        rows;
  int               rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int d = 0; d < 6; d++) {
    store_matrix(copy, d < 3 ? &whole : &pieces);
    if (!rank) {
      const hid_t   h5 = H5Fopen(copy, H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(h5, d % 3 ? "X/indices" : "X/data", H5P_DEFAULT);
      const hsize_t chunk = 3;
      hsize_t       size, length;
      haddr_t       at;
      unsigned      skipped;
      H5Fget_filesize(h5, &length);
      if (d < 3) at = H5Dget_offset(dataset);
      else H5Dget_chunk_info_by_coord(dataset, &chunk, &skipped, &at, &size);
      H5Dclose(dataset);
      H5Fclose(h5);
      replace_number(copy, at, d % 3 < 2 ? length - 4 : UINT64_C(1) << 60);
    }
    MPI_Barrier(PETSC_COMM_WORLD);
    PetscErrorCode code = anndata_open(PETSC_COMM_WORLD, copy, &file);
    if (!code) {
      code = error_agree(PETSC_COMM_WORLD, plainrows_open(file, &plain));
      assert_null(plain);
      if (!code) code = error_agree(PETSC_COMM_WORLD, anndata_read_rows(file, 0, CELLS, &rows));
      assert_int_equal(anndata_close(&file), 0);
    }
    check_refused(code, copy);
  }
  /* A file that is cut short while rows are read. */
  int64_t offset[CELLS + 1] = {0};
  int32_t column[CELLS * GENES];
  float   single[CELLS * GENES];
  store_matrix(copy, &whole);
  check_call(anndata_open(PETSC_COMM_WORLD, copy, &file));
  check_call(plainrows_open(file, &plain));
  assert_non_null(plain);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) assert_int_equal(truncate(copy, 100), 0);
  MPI_Barrier(PETSC_COMM_WORLD);
  rows = (SparseRows){.columns = GENES, .offset = offset, .column = column, .value = single};
  check_refused(plainrows_append(plain, 0, CELLS, &rows), "cannot be read any more");
  check_call(plainrows_close(&plain));
  check_call(anndata_close(&file));
  /* Chunks that were never written are zeros to HDF5. */
  pieces.without = 2;
  store_matrix(copy, &pieces);
  check_call(anndata_open(PETSC_COMM_WORLD, copy, &file));
  check_call(plainrows_open(file, &plain));
  assert_null(plain);
  check_call(anndata_close(&file));
  for (int d = 0; d < 3; d++) {
    const hsize_t element[3] = {2, 4, CELLS};
    const int64_t value[3]   = {1000, 0, 1000};
    store_matrix(copy, &whole);
    spoil(copy, "X/indptr", element[d], value[d]);
    check_call(anndata_open(PETSC_COMM_WORLD, copy, &file));
    check_call(plainrows_open(file, &plain));
    assert_null(plain);
    check_call(anndata_close(&file));
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) remove(copy);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(x_of_every_version), cmocka_unit_test(layers_of_every_type), cmocka_unit_test(obsm_matrices),
                                          cmocka_unit_test(columns), cmocka_unit_test(mistakes_of_users),
                                          cmocka_unit_test(real_cells), cmocka_unit_test(damaged_files), cmocka_unit_test(plain_rows), cmocka_unit_test(damaged_plain_rows)};

TEST_MAIN(tests)
