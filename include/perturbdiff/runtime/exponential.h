/* An exponential that loops can take in vectors: the library's is a call for each element without -ffast-math. Pure functions: no state, no errors. */
#ifndef PERTURBDIFF_RUNTIME_EXPONENTIAL_H
#define PERTURBDIFF_RUNTIME_EXPONENTIAL_H

#include <math.h>
#include <perturbdiff/runtime/real.h>
#include <stdint.h>
#include <string.h>

#ifdef PERTURBDIFF_DOUBLE
static inline Real exponential(Real x) { return exp(x); }
#else
/* exp(x) = 2^k exp(r), |r| <= log(2)/2, by a polynomial for exp(r) (Cephes, expf); relative error below 2e-7. Arguments below -87 give
   about 1e-38 rather than 0, above 88 about 1e38 rather than infinity. */
static inline Real exponential(Real x)
{
  x              = x < -87.f ? -87.f : x > 88.f ? 88.f : x;
  const float k  = (x * 1.44269504f + 12582912.f) - 12582912.f; /* adding 1.5 * 2^23 rounds to a whole number */
  const float r  = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float       p  = 1.9875691500e-4f;
  uint32_t    bits = (uint32_t)((int32_t)k + 127) << 23; /* unsigned: k of a NaN is the most negative number */
  float       scale;

  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  memcpy(&scale, &bits, sizeof scale);
  return (p * r * r + r + 1) * scale;
}
#endif

/* The same in double for any build: exp(r) by its Taylor polynomial of degree 13, |r| <= log(2)/2; relative error below 1e-15. Arguments below -708 give about 1e-308,
   above 709 about 1e308. */
static inline double exponential_double(double x)
{
  static const double coefficient[14] = {1,           1,           1. / 2,       1. / 6,        1. / 24,        1. / 120,        1. / 720,
                                         1. / 5040,   1. / 40320,  1. / 362880,  1. / 3628800,  1. / 39916800,  1. / 479001600,  1. / 6227020800.};
  x                = x < -708. ? -708. : x > 709. ? 709. : x;
  const double    shifted = x * 1.4426950408889634 + 6755399441055744.; /* adding 1.5 * 2^52 rounds to a whole number, found in the low bits */
  const double    k       = shifted - 6755399441055744.;
  const double    r       = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double          p       = coefficient[13], scale;
  uint64_t        bits;

  for (int i = 12; i >= 0; i--) p = p * r + coefficient[i];
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

#endif
