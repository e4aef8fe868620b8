/* Philox4x32-10 streams: single values in double, bulk values by loops that the compiler vectorises.
   Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11. */
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/random.h>
#include <Random123/philox.h>
#include <math.h>
#include <string.h>

#define TWO_PI 6.283185307179586476925286766559

RandomStream random_stream(uint64_t seed, RandomPurpose purpose, uint32_t step, uint32_t set, uint32_t cell)
{
  /* The odd constant is a bijection of the purpose: seeds below 2^32 never meet another purpose's stream. */
  const RandomStream stream = {
      .key = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ (uint32_t)purpose * UINT32_C(0x9E3779B9)},
      .counter = {cell, set, step},
  };
  return stream;
}

static philox4x32_ctr_t block(const RandomStream *stream, uint32_t number)
{
  const philox4x32_ctr_t counter = {{stream->counter[0], stream->counter[1], stream->counter[2], number}};
  const philox4x32_key_t key = {{stream->key[0], stream->key[1]}};
  return philox4x32(counter, key);
}

uint32_t random_word(const RandomStream *stream, uint32_t i) { return block(stream, i / 4).v[i % 4]; }

static double open_unit(uint32_t word) { return (word + 0.5) * 0x1p-32; }

double random_uniform(const RandomStream *stream, uint32_t i) { return open_unit(random_word(stream, i)); }

double random_normal(const RandomStream *stream, uint32_t i)
{
  const philox4x32_ctr_t words = block(stream, i / 4);
  const unsigned         pair = i % 4 & 2u;
  const double           radius = sqrt(-2 * log(open_unit(words.v[pair]))), angle = TWO_PI * open_unit(words.v[pair + 1]);
  return radius * (i % 2 ? sin(angle) : cos(angle));
}

uint64_t random_below(const RandomStream *stream, uint32_t i, uint64_t n)
{
  const philox4x32_ctr_t words = block(stream, i / 2);
  const unsigned         pair = 2 * (i % 2);
  const uint64_t         word = (uint64_t)words.v[pair + 1] << 32 | words.v[pair];
  return (uint64_t)((unsigned __int128)word * n >> 64);
}

/* Finaliser of MurmurHash3: every input bit reaches every output bit. */
static uint64_t mix(uint64_t h)
{
  h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
  h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
  return h ^ h >> 33;
}

typedef struct {
  unsigned low_bits;
  uint64_t low_mask, high_mask, key[8];
} Feistel;

static Feistel feistel(const RandomStream *stream, uint64_t n)
{
  const philox4x32_ctr_t a = block(stream, 0), b = block(stream, 1);
  unsigned               bits = 8;
  Feistel                f;

  while (bits < 64 && (n - 1) >> bits) bits++;
  f.low_bits = bits / 2;
  f.low_mask = (UINT64_C(1) << f.low_bits) - 1;
  f.high_mask = (UINT64_C(1) << (bits - f.low_bits)) - 1;
  for (int r = 0; r < 4; r++) {
    f.key[2 * r] = (uint64_t)a.v[r] << 32 | b.v[r];
    f.key[2 * r + 1] = (uint64_t)b.v[r] << 32 | a.v[r];
  }
  return f;
}

uint64_t random_permuted(const RandomStream *stream, uint64_t n, uint64_t i)
{
  const Feistel f = feistel(stream, n);

  do { /* walk the cycle until it comes back below n */
    uint64_t low = i & f.low_mask, high = i >> f.low_bits;
    for (int round = 0; round < 8; round += 2) {
      low ^= mix(high ^ f.key[round]) & f.low_mask;
      high ^= mix(low + f.key[round + 1]) & f.high_mask;
    }
    i = high << f.low_bits | low;
  } while (i >= n);
  return i;
}

void random_preimages(const RandomStream *stream, uint64_t n, uint64_t count, uint64_t *preimage)
{
  const Feistel f = feistel(stream, n);

  for (uint64_t k = 0; k < count; k++) {
    uint64_t i = k;
    do {
      uint64_t low = i & f.low_mask, high = i >> f.low_bits;
      for (int round = 6; round >= 0; round -= 2) {
        high ^= mix(low + f.key[round + 1]) & f.high_mask;
        low ^= mix(high ^ f.key[round]) & f.low_mask;
      }
      i = high << f.low_bits | low;
    } while (i >= n);
    preimage[k] = i;
  }
}

/* Bulk values: LANES blocks at a time, structure of arrays, so that each step is one vector loop. */
enum { LANES = 32, BATCH = 4 * LANES };

static inline __attribute__((always_inline)) void philox_lanes(const RandomStream *stream, uint32_t number, uint32_t words[4][LANES])
{
  uint32_t key0 = stream->key[0], key1 = stream->key[1];

  for (uint32_t l = 0; l < LANES; l++) {
    words[0][l] = stream->counter[0];
    words[1][l] = stream->counter[1];
    words[2][l] = stream->counter[2];
    words[3][l] = number + l;
  }
  for (int round = 0; round < 10; round++) {
    for (int l = 0; l < LANES; l++) {
      const uint64_t p = (uint64_t)words[0][l] * PHILOX_M4x32_0, q = (uint64_t)words[2][l] * PHILOX_M4x32_1;
      words[0][l] = (uint32_t)(q >> 32) ^ words[1][l] ^ key0;
      words[2][l] = (uint32_t)(p >> 32) ^ words[3][l] ^ key1;
      words[1][l] = (uint32_t)q;
      words[3][l] = (uint32_t)p;
    }
    key0 += PHILOX_W32_0;
    key1 += PHILOX_W32_1;
  }
}

#ifdef PERTURBDIFF_DOUBLE
static inline void normal_pair(uint32_t word, uint32_t angle_word, Real *even, Real *odd)
{
  const double radius = sqrt(-2 * log(open_unit(word))), angle = TWO_PI * open_unit(angle_word);
  *even = radius * cos(angle);
  *odd = radius * sin(angle);
}

static inline Real bulk_uniform(uint32_t word) { return open_unit(word); }
#else
/* -2 log((word + 1/2) / 2^32) by log(1 + f) = 2 artanh(f / (2 + f)): f is the fraction less one, or u - 1 itself above 3/4,
   where taking the fraction of u would cancel. Relative error of a few roundings. */
static inline __attribute__((always_inline)) float minus_two_log(uint32_t word)
{
  const int   close = word >= UINT32_C(0xC0000000);
  const float v = ((float)(close ? ~word : word) + 0.5f) * 0x1p-32f; /* 1 - u or u */
  union {
    float   value;
    int32_t bits;
  } fraction = {v};

  const int32_t exponent = (fraction.bits - 0x3F3504F3) >> 23; /* fraction in [sqrt(1/2), sqrt(2)) */
  fraction.bits -= exponent * (1 << 23);
  const float f = close ? -v : fraction.value - 1, e = close ? 0 : (float)exponent;
  const float s = f / (2 + f), z = s * s;
  return -2 * (e * 0.693147180559945f + 2 * s * (1 + z * (1.f / 3 + z * (1.f / 5 + z * (1.f / 7 + z * (1.f / 9))))));
}

/* cos and sin of 2 pi (word + 1/2) / 2^32: quarter turns from the upper bits, Taylor series on [-pi/4, pi/4] below 1e-8. */
static inline __attribute__((always_inline)) void normal_pair(uint32_t word, uint32_t angle_word, Real *even, Real *odd)
{
  const float    radius = sqrtf(minus_two_log(word));
  const uint32_t quarter = (angle_word + (UINT32_C(1) << 29)) >> 30;
  const float    x = ((float)(int32_t)(angle_word - (quarter << 30)) + 0.5f) * (float)(TWO_PI * 0x1p-32), z = x * x;
  const float    sine = x * (1 + z * (-1.f / 6 + z * (1.f / 120 + z * (-1.f / 5040 + z * (1.f / 362880)))));
  const float    cosine = 1 + z * (-1.f / 2 + z * (1.f / 24 + z * (-1.f / 720 + z * (1.f / 40320 + z * (-1.f / 3628800)))));
  const float    c = quarter & 1 ? sine : cosine, s = quarter & 1 ? cosine : sine;
  *even = radius * (((quarter + 1) & 2) ? -c : c);
  *odd = radius * ((quarter & 2) ? -s : s);
}

/* 23 bits and a half: exact in float, so that neither 0 nor 1 occurs. */
static inline Real bulk_uniform(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f; }
#endif

VECTOR_CLONES static void normals_batch(const RandomStream *stream, uint32_t number, Real *out)
{
  uint32_t words[4][LANES];

  philox_lanes(stream, number, words);
  for (int l = 0; l < LANES; l++) {
    normal_pair(words[0][l], words[1][l], &out[4 * l], &out[4 * l + 1]);
    normal_pair(words[2][l], words[3][l], &out[4 * l + 2], &out[4 * l + 3]);
  }
}

VECTOR_CLONES static void uniforms_batch(const RandomStream *stream, uint32_t number, Real *out)
{
  uint32_t words[4][LANES];

  philox_lanes(stream, number, words);
  for (int l = 0; l < LANES; l++)
    for (int w = 0; w < 4; w++) out[4 * l + w] = bulk_uniform(words[w][l]);
}

/* Whole batches straight into out; a start inside a block and the rest through a buffer. */
static inline void fill(void (*batch)(const RandomStream *, uint32_t, Real *), const RandomStream *stream, uint32_t first, size_t n, Real *out)
{
  uint32_t number = first / 4;
  size_t   skip = first % 4;

  while (n) {
    if (!skip && n >= BATCH) {
      batch(stream, number, out);
      out += BATCH;
      n -= BATCH;
    } else {
      Real         buffer[BATCH];
      const size_t count = n < BATCH - skip ? n : BATCH - skip;
      batch(stream, number, buffer);
      memcpy(out, buffer + skip, count * sizeof(Real));
      out += count;
      n -= count;
      skip = 0;
    }
    number += LANES;
  }
}

void random_normals(const RandomStream *stream, uint32_t first, size_t n, Real *out) { fill(normals_batch, stream, first, n, out); }

void random_uniforms(const RandomStream *stream, uint32_t first, size_t n, Real *out) { fill(uniforms_batch, stream, first, n, out); }
