/* Distances between the distributions of real and predicted cells, with permutation tests that re-sum one matrix. */
#include <math.h>
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>
#include <perturbdiff/runtime/sort.h>
#include <petscblaslapack.h>

const char *const distribution_score_name[DISTRIBUTION_SCORES] = {
    "energy_distance", "energy_p",        "mmd_squared",      "mmd_p",          "wasserstein",         "wasserstein_p",    "correlation_difference",
    "zeros_real",      "zeros_predicted", "zeros_difference", "variance_ratio", "classifier_accuracy", "classifier_auroc", "classifier_p"};
const int distribution_score_direction[DISTRIBUTION_SCORES] = {-1, 0, -1, 0, -1, 0, -1, 0, 0, -1, 0, -1, -1, 0};

/* What the random numbers of a population are for: `step` of the stream. */
enum { STEP_LABELS, STEP_REAL_CELLS, STEP_PREDICTED_CELLS, STEP_REAL_FOLDS, STEP_PREDICTED_FOLDS };
/* Permutations summed at a time. */
enum { LABELINGS = 256 };

/* The cells of both populations in one array, real first. */
typedef struct {
  const DistributionOptions *options;
  uint32_t                   key;
  PetscInt                   n, m, cells, genes;
  double                    *x;        /* (cells, genes) */
  double                    *distance; /* (cells, cells) squared */
  Labels                     labels;
} Pooled;

uint32_t distribution_key(const char *name)
{
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
  return hash;
}

static void draw_rows(const Pooled *p, uint32_t step, PetscInt64 count, const double *rows, PetscInt drawn, double *to)
{
  const RandomStream stream = random_stream(p->options->seed, RANDOM_RESAMPLE, step, p->key, 0);

  for (PetscInt i = 0; i < drawn; i++) {
    const PetscInt64 row = drawn < count ? (PetscInt64)random_permuted(&stream, (uint64_t)count, (uint64_t)i) : i;
    for (PetscInt g = 0; g < p->genes; g++) to[(size_t)i * (size_t)p->genes + (size_t)g] = rows[(size_t)row * (size_t)p->genes + (size_t)g];
  }
}

/* Squared distances by |x|^2 + |y|^2 - 2 x.y about the common mean, where it loses few digits. x is centred. */
static PetscErrorCode squared_distances(Pooled *p)
{
  const size_t       cells = (size_t)p->cells, genes = (size_t)p->genes;
  const PetscBLASInt order = (PetscBLASInt)p->cells, inner = (PetscBLASInt)p->genes;
  const double       one = 1, zero = 0;
  double            *mean, *square;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(genes, &mean, cells, &square));
  for (size_t i = 0; i < cells; i++)
    for (size_t g = 0; g < genes; g++) mean[g] += p->x[i * genes + g] / (double)cells;
  for (size_t i = 0; i < cells; i++)
    for (size_t g = 0; g < genes; g++) p->x[i * genes + g] -= mean[g];
  PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "T", &order, &inner, &one, p->x, &inner, &zero, p->distance, &order));
  for (size_t i = 0; i < cells; i++) square[i] = p->distance[i * cells + i];
  for (size_t i = 0; i < cells; i++) {
    p->distance[i * cells + i] = 0;
    for (size_t j = i + 1; j < cells; j++)
      p->distance[j * cells + i] = p->distance[i * cells + j] = PetscMax(0, square[i] + square[j] - 2 * p->distance[i * cells + j]);
  }
  PetscCall(PetscFree2(mean, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double median(PetscInt n, double *x)
{
  sort_doubles(n, x);
  return quantile_of_sorted(n, x, 0.5);
}

/* Real cells whose pairs give the median distance: 180,000 pairs fix it to three digits. */
enum { MEDIAN_CELLS = 600 };

/* kernel: scratch (cells, cells). */
static PetscErrorCode distance_tests(const Pooled *p, double *kernel, DistributionScores *s)
{
  const size_t   cells = (size_t)p->cells;
  const PetscInt few = PetscMin(p->n, MEDIAN_CELLS);
  PetscInt       pairs = 0;

  PetscFunctionBeginUser;
  /* Rows of drawn cells come in random order; those of whole populations may be sorted, so spread over them. */
  for (PetscInt i = 0; i < few; i++)
    for (PetscInt j = 0; j < i; j++) kernel[pairs++] = sqrt(p->distance[(size_t)((PetscInt64)i * p->n / few) * cells + (size_t)((PetscInt64)j * p->n / few)]);
  const double bandwidth = pairs ? median(pairs, kernel) : 0, square = bandwidth * bandwidth;
  for (size_t i = 0; i < cells * cells; i++) kernel[i] = sqrt(p->distance[i]);
  PetscCall(permutation_quadratic(&p->labels, kernel, -1, &s->energy_distance, &s->energy_p));
  s->mmd_squared = s->mmd_p = NAN;
  if (!(square > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t i = 0; i < cells * cells; i++) {
    /* exp(-d^2 / (2 h^2)) for h = 4, 2, 1, 1/2, 1/4 medians: each the fourth power of the one before. */
    double value = exp(-p->distance[i] / (32 * square)), sum = 0;
    for (int h = 0; h < 5; h++) {
      sum += value;
      value *= value;
      value *= value;
    }
    kernel[i] = sum / 5;
  }
  PetscCall(permutation_quadratic(&p->labels, kernel, 1, &s->mmd_squared, &s->mmd_p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- genes ----------------------------------------------------------------------------------------------------------------------- */

/* distance (labellings): the integral of |F - G| of one gene under each labelling is added. weight (cells, labellings). Zeros come first: below the least value
   above zero the difference of the distribution functions is minus the weight of all others. */
static void add_wasserstein(PetscInt entries, const Ranked *sorted, PetscInt labellings, const double *weight, double *difference, double *distance)
{
  for (PetscInt b = 0; b < labellings; b++) difference[b] = 0;
  for (PetscInt e = 0; e < entries; e++) {
    const double *w = weight + (size_t)sorted[e].index * (size_t)labellings;
    for (PetscInt b = 0; b < labellings; b++) difference[b] -= w[b];
  }
  for (PetscInt e = 0; e < entries; e++) {
    const double *w = weight + (size_t)sorted[e].index * (size_t)labellings;
    const double  step = sorted[e].value - (e ? sorted[e - 1].value : 0);
    if (step > 0)
      for (PetscInt b = 0; b < labellings; b++) distance[b] += step * fabs(difference[b]);
    for (PetscInt b = 0; b < labellings; b++) difference[b] += w[b];
  }
}

static double variance_of(PetscInt n, const double *x, PetscInt stride)
{
  double   mean = 0, sum = 0;
  PetscInt same = 0;

  if (n < 2) return NAN;
  for (PetscInt i = 0; i < n; i++) {
    mean += x[(size_t)i * (size_t)stride] / n;
    same += x[(size_t)i * (size_t)stride] == x[0];
  }
  if (same == n) return 0; /* not what rounding leaves */
  for (PetscInt i = 0; i < n; i++) sum += (x[(size_t)i * (size_t)stride] - mean) * (x[(size_t)i * (size_t)stride] - mean);
  return sum / (n - 1);
}

/* Marginals of all genes, and the sum of their Wasserstein distances under each labelling. */
static PetscErrorCode gene_marginals(const Pooled *p, GeneMarginals *marginals, double *total)
{
  const PetscInt all = p->options->permutations + 1;
  Ranked        *sorted;
  double        *weight, *difference, *distance;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(p->cells, &sorted, (size_t)p->cells * LABELINGS, &weight, LABELINGS, &difference, LABELINGS, &distance));
  PetscCall(PetscArrayzero(total, all));
  for (PetscInt first = 0; first < all; first += LABELINGS) {
    const PetscInt count = PetscMin(LABELINGS, all - first);

    for (PetscInt b = 0; b < count; b++) PetscCall(labels_weights(&p->labels, first + b, count, weight + b));
    for (PetscInt g = 0; g < p->genes; g++) {
      PetscInt entries = 0, real = 0;

      for (PetscInt i = 0; i < p->cells; i++) {
        const double value = p->x[(size_t)i * (size_t)p->genes + (size_t)g];
        if (value == 0) continue;
        sorted[entries++] = (Ranked){value, i};
        real += i < p->n;
      }
      sort_smallest_first(entries, sorted);
      PetscCall(PetscArrayzero(distance, count));
      add_wasserstein(entries, sorted, count, weight, difference, distance);
      for (PetscInt b = 0; b < count; b++) total[first + b] += distance[b];
      if (first) continue;
      marginals[g] = (GeneMarginals){.wasserstein = distance[0],
                                     .zeros_real = 1 - (double)real / p->n,
                                     .zeros_predicted = 1 - (double)(entries - real) / p->m,
                                     .variance_real = variance_of(p->n, p->x + g, p->genes),
                                     .variance_predicted = variance_of(p->m, p->x + (size_t)p->n * (size_t)p->genes + g, p->genes)};
    }
  }
  PetscCall(PetscFree4(sorted, weight, difference, distance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode marginal_scores(const Pooled *p, GeneMarginals *marginals, DistributionScores *s)
{
  double  *total, *ratio;
  PetscInt varying = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(p->options->permutations + 1, &total, p->genes, &ratio));
  PetscCall(gene_marginals(p, marginals, total));
  s->wasserstein = total[0] / p->genes;
  s->wasserstein_p = permutation_p(p->options->permutations, total, total[0]);
  s->zeros_real = s->zeros_predicted = s->zeros_difference = 0;
  for (PetscInt g = 0; g < p->genes; g++) {
    const GeneMarginals *m = &marginals[g];
    s->zeros_real += m->zeros_real / p->genes;
    s->zeros_predicted += m->zeros_predicted / p->genes;
    s->zeros_difference += fabs(m->zeros_real - m->zeros_predicted) / p->genes;
    if (m->variance_real > 0 && p->m > 1) ratio[varying++] = m->variance_predicted / m->variance_real;
  }
  s->variance_ratio = median(varying, ratio);
  PetscCall(PetscFree2(total, ratio));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* correlation (count, count), upper triangle by rows; columns that do not vary are correlated with none. */
static PetscErrorCode correlations(PetscInt cells, PetscInt genes, const double *x, PetscInt count, const PetscInt *gene, double *unit, double *correlation)
{
  const PetscBLASInt order = (PetscBLASInt)count, inner = (PetscBLASInt)cells;
  const double       one = 1, zero = 0;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < count; c++) {
    double mean = 0, square = 0, size = 0;
    for (PetscInt i = 0; i < cells; i++) mean += x[(size_t)i * (size_t)genes + (size_t)gene[c]] / cells;
    for (PetscInt i = 0; i < cells; i++) {
      const double value = x[(size_t)i * (size_t)genes + (size_t)gene[c]];
      unit[(size_t)c * (size_t)cells + (size_t)i] = value - mean;
      square += (value - mean) * (value - mean);
      size += value * value;
    }
    /* What is left of a constant by rounding is not variance. */
    const double factor = square > 1e-24 * size ? 1 / sqrt(square) : 0;
    for (PetscInt i = 0; i < cells; i++) unit[(size_t)c * (size_t)cells + (size_t)i] *= factor;
  }
  PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "T", &order, &inner, &one, unit, &inner, &zero, correlation, &order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode correlation_difference(const Pooled *p, const GeneMarginals *marginals, double *difference)
{
  Ranked  *order;
  PetscInt count = 0, *gene;
  double  *unit, *real, *predicted, sum = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(p->genes, &order, p->genes, &gene));
  for (PetscInt g = 0; g < p->genes; g++)
    if (marginals[g].variance_real > 0) order[count++] = (Ranked){marginals[g].variance_real, g};
  sort_largest_first(count, order);
  count = PetscMin(count, CORRELATION_GENES);
  for (PetscInt c = 0; c < count; c++) gene[c] = order[c].index;
  *difference = NAN;
  if (count > 1 && p->m > 1) {
    PetscCall(
        PetscMalloc3((size_t)count * (size_t)PetscMax(p->n, p->m), &unit, (size_t)count * (size_t)count, &real, (size_t)count * (size_t)count, &predicted));
    PetscCall(correlations(p->n, p->genes, p->x, count, gene, unit, real));
    PetscCall(correlations(p->m, p->genes, p->x + (size_t)p->n * (size_t)p->genes, count, gene, unit, predicted));
    for (size_t c = 0; c < (size_t)count; c++)
      for (size_t d = c + 1; d < (size_t)count; d++)
        sum += (real[c * (size_t)count + d] - predicted[c * (size_t)count + d]) * (real[c * (size_t)count + d] - predicted[c * (size_t)count + d]);
    *difference = sqrt(2 * sum / ((double)count * (double)(count - 1)));
    PetscCall(PetscFree3(unit, real, predicted));
  }
  PetscCall(PetscFree2(order, gene));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- classifier ------------------------------------------------------------------------------------------------------------------ */

static PetscErrorCode classifier_test(const Pooled *p, DistributionScores *s)
{
  const PetscInt each = PetscMin(PetscMin(p->n, p->m), CLASSIFIER_CELLS), cells = 2 * each;
  PetscInt      *place, *fold, right = 0;
  unsigned char *label;
  double        *gram, *row, *decision, mean = 0;

  PetscFunctionBeginUser;
  s->classifier_accuracy = s->classifier_auroc = s->classifier_p = NAN;
  if (each < CLASSIFIER_FOLDS) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc6(cells, &place, cells, &fold, cells, &label, (size_t)cells * (size_t)cells, &gram, cells, &row, cells, &decision));
  for (int side = 0; side < 2; side++) {
    const PetscInt     count = side ? p->m : p->n;
    const RandomStream stream = random_stream(p->options->seed, RANDOM_RESAMPLE, side ? STEP_PREDICTED_FOLDS : STEP_REAL_FOLDS, p->key, 0);
    for (PetscInt i = 0; i < each; i++) {
      place[side * each + i] = (side ? p->n : 0) + (PetscInt)random_permuted(&stream, (uint64_t)count, (uint64_t)i);
      fold[side * each + i] = i % CLASSIFIER_FOLDS;
      label[side * each + i] = (unsigned char)!side;
    }
  }
  /* Inner products about the mean of these cells, by double centring (Torgerson 1952). */
  for (PetscInt i = 0; i < cells; i++) {
    row[i] = 0;
    for (PetscInt j = 0; j < cells; j++) row[i] += p->distance[(size_t)place[i] * (size_t)p->cells + (size_t)place[j]] / cells;
    mean += row[i] / cells;
  }
  for (PetscInt i = 0; i < cells; i++)
    for (PetscInt j = 0; j < cells; j++)
      gram[(size_t)i * (size_t)cells + (size_t)j] = 0.5 * (row[i] + row[j] - mean - p->distance[(size_t)place[i] * (size_t)p->cells + (size_t)place[j]]);
  PetscCall(logistic_decisions(cells, gram, label, CLASSIFIER_FOLDS, fold, decision));
  for (PetscInt i = 0; i < cells; i++) right += (decision[i] > 0) == label[i];
  s->classifier_accuracy = (double)right / cells;
  s->classifier_p = 0.5 * erfc((s->classifier_accuracy - 0.5) * sqrt(2. * cells));
  PetscCall(ranking_areas(cells, decision, label, &s->classifier_auroc, NULL));
  PetscCall(PetscFree6(place, fold, label, gram, row, decision));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distribution_scores(const DistributionOptions *options, uint32_t key, PetscInt64 n, const double *real, PetscInt64 m, const double *predicted,
                                   PetscInt genes, DistributionScores *scores, GeneMarginals *marginals)
{
  Pooled         p = {.options = options, .key = key, .genes = genes};
  GeneMarginals *own = NULL;
  double        *kernel;

  PetscFunctionBeginUser;
  PetscCheck(n > 0 && m > 0 && genes > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Distribution of an empty population");
  p.n = (PetscInt)PetscMin(n, options->cells);
  p.m = (PetscInt)PetscMin(m, options->cells);
  p.cells = p.n + p.m;
  const PetscInt64 treated = p.n, pooled = p.cells;
  p.labels = (Labels){options->permutations, 1, &treated, &pooled, options->seed, RANDOM_RESAMPLE, STEP_LABELS, key};
  if (!marginals) {
    PetscCall(PetscMalloc1(genes, &own));
    marginals = own;
  }
  PetscCall(PetscMalloc1((size_t)p.cells * (size_t)genes, &p.x));
  draw_rows(&p, STEP_REAL_CELLS, n, real, p.n, p.x);
  draw_rows(&p, STEP_PREDICTED_CELLS, m, predicted, p.m, p.x + (size_t)p.n * (size_t)genes);
  PetscCall(marginal_scores(&p, marginals, scores));
  PetscCall(correlation_difference(&p, marginals, &scores->correlation_difference));
  PetscCall(PetscMalloc1((size_t)p.cells * (size_t)p.cells, &p.distance));
  PetscCall(squared_distances(&p));
  PetscCall(PetscFree(p.x));
  PetscCall(PetscMalloc1((size_t)p.cells * (size_t)p.cells, &kernel));
  PetscCall(distance_tests(&p, kernel, scores));
  PetscCall(PetscFree(kernel));
  PetscCall(classifier_test(&p, scores));
  PetscCall(PetscFree(p.distance));
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}
