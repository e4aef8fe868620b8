/* Numbers as their shortest decimal text. */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 10^e in extended precision; e of 0 to 27 is exact. */
static long double power_of_ten(int e)
{
  static const long double small[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                      1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
  static const long double large[] = {1e0L,   1e28L,  1e56L,  1e84L,  1e112L, 1e140L, 1e168L, 1e196L,
                                      1e224L, 1e252L, 1e280L, 1e308L, 1e336L, 1e364L};
  const int                size = e < 0 ? -e : e;
  const long double        power = small[size % 28] * large[size / 28];

  return e < 0 ? 1 / power : power;
}

/* Half the distance to the nearest other number of the same precision, which for a power of two is the one below; 0 below the least normal one. */
static double half_step(double value, PetscBool single)
{
  uint64_t bits;
  double   power;

  memcpy(&bits, &value, sizeof bits);
  bits &= UINT64_C(0x7ff0000000000000);
  memcpy(&power, &bits, sizeof power);
  if (single && power < 0x1p-126) return 0;
  return power * (single ? 0x1p-24 : 0x1p-53) * (value > power ? 1 : 0.5);
}

/* value (positive, finite) = digits * 10^exponent with the fewest digits that read back as value (one more where that is in doubt); at least `fewest` are tried. */
static uint64_t shortest_digits(double value, PetscBool single, int *exponent)
{
  const int      most = single ? 9 : 17, fewest = single ? 6 : 15;
  uint64_t       digits = 0;

  if (!single && value < 1e13 && 2 * value == floor(2 * value)) {
    /* Whole numbers and halves, as statistics are. */
    digits = (uint64_t)(10 * value);
    *exponent = -1;
  } else {
    const int         magnitude = (int)floor(log10(value));
    const long double half = half_step(value, single);

    for (int count = fewest; count <= most; count++) {
      *exponent = magnitude - count + 1;
      const long double power = power_of_ten(*exponent < 0 ? -*exponent : *exponent);
      const long double scaled = *exponent < 0 ? (long double)value * power : (long double)value / power;
      digits = (uint64_t)(scaled + 0.5L);
      /* What lies half way between two numbers, as far as this precision tells, may read back as either: one rounding of an exact power, or three more. */
      const long double doubt = scaled * (abs(*exponent) <= 27 ? 0x1p-64L : 0x1p-62L), far = fabsl((long double)digits - scaled) + doubt;
      if (*exponent < 0 ? far <= half * power : far * power <= half) break;
    }
  }
  while (digits && digits % 10 == 0) {
    digits /= 10;
    ++*exponent;
  }
  return digits;
}

int whole_number_text(uint64_t digits, char *text)
{
  char reversed[24];
  int  count = 0;

  do reversed[count++] = (char)('0' + digits % 10);
  while (digits /= 10);
  for (int i = 0; i < count; i++) text[i] = reversed[count - 1 - i];
  return count;
}

int number_text(double value, PetscBool single, char text[NUMBER_TEXT])
{
  char *end = text;
  char  digit[24];
  int   exponent = 0;

  if (isnan(value)) return snprintf(text, NUMBER_TEXT, "NaN");
  if (signbit(value)) *end++ = '-';
  value = fabs(value);
  if (isinf(value)) return (int)(end - text) + snprintf(end, NUMBER_TEXT - 1, "inf");
  if (value == 0) return (int)(end - text) + snprintf(end, NUMBER_TEXT - 1, "0.0");
  const int count = whole_number_text(shortest_digits(value, single, &exponent), digit);
  const int point = count + exponent; /* digits before the point */
  if (point > 16 || point < -4) {
    /* d.ddde-x */
    *end++ = digit[0];
    if (count > 1) {
      *end++ = '.';
      memcpy(end, digit + 1, (size_t)count - 1);
      end += count - 1;
    }
    *end++ = 'e';
    if (point - 1 < 0) *end++ = '-';
    end += whole_number_text((uint64_t)abs(point - 1), end);
  } else if (point <= 0) {
    memcpy(end, "0.0000", (size_t)(2 - point));
    end += 2 - point;
    memcpy(end, digit, (size_t)count);
    end += count;
  } else {
    for (int i = 0; i < PetscMax(point, count); i++) {
      if (i == point) *end++ = '.';
      *end++ = i < count ? digit[i] : '0';
    }
    if (count <= point) {
      *end++ = '.';
      *end++ = '0';
    }
  }
  *end = '\0';
  return (int)(end - text);
}
