/* Validation on populations left out of training: objective at fixed noise, and a few reverse steps from full noise scored against the held-out cells. */
#include "training/training_internal.h"
#include <math.h>

/* One held-out population on the rank that scores it. */
typedef struct {
  PetscInt    population, sets, cells; /* cells: those scored, the first of the sets' unfilled ones */
  PetscInt64 *cell, *control;          /* (sets, set_size) */
  PetscInt   *row;                     /* (cells) which of the sets x set_size rows they are */
  double     *shift;                   /* (genes) or NULL */
  Objective  *objective;               /* energy distance of `cells` against `cells`; shared by populations of as many cells */
} Held;

struct Validation {
  Trainer         *trainer;
  Denoiser        *denoiser;  /* whole sets on this rank: the trainer's, or its own where ranks share sets */
  Objective       *objective;
  const Real      *average;   /* whole, during a validation */
  PetscInt         sets_at_once, populations, own, strengths;
  Held            *held;   /* (own) */
  PetscInt        *number; /* (own) place among all validation populations */
  double          *strength;
  double          *sums; /* (populations, strengths, 2) and (populations) objective, summed over ranks */
  ValidationScore *scores;
  Real            *clean, *control, *noisy, *estimate, *previous, *center; /* (largest sets, set_size, genes) */
};

static PetscErrorCode draw_held(Validation *v, const CellSets *sets, PetscInt population, Held *held)
{
  const Trainer    *t = v->trainer;
  const PetscInt    size = t->options->set_size;
  const Population *p = &t->cells->population[population];
  const PetscInt    want = (PetscInt)PetscMin((PetscInt64)t->options->validation.cells, p->cells);
  unsigned char    *filled;

  PetscFunctionBeginUser;
  held->population = population;
  held->sets = (want + size - 1) / size;
  PetscCall(PetscMalloc3(held->sets * size, &held->cell, held->sets * size, &held->control, want, &held->row));
  PetscCall(PetscMalloc1(size, &filled));
  for (PetscInt j = 0; j < held->sets; j++) {
    CellSet set = {.population = population, .cell = held->cell + j * size, .control = held->control + j * size, .filled = filled};

    PetscCall(cellsets_draw_population(sets, population, 0, j, &set));
    for (PetscInt s = 0; s < size && held->cells < want; s++)
      if (!filled[s]) held->row[held->cells++] = j * size + s;
  }
  PetscCall(PetscFree(filled));
  for (PetscInt k = 0; k < v->own && !held->objective; k++)
    if (v->held[k].cells == held->cells) held->objective = v->held[k].objective;
  if (!held->objective) PetscCall(objective_create(held->cells, t->cells->gene.count, 1, NULL, &held->objective));
  if (t->means) {
    PetscInt count;
    PetscCall(PetscMalloc1(t->cells->gene.count, &held->shift));
    PetscCall(center_shift(t->cells, t->means, t->use, p->perturbation, p->cell_type, p->batch, held->shift, &count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode load_cells(Validation *v, const Held *held)
{
  const Trainer *t = v->trainer;
  const PetscInt size = t->options->set_size, genes = t->cells->gene.count;

  PetscFunctionBeginUser;
  PetscCall(cellstore_dense(t->store, held->sets * size, held->cell, 1 / t->cells->value_scale, v->clean, genes));
  PetscCall(cellstore_dense(t->store, held->sets * size, held->control, 1 / t->cells->value_scale, v->control, genes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scored rows of a (sets x set_size, genes) array, moved to its front. */
static void keep_scored(const Held *held, PetscInt genes, Real *rows)
{
  for (PetscInt i = 0; i < held->cells; i++)
    if (held->row[i] != i) (void)PetscArraymove(rows + (size_t)i * (size_t)genes, rows + (size_t)held->row[i] * (size_t)genes, genes);
}

/* Energy distance (log1p units) and Pearson correlation of mean changes between scored cells and as many predicted ones, both (cells, genes). */
static PetscErrorCode score(const Validation *v, const Held *held, const Real *real, const Real *predicted, double *distance, double *pearson)
{
  const Trainer *t = v->trainer;
  const PetscInt genes = t->cells->gene.count;
  const double   scale = t->cells->value_scale;
  const double  *control = t->means + (size_t)t->cells->population[held->population].control * (size_t)genes;
  double         mse, energy, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;

  PetscFunctionBeginUser;
  PetscCall(objective_evaluate(held->objective, 1, real, predicted, 1, &mse, &energy, NULL));
  *distance = 2 * energy * scale;
  for (PetscInt g = 0; g < genes; g++) {
    double x = 0, y = 0;

    for (PetscInt i = 0; i < held->cells; i++) {
      x += (double)real[(size_t)i * (size_t)genes + (size_t)g];
      y += (double)predicted[(size_t)i * (size_t)genes + (size_t)g];
    }
    x = x * scale / held->cells - control[g];
    y = y * scale / held->cells - control[g];
    sx += x, sy += y, sxx += x * x, syy += y * y, sxy += x * y;
  }
  const double xx = sxx - sx * sx / genes, yy = syy - sy * sy / genes;
  *pearson = xx > 0 && yy > 0 ? (sxy - sx * sy / genes) / sqrt(xx * yy) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static DenoiserInput held_input(const Validation *v, const Held *held, PetscInt first, PetscInt sets, PetscInt *codes, double *time)
{
  const Population *p = &v->trainer->cells->population[held->population];
  const size_t      n = (size_t)v->trainer->options->set_size * (size_t)v->trainer->cells->gene.count * (size_t)first;
  DenoiserInput     input = {.sets = sets, .noisy = v->noisy + n, .control = v->control + n, .step = time, .strength = 1};

  for (PetscInt b = 0; b < sets; b++) {
    codes[b] = p->perturbation;
    codes[sets + b] = v->trainer->options->sees_cell_type ? p->cell_type : 0;
    codes[2 * sets + b] = v->trainer->options->sees_batch ? p->batch : 0;
  }
  input.perturbation = codes;
  input.cell_type = codes + sets;
  input.batch = codes + 2 * sets;
  if (v->trainer->options->center != CENTER_NONE) input.center = v->center + n;
  return input;
}

static void fill_center(Validation *v, const Held *held)
{
  const Trainer *t = v->trainer;

  center_fill(held->sets * t->options->set_size, t->cells->gene.count, v->control, t->options->center == CENTER_SHIFT ? held->shift : NULL,
              t->cells->value_scale, v->center);
}

static void fill_noise(Validation *v, const Held *held, uint32_t purpose)
{
  const Trainer *t = v->trainer;
  const size_t   n = (size_t)t->options->set_size * (size_t)t->cells->gene.count;

  for (PetscInt j = 0; j < held->sets; j++)
    corruption_noise(t->options->seed, RANDOM_VALIDATE, 2 * (uint32_t)held->population + purpose, (uint32_t)j, 0, t->options->set_size, t->cells->gene.count,
                     v->noisy + (size_t)j * n);
}

/* Mean loss of the population's sets at diffusion steps and noise that stay the same over the run. */
static PetscErrorCode objective_of(Validation *v, const Held *held, double *objective)
{
  Trainer       *t = v->trainer;
  const PetscInt most = v->sets_at_once;
  const size_t   n = (size_t)t->options->set_size * (size_t)t->cells->gene.count;
  PetscInt       codes[3 * most];
  double         time[most], mse[most], energy[most];

  PetscFunctionBeginUser;
  *objective = 0;
  fill_noise(v, held, 0);
  for (PetscInt first = 0; first < held->sets; first += most) {
    const PetscInt sets = PetscMin(most, held->sets - first);

    for (PetscInt b = 0; b < sets; b++) {
      const RandomStream stream = random_stream(t->options->seed, RANDOM_VALIDATE, UINT32_MAX, (uint32_t)(first + b), (uint32_t)held->population);
      time[b] = (double)random_below(&stream, 0, (uint64_t)t->schedule.steps);
    }
    const DenoiserInput input = held_input(v, held, first, sets, codes, time);
    corrupt(&t->schedule, sets, n, time, v->clean + (size_t)first * n, input.noisy, v->noisy + (size_t)first * n);
    PetscCall(denoiser_forward(v->denoiser, v->average, &input, PETSC_FALSE, v->estimate, NULL));
    PetscCall(objective_evaluate(v->objective, sets, v->clean + (size_t)first * n, v->estimate, 1, mse, energy, NULL));
    for (PetscInt b = 0; b < sets; b++) *objective += (mse[b] + t->options->energy_weight * energy[b]) / held->sets;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Deterministic reverse steps (DDIM, arXiv 2010.02502, eta 0) over the full range from pure noise; the last clean estimate ends in estimate. */
static PetscErrorCode generate(Validation *v, const Held *held, double strength)
{
  Trainer       *t = v->trainer;
  const PetscInt most = v->sets_at_once, count = t->options->validation.reverse_steps;
  const size_t   n = (size_t)t->options->set_size * (size_t)t->cells->gene.count;
  PetscInt       codes[3 * most], steps[count];
  double         time[most];

  PetscFunctionBeginUser;
  reverse_steps(t->schedule.steps - 1, count, steps);
  fill_noise(v, held, 1);
  for (PetscInt first = 0; first < held->sets; first += most) {
    const PetscInt sets = PetscMin(most, held->sets - first);
    DenoiserInput  input = held_input(v, held, first, sets, codes, time);
    Real          *x = v->noisy + (size_t)first * n, *clean = v->estimate + (size_t)first * n, *previous = v->previous + (size_t)first * n;

    if (input.center) input.strength = (Real)strength;
    for (PetscInt k = 0; k < count; k++) {
      for (PetscInt b = 0; b < sets; b++) time[b] = steps[k];
      PetscCall(denoiser_forward(v->denoiser, v->average, &input, PETSC_FALSE, clean, NULL));
      if (k == count - 1) break;
      const ReverseStep step = ddim_step(&t->schedule, steps[k], steps[k + 1], 0, PETSC_FALSE);
      const Real        keep = (Real)step.state, take = (Real)step.estimate;

      for (size_t i = 0; i < (size_t)sets * n; i++) x[i] = keep * x[i] + take * clean[i];
      PetscCall(PetscArraycpy(previous, clean, (size_t)sets * n));
      input.self_condition = previous;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the head's corrections have to beat: control cells as they are, and moved by the mean shift. */
static PetscErrorCode simple_predictions(Validation *v)
{
  Trainer       *t = v->trainer;
  const PetscInt genes = t->cells->gene.count;
  double         sums[4] = {0}, *part;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(4 * v->populations, &part));
  for (PetscInt k = 0; k < v->own; k++) {
    const Held *held = &v->held[k];
    double     *mine = part + 4 * v->number[k];

    PetscCall(load_cells(v, held));
    keep_scored(held, genes, v->clean);
    keep_scored(held, genes, v->control);
    PetscCall(score(v, held, v->clean, v->control, &mine[0], &mine[1]));
    center_fill(held->cells, genes, v->control, held->shift, t->cells->value_scale, v->estimate);
    for (size_t i = 0; i < (size_t)held->cells * (size_t)genes; i++) v->estimate[i] = v->estimate[i] > 0 ? v->estimate[i] : 0;
    PetscCall(score(v, held, v->clean, v->estimate, &mine[2], &mine[3]));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, part, 4 * v->populations, MPI_DOUBLE, MPI_SUM, t->comm));
  for (PetscInt k = 0; k < 4 * v->populations; k++) sums[k % 4] += part[k] / v->populations;
  PetscCall(PetscFree(part));
  PetscCall(log_line(t->comm,
                     "  validation %d populations left out; energy distance / pearson_delta: control cells %.4g / %.3f, moved by the mean shift %.4g / %.3f",
                     (int)v->populations, sums[0], sums[1], sums[2], sums[3]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode create_held(Validation *v)
{
  Trainer  *t = v->trainer;
  CellSets *sets;
  PetscInt  number = 0, largest = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((v->populations + t->ranks - 1) / t->ranks, &v->held, (v->populations + t->ranks - 1) / t->ranks, &v->number));
  PetscCall(cellsets_create(t->cells, t->held, t->options->set_size, t->options->seed, &sets));
  for (PetscInt k = 0; k < t->cells->populations; k++) {
    if (!t->held[k]) continue;
    if (number % t->ranks == t->rank) {
      PetscCall(draw_held(v, sets, k, &v->held[v->own]));
      largest = PetscMax(largest, v->held[v->own].sets);
      v->number[v->own++] = number;
    }
    number++;
  }
  PetscCall(cellsets_destroy(&sets));
  const size_t n = (size_t)largest * (size_t)t->options->set_size * (size_t)t->cells->gene.count;
  PetscCall(PetscMalloc6(n, &v->clean, n, &v->control, n, &v->noisy, n, &v->estimate, n, &v->previous, n, &v->center));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations are dealt over all ranks, each works on whole sets. */
static PetscErrorCode create_network(Validation *v)
{
  Trainer *t = v->trainer;

  PetscFunctionBeginUser;
  v->sets_at_once = t->exchange ? 1 : t->max_sets;
  v->denoiser = t->denoiser;
  v->objective = t->objective;
  if (!t->exchange) PetscFunctionReturn(PETSC_SUCCESS);
  const DenoiserPlan plan = validation_plan(t->options);
  PetscCall(denoiser_create(&t->state.table, &plan, &v->denoiser));
  PetscCall(objective_create(t->options->set_size, t->cells->gene.count, t->options->energy_weight, NULL, &v->objective));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode validation_create(Trainer *t, Validation **validation)
{
  const ValidationOptions *options = &t->options->validation;
  Validation              *v;
  PetscInt                 populations = 0;

  PetscFunctionBeginUser;
  *validation = NULL;
  for (PetscInt k = 0; k < t->cells->populations; k++) populations += t->held[k];
  if (!populations) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(1, &v));
  v->trainer = t;
  v->populations = populations;
  v->strengths = t->options->center == CENTER_NONE || !options->strengths ? 1 : options->strengths;
  PetscCall(PetscMalloc3(v->strengths, &v->strength, populations * (2 * v->strengths + 1), &v->sums, v->strengths, &v->scores));
  for (PetscInt i = 0; i < v->strengths; i++) v->strength[i] = t->options->center == CENTER_NONE || !options->strengths ? 1 : options->strength[i];
  PetscCall(create_held(v));
  PetscCall(create_network(v));
  PetscCall(simple_predictions(v));
  *validation = v;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode validation_destroy(Validation **validation)
{
  Validation *v = *validation;

  PetscFunctionBeginUser;
  if (!v) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt k = 0; k < v->own; k++) {
    PetscCall(PetscFree3(v->held[k].cell, v->held[k].control, v->held[k].row));
    PetscCall(PetscFree(v->held[k].shift));
    Objective *objective = v->held[k].objective;
    for (PetscInt j = k; j < v->own; j++)
      if (v->held[j].objective == objective) v->held[j].objective = NULL;
    PetscCall(objective_destroy(&objective));
  }
  if (v->trainer->exchange) {
    PetscCall(denoiser_destroy(&v->denoiser));
    PetscCall(objective_destroy(&v->objective));
  }
  PetscCall(PetscFree2(v->held, v->number));
  PetscCall(PetscFree3(v->strength, v->sums, v->scores));
  PetscCall(PetscFree6(v->clean, v->control, v->noisy, v->estimate, v->previous, v->center));
  PetscCall(PetscFree(*validation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode validation_run(Validation *v, double *objective, PetscInt *count, const ValidationScore **scores, PetscInt *best)
{
  Trainer       *t = v->trainer;
  const PetscInt genes = t->cells->gene.count, width = 2 * v->strengths + 1;

  PetscFunctionBeginUser;
  PetscCall(shards_average(t, &v->average));
  PetscCall(PetscArrayzero(v->sums, v->populations * width));
  for (PetscInt k = 0; k < v->own; k++) {
    const Held *held = &v->held[k];
    double     *mine = v->sums + v->number[k] * width;

    PetscCall(load_cells(v, held));
    if (t->options->center != CENTER_NONE) fill_center(v, held);
    PetscCall(objective_of(v, held, &mine[2 * v->strengths]));
    keep_scored(held, genes, v->clean);
    for (PetscInt i = 0; i < v->strengths; i++) {
      PetscCall(generate(v, held, v->strength[i]));
      keep_scored(held, genes, v->estimate);
      PetscCall(score(v, held, v->clean, v->estimate, &mine[2 * i], &mine[2 * i + 1]));
    }
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, v->sums, v->populations * width, MPI_DOUBLE, MPI_SUM, t->comm));
  *best = 0;
  *objective = 0;
  for (PetscInt i = 0; i < v->strengths; i++) {
    v->scores[i] = (ValidationScore){.strength = v->strength[i]};
    for (PetscInt k = 0; k < v->populations; k++) {
      v->scores[i].energy_distance += v->sums[k * width + 2 * i] / v->populations;
      v->scores[i].pearson_delta += v->sums[k * width + 2 * i + 1] / v->populations;
    }
    if (v->scores[i].energy_distance < v->scores[*best].energy_distance) *best = i;
  }
  for (PetscInt k = 0; k < v->populations; k++) *objective += v->sums[k * width + 2 * v->strengths] / v->populations;
  *count = v->strengths;
  *scores = v->scores;
  PetscFunctionReturn(PETSC_SUCCESS);
}
