/* Which populations are scored against which, and by which genes. */
#include "evaluation/evaluate_internal.h"
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

static PetscErrorCode copy_labels(PetscInt count, char *const *label, PetscInt *copied, char ***copy)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, copy));
  for (PetscInt i = 0; i < count; i++) PetscCall(PetscStrallocpy(label[i], &(*copy)[i]));
  *copied = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode axes_of_file(const GroupedFile *file, const char *control, const char *const column[AXES], Axes *axes)
{
  char empty[] = "", *none[] = {empty};

  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) {
    axes->column[a] = column[a];
    if (*column[a])
      PetscCall(copy_labels(file->column[a].levels, file->column[a].level, &axes->count[a], &axes->label[a]));
    else
      PetscCall(copy_labels(1, none, &axes->count[a], &axes->label[a]));
  }
  axes->control = 0;
  while (axes->control < axes->count[0] && strcmp(axes->label[0][axes->control], control)) axes->control++;
  if (axes->control == axes->count[0]) {
    const char *near = nearest_name(control, (const char *const *)axes->label[0], (size_t)axes->count[0]);
    return error_user("%s: no control label '%s' in column '%s'; %s '%s'; give -control", file->path, control, column[0],
                      near ? "did you mean" : "the first label is", near ? near : axes->label[0][0]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode axes_of_store(const CellStoreTable *table, const char *const column[AXES], Axes *axes)
{
  const Vocabulary *const vocabulary[] = {&table->perturbation, &table->cell_type, &table->batch};

  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) {
    axes->column[a] = column[a];
    PetscCall(copy_labels(vocabulary[a]->count, vocabulary[a]->name, &axes->count[a], &axes->label[a]));
  }
  axes->control = table->control;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode axes_destroy(Axes *axes)
{
  PetscFunctionBeginUser;
  for (int a = 0; a < AXES; a++) PetscCall(strings_free(axes->count[a], &axes->label[a]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int64_t axes_key(const Axes *axes, PetscInt perturbation, PetscInt cell_type, PetscInt batch)
{
  return ((int64_t)perturbation * axes->count[1] + cell_type) * axes->count[2] + batch;
}

void axes_codes(const Axes *axes, int64_t key, PetscInt code[AXES])
{
  code[2] = (PetscInt)(key % axes->count[2]);
  code[1] = (PetscInt)(key / axes->count[2] % axes->count[1]);
  code[0] = (PetscInt)(key / axes->count[2] / axes->count[1]);
}

/* "perturbation|cell type|batch" with the axes that are used. */
static void axes_text(const Axes *axes, int64_t key, char *text, size_t size)
{
  PetscInt code[AXES];
  size_t   used = 0;

  axes_codes(axes, key, code);
  for (int a = 0; a < AXES && used < size; a++)
    if (*axes->column[a]) used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "|" : "", axes->label[a][code[a]]);
}

static int ascending(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

PetscErrorCode keytable_create(PetscInt64 count, const int64_t *key, KeyTable *table)
{
  int64_t *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &sorted));
  PetscCall(PetscArraycpy(sorted, key, count));
  qsort(sorted, (size_t)count, sizeof *sorted, ascending);
  table->count = 0;
  for (PetscInt64 i = 0; i < count; i++) table->count += sorted[i] >= 0 && (!i || sorted[i] != sorted[i - 1]);
  PetscCall(PetscCalloc2(table->count, &table->key, table->count, &table->cells));
  PetscInt at = -1;
  for (PetscInt64 i = 0; i < count; i++) {
    if (sorted[i] < 0) continue;
    if (at < 0 || table->key[at] != sorted[i]) table->key[++at] = sorted[i];
    table->cells[at]++;
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode keytable_destroy(KeyTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(table->key, table->cells));
  table->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt key_find(PetscInt count, const int64_t *key, int64_t wanted)
{
  const int64_t *found = bsearch(&wanted, key, (size_t)count, sizeof *key, ascending);
  return found ? (PetscInt)(found - key) : -1;
}

static PetscBool is_control(const Axes *axes, int64_t key) { return key / axes->count[2] / axes->count[1] == axes->control ? PETSC_TRUE : PETSC_FALSE; }

/* A group of one file that the other lacks. */
static PetscErrorCode groups_inside(const KeyTable *inner, const char *inner_path, const KeyTable *outer, const char *outer_path, const Axes *axes)
{
  char text[512];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < inner->count; k++) {
    if (is_control(axes, inner->key[k]) || key_find(outer->count, outer->key, inner->key[k]) >= 0) continue;
    axes_text(axes, inner->key[k], text, sizeof text);
    return error_user("%s: no cells of %s, which %s has; compare files with the same populations", outer_path, text, inner_path);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode groups_match(PetscInt files, const KeyTable *predicted, const GroupedFile *file, const char *real, const KeyTable *table, const Axes *axes,
                            PetscInt *count, int64_t **group)
{
  PetscFunctionBeginUser;
  PetscCall(groups_inside(&predicted[0], file[0].path, table, real, axes));
  for (PetscInt f = 1; f < files; f++) {
    PetscCall(groups_inside(&predicted[0], file[0].path, &predicted[f], file[f].path, axes));
    PetscCall(groups_inside(&predicted[f], file[f].path, &predicted[0], file[0].path, axes));
  }
  PetscCall(PetscMalloc1(predicted[0].count, group));
  *count = 0;
  for (PetscInt k = 0; k < predicted[0].count; k++)
    if (!is_control(axes, predicted[0].key[k])) (*group)[(*count)++] = predicted[0].key[k];
  if (!*count) return error_user("%s: only control cells; predictions of other perturbations are scored", file[0].path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Key of the control population of a cell type and batch, -1: none (MODEL, "Data the model sees"). */
static int64_t control_of(const KeyTable *real, const Axes *axes, PetscInt cell_type, PetscInt batch)
{
  const int64_t same = axes_key(axes, axes->control, cell_type, batch);

  if (key_find(real->count, real->key, same) >= 0) return same;
  for (int axis = 2; axis >= 1; axis--) {
    PetscInt64 most = 0;
    int64_t    largest = -1;
    for (PetscInt k = 0; k < real->count; k++) {
      PetscInt code[AXES];
      axes_codes(axes, real->key[k], code);
      if (code[0] != axes->control || code[axis] != (axis == 2 ? batch : cell_type) || real->cells[k] <= most) continue;
      most = real->cells[k];
      largest = real->key[k];
    }
    if (largest >= 0) return largest;
  }
  return -1;
}

PetscErrorCode slots_create(PetscInt groups, const int64_t *group, const KeyTable *real, const char *path, const Axes *axes, SlotList *slots)
{
  int64_t *key, *control;
  KeyTable distinct;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(2 * groups, &key, groups, &control));
  for (PetscInt k = 0; k < groups; k++) {
    PetscInt code[AXES];
    axes_codes(axes, group[k], code);
    key[k] = group[k];
    key[groups + k] = control[k] = control_of(real, axes, code[1], code[2]);
    if (control[k] < 0) {
      char text[512];
      axes_text(axes, group[k], text, sizeof text);
      return error_user("%s: no control cells for %s: neither its cell type nor its batch has any", path, text);
    }
  }
  PetscCall(keytable_create(2 * groups, key, &distinct));
  slots->count = distinct.count;
  slots->controls = 0;
  PetscCall(PetscMalloc3(slots->count, &slots->key, slots->count, &slots->control_row, slots->count, &slots->paired));
  for (PetscInt s = 0; s < slots->count; s++) {
    slots->key[s] = distinct.key[s];
    slots->control_row[s] = is_control(axes, distinct.key[s]) ? slots->controls++ : -1;
    slots->paired[s] = -1;
  }
  for (PetscInt k = 0; k < groups; k++) slots->paired[key_find(slots->count, slots->key, group[k])] = key_find(slots->count, slots->key, control[k]);
  PetscCall(keytable_destroy(&distinct));
  PetscCall(PetscFree2(key, control));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode slots_destroy(SlotList *slots)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(slots->key, slots->control_row, slots->paired));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A name and where it stands. */
typedef struct {
  const char *name;
  int32_t     position;
} NamedPosition;

static int by_name(const void *a, const void *b) { return strcmp(((const NamedPosition *)a)->name, ((const NamedPosition *)b)->name); }

/* place (genes of the file) of each gene among the real ones. */
static PetscErrorCode place_genes(const char *real, PetscInt64 count, const NamedPosition *sorted, const GroupedFile *file, int32_t *place)
{
  const char *const *name;
  const char        *missing[3] = {"", "", ""};
  PetscInt64         absent = 0;

  PetscFunctionBeginUser;
  PetscCall(anndata_gene_names(file->file, &name));
  for (PetscInt64 g = 0; g < file->genes; g++) {
    const NamedPosition  wanted = {name[g], 0};
    const NamedPosition *found = bsearch(&wanted, sorted, (size_t)count, sizeof *sorted, by_name);
    place[g] = found ? found->position : -1;
    if (!found && absent++ < 3) missing[absent - 1] = name[g];
  }
  if (absent) {
    return error_user("%s: %lld of its %lld genes are not in %s (%s%s%s%s%s); predict genes that were measured", file->path, (long long)absent,
                      (long long)file->genes, real, missing[0], absent > 1 ? ", " : "", missing[1], absent > 2 ? ", " : "", missing[2]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genes_match(const char *real, PetscInt64 count, const char *const *name, PetscInt files, GroupedFile *file, int32_t *position, PetscInt *genes,
                           const char ***scored)
{
  NamedPosition *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &sorted));
  PetscCall(PetscMalloc1(count, scored));
  for (PetscInt64 g = 0; g < count; g++) {
    sorted[g] = (NamedPosition){name[g], (int32_t)g};
    position[g] = -1;
  }
  qsort(sorted, (size_t)count, sizeof *sorted, by_name);
  for (PetscInt64 g = 1; g < count; g++)
    if (!by_name(&sorted[g - 1], &sorted[g])) return error_user("%s: gene '%s' occurs twice; make gene names unique", real, sorted[g].name);
  for (PetscInt f = 0; f < files; f++) {
    PetscCall(place_genes(real, count, sorted, &file[f], file[f].position));
    if (file[f].genes != file[0].genes)
      return error_user("%s: %lld genes, but %s has %lld; compare files with the same genes", file[f].path, (long long)file[f].genes, file[0].path,
                        (long long)file[0].genes);
  }
  /* The genes of the first file, in the order of the real one; the others must have the same. */
  for (PetscInt64 g = 0; g < file[0].genes; g++) {
    if (position[file[0].position[g]] >= 0) return error_user("%s: gene '%s' occurs twice; make gene names unique", file[0].path, name[file[0].position[g]]);
    position[file[0].position[g]] = 0;
  }
  *genes = 0;
  for (PetscInt64 g = 0; g < count; g++) {
    if (position[g] < 0) continue;
    (*scored)[*genes] = name[g];
    position[g] = (int32_t)(*genes)++;
  }
  for (PetscInt f = 0; f < files; f++) {
    for (PetscInt64 g = 0; g < file[f].genes; g++) {
      const int32_t place = file[f].position[g];
      if (position[place] < 0) return error_user("%s: gene '%s' is not in %s; compare files with the same genes", file[f].path, name[place], file[0].path);
      file[f].position[g] = position[place];
    }
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}
