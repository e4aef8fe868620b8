/* Time limits as Slurm writes them, signals to one rank only: all ranks stop alike. */
#include "check.h"
#include <perturbdiff/runtime/deadline.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double left_of(const char *limit)
{
  Deadline deadline;
  double   left;

  check_call(deadline_begin(PETSC_COMM_WORLD, limit, &deadline));
  left = deadline.end > 0 ? deadline.end - deadline.last : -1;
  check_call(deadline_end(&deadline));
  return left;
}

static void limits(void **state)
{
  static const struct {
    const char *text;
    double      seconds;
  } cases[] = {{"30", 1800}, {"01:30", 90}, {"02:00:10", 7210}, {"1-00:00:00", 86400}, {"2-3", 183600}, {"1-02:30", 95400}, {"0:20", 20}};
  static const char *const bad[] = {"soon", "1:2:3:4", "-1", "1:", ":30", "1-", "10s", "1.5", "1-2-3", " 5", "-5:00"};
  Deadline                 deadline;

  unsetenv("SLURM_JOB_END_TIME");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const double reserve = fmin(10, cases[i].seconds / 100); /* kept back for the end */
    check_close(left_of(cases[i].text), cases[i].seconds - reserve, 1e-6, cases[i].seconds);
  }
  assert_true(left_of("") < 0 && left_of("UNLIMITED") < 0 && left_of("0") < 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(deadline_begin(PETSC_COMM_WORLD, bad[i], &deadline), ERROR_USER);
    assert_non_null(strstr(error_message(), bad[i]));
  }
  /* The queue's end of the job, unless the user says otherwise. */
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)time(NULL) + 1000);
  setenv("SLURM_JOB_END_TIME", text, 1);
  check_close(left_of(""), 990, 2, 1);
  check_close(left_of("30:00"), 1790, 1e-3, 1790);
  setenv("SLURM_JOB_END_TIME", "1000000", 1); /* long past */
  check_close(left_of(""), 1, 0.1, 1);
  unsetenv("SLURM_JOB_END_TIME");
}

static void signal_to_one_rank(void **state)
{
  static const int         numbers[] = {SIGUSR1, SIGINT, SIGTERM};
  static const char *const names[] = {"SIGUSR1", "SIGINT", "SIGTERM"};
  int                      me, ranks;

  MPI_Comm_rank(PETSC_COMM_WORLD, &me);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  for (int s = 0; s < 3; s++)
    for (int target = 0; target < ranks; target++) {
      Deadline    deadline;
      PetscBool   stop;
      const char *reason;
      check_call(deadline_begin(PETSC_COMM_WORLD, "", &deadline));
      check_call(deadline_check(&deadline, 0, &stop, &reason));
      assert_false(stop);
      assert_null(reason);
      if (me == target) kill(getpid(), numbers[s]);
      check_call(deadline_check(&deadline, 0, &stop, &reason));
      assert_true(stop);
      assert_string_equal(reason, names[s]);
      check_call(deadline_check(&deadline, 0, &stop, &reason)); /* it stays so */
      assert_true(stop);
      check_call(deadline_end(&deadline));
    }
}

/* Two signals at once: one reason on all ranks. */
static void two_signals(void **state)
{
  Deadline    deadline;
  PetscBool   stop;
  const char *reason;
  int         me, ranks;

  MPI_Comm_rank(PETSC_COMM_WORLD, &me);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  check_call(deadline_begin(PETSC_COMM_WORLD, "", &deadline));
  if (me == 0) raise(SIGUSR1);
  if (me == ranks - 1) raise(SIGTERM);
  check_call(deadline_check(&deadline, 0, &stop, &reason));
  assert_true(stop);
  assert_string_equal(reason, "SIGTERM");
  check_call(deadline_end(&deadline));
}

static volatile sig_atomic_t outer;
static void                  count_outer(int number) { outer++; }

static void handlers_come_back(void **state)
{
  Deadline deadline;

  outer = 0;
  signal(SIGUSR1, count_outer);
  check_call(deadline_begin(PETSC_COMM_WORLD, "", &deadline));
  raise(SIGUSR1);
  assert_int_equal(outer, 0);
  check_call(deadline_end(&deadline));
  raise(SIGUSR1);
  assert_int_equal(outer, 1);
  signal(SIGUSR1, SIG_DFL);
}

/* Steps of 0.1 s, a checkpoint of 0.3 s, three seconds: stops late enough to have worked, early enough to write. */
static void stops_before_the_limit(void **state)
{
  Deadline     deadline;
  PetscBool    stop = PETSC_FALSE;
  const char  *reason = NULL;
  const double start = MPI_Wtime();
  int          steps = 0;

  check_call(deadline_begin(PETSC_COMM_WORLD, "0:03", &deadline));
  while (!stop && steps < 100) {
    usleep(100000);
    steps++;
    check_call(deadline_check(&deadline, 0.3, &stop, &reason));
  }
  const double used = MPI_Wtime() - start;
  assert_true(stop);
  assert_string_equal(reason, "time limit");
  if (used > 3 - 0.3 || used < 1) fail_msg("stopped after %g s of 3", used);
  check_call(deadline_end(&deadline));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(limits), cmocka_unit_test(signal_to_one_rank), cmocka_unit_test(two_signals),
                                          cmocka_unit_test(handlers_come_back), cmocka_unit_test(stops_before_the_limit)};

TEST_MAIN(tests)
