/* One-dimensional arrays of an AnnData file as text or numbers: plain, nullable (values and mask) or member of a compound table. */
#include "anndata_private.h"
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <math.h>
#include <stdlib.h>

enum { BLOCK = 65536, LONGEST_STRING = 1 << 20 };

/* Note the element type of the array (or of its member) for later reads. */
static PetscErrorCode classify(const AnnData *file, AnnArray *array)
{
  hid_t type, element;

  PetscFunctionBeginUser;
  AnnTry(file, array->name, type = H5Dget_type(array->dataset));
  if (array->member[0]) {
    const int place = H5Tget_member_index(type, array->member);
    AnnTry(file, array->name, place);
    AnnTry(file, array->name, element = H5Tget_member_type(type, (unsigned)place));
  } else AnnTry(file, array->name, element = H5Tcopy(type));
  array->kind     = H5Tget_class(element);
  array->size     = H5Tget_size(element);
  array->variable = PETSC_FALSE;
  if (array->kind == H5T_STRING) {
    array->variable = H5Tis_variable_str(element) > 0 ? PETSC_TRUE : PETSC_FALSE;
    array->encoding = H5Tget_cset(element);
    if (!array->variable && array->size > LONGEST_STRING) return anndata_damaged(file, array->name);
  } else if (array->kind == H5T_INTEGER) array->is_unsigned = H5Tget_sign(element) == H5T_SGN_NONE ? PETSC_TRUE : PETSC_FALSE;
  else if (array->kind != H5T_FLOAT && array->kind != H5T_ENUM)
    return error_user("%s: '%s' holds neither numbers nor strings: choose another", file->path, array->name);
  AnnTry(file, array->name, H5Tclose(element));
  AnnTry(file, array->name, H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_open(const AnnData *file, const char *path, AnnArray *array)
{
  char    part[1024];
  hsize_t extent, masked;

  PetscFunctionBeginUser;
  *array = (AnnArray){.dataset = H5I_INVALID_HID, .mask = H5I_INVALID_HID};
  PetscCall(PetscStrncpy(array->name, path, sizeof array->name));
  PetscCall(PetscSNPrintf(part, sizeof part, "%s/values", path));
  if (anndata_exists(file, part)) {
    PetscCall(anndata_dataset_open(file, part, 1, &array->dataset, &extent));
    PetscCall(PetscSNPrintf(part, sizeof part, "%s/mask", path));
    if (anndata_exists(file, part)) {
      PetscCall(anndata_dataset_open(file, part, 1, &array->mask, &masked));
      if (masked != extent) return error_user("%s: '%s' has %lld values but %lld marks of missing ones", file->path, path, (long long)extent, (long long)masked);
    }
  } else PetscCall(anndata_dataset_open(file, path, 1, &array->dataset, &extent));
  array->count = (PetscInt64)extent;
  PetscCall(classify(file, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_open_member(const AnnData *file, const char *table, const char *name, AnnArray *array)
{
  char    path[1024];
  hsize_t extent;

  PetscFunctionBeginUser;
  if (!anndata_table_is_compound(file, table)) {
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", table, name));
    PetscCall(annarray_open(file, path, array));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *array = (AnnArray){.dataset = H5I_INVALID_HID, .mask = H5I_INVALID_HID};
  PetscCall(PetscSNPrintf(array->name, sizeof array->name, "%s/%s", table, name));
  PetscCall(PetscStrncpy(array->member, name, sizeof array->member));
  PetscCall(anndata_dataset_open(file, table, 1, &array->dataset, &extent));
  array->count = (PetscInt64)extent;
  PetscCall(classify(file, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_open_index(const AnnData *file, const char *table, AnnArray *array)
{
  char name[256];

  PetscFunctionBeginUser;
  if (anndata_table_is_compound(file, table)) {
    /* 0.6 puts the index first, under the name "index" or "_index". */
    PetscInt count;
    char   **names;
    PetscCall(anndata_table_columns(file, table, &count, &names));
    PetscCall(strings_free(count, &names));
    hid_t dataset, type;
    AnnTry(file, table, dataset = H5Dopen2(file->h5, table, H5P_DEFAULT));
    AnnTry(file, table, type = H5Dget_type(dataset));
    char *first = H5Tget_nmembers(type) > 0 ? H5Tget_member_name(type, 0) : NULL;
    PetscCall(PetscStrncpy(name, first ? first : "", sizeof name));
    if (first) H5free_memory(first);
    AnnTry(file, table, H5Tclose(type));
    AnnTry(file, table, H5Dclose(dataset));
  } else {
    PetscCall(anndata_attribute_text(file, table, "_index", name, sizeof name));
    if (!name[0]) PetscCall(PetscStrncpy(name, "_index", sizeof name));
  }
  PetscCall(annarray_open_member(file, table, name, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_close(AnnArray *array)
{
  PetscFunctionBeginUser;
  if (array->dataset > 0) H5Check(H5Dclose(array->dataset));
  if (array->mask > 0) H5Check(H5Dclose(array->mask));
  array->dataset = array->mask = H5I_INVALID_HID;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Read elements as the memory type; of a compound table only the member is taken. */
static PetscErrorCode read_elements(const AnnData *file, const AnnArray *array, hid_t type, PetscInt64 first, PetscInt64 count, void *values)
{
  hid_t memory = type;

  PetscFunctionBeginUser;
  if (first < 0 || count < 0 || first + count > array->count) return anndata_damaged(file, array->name);
  if (array->member[0]) {
    H5Check(memory = H5Tcreate(H5T_COMPOUND, H5Tget_size(type)));
    H5Check(H5Tinsert(memory, array->member, 0, type));
  }
  PetscCall(anndata_read_slab(file, array->dataset, array->name, memory, first, count, values));
  if (memory != type) H5Check(H5Tclose(memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Marks of missing elements of a nullable array; NULL for other arrays. */
static PetscErrorCode read_mask(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, signed char **mask)
{
  PetscFunctionBeginUser;
  *mask = NULL;
  if (array->mask < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(count + 1, mask));
  const PetscErrorCode code = anndata_read_slab(file, array->mask, array->name, H5T_NATIVE_INT8, first, count, *mask);
  if (code) PetscCall(PetscFree(*mask));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- strings --------------------------------------------------------------------------------------------------------------- */

static PetscErrorCode read_variable_strings(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, char **strings)
{
  hid_t         type, space;
  char        **raw;
  const hsize_t length = (hsize_t)count;

  PetscFunctionBeginUser;
  H5Check(type = H5Tcopy(H5T_C_S1));
  H5Check(H5Tset_size(type, H5T_VARIABLE));
  H5Check(H5Tset_cset(type, array->encoding));
  H5Check(space = H5Screate_simple(1, &length, NULL));
  PetscCall(PetscCalloc1(count, &raw));
  heap_guard_begin(file);
  const PetscErrorCode code = read_elements(file, array, type, first, count, raw);
  heap_guard_end();
  if (!code) {
    for (PetscInt64 i = 0; i < count; i++) PetscCall(PetscStrallocpy(raw[i] ? raw[i] : "", &strings[i]));
    H5Check(H5Dvlen_reclaim(type, space, H5P_DEFAULT, raw));
  }
  PetscCall(PetscFree(raw));
  H5Check(H5Sclose(space));
  H5Check(H5Tclose(type));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_fixed_strings(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, char **strings)
{
  const size_t size = array->size + 1;
  hid_t        type;
  char        *raw;

  PetscFunctionBeginUser;
  H5Check(type = H5Tcopy(H5T_C_S1));
  H5Check(H5Tset_size(type, size));
  H5Check(H5Tset_cset(type, array->encoding));
  PetscCall(PetscCalloc1((size_t)count * size, &raw));
  const PetscErrorCode code = read_elements(file, array, type, first, count, raw);
  for (PetscInt64 i = 0; i < count && !code; i++) PetscCall(PetscStrallocpy(raw + (size_t)i * size, &strings[i]));
  PetscCall(PetscFree(raw));
  H5Check(H5Tclose(type));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- numbers --------------------------------------------------------------------------------------------------------------- */

/* Shortest decimal text that reads back as the same number, of single precision when the file holds no more. */
static void shortest_text(double number, size_t file_size, char *text, size_t size)
{
  const int least = file_size >= 8 ? 15 : file_size == 4 ? 6 : 3, most = file_size >= 8 ? 17 : file_size == 4 ? 9 : 5;

  for (int digits = least; digits <= most; digits++) {
    snprintf(text, size, "%.*g", digits, number);
    if (file_size >= 8 ? strtod(text, NULL) == number : strtof(text, NULL) == (float)number) return;
  }
}

static PetscErrorCode read_number_text(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, char **strings)
{
  union {
    int64_t  i;
    uint64_t u;
    double   d;
  } *number;
  const hid_t type = array->kind == H5T_FLOAT ? H5T_NATIVE_DOUBLE : array->is_unsigned ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64;
  char        text[64];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &number));
  const PetscErrorCode code = read_elements(file, array, type, first, count, number);
  for (PetscInt64 i = 0; i < count && !code; i++) {
    if (array->kind == H5T_FLOAT && isnan(number[i].d)) continue;
    if (array->kind == H5T_FLOAT) shortest_text(number[i].d, array->size, text, sizeof text);
    else if (array->kind == H5T_ENUM) snprintf(text, sizeof text, "%s", number[i].i ? "True" : "False");
    else if (array->is_unsigned) snprintf(text, sizeof text, "%llu", (unsigned long long)number[i].u);
    else snprintf(text, sizeof text, "%lld", (long long)number[i].i);
    PetscCall(PetscStrallocpy(text, &strings[i]));
  }
  PetscCall(PetscFree(number));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_read_text(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, char **strings)
{
  signed char *mask;

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < count; i++) strings[i] = NULL;
  if (!count) PetscFunctionReturn(PETSC_SUCCESS);
  if (array->kind != H5T_STRING) PetscCall(read_number_text(file, array, first, count, strings));
  else if (array->variable) PetscCall(read_variable_strings(file, array, first, count, strings));
  else PetscCall(read_fixed_strings(file, array, first, count, strings));
  PetscCall(read_mask(file, array, first, count, &mask));
  for (PetscInt64 i = 0; i < count && mask; i++)
    if (mask[i]) PetscCall(PetscFree(strings[i]));
  PetscCall(PetscFree(mask));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_read_numbers(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, double *numbers)
{
  signed char *mask;

  PetscFunctionBeginUser;
  if (array->kind == H5T_STRING) return error_user("%s: '%s' holds strings; numbers are needed", file->path, array->name);
  PetscCall(read_elements(file, array, H5T_NATIVE_DOUBLE, first, count, numbers));
  PetscCall(read_mask(file, array, first, count, &mask));
  for (PetscInt64 i = 0; i < count && mask; i++)
    if (mask[i]) numbers[i] = NAN;
  PetscCall(PetscFree(mask));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode annarray_read_all(const AnnData *file, const AnnArray *array, PetscInt *count, char ***strings)
{
  char         **list = NULL;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (array->count > PETSC_MAX_INT) return anndata_damaged(file, array->name);
  PetscCall(anndata_allocate(file, array->name, array->count, sizeof *list, &list));
  PetscCall(PetscMemzero(list, (size_t)array->count * sizeof *list));
  for (PetscInt64 first = 0; first < array->count && !code; first += BLOCK)
    code = annarray_read_text(file, array, first, PetscMin((PetscInt64)BLOCK, array->count - first), list + first);
  for (PetscInt64 i = 0; i < array->count && !code; i++)
    if (!list[i]) PetscCall(PetscStrallocpy("", &list[i]));
  *count   = (PetscInt)array->count;
  *strings = list;
  if (code) PetscCall(strings_free(*count, strings));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

PetscBool anndata_table_is_compound(const AnnData *file, const char *table)
{
  H5O_info_t information;

  if (!anndata_exists(file, table) || H5Oget_info_by_name2(file->h5, table, &information, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return PETSC_FALSE;
  return information.type == H5O_TYPE_DATASET ? PETSC_TRUE : PETSC_FALSE;
}

/* Members of a compound table but its first, the index. */
static PetscErrorCode compound_columns(const AnnData *file, const char *table, PetscInt *count, char ***names)
{
  hid_t dataset, type;

  PetscFunctionBeginUser;
  AnnTry(file, table, dataset = H5Dopen2(file->h5, table, H5P_DEFAULT));
  AnnTry(file, table, type = H5Dget_type(dataset));
  const int members = H5Tget_class(type) == H5T_COMPOUND ? H5Tget_nmembers(type) : 0;
  if (members < 1) return error_user("%s: '%s' is not a table: this is no AnnData file", file->path, table);
  PetscCall(PetscCalloc1(members, names));
  *count = members - 1;
  for (int i = 1; i < members; i++) {
    char *name = H5Tget_member_name(type, (unsigned)i);
    PetscCall(PetscStrallocpy(name ? name : "", &(*names)[i - 1]));
    if (name) H5free_memory(name);
  }
  AnnTry(file, table, H5Tclose(type));
  AnnTry(file, table, H5Dclose(dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_table_columns(const AnnData *file, const char *table, PetscInt *count, char ***names)
{
  PetscFunctionBeginUser;
  if (anndata_table_is_compound(file, table)) PetscCall(compound_columns(file, table, count, names));
  else PetscCall(anndata_attribute_strings(file, table, "column-order", count, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}
