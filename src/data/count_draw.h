/* Gamma, Poisson and negative-binomial draws that walk along a counter stream. */
#ifndef DATA_COUNT_DRAW_H
#define DATA_COUNT_DRAW_H

#include <perturbdiff/runtime/random.h>

enum { COUNT_DRAW_BUFFER = 256 };

/* Uniforms and normals of one cell, taken in order from two streams and made in batches. */
typedef struct {
  RandomStream uniform_stream, normal_stream;
  uint32_t     uniforms_made, normals_made;
  int          uniforms_left, normals_left;
  Real         uniform[COUNT_DRAW_BUFFER], normal[COUNT_DRAW_BUFFER];
} CountDraw;

/* The draws of a cell depend on (seed, step, cell) alone; steps 2k and 2k+1 of the purpose RANDOM_SIMULATE are used for step = k. */
void count_draw_begin(uint64_t seed, uint32_t step, uint64_t cell, CountDraw *draw);

double count_draw_uniform(CountDraw *draw);
double count_draw_normal(CountDraw *draw);

/* Gamma of the given shape > 0 and scale 1. Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000). */
double count_draw_gamma(CountDraw *draw, double shape);

/* Poisson of the given mean >= 0: inversion below 10, else PTRS of Hormann, "The transformed rejection method for generating Poisson random
   variables", Insurance: Mathematics and Economics 12 (1993). */
double count_draw_poisson(CountDraw *draw, double mean);

/* Negative binomial of mean mu and variance mu + dispersion mu^2: a Poisson draw with a Gamma mean; dispersion 0 is Poisson. */
double count_draw_negative_binomial(CountDraw *draw, double mean, double dispersion);

#endif
