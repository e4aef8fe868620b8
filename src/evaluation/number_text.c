/* Numbers as their shortest decimal text. */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 Fixed;

/* 10^p * 2^-x in [2^126, 2^128), too small by less than 2; p of -308 to 363. */
static Fixed power_of_ten(int p, int *x)
{
  /* The first 128 bits of 10^(28 j), j from -11; 5^i. */
  static const uint64_t large[][2] = {
    {UINT64_C(0xe61acf033d1a45df), UINT64_C(0x6fb92487298e33bd)}, {UINT64_C(0xe858ad248f5c22c9), UINT64_C(0xd1b3400f8f9cff68)},
    {UINT64_C(0xea9c227723ee8bcb), UINT64_C(0x465e15a979c1cadc)}, {UINT64_C(0xece53cec4a314ebd), UINT64_C(0xa4f8bf5635246428)},
    {UINT64_C(0xef340a98172aace4), UINT64_C(0x86fb897116c87c34)}, {UINT64_C(0xf18899b1bc3f8ca1), UINT64_C(0xdc44e6c3cb279ac1)},
    {UINT64_C(0xf3e2f893dec3f126), UINT64_C(0x5a89dba3c3efccfa)}, {UINT64_C(0xf64335bcf065d37d), UINT64_C(0x4d4617b5ff4a16d5)},
    {UINT64_C(0xf8a95fcf88747d94), UINT64_C(0x75a44c6397ce912a)}, {UINT64_C(0xfb158592be068d2e), UINT64_C(0xeed6e2f0f0d56712)},
    {UINT64_C(0xfd87b5f28300ca0d), UINT64_C(0x8bca9d6e188853fc)}, {UINT64_C(0x8000000000000000), UINT64_C(0x0000000000000000)},
    {UINT64_C(0x813f3978f8940984), UINT64_C(0x4000000000000000)}, {UINT64_C(0x82818f1281ed449f), UINT64_C(0xbff8f10e7a8921a4)},
    {UINT64_C(0x83c7088e1aab65db), UINT64_C(0x792667c6da79e0fa)}, {UINT64_C(0x850fadc09923329e), UINT64_C(0x03e2cf6bc604ddb0)},
    {UINT64_C(0x865b86925b9bc5c2), UINT64_C(0x0b8a2392ba45a9b2)}, {UINT64_C(0x87aa9aff79042286), UINT64_C(0x90fb44d2f05d0842)},
    {UINT64_C(0x88fcf317f22241e2), UINT64_C(0x441fece3bdf81f03)}, {UINT64_C(0x8a5296ffe33cc92f), UINT64_C(0x82bd6b70d99aaa6f)},
    {UINT64_C(0x8bab8eefb6409c1a), UINT64_C(0x1ad089b6c2f7548e)}, {UINT64_C(0x8d07e33455637eb2), UINT64_C(0xdb0b487b6423e1e8)},
    {UINT64_C(0x8e679c2f5e44ff8f), UINT64_C(0x570f09eaa7ea7648)}, {UINT64_C(0x8fcac257558ee4e6), UINT64_C(0x213a4f0aa5e8a7b1)}};
  static const uint64_t five[] = {
    UINT64_C(1), UINT64_C(5), UINT64_C(25), UINT64_C(125), UINT64_C(625), UINT64_C(3125), UINT64_C(15625),
    UINT64_C(78125), UINT64_C(390625), UINT64_C(1953125), UINT64_C(9765625), UINT64_C(48828125), UINT64_C(244140625), UINT64_C(1220703125),
    UINT64_C(6103515625), UINT64_C(30517578125), UINT64_C(152587890625), UINT64_C(762939453125), UINT64_C(3814697265625), UINT64_C(19073486328125), UINT64_C(95367431640625),
    UINT64_C(476837158203125), UINT64_C(2384185791015625), UINT64_C(11920928955078125), UINT64_C(59604644775390625), UINT64_C(298023223876953125), UINT64_C(1490116119384765625), UINT64_C(7450580596923828125)};
  const int      j = (p + 308) / 28 - 11, i = p - 28 * j, shift = __builtin_clzll(five[i]);
  const uint64_t factor = five[i] << shift, *power = large[j + 11];

  /* log2(10) = 1741647 / 2^19, near enough here. */
  *x = (28 * j * 1741647 >> 19) - 127 + i - shift + 64;
  return (Fixed)power[0] * factor + ((Fixed)power[1] * factor >> 64);
}

/* A positive number as mantissa * 2^binary, the mantissa in [2^63, 2^64). */
typedef struct {
  uint64_t mantissa;
  int      binary;
} Normal;

static Normal normal_of(double value)
{
  const uint64_t one = UINT64_C(1) << 52;
  uint64_t       bits;

  memcpy(&bits, &value, sizeof bits);
  const int      exponent = (int)(bits >> 52);
  const uint64_t mantissa = exponent ? bits % one + one : bits;
  const int      shift = exponent ? 11 : __builtin_clzll(mantissa);

  return (Normal){mantissa << shift, PetscMax(exponent, 1) - 1075 - shift};
}

/* value * 10^p as a fixed point number of 64 bits behind the point, and how far it may be moved up or down so that it still reads back. Each is too small by less than DOUBT: what differs by less is
   equal, as no power of ten lies so near to half way between two numbers. */
typedef struct {
  Fixed value, up, down;
} Scaled;

enum { DOUBT = 4 };

/* step: the distance to the next number is 2^step; below a power of two, unless `least`, they are nearer. Half way reads back as the even one. */
static inline Scaled scale(Normal x, int step, PetscBool least, int p)
{
  int         exponent;
  const Fixed power = power_of_ten(p, &exponent), product = (power >> 64) * x.mantissa + ((Fixed)(uint64_t)power * x.mantissa >> 64);
  const int   shift = -(x.binary + exponent + 64) - 64, even = !(x.mantissa >> (step - x.binary) & 1);
  const Fixed half = power >> (64 - (step - 1 - x.binary) + shift);

  return (Scaled){product >> shift, even ? half + DOUBT : half - DOUBT, (half >> (x.mantissa << 1 || least ? 0 : 1)) + (Fixed)(even ? DOUBT : -DOUBT)};
}

/* digits: the nearest multiple of a unit that reads back, of two as near the even one; is there one? The value lies `above` a multiple and `below` the next. */
static inline PetscBool try_unit(const Scaled *scaled, uint64_t unit, uint64_t *digits)
{
  const uint64_t whole = (uint64_t)(scaled->value >> 64), times = whole / unit;
  const Fixed    above = (Fixed)(whole - times * unit) << 64 | (uint64_t)scaled->value, below = ((Fixed)unit << 64) - above;
  const int      can_up = below <= scaled->up, can_down = above <= scaled->down;
  const int      up = above > below + 2 * DOUBT || (above + 2 * DOUBT >= below && times % 2);

  *digits = (times + (uint64_t)(can_up && (up || !can_down))) * unit;
  return can_up || can_down ? PETSC_TRUE : PETSC_FALSE;
}

/* value (positive, finite) = digits * 10^exponent with the fewest digits that read back as value. */
static uint64_t shortest_digits(double value, PetscBool single, int *exponent)
{
  const uint64_t most = single ? UINT64_C(100000000) : UINT64_C(10000000000000000);
  uint64_t       digits = 0;

  if (!single && value < 1e13 && 2 * value == floor(2 * value)) {
    /* Whole numbers and halves, as statistics are. */
    digits = (uint64_t)(10 * value);
    *exponent = -1;
  } else {
    const Normal    x = normal_of(value);
    const int       lowest = single ? -149 : -1074, next = x.binary + (single ? 40 : 11), step = PetscMax(next, lowest);
    const PetscBool least = next <= lowest ? PETSC_TRUE : PETSC_FALSE;

    /* log2(1 + f) >= f: never too large, seldom too small. */
    *exponent = (int)floor((x.binary + 62 + (double)x.mantissa * 0x1p-63) * 0.30102999566398114) - (single ? 8 : 16);
    Scaled scaled = scale(x, step, least, -*exponent);
    if ((uint64_t)(scaled.value >> 64) >= 10 * most) scaled = scale(x, step, least, -++*exponent);
    /* Below the least normal number a few digits may do; else 6 or 15 always read back as one number each. */
    for (uint64_t unit = most; least && unit > 1000 && !try_unit(&scaled, unit, &digits); unit /= 10) digits = 0;
    if (!digits && !((single || least) && try_unit(&scaled, 1000, &digits)) && !try_unit(&scaled, 100, &digits) && !try_unit(&scaled, 10, &digits)) (void)try_unit(&scaled, 1, &digits);
  }
  while (digits && digits % 10 == 0) {
    digits /= 10;
    ++*exponent;
  }
  return digits;
}

int whole_number_text(uint64_t digits, char *text)
{
  static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384"
                              "858687888990919293949596979899";
  char  backwards[24];
  char *begin = backwards + sizeof backwards;

  for (; digits > 9; digits /= 100) memcpy(begin -= 2, pairs + digits % 100 * 2, 2);
  if (digits || begin == backwards + sizeof backwards) *--begin = (char)('0' + digits);
  const int count = (int)(backwards + sizeof backwards - begin);
  memcpy(text, begin, (size_t)count);
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
    const int before = PetscMin(point, count);

    memcpy(end, digit, (size_t)before);
    end += before;
    for (int i = before; i < point; i++) *end++ = '0';
    *end++ = '.';
    if (count <= point) *end++ = '0';
    else memcpy(end, digit + point, (size_t)(count - point));
    end += PetscMax(0, count - point);
  }
  *end = '\0';
  return (int)(end - text);
}
