/* Training: the same numbers on any number of ranks, stopped and resumed as if it had never stopped, mistakes refused, validation chosen by scores. */
#include "check.h"
#include "data/cellstore_write.h"
#include <omp.h>
#include <perturbdiff/training.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { PATH = 512, GENES = 30, TYPES = 3, DRUGS = 3, EACH = 13, POPULATIONS = TYPES * DRUGS, CELLS = POPULATIONS * EACH };
static char   folder[PATH], cells_path[2 * PATH], others_path[2 * PATH];
static int    my_rank, ranks;
static double run_seconds; /* of an uninterrupted run */

static const char *in_folder(const char *name)
{
  static char path[4][2 * PATH];
  static int  turn;

  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

/* A cell's values: its type's profile, a drug's effect on every third gene, a cell's own noise; the first gene is always zero. */
static float value_of(int64_t cell, int gene)
{
  const int          population = (int)(cell / EACH), drug = population % DRUGS, type = population / DRUGS;
  const RandomStream stream = random_stream(1, RANDOM_TEST, 0, (uint32_t)cell, (uint32_t)gene);
  const double       mean = 2 + sin(gene + 2. * type) + (gene % 3 == drug ? 0.8 * drug : 0);

  return gene ? (float)fmax(0.05, mean + 0.3 * random_normal(&stream, 0)) : 0;
}

static void write_store(const char *path, int shift)
{
  Population   population[POPULATIONS];
  char         names[GENES][8], *gene[GENES], cell_names[CELLS * 8];
  static char *drugs[] = {(char *)(uintptr_t) "control", (char *)(uintptr_t) "a", (char *)(uintptr_t) "b"},
              *types[] = {(char *)(uintptr_t) "B", (char *)(uintptr_t) "T", (char *)(uintptr_t) "NK"};
  static char     *one[] = {(char *)(uintptr_t) "1"};
  int64_t          offset[CELLS + 1] = {0}, source[CELLS] = {0};
  int32_t          column[CELLS * GENES];
  float            value[CELLS * GENES];
  CellStoreWriter *writer;

  for (int g = 0; g < GENES; g++) snprintf(gene[g] = names[g], 8, "G%d", g);
  for (int p = 0; p < POPULATIONS; p++) population[p] = (Population){p % DRUGS, p / DRUGS, 0, 0, p * EACH, EACH, p / DRUGS * DRUGS, SPLIT_TRAIN};
  for (int c = 0; c < CELLS; c++) {
    offset[c + 1] = offset[c];
    for (int g = 1; g < GENES; g++) {
      column[offset[c + 1]] = g;
      value[offset[c + 1]++] = value_of(c + shift, g);
    }
    snprintf(cell_names + 8 * c, 8, "c%d", c);
  }
  const CellStoreTable   table = {.gene = {GENES, gene},
                                  .perturbation = {DRUGS, drugs},
                                  .cell_type = {TYPES, types},
                                  .batch = {1, one},
                                  .dataset = {1, one},
                                  .perturbation_column = drugs[1],
                                  .cell_type_column = types[1],
                                  .batch_column = one[0],
                                  .populations = POPULATIONS,
                                  .population = population,
                                  .cells = CELLS,
                                  .value_scale = 10,
                                  .library_size = 10000};
  const CellStoreContent content = {.entries = offset[CELLS], .name_length = 8, .command = "test"};
  SparseRows             rows = {.rows = my_rank ? 0 : CELLS, .columns = GENES, .offset = offset, .column = column, .value = value};

  check_call(cellstore_create(PETSC_COMM_WORLD, path, &table, &content, &writer));
  check_call(cellstore_append(writer, &rows, cell_names, source));
  check_call(cellstore_commit(&writer, NULL));
}

static TrainingOptions small_options(const char *run)
{
  return (TrainingOptions){.folder = run,
                           .options_yaml = "train: {steps: 200}\n",
                           .command = "test",
                           .hidden = 16,
                           .depth = 2,
                           .heads = 2,
                           .covariate_dim = 8,
                           .set_size = 8,
                           .sets = 6,
                           .steps = 200,
                           .seed = 7,
                           .schedule_steps = 100,
                           .energy_weight = 1,
                           .strength = 1,
                           .sees_cell_type = PETSC_TRUE,
                           .sees_batch = PETSC_TRUE,
                           .controls = PETSC_TRUE,
                           .self_condition = 0.5,
                           .drop_condition = 0.3,
                           .drop_control = 0.2,
                           .adamw = {.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1},
                           .warmup = 10,
                           .ema_interval = 10,
                           .ema_decay = 0.99,
                           .report_interval = 50,
                           .checkpoint_interval = 20,
                           .checkpoint_keep = 2,
                           .checkpoint_direct = PETSC_TRUE,
                           .validation = {.fraction = -1, .reverse_steps = 1, .cells = 64, .best = PETSC_TRUE}};
}

static PetscErrorCode train(MPI_Comm comm, const char *path, const TrainingOptions *options, TrainingResult *result)
{
  CellStore *store;

  check_call(cellstore_open(comm, path, &store));
  const PetscErrorCode code = training_run(comm, store, options, result);
  check_call(cellstore_close(&store));
  return code;
}

static void read_run(const char *run, TrainingState *state)
{
  char path[PETSC_MAX_PATH_LEN];

  check_call(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_FALSE, path, sizeof path));
  check_call(checkpoint_read(PETSC_COMM_WORLD, path, PETSC_TRUE, state));
}

/* Largest difference of the parameters of two runs, of the largest parameter. */
static double difference(const char *run_a, const char *run_b, PetscBool *identical)
{
  TrainingState a, b;
  double        worst = 0, largest = 0;

  read_run(run_a, &a);
  read_run(run_b, &b);
  assert_int_equal(a.step, b.step);
  *identical = !memcmp(a.parameters, b.parameters, a.table.total * sizeof(Real)) && !memcmp(a.average, b.average, a.table.total * sizeof(Real)) &&
                       !memcmp(a.first, b.first, a.table.total * sizeof(Real)) && !memcmp(a.second, b.second, a.table.total * sizeof(Real)) &&
                       !memcmp(a.steps_taken, b.steps_taken, (size_t)a.table.count * sizeof(int64_t))
                   ? PETSC_TRUE
                   : PETSC_FALSE;
  for (size_t i = 0; i < a.table.total; i++) {
    worst = fmax(worst, fabs((double)a.parameters[i] - (double)b.parameters[i]));
    largest = fmax(largest, fabs((double)a.parameters[i]));
  }
  check_call(trainingstate_destroy(&a));
  check_call(trainingstate_destroy(&b));
  return worst / largest;
}

static void set_up(void **state)
{
  omp_set_num_threads(1); /* products this small only wait for each other on a busy machine */
  check_call(MPI_Comm_rank(PETSC_COMM_WORLD, &my_rank));
  check_call(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  snprintf(folder, sizeof folder, "%s/train-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  if (!my_rank) assert_non_null(mkdtemp(folder));
  check_call(MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD));
  snprintf(cells_path, sizeof cells_path, "%s/cells.h5", folder);
  snprintf(others_path, sizeof others_path, "%s/others.h5", folder);
  write_store(cells_path, 0);
  write_store(others_path, 1000);
}

static void clean_up(void **state)
{
  char command[PATH + 16];

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (!my_rank) assert_int_equal(system(command), 0);
}

/* The uninterrupted run the others are compared with; twice, bit for bit; and alone on one rank. */
static void any_number_of_ranks(void **state)
{
  TrainingOptions options = small_options(in_folder("run"));
  TrainingResult  first, again, alone = {0};
  PetscBool       identical;

  check_call(train(PETSC_COMM_WORLD, cells_path, &options, &first));
  assert_int_equal(first.step, 200);
  run_seconds = first.seconds;
  assert_true(first.loss < 0.2 && first.loss > 0);
  assert_true(first.best_validation < 0);
  assert_int_equal(first.checkpoints, 10); /* nine of them while a step follows */
  assert_true(first.checkpoint_hidden > 0 && first.checkpoint_hidden < first.checkpoint_seconds && first.checkpoint_seconds < first.seconds);
  options.folder = in_folder("again");
  check_call(train(PETSC_COMM_WORLD, cells_path, &options, &again));
  assert_true(first.loss == again.loss);
  difference(in_folder("run"), in_folder("again"), &identical);
  assert_true(identical);
  options.folder = in_folder("alone");
  if (!my_rank) check_call(train(PETSC_COMM_SELF, cells_path, &options, &alone));
  check_call(MPI_Bcast(&alone.loss, 1, MPI_DOUBLE, 0, PETSC_COMM_WORLD));
  check_close(first.loss, alone.loss, 1e-4, alone.loss);
  difference(in_folder("run"), in_folder("alone"), &identical);
  assert_true(identical || ranks > 1);
}

/* Steps and losses of log.csv; number of lines. */
static int read_log(const char *run, int most, double (*line)[2])
{
  char   path[2 * PATH], *text;
  int    count = 0;
  size_t length;

  snprintf(path, sizeof path, "%s/log.csv", run);
  check_call(file_read_text(PETSC_COMM_WORLD, path, &text, &length));
  for (char *end = strchr(text, '\n'); end && end[1]; end = strchr(end + 1, '\n')) {
    assert_true(count < most);
    assert_int_equal(sscanf(end + 1, "%lf,%lf", &line[count][0], &line[count][1]), 2);
    count++;
  }
  check_call(PetscFree(text));
  return count;
}

/* Every grid there is for these ranks: the losses and parameters of a short run are those of one rank, whole sets; recomputing changes nothing. */
static void any_grid(void **state)
{
  TrainingOptions options = small_options(in_folder("grid-alone"));
  TrainingResult  alone = {0}, result;
  PetscBool       identical;
  double          expected[8][2], found[8][2];
  char            run[2 * PATH], whole[2 * PATH];

  snprintf(whole, sizeof whole, "%s", options.folder);
  options.steps = 20;
  options.sets = 3;
  options.report_interval = 5;
  options.checkpoint_interval = 0;
  options.folder = whole;
  if (!my_rank) check_call(train(PETSC_COMM_SELF, cells_path, &options, &alone));
  check_call(MPI_Bcast(&alone, sizeof alone, MPI_BYTE, 0, PETSC_COMM_WORLD));
  assert_int_equal(read_log(whole, 8, expected), 4);
  for (int parts = 1; parts <= ranks; parts++)
    for (int recompute = 0; recompute < 2; recompute++) {
      if (ranks % parts) continue;
      snprintf(run, sizeof run, "%s/grid-%d-%d", folder, parts, recompute);
      options.folder = run;
      options.grid_cells = parts;
      options.recompute = recompute ? PETSC_TRUE : PETSC_FALSE;
      check_call(train(PETSC_COMM_WORLD, cells_path, &options, &result));
      assert_int_equal(read_log(run, 8, found), 4);
      for (int i = 0; i < 4; i++) check_close(found[i][1], expected[i][1], 1e-5, expected[i][1]);
      check_close(difference(whole, run, &identical), 0, 1e-4, 1);
      assert_true(ranks == 1 || result.communication > 0);
      assert_true(result.waited <= result.communication + 1e-9);
      snprintf(run, sizeof run, "%s/grid-%d-0", folder, parts);
      difference(run, options.folder, &identical);
      assert_true(identical); /* recomputed or kept */
    }
  /* One grid stops, another goes on. */
  snprintf(run, sizeof run, "%s/grid-moved", folder);
  options.folder = run;
  options.recompute = PETSC_FALSE;
  options.stop_step = 10;
  options.grid_cells = ranks;
  check_call(train(PETSC_COMM_WORLD, cells_path, &options, &result));
  options.stop_step = 0;
  options.grid_cells = 1;
  options.resume = PETSC_TRUE;
  check_call(train(PETSC_COMM_WORLD, cells_path, &options, &result));
  assert_int_equal(result.step, 20);
  check_close(difference(whole, run, &identical), 0, 1e-4, 1);
}

static void raise_term(int number) { raise(SIGTERM); }

/* A run stopped `stops` times by a signal on its last rank, at moments nobody knows, and resumed; returns how often it was stopped. lose: the checkpoint
   of the stop is lost each time, as when the run is killed outright. finish: go on to the end. */
static int interrupted_run(MPI_Comm comm, const char *run, int stops, PetscBool lose, PetscBool finish)
{
  TrainingOptions        options = small_options(run);
  TrainingResult         result;
  const struct itimerval off = {0};
  struct sigaction       alarm_action = {.sa_handler = raise_term, .sa_flags = SA_RESTART}, ignore = {.sa_handler = SIG_IGN}, former_alarm, former_term;
  int                    stopped = 0, rank, size;
  double                 shorter = 1;
  PetscErrorCode         code;

  options.resume = PETSC_TRUE;
  check_call(MPI_Comm_rank(comm, &rank));
  check_call(MPI_Comm_size(comm, &size));
  sigaction(SIGALRM, &alarm_action, &former_alarm);
  sigaction(SIGTERM, &ignore, &former_term); /* outside the loop the signal does nothing */
  for (;;) {
    const double           delay = PetscMin(0.9, shorter * run_seconds * (0.1 + 0.3 * fmod(1e3 * MPI_Wtime(), 1)));
    const struct itimerval timer = {{0, (long)(1e6 * delay)}, {0, (long)(1e6 * delay)}};

    if (rank == size - 1 && stopped < stops) setitimer(ITIMER_REAL, &timer, NULL);
    code = train(comm, cells_path, &options, &result);
    setitimer(ITIMER_REAL, &off, NULL);
    if (code == PETSC_SUCCESS && !stopped && shorter > 0.01) { /* over before the signal: the machine was slower when run_seconds was measured */
      char command[2 * PATH + 16];
      snprintf(command, sizeof command, "rm -rf '%s'", run);
      if (!rank) assert_int_equal(system(command), 0);
      check_call(MPI_Barrier(comm));
      shorter /= 2;
      continue;
    }
    if (code != ERROR_STOPPED) break;
    stopped++;
    assert_true(result.stopped && result.step < 200);
    if (lose && !rank) {
      char path[2 * PATH];
      checkpoint_path(run, result.step, path, sizeof path);
      assert_int_equal(unlink(path), 0);
    }
    check_call(MPI_Barrier(comm));
    if (!finish && stopped == stops) break;
  }
  sigaction(SIGALRM, &former_alarm, NULL);
  sigaction(SIGTERM, &former_term, NULL);
  if (finish) {
    check_call(code);
    assert_int_equal(result.step, 200);
  }
  return stopped;
}

static void same_log(const char *run)
{
  double expected[8][2], found[8][2];

  assert_int_equal(read_log(in_folder("run"), 8, expected), 4);
  assert_int_equal(read_log(run, 8, found), 4);
  for (int i = 0; i < 4; i++) {
    assert_true(found[i][0] == 50. * (i + 1));
    check_close(found[i][1], expected[i][1], 1e-8, expected[i][1]);
  }
}

static void stopped_is_as_not_stopped(void **state)
{
  PetscBool identical;

  assert_true(interrupted_run(PETSC_COMM_WORLD, in_folder("stopped"), 3, PETSC_FALSE, PETSC_TRUE) > 0);
  difference(in_folder("run"), in_folder("stopped"), &identical);
  assert_true(identical);
  same_log(in_folder("stopped"));
  /* Killed without warning: the last written checkpoint, or the beginning. */
  assert_true(interrupted_run(PETSC_COMM_WORLD, in_folder("killed"), 2, PETSC_TRUE, PETSC_TRUE) > 0);
  difference(in_folder("run"), in_folder("killed"), &identical);
  assert_true(identical);
  same_log(in_folder("killed"));
}

static void goes_on_with_other_ranks(void **state)
{
  TrainingOptions options = small_options(in_folder("moved"));
  TrainingResult  result;
  PetscBool       identical;

  assert_int_equal(interrupted_run(PETSC_COMM_WORLD, in_folder("moved"), 1, PETSC_FALSE, PETSC_FALSE), 1);
  options.resume = PETSC_TRUE;
  if (!my_rank) check_call(train(PETSC_COMM_SELF, cells_path, &options, &result));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  check_close(difference(in_folder("run"), in_folder("moved"), &identical), 0, 1e-3, 1);
  assert_true(identical || ranks > 1);
}

static void refused(const char *store, const TrainingOptions *options, const char *word)
{
  TrainingResult result;

  assert_int_equal(train(PETSC_COMM_WORLD, store, options, &result), ERROR_USER);
  if (!strstr(error_message(), word)) fail_msg("'%s' does not say '%s'", error_message(), word);
}

static void mistakes_are_refused(void **state)
{
  TrainingOptions options = small_options(in_folder("run"));
  const char     *pattern = "nobody|B|1";

  refused(cells_path, &options, "-resume");
  options.resume = PETSC_TRUE;
  refused(others_path, &options, "cells");
  options.hidden = 32;
  refused(cells_path, &options, "-hidden 16");
  options.hidden = 16;
  options.center = CENTER_SHIFT;
  refused(cells_path, &options, "center");
  options.center = CENTER_NONE;
  options.heads = 5;
  refused(cells_path, &options, "-heads");
  options = small_options(in_folder("refused"));
  options.memory_limit = 1000;
  refused(cells_path, &options, "-memory_limit");
  options = small_options(in_folder("refused"));
  options.grid_cells = ranks + 1;
  refused(cells_path, &options, "-grid_cells");
  options = small_options(in_folder("refused"));
  options.validation.patterns = 1;
  options.validation.pattern = &pattern;
  refused(cells_path, &options, "nobody");
  pattern = "*|*|*";
  refused(cells_path, &options, "train");
  options = small_options(in_folder("refused"));
  options.adamw.lr = 1e30;
  options.adamw.clip = 0;
  refused(cells_path, &options, "diverged");
}

/* A centred head on a drug in a cell type it has not seen treated; the effect of the drug is the same in all types, so the shift is right and the head has
 * nothing to add. */
static void validation_chooses(void **state)
{
  const double    strengths[] = {0, 0.5, 1};
  const char     *pattern = "b|T|*";
  TrainingOptions options = small_options(in_folder("centred"));
  TrainingResult  result;
  TrainingState   best;
  char           *text;
  size_t          length;
  int             lines = 0, chosen = 0;

  options.center = CENTER_SHIFT;
  options.grid_cells = ranks; /* validation is of whole sets on any grid */
  options.validation.fraction = 0;
  options.validation.patterns = 1;
  options.validation.pattern = &pattern;
  options.validation.interval = 100;
  options.validation.strengths = 3;
  options.validation.strength = strengths;
  options.validation.reverse_steps = 3;
  check_call(train(PETSC_COMM_WORLD, cells_path, &options, &result));
  assert_true(result.best_validation > 0 && result.pearson > 0.9);
  check_call(checkpoint_read(PETSC_COMM_WORLD, in_folder("centred/best.h5"), PETSC_TRUE, &best));
  assert_int_equal(best.step, result.best_step);
  assert_true(best.best_validation == result.best_validation && best.strength == result.strength && best.center == CENTER_SHIFT);
  check_call(trainingstate_destroy(&best));
  check_call(file_read_text(PETSC_COMM_WORLD, in_folder("centred/validation.csv"), &text, &length));
  double least = 1e9;
  for (char *end = strchr(text, '\n'); end && end[1]; end = strchr(end + 1, '\n'), lines++) {
    double step, strength, distance, pearson, objective;
    int    mark;
    assert_int_equal(sscanf(end + 1, "%lf,%lf,%lf,%lf,%lf,%d", &step, &strength, &distance, &pearson, &objective, &mark), 6);
    chosen += mark;
    least = fmin(least, distance);
  }
  check_call(PetscFree(text));
  assert_int_equal(lines, 6);
  assert_int_equal(chosen, 2);
  check_close(least, result.best_validation, 1e-6, 1);
}

/* Three cell types left out in turn; the last run trains on all with the chosen step and strength, and choosing again from folds.json gives the same. */
static void folds_choose(void **state)
{
  const double    strengths[] = {0, 1};
  TrainingOptions options = small_options(in_folder("folds"));
  TrainingResult  result, again;
  TrainingState   trained;
  char            newest[PETSC_MAX_PATH_LEN], run[2 * PATH];
  PetscInt        count;
  int64_t        *step;
  CellStore      *store;

  snprintf(run, sizeof run, "%s", options.folder);
  options.folder = run;
  options.center = CENTER_SHIFT;
  options.steps = 40;
  options.checkpoint_interval = 0;
  options.validation.interval = 20;
  options.validation.strengths = 2;
  options.validation.strength = strengths;
  check_call(cellstore_open(PETSC_COMM_WORLD, cells_path, &store));
  check_call(training_run_folds(PETSC_COMM_WORLD, store, &options, &result));
  assert_true(result.step == 20 || result.step == 40);
  for (int k = 1; k <= 3; k++) {
    char name[32];
    snprintf(name, sizeof name, "folds/fold-%d", k);
    check_call(checkpoint_list(PETSC_COMM_WORLD, in_folder(name), &count, &step));
    assert_int_equal(count, 1);
    assert_int_equal(step[0], 40);
    check_call(PetscFree(step));
  }
  check_call(checkpoint_newest(PETSC_COMM_WORLD, run, PETSC_TRUE, newest, sizeof newest));
  check_call(checkpoint_read(PETSC_COMM_WORLD, newest, PETSC_FALSE, &trained));
  assert_int_equal(trained.step, result.step);
  assert_true(trained.strength == 0 || trained.strength == 1);
  check_call(trainingstate_destroy(&trained));
  options.resume = PETSC_TRUE;
  check_call(training_run_folds(PETSC_COMM_WORLD, store, &options, &again));
  assert_int_equal(again.step, result.step);
  check_call(cellstore_close(&store));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(set_up),
                                          cmocka_unit_test(any_number_of_ranks),
                                          cmocka_unit_test(any_grid),
                                          cmocka_unit_test(stopped_is_as_not_stopped),
                                          cmocka_unit_test(goes_on_with_other_ranks),
                                          cmocka_unit_test(mistakes_are_refused),
                                          cmocka_unit_test(validation_chooses),
                                          cmocka_unit_test(folds_choose),
                                          cmocka_unit_test(clean_up)};

TEST_MAIN(tests)
