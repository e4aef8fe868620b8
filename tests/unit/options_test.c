/* Options: defaults, YAML against command line, every kind of mistake. */
#include "check.h"
#include <perturbdiff/runtime.h>
#include <string.h>
#include <unistd.h>

static const OptionSpec specs[] = {
  {"data", VALUE_PATH, NULL, 0, 0, "", "A file"},
  {"train_steps", VALUE_INTEGER, "2000", 1, 1e9, "steps", "Steps"},
  {"lr", VALUE_NUMBER, "2e-4", 0, 1, "", "Learning rate"},
  {"centre", VALUE_CHOICE, "none", 0, 0, "none|control|shift", "Centre"},
  {"holdout", VALUE_LIST, "", 0, 0, "", "Patterns"},
  {"resume", VALUE_SWITCH, "false", 0, 0, "", "Go on"},
  {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {specs, options_common, NULL};
static const Options           options  = {.groups = groups, .petsc_prefixes = "ts_"};

static int clear(void **state) { return PetscOptionsClear(NULL); }

static PetscErrorCode insert(int argc, const char *const *argv) { return options_insert(&options, argc, (char *const *)argv); }
#define INSERT(...) insert((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

static void refused(PetscErrorCode code, const char *expected)
{
  assert_int_equal(code, ERROR_USER);
  if (!strstr(error_message(), expected)) fail_msg("'%s' does not hold '%s'", error_message(), expected);
}

static void defaults_and_values(void **state)
{
  PetscInt64 steps;
  double     lr;
  PetscInt   centre, count;
  PetscBool  resume;
  char     **parts;

  check_call(INSERT("-data", "a.h5", "-lr", "1e-3", "-holdout", "IFN|B cells|*", "--holdout", " x , y ", "-resume", "-ts_monitor"));
  check_call(options_integer(&options, "train_steps", &steps));
  check_call(options_number(&options, "lr", &lr));
  check_call(options_choice(&options, "centre", &centre));
  check_call(options_switch(&options, "resume", &resume));
  check_call(options_list(&options, "holdout", &count, &parts));
  assert_int_equal(steps, 2000);
  check_close(lr, 1e-3, 1e-15, 1);
  assert_int_equal(centre, 0);
  assert_true(resume);
  assert_int_equal(count, 3);
  assert_string_equal(parts[0], "IFN|B cells|*");
  assert_string_equal(parts[2], "y");
  check_call(strings_free(count, &parts));
}

static void mistakes_name_the_cure(void **state)
{
  refused(INSERT("-dta", "a.h5"), "did you mean 'data'");
  refused(INSERT("-train_steps", "3"), "'-data' is missing");
  refused(INSERT("-data", "a", "-train_steps", "many"), "takes a number");
  refused(INSERT("-data", "a", "-train_steps", "1.5"), "whole number");
  refused(INSERT("-data", "a", "-train_steps", "0"), "between");
  refused(INSERT("-data", "a", "-train_steps"), "needs a value");
  refused(INSERT("-data", "a", "-lr", "nan"), "takes a number");
  refused(INSERT("-data", "a", "-centre", "left"), "none|control|shift");
  refused(INSERT("-data", "a", "-resume", "maybe"), "true or false");
  refused(INSERT("-data", "a", "stray"), "command line");
}

static const char *write_input(const char *text)
{
  static char path[] = "options_test.yaml";
  FILE       *file   = fopen(path, "w");

  fputs(text, file);
  fclose(file);
  return path;
}

static void yaml_is_flattened_and_the_command_line_wins(void **state)
{
  PetscInt64  steps;
  double      lr;
  const char *text;
  char       *yaml;

  check_call(INSERT(write_input("# comment\ndata: 'a b.h5'\ntrain:\n  steps: 7\nlr: 0.5\nholdout: [p|c|*, q]\n"), "-lr", "0.25"));
  check_call(options_integer(&options, "train_steps", &steps));
  check_call(options_number(&options, "lr", &lr));
  assert_int_equal(steps, 7);
  check_close(lr, 0.25, 1e-15, 1);
  check_call(options_string(&options, "data", &text));
  assert_string_equal(text, "a b.h5");
  check_call(options_string(&options, "holdout", &text));
  assert_string_equal(text, "p|c|*,q");
  check_call(options_yaml(&options, &yaml));
  check_call(PetscOptionsClear(NULL));
  check_call(INSERT(write_input(yaml)));
  check_call(PetscFree(yaml));
  check_call(options_number(&options, "lr", &lr));
  check_close(lr, 0.25, 1e-15, 1);
}

static void yaml_mistakes_name_the_line(void **state)
{
  refused(INSERT(write_input("data: a\ntrain:\n  step: 3\n")), "options_test.yaml:3: unknown option 'train_step'; did you mean 'train_steps'");
  refused(INSERT(write_input("data: a\nlr: [1\n")), "options_test.yaml:");
  refused(INSERT(write_input("data: a\nlr: 1\nlr: 2\n")), "given already at line 2");
  refused(INSERT(write_input("- a\n- b\n")), "key: value");
  refused(INSERT("no_such_file.yaml"), "no_such_file.yaml");
  unlink("options_test.yaml");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test_setup(defaults_and_values, clear), cmocka_unit_test_setup(mistakes_name_the_cure, clear),
  cmocka_unit_test_setup(yaml_is_flattened_and_the_command_line_wins, clear), cmocka_unit_test_setup(yaml_mistakes_name_the_line, clear)};

TEST_MAIN(tests)
