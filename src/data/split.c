/* Which populations train, validate and test: split files, patterns, a random part. */
#include <perturbdiff/data/split.h>
#include "data/split_file.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <perturbdiff/runtime/random.h>
#include <string.h>

static PetscBool is_control(const CellStoreTable *table, const Population *population) { return population->perturbation == table->control ? PETSC_TRUE : PETSC_FALSE; }

/* Does text match the pattern, in which * stands for anything? */
static PetscBool matches(const char *pattern, const char *text)
{
  if (!*pattern) return *text ? PETSC_FALSE : PETSC_TRUE;
  if (*pattern == '*') return matches(pattern + 1, text) || (*text && matches(pattern, text + 1)) ? PETSC_TRUE : PETSC_FALSE;
  return *pattern == *text && matches(pattern + 1, text + 1) ? PETSC_TRUE : PETSC_FALSE;
}

/* ", did you mean 'x'?" or the first names there are. */
static const char *suggestion(const char *word, const Vocabulary *vocabulary)
{
  static char text[512];
  const char *near = nearest_name(word, (const char *const *)vocabulary->name, (size_t)vocabulary->count);

  if (near) {
    snprintf(text, sizeof text, "did you mean '%s'?", near);
    return text;
  }
  int length = snprintf(text, sizeof text, "there are");
  for (PetscInt i = 0; i < vocabulary->count && length < 400; i++) length += snprintf(text + length, sizeof text - (size_t)length, "%s '%.80s'", i ? "," : "", vocabulary->name[i]);
  return text;
}

/* ---- Patterns ---- */

/* Names a part of a pattern that can match nothing: no star in it and not in its vocabulary. */
static PetscErrorCode pattern_matches_nothing(const CellStoreTable *table, const char *where, const char *pattern, PetscInt parts, char *const *part)
{
  static const char *const kinds[3]        = {"perturbation", "cell type", "batch"};
  const Vocabulary        *vocabularies[3] = {&table->perturbation, &table->cell_type, &table->batch};

  for (PetscInt i = 0; i < parts; i++)
    if (!strchr(part[i], '*') && vocabulary_find(vocabularies[i], part[i]) < 0)
      return error_user("%s: '%s' matches nothing: there is no %s '%s'; %s", where, pattern, kinds[i], part[i], suggestion(part[i], vocabularies[i]));
  return error_user("%s: '%s' matches no perturbed population; write \"perturbation|cell type|batch\" with * for any", where, pattern);
}

/* Give the populations that match "perturbation|cell type|batch" a split. */
static PetscErrorCode apply_pattern(CellStoreTable *table, const char *where, const char *pattern, Split split)
{
  PetscInt       parts, found = 0;
  char         **part;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(string_split(pattern, "|", &parts, &part));
  if (parts < 1 || parts > 3) code = error_user("%s: '%s' is not of the form \"perturbation|cell type|batch\" (* for any)", where, pattern);
  for (PetscInt i = 0; i < table->populations && !code; i++) {
    Population *p = &table->population[i];
    if (is_control(table, p) || !matches(part[0], table->perturbation.name[p->perturbation])) continue;
    if (parts > 1 && !matches(part[1], table->cell_type.name[p->cell_type])) continue;
    if (parts > 2 && !matches(part[2], table->batch.name[p->batch])) continue;
    p->split = split;
    found++;
  }
  if (!code && !found) code = pattern_matches_nothing(table, where, pattern, parts, part);
  PetscCall(strings_free(parts, &part));
  PetscFunctionReturn(code);
}

/* ---- Split files ---- */

typedef struct {
  CellStoreTable  *table;
  const char      *path;
  const SplitFile *file;
} FileSplit;

static PetscErrorCode split_word(const FileSplit *s, const SplitStatement *at, const char *word, Split *split)
{
  if (!strcmp(word, "train")) *split = SPLIT_TRAIN;
  else if (!strcmp(word, "val") || !strcmp(word, "validation")) *split = SPLIT_VALIDATION;
  else if (!strcmp(word, "test")) *split = SPLIT_TEST;
  else return error_user("%s, line %d: '%s' is not a split; write train, val or test", s->path, at->line, word);
  return PETSC_SUCCESS;
}

/* Is this one of the data sets that the file speaks of? */
static PetscBool declared(const FileSplit *s, const char *name, size_t length, const char **path)
{
  for (PetscInt i = 0; i < s->file->count; i++) {
    const SplitStatement *at = &s->file->statement[i];
    const PetscBool       datasets = !strcmp(at->path[0], "datasets"), training = !strcmp(at->path[0], "training");
    const char           *word = at->depth == 2 ? at->path[1] : at->value;
    if ((!datasets && !training) || strlen(word) != length || strncmp(word, name, length)) continue;
    if (datasets && path) *path = at->value;
    return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* Last part of a path without .h5ad, as data sets are named. */
static void stem(const char *path, char *name, size_t size)
{
  size_t      length = strlen(path);
  const char *begin;

  while (length && path[length - 1] == '/') length--;
  for (begin = path + length; begin > path && begin[-1] != '/'; begin--) continue;
  snprintf(name, size, "%.*s", (int)(path + length - begin), begin);
  char *end = strstr(name, ".h5ad");
  if (end) *end = '\0';
}

/* Index of a data set named in the file: by its name in the store, by the name of its path, or, in a store with one, that one. */
static PetscBool find_dataset(const FileSplit *s, const char *name, size_t length, PetscInt *dataset)
{
  const Vocabulary *datasets = &s->table->dataset;
  const char       *path     = NULL;
  char              word[PETSC_MAX_PATH_LEN];

  snprintf(word, sizeof word, "%.*s", (int)length, name);
  if ((*dataset = vocabulary_find(datasets, word)) >= 0) return PETSC_TRUE;
  if (!declared(s, name, length, &path)) return PETSC_FALSE;
  if (path) {
    stem(path, word, sizeof word);
    if ((*dataset = vocabulary_find(datasets, word)) >= 0) return PETSC_TRUE;
  }
  *dataset = 0;
  return datasets->count == 1 ? PETSC_TRUE : PETSC_FALSE;
}

/* "cell type" or "dataset.cell type", the keys of the path from 1 up to end; without quotes they come in parts. dataset -1: any. */
static PetscErrorCode find_target(const FileSplit *s, const SplitStatement *at, int end, PetscInt *dataset, PetscInt *cell_type)
{
  const Vocabulary *types = &s->table->cell_type;
  char              target[512];
  const char       *rest   = target;
  size_t            length = 0;

  for (int i = 1; i < end && length < sizeof target; i++) length += (size_t)snprintf(target + length, sizeof target - length, "%s%s", i > 1 ? "." : "", at->path[i]);
  *dataset = -1;
  if ((*cell_type = vocabulary_find(types, target)) >= 0) return PETSC_SUCCESS;
  for (const char *dot = strchr(target, '.'); dot; dot = strchr(dot + 1, '.')) {
    if (!find_dataset(s, target, (size_t)(dot - target), dataset)) continue;
    rest = dot + 1;
    if ((*cell_type = vocabulary_find(types, rest)) >= 0) return PETSC_SUCCESS;
  }
  if (rest == target && strchr(target, '.'))
    return error_user("%s, line %d: '%s' names neither a cell type nor a data set of the input; data sets: %s", s->path, at->line, target, suggestion(target, &s->table->dataset));
  return error_user("%s, line %d: there is no cell type '%s'; %s", s->path, at->line, rest, suggestion(rest, types));
}

static PetscErrorCode apply_zeroshot(const FileSplit *s, const SplitStatement *at)
{
  PetscInt dataset, cell_type;
  Split    split = SPLIT_TRAIN;

  PetscFunctionBeginUser;
  if (at->depth < 2) return error_user("%s, line %d: zeroshot holds \"dataset.cell type\" = \"test\" or \"val\"", s->path, at->line);
  PetscCall(split_word(s, at, at->value, &split));
  PetscCall(find_target(s, at, at->depth, &dataset, &cell_type));
  for (PetscInt i = 0; i < s->table->populations; i++) {
    Population *p = &s->table->population[i];
    if (!is_control(s->table, p) && p->cell_type == cell_type && (dataset < 0 || p->dataset == dataset)) p->split = split;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode apply_fewshot(const FileSplit *s, const SplitStatement *at)
{
  const Vocabulary *perturbations = &s->table->perturbation;
  PetscInt          dataset, cell_type, perturbation;
  Split             split = SPLIT_TRAIN;

  PetscFunctionBeginUser;
  if (at->depth < 3) return error_user("%s, line %d: fewshot holds lists of perturbations by cell type: val = [...], test = [...]", s->path, at->line);
  PetscCall(split_word(s, at, at->path[at->depth - 1], &split));
  PetscCall(find_target(s, at, at->depth - 1, &dataset, &cell_type));
  if ((perturbation = vocabulary_find(perturbations, at->value)) < 0)
    return error_user("%s, line %d: there is no perturbation '%s'; %s", s->path, at->line, at->value, suggestion(at->value, perturbations));
  for (PetscInt i = 0; i < s->table->populations; i++) {
    Population *p = &s->table->population[i];
    if (!is_control(s->table, p) && p->perturbation == perturbation && p->cell_type == cell_type && (dataset < 0 || p->dataset == dataset)) p->split = split;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With a [training] section, data sets that it does not name are not trained on. */
static PetscErrorCode apply_training(const FileSplit *s)
{
  PetscBool *train, any = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)s->table->dataset.count, &train));
  for (PetscInt i = 0; i < s->file->count; i++) {
    const SplitStatement *at = &s->file->statement[i];
    const char           *name = at->depth == 2 ? at->path[1] : at->value;
    PetscInt              dataset;
    if (strcmp(at->path[0], "training")) continue;
    any = PETSC_TRUE;
    if (!find_dataset(s, name, strlen(name), &dataset)) {
      PetscCall(PetscFree(train));
      return error_user("%s, line %d: there is no data set '%s'; %s", s->path, at->line, name, suggestion(name, &s->table->dataset));
    }
    train[dataset] = at->depth == 1 || !strcmp(at->value, "train") ? PETSC_TRUE : PETSC_FALSE;
  }
  for (PetscInt i = 0; i < s->table->populations && any; i++) {
    Population *p = &s->table->population[i];
    if (!is_control(s->table, p) && !train[p->dataset]) p->split = SPLIT_TEST;
  }
  PetscCall(PetscFree(train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode apply_statement(const FileSplit *s, const SplitStatement *at)
{
  static const char *const sections[] = {"datasets", "training", "zeroshot", "fewshot", "test", "validation", "val"};
  const char              *section    = at->path[0];
  char                     where[PETSC_MAX_PATH_LEN + 32];

  PetscFunctionBeginUser;
  snprintf(where, sizeof where, "%s, line %d", s->path, at->line);
  if (!strcmp(section, "zeroshot")) PetscCall(apply_zeroshot(s, at));
  else if (!strcmp(section, "fewshot")) PetscCall(apply_fewshot(s, at));
  else if (!strcmp(section, "test") && at->depth == 1) PetscCall(apply_pattern(s->table, where, at->value, SPLIT_TEST));
  else if ((!strcmp(section, "validation") || !strcmp(section, "val")) && at->depth == 1) PetscCall(apply_pattern(s->table, where, at->value, SPLIT_VALIDATION));
  else if (strcmp(section, "datasets") && strcmp(section, "training")) {
    const char *near = nearest_name(section, sections, sizeof sections / sizeof *sections);
    return error_user("%s: unknown section '%s'%s%s%s; a split file has training, zeroshot, fewshot, test and validation", where, section, near ? ", did you mean '" : "",
                      near ? near : "", near ? "'" : "");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode apply_file(CellStoreTable *table, const char *path, MPI_Comm comm)
{
  SplitFile       file = {0};
  const FileSplit s    = {table, path, &file};
  const char     *dot  = strrchr(path, '.');
  char           *text;
  size_t          length;
  PetscErrorCode  code;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  if (dot && !strcmp(dot, ".toml")) code = splitfile_parse_toml(path, text, &file);
  else code = splitfile_parse_yaml(path, text, length, &file);
  if (!code) code = apply_training(&s);
  for (PetscInt i = 0; i < file.count && !code; i++) code = apply_statement(&s, &file.statement[i]);
  PetscCall(splitfile_free(&file));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(code);
}

/* ---- Random validation ---- */

/* Numbers of the (perturbation, cell type) pairs that still train, ascending. */
static PetscErrorCode training_pairs(const CellStoreTable *table, PetscInt *pairs, int64_t **pair)
{
  const PetscInt types = table->cell_type.count;
  unsigned char *seen;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)table->perturbation.count * (size_t)types, &seen));
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i];
    if (!is_control(table, p) && p->split == SPLIT_TRAIN) seen[(size_t)p->perturbation * (size_t)types + (size_t)p->cell_type] = 1;
  }
  PetscCall(PetscMalloc1((size_t)table->populations, pair));
  *pairs = 0;
  for (size_t k = 0; k < (size_t)table->perturbation.count * (size_t)types; k++)
    if (seen[k]) (*pair)[(*pairs)++] = (int64_t)k;
  PetscCall(PetscFree(seen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode draw_validation(CellStoreTable *table, double fraction, uint64_t seed)
{
  const RandomStream stream = random_stream(seed, RANDOM_SPLIT, 0, 0, 0);
  PetscInt           pairs = 0, wanted;
  int64_t           *pair;

  PetscFunctionBeginUser;
  PetscCall(training_pairs(table, &pairs, &pair));
  wanted = (PetscInt)(fraction * pairs + 0.5);
  if (!wanted && pairs > 1) wanted = 1;
  for (PetscInt k = 0; k < wanted; k++) {
    const int64_t drawn = pair[random_permuted(&stream, (uint64_t)pairs, (uint64_t)k)];
    for (PetscInt i = 0; i < table->populations; i++) {
      Population *p = &table->population[i];
      if (!is_control(table, p) && p->split == SPLIT_TRAIN && (int64_t)p->perturbation * table->cell_type.count + p->cell_type == drawn) p->split = SPLIT_VALIDATION;
    }
  }
  PetscCall(PetscFree(pair));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode split_apply(CellStoreTable *table, const char *file, PetscInt holdouts, const char *const *holdout, double validation_fraction, uint64_t seed, MPI_Comm comm)
{
  PetscInt training = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < table->populations; i++) table->population[i].split = SPLIT_TRAIN;
  if (file && *file) PetscCall(apply_file(table, file, comm));
  for (PetscInt i = 0; i < holdouts; i++) PetscCall(apply_pattern(table, "-holdout", holdout[i], SPLIT_TEST));
  if (validation_fraction > 0) PetscCall(draw_validation(table, validation_fraction, seed));
  for (PetscInt i = 0; i < table->populations; i++) training += !is_control(table, &table->population[i]) && table->population[i].split == SPLIT_TRAIN;
  if (!training) return error_user("nothing is left to train on: the split puts every perturbed population into validation or test; hold out fewer");
  PetscFunctionReturn(PETSC_SUCCESS);
}
