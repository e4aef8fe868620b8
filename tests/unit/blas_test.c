/* The BLAS guard, by programs started with a wrong core on purpose; what is right comes from /proc/cpuinfo. */
#include "check.h"
#include <perturbdiff/runtime/blas.h>
#include <string.h>
#include <unistd.h>

static char self[PETSC_MAX_PATH_LEN];

/* First line on standard output of a run of this program with "core", and number of lines on standard error. */
static void run_with(const char *environment, char core[64], int *warnings)
{
  char  command[PETSC_MAX_PATH_LEN + 512], line[512];
  FILE *stream;

  *warnings = 0;
  core[0] = 0;
  snprintf(command, sizeof command, "env -u OPENBLAS_CORETYPE -u PERTURBDIFF_BLAS_MENDED -u PERTURBDIFF_KEEP_BLAS %s '%s' core 2>&1", environment, self);
  stream = popen(command, "r");
  assert_non_null(stream);
  while (fgets(line, sizeof line, stream)) {
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(line, "core ", 5))
      snprintf(core, 64, "%.63s", line + 5);
    else
      ++*warnings;
  }
  assert_int_equal(pclose(stream), 0);
}

static int cpu_has(const char *flag)
{
  char  line[8192], word[64];
  FILE *stream = fopen("/proc/cpuinfo", "r");
  int   found = 0;

  snprintf(word, sizeof word, " %s ", flag);
  while (stream && !found && fgets(line, sizeof line, stream)) {
    line[strcspn(line, "\n")] = ' ';
    found = !strncmp(line, "flags", 5) ? strstr(line, word) != NULL : !strncmp(line, "vendor_id", 9) && strstr(line, flag);
  }
  if (stream) fclose(stream);
  return found;
}

static void wrong_core_is_mended(void **state)
{
  char core[64];
  int  warnings;

  if (!cpu_has("avx2")) skip();
  const char              *right = cpu_has("avx512f") && cpu_has("avx512bw") && cpu_has("avx512dq") && cpu_has("avx512vl") ? "SkylakeX"
                                   : cpu_has("AuthenticAMD")                                                               ? "Zen"
                                                                                                                           : "Haswell";
  static const char *const wrong[] = {"Prescott", "Nehalem", "Core2"};
  for (size_t i = 0; i < 3; i++) {
    char environment[64];
    snprintf(environment, sizeof environment, "OPENBLAS_CORETYPE=%s", wrong[i]);
    run_with(environment, core, &warnings);
    assert_string_equal(core, right);
    assert_int_equal(warnings, 1);
    snprintf(environment, sizeof environment, "OPENBLAS_CORETYPE=%s OMPI_COMM_WORLD_RANK=2", wrong[i]);
    run_with(environment, core, &warnings);
    assert_string_equal(core, right);
    assert_int_equal(warnings, 0);
  }
}

static void choices_are_kept(void **state)
{
  char core[64];
  int  warnings;

  if (!cpu_has("avx2")) skip();
  run_with("OPENBLAS_CORETYPE=Prescott PERTURBDIFF_KEEP_BLAS=1", core, &warnings);
  assert_string_equal(core, "Prescott");
  run_with("OPENBLAS_CORETYPE=Prescott PERTURBDIFF_BLAS_MENDED=1", core, &warnings); /* never a third execution */
  assert_string_equal(core, "Prescott");
  run_with("OPENBLAS_CORETYPE=Haswell", core, &warnings);
  assert_string_equal(core, "Haswell");
  assert_int_equal(warnings, 0);
}

/* Left to itself OpenBLAS may be right or wrong; after the guard it has AVX2, and AVX-512 where the CPU has it, silently. */
static void left_to_itself(void **state)
{
  char core[64];
  int  warnings;

  if (!cpu_has("avx2")) skip();
  run_with("", core, &warnings);
  assert_int_equal(warnings, 0);
  static const char *const good[] = {"SkylakeX", "Cooperlake", "SapphireRapids", "Haswell", "Zen", "Excavator"};
  const size_t             count = cpu_has("avx512f") && cpu_has("avx512bw") && cpu_has("avx512dq") && cpu_has("avx512vl") ? 3 : 6;
  int                      found = 0;
  for (size_t i = 0; i < count; i++) found |= !strcmp(core, good[i]);
  if (!found) fail_msg("core '%s'", core);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_core_is_mended), cmocka_unit_test(choices_are_kept), cmocka_unit_test(left_to_itself)};

int main(int argc, char **argv)
{
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

  if (argc == 2 && !strcmp(argv[1], "core")) {
    blas_guard(argc, argv);
    printf("core %s\n", blas_core_name());
    return 0;
  }
  if (length <= 0) return 1;
  self[length] = 0;
  return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
