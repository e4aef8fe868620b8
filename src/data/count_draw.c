/* Gamma, Poisson and negative-binomial draws from counter streams. */
#include "data/count_draw.h"
#include <math.h>

void count_draw_begin(uint64_t seed, uint32_t step, uint64_t cell, CountDraw *draw)
{
  draw->uniform_stream = random_stream(seed, RANDOM_SIMULATE, 2 * step, (uint32_t)(cell >> 32), (uint32_t)cell);
  draw->normal_stream = random_stream(seed, RANDOM_SIMULATE, 2 * step + 1, (uint32_t)(cell >> 32), (uint32_t)cell);
  draw->uniforms_made = draw->normals_made = 0;
  draw->uniforms_left = draw->normals_left = 0;
}

double count_draw_uniform(CountDraw *draw)
{
  if (!draw->uniforms_left) {
    random_uniforms(&draw->uniform_stream, draw->uniforms_made, COUNT_DRAW_BUFFER, draw->uniform);
    draw->uniforms_made += COUNT_DRAW_BUFFER;
    draw->uniforms_left = COUNT_DRAW_BUFFER;
  }
  return (double)draw->uniform[COUNT_DRAW_BUFFER - draw->uniforms_left--];
}

double count_draw_normal(CountDraw *draw)
{
  if (!draw->normals_left) {
    random_normals(&draw->normal_stream, draw->normals_made, COUNT_DRAW_BUFFER, draw->normal);
    draw->normals_made += COUNT_DRAW_BUFFER;
    draw->normals_left = COUNT_DRAW_BUFFER;
  }
  return (double)draw->normal[COUNT_DRAW_BUFFER - draw->normals_left--];
}

double count_draw_gamma(CountDraw *draw, double shape)
{
  /* Shapes below one: Gamma(a) = Gamma(a + 1) U^(1/a). */
  const double boost = shape < 1 ? pow(count_draw_uniform(draw), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1. / 3, c = 1 / sqrt(9 * d);

  for (;;) {
    const double x = count_draw_normal(draw), root = 1 + c * x;
    if (root <= 0) continue;
    const double u = count_draw_uniform(draw), v = root * root * root, x2 = x * x;
    if (u < 1 - 0.0331 * x2 * x2 || log(u) < 0.5 * x2 + d * (1 - v + log(v))) return boost * d * v;
  }
}

static double poisson_inversion(CountDraw *draw, double mean)
{
  double u = count_draw_uniform(draw), probability = exp(-mean), k = 0;

  /* The bound ends the search where rounding leaves u above the sum of all probabilities. */
  while (u > probability && k < 100) {
    u -= probability;
    probability *= mean / ++k;
  }
  return k;
}

static double poisson_transformed_rejection(CountDraw *draw, double mean)
{
  const double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b, inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);

  for (;;) {
    const double u = count_draw_uniform(draw) - 0.5, v = count_draw_uniform(draw), us = 0.5 - fabs(u);
    const double k = floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (log(v * inverse_alpha / (a / (us * us) + b)) <= k * log(mean) - mean - lgamma(k + 1)) return k;
  }
}

double count_draw_poisson(CountDraw *draw, double mean)
{
  if (mean <= 0) return 0;
  return mean < 10 ? poisson_inversion(draw, mean) : poisson_transformed_rejection(draw, mean);
}

double count_draw_negative_binomial(CountDraw *draw, double mean, double dispersion)
{
  if (dispersion > 0) mean *= dispersion * count_draw_gamma(draw, 1 / dispersion);
  return count_draw_poisson(draw, mean);
}
