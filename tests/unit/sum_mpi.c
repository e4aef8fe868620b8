/* Sums over ranks in pieces, against sums in closed form. */
#include "check.h"
#include <perturbdiff/runtime/sum.h>

enum { MOST = 23 };

static void pieces_of_any_size(void **state)
{
  const PetscInt64 piece[] = {1, 2, 5, 22, 23, 24, 1000};
  double           real[MOST + 1];
  int64_t          whole[MOST + 1];
  int              rank, ranks;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  for (PetscInt64 count = 0; count <= MOST; count++)
    for (size_t p = 0; p < sizeof piece / sizeof *piece; p++) {
      for (int i = 0; i <= MOST; i++) {
        real[i]  = i + 0.25 * rank;
        whole[i] = ((int64_t)1 << 40) * i + rank;
      }
      check_call(sum_in_pieces(PETSC_COMM_WORLD, piece[p], count, MPI_DOUBLE, real));
      check_call(sum_in_pieces(PETSC_COMM_WORLD, piece[p], count, MPI_INT64_T, whole));
      for (int i = 0; i <= MOST; i++) { /* what is past the end stays as it was */
        check_close(real[i], i < count ? ranks * i + 0.25 * (ranks * (ranks - 1) / 2) : i + 0.25 * rank, 0, 1);
        assert_true(whole[i] == (i < count ? ((int64_t)1 << 40) * i * ranks + ranks * (ranks - 1) / 2 : ((int64_t)1 << 40) * i + rank));
      }
    }
  for (int i = 0; i < MOST; i++) real[i] = rank == i % ranks ? i : 0;
  check_call(sum_over_ranks(PETSC_COMM_WORLD, MOST, MPI_DOUBLE, real));
  for (int i = 0; i < MOST; i++) check_close(real[i], i, 0, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_of_any_size)};
TEST_MAIN(tests)
