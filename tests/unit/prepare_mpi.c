/* prepare: the store holds what anndata and scanpy make of the same files, whatever the number of ranks and the memory. */
#include "check.h"
#include "kang_genes.h"
#include <perturbdiff/data/prepare.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>
#include <unistd.h>

static const char *out = "prepare_mpi.h5";
static char        path[4][4096];

static const char *fixture(int i, const char *name)
{
  snprintf(path[i], sizeof path[i], "%s/%s", getenv("srcdir") ? getenv("srcdir") : "..", name);
  return path[i];
}

static PrepareOptions screen_options(PetscInt inputs, const char *const *input)
{
  return (PrepareOptions){.inputs = inputs, .input = input, .output = out, .perturbation_column = "drug", .control = "none", .cell_type_column = "type", .batch_column = "donor",
                          .matrix = "X", .genes = "all", .normalize = "auto", .split = "", .chunk_bytes = 1e8, .value_scale = 10, .command = "test"};
}

static PrepareOptions kang_options(const char *const *input)
{
  PrepareOptions options      = screen_options(1, input);
  options.perturbation_column = "perturbation";
  options.control             = "control";
  options.cell_type_column    = "cell_type";
  return options;
}

static uint64_t checksum_of(const char *file)
{
  CellStore *store;
  uint64_t   checksum;

  check_call(cellstore_open(PETSC_COMM_WORLD, file, &store));
  check_call(cellstore_verify(store, PETSC_COMM_WORLD));
  checksum = cellstore_table(store)->checksum;
  check_call(cellstore_close(&store));
  return checksum;
}

/* ---- Two data sets: counts and log values, other genes, missing labels ---- */

typedef struct {
  PetscInt64 cells, genes, columns;
  char     **cell, **gene;
  double    *value;
} Expected;

static void read_expected(Expected *expected)
{
  hid_t h5;

  check_call(file_open(PETSC_COMM_WORLD, fixture(2, "tests/data/prepare/expected.h5"), "file", &h5));
  check_call(h5_read_strings(h5, "cells", &expected->cells, &expected->cell));
  check_call(h5_read_strings(h5, "genes", &expected->genes, &expected->gene));
  check_call(PetscMalloc1((size_t)(expected->cells * expected->genes), &expected->value));
  check_call(h5_read_slab(h5, "values", H5T_NATIVE_DOUBLE, 0, expected->cells, expected->value));
  H5Fclose(h5);
}

static void check_cell(CellStore *store, const Expected *expected, PetscInt64 cell)
{
  const CellStoreTable *table = cellstore_table(store);
  Real                  dense[16];
  char                 *name;
  PetscInt64            row = 0;

  check_call(cellstore_name(store, cell, &name));
  while (row < expected->cells && strcmp(expected->cell[row], name)) row++;
  assert_true(row < expected->cells);
  check_call(PetscFree(name));
  check_call(cellstore_dense(store, 1, &cell, 1, dense, 16));
  for (PetscInt64 g = 0; g < expected->genes; g++) {
    const PetscInt at = vocabulary_find(&table->gene, expected->gene[g]);
    assert_true(at >= 0);
    check_close(dense[at], expected->value[row * expected->genes + g], 2e-6, 10);
  }
}

static void check_order(const CellStoreTable *table)
{
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i], *control = &table->population[p->control];
    assert_int_equal(control->perturbation, table->control);
    assert_true(control->first_cell <= p->first_cell);
    /* Control first, then all that are paired with it. */
    if (i) assert_true(p->control == i || table->population[i - 1].control == p->control);
  }
}

static void two_data_sets(void **state)
{
  const char     *input[2] = {fixture(0, "tests/data/prepare/a.h5ad"), fixture(1, "tests/data/prepare/b.h5ad")};
  PrepareOptions  options  = screen_options(2, input);
  CellStore      *store;
  Expected        expected;

  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  read_expected(&expected);
  check_call(cellstore_open(PETSC_COMM_WORLD, out, &store));
  const CellStoreTable *table = cellstore_table(store);
  assert_int_equal(table->gene.count, expected.genes);
  /* Three cells of each lack a label. */
  assert_int_equal(table->cells, expected.cells - 6);
  for (PetscInt64 cell = 0; cell < table->cells; cell++) check_cell(store, &expected, cell);
  check_order(table);
  /* Donor y is in both files. */
  assert_int_equal(table->batch.count, 4);
  assert_true(vocabulary_find(&table->batch, "a:y") >= 0 && vocabulary_find(&table->batch, "b:y") >= 0);
  /* B cells of a's donor y have no control: the T cells of that donor are taken. */
  const PetscInt alone = cellstore_find(table, vocabulary_find(&table->perturbation, "p1"), vocabulary_find(&table->cell_type, "B"), vocabulary_find(&table->batch, "a:y"));
  assert_true(alone >= 0);
  const Population *pair = &table->population[table->population[alone].control];
  assert_string_equal(table->cell_type.name[pair->cell_type], "T");
  assert_int_equal(pair->batch, table->population[alone].batch);
  check_close(table->library_size, 0, 0, 0);
  check_call(strings_free((PetscInt)expected.cells, &expected.cell));
  check_call(strings_free((PetscInt)expected.genes, &expected.gene));
  check_call(PetscFree(expected.value));
  check_call(cellstore_close(&store));
}

/* ---- Real data ---- */

static void check_genes(const CellStoreTable *table, int column)
{
  PetscInt expected = 0;

  for (int g = 0; g < KANG_GENES; g++) {
    const PetscBool kept = vocabulary_find(&table->gene, kang_gene[g].name) >= 0 ? PETSC_TRUE : PETSC_FALSE;
    if ((int)kept != kang_gene[g].chosen[column]) fail_msg("gene %s: kept %d, by scanpy %d", kang_gene[g].name, (int)kept, kang_gene[g].chosen[column]);
    expected += kang_gene[g].chosen[column];
  }
  assert_int_equal(table->gene.count, expected);
}

static void real_cells(void **state)
{
  const char     *input   = fixture(0, "inputs/data/kang_ifnb_pbmc.h5ad");
  const char     *holdout = "IFN-beta|B cells|*";
  PrepareOptions  options = kang_options(&input);
  CellStore      *store;
  double         *means;

  kang_read();
  options.genes = "300";
  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  check_call(cellstore_open(PETSC_COMM_WORLD, out, &store));
  check_genes(cellstore_table(store), 0);
  check_call(cellstore_close(&store));

  options.holdouts = 1;
  options.holdout  = &holdout;
  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  check_call(cellstore_open(PETSC_COMM_WORLD, out, &store));
  const CellStoreTable *table = cellstore_table(store);
  check_genes(table, 1);
  assert_int_equal(table->populations, 20);
  assert_int_equal(table->cells, 1556);
  check_close(table->library_size, 10000, 0, 0);
  const PetscInt ifn = vocabulary_find(&table->perturbation, "IFN-beta"), b = vocabulary_find(&table->cell_type, "B cells");
  for (PetscInt i = 0; i < table->populations; i++)
    assert_int_equal(table->population[i].split, table->population[i].perturbation == ifn && table->population[i].cell_type == b ? SPLIT_TEST : SPLIT_TRAIN);
  const PetscInt held_out = cellstore_find(table, ifn, b, vocabulary_find(&table->batch, "patient101"));
  check_call(cellstore_means(store, PETSC_COMM_WORLD, &means));
  for (int g = 0; g < KANG_GENES; g++) {
    const PetscInt at = vocabulary_find(&table->gene, kang_gene[g].name);
    double         mean = 0;
    if (at < 0) continue;
    check_close(means[(size_t)held_out * (size_t)table->gene.count + (size_t)at], kang_gene[g].mean_held_out, 1e-6, 5);
    for (PetscInt i = 0; i < table->populations; i++) mean += means[(size_t)i * (size_t)table->gene.count + (size_t)at] * (double)table->population[i].cells / 1556;
    check_close(mean, kang_gene[g].mean_log, 1e-6, 5);
  }
  check_call(PetscFree(means));
  check_call(cellstore_close(&store));
}

/* The same bytes on one rank and on all, in one window and in many, plain and compressed. */
static void same_store_any_way(void **state)
{
  const char     *input   = fixture(0, "inputs/data/kang_ifnb_pbmc.h5ad");
  PrepareOptions  options = kang_options(&input);
  uint64_t        checksum, alone = 0;
  int             rank;

  options.genes               = "300";
  options.validation_fraction = 0.3;
  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  checksum = checksum_of(out);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  options.output      = "prepare_mpi.single.h5";
  options.chunk_bytes = 2e5;
  if (!rank) check_call(prepare_store(PETSC_COMM_SELF, &options));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  alone = checksum_of(options.output);
  assert_true(alone == checksum);
  options.compress = 3;
  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  assert_true(checksum_of(options.output) == checksum);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  if (!rank) unlink(options.output);
}

/* A gene list, with a gene that the file lacks, in the list's order. */
static void listed_genes(void **state)
{
  const char     *input   = fixture(0, "tests/data/prepare/a.h5ad");
  PrepareOptions  options = screen_options(1, &input);
  CellStore      *store;
  double         *means;

  options.genes = "prepare_mpi.genes";
  check_call(file_write_text(PETSC_COMM_WORLD, options.genes, "g7\nnew\r\ng2\n"));
  check_call(prepare_store(PETSC_COMM_WORLD, &options));
  check_call(cellstore_open(PETSC_COMM_WORLD, out, &store));
  assert_int_equal(cellstore_table(store)->gene.count, 3);
  assert_string_equal(cellstore_table(store)->gene.name[1], "new");
  check_call(cellstore_means(store, PETSC_COMM_WORLD, &means));
  for (PetscInt i = 0; i < cellstore_table(store)->populations; i++) check_close(means[3 * i + 1], 0, 0, 0);
  check_call(PetscFree(means));
  check_call(cellstore_close(&store));
}

/* ---- Mistakes ---- */

static void says(const PrepareOptions *options, const char *a, const char *b)
{
  assert_int_equal(prepare_store(PETSC_COMM_WORLD, options), ERROR_USER);
  if (!strstr(error_message(), a) || !strstr(error_message(), b)) fail_msg("'%s' should speak of '%s' and '%s'", error_message(), a, b);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  assert_int_equal(access(options->output, F_OK), -1);
}

static void mistakes(void **state)
{
  const char *a = fixture(0, "tests/data/prepare/a.h5ad"), *twice[2] = {a, a};
  const PrepareOptions good = screen_options(1, &a);
  PrepareOptions       bad  = good;
  int                  rank;

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) unlink(out);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  bad.perturbation_column = "drugs";
  says(&bad, "drugs", "donor");
  bad         = good;
  bad.control = "nothing";
  says(&bad, "nothing", "'p1'");
  bad       = good;
  bad.genes = "prepare_mpi.none";
  says(&bad, "prepare_mpi.none", "");
  check_call(file_write_text(PETSC_COMM_WORLD, "prepare_mpi.genes", "x\ny\n"));
  bad.genes = "prepare_mpi.genes";
  says(&bad, "none of the listed genes", "x");
  check_call(file_write_text(PETSC_COMM_WORLD, "prepare_mpi.genes", "g1\ng1\n"));
  says(&bad, "listed twice", "g1");
  bad        = good;
  bad.inputs = 2;
  bad.input  = twice;
  says(&bad, "two inputs", "'a'");
  bad        = good;
  bad.matrix = "layers/none";
  says(&bad, "none", "a.h5ad");

  static const char *const file[4] = {"negative", "nan", "scaled", "twice"}, *const text[4] = {"cell 'a20', gene 'g4' holds -2", "cell 'a21', gene 'g5' holds", "neither counts nor log1p", "gene 'g1' is there twice"};
  for (int i = 0; i < 4; i++) {
    char        name[64];
    const char *input;
    snprintf(name, sizeof name, "tests/data/prepare/bad_%s.h5ad", file[i]);
    input     = fixture(1, name);
    bad       = good;
    bad.input = &input;
    says(&bad, text[i], name);
    if (i != 2) continue;
    /* Taken as they are when asked for. */
    bad.normalize = "none";
    check_call(prepare_store(PETSC_COMM_WORLD, &bad));
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    if (!rank) unlink(out);
    bad.genes = "5";
    says(&bad, "-normalize none", "-genes");
  }
}

static int remove_files(void **state)
{
  int rank;

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    unlink(out);
    unlink("prepare_mpi.genes");
  }
  return 0;
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(two_data_sets), cmocka_unit_test(real_cells), cmocka_unit_test(same_store_any_way), cmocka_unit_test(listed_genes),
                                          cmocka_unit_test_teardown(mistakes, remove_files)};

TEST_MAIN(tests)
