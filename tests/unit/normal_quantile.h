/* Quantile p of the standard normal distribution, by bisection of its distribution function. */
#ifndef TESTS_UNIT_NORMAL_QUANTILE_H
#define TESTS_UNIT_NORMAL_QUANTILE_H

#include <math.h>

static double normal_quantile(double p)
{
  double low = -10, high = 10;

  for (int i = 0; i < 60; i++) {
    const double middle = (low + high) / 2;
    if (0.5 * erfc(-middle / sqrt(2)) < p) low = middle;
    else high = middle;
  }
  return low;
}

#endif
