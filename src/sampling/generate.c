/* Generation of populations: noise, paired control cells and guidance around the reverse process. */
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/sampling.h>

struct Generator {
  const SampleModel    *model;
  const SampleSettings *settings;
  const ConditionList  *conditions;
  ControlFunction       controls;
  void                 *context;
  CellExchange         *exchange;   /* NULL: sets are whole */
  PetscInt              first_cell; /* of each set, on this rank */
  PetscInt              own;        /* cells of each set on this rank */
  Denoiser             *denoiser;
  PetscInt64           *first_set; /* (conditions + 1) of each condition */
  PetscInt              sets;      /* in hand */
  GeneratedSet         *set;       /* (sets_at_once) */
  double               *state;     /* (sets_at_once, own, G) */
  PetscInt64           *cell;      /* (own) */
  Real                 *values;    /* (G) */
  /* What the network sees: with guidance the sets in hand once more, without their condition. */
  Real          *noisy, *self_condition, *control, *center, *estimate;
  double        *step;
  PetscInt      *perturbation, *cell_type, *batch;
  unsigned char *dropped;
  PetscLogEvent  event;
};

/* Conditional and unconditional estimates are one pass of twice the sets. */
static PetscInt passes(const SampleSettings *settings) { return settings->guidance != 0 ? 2 : 1; }

size_t generator_bytes(const SampleModel *model, const SampleSettings *settings)
{
  const PetscInt     sets = settings->sets_at_once, rows = passes(settings) * sets, parts = PetscMax(settings->parts, 1);
  const size_t       values = (size_t)((model->set_size + parts - 1) / parts) * (size_t)model->table->shape.genes;
  const DenoiserPlan plan = {.max_sets = rows, .set_size = model->set_size, .parts = parts};

  /* The steppers hold the state six times: itself, before the step, estimate, previous estimate, noise, and a stage. */
  return denoiser_bytes(&model->table->shape, &plan) +
         (parts > 1 ? cellexchange_bytes(parts, (int)model->set_size, (int)rows, (int)(2 * model->table->shape.hidden)) : 0) +
         values * ((size_t)rows * 5 * sizeof(Real) + (size_t)sets * 6 * sizeof(double));
}

/* This rank's share of each set. */
static PetscErrorCode share_sets(Generator *g)
{
  const PetscInt size = g->model->set_size;
  int            first, count;

  PetscFunctionBeginUser;
  g->own = size;
  if (g->settings->parts <= 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(cellexchange_create(g->settings->cells, (int)size, (int)(passes(g->settings) * g->settings->sets_at_once), (int)(2 * g->model->table->shape.hidden), &g->exchange));
  cellexchange_cells(g->exchange, cellexchange_rank(g->exchange), &first, &count);
  g->first_cell = first;
  g->own = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode generator_create(const SampleModel *model, const SampleSettings *settings, const ConditionList *conditions, ControlFunction controls,
                                void *context, Generator **generator)
{
  const PetscInt sets = settings->sets_at_once, rows = passes(settings) * sets;
  const size_t   genes = (size_t)model->table->shape.genes;
  Generator     *g;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&g));
  *generator = g;
  g->model = model;
  g->settings = settings;
  g->conditions = conditions;
  g->controls = controls;
  g->context = context;
  PetscCall(share_sets(g));
  const size_t values = (size_t)g->own * genes;
  PetscCall(PetscMalloc1(conditions->count + 1, &g->first_set));
  g->first_set[0] = 0;
  for (PetscInt c = 0; c < conditions->count; c++)
    g->first_set[c + 1] = g->first_set[c] + settings->draws * ((conditions->item[c].cells + model->set_size - 1) / model->set_size);
  PetscCall(PetscMalloc4(sets, &g->set, (size_t)sets * values, &g->state, g->own, &g->cell, genes, &g->values));
  PetscCall(PetscMalloc4((size_t)rows * values, &g->noisy, (size_t)rows * values, &g->self_condition, (size_t)rows * values, &g->control, (size_t)rows * values,
                         &g->estimate));
  if (model->center != CENTER_NONE) PetscCall(PetscMalloc1((size_t)rows * values, &g->center));
  PetscCall(PetscMalloc5(rows, &g->step, rows, &g->perturbation, rows, &g->cell_type, rows, &g->batch, rows, &g->dropped));
  PetscCall(denoiser_create(model->table, &(DenoiserPlan){.max_sets = rows, .set_size = model->set_size, .exchange = g->exchange}, &g->denoiser));
  PetscCall(PetscLogEventRegister("SampleEstimate", TS_CLASSID, &g->event));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode generator_destroy(Generator **generator)
{
  Generator *g = *generator;

  PetscFunctionBeginUser;
  if (!g) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(denoiser_destroy(&g->denoiser));
  PetscCallMPI(cellexchange_destroy(&g->exchange));
  PetscCall(PetscFree(g->first_set));
  PetscCall(PetscFree4(g->set, g->state, g->cell, g->values));
  PetscCall(PetscFree4(g->noisy, g->self_condition, g->control, g->estimate));
  PetscCall(PetscFree(g->center));
  PetscCall(PetscFree5(g->step, g->perturbation, g->cell_type, g->batch, g->dropped));
  PetscCall(PetscFree(*generator));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt64 generator_sets(const Generator *generator) { return generator->first_set[generator->conditions->count]; }
PetscInt   generator_cells(const Generator *generator) { return generator->own; }

/* Which condition, draw and cells set number n holds on this rank. */
static GeneratedSet set_of_number(const Generator *g, PetscInt64 n)
{
  const PetscInt64 set_size = g->model->set_size;
  PetscInt         low = 0, high = g->conditions->count;

  while (high - low > 1) {
    const PetscInt middle = (low + high) / 2;
    if (g->first_set[middle] <= n)
      low = middle;
    else
      high = middle;
  }
  const PetscInt64 cells = g->conditions->item[low].cells, each = (cells + set_size - 1) / set_size, within = n - g->first_set[low];
  const PetscInt64 first_cell = within % each * set_size + g->first_cell;

  return (GeneratedSet){.condition = low,
                        .draw = (PetscInt)(within / each),
                        .first_cell = first_cell,
                        .cells = (PetscInt)PetscMin(g->own, PetscMax(0, cells - first_cell))};
}

/* The random numbers of a condition: its key goes into the seed, the draw takes the place of the set. */
static RandomStream condition_stream(const Generator *g, RandomPurpose purpose, uint32_t step, const GeneratedSet *set, uint32_t cell)
{
  return random_stream(g->settings->seed ^ g->conditions->item[set->condition].key, purpose, step, (uint32_t)set->draw, cell);
}

/* noise (sets, own, G): standard normals of each cell. */
static void cells_noise(Generator *g, RandomPurpose purpose, uint32_t step, double *noise)
{
  const PetscInt genes = g->model->table->shape.genes;

  for (PetscInt b = 0; b < g->sets; b++)
    for (PetscInt s = 0; s < g->own; s++) {
      const RandomStream stream = condition_stream(g, purpose, step, &g->set[b], (uint32_t)(g->set[b].first_cell + s));
      random_normals(&stream, 0, (size_t)genes, g->values);
      for (PetscInt i = 0; i < genes; i++) *noise++ = (double)g->values[i];
    }
}

static PetscErrorCode step_noise(void *context, PetscInt k, double *noise)
{
  cells_noise(context, RANDOM_SAMPLE_NOISE, (uint32_t)k, noise);
  return PETSC_SUCCESS;
}

/* Control cells of a set: cell number i takes the i-th of a random order of the control population, and once all are used, of another one. */
static PetscErrorCode draw_controls(Generator *g, PetscInt b)
{
  const Condition *condition = &g->conditions->item[g->set[b].condition];
  const size_t     values = (size_t)g->own * (size_t)g->model->table->shape.genes;

  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < g->own; s++) {
    const uint64_t     number = (uint64_t)(g->set[b].first_cell + s), controls = (uint64_t)condition->controls;
    const RandomStream stream = condition_stream(g, RANDOM_CONTROLS, 0, &g->set[b], (uint32_t)(number / controls));
    g->cell[s] = condition->first_control + (PetscInt64)random_permuted(&stream, controls, number % controls);
  }
  PetscCall(g->controls(g->context, g->own, g->cell, g->control + (size_t)b * values));
  if (g->center)
    center_fill(g->own, g->model->table->shape.genes, g->control + (size_t)b * values, condition->shift, g->model->value_scale,
                g->center + (size_t)b * values);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The second pass of guidance sees the same sets without their condition. */
static PetscErrorCode repeat_sets(Generator *g, Real *values)
{
  const size_t size = (size_t)g->sets * (size_t)g->own * (size_t)g->model->table->shape.genes;

  PetscFunctionBeginUser;
  if (passes(g->settings) == 2) PetscCall(PetscArraycpy(values + size, values, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode prepare_sets(Generator *g, PetscInt64 first, PetscInt64 stride, PetscInt count)
{
  PetscFunctionBeginUser;
  g->sets = count;
  for (PetscInt b = 0; b < count; b++) {
    g->set[b] = set_of_number(g, first + b * stride);
    PetscCall(draw_controls(g, b));
  }
  for (PetscInt row = 0; row < passes(g->settings) * count; row++) {
    const Condition *condition = &g->conditions->item[g->set[row % count].condition];
    g->perturbation[row] = condition->perturbation;
    g->cell_type[row] = g->model->sees_cell_type ? condition->cell_type : 0;
    g->batch[row] = g->model->sees_batch ? condition->batch : 0;
    g->dropped[row] = row >= count;
  }
  PetscCall(repeat_sets(g, g->control));
  if (g->center) PetscCall(repeat_sets(g, g->center));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool all_zero(const double *values, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (values[i] != 0) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* Clean estimate with guidance w: eps = (1+w) eps_cond - w eps_uncond is, at one state, the same combination of the clean estimates; small values become 0. */
static PetscErrorCode estimate_clean(void *context, double step, const double *x, const double *previous, double *estimate)
{
  Generator      *g = context;
  const PetscInt  rows = passes(g->settings) * g->sets;
  const size_t    size = (size_t)g->sets * (size_t)g->own * (size_t)g->model->table->shape.genes;
  const PetscBool first = all_zero(previous, size);
  const double    w = g->settings->guidance;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(g->event, 0, 0, 0, 0));
  for (size_t i = 0; i < size; i++) g->noisy[i] = (Real)x[i];
  for (size_t i = 0; i < size && !first; i++) g->self_condition[i] = (Real)previous[i];
  PetscCall(repeat_sets(g, g->noisy));
  if (!first) PetscCall(repeat_sets(g, g->self_condition));
  for (PetscInt row = 0; row < rows; row++) g->step[row] = step;
  const DenoiserInput input = {.sets = rows,
                               .noisy = g->noisy,
                               .self_condition = first ? NULL : g->self_condition,
                               .control = g->control,
                               .step = g->step,
                               .perturbation = g->perturbation,
                               .cell_type = g->cell_type,
                               .batch = g->batch,
                               .dropped = rows > g->sets ? g->dropped : NULL,
                               .center = g->center,
                               .strength = g->center ? (Real)g->model->strength : 1};
  PetscCall(denoiser_forward(g->denoiser, g->model->parameters, &input, PETSC_FALSE, g->estimate, NULL));
  for (size_t i = 0; i < size; i++) {
    double value = (double)g->estimate[i];
    if (rows > g->sets) value = (1 + w) * value - w * (double)g->estimate[size + i];
    estimate[i] = value < g->settings->cut ? 0 : value;
  }
  PetscCall(PetscLogEventEnd(g->event, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The smallest value of a control cell is its one count, log1p(s / depth): what is measured of a gene is nothing or at least that. A value between becomes the one or the
   other, that with the value's share as its probability, so that means stay. Uniforms of a gene are stratified over the cells of the population (Latin hypercube,
   McKay 1979): where the cells agree, the gene's sum moves by one count, not by the root of their number. */
static void round_to_counts(Generator *g)
{
  const PetscInt genes = g->model->table->shape.genes;

  for (PetscInt b = 0; b < g->sets; b++) {
    const GeneratedSet *set = &g->set[b];
    const uint64_t      cells = (uint64_t)g->conditions->item[set->condition].cells;

    for (PetscInt s = 0; s < set->cells; s++) {
      const size_t   at = ((size_t)b * (size_t)g->own + (size_t)s) * (size_t)genes;
      const uint64_t number = (uint64_t)(set->first_cell + s);
      double         one = 0;

      for (PetscInt i = 0; i < genes; i++) {
        const double value = (double)g->control[at + (size_t)i];
        if (value > 0 && (one == 0 || value < one)) one = value;
      }
      for (PetscInt i = 0; i < genes; i++) {
        double *value = &g->state[at + (size_t)i];
        if (*value <= 0 || *value >= one) continue;
        const RandomStream order = condition_stream(g, RANDOM_SAMPLE_WHOLE, (uint32_t)i, set, 0), within = condition_stream(g, RANDOM_SAMPLE_WHOLE, (uint32_t)i, set, 1);
        const double       uniform = ((double)random_permuted(&order, cells, number) + random_uniform(&within, (uint32_t)number)) / (double)cells;
        *value = uniform < *value / one ? one : 0;
      }
    }
  }
}

PetscErrorCode generator_run(Generator *g, PetscInt64 first, PetscInt64 stride, PetscInt count, GeneratedSet *sets, const double **cells)
{
  const SampleSettings *settings = g->settings;
  const PetscInt        size = count * g->own * g->model->table->shape.genes;
  const MPI_Comm        comm = g->exchange ? settings->cells : PETSC_COMM_SELF;
  const ReverseProblem  problem = {.schedule = g->model->schedule,
                                   .estimate = estimate_clean,
                                   .estimate_context = g,
                                   .noise = step_noise,
                                   .noise_context = g,
                                   .steps = settings->steps,
                                   .step = settings->step,
                                   .eta = settings->eta,
                                   .noise_weight = settings->noise_weight};
  TS                    ts;
  Vec                   x;

  PetscFunctionBeginUser;
  PetscCheck(count > 0 && count <= settings->sets_at_once, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%d sets at once, made for %d", (int)count,
             (int)settings->sets_at_once);
  PetscCall(prepare_sets(g, first, stride, count));
  cells_noise(g, RANDOM_SAMPLE_START, 0, g->state);
  PetscCall(VecCreateMPIWithArray(comm, 1, size, PETSC_DETERMINE, g->state, &x));
  PetscCall(TSCreate(comm, &ts));
  PetscCall(TSSetType(ts, settings->type));
  PetscCall(TSReverseSetProblem(ts, &problem));
  PetscCall(TSSetFromOptions(ts));
  PetscCall(TSReverseSolve(ts, x));
  PetscCall(TSDestroy(&ts));
  PetscCall(VecDestroy(&x));
  if (settings->whole_counts) round_to_counts(g);
  PetscCall(PetscArraycpy(sets, g->set, count));
  *cells = g->state;
  PetscFunctionReturn(PETSC_SUCCESS);
}
