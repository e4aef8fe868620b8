/* A store written on these ranks reads back value by value, has the checksum of a store written on one rank, and tells when it is damaged. */
#include "check.h"
#include "small_store.h"
#include <hdf5.h>
#include <perturbdiff/data/cellset.h>
#include <unistd.h>

static const char *path = "cellstore_mpi.h5", *single = "cellstore_mpi.single.h5";

static void check_values(const char *file, uint64_t checksum)
{
  CellStore    *store;
  PetscInt64    cells[SMALL_CELLS];
  Real          dense[SMALL_CELLS][SMALL_GENES + 2];
  int32_t       gene[SMALL_GENES];
  float         value[SMALL_GENES];
  char         *name;

  check_call(cellstore_open(PETSC_COMM_WORLD, file, &store));
  assert_true(cellstore_table(store)->checksum == checksum);
  check_call(cellstore_verify(store, PETSC_COMM_WORLD));
  /* Backwards, so that the order asked for is the order given. */
  for (int i = 0; i < SMALL_CELLS; i++) cells[i] = SMALL_CELLS - 1 - i;
  check_call(cellstore_dense(store, SMALL_CELLS, cells, 0.1, dense[0], SMALL_GENES + 2));
  for (int i = 0; i < SMALL_CELLS; i++) {
    PetscInt entries, e = 0;
    check_call(cellstore_row(store, cells[i], &entries, gene, value));
    for (int g = 0; g < SMALL_GENES; g++) {
      check_close(dense[i][g], 0.1 * small_value(cells[i], g), 1e-7, 3);
      if (small_value(cells[i], g) <= 0) continue;
      assert_int_equal(gene[e], g);
      assert_true(value[e] == small_value(cells[i], g));
      e++;
    }
    assert_int_equal(entries, e);
  }
  check_call(cellstore_name(store, 29, &name));
  assert_string_equal(name, "cell 29");
  check_call(PetscFree(name));
  check_call(cellstore_close(&store));
}

static void written_equals_read(void **state)
{
  uint64_t parallel, alone = 0;
  int      rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  check_call(small_write(PETSC_COMM_WORLD, path, 0, &parallel));
  if (!rank) check_call(small_write(PETSC_COMM_SELF, single, 0, &alone));
  check_call(MPI_Bcast(&alone, 1, MPI_UINT64_T, 0, PETSC_COMM_WORLD));
  assert_true(parallel == alone);
  check_values(path, parallel);
  check_values(single, parallel);
  check_call(small_write(PETSC_COMM_WORLD, path, 4, &parallel));
  assert_true(parallel == alone);
  check_values(path, parallel);
}

static void tables_and_lookups(void **state)
{
  const CellStoreTable  expected = small_table();
  const CellStoreTable *table;
  CellStore            *store;
  char                  label[64];

  check_call(small_write(PETSC_COMM_WORLD, path, 0, NULL));
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  table = cellstore_table(store);
  assert_int_equal(table->populations, SMALL_POPULATIONS);
  assert_int_equal(table->cells, SMALL_CELLS);
  assert_memory_equal(table->population, expected.population, sizeof small_populations);
  assert_string_equal(table->cell_type_column, "cell_type");
  assert_string_equal(table->batch_column, "");
  check_close(table->value_scale, 10, 0, 0);
  assert_int_equal(vocabulary_find(&table->gene, "G6"), 6);
  assert_int_equal(vocabulary_find(&table->gene, "G7"), -1);
  assert_int_equal(cellstore_find(table, 2, 0, 0), 2);
  assert_int_equal(cellstore_find(table, 2, 1, 0), -1);
  population_label(table, 4, label, sizeof label);
  assert_string_equal(label, "drug a|T cells|donor 1");
  check_call(cellstore_close(&store));
}

static void means_match(void **state)
{
  CellStore *store;
  double    *means;

  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellstore_means(store, PETSC_COMM_WORLD, &means));
  for (int p = 0; p < SMALL_POPULATIONS; p++) {
    for (int g = 0; g < SMALL_GENES; g++) {
      double sum = 0;
      for (int64_t c = 0; c < small_populations[p].cells; c++) sum += small_value(small_populations[p].first_cell + c, g);
      check_close(means[p * SMALL_GENES + g], sum / (double)small_populations[p].cells, 1e-12, 1);
    }
  }
  check_call(PetscFree(means));
  check_call(cellstore_close(&store));
}

/* The largest control of the nearest kind: batch first, then cell type. */
static void control_fallbacks(void **state)
{
  Population     p[4]  = {{0, 0, 0, 0, 0, 3, 0, SPLIT_TRAIN}, {0, 1, 0, 0, 3, 9, 1, SPLIT_TRAIN}, {0, 2, 1, 0, 12, 4, 2, SPLIT_TRAIN}, {1, 3, 0, 0, 16, 5, -1, SPLIT_TRAIN}};
  CellStoreTable table = {.populations = 4, .population = p};

  assert_int_equal(control_pair(&table, 0, 0), 0);
  assert_int_equal(control_pair(&table, 3, 0), 1);
  assert_int_equal(control_pair(&table, 0, 1), 2);
  assert_int_equal(control_pair(&table, 2, 5), 2);
  assert_int_equal(control_pair(&table, 3, 5), -1);
}

/* Copy of the good store with size bytes kept and one byte at place changed. */
static void damage(const char *bad, long place, long size)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    FILE *in = fopen(single, "rb"), *out = fopen(bad, "wb");
    int   byte;
    for (long i = 0; (byte = fgetc(in)) != EOF && (size < 0 || i < size); i++) fputc(i == place ? byte ^ 0x5a : byte, out);
    fclose(in);
    fclose(out);
  }
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
}

/* Whatever byte is changed, opening and verifying either notices (a user error, not a crash or trace) or reads the same values. */
static void damage_is_noticed(void **state)
{
  const char *bad = "cellstore_mpi.bad.h5";
  FILE       *file;
  long        size, noticed = 0, tried = 0;

  file = fopen(single, "rb");
  fseek(file, 0, SEEK_END);
  size = ftell(file);
  fclose(file);
  for (long place = 5; place < size; place += size / 60) {
    CellStore     *store = NULL;
    PetscErrorCode code;
    damage(bad, place, -1);
    code = cellstore_open(PETSC_COMM_WORLD, bad, &store);
    if (!code) code = cellstore_verify(store, PETSC_COMM_WORLD);
    assert_true(code == 0 || code == ERROR_USER);
    check_call(cellstore_close(&store));
    noticed += code == ERROR_USER;
    tried++;
  }
  assert_true(noticed > tried / 10);
  for (int part = 1; part < 10; part += 3) {
    CellStore *store;
    damage(bad, -1, size * part / 10);
    assert_int_equal(cellstore_open(PETSC_COMM_WORLD, bad, &store), ERROR_USER);
    assert_non_null(strstr(error_message(), bad));
  }
  if (access(bad, F_OK) == 0) {
    int rank;
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
    if (!rank) unlink(bad);
  }
}

/* A changed value is found by cellstore_verify: the last bytes of /cells/value. */
static void changed_value_is_found(void **state)
{
  const char *bad = "cellstore_mpi.bad.h5";
  CellStore  *store;
  hid_t       h5, dataset;
  haddr_t     at;

  check_call(0 > (h5 = H5Fopen(single, H5F_ACC_RDONLY, H5P_DEFAULT)));
  dataset = H5Dopen2(h5, "cells/value", H5P_DEFAULT);
  at      = H5Dget_offset(dataset);
  H5Dclose(dataset);
  H5Fclose(h5);
  damage(bad, (long)at + 21, -1);
  check_call(cellstore_open(PETSC_COMM_WORLD, bad, &store));
  assert_int_equal(cellstore_verify(store, PETSC_COMM_WORLD), ERROR_USER);
  check_call(cellstore_close(&store));
}

/* Batches made ahead are the cells that cellsets_draw names, step by step. */
static void prefetch_delivers(void **state)
{
  enum { SIZE = 4, GLOBAL = 3, OWN = 2, STEPS = 9 };
  CellStore  *store;
  CellSets   *sets;
  Prefetch   *prefetch;
  CellBatch   batch;
  PetscInt64  cell[SIZE], control[SIZE];
  unsigned char filled[SIZE];
  CellSet     set   = {.cell = cell, .control = control, .filled = filled};
  double      stall = 0;
  const PrefetchShare whole = {GLOBAL, 1, OWN, 0, SIZE}, part = {GLOBAL, 1, OWN, 1, 2};

  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellsets_create(cellstore_table(store), NULL, SIZE, 11, &sets));
  check_call(prefetch_create(store, sets, SIZE, &whole, 5, &prefetch));
  for (int step = 5; step < 5 + STEPS; step++) {
    check_call(prefetch_next(prefetch, &batch, &stall));
    assert_int_equal(batch.sets, OWN);
    for (int s = 0; s < OWN; s++) {
      check_call(cellsets_draw(sets, step * GLOBAL + 1 + s, &set));
      assert_int_equal(batch.population[s], set.population);
      assert_int_equal(batch.cell_type[s], small_populations[set.population].cell_type);
      assert_int_equal(batch.perturbation[s], small_populations[set.population].perturbation);
      for (int i = 0; i < SIZE * SMALL_GENES; i++) {
        check_close(batch.clean[s * SIZE * SMALL_GENES + i], 0.1 * small_value(cell[i / SMALL_GENES], i % SMALL_GENES), 1e-7, 3);
        check_close(batch.control[s * SIZE * SMALL_GENES + i], 0.1 * small_value(control[i / SMALL_GENES], i % SMALL_GENES), 1e-7, 3);
      }
    }
  }
  assert_true(stall >= 0);
  check_call(prefetch_destroy(&prefetch));
  /* Some cells of each set: the same ones as in the whole. */
  check_call(prefetch_create(store, sets, SIZE, &part, 7, &prefetch));
  check_call(prefetch_next(prefetch, &batch, &stall));
  assert_int_equal(batch.cells, 2);
  for (int s = 0; s < OWN; s++) {
    check_call(cellsets_draw(sets, 7 * GLOBAL + 1 + s, &set));
    for (int i = 0; i < 2 * SMALL_GENES; i++)
      check_close(batch.clean[s * 2 * SMALL_GENES + i], 0.1 * small_value(cell[1 + i / SMALL_GENES], i % SMALL_GENES), 1e-7, 3);
  }
  check_call(prefetch_destroy(&prefetch));
  /* Ended before anything was taken. */
  check_call(prefetch_create(store, sets, SIZE, &whole, 0, &prefetch));
  check_call(prefetch_destroy(&prefetch));
  check_call(cellsets_destroy(&sets));
  check_call(cellstore_close(&store));
}

/* More genes than 16 bits count: the last one survives. */
static void many_genes(void **state)
{
  enum { GENES = 70000 };
  CellStoreTable   table = small_table();
  Population       one   = {.cells = 1};
  CellStoreContent content = {.entries = 2, .name_length = 4, .command = "test"};
  CellStoreWriter *writer;
  CellStore       *store;
  PetscInt         entries;
  int32_t         *gene, column[2] = {66000, GENES - 1};
  float           *value, values[2] = {1, 2};
  int64_t          offset[2] = {0, 2}, row = 0;
  char           **names;
  int              rank, ranks, own;

  check_call(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  check_call(PetscMalloc3(GENES, &names, GENES, &gene, GENES, &value));
  for (int g = 0; g < GENES; g++) {
    check_call(PetscMalloc1(16, &names[g]));
    snprintf(names[g], 16, "gene%d", g);
  }
  table.gene        = (Vocabulary){GENES, names};
  table.population  = &one;
  table.populations = table.cells = 1;
  /* The last rank has the only cell. */
  check_call(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  own                   = rank == ranks - 1;
  const SparseRows rows = {.rows = own, .columns = GENES, .offset = offset, .column = column, .value = values};
  check_call(cellstore_create(PETSC_COMM_WORLD, path, &table, &content, &writer));
  check_call(cellstore_append(writer, &rows, "name", &row));
  check_call(cellstore_commit(&writer, NULL));
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellstore_verify(store, PETSC_COMM_WORLD));
  check_call(cellstore_row(store, 0, &entries, gene, value));
  assert_int_equal(entries, 2);
  assert_int_equal(gene[0], 66000);
  assert_int_equal(gene[1], GENES - 1);
  check_close(value[1], 2, 0, 0);
  check_call(cellstore_close(&store));
  for (int g = 0; g < GENES; g++) check_call(PetscFree(names[g]));
  check_call(PetscFree3(names, gene, value));
}

/* An array of the store again in compressed chunks of CHUNK elements; other: with a filter that no store has. */
enum { CHUNK = 5 };

static void repack(hid_t h5, const char *name, PetscBool other)
{
  const hsize_t chunk = CHUNK;
  unsigned char values[SMALL_CELLS * SMALL_GENES * sizeof(float)];
  hid_t         dataset = H5Dopen2(h5, name, H5P_DEFAULT), type = H5Dget_type(dataset), space = H5Dget_space(dataset), properties = H5Pcreate(H5P_DATASET_CREATE);

  assert_true(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(dataset);
  assert_true(H5Ldelete(h5, name, H5P_DEFAULT) >= 0);
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_shuffle(properties);
  H5Pset_deflate(properties, 6);
  if (other) H5Pset_fletcher32(properties);
  dataset = H5Dcreate2(h5, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  assert_true(dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Pclose(properties);
  H5Sclose(space);
  H5Tclose(type);
  H5Dclose(dataset);
}

/* The store of rank 0 under path with genes and values repacked; spoilt: a byte in a chunk of values is changed. */
static void write_chunked(PetscBool other, PetscBool spoilt, uint64_t *checksum)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    check_call(small_write(PETSC_COMM_SELF, path, 0, checksum));
    const hsize_t start = 2 * CHUNK;
    unsigned      skipped;
    haddr_t       at;
    hsize_t       size;
    hid_t         h5 = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), dataset;
    repack(h5, "cells/gene", other);
    repack(h5, "cells/value", PETSC_FALSE);
    dataset = H5Dopen2(h5, "cells/value", H5P_DEFAULT);
    assert_true(H5Dget_chunk_info_by_coord(dataset, &start, &skipped, &at, &size) >= 0);
    H5Dclose(dataset);
    H5Fclose(h5);
    if (spoilt) {
      FILE *file = fopen(path, "r+b");
      fseek(file, (long)at + 4, SEEK_SET);
      const int byte = fgetc(file);
      fseek(file, (long)at + 4, SEEK_SET);
      fputc(byte ^ 0xff, file);
      fclose(file);
    }
  }
  check_call(MPI_Bcast(checksum, 1, MPI_UINT64_T, 0, PETSC_COMM_WORLD));
}

/* Many more chunks than the cache holds, cells across chunk borders, and both threads of each rank at it: the values are those written. */
static void chunks_on_demand(void **state)
{
  enum { SIZE = 4, STEPS = 60 };
  CellStore    *store;
  CellSets     *sets;
  Prefetch     *prefetch;
  CellBatch     batch;
  PetscInt64    cell[SIZE], control[SIZE];
  unsigned char filled[SIZE];
  CellSet       set = {.cell = cell, .control = control, .filled = filled};
  uint64_t      checksum;

  check_call(PetscOptionsSetValue(NULL, "-cache_bytes", "0"));
  write_chunked(PETSC_FALSE, PETSC_FALSE, &checksum);
  check_values(path, checksum);
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  check_call(cellsets_create(cellstore_table(store), NULL, SIZE, 11, &sets));
  check_call(prefetch_create(store, sets, SIZE, &(PrefetchShare){1, 0, 1, 0, SIZE}, 0, &prefetch));
  for (int step = 0; step < STEPS; step++) {
    check_call(prefetch_next(prefetch, &batch, NULL));
    check_call(cellstore_verify(store, PETSC_COMM_WORLD));
    check_call(cellsets_draw(sets, step, &set));
    for (int i = 0; i < SIZE * SMALL_GENES; i++) {
      check_close(batch.clean[i], 0.1 * small_value(cell[i / SMALL_GENES], i % SMALL_GENES), 1e-7, 3);
      check_close(batch.control[i], 0.1 * small_value(control[i / SMALL_GENES], i % SMALL_GENES), 1e-7, 3);
    }
  }
  check_call(prefetch_destroy(&prefetch));
  check_call(cellsets_destroy(&sets));
  check_call(cellstore_close(&store));

  write_chunked(PETSC_FALSE, PETSC_TRUE, &checksum);
  check_call(cellstore_open(PETSC_COMM_WORLD, path, &store));
  assert_int_equal(cellstore_verify(store, PETSC_COMM_WORLD), ERROR_USER);
  check_call(cellstore_close(&store));
  write_chunked(PETSC_TRUE, PETSC_FALSE, &checksum);
  assert_int_equal(cellstore_open(PETSC_COMM_WORLD, path, &store), ERROR_USER);
  assert_non_null(strstr(error_message(), "fletcher32 (HDF5 filter 3)"));
  check_call(PetscOptionsClearValue(NULL, "-cache_bytes"));
}

static int remove_files(void **state)
{
  int rank;

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    unlink(path);
    unlink(single);
    unlink("cellstore_mpi.bad.h5");
  }
  return 0;
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(written_equals_read), cmocka_unit_test(tables_and_lookups), cmocka_unit_test(means_match),
                                          cmocka_unit_test(control_fallbacks),   cmocka_unit_test(prefetch_delivers),  cmocka_unit_test(damage_is_noticed),
                                          cmocka_unit_test(many_genes),           cmocka_unit_test(chunks_on_demand),
                                          cmocka_unit_test_teardown(changed_value_is_found, remove_files)};

TEST_MAIN(tests)
