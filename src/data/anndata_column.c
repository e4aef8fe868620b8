/* Columns of obs and var as codes into labels: read by rank 0, sent to all. */
#include "anndata_private.h"
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_BLOCK = 65536 };

PetscErrorCode anncolumn_free(AnnColumn *column)
{
  PetscFunctionBeginUser;
  PetscCall(strings_free(column->levels, &column->level));
  PetscCall(PetscFree(column->code));
  *column = (AnnColumn){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- labels met so far: an open hash table of text -> code ------------------------------------------------------------------- */

typedef struct {
  PetscInt count, room; /* labels; length of level */
  size_t   slots;       /* power of two, at least twice count */
  int32_t *slot;        /* code, or -1 */
  char   **level;
} LabelTable;

/* FNV-1a */
static uint64_t hash_text(const char *text)
{
  uint64_t hash = 0xcbf29ce484222325u;

  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
  return hash ^ (hash >> 32);
}

static size_t find_slot(const LabelTable *table, const char *text)
{
  size_t place = hash_text(text) & (table->slots - 1);

  while (table->slot[place] >= 0 && strcmp(table->level[table->slot[place]], text)) place = (place + 1) & (table->slots - 1);
  return place;
}

static PetscErrorCode grow_table(LabelTable *table)
{
  PetscFunctionBeginUser;
  table->room  = table->room ? 2 * table->room : 64;
  table->slots = 4 * (size_t)table->room;
  PetscCall(PetscRealloc((size_t)table->room * sizeof *table->level, &table->level));
  PetscCall(PetscFree(table->slot));
  PetscCall(PetscMalloc1(table->slots, &table->slot));
  memset(table->slot, -1, table->slots * sizeof *table->slot);
  for (int32_t code = 0; code < table->count; code++) table->slot[find_slot(table, table->level[code])] = code;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Code of a label; the table takes the text over (or frees it). */
static PetscErrorCode label_code(LabelTable *table, char *text, int32_t *code)
{
  PetscFunctionBeginUser;
  if (table->count == table->room) PetscCall(grow_table(table));
  const size_t place = find_slot(table, text);
  if (table->slot[place] < 0) {
    table->slot[place]           = table->count;
    table->level[table->count++] = text;
  } else PetscCall(PetscFree(text));
  *code = table->slot[place];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- strings and numbers ------------------------------------------------------------------------------------------------------- */

typedef struct {
  char   *text;
  double  number;
  int32_t code;
} Label;

static int by_text(const void *a, const void *b) { return strcmp(((const Label *)a)->text, ((const Label *)b)->text); }

static int by_number(const void *a, const void *b)
{
  const double x = ((const Label *)a)->number, y = ((const Label *)b)->number;

  return x < y ? -1 : x > y ? 1 : by_text(a, b);
}

/* Put the labels in order and renumber the codes. */
static PetscErrorCode sort_labels(AnnColumn *column, PetscBool numbers)
{
  Label   *label;
  int32_t *place;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(column->levels, &label, column->levels, &place));
  for (PetscInt k = 0; k < column->levels; k++) label[k] = (Label){.text = column->level[k], .number = strtod(column->level[k], NULL), .code = k};
  qsort(label, (size_t)column->levels, sizeof *label, numbers ? by_number : by_text);
  for (PetscInt k = 0; k < column->levels; k++) {
    place[label[k].code] = k;
    column->level[k]     = label[k].text;
  }
  for (PetscInt64 i = 0; i < column->count; i++)
    if (column->code[i] >= 0) column->code[i] = place[column->code[i]];
  PetscCall(PetscFree2(label, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels of an array of strings or numbers are the different ones it holds. */
static PetscErrorCode collect_labels(const AnnData *file, const AnnArray *array, AnnColumn *column)
{
  LabelTable     table = {0};
  char         **text;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(anndata_allocate(file, array->name, array->count, sizeof *column->code, &column->code));
  PetscCall(PetscCalloc1(COLUMN_BLOCK, &text));
  column->count = array->count;
  for (PetscInt64 first = 0; first < array->count && !code; first += COLUMN_BLOCK) {
    const PetscInt64 part = PetscMin((PetscInt64)COLUMN_BLOCK, array->count - first);
    code                  = annarray_read_text(file, array, first, part, text);
    for (PetscInt64 i = 0; i < part && !code; i++)
      if (text[i]) PetscCall(label_code(&table, text[i], &column->code[first + i]));
      else column->code[first + i] = -1;
  }
  PetscCall(PetscFree(text));
  PetscCall(PetscFree(table.slot));
  column->levels = table.count;
  column->level  = table.level;
  PetscCall(code);
  PetscCall(sort_labels(column, array->kind != H5T_STRING));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- categories ---------------------------------------------------------------------------------------------------------------- */

/* codes: array of category numbers; categories: path of their labels. */
static PetscErrorCode read_categories(const AnnData *file, const AnnArray *codes, const char *categories, AnnColumn *column)
{
  AnnArray labels;

  PetscFunctionBeginUser;
  PetscCall(annarray_open(file, categories, &labels));
  PetscCall(annarray_read_all(file, &labels, &column->levels, &column->level));
  PetscCall(annarray_close(&labels));
  PetscCall(anndata_allocate(file, codes->name, codes->count, sizeof *column->code, &column->code));
  column->count = codes->count;
  double *number;
  PetscCall(PetscMalloc1(COLUMN_BLOCK, &number));
  for (PetscInt64 first = 0; first < codes->count; first += COLUMN_BLOCK) {
    const PetscInt64     part = PetscMin((PetscInt64)COLUMN_BLOCK, codes->count - first);
    const PetscErrorCode code = annarray_read_numbers(file, codes, first, part, number);
    if (code) PetscCall(PetscFree(number));
    PetscCall(code);
    for (PetscInt64 i = 0; i < part; i++) {
      if (!(number[i] >= -1 && number[i] < column->levels)) {
        const double wrong = number[i];
        PetscCall(PetscFree(number));
        return error_user("%s: '%s' has the category number %.17g but only %d categories; the file is damaged: write it again", file->path, codes->name, wrong,
                          (int)column->levels);
      }
      column->code[first + i] = (int32_t)number[i];
    }
  }
  PetscCall(PetscFree(number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Path of the categories that the attribute of a 0.7 column points to; "" when the column has none. */
static PetscErrorCode find_referenced(const AnnData *file, const char *table, const char *name, char *path, size_t size)
{
  char       object[512];
  hid_t      attribute, target;
  hobj_ref_t reference;

  PetscFunctionBeginUser;
  path[0] = '\0';
  PetscCall(PetscSNPrintf(object, sizeof object, "%s/%s", table, name));
  if (H5Aexists_by_name(file->h5, object, "categories", H5P_DEFAULT) <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  AnnTry(file, object, attribute = H5Aopen_by_name(file->h5, object, "categories", H5P_DEFAULT, H5P_DEFAULT));
  if (H5Aread(attribute, H5T_STD_REF_OBJ, &reference) >= 0 && (target = H5Rdereference2(file->h5, H5P_DEFAULT, H5R_OBJECT, &reference)) >= 0) {
    char found[512] = "";
    if (H5Iget_name(target, found, sizeof found) > 1) PetscCall(PetscStrncpy(path, found + 1, size));
    AnnTry(file, object, H5Oclose(target));
  }
  AnnTry(file, object, H5Aclose(attribute));
  if (!path[0]) PetscCall(PetscSNPrintf(path, size, "%s/__categories/%s", table, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the column ---------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode no_such_column(const AnnData *file, const char *table, const char *name)
{
  PetscInt    count = 0;
  char      **names, list[1024], hint[300] = "";
  const char *near;

  PetscFunctionBeginUser;
  PetscCall(anndata_table_columns(file, table, &count, &names));
  anndata_list_names(list, sizeof list, count, names);
  near = nearest_name(name, (const char *const *)names, (size_t)count);
  if (near) snprintf(hint, sizeof hint, "; did you mean '%s'?", near);
  PetscCall(strings_free(count, &names));
  return error_user("%s: no column '%.200s' in %s; it has: %s%s", file->path, name, table, list, hint);
}

static PetscErrorCode has_column(const AnnData *file, const char *table, const char *name, PetscBool *found)
{
  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  if (!anndata_table_is_compound(file, table)) {
    char path[512];
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", table, name));
    *found = name[0] && anndata_exists(file, path) ? PETSC_TRUE : PETSC_FALSE;
  } else {
    PetscInt count;
    char   **names;
    PetscCall(anndata_table_columns(file, table, &count, &names));
    for (PetscInt i = 0; i < count; i++)
      if (!strcmp(names[i], name)) *found = PETSC_TRUE;
    PetscCall(strings_free(count, &names));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_column(const AnnData *file, const char *table, const char *name, AnnColumn *column)
{
  char      codes[512], categories[512];
  AnnArray  array;
  PetscBool found;

  PetscFunctionBeginUser;
  if (!anndata_exists(file, table)) return error_user("%s: there is no table '%s'", file->path, table);
  PetscCall(has_column(file, table, name, &found));
  if (!found) return no_such_column(file, table, name);
  PetscCall(PetscSNPrintf(codes, sizeof codes, "%s/%s/codes", table, name));
  PetscCall(PetscSNPrintf(categories, sizeof categories, "%s/%s/categories", table, name));
  if (anndata_table_is_compound(file, table)) {
    PetscCall(annarray_open_member(file, table, name, &array));
    PetscCall(PetscSNPrintf(categories, sizeof categories, "uns/%s_categories", name));
    if (array.kind == H5T_STRING || !anndata_exists(file, categories)) categories[0] = '\0';
  } else if (anndata_exists(file, codes)) {
    PetscCall(annarray_open(file, codes, &array));
  } else {
    PetscCall(annarray_open_member(file, table, name, &array));
    PetscCall(find_referenced(file, table, name, categories, sizeof categories));
  }
  if (categories[0]) PetscCall(read_categories(file, &array, categories, column));
  else PetscCall(collect_labels(file, &array, column));
  PetscCall(annarray_close(&array));
  if (!strcmp(table, "obs") && column->count != file->cells)
    return error_user("%s: column '%s' has %lld entries but there are %lld cells: write the file again", file->path, name, (long long)column->count, (long long)file->cells);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- to all ranks -------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode broadcast_labels(MPI_Comm comm, int rank, AnnColumn *column)
{
  PetscInt64 bytes = 0;
  char      *text;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < column->levels && !rank; k++) bytes += (PetscInt64)strlen(column->level[k]) + 1;
  PetscCallMPI(MPI_Bcast(&bytes, 1, MPIU_INT64, 0, comm));
  PetscCall(PetscMalloc1(bytes + 1, &text));
  char *end = text;
  for (PetscInt k = 0; k < column->levels && !rank; k++) end = stpcpy(end, column->level[k]) + 1;
  for (PetscInt64 done = 0; done < bytes; done += 1 << 30) PetscCallMPI(MPI_Bcast(text + done, (int)PetscMin((PetscInt64)1 << 30, bytes - done), MPI_CHAR, 0, comm));
  if (rank) PetscCall(PetscCalloc1(column->levels, &column->level));
  end = text;
  for (PetscInt k = 0; k < column->levels && rank; k++) {
    PetscCall(PetscStrallocpy(end, &column->level[k]));
    end += strlen(end) + 1;
  }
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_column(AnnData *file, const char *table, const char *name, AnnColumn *column)
{
  const PetscInt64 most = 1 << 28;
  int              rank;

  PetscFunctionBeginUser;
  *column = (AnnColumn){0};
  PetscCallMPI(MPI_Comm_rank(file->comm, &rank));
  const PetscErrorCode code = error_agree(file->comm, rank ? PETSC_SUCCESS : read_column(file, table, name, column));
  if (code) PetscCall(anncolumn_free(column));
  PetscCall(code);
  PetscInt64 sizes[2] = {column->count, column->levels};
  PetscCallMPI(MPI_Bcast(sizes, 2, MPIU_INT64, 0, file->comm));
  column->count  = sizes[0];
  column->levels = (PetscInt)sizes[1];
  if (rank) PetscCall(PetscMalloc1(column->count, &column->code));
  for (PetscInt64 done = 0; done < column->count; done += most)
    PetscCallMPI(MPI_Bcast(column->code + done, (int)PetscMin(most, column->count - done), MPI_INT32_T, 0, file->comm));
  PetscCall(broadcast_labels(file->comm, rank, column));
  PetscFunctionReturn(PETSC_SUCCESS);
}
