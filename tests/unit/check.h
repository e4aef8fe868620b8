/* What every test program shares: cmocka's headers in the order it wants them, PETSc around the group, comparisons. */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <petscsys.h>

/* A library call that must succeed. */
#define check_call(...) assert_int_equal((__VA_ARGS__), 0)

/* |a - b| <= tolerance * scale, saying the numbers when not. */
#define check_close(a, b, tolerance, scale)                                                                                               \
  do {                                                                                                                                    \
    const double check_a = (double)(a), check_b = (double)(b), check_t = (double)(tolerance) * (double)(scale);                           \
    if (!(fabs(check_a - check_b) <= check_t)) fail_msg("%s = %.12g, expected %.12g within %.3g", #a, check_a, check_b, check_t);         \
  } while (0)

/* main of a test program: rank 0 prints cmocka's lines; any rank's failure fails the program. */
#define TEST_MAIN(tests)                                                                                                                  \
  int main(int argc, char **argv)                                                                                                         \
  {                                                                                                                                       \
    int rank, failed, worst;                                                                                                              \
    if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;                                                                              \
    error_handler_install();                                                                                                              \
    if (MPI_Comm_rank(PETSC_COMM_WORLD, &rank)) return 1;                                                                                             \
    if (rank && !freopen("/dev/null", "w", stdout)) return 1;                                                                             \
    failed = cmocka_run_group_tests(tests, NULL, NULL);                                                                                   \
    if (MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD)) return 1;                                               \
    PetscFinalize();                                                                                                                      \
    return worst ? 1 : 0;                                                                                                                 \
  }

#endif
