/* From the columns of obs to populations: vocabularies over all inputs, the code of every cell, the order of the store. */
#include "data/prepare_internal.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>
#include <stdlib.h>
#include <string.h>

enum { PERTURBATION, CELL_TYPE, BATCH, KINDS };

/* The three label columns of one input; a column that was not asked for has one level. */
typedef struct {
  AnnColumn      column[KINDS];
  int32_t       *code[KINDS]; /* (levels) index in the vocabulary over all inputs */
  unsigned char *used[KINDS]; /* (levels) does a cell that is kept have it? */
} Labels;

/* ---- Reading ---- */

static PetscErrorCode constant_column(const char *name, AnnColumn *column)
{
  PetscFunctionBeginUser;
  column->levels = 1;
  PetscCall(PetscMalloc1(1, &column->level));
  PetscCall(PetscStrallocpy(name, &column->level[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int32_t code_of(const Labels *labels, int kind, PetscInt64 cell) { return labels->column[kind].code ? labels->column[kind].code[cell] : 0; }

static PetscErrorCode read_labels(const Preparation *preparation, PetscInt i, Labels *labels)
{
  const PrepareOptions *options     = preparation->options;
  const char           *name[KINDS] = {options->perturbation_column, options->cell_type_column, options->batch_column};
  const PrepareInput   *input       = &preparation->input[i];

  PetscFunctionBeginUser;
  for (int k = 0; k < KINDS; k++) {
    AnnColumn *column = &labels->column[k];
    /* Without a batch column each data set is a batch. */
    if (!*name[k]) PetscCall(constant_column(k == BATCH && preparation->inputs > 1 ? preparation->table.dataset.name[i] : "all", column));
    else PetscCall(anndata_column(input->file, "obs", name[k], column));
    PetscCall(PetscCalloc1((size_t)column->levels, &labels->used[k]));
    PetscCall(PetscMalloc1((size_t)column->levels, &labels->code[k]));
  }
  for (PetscInt64 cell = 0; cell < input->cells; cell++) {
    const int32_t code[KINDS] = {code_of(labels, PERTURBATION, cell), code_of(labels, CELL_TYPE, cell), code_of(labels, BATCH, cell)};
    const PetscBool whole     = code[0] >= 0 && code[1] >= 0 && code[2] >= 0 ? PETSC_TRUE : PETSC_FALSE;
    preparation->population[input->first_cell + cell] = whole ? 0 : -1;
    for (int k = 0; k < KINDS && whole; k++) labels->used[k][code[k]] = 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode free_labels(PetscInt inputs, Labels **labels)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; *labels && i < inputs; i++) {
    for (int k = 0; k < KINDS; k++) {
      PetscCall(anncolumn_free(&(*labels)[i].column[k]));
      PetscCall(PetscFree((*labels)[i].code[k]));
      PetscCall(PetscFree((*labels)[i].used[k]));
    }
  }
  PetscCall(PetscFree(*labels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Vocabularies ---- */

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Does a level that is used occur in two inputs? */
static PetscBool shared_level(PetscInt inputs, const Labels *labels, int kind)
{
  for (PetscInt i = 0; i < inputs; i++)
    for (PetscInt j = 0; j < i; j++)
      for (PetscInt a = 0; a < labels[i].column[kind].levels; a++)
        for (PetscInt b = 0; b < labels[j].column[kind].levels; b++)
          if (labels[i].used[kind][a] && labels[j].used[kind][b] && !strcmp(labels[i].column[kind].level[a], labels[j].column[kind].level[b])) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* A batch belongs to one data set: where two inputs use the same name, all batches are called "data set:batch". */
static PetscErrorCode separate_batches(const Preparation *preparation, Labels *labels)
{
  PetscFunctionBeginUser;
  if (!shared_level(preparation->inputs, labels, BATCH)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    AnnColumn *column = &labels[i].column[BATCH];
    for (PetscInt a = 0; a < column->levels; a++) {
      const size_t size = strlen(preparation->table.dataset.name[i]) + strlen(column->level[a]) + 2;
      char        *name;
      PetscCall(PetscMalloc1(size, &name));
      snprintf(name, size, "%s:%s", preparation->table.dataset.name[i], column->level[a]);
      PetscCall(PetscFree(column->level[a]));
      column->level[a] = name;
    }
  }
  PetscCall(log_line(preparation->comm, "             inputs share names of batches: batches are called 'data set:batch'"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sorted names of the levels that are used, and each input's codes into them. */
static PetscErrorCode make_vocabulary(PetscInt inputs, Labels *labels, int kind, Vocabulary *vocabulary)
{
  size_t       most = 0, count = 0, distinct = 0;
  const char **name;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < inputs; i++) most += (size_t)labels[i].column[kind].levels;
  PetscCall(PetscMalloc1(most + 1, &name));
  for (PetscInt i = 0; i < inputs; i++)
    for (PetscInt a = 0; a < labels[i].column[kind].levels; a++)
      if (labels[i].used[kind][a]) name[count++] = labels[i].column[kind].level[a];
  qsort(name, count, sizeof *name, compare_names);
  for (size_t a = 0; a < count; a++)
    if (!a || strcmp(name[a], name[distinct - 1])) name[distinct++] = name[a];
  for (PetscInt i = 0; i < inputs; i++) {
    for (PetscInt a = 0; a < labels[i].column[kind].levels; a++) {
      const char **at              = bsearch(&labels[i].column[kind].level[a], name, distinct, sizeof *name, compare_names);
      labels[i].code[kind][a] = at ? (int32_t)(at - name) : -1;
    }
  }
  PetscCall(PetscMalloc1(distinct + 1, &vocabulary->name));
  for (size_t a = 0; a < distinct; a++) PetscCall(PetscStrallocpy(name[a], &vocabulary->name[a]));
  vocabulary->count = (PetscInt)distinct;
  PetscCall(PetscFree(name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode find_control(const Preparation *preparation, PetscInt *control)
{
  const PrepareOptions *options = preparation->options;
  const Vocabulary     *labels  = &preparation->table.perturbation;
  char                  list[512];
  int                   length = 0;

  PetscFunctionBeginUser;
  *control = vocabulary_find(labels, options->control);
  if (*control >= 0 && labels->count > 1) PetscFunctionReturn(PETSC_SUCCESS);
  if (*control >= 0) return error_user("column '%s' holds nothing but the control label '%s': there is no perturbation to learn", options->perturbation_column, options->control);
  list[0] = '\0';
  for (PetscInt i = 0; i < labels->count && length < 400; i++) length += snprintf(list + length, sizeof list - (size_t)length, "%s'%.60s'", i ? ", " : "", labels->name[i]);
  return error_user("column '%s' has no cells labelled '%s' for the control; it holds %s%s", options->perturbation_column, options->control, list,
                    length >= 400 ? ", ..." : "");
}

/* ---- Populations ---- */

/* One (perturbation, cell type, batch, data set) while the order of the store is made. */
typedef struct {
  int64_t  key;
  int32_t  found; /* number in order of first appearance */
  PetscInt group; /* its control population, in order of first appearance */
  Population population;
} Group;

static int by_store_order(const void *a, const void *b)
{
  const Group      *x = a, *y = b;
  const Population *p = &x->population, *q = &y->population;
  /* Control first in each group. */
  const int64_t left[5]  = {x->group, p->control == x->found ? 0 : 1, p->perturbation, p->cell_type, p->batch};
  const int64_t right[5] = {y->group, q->control == y->found ? 0 : 1, q->perturbation, q->cell_type, q->batch};

  for (int i = 0; i < 5; i++)
    if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
  return 0;
}

static int by_key(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

  return (x > y) - (x < y);
}

/* Number of a cell's (perturbation, cell type, batch, data set) among all there could be. */
static int64_t key_of(const CellStoreTable *table, const Labels *labels, PetscInt input, PetscInt64 cell)
{
  const int64_t sizes[KINDS] = {table->perturbation.count, table->cell_type.count, table->batch.count};
  int64_t       key          = input;

  for (int k = KINDS - 1; k >= 0; k--) key = key * sizes[k] + labels[input].code[k][code_of(&labels[input], k, cell)];
  return key;
}

/* Keys of all cells that are kept, sorted and distinct. Cells lie in runs: only a change of key is looked up. */
static PetscErrorCode distinct_keys(const Preparation *preparation, const Labels *labels, int64_t **keys, size_t *count)
{
  const CellStoreTable *table    = &preparation->table;
  size_t                capacity = 1024, n = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(capacity, keys));
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    int64_t last = -1;
    for (PetscInt64 cell = 0; cell < preparation->input[i].cells; cell++) {
      if (preparation->population[preparation->input[i].first_cell + cell] < 0) continue;
      const int64_t key = key_of(table, labels, i, cell);
      if (key == last) continue;
      last = key;
      if (n == capacity) {
        /* Full: keep one of each; grow when that does not help. */
        size_t distinct = 0;
        qsort(*keys, n, sizeof **keys, by_key);
        for (size_t a = 0; a < n; a++)
          if (!a || (*keys)[a] != (*keys)[distinct - 1]) (*keys)[distinct++] = (*keys)[a];
        n = distinct;
        if (2 * n > capacity) PetscCall(PetscRealloc((capacity *= 2) * sizeof **keys, keys));
      }
      (*keys)[n++] = key;
    }
  }
  qsort(*keys, n, sizeof **keys, by_key);
  *count = 0;
  for (size_t a = 0; a < n; a++)
    if (!a || (*keys)[a] != (*keys)[*count - 1]) (*keys)[(*count)++] = (*keys)[a];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations in the order of their keys, with their numbers of cells; every cell gets the number of its population. */
static PetscErrorCode count_populations(Preparation *preparation, const Labels *labels)
{
  CellStoreTable *table          = &preparation->table;
  const int64_t   sizes[KINDS]   = {table->perturbation.count, table->cell_type.count, table->batch.count};
  int64_t        *keys  = NULL;
  size_t          count = 0;

  PetscFunctionBeginUser;
  PetscCall(distinct_keys(preparation, labels, &keys, &count));
  table->populations = (PetscInt)count;
  PetscCall(PetscCalloc1(count + 1, &table->population));
  for (size_t p = 0; p < count; p++) {
    int64_t rest = keys[p];
    table->population[p].perturbation = (PetscInt)(rest % sizes[0]);
    table->population[p].cell_type    = (PetscInt)((rest /= sizes[0]) % sizes[1]);
    table->population[p].batch        = (PetscInt)((rest /= sizes[1]) % sizes[2]);
    table->population[p].dataset      = (PetscInt)(rest / sizes[2]);
  }
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    int64_t last = -1;
    int32_t number = 0;
    for (PetscInt64 cell = 0; cell < preparation->input[i].cells; cell++) {
      int32_t *population = &preparation->population[preparation->input[i].first_cell + cell];
      if (*population < 0) continue;
      const int64_t key = key_of(table, labels, i, cell);
      if (key != last) number = (int32_t)((int64_t *)bsearch(&key, keys, count, sizeof *keys, by_key) - keys);
      last        = key;
      *population = number;
      table->population[number].cells++;
    }
  }
  PetscCall(PetscFree(keys));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pair every population with its control; returns how many had to take a neighbour's and how many cells found none. */
static PetscErrorCode pair_controls(CellStoreTable *table, PetscInt *fallbacks, PetscInt *alone, PetscInt64 *alone_cells)
{
  const size_t types = (size_t)table->cell_type.count, batches = (size_t)table->batch.count;
  PetscInt    *known;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(types * batches, &known));
  for (size_t i = 0; i < types * batches; i++) known[i] = -2;
  *fallbacks = *alone = 0;
  *alone_cells        = 0;
  for (PetscInt i = 0; i < table->populations; i++) {
    Population *p    = &table->population[i];
    PetscInt   *pair = &known[(size_t)p->cell_type * batches + (size_t)p->batch];
    if (*pair == -2) *pair = control_pair(table, p->cell_type, p->batch);
    p->control = p->perturbation == table->control ? i : *pair;
    if (p->control < 0) {
      ++*alone;
      *alone_cells += p->cells;
    } else if (table->population[p->control].cell_type != p->cell_type || table->population[p->control].batch != p->batch) ++*fallbacks;
  }
  PetscCall(PetscFree(known));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Groups of one control, control first; populations without any control leave. Cells get their new numbers. */
static PetscErrorCode order_populations(Preparation *preparation)
{
  CellStoreTable *table = &preparation->table;
  PetscInt        kept = 0, *number;
  Group          *group;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)table->populations, &group, (size_t)table->populations, &number));
  for (PetscInt i = 0; i < table->populations; i++) {
    number[i] = -1;
    if (table->population[i].control < 0) continue;
    group[kept++] = (Group){.found = i, .group = table->population[i].control, .population = table->population[i]};
  }
  qsort(group, (size_t)kept, sizeof *group, by_store_order);
  for (PetscInt i = 0; i < kept; i++) number[group[i].found] = i;
  table->populations = kept;
  table->cells       = 0;
  for (PetscInt i = 0; i < kept; i++) {
    Population *p = &table->population[i];
    *p            = group[i].population;
    p->control    = number[p->control];
    p->first_cell = table->cells;
    table->cells += p->cells;
  }
  for (PetscInt64 cell = 0; cell < preparation->cells; cell++)
    if (preparation->population[cell] >= 0) preparation->population[cell] = number[preparation->population[cell]];
  PetscCall(PetscFree2(group, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode log_populations(const Preparation *preparation, PetscInt64 unlabelled, PetscInt fallbacks, PetscInt alone, PetscInt64 alone_cells)
{
  const CellStoreTable *table = &preparation->table;
  PetscInt              perturbed = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < table->populations; i++) perturbed += table->population[i].perturbation != table->control;
  if (unlabelled) PetscCall(log_line(preparation->comm, "             %lld cells dropped: a label is missing", (long long)unlabelled));
  if (alone)
    PetscCall(log_line(preparation->comm, "             %d populations dropped (%lld cells): no control cells in their batch or cell type", (int)alone, (long long)alone_cells));
  if (fallbacks) PetscCall(log_line(preparation->comm, "             %d populations have no control of their own and are paired with that of a neighbour", (int)fallbacks));
  PetscCall(log_line(preparation->comm, "             populations: %d perturbed and %d control; perturbations: %d, cell types: %d, batches: %d", (int)perturbed,
                     (int)(table->populations - perturbed), (int)table->perturbation.count - 1, (int)table->cell_type.count, (int)table->batch.count));
  if (!perturbed) return error_user("no perturbed population has a control: '%s' cells share neither a batch nor a cell type with any perturbed cell", preparation->options->control);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode make_populations(Preparation *preparation, Labels *labels)
{
  CellStoreTable *table      = &preparation->table;
  PetscInt64      unlabelled = 0, alone_cells = 0;
  PetscInt        fallbacks = 0, alone = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < preparation->inputs; i++) PetscCall(read_labels(preparation, i, &labels[i]));
  for (PetscInt64 cell = 0; cell < preparation->cells; cell++) unlabelled += preparation->population[cell] < 0;
  if (unlabelled == preparation->cells) return error_user("no cells left: every cell lacks a label in one of the columns given");
  PetscCall(separate_batches(preparation, labels));
  PetscCall(make_vocabulary(preparation->inputs, labels, PERTURBATION, &table->perturbation));
  PetscCall(make_vocabulary(preparation->inputs, labels, CELL_TYPE, &table->cell_type));
  PetscCall(make_vocabulary(preparation->inputs, labels, BATCH, &table->batch));
  PetscCall(find_control(preparation, &table->control));
  PetscCall(count_populations(preparation, labels));
  PetscCall(pair_controls(table, &fallbacks, &alone, &alone_cells));
  PetscCall(order_populations(preparation));
  PetscCall(log_populations(preparation, unlabelled, fallbacks, alone, alone_cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prepare_populations(Preparation *preparation)
{
  Labels        *labels;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)preparation->inputs, &labels));
  code = make_populations(preparation, labels);
  PetscCall(free_labels(preparation->inputs, &labels));
  PetscFunctionReturn(code);
}
