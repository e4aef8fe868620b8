/* Looking things up in the tables of a store; their checksum. */
#include "data/cellstore_format.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <stdio.h>
#include <string.h>

PetscInt vocabulary_find(const Vocabulary *vocabulary, const char *name)
{
  for (PetscInt i = 0; i < vocabulary->count; i++)
    if (!strcmp(vocabulary->name[i], name)) return i;
  return -1;
}

PetscInt cellstore_find(const CellStoreTable *table, PetscInt perturbation, PetscInt cell_type, PetscInt batch)
{
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i];
    if (p->perturbation == perturbation && p->cell_type == cell_type && p->batch == batch) return i;
  }
  return -1;
}

/* Largest control population with these labels (-1: any), the first of equals. */
static PetscInt largest_control(const CellStoreTable *table, PetscInt cell_type, PetscInt batch)
{
  PetscInt best = -1;

  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i];
    if (p->perturbation != table->control || !p->cells) continue;
    if ((cell_type >= 0 && p->cell_type != cell_type) || (batch >= 0 && p->batch != batch)) continue;
    if (best < 0 || p->cells > table->population[best].cells) best = i;
  }
  return best;
}

PetscInt control_pair(const CellStoreTable *table, PetscInt cell_type, PetscInt batch)
{
  PetscInt control = largest_control(table, cell_type, batch);

  if (control < 0) control = largest_control(table, -1, batch);
  if (control < 0) control = largest_control(table, cell_type, -1);
  return control;
}

void population_label(const CellStoreTable *table, PetscInt population, char *text, size_t size)
{
  const Population *p = &table->population[population];

  snprintf(text, size, "%s|%s|%s", table->perturbation.name[p->perturbation], table->cell_type.name[p->cell_type], table->batch.name[p->batch]);
}

/* Checksum of a piece of the tables; pieces follow one another. */
static void add_piece(const void *bytes, size_t size, uint64_t *position, uint64_t *checksum)
{
  *checksum += checksum_piece(bytes, size, *position);
  *position += size + 1;
}

static void add_vocabulary(const Vocabulary *vocabulary, uint64_t *position, uint64_t *checksum)
{
  const int64_t count = vocabulary->count;

  add_piece(&count, sizeof count, position, checksum);
  for (PetscInt i = 0; i < vocabulary->count; i++) add_piece(vocabulary->name[i], strlen(vocabulary->name[i]), position, checksum);
}

PetscErrorCode cellstore_table_checksum(const CellStoreTable *table, uint64_t *checksum)
{
  uint64_t      position = 0;
  const double  scale[2] = {table->value_scale, table->library_size};
  const int64_t sizes[3] = {table->control, table->populations, table->cells};
  const char   *columns[3] = {table->perturbation_column, table->cell_type_column, table->batch_column};

  PetscFunctionBeginUser;
  *checksum = 0;
  add_piece(scale, sizeof scale, &position, checksum);
  add_piece(sizes, sizeof sizes, &position, checksum);
  for (int i = 0; i < 3; i++) add_piece(columns[i], strlen(columns[i]), &position, checksum);
  add_vocabulary(&table->gene, &position, checksum);
  add_vocabulary(&table->perturbation, &position, checksum);
  add_vocabulary(&table->cell_type, &position, checksum);
  add_vocabulary(&table->batch, &position, checksum);
  add_vocabulary(&table->dataset, &position, checksum);
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p         = &table->population[i];
    const int64_t     fields[8] = {p->perturbation, p->cell_type, p->batch, p->dataset, p->first_cell, p->cells, p->control, p->split};
    add_piece(fields, sizeof fields, &position, checksum);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

uint64_t cellstore_row_checksum(PetscInt64 cell, int64_t first, PetscInt entries, const int32_t *gene, const float *value)
{
  /* The top bits keep the positions of the three arrays apart. */
  const uint64_t offsets = UINT64_C(1) << 63, genes = UINT64_C(1) << 62, at = (uint64_t)first * 4;
  const int64_t  end = first + entries;

  return checksum_piece(&end, sizeof end, offsets | (uint64_t)cell * 8) + checksum_piece(gene, (size_t)entries * 4, genes | at) + checksum_piece(value, (size_t)entries * 4, at);
}
