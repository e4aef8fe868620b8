/* step_bench train|sample|product FOLDER [-genes ...] - time of a training step or of a guided reverse step by the library's own trainer and generator, and of
   pure products with the same shapes on the same threads. One line of JSON; what validation/performance/step and ranks read. FOLDER holds the store it makes. */
#include "data/cellstore_write.h"
#include "training/training_internal.h"
#include <omp.h>
#include <perturbdiff/sampling.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_LENGTH = 24, PERTURBATIONS = 90, CELL_TYPES = 18, BATCHES = 12, USED_PERTURBATIONS = 4, USED_CELL_TYPES = 2, POPULATIONS = USED_PERTURBATIONS * USED_CELL_TYPES, MOST_STEPS = 4096 };

typedef struct {
  const char *what, *folder;
  int         rank, ranks;
  PetscInt    genes, hidden, depth, heads, set_size, sets;
  PetscReal   seconds;
} Bench;

/* Events of which the totals are read before and after the timed steps. */
static const char *const event_names[] = {"TrainRead",  "TrainPrepare", "TrainForward", "TrainBackward", "TrainReduce",    "TrainOptimize", "NetForward",
                                          "NetBackward", "DenseProduct", "DenseFewRows", "DenseVector",  "NetNorm",       "NetAttention", "Objective",     "SampleEstimate"};
enum { EVENTS = sizeof event_names / sizeof *event_names };

typedef struct {
  double seconds[EVENTS], flops[EVENTS];
} Totals;

static PetscErrorCode totals_read(Totals *totals)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < EVENTS; i++) {
    PetscEventPerfInfo info = {0};
    PetscLogEvent      event;

    PetscCall(PetscLogEventGetId(event_names[i], &event));
    if (event >= 0) PetscCall(PetscLogEventGetPerfInfo(PETSC_DETERMINE, event, &info));
    totals->seconds[i] = info.time;
    totals->flops[i]   = info.flops;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median(int n, double *values)
{
  qsort(values, (size_t)n, sizeof *values, ascending);
  return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

static PetscErrorCode names_create(PetscInt count, const char *prefix, char ***names)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, names));
  for (PetscInt i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s%d", prefix, (int)i);
    PetscCall(PetscStrallocpy(name, &(*names)[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode names_free(PetscInt count, char **names)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < count; i++) PetscCall(PetscFree(names[i]));
  PetscCall(PetscFree(names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Random cells, a fifth of their values not zero, as those of the peer; all on rank 0, which is as good as any for a file of a moment. */
static PetscErrorCode write_cells(const Bench *b, CellStoreWriter *writer, int64_t cells, int64_t each)
{
  SparseRows rows = {.columns = b->genes};
  char      *names;
  int64_t   *source;
  Real      *chance;

  PetscFunctionBeginUser;
  rows.rows = b->rank ? 0 : cells;
  PetscCall(PetscMalloc3(cells + 1, &rows.offset, cells * each, &rows.column, cells * each, &rows.value));
  PetscCall(PetscCalloc2(cells * NAME_LENGTH, &names, cells, &source));
  PetscCall(PetscMalloc1(each, &chance));
  rows.offset[0] = 0;
  for (int64_t cell = 0; cell < cells; cell++) {
    const RandomStream stream = random_stream(1, RANDOM_TEST, 0, (uint32_t)cell, 0);

    random_uniforms(&stream, 0, (size_t)each, chance);
    for (int64_t i = 0; i < each; i++) {
      rows.column[cell * each + i] = (int32_t)(5 * i + (int64_t)(5 * chance[i]));
      rows.value[cell * each + i]  = (float)(1e-3 + 9 * chance[each - 1 - i]);
    }
    rows.offset[cell + 1] = (cell + 1) * each;
    snprintf(names + NAME_LENGTH * cell, NAME_LENGTH, "c%lld", (long long)cell);
    source[cell] = cell;
  }
  PetscCall(cellstore_append(writer, &rows, names, source));
  PetscCall(PetscFree3(rows.offset, rows.column, rows.value));
  PetscCall(PetscFree2(names, source));
  PetscCall(PetscFree(chance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode store_write(const Bench *b, const char *path)
{
  const int64_t    in_population = 2 * PetscMax(b->set_size, 64), cells = in_population * POPULATIONS, each = b->genes / 5;
  char           **gene, **perturbation, **cell_type, **batch;
  Population       population[POPULATIONS];
  CellStoreWriter *writer;

  PetscFunctionBeginUser;
  PetscCall(names_create(b->genes, "G", &gene));
  PetscCall(names_create(PERTURBATIONS, "p", &perturbation));
  PetscCall(names_create(CELL_TYPES, "t", &cell_type));
  PetscCall(names_create(BATCHES, "b", &batch));
  for (int i = 0; i < POPULATIONS; i++)
    population[i] = (Population){i % USED_PERTURBATIONS, i / USED_PERTURBATIONS, 0, 0, i * in_population, in_population, i / USED_PERTURBATIONS * USED_PERTURBATIONS, SPLIT_TRAIN};
  const CellStoreTable   table   = {.gene                = {b->genes, gene},
                                    .perturbation        = {PERTURBATIONS, perturbation},
                                    .cell_type           = {CELL_TYPES, cell_type},
                                    .batch               = {BATCHES, batch},
                                    .dataset             = {1, batch},
                                    .perturbation_column = perturbation[0],
                                    .cell_type_column    = cell_type[0],
                                    .batch_column        = batch[0],
                                    .populations         = POPULATIONS,
                                    .population          = population,
                                    .cells               = cells,
                                    .value_scale         = 10,
                                    .library_size        = 10000};
  const CellStoreContent content = {.entries = cells * each, .name_length = NAME_LENGTH, .command = "step_bench"};
  PetscCall(cellstore_create(PETSC_COMM_WORLD, path, &table, &content, &writer));
  PetscCall(write_cells(b, writer, cells, each));
  PetscCall(cellstore_commit(&writer, NULL));
  PetscCall(names_free(b->genes, gene));
  PetscCall(names_free(PERTURBATIONS, perturbation));
  PetscCall(names_free(CELL_TYPES, cell_type));
  PetscCall(names_free(BATCHES, batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0's clock rules. */
static PetscErrorCode time_left(double end, PetscBool *left)
{
  int now = MPI_Wtime() < end;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&now, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  *left = now ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Products of a block, forward and where asked for backward, on rows cells: operations a second of all ranks together, the best of a few rounds. */
static PetscErrorCode measure_products(const Bench *b, PetscInt rows, PetscBool backward, double *rate)
{
  const PetscInt h = b->hidden;
  const struct {
    PetscInt in, out;
  } layer[]            = {{2 * h, 6 * h}, {2 * h, 2 * h}, {h, 4 * h}, {4 * h, h}, {h, 4 * h}, {4 * h, h}};
  const size_t weights = (size_t)h * (size_t)h * 32, wide = (size_t)rows * (size_t)h * 6;
  Real        *x, *y, *w, *dw;
  double       best = 0, operations = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(wide, &x, wide, &y, weights, &w, weights, &dw));
  const RandomStream stream = random_stream(1, RANDOM_TEST, 0, 0, 0);
  random_uniforms(&stream, 0, wide, x);
  random_uniforms(&stream, 0, wide, y);
  random_uniforms(&stream, 0, weights, w);
  for (int round = 0; round < 12; round++) {
    PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
    const double start = MPI_Wtime();
    size_t       at    = 0;

    operations = 0;
    for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
      const PetscInt in = layer[i].in, out = layer[i].out;
      PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, rows, out, in, 1, x, in, w + at, in, 0, y, out));
      if (backward) {
        PetscCall(dense_product(PETSC_FALSE, PETSC_FALSE, rows, in, out, 1, y, out, w + at, in, 0, x, in));
        PetscCall(dense_product(PETSC_TRUE, PETSC_FALSE, out, in, rows, 1, y, out, x, in, 0, dw + at, in));
      }
      at += (size_t)in * (size_t)out;
      operations += (backward ? 6. : 2.) * (double)rows * (double)in * (double)out;
    }
    PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
    const double seconds = MPI_Wtime() - start;
    best = PetscMax(best, b->ranks * operations / seconds);
    random_uniforms(&stream, 0, wide, x);
  }
  PetscCall(PetscFree4(x, y, w, dw));
  *rate = best;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One line of JSON: sums of the ranks' operations, times of rank 0. */
static PetscErrorCode print_result(const Bench *b, double step, double mean, double cells, int steps, const Totals *before, const Totals *after, double peak)
{
  double flops[EVENTS];

  PetscFunctionBeginUser;
  for (int i = 0; i < EVENTS; i++) flops[i] = (after->flops[i] - before->flops[i]) / steps;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, flops, EVENTS, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD));
  if (b->rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("{\"what\": \"%s\", \"ranks\": %d, \"threads\": %d, \"backend\": \"%s\", \"step_seconds\": %.6g, \"mean_seconds\": %.6g, \"cells_per_second\": %.6g, \"steps\": %d, "
         "\"peak\": %.6g, \"events\": {",
         b->what, b->ranks, omp_get_max_threads(), dense_backend(), step, mean, cells / step, steps, peak);
  for (int i = 0, shown = 0; i < EVENTS; i++) {
    const double seconds = (after->seconds[i] - before->seconds[i]) / steps;
    if (seconds > 0) printf("%s\"%s\": [%.6g, %.6g]", shown++ ? ", " : "", event_names[i], seconds, flops[i]);
  }
  printf("}}\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode time_training(const Bench *b, CellStore *store)
{
  char            run[PETSC_MAX_PATH_LEN];
  TrainingOptions options = {.command        = "step_bench",
                             .hidden         = b->hidden,
                             .depth          = b->depth,
                             .heads          = b->heads,
                             .covariate_dim  = 128,
                             .set_size       = b->set_size,
                             .sets           = b->sets,
                             .steps          = 1000000,
                             .seed           = 1,
                             .strength       = 1,
                             .sees_cell_type = PETSC_TRUE,
                             .sees_batch     = PETSC_TRUE,
                             .controls       = PETSC_TRUE,
                             .schedule_steps = 1000,
                             .energy_weight  = 1,
                             .adamw          = {.lr = 2e-4, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1},
                             .warmup         = 100,
                             .ema_interval   = 10,
                             .ema_decay      = 0.99};
  Trainer         trainer = {.comm = PETSC_COMM_WORLD, .rank = b->rank, .ranks = b->ranks, .options = &options, .store = store, .cells = cellstore_table(store)};
  static double   times[2][MOST_STEPS];
  int             steps = 0, counts[2] = {0, 0};
  PetscBool       resumed, left = PETSC_TRUE;
  Totals          before, after;
  double          peak;

  PetscFunctionBeginUser;
  snprintf(run, sizeof run, "%s/no-run", b->folder);
  options.folder = run;
  PetscCall(trainer_set_up(&trainer, &resumed));
  /* As the peer: self-conditioning every other step, conditions dropped in two of four. The first cycle makes the kernels. */
  double end = 0, last = 0, begin = 0;
  for (int k = 0; k < 8 || (left && counts[1] < MOST_STEPS); k++) {
    const int self          = k % 2;
    options.self_condition = self;
    options.drop_condition = k % 4 >= 2;
    if (k == 4) {
      PetscCall(totals_read(&before));
      PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
      begin = last = MPI_Wtime();
      end          = begin + b->seconds;
    }
    PetscCall(trainer_step(&trainer));
    if (k < 4) continue;
    const double now             = MPI_Wtime();
    times[self][counts[self]++] = now - last;
    last                        = now;
    steps++;
    if (k % 4 == 3) PetscCall(time_left(end, &left));
  }
  PetscCall(totals_read(&after));
  PetscCall(measure_products(b, trainer.max_sets * b->set_size, PETSC_TRUE, &peak));
  PetscCall(print_result(b, 0.5 * (median(counts[0], times[0]) + median(counts[1], times[1])), (last - begin) / steps, (double)b->sets * b->set_size, steps, &before, &after, peak));
  PetscCall(trainer_tear_down(&trainer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode control_cells(void *context, PetscInt64 count, const PetscInt64 *cells, Real *dense)
{
  const Bench *b = context;

  for (PetscInt64 i = 0; i < count; i++) {
    const RandomStream stream = random_stream(2, RANDOM_TEST, 0, (uint32_t)cells[i], 0);
    random_uniforms(&stream, 0, (size_t)b->genes, dense + i * b->genes);
  }
  return PETSC_SUCCESS;
}

/* A guided reverse step with self-conditioning, which the first one has not: five steps less one step. */
static PetscErrorCode time_sampling(const Bench *b)
{
  enum { MORE = 4 };
  const DenoiserShape shape = {b->genes, b->hidden, b->depth, b->heads, PERTURBATIONS, CELL_TYPES, BATCHES, 128, 128};
  const PetscInt      step[MORE + 1] = {999, 750, 500, 250, 0}, only[] = {999};
  Condition           condition = {.perturbation = 1, .cells = (PetscInt64)1 << 30, .controls = 512, .key = 3};
  const ConditionList conditions = {1, &condition};
  SampleSettings      settings = {.type = TSREVERSEDDIM, .guidance = 1, .cut = 1e-4, .draws = 1, .sets_at_once = b->sets, .seed = 1};
  ParameterTable      table;
  NoiseSchedule       schedule;
  Real               *parameters;
  Generator          *generator;
  GeneratedSet       *set;
  const double       *cells;
  static double       times[2][MOST_STEPS];
  int                 count = 0;
  PetscBool           left = PETSC_TRUE;
  Totals              before, after;
  double              end = 0, peak;

  PetscFunctionBeginUser;
  PetscCall(sampling_register());
  PetscCall(parametertable_create(&shape, &table));
  PetscCall(values_create(table.total, &parameters));
  PetscCall(PetscMalloc1(b->sets, &set));
  PetscCall(parameters_start(&table, 1, PETSC_FALSE, parameters));
  PetscCall(schedule_create(SCHEDULE_LINEAR, 1000, 0, &schedule));
  const SampleModel model = {.table = &table, .parameters = parameters, .schedule = &schedule, .set_size = b->set_size, .strength = 1, .value_scale = 10};
  settings.steps          = 1;
  settings.step           = only;
  PetscCall(generator_create(&model, &settings, &conditions, control_cells, (void *)(uintptr_t)b, &generator));
  for (int k = -1; k < 3 || (left && count < MOST_STEPS); k++) {
    if (!k) {
      PetscCall(totals_read(&before));
      end = MPI_Wtime() + b->seconds;
    }
    for (int more = 0; more < 2; more++) {
      settings.steps = more ? MORE + 1 : 1;
      settings.step  = more ? step : only;
      PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
      const double start = MPI_Wtime();
      PetscCall(generator_run(generator, (PetscInt64)b->rank * b->sets, 1, b->sets, set, &cells));
      PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
      if (k >= 0) times[more][count] = MPI_Wtime() - start;
    }
    count += k >= 0;
    PetscCall(time_left(k < 0 ? MPI_Wtime() + 1 : end, &left));
  }
  PetscCall(totals_read(&after));
  PetscCall(measure_products(b, 2 * b->sets * b->set_size, PETSC_FALSE, &peak));
  const double seconds = (median(count, times[1]) - median(count, times[0])) / MORE;
  PetscCall(print_result(b, seconds, seconds, (double)b->ranks * b->sets * b->set_size, count * (MORE + 2), &before, &after, peak));
  PetscCall(generator_destroy(&generator));
  PetscCall(schedule_destroy(&schedule));
  PetscCall(PetscFree(parameters));
  PetscCall(PetscFree(set));
  PetscCall(parametertable_destroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode get_integer(const char *name, PetscInt *value) { return PetscOptionsGetInt(NULL, NULL, name, value, NULL); }

static PetscErrorCode measure(Bench *b)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &b->rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &b->ranks));
  PetscCall(get_integer("-genes", &b->genes));
  PetscCall(get_integer("-hidden", &b->hidden));
  PetscCall(get_integer("-depth", &b->depth));
  PetscCall(get_integer("-heads", &b->heads));
  PetscCall(get_integer("-set_size", &b->set_size));
  PetscCall(get_integer("-sets", &b->sets));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-seconds", &b->seconds, NULL));
  PetscCall(PetscLogDefaultBegin());
  if (!strcmp(b->what, "train")) {
    char       path[PETSC_MAX_PATH_LEN];
    CellStore *store;

    snprintf(path, sizeof path, "%s/cells.h5", b->folder);
    PetscCall(store_write(b, path));
    PetscCall(cellstore_open(PETSC_COMM_WORLD, path, &store));
    PetscCall(time_training(b, store));
    PetscCall(cellstore_close(&store));
    if (!b->rank) unlink(path);
  } else if (!strcmp(b->what, "sample")) {
    PetscCall(time_sampling(b));
  } else {
    double peak;
    PetscCall(measure_products(b, b->sets * b->set_size, PETSC_TRUE, &peak));
    if (!b->rank) printf("{\"what\": \"product\", \"ranks\": %d, \"threads\": %d, \"peak\": %.6g}\n", b->ranks, omp_get_max_threads(), peak);
  }
  PetscCall(dense_release());
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  Bench bench = {.genes = 2000, .hidden = 512, .depth = 8, .heads = 8, .set_size = 256, .sets = 1, .seconds = 3};

  blas_guard(argc, argv);
  if (argc < 3) return fprintf(stderr, "usage: step_bench train|sample|product FOLDER [-genes 2000] [-hidden 512] [-depth 8] [-heads 8] [-set_size 256] [-sets 1] [-seconds 3]\n"), 2;
  bench.what   = argv[1];
  bench.folder = argv[2];
  if (PetscInitialize(&argc, &argv, NULL, NULL) || PetscOptionsSetValue(NULL, "-quiet", "true") || error_handler_install()) return 1;
  const PetscErrorCode code = measure(&bench);
  if (code == ERROR_USER) fprintf(stderr, "step_bench: %s\n", error_message());
  if (code) MPI_Abort(MPI_COMM_WORLD, 1);
  return PetscFinalize() ? 1 : 0;
}
