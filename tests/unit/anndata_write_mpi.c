/* What is written is read back, whatever the number of ranks; real anndata reads the same file in validation/anndata. */
#include "check.h"
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/options.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CELLS = 37, GENES = 11, FIRST = 20 }; /* the first append holds 20 cells, the second 17 */

/* Row 4 is empty. */
static double value(PetscInt64 i, PetscInt64 j) { return i != 4 && (i * 7 + j * 3) % 5 == 0 ? 0.25 * (double)(i + 1) + (double)j : 0; }
static int    drug(PetscInt64 i) { return (int)(i % 4) - 1; }
static int    batch(PetscInt64 i) { return (int)(i * i % 300); }

static const char *const genes[GENES] = {"A1", "B\u03b2", "C", "D", "E", "F", "G", "H", "I", "J", "a longer gene name"};
static const char *const drugs[3]     = {"control", "drug \u03b1", "b"};

/* Append cells [first, last): this rank's share, none on the last rank of several in the first append. */
static void append(AnnWriter *writer, PetscInt64 first, PetscInt64 last)
{
  int rank, size;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  const int        sharers = size > 1 && !first ? size - 1 : size;
  const PetscInt64 begin = rank < sharers ? first + (last - first) * rank / sharers : last, end = rank < sharers ? first + (last - first) * (rank + 1) / sharers : last;
  double           dense[CELLS * GENES];
  int32_t          drug_code[CELLS], batch_code[CELLS];
  char             text[CELLS][24];
  const char      *names[CELLS];
  SparseRows       rows;

  for (PetscInt64 i = begin; i < end; i++) {
    for (PetscInt64 j = 0; j < GENES; j++) dense[(i - begin) * GENES + j] = value(i, j);
    drug_code[i - begin]  = drug(i);
    batch_code[i - begin] = batch(i);
    snprintf(text[i - begin], sizeof text[0], i == 33 ? "the longest cell %d" : "c%d", (int)i);
    names[i - begin] = text[i - begin];
  }
  check_call(sparserows_from_dense(end - begin, GENES, dense, 0, &rows));
  check_call(anndata_append(writer, &rows, (const int32_t *const[]){drug_code, batch_code}, names));
  check_call(sparserows_free(&rows));
}

static AnnWriter *begin(const char *path)
{
  AnnWriter  *writer;
  char        text[300][8];
  const char *batches[300];

  for (int k = 0; k < 300; k++) {
    snprintf(text[k], sizeof text[k], "b%d", k);
    batches[k] = text[k];
  }
  if (anndata_create(PETSC_COMM_WORLD, path, GENES, genes, &writer)) fail_msg("%s", error_message());
  check_call(anndata_declare_column(writer, "drug", 3, drugs));
  check_call(anndata_declare_column(writer, "batch", 300, batches));
  return writer;
}

static void check_contents(const char *path)
{
  AnnData           *file;
  AnnColumn          column;
  SparseRows         rows;
  PetscInt64         cells, count;
  const char *const *gene;
  char             **cell;

  if (anndata_open(PETSC_COMM_WORLD, path, &file)) fail_msg("%s", error_message());
  check_call(anndata_shape(file, &cells, &count));
  assert_int_equal(cells, CELLS);
  assert_int_equal(count, GENES);
  check_call(anndata_gene_names(file, &gene));
  for (int j = 0; j < GENES; j++) assert_string_equal(gene[j], genes[j]);
  check_call(anndata_cell_names(file, 32, 2, &cell));
  assert_string_equal(cell[0], "c32");
  assert_string_equal(cell[1], "the longest cell 33");
  check_call(strings_free(2, &cell));
  check_call(anndata_read_rows(file, 0, CELLS, &rows));
  for (PetscInt64 i = 0, e = 0; i < CELLS; i++)
    for (PetscInt64 j = 0; j < GENES; j++) {
      const PetscBool stored = e < rows.offset[i + 1] && rows.column[e] == j ? PETSC_TRUE : PETSC_FALSE;
      check_close(stored ? rows.value[e] : 0, value(i, j), 0, 1);
      e += stored;
    }
  check_call(sparserows_free(&rows));
  check_call(anndata_column(file, "obs", "drug", &column));
  assert_int_equal(column.levels, 3);
  for (int k = 0; k < 3; k++) assert_string_equal(column.level[k], drugs[k]);
  for (int i = 0; i < CELLS; i++) assert_int_equal(column.code[i], drug(i));
  check_call(anncolumn_free(&column));
  check_call(anndata_column(file, "obs", "batch", &column));
  assert_string_equal(column.level[299], "b299");
  for (int i = 0; i < CELLS; i++) assert_int_equal(column.code[i], batch(i));
  check_call(anncolumn_free(&column));
  check_call(anndata_column(file, "var", "mean", &column));
  assert_int_equal(column.count, GENES);
  assert_string_equal(column.level[column.code[3]], "1.5");
  check_call(anncolumn_free(&column));
  check_call(anndata_close(&file));
}

static void written_is_read(void **state)
{
  const char *const path = "anndata_write_mpi.h5ad";
  double            mean[GENES], truth[6] = {1, 2, 3, 4, 5, 6};
  AnnWriter        *writer = begin(path);
  int               rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int j = 0; j < GENES; j++) mean[j] = 0.5 * j;
  append(writer, 0, FIRST);
  append(writer, FIRST, CELLS);
  check_call(anndata_write_array(writer, "var/mean", GENES, 0, mean));
  check_call(anndata_write_array(writer, "uns/truth/loadings", 2, 3, truth));
  check_call(anndata_write_strings(writer, "uns/truth/names", 3, drugs));
  check_call(anndata_write_text(writer, "uns/command", "perturbdiff simulate"));
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_int_not_equal(access(path, F_OK), 0); /* not there before it is whole */
  MPI_Barrier(PETSC_COMM_WORLD);
  if (anndata_commit(&writer)) fail_msg("%s", error_message());
  assert_null(writer);
  check_contents(path);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!rank) unlink(path);
}

static void discarded_leaves_nothing(void **state)
{
  AnnWriter *writer = begin("anndata_discard_mpi.h5ad");

  append(writer, 0, FIRST);
  check_call(anndata_discard(&writer));
  check_call(anndata_discard(&writer));
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_int_not_equal(access("anndata_discard_mpi.h5ad", F_OK), 0);
  assert_int_equal(anndata_create(PETSC_COMM_WORLD, "no/such/folder/x.h5ad", GENES, genes, &writer), ERROR_USER);
  assert_null(writer);
}

/* No room for the file shows as a mistake of the user while writing, and nothing is left behind. */
static void no_space(void **state)
{
  AnnWriter    *writer = begin("anndata_full_mpi.h5ad");
  struct rlimit before, small = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
  SparseRows    rows = {.rows = 0, .columns = GENES};

  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small.rlim_max = before.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  check_call(PetscCalloc1(50001, &rows.offset));
  check_call(PetscCalloc1(50000, &rows.column));
  check_call(PetscCalloc1(50000, &rows.value));
  rows.rows = 50000;
  for (int i = 0; i <= 50000; i++) rows.offset[i] = i;
  int32_t     *code;
  const char **name;
  check_call(PetscCalloc1(50000, &code));
  check_call(PetscMalloc1(50000, &name));
  for (int i = 0; i < 50000; i++) name[i] = "cell";
  assert_int_equal(anndata_append(writer, &rows, (const int32_t *const[]){code, code}, name), ERROR_USER);
  check_call(anndata_discard(&writer));
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_int_not_equal(access("anndata_full_mpi.h5ad", F_OK), 0);
  assert_int_not_equal(access(".anndata_full_mpi.h5ad.partial", F_OK), 0);
  check_call(sparserows_free(&rows));
  check_call(PetscFree(code));
  check_call(PetscFree(name));
}

static void no_cells(void **state)
{
  AnnData   *file;
  AnnWriter *writer = begin("anndata_empty_mpi.h5ad");
  PetscInt64 cells, count;

  if (anndata_commit(&writer)) fail_msg("%s", error_message());
  if (anndata_open(PETSC_COMM_WORLD, "anndata_empty_mpi.h5ad", &file)) fail_msg("%s", error_message());
  check_call(anndata_shape(file, &cells, &count));
  assert_int_equal(cells, 0);
  assert_int_equal(count, GENES);
  check_call(anndata_close(&file));
  MPI_Barrier(PETSC_COMM_WORLD);
  unlink("anndata_empty_mpi.h5ad");
}

static void dense_to_sparse(void **state)
{
  const double dense[6] = {0, 0.5, -1, 2, NAN, 0.1};
  SparseRows   rows;

  check_call(sparserows_from_dense(2, 3, dense, 0.1, &rows));
  assert_int_equal(rows.offset[1], 1);
  assert_int_equal(rows.offset[2], 3);
  assert_int_equal(rows.column[0], 1);
  assert_int_equal(rows.column[2], 1);
  assert_true(isnan(rows.value[2]));
  check_call(sparserows_free(&rows));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(written_is_read), cmocka_unit_test(discarded_leaves_nothing), cmocka_unit_test(no_cells), cmocka_unit_test(no_space),
                                          cmocka_unit_test(dense_to_sparse)};

TEST_MAIN(tests)
