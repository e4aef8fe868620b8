/* Which populations to generate: those of a split, or the rows of a table. */
#include <perturbdiff/runtime/csv.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/sampling.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_PERTURBATION, COLUMN_CELL_TYPE, COLUMN_BATCH, COLUMN_CELLS, COLUMNS };
static const char *const column_name[COLUMNS] = {"perturbation", "cell_type", "batch", "cells"};

/* Of the names, not the indices: another store with the same names draws the same numbers. */
static uint64_t condition_key(const CellStoreTable *table, const Condition *condition)
{
  const char *const names[] = {table->perturbation.name[condition->perturbation], table->cell_type.name[condition->cell_type],
                               table->batch.name[condition->batch]};
  uint64_t          key = 0, position = 0;

  for (int i = 0; i < 3; i++) {
    key += checksum_piece(names[i], strlen(names[i]) + 1, position);
    position += 4096;
  }
  return key;
}

/* Fill in what follows from the three names. where: for the message. */
static PetscErrorCode condition_complete(const CellStoreTable *table, const char *where, PetscInt64 otherwise, Condition *condition)
{
  const PetscInt real = cellstore_find(table, condition->perturbation, condition->cell_type, condition->batch);

  PetscFunctionBeginUser;
  condition->control = real >= 0 ? table->population[real].control : control_pair(table, condition->cell_type, condition->batch);
  if (condition->control < 0 || table->population[condition->control].cells == 0)
    return error_user("%s: no control cells for %s|%s|%s: neither its cell type nor its batch has any", where,
                      table->perturbation.name[condition->perturbation], table->cell_type.name[condition->cell_type], table->batch.name[condition->batch]);
  condition->first_control = table->population[condition->control].first_cell;
  condition->controls = table->population[condition->control].cells;
  if (!condition->cells) condition->cells = real >= 0 && table->population[real].cells ? table->population[real].cells : otherwise;
  condition->key = condition_key(table, condition);
  condition->shift = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode conditions_of_split(const CellStoreTable *table, Split split, PetscInt64 cells, ConditionList *list)
{
  static const char *const name[] = {"train", "validation", "test"};
  PetscInt                 count[3] = {0, 0, 0};

  PetscFunctionBeginUser;
  list->count = 0;
  PetscCall(PetscMalloc1(table->populations, &list->item));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];

    if (p->perturbation == table->control || !p->cells) continue;
    count[p->split]++;
    if (p->split != split) continue;
    Condition *condition = &list->item[list->count++];
    *condition = (Condition){.perturbation = p->perturbation, .cell_type = p->cell_type, .batch = p->batch, .cells = cells};
    PetscCall(condition_complete(table, "-split", 0, condition));
  }
  if (!list->count) {
    PetscCall(conditions_free(list));
    return error_user("-split %s: the store has no such populations (train %d, validation %d, test %d); choose another or give -conditions FILE.csv",
                      name[split], (int)count[0], (int)count[1], (int)count[2]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* position[c] of column c, -1 where absent. */
static PetscErrorCode find_columns(const CsvLines *lines, const CellStoreTable *table, PetscInt position[COLUMNS])
{
  const char *const       own[COLUMNS] = {table->perturbation_column, table->cell_type_column, table->batch_column, ""};
  const Vocabulary *const vocabulary[] = {&table->perturbation, &table->cell_type, &table->batch};

  PetscFunctionBeginUser;
  for (int c = 0; c < COLUMNS; c++) {
    position[c] = csvlines_column(lines, column_name[c]);
    if (position[c] < 0 && *own[c]) position[c] = csvlines_column(lines, own[c]);
  }
  for (int c = 0; c < COLUMN_CELLS; c++) {
    if (position[c] < 0 && (c == COLUMN_PERTURBATION || vocabulary[c]->count > 1))
      return error_user("%s: no column '%s'; the first line must name perturbation,cell_type,batch and may name cells", lines->path, column_name[c]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode name_index(const char *where, const char *column, const Vocabulary *vocabulary, const char *name, PetscInt *index)
{
  PetscFunctionBeginUser;
  *index = vocabulary_find(vocabulary, name);
  if (*index < 0) {
    const char *near = nearest_name(name, (const char *const *)vocabulary->name, (size_t)vocabulary->count);
    if (near) return error_user("%s: %s '%s' is not known to the model; did you mean '%s'?", where, column, name, near);
    return error_user("%s: %s '%s' is not known to the model, which has %d, the first '%s'", where, column, name, (int)vocabulary->count, vocabulary->name[0]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode line_condition(const char *where, const CsvLines *lines, const PetscInt position[COLUMNS], const CellStoreTable *table, PetscInt64 cells,
                                     Condition *condition)
{
  const Vocabulary *const vocabulary[] = {&table->perturbation, &table->cell_type, &table->batch};
  PetscInt                index[3] = {0, 0, 0};

  PetscFunctionBeginUser;
  for (int c = 0; c < COLUMN_CELLS; c++) {
    if (position[c] < 0) continue;
    const char *text = lines->cell[position[c]];
    if (!*text) return error_user("%s: no %s", where, column_name[c]);
    PetscCall(name_index(where, column_name[c], vocabulary[c], text, &index[c]));
  }
  if (index[0] == table->control)
    return error_user("%s: '%s' is the control label; control cells are written as they are, with -with_controls", where, table->perturbation.name[index[0]]);
  *condition = (Condition){.perturbation = index[0], .cell_type = index[1], .batch = index[2], .cells = cells};
  const char *count = position[COLUMN_CELLS] < 0 ? "" : lines->cell[position[COLUMN_CELLS]];
  if (*count) {
    char           *end;
    const long long number = strtoll(count, &end, 10);
    if (*end || number < 1 || number > 1000000000) return error_user("%s: cells '%s' is not a whole number from 1 on", where, count);
    condition->cells = number;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode parse_conditions(CsvLines *lines, const CellStoreTable *table, PetscInt64 cells, PetscInt64 otherwise, ConditionList *list)
{
  char      where[PETSC_MAX_PATH_LEN + 32];
  PetscInt  position[COLUMNS];
  PetscBool more;

  PetscFunctionBeginUser;
  PetscCall(find_columns(lines, table, position));
  for (;;) {
    PetscCall(csvlines_next(lines, &more));
    if (!more) break;
    Condition *condition = &list->item[list->count];
    snprintf(where, sizeof where, "%s:%lld", lines->path, (long long)lines->line);
    PetscCall(line_condition(where, lines, position, table, cells, condition));
    PetscCall(condition_complete(table, where, otherwise, condition));
    for (PetscInt i = 0; i < list->count; i++)
      if (list->item[i].perturbation == condition->perturbation && list->item[i].cell_type == condition->cell_type && list->item[i].batch == condition->batch)
        return error_user("%s: the same perturbation, cell type and batch as condition %d of the table; give each once", where, (int)i + 1);
    list->count++;
  }
  if (!list->count) return error_user("%s: no conditions; one line for each after the line of column names", lines->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode conditions_read(MPI_Comm comm, const char *path, const CellStoreTable *table, PetscInt64 cells, PetscInt64 otherwise, ConditionList *list)
{
  char          *text;
  size_t         length;
  PetscInt       most = 1;
  CsvLines       lines;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  for (size_t i = 0; i < length; i++) most += text[i] == '\n';
  PetscCall(PetscMalloc1(most, &list->item));
  list->count = 0;
  code = csvlines_open(path, text, &lines);
  if (!code) code = parse_conditions(&lines, table, cells, otherwise, list);
  PetscCall(csvlines_close(&lines));
  PetscCall(PetscFree(text));
  if (code) PetscCall(conditions_free(list));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode conditions_free(ConditionList *list)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(list->item));
  list->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
