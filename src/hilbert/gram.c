/* Gram matrix of populations, block-cyclic, and the discrepancies it gives. */
#include "hilbert/pairsums.h"
#include <perturbdiff/hilbert/gram.h>
#include <perturbdiff/runtime/error.h>

/* Entries a rank hands over in one round. */
enum { ROUND = 1 << 20 };

double gram_bytes(const BlockGrid *grid, PetscInt64 populations)
{
  const double pairs = (double)populations * ((double)populations + 1) / 2 / grid->ranks;

  return 2 * blockmatrix_bytes(grid, populations, populations) + 3 * pairs * sizeof(PairSum) + 4. * sizeof(BlockEntry) * PetscMin(ROUND, 2 * pairs);
}

/* Sums of kernel or distance to the ranks that own them, mirrored. */
static PetscErrorCode place_sums(const PairSums *s, PetscBool kernel, BlockMatrix *matrix)
{
  PetscInt64  rounds = (s->count + ROUND / 2 - 1) / (ROUND / 2);
  BlockEntry *entry;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PetscMin(ROUND, 2 * s->count + 1), &entry));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &rounds, 1, MPIU_INT64, MPI_MAX, matrix->grid->comm));
  for (PetscInt64 round = 0, next = 0; round < rounds; round++) {
    PetscInt64 count = 0;
    for (; next < s->count && count < ROUND - 1; next++) {
      const PairSum *sum   = &s->sum[next];
      const double   value = kernel ? sum->kernel : sum->distance;
      entry[count++]       = (BlockEntry){sum->row, sum->column, value};
      if (sum->row != sum->column) entry[count++] = (BlockEntry){sum->column, sum->row, value};
    }
    PetscCall(blockmatrix_add_entries(matrix, count, entry));
  }
  PetscCall(PetscFree(entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode gram_assemble(const BlockGrid *grid, const Kernel *kernel, PetscInt groups, const CellGroup *group, const PairPlan *plan, Gram *gram)
{
  static const Kernel euclidean = {.kind = KERNEL_DISTANCE};
  PairSums            s;

  PetscFunctionBeginUser;
  *gram = (Gram){.populations = groups, .kernel = *kernel};
  PetscCall(pairsums_gather(grid->comm, kernel, groups, group, plan, &s));
  PetscCall(PetscMalloc1(groups, &gram->cells));
  PetscCall(PetscMalloc1(groups, &gram->self));
  for (PetscInt i = 0; i < groups; i++) {
    gram->cells[i] = group[i].cells;
    gram->self[i]  = s.self[i] / (double)group[i].cells;
  }
  PetscCall(blockmatrix_create(grid, groups, groups, &gram->product));
  PetscCall(blockmatrix_create(grid, groups, groups, &gram->distance));
  PetscCall(place_sums(&s, PETSC_TRUE, &gram->product));
  PetscCall(place_sums(&s, PETSC_FALSE, &gram->distance));
  for (int j = 0; j < gram->product.local_columns; j++)
    for (int i = 0; i < gram->product.local_rows; i++) {
      const size_t   at  = (size_t)j * (size_t)gram->product.ld + (size_t)i;
      const PetscInt row = blockmatrix_row(&gram->product, i), column = blockmatrix_column(&gram->product, j);

      gram->product.values[at] = pairsums_mean(&s, row, column, gram->product.values[at], gram->distance.values[at]);
      s.kernel                 = euclidean;
      gram->distance.values[at] = pairsums_mean(&s, row, column, 0, gram->distance.values[at]);
      s.kernel                 = *kernel;
    }
  PetscCall(pairsums_destroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode gram_destroy(Gram *gram)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(gram->cells));
  PetscCall(PetscFree(gram->self));
  PetscCall(blockmatrix_destroy(&gram->product));
  PetscCall(blockmatrix_destroy(&gram->distance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* result_ij = factor * (within_i + within_j - 2 between_ij), zero on the diagonal. */
static PetscErrorCode discrepancy(const BlockMatrix *between, const double *within, double factor, BlockMatrix *result)
{
  PetscFunctionBeginUser;
  PetscCall(blockmatrix_create(between->grid, between->rows, between->columns, result));
  for (int j = 0; j < result->local_columns; j++)
    for (int i = 0; i < result->local_rows; i++) {
      const PetscInt row = blockmatrix_row(result, i), column = blockmatrix_column(result, j);
      const size_t   at = (size_t)j * (size_t)result->ld + (size_t)i;

      result->values[at] = row == column ? 0 : factor * (within[row] + within[column] - 2 * between->values[at]);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode gram_mmd(const Gram *gram, Statistic statistic, BlockMatrix *mmd)
{
  double *within;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(gram->populations, &within));
  PetscCall(blockmatrix_diagonal(&gram->product, within));
  for (PetscInt i = 0; statistic == STATISTIC_U && i < gram->populations; i++) {
    const double n = (double)gram->cells[i];
    PetscCheck(gram->cells[i] > 1, gram->product.grid->comm, PETSC_ERR_ARG_SIZ, "Population %d has one cell: no U-statistic", (int)i);
    within[i] = (n * within[i] - gram->self[i]) / (n - 1);
  }
  PetscCall(discrepancy(&gram->product, within, 1, mmd));
  PetscCall(PetscFree(within));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode gram_energy(const Gram *gram, BlockMatrix *energy)
{
  double *within;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(gram->populations, &within));
  PetscCall(blockmatrix_diagonal(&gram->distance, within));
  PetscCall(discrepancy(&gram->distance, within, -1, energy));
  PetscCall(PetscFree(within));
  PetscFunctionReturn(PETSC_SUCCESS);
}
