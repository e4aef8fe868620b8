/* Text of numbers against the C library: it reads back as the same number, and has the fewest digits that do, of these the nearest. */
#include "check.h"
#include "evaluation/differential_internal.h"
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 20000, KINDS = 7 };

static uint64_t state_of_draws = 1;
static double   uniform(void)
{
  state_of_draws = state_of_draws * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(state_of_draws >> 11) * 0x1p-53;
}

static double drawn(int kind)
{
  const double u = uniform();

  switch (kind) {
  case 0: return 10 * u;
  case 1: return floor(1e6 * u) / 2;
  case 2: return exp(1380 * (u - 0.5));
  case 3: return ldexp(1, (int)(2000 * u) - 1070); /* their lower neighbours are nearer */
  case 4: return pow(10, floor(600 * u) - 300) * (1 + 0x1p-52 * floor(3 * uniform()));
  case 5: return ldexp(u, -1040); /* below the least normal number */
  default: return floor(1e4 * u) / 1e4;
  }
}

/* The significant digits of a decimal text. */
static void digits_of(const char *text, char digit[64])
{
  int count = 0;

  for (; *text && *text != 'e'; text++)
    if (*text >= '0' && *text <= '9' && (count || *text != '0')) digit[count++] = *text;
  while (count > 1 && digit[count - 1] == '0') count--;
  digit[count] = '\0';
}

/* The fewest that read back. */
static void fewest_digits(double value, PetscBool single, char digit[64])
{
  char text[64];

  for (int count = 1;; count++) {
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value) break;
  }
  digits_of(text, digit);
}

static void numbers_read_back(void **state)
{
  char text[NUMBER_TEXT + 1], digit[64], fewest[64];

  for (int single = 0; single < 2; single++)
    for (int kind = 0; kind < KINDS; kind++)
      for (int i = 0; i < NUMBERS; i++) {
        double value = drawn(kind) * (i % 3 ? 1 : -1);

        if (single) value = (double)(float)value;
        if (isinf(value) || value == 0) continue;
        text[number_text(value, (PetscBool)single, text)] = '\0';
        assert_true(single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value);
        digits_of(text, digit);
        fewest_digits(fabs(value), (PetscBool)single, fewest);
        /* Of a power of two, below which numbers are nearer, fewer may read back that are not the nearest. */
        if (kind != 3 || strlen(digit) >= strlen(fewest)) assert_string_equal(digit, fewest);
      }
}

static void special_numbers(void **state)
{
  static const struct {
    double      value;
    const char *text;
  } known[] = {{NAN, "NaN"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}, {0, "0.0"}, {-0., "-0.0"}, {1, "1.0"}, {-2.5, "-2.5"}, {0.1, "0.1"}, {1e-7, "1e-7"}, {1e16, "1e16"},
               {1e15, "1000000000000000.0"}, {123456.5, "123456.5"}};
  char text[NUMBER_TEXT + 1];

  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    text[number_text(known[i].value, PETSC_FALSE, text)] = '\0';
    assert_string_equal(text, known[i].text);
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_read_back), cmocka_unit_test(special_numbers)};
TEST_MAIN(tests)
