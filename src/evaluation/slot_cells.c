/* Cells of the scored populations and means of their controls. */
#include "evaluation/evaluate_internal.h"
#include <perturbdiff/runtime/error.h>

PetscErrorCode slotcells_create(const SlotList *slots, PetscInt genes, SlotCells *cells)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc4(slots->count, &cells->cells, slots->count, &cells->entries, slots->count, &cells->rows, (size_t)slots->controls * (size_t)genes, &cells->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slotcells_destroy(const SlotList *slots, SlotCells *cells)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < slots->count; s++) PetscCall(sparserows_free(&cells->rows[s]));
  PetscCall(PetscFree4(cells->cells, cells->entries, cells->rows, cells->mean));
  PetscCall(PetscFree2(cells->member, cells->member_begin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slotcells_list(const GroupedFile *file, const SlotList *slots, SlotCells *cells)
{
  PetscInt64 *next;

  PetscFunctionBeginUser;
  cells->wide = file->wide;
  PetscCall(PetscMalloc1(slots->count + 1, &next));
  next[0] = 0;
  for (PetscInt s = 0; s < slots->count; s++) next[s + 1] = next[s] + cells->cells[s];
  PetscCall(PetscMalloc2(next[slots->count], &cells->member, slots->count + 1, &cells->member_begin));
  PetscCall(PetscArraycpy(cells->member_begin, next, slots->count + 1));
  for (PetscInt64 i = 0; i < file->cells; i++) {
    const PetscInt s = file->key[i] < 0 ? -1 : key_find(slots->count, slots->key, file->key[i]);
    if (s >= 0) cells->member[next[s]++] = i;
  }
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slotcells_load_kept(const GroupedFile *file, PetscInt s, PetscInt genes, SlotCells *cells)
{
  const int32_t *moves = groupedfile_moves(file, file->position);
  SparseRows    *rows = &cells->rows[s];

  PetscFunctionBeginUser;
  *rows = (SparseRows){.columns = genes};
  PetscCall(PetscMalloc1(cells->cells[s] + 1, &rows->offset));
  PetscCall(sparserows_allocate(cells->entries[s], cells->wide, rows));
  rows->offset[0] = 0;
  PetscCall(groupedfile_append_cells(file, cells->member_begin[s + 1] - cells->member_begin[s], cells->member + cells->member_begin[s], moves, rows));
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

static const Population *population_of_slot(const CellStoreTable *table, const Axes *axes, const SlotList *slots, PetscInt s)
{
  PetscInt code[AXES];

  axes_codes(axes, slots->key[s], code);
  return &table->population[cellstore_find(table, code[0], code[1], code[2])];
}

PetscErrorCode storecells_load_slot(const CellStore *store, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes, PetscInt s, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(rows_of_population(store, population_of_slot(cellstore_table(store), axes, slots, s), position, genes, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode storecells_load(const CellStore *store, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes,
                               const unsigned char *wanted, SparseRows *rows)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < slots->count; s++)
    if (wanted[s]) PetscCall(storecells_load_slot(store, axes, slots, position, genes, s, &rows[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode storecells_controls(const CellStore *store, const double *means, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes,
                                   SlotCells *cells)
{
  const CellStoreTable *table = cellstore_table(store);
  const size_t          all = (size_t)table->gene.count;

  PetscFunctionBeginUser;
  PetscCall(slotcells_create(slots, genes, cells));
  for (PetscInt s = 0; s < slots->count; s++) {
    const Population *p = population_of_slot(table, axes, slots, s);
    cells->cells[s] = p->cells;
    /* How many are zero is not known before they are read. */
    cells->entries[s] = p->cells * genes;
    if (slots->control_row[s] < 0) continue;
    for (size_t g = 0; g < all; g++)
      if (position[g] >= 0)
        cells->mean[(size_t)slots->control_row[s] * (size_t)genes + (size_t)position[g]] = means[(size_t)(p - table->population) * all + g];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
