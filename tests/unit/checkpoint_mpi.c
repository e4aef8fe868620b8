/* Checkpoints come back bit for bit on any number of ranks; damage is found, named and got round. */
#include "check.h"
#include <perturbdiff/training.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 512 };
static char folder[PATH];
static int  my_rank, ranks;

static void make_folder(void **state)
{
  check_call(MPI_Comm_rank(PETSC_COMM_WORLD, &my_rank));
  check_call(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  snprintf(folder, sizeof folder, "%s/checkpoint-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  if (!my_rank) assert_non_null(mkdtemp(folder));
  check_call(MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD));
}

static void remove_folder(void **state)
{
  char command[PATH + 16];

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (!my_rank) assert_int_equal(system(command), 0);
}

static const char *in_folder(const char *name)
{
  static char path[PATH + 64];

  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void fill_names(Vocabulary *vocabulary, const char *what, PetscInt count)
{
  vocabulary->count = count;
  check_call(PetscCalloc1(count, &vocabulary->name));
  for (PetscInt i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s %d \303\251", what, (int)i);
    check_call(PetscStrallocpy(name, &vocabulary->name[i]));
  }
}

/* Odd sizes everywhere, so that ranks share unevenly; every value another. */
static void make_state(TrainingState *state, int64_t step)
{
  const DenoiserShape shape = {
      .genes = 7, .hidden = 6, .depth = 2, .heads = 3, .perturbations = 3, .cell_types = 2, .batches = 1, .covariate_dim = 5, .time_frequencies = 4};

  check_call(trainingstate_create(&shape, NULL, state));
  for (size_t i = 0; i < state->table.total; i++) {
    state->parameters[i] = (Real)sin((double)i + (double)step);
    state->average[i] = (Real)cos((double)i + (double)step);
    state->first[i] = (Real)(1e-30 * (double)(i + 1));
    state->second[i] = (Real)(1e30 / (double)(i + 1));
  }
  for (PetscInt k = 0; k < state->table.count; k++) state->steps_taken[k] = 1000000007LL * (k + step);
  state->step = step;
  state->best_step = 3;
  state->best_validation = 0.1;
  state->best_strength = 0.75;
  state->pending[1] = 1. / 3;
  state->pending_steps = 2;
  state->wall_seconds = 12.5;
  state->center = CENTER_SHIFT;
  state->schedule = SCHEDULE_COSINE_POWER;
  state->schedule_steps = 1000;
  state->schedule_gamma = 0.3;
  state->set_size = 64;
  state->sets = 8;
  state->seed = UINT64_C(0xfedcba9876543210);
  state->store_checksum = UINT64_C(0x8000000000000001);
  check_call(PetscStrallocpy("train:\n  steps: 2000\n", &state->options_yaml));
  fill_names(&state->gene, "gene", shape.genes);
  fill_names(&state->perturbation, "perturbation", shape.perturbations);
  fill_names(&state->cell_type, "cell type", shape.cell_types);
  fill_names(&state->batch, "batch", shape.batches);
}

static void same_names(const Vocabulary *a, const Vocabulary *b)
{
  assert_int_equal(a->count, b->count);
  for (PetscInt i = 0; i < a->count; i++) assert_string_equal(a->name[i], b->name[i]);
}

static void same_state(const TrainingState *a, const TrainingState *b, PetscBool optimizer)
{
  assert_int_equal(a->table.total, b->table.total);
  assert_memory_equal(a->parameters, b->parameters, a->table.total * sizeof(Real));
  assert_memory_equal(a->average, b->average, a->table.total * sizeof(Real));
  if (optimizer) {
    assert_memory_equal(a->first, b->first, a->table.total * sizeof(Real));
    assert_memory_equal(a->second, b->second, a->table.total * sizeof(Real));
  }
  assert_memory_equal(a->steps_taken, b->steps_taken, (size_t)a->table.count * sizeof(int64_t));
  assert_int_equal(a->step, b->step);
  assert_int_equal(a->best_step, b->best_step);
  assert_int_equal(a->pending_steps, b->pending_steps);
  assert_memory_equal(a->pending, b->pending, sizeof a->pending);
  assert_true(a->best_validation == b->best_validation && a->best_strength == b->best_strength && a->best_pearson == b->best_pearson &&
              a->strength == b->strength);
  assert_true(a->wall_seconds == b->wall_seconds && a->schedule_gamma == b->schedule_gamma);
  assert_true(a->center == b->center && a->schedule == b->schedule && a->schedule_steps == b->schedule_steps && a->set_size == b->set_size &&
              a->sets == b->sets);
  assert_true(a->seed == b->seed && a->store_checksum == b->store_checksum);
  assert_string_equal(a->options_yaml, b->options_yaml);
  same_names(&a->gene, &b->gene);
  same_names(&a->perturbation, &b->perturbation);
  same_names(&a->cell_type, &b->cell_type);
  same_names(&a->batch, &b->batch);
}

static void comes_back(void **unused)
{
  TrainingState made, read;

  make_state(&made, 5);
  check_call(checkpoint_write(PETSC_COMM_WORLD, in_folder("all.h5"), &made));
  check_call(checkpoint_read(PETSC_COMM_WORLD, in_folder("all.h5"), PETSC_TRUE, &read));
  same_state(&made, &read, PETSC_TRUE);
  check_call(trainingstate_destroy(&read));
  /* Written by all, read by each alone; written by one, read by all. */
  check_call(checkpoint_read(PETSC_COMM_SELF, in_folder("all.h5"), PETSC_FALSE, &read));
  same_state(&made, &read, PETSC_FALSE);
  assert_null(read.first);
  check_call(trainingstate_destroy(&read));
  if (!my_rank) check_call(checkpoint_write(PETSC_COMM_SELF, in_folder("one.h5"), &made));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  check_call(checkpoint_read(PETSC_COMM_WORLD, in_folder("one.h5"), PETSC_TRUE, &read));
  same_state(&made, &read, PETSC_TRUE);
  check_call(trainingstate_destroy(&read));
  check_call(trainingstate_destroy(&made));
}

/* Read by plain HDF5: the names of the public checkpoints, (out,in) matrices. Returns the place of the values in the file. */
static haddr_t find_values(const char *path, const char *name, hsize_t extent[2], double *values)
{
  hid_t   file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
  haddr_t place = H5Dget_offset(set);

  assert_true(set >= 0);
  extent[1] = 0;
  H5Sget_simple_extent_dims(space, extent, NULL);
  if (values) assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
  return place;
}

static void names_as_published(void **unused)
{
  TrainingState made;
  hsize_t       extent[2];
  double        values[256];

  make_state(&made, 5);
  if (!my_rank) {
    const Parameter *p = parametertable_find(&made.table, "model.final_layer.linear.weight");

    assert_non_null(p);
    find_values(in_folder("all.h5"), "/average/model.final_layer.linear.weight", extent, values);
    assert_int_equal(extent[0], 7);
    assert_int_equal(extent[1], 6);
    for (size_t i = 0; i < 42; i++) check_close(values[i], cos((double)(p->offset + i) + 5), 1e-6, 1);
  }
  check_call(trainingstate_destroy(&made));
}

static void flip_byte(const char *path, long place)
{
  FILE *file = fopen(path, "r+b");

  assert_non_null(file);
  fseek(file, place, SEEK_SET);
  const int byte = fgetc(file);
  fseek(file, place, SEEK_SET);
  fputc(byte ^ 0x10, file);
  fclose(file);
}

static void expect_refusal(const char *path, const char *word)
{
  TrainingState read;

  assert_int_equal(checkpoint_read(PETSC_COMM_WORLD, path, PETSC_TRUE, &read), ERROR_USER);
  if (!strstr(error_message(), word)) fail_msg("'%s' does not say '%s'", error_message(), word);
  assert_null(read.parameters);
}

static void damage_is_named(void **unused)
{
  TrainingState made;
  hsize_t       extent[2];
  char          path[2 * PATH];

  make_state(&made, 6);
  snprintf(path, sizeof path, "%s", in_folder("damaged.h5"));
  check_call(checkpoint_write(PETSC_COMM_WORLD, path, &made));
  if (!my_rank) flip_byte(path, (long)find_values(path, "/optimizer/second/model.t_embedder.mlp.0.weight", extent, NULL) + 9);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  expect_refusal(path, "model.t_embedder.mlp.0.weight");
  check_call(checkpoint_write(PETSC_COMM_WORLD, path, &made));
  if (!my_rank) flip_byte(path, (long)find_values(path, "/state/steps_taken", extent, NULL) + 3);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  expect_refusal(path, "damaged");
  if (!my_rank) assert_int_equal(truncate(path, 4000), 0);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  expect_refusal(path, path);
  expect_refusal(in_folder("absent.h5"), "absent.h5");
  if (!my_rank) {
    hid_t other = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(other);
  }
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  expect_refusal(path, "not a checkpoint");
  check_call(trainingstate_destroy(&made));
}

/* A byte changed anywhere: the checkpoint is refused in one line, or reads as it was. */
static void any_byte(void **unused)
{
  TrainingState made, read;
  struct stat   status;
  char          path[2 * PATH];
  int           refused = 0;

  if (ranks > 1) return;
  make_state(&made, 7);
  snprintf(path, sizeof path, "%s", in_folder("byte.h5"));
  check_call(checkpoint_write(PETSC_COMM_WORLD, path, &made));
  assert_int_equal(stat(path, &status), 0);
  for (long place = 8; place < status.st_size; place += 1 + status.st_size / 150) {
    flip_byte(path, place);
    const PetscErrorCode code = checkpoint_read(PETSC_COMM_WORLD, path, PETSC_TRUE, &read);
    if (!code) {
      same_state(&made, &read, PETSC_TRUE);
      check_call(trainingstate_destroy(&read));
    } else
      assert_int_equal(code, ERROR_USER);
    refused += code != 0;
    flip_byte(path, place);
  }
  assert_true(refused > 20);
  check_call(trainingstate_destroy(&made));
}

static void newest_intact(void **unused)
{
  TrainingState made;
  hsize_t       extent[2];
  char          path[4 * PATH], run[2 * PATH], found[PETSC_MAX_PATH_LEN];
  PetscInt      count;
  int64_t      *step;

  snprintf(run, sizeof run, "%s", in_folder("run"));
  assert_int_equal(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_FALSE, found, sizeof found), ERROR_USER);
  check_call(file_make_folder(PETSC_COMM_WORLD, run));
  assert_int_equal(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_FALSE, found, sizeof found), ERROR_USER);
  for (int64_t s = 8; s <= 12; s += 2) {
    make_state(&made, s);
    checkpoint_path(run, s, path, sizeof path);
    check_call(checkpoint_write(PETSC_COMM_WORLD, path, &made));
    check_call(trainingstate_destroy(&made));
  }
  check_call(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_TRUE, found, sizeof found));
  assert_string_equal(found, path);
  if (!my_rank) flip_byte(path, (long)find_values(path, "/parameters/model.t_embedder.mlp.0.weight", extent, NULL));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  check_call(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_TRUE, found, sizeof found));
  checkpoint_path(run, 10, path, sizeof path);
  assert_string_equal(found, path);
  make_state(&made, 9);
  snprintf(path, sizeof path, "%s/best.h5", run);
  check_call(checkpoint_write(PETSC_COMM_WORLD, path, &made));
  check_call(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_TRUE, found, sizeof found));
  assert_string_equal(found, path);
  check_call(checkpoint_newest(PETSC_COMM_WORLD, path, PETSC_FALSE, found, sizeof found));
  assert_string_equal(found, path);
  check_call(checkpoint_prune(PETSC_COMM_WORLD, run, 2));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  check_call(checkpoint_list(PETSC_COMM_WORLD, run, &count, &step));
  assert_int_equal(count, 2);
  assert_int_equal(step[0], 10);
  assert_int_equal(step[1], 12);
  check_call(PetscFree(step));
  check_call(trainingstate_destroy(&made));
}

static void stores_that_do_not_belong(void **unused)
{
  TrainingState  made;
  CellStoreTable store = {0};

  make_state(&made, 5);
  store.gene = made.gene;
  store.perturbation = made.perturbation;
  store.cell_type = made.cell_type;
  store.batch = made.batch;
  store.checksum = made.store_checksum;
  check_call(trainingstate_check_store(&made, &store, "checkpoint", "store", PETSC_TRUE));
  store.checksum++;
  check_call(trainingstate_check_store(&made, &store, "checkpoint", "store", PETSC_FALSE));
  assert_int_equal(trainingstate_check_store(&made, &store, "checkpoint", "store", PETSC_TRUE), ERROR_USER);
  store.gene = made.perturbation;
  assert_int_equal(trainingstate_check_store(&made, &store, "checkpoint", "store", PETSC_FALSE), ERROR_USER);
  assert_non_null(strstr(error_message(), "genes"));
  store.gene = made.gene;
  store.gene.count = 6;
  assert_int_equal(trainingstate_check_store(&made, &store, "checkpoint", "store", PETSC_FALSE), ERROR_USER);
  assert_non_null(strstr(error_message(), "lacks 1 of the 7 genes"));
  check_call(trainingstate_destroy(&made));
}

/* A shard of a state whose sets are large enough to go past the page cache, cut at places that fit no page; every value another. */
static void make_large(TrainingState *state, Shard *shard, BucketPiece *piece)
{
  const DenoiserShape shape = {
      .genes = 301, .hidden = 128, .depth = 1, .heads = 2, .perturbations = 3, .cell_types = 2, .batches = 1, .covariate_dim = 5, .time_frequencies = 4};
  ParameterTable table;

  check_call(parametertable_create(&shape, &table));
  const size_t cut = 7 + table.total / 3, halves[] = {0, cut, table.total};
  *shard = (Shard){.count = 2, .piece = piece, .whole = table.total};
  for (int half = 0; half < 2; half++) { /* the ranks in turn from the left, then from the right */
    const size_t n = halves[half + 1] - halves[half], r = (size_t)(half ? ranks - 1 - my_rank : my_rank), all = (size_t)ranks;

    piece[half] = (BucketPiece){.first = halves[half] + n * r / all, .count = n * (r + 1) / all - n * r / all, .place = shard->total};
    shard->total += piece[half].count;
  }
  check_call(trainingstate_create(&shape, shard, state));
  for (size_t i = 0; i < table.total; i++) state->parameters[i] = (Real)i;
  for (int half = 0; half < 2; half++)
    for (size_t i = 0; i < piece[half].count; i++) {
      const double number = (double)(piece[half].first + i);

      state->average[piece[half].place + i] = (Real)(0.5 * number);
      state->first[piece[half].place + i] = (Real)(-number);
      state->second[piece[half].place + i] = (Real)(0.25 * number);
    }
  check_call(PetscStrallocpy("", &state->options_yaml));
  check_call(parametertable_destroy(&table));
}

/* By HDF5 alone: element i of the flat array is a known multiple of i. */
static void expect_ramps(const char *path, const ParameterTable *table)
{
  static const struct {
    const char *section;
    double      factor;
  } ramp[] = {{"parameters", 1}, {"average", 0.5}, {"optimizer/first", -1}, {"optimizer/second", 0.25}};
  hsize_t extent[2];
  double *values;
  char    name[256];

  check_call(PetscMalloc1(table->total, &values));
  for (size_t s = 0; s < sizeof ramp / sizeof *ramp; s++)
    for (PetscInt k = 0; k < table->count; k++) {
      const Parameter *p = &table->item[k];

      snprintf(name, sizeof name, "%s/%s", ramp[s].section, p->name);
      const haddr_t place = find_values(path, name, extent, values);
      if (parameter_size(p) * sizeof(Real) >= 1 << 16) assert_int_equal(place % 4096, 0);
      for (size_t i = 0; i < parameter_size(p); i++)
        if (values[i] != ramp[s].factor * (double)(p->offset + i)) fail_msg("%s: element %zu is %g", name, i, values[i]);
    }
  check_call(PetscFree(values));
}

static void large_sets_in_pieces(void **unused)
{
  TrainingState    made, read;
  Shard            shard;
  BucketPiece      piece[2];
  CheckpointWrite *write;
  double           hidden = -1;
  char             path[2 * PATH], draft[2 * PATH];

  make_large(&made, &shard, piece);
  snprintf(draft, sizeof draft, "%s", in_folder(".large.h5.partial"));
  snprintf(path, sizeof path, "%s", in_folder("large.h5"));
  for (int direct = 0; direct < 2; direct++) {
    check_call(checkpoint_begin(PETSC_COMM_WORLD, path, &made, direct ? PETSC_TRUE : PETSC_FALSE, &write));
    /* It appears at the end; what is left alone does not appear. */
    if (!my_rank) assert_int_equal(access(path, F_OK), -1);
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    check_call(checkpoint_abandon(&write));
    assert_null(write);
    check_call(checkpoint_abandon(&write));
    if (!my_rank) assert_true(access(path, F_OK) && access(draft, F_OK));
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    check_call(checkpoint_begin(PETSC_COMM_WORLD, path, &made, direct ? PETSC_TRUE : PETSC_FALSE, &write));
    check_call(checkpoint_end(&write, &hidden));
    assert_null(write);
    assert_true(hidden >= 0);
    if (!my_rank) expect_ramps(path, &made.table);
    check_call(checkpoint_read_shard(PETSC_COMM_WORLD, path, &shard, &read));
    assert_memory_equal(made.average, read.average, shard.total * sizeof(Real));
    assert_memory_equal(made.second, read.second, shard.total * sizeof(Real));
    check_call(trainingstate_destroy(&read));
    if (!my_rank) assert_int_equal(unlink(path), 0);
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
  }
  check_call(trainingstate_destroy(&made));
}

/* The file vanishes under the writers: said on every rank, and no checkpoint. */
static void taken_away(void **unused)
{
  TrainingState    made;
  Shard            shard;
  BucketPiece      piece[2];
  CheckpointWrite *write;

  make_large(&made, &shard, piece);
  check_call(checkpoint_begin(PETSC_COMM_WORLD, in_folder("gone.h5"), &made, PETSC_TRUE, &write));
  if (!my_rank) assert_int_equal(unlink(in_folder(".gone.h5.partial")), 0);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  assert_int_equal(checkpoint_end(&write, NULL), ERROR_USER);
  assert_non_null(strstr(error_message(), "gone.h5"));
  assert_null(write);
  if (!my_rank) assert_int_equal(access(in_folder("gone.h5"), F_OK), -1);
  check_call(trainingstate_destroy(&made));
}

/* A file that may not grow that far: refused in words on every rank, nothing left. */
static void too_large(void **unused)
{
  TrainingState    made;
  Shard            shard;
  BucketPiece      piece[2];
  CheckpointWrite *write;
  struct rlimit    former, limit;

  make_large(&made, &shard, piece);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
  limit = former;
  limit.rlim_cur = 1 << 18;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  assert_int_equal(checkpoint_begin(PETSC_COMM_WORLD, in_folder("limited.h5"), &made, PETSC_TRUE, &write), ERROR_USER);
  assert_null(write);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
  if (!my_rank) assert_true(access(in_folder("limited.h5"), F_OK) && access(in_folder(".limited.h5.partial"), F_OK));
  check_call(trainingstate_destroy(&made));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(make_folder), cmocka_unit_test(comes_back),    cmocka_unit_test(names_as_published),        cmocka_unit_test(damage_is_named),
    cmocka_unit_test(any_byte),    cmocka_unit_test(newest_intact), cmocka_unit_test(stores_that_do_not_belong),
    cmocka_unit_test(large_sets_in_pieces), cmocka_unit_test(taken_away), cmocka_unit_test(too_large), cmocka_unit_test(remove_folder)};

TEST_MAIN(tests)
