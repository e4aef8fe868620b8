/* Cells of the scored populations and means of their controls. */
#include "evaluation/evaluate_internal.h"
#include <perturbdiff/runtime/error.h>

PetscErrorCode slotcells_create(const SlotList *slots, PetscInt genes, SlotCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(slots->count, &cells->cells, slots->count, &cells->rows, (size_t)slots->controls * (size_t)genes, &cells->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slotcells_destroy(const SlotList *slots, SlotCells *cells)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < slots->count; s++) PetscCall(sparserows_free(&cells->rows[s]));
  PetscCall(PetscFree3(cells->cells, cells->rows, cells->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode rows_of_population(const CellStore *store, const Population *p, const int32_t *position, PetscInt genes, SparseRows *rows)
{
  const PetscInt all = cellstore_table(store)->gene.count;
  int32_t       *gene;
  float         *value;
  int64_t        used = 0;

  PetscFunctionBeginUser;
  *rows = (SparseRows){.rows = p->cells, .columns = genes};
  PetscCall(PetscMalloc2(all, &gene, all, &value));
  PetscCall(PetscMalloc1(p->cells + 1, &rows->offset));
  rows->offset[0] = 0;
  int64_t capacity = 0;
  for (PetscInt64 i = 0; i < p->cells; i++) {
    PetscInt entries;
    PetscCall(cellstore_row(store, p->first_cell + i, &entries, gene, value));
    if (used + entries > capacity) {
      capacity = 2 * (used + entries);
      PetscCall(PetscRealloc((size_t)capacity * sizeof *rows->column, &rows->column));
      PetscCall(PetscRealloc((size_t)capacity * sizeof *rows->value, &rows->value));
    }
    for (PetscInt e = 0; e < entries; e++) {
      if (position[gene[e]] < 0) continue;
      rows->column[used] = position[gene[e]];
      rows->value[used++] = value[e];
    }
    rows->offset[i + 1] = used;
  }
  PetscCall(PetscFree2(gene, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slotcells_of_store(const CellStore *store, const double *means, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes,
                                  const unsigned char *wanted, SlotCells *cells)
{
  const CellStoreTable *table = cellstore_table(store);

  PetscFunctionBeginUser;
  PetscCall(slotcells_create(slots, genes, cells));
  for (PetscInt s = 0; s < slots->count; s++) {
    PetscInt code[AXES];
    axes_codes(axes, slots->key[s], code);
    const PetscInt    k = cellstore_find(table, code[0], code[1], code[2]);
    const Population *p = &table->population[k];
    cells->cells[s] = p->cells;
    if (wanted[s]) PetscCall(rows_of_population(store, p, position, genes, &cells->rows[s]));
    if (slots->control_row[s] < 0) continue;
    for (PetscInt g = 0; g < table->gene.count; g++)
      if (position[g] >= 0)
        cells->mean[(size_t)slots->control_row[s] * (size_t)genes + (size_t)position[g]] = means[(size_t)k * (size_t)table->gene.count + (size_t)g];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
