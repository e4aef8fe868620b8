/* CSV as RFC 4180 defines it: what a text holds, from memory and from a stream; every mistake with its line; cells written and read back. */
#include "check.h"
#include <perturbdiff/runtime/csv.h>
#include <stdlib.h>
#include <string.h>

static char text[4096];

/* Open a copy of content, from memory or through a stream. */
static PetscErrorCode open_text(const char *content, int streamed, FILE **stream, CsvLines *lines)
{
  *stream = NULL;
  snprintf(text, sizeof text, "%s", content);
  if (!streamed) return csvlines_open("t.csv", text, lines);
  *stream = tmpfile();
  assert_non_null(*stream);
  fputs(content, *stream);
  rewind(*stream);
  return csvlines_open_stream("t.csv", *stream, lines);
}

static void close_text(FILE *stream, CsvLines *lines)
{
  check_call(csvlines_close(lines));
  if (stream) fclose(stream);
}

/* The content reads as rows of `columns` cells, the first the names; begins[r]: the line that row r begins in. */
static void reads_as(const char *content, int columns, int rows, const char *const *cell, const int *begins)
{
  for (int streamed = 0; streamed < 2; streamed++) {
    FILE     *stream;
    CsvLines  lines;
    PetscBool more;

    check_call(open_text(content, streamed, &stream, &lines));
    assert_int_equal(lines.columns, columns);
    for (int r = 1; r < rows; r++) {
      check_call(csvlines_next(&lines, &more));
      assert_true(more);
      if (begins) assert_int_equal(lines.line, begins[r]);
      for (int c = 0; c < columns; c++) assert_string_equal(lines.cell[c], cell[r * columns + c]);
    }
    for (int c = 0; c < columns; c++) {
      assert_string_equal(lines.name[c], cell[c]);
      assert_int_equal(csvlines_column(&lines, cell[c]), c);
    }
    assert_int_equal(csvlines_column(&lines, "none"), -1);
    for (int again = 0; again < 2; again++) {
      check_call(csvlines_next(&lines, &more));
      assert_false(more);
    }
    close_text(stream, &lines);
  }
}

static void plain_texts(void **state)
{
  const char *const cell[] = {"a", "b", "1", "2", "3", "4"};
  const int         begins[] = {1, 2, 3}, apart[] = {2, 4, 7};

  reads_as("a,b\n1,2\n3,4\n", 2, 3, cell, begins);
  reads_as("a,b\n1,2\n3,4", 2, 3, cell, begins);
  reads_as("a,b\r\n1,2\r\n3,4\r\n", 2, 3, cell, begins);
  reads_as("a,b\r\n1,2\r\n3,4\r", 2, 3, cell, begins);
  reads_as("\xEF\xBB\xBF" "a,b\n1,2\n3,4\n", 2, 3, cell, begins);
  reads_as("\xEF\xBB\xBF\"a\",b\n\"1\",\"2\"\r\n3,\"4\"", 2, 3, cell, begins);
  reads_as("\na,b\n\r\n1,2\n\n\n3,4\n\n", 2, 3, cell, apart);
}

static void quoted_cells(void **state)
{
  const char *const cell[] = {"drug, strong", "two\nlines", "say \"no\"", "", "a\r\nb", "\"", "x", "", "y"};
  const int         begins[] = {1, 3, 5};

  reads_as("\"drug, strong\",\"two\nlines\",\"say \"\"no\"\"\"\n,\"a\r\nb\",\"\"\"\"\nx,\"\",y\n", 3, 3, cell, begins);
}

static void spaces_and_empty_cells(void **state)
{
  const char *const spaced[] = {" a", "b ", " c d ", "\t"}, *const empty[] = {"a", "b", "", "", "", "1"}, *const one[] = {"a", "1"};

  reads_as(" a,b \n\" c d \",\t\n", 2, 2, spaced, NULL);
  reads_as("a,b,\n,,1\n", 3, 2, empty, NULL);
  reads_as("a\n1", 1, 2, one, NULL);
}

/* Reading ends in a user error that holds what is told. */
static void refused(const char *content, const char *told)
{
  for (int streamed = 0; streamed < 2; streamed++) {
    FILE          *stream;
    CsvLines       lines;
    PetscBool      more = PETSC_TRUE;
    PetscErrorCode code = open_text(content, streamed, &stream, &lines);

    while (!code && more) code = csvlines_next(&lines, &more);
    assert_int_equal(code, ERROR_USER);
    if (!strstr(error_message(), told)) fail_msg("'%s' lacks '%s'", error_message(), told);
    close_text(stream, &lines);
  }
}

static void mistakes(void **state)
{
  refused("", "t.csv: empty");
  refused("\n\r\n", "t.csv: empty");
  refused("a,b\n1,2\n3\n", "t.csv:3: 1 columns where the first line has 2");
  refused("a,b\n\"1\n\n\",2\n3,4,5\n", "t.csv:5: 3 columns where the first line has 2");
  refused("a,b\n\n1,2,", "t.csv:3: 3 columns");
  refused("a,b\n1,2\n\"3,4\n5,6\n", "t.csv:3: a quote");
  refused("a,b\n\"1\"x,2\n", "t.csv:2: a quote");
  refused("a,b\n5\"inch\",2\n", "t.csv:2: a quote");
  refused("a,b\n1, \"2\"\n", "t.csv:2: a quote");
}

static void numbers(void **state)
{
  FILE     *stream;
  CsvLines  lines;
  PetscBool more;
  double    value;

  check_call(open_text("a,b,c\n-1.5e3,,inf\n1x,1 ,\n", 0, &stream, &lines));
  check_call(csvlines_next(&lines, &more));
  check_call(csvlines_number(&lines, 0, &value));
  assert_true(value == -1500);
  check_call(csvlines_number(&lines, 1, &value));
  assert_true(isnan(value));
  check_call(csvlines_number(&lines, 2, &value));
  assert_true(isinf(value));
  check_call(csvlines_next(&lines, &more));
  for (int c = 0; c < 2; c++) {
    assert_int_equal(csvlines_number(&lines, c, &value), ERROR_USER);
    assert_non_null(strstr(error_message(), c ? "t.csv:3: '1 ' in column b" : "t.csv:3: '1x' in column a"));
  }
  close_text(stream, &lines);
}

static void written_cells_read_back(void **state)
{
  const char *const cell[] = {"name", "plain", "with, comma", "with \"quotes\"", "line\nbreak", "\r", " spaces "};
  const int         count = sizeof cell / sizeof *cell;
  char             *written;
  size_t            size;
  FILE             *stream = open_memstream(&written, &size);

  for (int i = 0; i < count; i++) {
    csv_field(stream, cell[i]);
    fputs(i ? ",\n" : ",other\n", stream);
  }
  fclose(stream);
  const char *table[2 * 7];
  for (int i = 0; i < count; i++) {
    table[2 * i] = cell[i];
    table[2 * i + 1] = i ? "" : "other";
  }
  reads_as(written, 2, count, table, NULL);
  free(written);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(plain_texts),
                                          cmocka_unit_test(quoted_cells),
                                          cmocka_unit_test(spaces_and_empty_cells),
                                          cmocka_unit_test(mistakes),
                                          cmocka_unit_test(numbers),
                                          cmocka_unit_test(written_cells_read_back)};

TEST_MAIN(tests)
