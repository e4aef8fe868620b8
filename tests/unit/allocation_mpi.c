/* Nothing is allocated in the step loop: this program's malloc and its kin count who calls them while a trainer takes steps and while a generator takes
   reverse steps, on all threads. Not counted is what other libraries take inside their own calls and give back before they return: MPI; oneDNN, whose C
   interface makes a table of arguments at every execution and whose strided products take a packing buffer each (its scratchpads are ours and made once); GNU's
   OpenMP, which keeps a record of the team in every region that one thread runs. PETSc and HDF5 do count. */
#define _GNU_SOURCE /* dladdr */
#include "check.h"
#include "small_store.h"
#include "training/training_internal.h"
#include <dlfcn.h>
#include <perturbdiff/sampling.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { SET = 8, MOST_CALLERS = 8 };

static atomic_bool counting;
static atomic_long allocations;
static void       *caller_of[MOST_CALLERS];
static size_t      size_of[MOST_CALLERS];

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
  #define COUNTED 1
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

/* The library that a call comes from decides; looking up its name allocates nothing. */
static void note(size_t size, void *caller)
{
  static const char *const others[] = {"libmpi", "libopen-", "mca_", "libpmix", "libevent", "libhwloc", "libdnnl", "libstdc++", "libgomp"};
  Dl_info                  from;

  if (!atomic_load(&counting)) return;
  const char *name = dladdr(caller, &from) && from.dli_fname ? from.dli_fname : "";
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strstr(name, others[i])) return;
  const long n = atomic_fetch_add(&allocations, 1);
  if (n < MOST_CALLERS) {
    caller_of[n] = caller;
    size_of[n]   = size;
  }
}

void *malloc(size_t size)
{
  note(size, __builtin_return_address(0));
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
  note(n * size, __builtin_return_address(0));
  return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
  note(size, __builtin_return_address(0));
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
  note(size, __builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
  note(size, __builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
  note(size, __builtin_return_address(0));
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : 12;
}
#endif

static void start_counting(void)
{
  atomic_store(&allocations, 0);
  atomic_store(&counting, true);
}

/* Allocations since; their first callers are named where there should be none. */
static long stop_counting(PetscBool none)
{
  atomic_store(&counting, false);
  const long n = atomic_load(&allocations);
  for (long i = 0; none && i < PetscMin(n, MOST_CALLERS); i++) {
    Dl_info from = {0};
    if (dladdr(caller_of[i], &from)) fprintf(stderr, "# %zu bytes for %s %s+%#tx\n", size_of[i], from.dli_fname, from.dli_sname ? from.dli_sname : "", (char *)caller_of[i] - (char *)from.dli_fbase);
  }
  return n;
}

static void counter_counts(void **state)
{
#ifdef COUNTED
  void *volatile memory;

  start_counting();
  memory = malloc(4096);
  assert_int_equal(stop_counting(PETSC_FALSE), 1);
  free(memory);
#else
  skip();
#endif
}

static void training_steps(void **state)
{
  const TrainingOptions options = {.folder = "allocation_mpi.run", .command = "test", .hidden = 32, .depth = 2, .heads = 4, .covariate_dim = 8, .set_size = SET, .sets = 4,
                                   .steps = 1000, .seed = 3, .center = CENTER_CONTROL, .strength = 1, .sees_cell_type = PETSC_TRUE, .sees_batch = PETSC_TRUE, .controls = PETSC_TRUE,
                                   .schedule_steps = 100, .energy_weight = 1, .self_condition = 0.5, .drop_condition = 0.5, .drop_control = 0.3,
                                   .adamw = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1}, .warmup = 10, .ema_interval = 3, .ema_decay = 0.9};
  Trainer   trainer = {.comm = PETSC_COMM_WORLD, .options = &options};
  PetscBool resumed;

  MPI_Comm_rank(PETSC_COMM_WORLD, &trainer.rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &trainer.ranks);
  check_call(small_write(PETSC_COMM_WORLD, "allocation_mpi.h5", 0, NULL));
  check_call(cellstore_open(PETSC_COMM_WORLD, "allocation_mpi.h5", &trainer.store));
  trainer.cells = cellstore_table(trainer.store);
  check_call(trainer_set_up(&trainer, &resumed));
  for (int k = 0; k < 24; k++) check_call(trainer_step(&trainer)); /* every coin falls on both sides: kernels are made on first use */
  start_counting();
  for (int k = 0; k < 16; k++) check_call(trainer_step(&trainer));
  assert_int_equal(stop_counting(PETSC_TRUE), 0);
  check_call(trainer_tear_down(&trainer));
  check_call(cellstore_close(&trainer.store));
  MPI_Barrier(PETSC_COMM_WORLD);
  if (!trainer.rank) unlink("allocation_mpi.h5");
}

static PetscErrorCode controls(void *context, PetscInt64 count_cells, const PetscInt64 *cells, Real *dense)
{
  for (PetscInt64 i = 0; i < count_cells * SMALL_GENES; i++) dense[i] = (Real)0.5;
  return PETSC_SUCCESS;
}

/* Each generator_run sets up a PETSc stepper for its sets; the reverse steps it then takes add nothing. */
static void reverse_steps_of_a_generator(void **state)
{
  const DenoiserShape  shape = {SMALL_GENES, 32, 2, 4, 3, 2, 1, 8, 128};
  const PetscInt       few[] = {99, 50}, many[] = {99, 90, 80, 70, 60, 50, 40, 30, 20, 10};
  Condition            condition = {.perturbation = 1, .cells = 100, .controls = 8, .key = 3};
  const ConditionList  conditions = {1, &condition};
  ParameterTable       table;
  NoiseSchedule        schedule;
  Real                *parameters;
  GeneratedSet         set[2];
  const double        *cells;
  long                 counted[2];

  check_call(sampling_register());
  check_call(parametertable_create(&shape, &table));
  check_call(values_create(table.total, &parameters));
  check_call(parameters_start(&table, 1, PETSC_FALSE, parameters));
  check_call(schedule_create(SCHEDULE_LINEAR, 100, 0, &schedule));
  const SampleModel model = {.table = &table, .parameters = parameters, .schedule = &schedule, .set_size = SET, .strength = 1, .value_scale = 10};
  SampleSettings    settings = {.type = TSREVERSEDDIM, .steps = 2, .step = few, .eta = 1, .guidance = 1, .cut = 1e-4, .draws = 1, .sets_at_once = 2, .seed = 1, .parts = 1};
  Generator        *generator;
  check_call(generator_create(&model, &settings, &conditions, controls, NULL, &generator));
  check_call(generator_run(generator, 0, 1, 2, set, &cells));
  for (int k = 0; k < 2; k++) {
    settings.steps = k ? 10 : 2;
    settings.step  = k ? many : few;
    start_counting();
    check_call(generator_run(generator, 0, 1, 2, set, &cells));
    counted[k] = stop_counting(PETSC_FALSE);
  }
  assert_int_equal(counted[0], counted[1]);
  check_call(generator_destroy(&generator));
  check_call(schedule_destroy(&schedule));
  check_call(PetscFree(parameters));
  check_call(parametertable_destroy(&table));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(counter_counts), cmocka_unit_test(training_steps), cmocka_unit_test(reverse_steps_of_a_generator)};

TEST_MAIN(tests)
