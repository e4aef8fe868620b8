/* gram_product CELLS GENES - seconds that a plain matrix product in double takes for the operations of all pairs of so many cells, shared among the ranks; large square
   products, one after another. What validation/performance/gram reads. */
#include <cblas.h>
#include <mpi.h>
#include <perturbdiff/runtime/blas.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
  enum { EDGE = 4096 };
  int    rank, ranks;
  double start, seconds, flops, done = 0;

  blas_guard(argc, argv);
  if (argc != 3 || MPI_Init(&argc, &argv)) return 2;
  const double cells = atof(argv[1]);
  const int    genes = atoi(argv[2]);
  double      *x = malloc(sizeof *x * (size_t)EDGE * (size_t)genes), *y = malloc(sizeof *y * (size_t)EDGE * EDGE);
  if (!x || !y || genes < 1 || MPI_Comm_rank(MPI_COMM_WORLD, &rank) || MPI_Comm_size(MPI_COMM_WORLD, &ranks)) return 1;
  for (size_t i = 0; i < (size_t)EDGE * (size_t)genes; i++) x[i] = (double)(i % 97) / 97;
  for (size_t i = 0; i < (size_t)EDGE * EDGE; i++) y[i] = 0;
  flops = cells * (cells + 1) * genes / ranks;
  if (MPI_Barrier(MPI_COMM_WORLD)) return 1;
  start = MPI_Wtime();
  while (done < flops) {
    const double left = (flops - done) / (2. * EDGE * genes);
    const int    rows = left > EDGE ? EDGE : left < 1 ? 1 : (int)left;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, EDGE, genes, 1, x, genes, x, genes, 0, y, EDGE);
    done += 2. * rows * EDGE * genes;
  }
  if (MPI_Barrier(MPI_COMM_WORLD)) return 1;
  seconds = MPI_Wtime() - start;
  if (!rank) printf("%.6f %s\n", seconds, blas_core_name());
  free(x);
  free(y);
  return MPI_Finalize();
}
