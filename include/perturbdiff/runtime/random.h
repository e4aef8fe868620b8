/* Counter-based random numbers (Philox4x32-10 of Random123), keyed by what they are for, never by rank. */
#ifndef PERTURBDIFF_RUNTIME_RANDOM_H
#define PERTURBDIFF_RUNTIME_RANDOM_H

#include <perturbdiff/runtime/real.h>
#include <petscsys.h>
#include <stdint.h>

/* What a stream is for; part of the key, so that no two purposes share numbers. Append only: stored runs depend on it. */
typedef enum {
  RANDOM_PARAMETERS = 1, /* starting weights */
  RANDOM_EPOCH,          /* order of cell sets */
  RANDOM_CELLS,          /* cells of a population */
  RANDOM_FILL,           /* filling up the last set */
  RANDOM_CONTROLS,       /* paired control cells */
  RANDOM_STEP_TIME,      /* diffusion step of a set */
  RANDOM_STEP_NOISE,     /* training noise */
  RANDOM_DROPOUT,        /* condition, control and self-condition coins */
  RANDOM_SAMPLE_START,   /* first state of the reverse process */
  RANDOM_SAMPLE_NOISE,   /* noise of a reverse step */
  RANDOM_SPLIT,          /* random split of populations */
  RANDOM_SIMULATE,       /* simulated data */
  RANDOM_EVALUATE,       /* halves, bootstrap, subsamples */
  RANDOM_VALIDATE,       /* validation sets and their noise */
  RANDOM_TEST,
  RANDOM_EMBED, /* landmarks, cells sampled for bandwidths, permutations */
  RANDOM_RESAMPLE, /* permutations of labels, bootstrap, folds, questions */
  RANDOM_SAMPLE_WHOLE /* which values below one count become one */
} RandomPurpose;

/* A stream of numbers indexed by i = 0, 1, ...: value i depends on (seed, purpose, step, set, cell, i) and nothing else. */
typedef struct {
  uint32_t key[2];
  uint32_t counter[3]; /* cell, set, step; the fourth counter word is i / 4 */
} RandomStream;

RandomStream random_stream(uint64_t seed, RandomPurpose purpose, uint32_t step, uint32_t set, uint32_t cell);

/* Not collective, thread-safe, no errors. Uniforms lie in (0,1); normals by Box-Muller on the pair (2j, 2j+1). */
uint32_t random_word(const RandomStream *stream, uint32_t i);
double   random_uniform(const RandomStream *stream, uint32_t i);
double   random_normal(const RandomStream *stream, uint32_t i);
/* Whole number in [0, n), n < 2^63, unbiased to 2^-53. Uses words 2i and 2i+1. */
uint64_t random_below(const RandomStream *stream, uint32_t i, uint64_t n);
/* Image of i under a random permutation of 0..n-1 (keyed Feistel network with cycle walking: O(1) memory). The values at
   i = 0..k-1 are k draws without replacement. */
uint64_t random_permuted(const RandomStream *stream, uint64_t n, uint64_t i);
/* preimage[k], k < count <= n: the number whose image under that permutation is k. */
void random_preimages(const RandomStream *stream, uint64_t n, uint64_t count, uint64_t *preimage);
/* out[j] = value i = first + j of the stream; vectorised form of random_normal / random_uniform, equal to 1e-6 in float. */
void random_normals(const RandomStream *stream, uint32_t first, size_t n, Real *out);
void random_uniforms(const RandomStream *stream, uint32_t first, size_t n, Real *out);

#endif
