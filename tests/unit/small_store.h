/* A small cell store of known values, written by the library's writer. */
#ifndef TESTS_UNIT_SMALL_STORE_H
#define TESTS_UNIT_SMALL_STORE_H

#include "data/cellstore_write.h"
#include <perturbdiff/runtime/options.h>
#include <string.h>

enum { SMALL_GENES = 7, SMALL_CELLS = 31, SMALL_POPULATIONS = 5 };

static const char *small_genes[]         = {"G0", "G1", "G2", "G3", "G4", "G5", "G6"};
static const char *small_perturbations[] = {"control", "drug a", "drug b"};
static const char *small_types[]         = {"B cells", "T cells"};
static const char *small_batches[]       = {"donor 1"};
static const char *small_datasets[]      = {"small"};

/* Two cell types with their controls; drug b was not given to T cells. */
static Population small_populations[SMALL_POPULATIONS] = {
  {0, 0, 0, 0, 0, 8, 0, SPLIT_TRAIN}, {1, 0, 0, 0, 8, 5, 0, SPLIT_TRAIN}, {2, 0, 0, 0, 13, 7, 0, SPLIT_TEST}, {0, 1, 0, 0, 20, 6, 3, SPLIT_TRAIN}, {1, 1, 0, 0, 26, 5, 3, SPLIT_VALIDATION},
};

/* Value of a gene in a cell; about two in three are zero, cell 4 is all zero. */
static inline float small_value(int64_t cell, int gene) { return cell == 4 || (cell * 5 + gene * 3) % 3 ? 0.f : 0.25f * (float)(1 + (cell * 7 + gene * 11) % 13); }

static inline CellStoreTable small_table(void)
{
  return (CellStoreTable){.gene                = {SMALL_GENES, (char **)(void *)small_genes},
                          .perturbation        = {3, (char **)(void *)small_perturbations},
                          .cell_type           = {2, (char **)(void *)small_types},
                          .batch               = {1, (char **)(void *)small_batches},
                          .dataset             = {1, (char **)(void *)small_datasets},
                          .perturbation_column = (char *)(uintptr_t) "perturbation",
                          .cell_type_column    = (char *)(uintptr_t) "cell_type",
                          .batch_column        = (char *)(uintptr_t) "",
                          .control             = 0,
                          .populations         = SMALL_POPULATIONS,
                          .population          = small_populations,
                          .cells               = SMALL_CELLS,
                          .value_scale         = 10,
                          .library_size        = 10000};
}

/* Cells [first, end) as sparse rows. */
static inline PetscErrorCode small_rows(int64_t first, int64_t end, SparseRows *rows)
{
  int64_t entries = 0;

  PetscFunctionBeginUser;
  *rows = (SparseRows){.rows = end - first, .columns = SMALL_GENES};
  PetscCall(PetscMalloc1((size_t)(end - first + 1), &rows->offset));
  PetscCall(PetscMalloc1((size_t)((end - first) * SMALL_GENES + 1), &rows->column));
  PetscCall(PetscMalloc1((size_t)((end - first) * SMALL_GENES + 1), &rows->value));
  rows->offset[0] = 0;
  for (int64_t cell = first; cell < end; cell++) {
    for (int gene = 0; gene < SMALL_GENES; gene++) {
      if (small_value(cell, gene) <= 0) continue;
      rows->column[entries] = gene;
      rows->value[entries]  = small_value(cell, gene);
      entries++;
    }
    rows->offset[cell - first + 1] = entries;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Write the store in windows of 12 cells, each dealt over the ranks of comm. */
static inline PetscErrorCode small_write(MPI_Comm comm, const char *path, PetscInt compress, uint64_t *checksum)
{
  enum { WINDOW = 12, NAME = 8 };
  const CellStoreTable table = small_table();
  CellStoreContent     content = {.name_length = NAME, .compress = compress, .command = "test"};
  CellStoreWriter     *writer;
  int                  rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int64_t cell = 0; cell < SMALL_CELLS; cell++)
    for (int gene = 0; gene < SMALL_GENES; gene++) content.entries += small_value(cell, gene) > 0;
  PetscCall(cellstore_create(comm, path, &table, &content, &writer));
  for (int64_t window = 0; window < SMALL_CELLS; window += WINDOW) {
    const int64_t cells = window + WINDOW < SMALL_CELLS ? WINDOW : SMALL_CELLS - window;
    const int64_t first = window + cells * rank / size, end = window + cells * (rank + 1) / size;
    char          names[WINDOW * NAME + 1];
    int64_t       source[WINDOW];
    SparseRows    rows;

    PetscCall(small_rows(first, end, &rows));
    for (int64_t cell = first; cell < end; cell++) {
      char name[32] = {0};
      snprintf(name, sizeof name, "cell %d", (int)cell);
      memcpy(names + (cell - first) * NAME, name, NAME);
      source[cell - first] = 100 + cell;
    }
    PetscCall(cellstore_append(writer, &rows, names, source));
    PetscCall(PetscFree(rows.offset));
    PetscCall(PetscFree(rows.column));
    PetscCall(PetscFree(rows.value));
  }
  PetscCall(cellstore_commit(&writer, checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#endif
