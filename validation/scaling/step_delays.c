/* step_delays GENES HIDDEN DEPTH HEADS SET_SIZE SETS - what a simulation of a training step needs to know of the network and of this machine, as CSV: the bucket sizes from the
   parameter table, the seconds a set's forward and backward pass spend in each bucket (by the hooks at which training awaits and starts its exchanges), and of what goes
   before and after. One rank; as many threads as OMP_NUM_THREADS. Medians of several passes. */
#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <perturbdiff/training.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BUCKETS = 64, PASSES = 5 };

typedef struct {
  double   forward[MOST_BUCKETS + 1], backward[MOST_BUCKETS + 1]; /* when a bucket was needed; when it was done */
  PetscInt calls;
} Clock;

static PetscErrorCode note_need(void *context, PetscInt bucket)
{
  ((Clock *)context)->forward[bucket] = MPI_Wtime();
  return PETSC_SUCCESS;
}

static PetscErrorCode note_done(void *context, PetscInt bucket)
{
  ((Clock *)context)->backward[bucket] = MPI_Wtime();
  return PETSC_SUCCESS;
}

static PetscErrorCode note_progress(void *context)
{
  ((Clock *)context)->calls++;
  return PETSC_SUCCESS;
}

static int ascending(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median(double *seconds)
{
  qsort(seconds, PASSES, sizeof *seconds, ascending);
  return seconds[PASSES / 2];
}

typedef struct {
  ParameterTable table;
  Denoiser      *denoiser;
  Objective     *objective;
  NoiseSchedule  schedule;
  PetscInt       sets, set_size;
  size_t         values;                                         /* of all sets */
  Real          *clean, *noisy, *control, *estimate, *d_estimate; /* [values] */
  Real          *parameters, *gradients, *first, *second;
} Bench;

static PetscErrorCode bench_create(char **number, Bench *b, Clock *clock)
{
  const DenoiserShape shape = {.genes = atoi(number[0]), .hidden = atoi(number[1]), .depth = atoi(number[2]), .heads = atoi(number[3]), .perturbations = 90, .cell_types = 18,
                               .batches = 12, .covariate_dim = 128, .time_frequencies = 128};
  const DenoiserHooks hooks = {.need = note_need, .done = note_done, .progress = note_progress, .context = clock};

  PetscFunctionBeginUser;
  b->set_size = atoi(number[4]);
  b->sets     = atoi(number[5]);
  PetscCall(parametertable_create(&shape, &b->table));
  const DenoiserPlan plan = {.max_sets = b->sets, .set_size = b->set_size, .with_gradient = PETSC_TRUE};
  PetscCall(denoiser_create(&b->table, &plan, &b->denoiser));
  PetscCall(denoiser_set_hooks(b->denoiser, &hooks));
  PetscCall(objective_create(b->set_size, shape.genes, 1, NULL, &b->objective));
  PetscCall(schedule_create(SCHEDULE_LINEAR, 1000, 0, &b->schedule));
  b->values = (size_t)(b->sets * b->set_size * shape.genes);
  PetscCall(PetscMalloc5(b->values, &b->clean, b->values, &b->noisy, b->values, &b->control, b->values, &b->estimate, b->values, &b->d_estimate));
  PetscCall(PetscCalloc4(b->table.total, &b->parameters, b->table.total, &b->gradients, b->table.total, &b->first, b->table.total, &b->second));
  PetscCall(parameters_start(&b->table, 1, PETSC_FALSE, b->parameters));
  const RandomStream stream = random_stream(1, RANDOM_TEST, 0, 0, 0);
  random_uniforms(&stream, 0, b->values, b->clean);
  random_uniforms(&stream, b->values, b->values, b->control);
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  static double      forward[MOST_BUCKETS][PASSES], backward[MOST_BUCKETS][PASSES], prepare[PASSES], objective[PASSES], optimize[PASSES];
  const AdamWOptions adamw = {.lr = 2e-4, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.01, .clip = 1};
  Bench              b;
  Clock              clock = {{0}, {0}, 0};

  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCheck(argc == 7, PETSC_COMM_WORLD, PETSC_ERR_USER, "usage: step_delays GENES HIDDEN DEPTH HEADS SET_SIZE SETS");
  PetscCall(bench_create(argv + 1, &b, &clock));
  const PetscInt buckets = b.table.shape.depth + 2;
  PetscCheck(buckets <= MOST_BUCKETS, PETSC_COMM_WORLD, PETSC_ERR_USER, "at most %d blocks", MOST_BUCKETS - 2);
  double   *step, *mse, *energy;
  PetscInt *index;
  int64_t  *updates;
  PetscCall(PetscCalloc5(b.sets, &step, b.sets, &mse, b.sets, &energy, b.sets, &index, b.table.count, &updates));
  for (PetscInt i = 0; i < b.sets; i++) step[i] = 500;
  const DenoiserInput input = {.sets = b.sets, .noisy = b.noisy, .self_condition = b.control, .control = b.control, .step = step, .perturbation = index, .cell_type = index,
                               .batch = index, .strength = 1};
  for (int pass = -1; pass < PASSES; pass++) {
    const int k = pass < 0 ? 0 : pass;
    double    norm, now = MPI_Wtime(), then = now;

    for (PetscInt i = 0; i < b.sets; i++) corruption_noise(1, RANDOM_STEP_NOISE, 0, (uint32_t)i, 0, b.set_size, b.table.shape.genes, b.noisy + (size_t)i * (b.values / (size_t)b.sets));
    corrupt(&b.schedule, b.sets, b.values / (size_t)b.sets, step, b.clean, b.noisy, b.noisy);
    prepare[k] = (now = MPI_Wtime()) - then;
    clock.calls = 0;
    PetscCall(denoiser_forward(b.denoiser, b.parameters, &input, PETSC_TRUE, b.estimate, NULL));
    then = MPI_Wtime();
    clock.forward[buckets] = then;
    for (PetscInt i = 0; i < buckets; i++) forward[i][k] = clock.forward[i + 1] - clock.forward[i];
    PetscCall(objective_evaluate(b.objective, b.sets, b.clean, b.estimate, 1. / (double)b.sets, mse, energy, b.d_estimate));
    now = MPI_Wtime();
    objective[k] = now - then;
    PetscCall(denoiser_backward(b.denoiser, b.parameters, &input, b.d_estimate, b.gradients));
    for (PetscInt i = buckets - 1; i >= 0; i--) backward[i][k] = clock.backward[i] - (i + 1 == buckets ? now : clock.backward[i + 1]);
    then = MPI_Wtime();
    PetscCall(adamw_update(&b.table, &adamw, PETSC_TRUE, b.gradients, b.parameters, b.first, b.second, updates, &norm));
    optimize[k] = MPI_Wtime() - then;
  }
  printf("bucket,parameters,forward_seconds_a_set,backward_seconds_a_set\n");
  for (PetscInt i = 0; i < buckets; i++) {
    size_t size = 0;
    for (PetscInt p = 0; p < b.table.count; p++) size += b.table.item[p].bucket == i ? parameter_size(&b.table.item[p]) : 0;
    printf("%d,%zu,%.6f,%.6f\n", (int)i, size, median(forward[i]) / (double)b.sets, median(backward[i]) / (double)b.sets);
  }
  printf("what,value\nprepare_seconds_a_set,%.6f\nobjective_seconds_a_set,%.6f\noptimizer_seconds_a_parameter,%.4g\n", median(prepare) / (double)b.sets,
         median(objective) / (double)b.sets, median(optimize) / (double)b.table.total);
  printf("progress_calls_a_block,%.1f\nset_size,%d\nhidden,%d\ngenes,%d\n", (double)clock.calls / (2. * (double)b.table.shape.depth), (int)b.set_size, (int)b.table.shape.hidden,
         (int)b.table.shape.genes);
  PetscCall(denoiser_destroy(&b.denoiser));
  PetscCall(objective_destroy(&b.objective));
  PetscCall(schedule_destroy(&b.schedule));
  PetscCall(parametertable_destroy(&b.table));
  PetscCall(PetscFree5(b.clean, b.noisy, b.control, b.estimate, b.d_estimate));
  PetscCall(PetscFree4(b.parameters, b.gradients, b.first, b.second));
  PetscCall(PetscFree5(step, mse, energy, index, updates));
  return PetscFinalize();
}
