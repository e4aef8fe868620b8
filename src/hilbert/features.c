/* Cells made dense a few at a time, from a store or from rows in memory. */
#include "hilbert/features_internal.h"
#include <perturbdiff/runtime/error.h>
#include <stdlib.h>
#include <string.h>

/* Rows from which a second thread pays. */
enum { PARALLEL_FROM = 32 };

static PetscErrorCode create(PetscInt64 cells, PetscInt dimension, CellFeatures **features)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(features));
  (*features)->cells     = cells;
  (*features)->dimension = dimension;
  (*features)->window    = MPI_WIN_NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode features_from_store(const CellStore *store, CellFeatures **features)
{
  PetscFunctionBeginUser;
  PetscCall(create(cellstore_table(store)->cells, cellstore_table(store)->gene.count, features));
  (*features)->store = store;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode features_from_doubles(PetscInt64 cells, PetscInt dimension, const double *rows, CellFeatures **features)
{
  PetscFunctionBeginUser;
  PetscCall(create(cells, dimension, features));
  (*features)->doubles = rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode features_from_floats(PetscInt64 cells, PetscInt dimension, const float *rows, CellFeatures **features)
{
  PetscFunctionBeginUser;
  PetscCall(create(cells, dimension, features));
  (*features)->floats = rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode features_destroy(CellFeatures **features)
{
  PetscFunctionBeginUser;
  if (!*features) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*features)->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&(*features)->window));
  PetscCall(PetscFree(*features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt   features_dimension(const CellFeatures *features) { return features->dimension; }

/* One cell; gene and value have room for all genes of a store. Called by threads: no PETSc call stack. */
static PetscErrorCode one_row(const CellFeatures *f, PetscInt64 cell, int32_t *gene, float *value, double *row, double *square)
{
  PetscInt       entries = 0;
  double         sum     = 0;
  PetscErrorCode code;

  if (f->store) {
    if ((code = cellstore_row(f->store, cell, &entries, gene, value))) return code;
    memset(row, 0, (size_t)f->dimension * sizeof *row);
    for (PetscInt e = 0; e < entries; e++) {
      row[gene[e]] = (double)value[e];
      sum += (double)value[e] * (double)value[e];
    }
  } else {
    const size_t first = (size_t)cell * (size_t)f->dimension;
    if (f->doubles) memcpy(row, f->doubles + first, (size_t)f->dimension * sizeof *row);
    else
      for (PetscInt g = 0; g < f->dimension; g++) row[g] = (double)f->floats[first + (size_t)g];
    for (PetscInt g = 0; g < f->dimension; g++) sum += row[g] * row[g];
  }
  if (square) *square = sum;
  return PETSC_SUCCESS;
}

PetscErrorCode features_rows(const CellFeatures *f, PetscInt64 first, PetscInt64 count, double *rows, PetscInt64 ld, double *square)
{
  int            failed = 0;
  PetscErrorCode failure[1] = {PETSC_SUCCESS};

  PetscFunctionBeginUser;
  PetscCheck(first >= 0 && count >= 0 && first + count <= f->cells, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Cells [%lld, %lld) of %lld", (long long)first,
             (long long)(first + count), (long long)f->cells);
#pragma omp parallel if (count >= PARALLEL_FROM)
  {
    const size_t room  = f->store ? (size_t)f->dimension : 1;
    int32_t     *gene  = malloc(room * sizeof *gene);
    float       *value = malloc(room * sizeof *value);

#pragma omp for schedule(static)
    for (PetscInt64 i = 0; i < count; i++) {
      const PetscErrorCode code = gene && value ? one_row(f, first + i, gene, value, rows + i * ld, square ? square + i : NULL) : PETSC_ERR_MEM;
      if (code) {
#pragma omp critical(features_failure)
        if (!failed) {
          failed     = 1;
          *failure   = code;
        }
      }
    }
    free(gene);
    free(value);
  }
  PetscCheck(*failure != PETSC_ERR_MEM, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for one cell");
  PetscFunctionReturn(*failure);
}

PetscInt64 groups_cells(PetscInt groups, const CellGroup *group)
{
  PetscInt64 cells = 0;

  for (PetscInt i = 0; i < groups; i++) cells += group[i].cells;
  return cells;
}

PetscErrorCode groups_rows(PetscInt groups, const CellGroup *group, PetscInt64 first, PetscInt64 count, double *rows, PetscInt64 ld, double *square)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < groups && count > 0; i++) {
    if (first >= group[i].cells) {
      first -= group[i].cells;
      continue;
    }
    const PetscInt64 now = PetscMin(count, group[i].cells - first);
    PetscCall(features_rows(group[i].features, group[i].first + first, now, rows, ld, square));
    rows += now * ld;
    if (square) square += now;
    count -= now;
    first = 0;
  }
  PetscCheck(!count, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%lld cells past the last group", (long long)count);
  PetscFunctionReturn(PETSC_SUCCESS);
}
