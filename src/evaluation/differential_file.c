/* The table of differential expression as the CSV file that cell-eval reads and writes. */
#include "evaluation/differential_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <string.h>

const char differential_names[] = "target,feature,target_mean,ref_mean,target_membership,ref_membership,log2_fold_change,percent_change,p_value,statistic,fdr\n";

static char *write_line(const DifferentialTable *t, PetscInt k, PetscInt g, char *to)
{
  const size_t at = (size_t)k * (size_t)t->genes + (size_t)g;
  const double rest[] = {t->log2_fold_change[at], t->percent_change[at], t->p_value[at], t->statistic[at], t->fdr[at]};

  to = csv_put(to, t->target[k]);
  *to++ = ',';
  to = csv_put(to, t->gene[g]);
  *to++ = ',';
  to += number_text(t->target_mean[at], t->single, to);
  *to++ = ',';
  to += number_text(t->reference_mean[at], t->single, to);
  *to++ = ',';
  to += whole_number_text((uint64_t)t->target_cells[k], to);
  *to++ = ',';
  to += whole_number_text((uint64_t)t->reference_cells[k], to);
  for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
    *to++ = ',';
    to += number_text(rest[i], PETSC_FALSE, to);
  }
  *to++ = '\n';
  return to;
}

PetscErrorCode differential_write_target(const DifferentialTable *t, PetscInt k, char **text, size_t *size)
{
  char  *to;
  size_t room = 0;

  PetscFunctionBeginUser;
  for (PetscInt g = 0; g < t->genes; g++) room += 2 * (strlen(t->target[k]) + strlen(t->gene[g]) + 2) + 11 * NUMBER_TEXT;
  to = *text = malloc(room);
  PetscCheck(to, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
  for (PetscInt g = 0; g < t->genes; g++)
    if (!t->dropped[(size_t)k * (size_t)t->genes + (size_t)g]) to = write_line(t, k, g, to);
  *size = (size_t)(to - *text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------------- */

/* Names in the order of first appearance; found by hashing, with the last hit tried first since files are ordered. */
typedef struct {
  PetscInt  count, capacity, slots;
  char    **name;
  PetscInt *slot; /* -1: free */
} Names;

static uint64_t hash(const char *text)
{
  uint64_t h = 1469598103934665603u; /* FNV-1a */
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
  return h;
}

static PetscErrorCode names_grow(Names *names)
{
  PetscFunctionBeginUser;
  names->capacity = PetscMax(1024, 2 * names->capacity);
  names->slots = 2 * names->capacity;
  PetscCall(PetscRealloc((size_t)names->capacity * sizeof *names->name, &names->name));
  PetscCall(PetscFree(names->slot));
  PetscCall(PetscMalloc1(names->slots, &names->slot));
  for (PetscInt s = 0; s < names->slots; s++) names->slot[s] = -1;
  for (PetscInt i = 0; i < names->count; i++) {
    PetscInt s = (PetscInt)(hash(names->name[i]) % (uint64_t)names->slots);
    while (names->slot[s] >= 0) s = (s + 1) % names->slots;
    names->slot[s] = i;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Index of a name, added when it is new; the text is borrowed. */
static PetscErrorCode names_index(Names *names, char *name, PetscInt hint, PetscInt *index)
{
  PetscFunctionBeginUser;
  if (hint < names->count && !strcmp(names->name[hint], name)) {
    *index = hint;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (names->count == names->capacity) PetscCall(names_grow(names));
  PetscInt s = (PetscInt)(hash(name) % (uint64_t)names->slots);
  while (names->slot[s] >= 0 && strcmp(names->name[names->slot[s]], name)) s = (s + 1) % names->slots;
  if (names->slot[s] < 0) {
    names->slot[s] = names->count;
    names->name[names->count++] = name;
  }
  *index = names->slot[s];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode names_free(Names *names)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(names->name));
  PetscCall(PetscFree(names->slot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { TARGET_MEAN, REFERENCE_MEAN, TARGET_CELLS, REFERENCE_CELLS, FOLD, PERCENT, P_VALUE, STATISTIC, FDR, NUMBERS };
static const char *const number_column[NUMBERS] = {"target_mean", "ref_mean", "target_membership", "ref_membership", "log2_fold_change",
                                                   "percent_change", "p_value", "statistic", "fdr"};

/* A row as it stands in the file. */
typedef struct {
  PetscInt target, gene, line;
  double   number[NUMBERS];
} Row;

static PetscErrorCode read_row(const CsvLines *lines, const PetscInt column[NUMBERS], PetscInt target, PetscInt feature, const Row *previous, Names *targets,
                               Names *genes, Row *row)
{
  PetscFunctionBeginUser;
  row->line = lines->line;
  PetscCall(names_index(targets, lines->cell[target], previous ? previous->target : 0, &row->target));
  PetscCall(names_index(genes, lines->cell[feature], previous ? previous->gene + 1 : 0, &row->gene));
  for (int i = 0; i < NUMBERS; i++) {
    row->number[i] = NAN;
    if (column[i] >= 0) PetscCall(csvlines_number(lines, column[i], &row->number[i]));
  }
  if (isnan(row->number[FOLD]) || isnan(row->number[FDR]))
    return error_user("%s:%lld: no log2_fold_change or fdr of target '%s', feature '%s'", lines->path, (long long)lines->line, lines->cell[target],
                      lines->cell[feature]);
  for (int i = 0; i < 2; i++) {
    const double chance = row->number[i ? FDR : P_VALUE];
    if (chance < 0 || chance > 1 + 1e-9)
      return error_user("%s:%lld: %s %g of target '%s', feature '%s' does not lie between 0 and 1", lines->path, (long long)lines->line, number_column[i ? FDR : P_VALUE],
                        chance, lines->cell[target], lines->cell[feature]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode fill_table(const char *path, PetscInt count, const Row *row, DifferentialTable *t)
{
  PetscFunctionBeginUser;
  differential_drop_all(t);
  for (PetscInt i = 0; i < count; i++) {
    const size_t  at = (size_t)row[i].target * (size_t)t->genes + (size_t)row[i].gene;
    const double *number = row[i].number;

    if (!t->dropped[at])
      return error_user("%s:%lld: target '%s' has a second row of feature '%s'; keep one", path, (long long)row[i].line, t->target[row[i].target],
                        t->gene[row[i].gene]);
    t->dropped[at] = 0;
    t->target_mean[at] = number[TARGET_MEAN];
    t->reference_mean[at] = number[REFERENCE_MEAN];
    t->log2_fold_change[at] = number[FOLD];
    t->percent_change[at] = number[PERCENT];
    t->p_value[at] = number[P_VALUE];
    t->statistic[at] = number[STATISTIC];
    t->fdr[at] = number[FDR];
    t->target_cells[row[i].target] = isnan(number[TARGET_CELLS]) ? 0 : (PetscInt64)number[TARGET_CELLS];
    t->reference_cells[row[i].target] = isnan(number[REFERENCE_CELLS]) ? 0 : (PetscInt64)number[REFERENCE_CELLS];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_text(const char *path, char *text, DifferentialTable *table)
{
  CsvLines  lines;
  Names     targets = {0}, genes = {0};
  Row      *row = NULL;
  PetscInt  count = 0, capacity = 0, column[NUMBERS];
  PetscBool more;

  PetscFunctionBeginUser;
  PetscCall(csvlines_open(path, text, &lines));
  const PetscInt target = csvlines_column(&lines, "target"), feature = csvlines_column(&lines, "feature");
  for (int i = 0; i < NUMBERS; i++) column[i] = csvlines_column(&lines, number_column[i]);
  if (target < 0 || feature < 0 || column[FOLD] < 0 || column[P_VALUE] < 0 || column[FDR] < 0)
    return error_user("%s: no column '%s'; a table of differential expression has target, feature, log2_fold_change, p_value and fdr", path,
                      target < 0 ? "target" : feature < 0 ? "feature" : column[FOLD] < 0 ? "log2_fold_change" : column[P_VALUE] < 0 ? "p_value" : "fdr");
  PetscCall(csvlines_next(&lines, &more));
  for (; more; count++) {
    if (count == capacity) {
      capacity = PetscMax(4096, 2 * capacity);
      PetscCall(PetscRealloc((size_t)capacity * sizeof *row, &row));
    }
    PetscCall(read_row(&lines, column, target, feature, count ? &row[count - 1] : NULL, &targets, &genes, &row[count]));
    PetscCall(csvlines_next(&lines, &more));
  }
  if (!count) return error_user("%s: no rows below the line of column names", path);
  PetscCall(differential_create(targets.count, targets.name, genes.count, genes.name, table));
  PetscCall(fill_table(path, count, row, table));
  PetscCall(PetscFree(row));
  PetscCall(names_free(&targets));
  PetscCall(names_free(&genes));
  PetscCall(csvlines_close(&lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode differential_read(MPI_Comm comm, const char *path, DifferentialTable *table)
{
  char  *text;
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  /* The same text on all ranks: the same outcome. */
  PetscCallAgree(comm, read_text(path, text, table));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}
