/* Which populations to generate: those of a split, or the rows of a table. */
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

/* csv_field - the next field of a line, in place; NULL at its end. Quoted fields may hold commas and doubled quotes. */
static char *csv_field(char **rest)
{
  char *field = *rest, *to, *from;

  if (!field) return NULL;
  while (*field == ' ' || *field == '\t') field++;
  if (*field == '"') {
    for (to = from = ++field; *from && (*from != '"' || from[1] == '"'); from++) {
      if (*from == '"') from++;
      *to++ = *from;
    }
    if (*from) from++;
    *to = '\0';
    from = strchr(from, ',');
  } else {
    from = strchr(field, ',');
    to = from ? from : field + strlen(field);
    while (to > field && (to[-1] == ' ' || to[-1] == '\t')) to--;
  }
  *rest = from ? from + 1 : NULL;
  *to = '\0';
  return field;
}

/* position[c] of column c in the header, -1 where absent. */
static PetscErrorCode header_columns(const char *path, char *header, const CellStoreTable *table, int position[COLUMNS])
{
  const char *const       own[COLUMNS] = {table->perturbation_column, table->cell_type_column, table->batch_column, ""};
  const Vocabulary *const vocabulary[] = {&table->perturbation, &table->cell_type, &table->batch};
  int                     count = 0;

  PetscFunctionBeginUser;
  for (int c = 0; c < COLUMNS; c++) position[c] = -1;
  for (char *name; (name = csv_field(&header)); count++) {
    for (int c = 0; c < COLUMNS; c++)
      if (!strcmp(name, column_name[c]) || (*own[c] && !strcmp(name, own[c]))) position[c] = count;
  }
  for (int c = 0; c < COLUMN_CELLS; c++) {
    if (position[c] < 0 && (c == COLUMN_PERTURBATION || vocabulary[c]->count > 1))
      return error_user("%s: no column '%s'; the first line must name perturbation,cell_type,batch and may name cells", path, column_name[c]);
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

static PetscErrorCode row_condition(const char *where, char *line, const int position[COLUMNS], const CellStoreTable *table, PetscInt64 cells,
                                    Condition *condition)
{
  const Vocabulary *const vocabulary[] = {&table->perturbation, &table->cell_type, &table->batch};
  const char             *text[COLUMNS] = {NULL};
  PetscInt                index[3] = {0, 0, 0};
  int                     count = 0;

  PetscFunctionBeginUser;
  for (char *field; (field = csv_field(&line)); count++)
    for (int c = 0; c < COLUMNS; c++)
      if (position[c] == count) text[c] = field;
  for (int c = 0; c < COLUMN_CELLS; c++) {
    if (position[c] < 0) continue;
    if (!text[c] || !*text[c]) return error_user("%s: no %s", where, column_name[c]);
    PetscCall(name_index(where, column_name[c], vocabulary[c], text[c], &index[c]));
  }
  if (index[0] == table->control)
    return error_user("%s: '%s' is the control label; control cells are written as they are, with -with_controls", where, text[0]);
  *condition = (Condition){.perturbation = index[0], .cell_type = index[1], .batch = index[2], .cells = cells};
  if (text[COLUMN_CELLS] && *text[COLUMN_CELLS]) {
    char           *end;
    const long long number = strtoll(text[COLUMN_CELLS], &end, 10);
    if (*end || number < 1 || number > 1000000000) return error_user("%s: cells '%s' is not a whole number from 1 on", where, text[COLUMN_CELLS]);
    condition->cells = number;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode parse_conditions(const char *path, char *text, const CellStoreTable *table, PetscInt64 cells, PetscInt64 otherwise, ConditionList *list)
{
  char where[PETSC_MAX_PATH_LEN + 32];
  int  position[COLUMNS];
  long number = 0;

  PetscFunctionBeginUser;
  for (char *line = text, *next; line; line = next) {
    next = strchr(line, '\n');
    if (next) *next++ = '\0';
    line[strcspn(line, "\r")] = '\0';
    number++;
    if (!line[strspn(line, " \t")] || *line == '#') continue;
    if (list->count < 0) {
      PetscCall(header_columns(path, line, table, position));
      list->count = 0;
      continue;
    }
    Condition *condition = &list->item[list->count];
    snprintf(where, sizeof where, "%s line %ld", path, number);
    PetscCall(row_condition(where, line, position, table, cells, condition));
    PetscCall(condition_complete(table, where, otherwise, condition));
    for (PetscInt i = 0; i < list->count; i++)
      if (list->item[i].perturbation == condition->perturbation && list->item[i].cell_type == condition->cell_type && list->item[i].batch == condition->batch)
        return error_user("%s: the same perturbation, cell type and batch as condition %d of the table; give each once", where, (int)i + 1);
    list->count++;
  }
  if (list->count < 1) return error_user("%s: no conditions; one line for each after the line of column names", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode conditions_read(MPI_Comm comm, const char *path, const CellStoreTable *table, PetscInt64 cells, PetscInt64 otherwise, ConditionList *list)
{
  char          *text;
  size_t         length;
  PetscInt       lines = 1;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
  PetscCall(PetscMalloc1(lines, &list->item));
  list->count = -1; /* until the header is read */
  code = parse_conditions(path, text, table, cells, otherwise, list);
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
