/* An exponential that loops can take in vectors: the library's is a call for each element without -ffast-math. */
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

#endif
