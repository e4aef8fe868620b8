/* Models against the best baseline: bootstrap over perturbations and paired tests. */
#include <math.h>
#include <perturbdiff/evaluation/comparison.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>
#include <perturbdiff/runtime/sort.h>

/* Steps of the stream below this are those of single populations. */
enum { STEP_BOOTSTRAP = 16 };

/* of_group[k] = mean over the model's repeats. */
static PetscErrorCode model_means(const ComparedScores *s, PetscInt model, double *of_group, ComparedModel *result)
{
  double *one, *of_repeat, ignored;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(s->rows, &one, s->rows, &of_repeat));
  result->repeats = result->groups = 0;
  for (PetscInt r = 0; r < s->rows; r++)
    if (s->model[r] == model) mean_and_deviation(s->groups, s->value + (size_t)r * (size_t)s->groups, &of_repeat[result->repeats++], &ignored);
  mean_and_deviation(result->repeats, of_repeat, &ignored, &result->over_repeats);
  for (PetscInt k = 0; k < s->groups; k++) {
    PetscInt count = 0;
    for (PetscInt r = 0; r < s->rows; r++)
      if (s->model[r] == model) one[count++] = s->value[(size_t)r * (size_t)s->groups + (size_t)k];
    mean_and_deviation(count, one, &of_group[k], &ignored);
    result->groups += !isnan(of_group[k]);
  }
  mean_and_deviation(s->groups, of_group, &result->mean, &ignored);
  PetscCall(PetscFree2(one, of_repeat));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Units of resample b are drawn with replacement: the u-th of them. */
static RandomStream stream_of_resample(uint64_t seed, PetscInt b) { return random_stream(seed, RANDOM_RESAMPLE, STEP_BOOTSTRAP, 0, (uint32_t)b); }

static int32_t draw_unit(PetscInt units, const RandomStream *stream, PetscInt u) { return (int32_t)random_below(stream, (uint32_t)u, (uint64_t)units); }

PetscErrorCode comparison_draws(PetscInt units, PetscInt resamples, uint64_t seed, int32_t **drawn)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)resamples * (size_t)units, drawn));
#pragma omp parallel for schedule(static)
  for (PetscInt b = 0; b < resamples; b++) {
    const RandomStream stream = stream_of_resample(seed, b);
    for (PetscInt u = 0; u < units; u++) (*drawn)[(size_t)b * (size_t)units + (size_t)u] = draw_unit(units, &stream, u);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Percentile interval of the mean over groups when units are drawn anew. sum, count (units): of the groups of a unit that have a value. */
static PetscErrorCode bootstrap_interval(const ComparedScores *s, const double *sum, const double *count, PetscInt resamples, uint64_t seed, double interval[2])
{
  double  *mean;
  PetscInt used = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(resamples, &mean));
#pragma omp parallel for schedule(static)
  for (PetscInt b = 0; b < resamples; b++) {
    const RandomStream stream = stream_of_resample(seed, b);
    double             total = 0, cells = 0;

    for (PetscInt u = 0; u < s->units; u++) {
      const int32_t drawn = s->drawn ? s->drawn[(size_t)b * (size_t)s->units + (size_t)u] : draw_unit(s->units, &stream, u);
      total += sum[drawn];
      cells += count[drawn];
    }
    mean[b] = cells > 0 ? total / cells : NAN;
  }
  for (PetscInt b = 0; b < resamples; b++)
    if (!isnan(mean[b])) mean[used++] = mean[b];
  sort_doubles(used, mean);
  interval[0] = quantile_of_sorted(used, mean, 0.025);
  interval[1] = quantile_of_sorted(used, mean, 0.975);
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void sums_of_units(const ComparedScores *s, const double *of_group, const double *minus, double *sum, double *count)
{
  for (PetscInt u = 0; u < s->units; u++) sum[u] = count[u] = 0;
  for (PetscInt k = 0; k < s->groups; k++) {
    const double value = of_group[k] - (minus ? minus[k] : 0);
    if (isnan(value)) continue;
    sum[s->unit[k]] += value;
    count[s->unit[k]]++;
  }
}

PetscErrorCode compare_models(const ComparedScores *s, PetscInt resamples, uint64_t seed, ComparedModel *result)
{
  double  *of_group, *sum, *count, *p;
  PetscInt best = -1;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4((size_t)s->models * (size_t)s->groups, &of_group, s->units, &sum, s->units, &count, s->models, &p));
  for (PetscInt m = 0; m < s->models; m++) {
    PetscCall(model_means(s, m, of_group + (size_t)m * (size_t)s->groups, &result[m]));
    if (s->baseline[m] && !isnan(result[m].mean) && (best < 0 || s->direction * result[m].mean > s->direction * result[best].mean)) best = m;
  }
  for (PetscInt m = 0; m < s->models; m++) {
    ComparedModel *r = &result[m];
    const double  *own = of_group + (size_t)m * (size_t)s->groups;
    double         total = 0, pairs = 0, statistic;

    sums_of_units(s, own, NULL, sum, count);
    PetscCall(bootstrap_interval(s, sum, count, resamples, seed, r->interval));
    r->best = best;
    r->difference = r->difference_interval[0] = r->difference_interval[1] = r->p_value = p[m] = NAN;
    if (best < 0 || !s->tested[m]) continue;
    sums_of_units(s, own, of_group + (size_t)best * (size_t)s->groups, sum, count);
    PetscCall(bootstrap_interval(s, sum, count, resamples, seed, r->difference_interval));
    for (PetscInt u = 0; u < s->units; u++) {
      total += sum[u];
      pairs += count[u];
      sum[u] /= count[u]; /* NaN without groups */
    }
    r->difference = pairs > 0 ? total / pairs : NAN;
    PetscCall(signed_rank_test(s->units, sum, &statistic, &r->p_value));
    p[m] = r->p_value;
  }
  PetscCall(holm_adjust(s->models, p, p));
  for (PetscInt m = 0; m < s->models; m++) result[m].adjusted = p[m];
  PetscCall(PetscFree4(of_group, sum, count, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}
