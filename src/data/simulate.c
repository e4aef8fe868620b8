/* The law of a simulated screen and the counts of its cells. */
#include "data/count_draw.h"
#include <math.h>
#include <perturbdiff/data/simulate.h>
#include <perturbdiff/runtime.h>

/* What the counter streams of a screen are for: step of count_draw_begin. */
enum { DRAW_BASE, DRAW_CELL_TYPE, DRAW_BATCH, DRAW_STRENGTH, DRAW_LOADING, DRAW_RESPONSIVENESS, DRAW_PROGRAM, DRAW_CELL, DRAW_CHOICE = 64 };

/* Spread of log expression over genes and of log library size over cells, share of genes that mark a cell type and the spread of their log means: typical of
 * droplet data. */
static const double base_spread = 1.2, library_spread = 0.35, marker_share = 0.2, marker_spread = 1;

static PetscErrorCode check_sizes(const SimulateOptions *o, PetscInt populations)
{
  PetscFunctionBeginUser;
  if (o->cells < populations) {
    return error_user("simulate: %lld cells do not fill %lld populations (perturbations and control x cell types x batches); give -cells %lld or more",
                      (long long)o->cells, (long long)populations, (long long)populations);
  }
  if (o->effect_genes > o->genes) {
    return error_user("simulate: a program moves %lld genes but there are %lld; give -effect_genes %lld or fewer", (long long)o->effect_genes,
                      (long long)o->genes, (long long)o->genes);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* choice k of n things in random order. */
static PetscInt chosen(const SimulateOptions *o, uint32_t what, PetscInt item, PetscInt n, PetscInt k)
{
  const RandomStream stream = random_stream(o->seed, RANDOM_SIMULATE, DRAW_CHOICE + what, 0, (uint32_t)item);
  return (PetscInt)random_permuted(&stream, (uint64_t)n, (uint64_t)k);
}

/* A strength that is neither tiny nor huge. */
static double magnitude(CountDraw *draw) { return 0.6 + 0.8 * count_draw_uniform(draw); }
static double sign(CountDraw *draw) { return count_draw_uniform(draw) < 0.5 ? -1 : 1; }

static void draw_expression(SimulatedScreen *s)
{
  const SimulateOptions *o = &s->options;
  CountDraw              draw;

  count_draw_begin(o->seed, DRAW_BASE, 0, &draw);
  for (PetscInt g = 0; g < o->genes; g++) s->base[g] = base_spread * count_draw_normal(&draw);
  for (PetscInt c = 0; c < o->cell_types; c++) {
    count_draw_begin(o->seed, DRAW_CELL_TYPE, (uint64_t)c, &draw);
    for (PetscInt g = 0; g < o->genes; g++) {
      const double effect = marker_spread * count_draw_normal(&draw);
      s->cell_type[c * o->genes + g] = count_draw_uniform(&draw) < marker_share ? effect : 0;
    }
  }
  for (PetscInt b = 0; b < o->batches; b++) {
    count_draw_begin(o->seed, DRAW_BATCH, (uint64_t)b, &draw);
    for (PetscInt g = 0; g < o->genes; g++) s->batch[b * o->genes + g] = o->batch_effect * count_draw_normal(&draw);
    count_draw_begin(o->seed, DRAW_STRENGTH, (uint64_t)b, &draw);
    s->batch_strength[b] = exp(o->batch_effect * count_draw_normal(&draw));
  }
}

static void draw_response(SimulatedScreen *s)
{
  const SimulateOptions *o = &s->options;
  const PetscInt         active = o->perturbations - (PetscInt)floor(o->without_effect * o->perturbations + 0.5);
  const PetscInt         loads = PetscMin(2, o->programs);
  const PetscInt         respond = PetscMin(o->cell_types, PetscMax(1, (PetscInt)floor(o->responders * o->cell_types + 0.5)));
  const PetscInt         opposed = PetscMin(respond, (PetscInt)floor(o->opposed * respond + 0.5));
  CountDraw              draw;

  /* A perturbation works through two programs, with its own strength and direction in each; those without effect are the last ones. */
  for (PetscInt p = 1; p <= active; p++) {
    count_draw_begin(o->seed, DRAW_LOADING, (uint64_t)p, &draw);
    for (PetscInt j = 0; j < loads; j++) {
      const double direction = sign(&draw);
      s->loading[p * o->programs + chosen(o, DRAW_LOADING, p, o->programs, j)] = direction * magnitude(&draw);
    }
  }
  for (PetscInt k = 0; k < o->programs; k++) {
    count_draw_begin(o->seed, DRAW_RESPONSIVENESS, (uint64_t)k, &draw);
    for (PetscInt j = 0; j < respond; j++) {
      const PetscInt c = chosen(o, DRAW_RESPONSIVENESS, k, o->cell_types, j);
      s->responsiveness[c * o->programs + k] = (j < opposed ? -1 : 1) * magnitude(&draw);
    }
    count_draw_begin(o->seed, DRAW_PROGRAM, (uint64_t)k, &draw);
    for (PetscInt j = 0; j < o->effect_genes; j++) {
      const double direction = sign(&draw);
      s->program[k * o->genes + chosen(o, DRAW_PROGRAM, k, o->genes, j)] = direction * o->effect_size * magnitude(&draw);
    }
  }
}

PetscErrorCode simulated_screen_create(const SimulateOptions *options, SimulatedScreen *s)
{
  const SimulateOptions *o = options;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(s, sizeof *s));
  s->options = *options;
  s->populations = (o->perturbations + 1) * o->cell_types * o->batches;
  PetscCall(check_sizes(o, s->populations));
  PetscCall(PetscCalloc4(o->genes, &s->base, o->cell_types * o->genes, &s->cell_type, o->batches * o->genes, &s->batch, o->batches, &s->batch_strength));
  PetscCall(
      PetscCalloc3((o->perturbations + 1) * o->programs, &s->loading, o->cell_types * o->programs, &s->responsiveness, o->programs * o->genes, &s->program));
  draw_expression(s);
  draw_response(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode simulated_screen_destroy(SimulatedScreen *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(s->base, s->cell_type, s->batch, s->batch_strength));
  PetscCall(PetscFree3(s->loading, s->responsiveness, s->program));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First cell of a population: floor(cells population / populations), free of overflow. */
static PetscInt64 first_cell(const SimulatedScreen *s, PetscInt population)
{
  const PetscInt64 each = s->options.cells / s->populations, rest = s->options.cells % s->populations;
  return each * population + rest * population / s->populations;
}

PetscInt simulated_screen_population(const SimulatedScreen *s, PetscInt64 cell)
{
  PetscInt low = 0, high = s->populations;

  while (high - low > 1) {
    const PetscInt middle = low + (high - low) / 2;
    if (first_cell(s, middle) <= cell)
      low = middle;
    else
      high = middle;
  }
  return low;
}

void simulated_screen_share(const SimulatedScreen *s, PetscInt population, double *share)
{
  const SimulateOptions *o = &s->options;
  const PetscInt         b = population % o->batches, c = population / o->batches % o->cell_types, p = population / (o->batches * o->cell_types);
  double                 total = 0;

  for (PetscInt g = 0; g < o->genes; g++) share[g] = s->base[g] + s->cell_type[c * o->genes + g] + s->batch[b * o->genes + g];
  for (PetscInt k = 0; k < o->programs; k++) {
    const double weight = s->batch_strength[b] * s->loading[p * o->programs + k] * s->responsiveness[c * o->programs + k];
    for (PetscInt g = 0; weight != 0 && g < o->genes; g++) share[g] += weight * s->program[k * o->genes + g];
  }
  for (PetscInt g = 0; g < o->genes; g++) total += share[g] = exp(share[g]);
  for (PetscInt g = 0; g < o->genes; g++) share[g] /= total;
}

PetscErrorCode simulated_screen_cells(const SimulatedScreen *s, PetscInt64 first, PetscInt64 count, SparseRows *rows)
{
  const SimulateOptions *o = &s->options;
  PetscInt               current = -1;
  double                *share;
  int64_t                entries = 0;

  PetscFunctionBeginUser;
  *rows = (SparseRows){.rows = count, .columns = o->genes};
  PetscCall(PetscMalloc1(count + 1, &rows->offset));
  PetscCall(sparserows_allocate(count * o->genes, PETSC_FALSE, rows));
  PetscCall(PetscMalloc1(o->genes, &share));
  rows->offset[0] = 0;
  for (PetscInt64 i = 0; i < count; i++) {
    const PetscInt population = simulated_screen_population(s, first + i);
    CountDraw      draw;

    if (population != current) simulated_screen_share(s, population, share);
    current = population;
    count_draw_begin(o->seed, DRAW_CELL, (uint64_t)(first + i), &draw);
    const double library = o->library_size * exp(library_spread * count_draw_normal(&draw));
    for (PetscInt g = 0; g < o->genes; g++) {
      const double value = count_draw_negative_binomial(&draw, library * share[g], o->dispersion);
      if (value <= 0) continue;
      rows->column[entries] = (int32_t)g;
      rows->value[entries++] = (float)value;
    }
    rows->offset[i + 1] = entries;
  }
  PetscCall(PetscFree(share));
  PetscFunctionReturn(PETSC_SUCCESS);
}
