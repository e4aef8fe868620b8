/* AnnData files: opening, choice of the matrix, names. */
#include "anndata_private.h"
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>

/* Forget the selected matrix. */
static PetscErrorCode deselect(AnnData *file)
{
  PetscFunctionBeginUser;
  if (file->values > 0) H5Dclose(file->values);
  if (file->indices > 0) H5Dclose(file->indices);
  if (file->indptr > 0) H5Dclose(file->indptr);
  file->values = file->indices = file->indptr = H5I_INVALID_HID;
  for (PetscInt64 j = 0; file->frame && j < file->columns; j++) PetscCall(annarray_close(&file->frame[j]));
  PetscCall(PetscFree(file->frame));
  PetscCall(PetscFree(file->pointer));
  PetscCall(strings_free(file->genes, &file->gene_name));
  file->genes = 0;
  file->form  = MATRIX_NONE;
  file->rows = file->columns = file->entries = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the matrices there are -------------------------------------------------------------------------------------------------- */

/* "X, raw/X, layers/counts, obsm/X_pca" */
static PetscErrorCode list_matrices(const AnnData *file, PetscInt *count, char ***names)
{
  const char *const folder[] = {"layers", "obsm"};
  PetscInt          found    = 0, members[2];
  char            **inside[2], path[512];

  PetscFunctionBeginUser;
  for (int f = 0; f < 2; f++) PetscCall(anndata_members(file, folder[f], &members[f], &inside[f]));
  PetscCall(PetscCalloc1(members[0] + members[1] + 2, names));
  if (anndata_exists(file, "X")) PetscCall(PetscStrallocpy("X", &(*names)[found++]));
  if (anndata_exists(file, "raw/X") || anndata_exists(file, "raw.X")) PetscCall(PetscStrallocpy("raw/X", &(*names)[found++]));
  for (int f = 0; f < 2; f++) {
    for (PetscInt i = 0; i < members[f]; i++) {
      PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", folder[f], inside[f][i]));
      PetscCall(PetscStrallocpy(path, &(*names)[found++]));
    }
    PetscCall(strings_free(members[f], &inside[f]));
  }
  *count = found;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode no_such_matrix(const AnnData *file, const char *matrix)
{
  PetscInt    count = 0;
  char      **names, list[1024], hint[300] = "";
  const char *near;

  PetscFunctionBeginUser;
  PetscCall(list_matrices(file, &count, &names));
  anndata_list_names(list, sizeof list, count, names);
  near = nearest_name(matrix, (const char *const *)names, (size_t)count);
  if (near) snprintf(hint, sizeof hint, "; did you mean '%s'?", near);
  PetscCall(strings_free(count, &names));
  return error_user("%s: no matrix '%.200s'; it has: %s%s", file->path, matrix, list, hint);
}

/* Path of the matrix a user named. */
static PetscErrorCode find_matrix(const AnnData *file, const char *matrix, char *path, size_t size)
{
  const char *const folder[] = {"layers", "obsm"};

  PetscFunctionBeginUser;
  if (!strcmp(matrix, "raw") || !strcmp(matrix, "raw/X") || !strcmp(matrix, "raw.X")) {
    PetscCall(PetscStrncpy(path, anndata_exists(file, "raw.X") ? "raw.X" : "raw/X", size));
    if (anndata_exists(file, path)) PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscStrncpy(path, matrix, size));
  if (!strcmp(matrix, "X") || !strncmp(matrix, "layers/", 7) || !strncmp(matrix, "obsm/", 5)) {
    if (anndata_exists(file, path)) PetscFunctionReturn(PETSC_SUCCESS);
  } else if (matrix[0]) {
    for (int f = 0; f < 2; f++) {
      PetscCall(PetscSNPrintf(path, size, "%s/%s", folder[f], matrix));
      if (anndata_exists(file, path)) PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  return no_such_matrix(file, matrix);
}

/* ---- opening a matrix ---------------------------------------------------------------------------------------------------------- */

static PetscErrorCode open_dense(AnnData *file)
{
  hsize_t extent[2], chunk[2];
  hid_t   properties, type;

  PetscFunctionBeginUser;
  PetscCall(anndata_dataset_open(file, file->matrix, 2, &file->values, extent));
  AnnTry(file, file->matrix, type = H5Dget_type(file->values));
  const H5T_class_t kind = H5Tget_class(type);
  if (kind != H5T_INTEGER && kind != H5T_FLOAT && kind != H5T_ENUM) return error_user("%s: '%s' holds no numbers: choose another matrix", file->path, file->matrix);
  AnnTry(file, file->matrix, properties = H5Dget_create_plist(file->values));
  file->chunk_rows = H5Pget_layout(properties) == H5D_CHUNKED && H5Pget_chunk(properties, 2, chunk) == 2 ? (PetscInt64)chunk[0] : 1;
  AnnTry(file, file->matrix, H5Pclose(properties));
  AnnTry(file, file->matrix, H5Tclose(type));
  file->rows    = (PetscInt64)extent[0];
  file->columns = (PetscInt64)extent[1];
  file->form    = MATRIX_DENSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_sparse(AnnData *file, MatrixForm form)
{
  char      path[512];
  hsize_t   values, indices, pointers;
  int64_t   shape[2];
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(anndata_attribute_integers(file, file->matrix, "shape", 2, shape, &found));
  if (!found) PetscCall(anndata_attribute_integers(file, file->matrix, "h5sparse_shape", 2, shape, &found));
  if (!found || shape[0] < 0 || shape[1] < 0) return anndata_damaged(file, file->matrix);
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/data", file->matrix));
  PetscCall(anndata_dataset_open(file, path, 1, &file->values, &values));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/indices", file->matrix));
  PetscCall(anndata_dataset_open(file, path, 1, &file->indices, &indices));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/indptr", file->matrix));
  PetscCall(anndata_dataset_open(file, path, 1, &file->indptr, &pointers));
  const int64_t lines = shape[form == MATRIX_CSC];
  if (values != indices || (int64_t)pointers != lines + 1)
    return error_user("%s: '%s' has %lld values, %lld indices and %lld row pointers for shape %lld x %lld; they do not agree: write the file again", file->path, file->matrix,
                      (long long)values, (long long)indices, (long long)pointers, (long long)shape[0], (long long)shape[1]);
  file->rows    = shape[0];
  file->columns = shape[1];
  file->entries = (PetscInt64)values;
  file->form    = form;
  if (form == MATRIX_CSC) {
    PetscCall(anndata_allocate(file, path, lines + 1, sizeof *file->pointer, &file->pointer));
    PetscCall(anndata_read_slab(file, file->indptr, path, H5T_NATIVE_INT64, 0, lines + 1, file->pointer));
    for (int64_t j = 0; j < lines; j++)
      if (file->pointer[0] != 0 || file->pointer[j] > file->pointer[j + 1] || file->pointer[j + 1] > file->entries) return anndata_damaged(file, path);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_frame(AnnData *file)
{
  PetscInt       count;
  char         **names;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(anndata_table_columns(file, file->matrix, &count, &names));
  PetscCall(PetscCalloc1(count + 1, &file->frame));
  file->form    = MATRIX_FRAME;
  file->rows    = file->cells;
  file->columns = 0;
  for (PetscInt j = 0; j < count && !code; j++) {
    code = annarray_open_member(file, file->matrix, names[j], &file->frame[j]);
    if (!code) file->columns = j + 1;
    if (!code && file->frame[j].kind == H5T_STRING) code = error_user("%s: '%s/%s' holds strings; a matrix needs numbers", file->path, file->matrix, names[j]);
    if (!code && file->frame[j].count != file->cells) code = anndata_damaged(file, file->frame[j].name);
  }
  file->gene_name = names;
  file->genes     = count;
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_matrix(AnnData *file)
{
  char       kind[64], encoding[64];
  H5O_info_t information;

  PetscFunctionBeginUser;
  AnnTry(file, file->matrix, H5Oget_info_by_name2(file->h5, file->matrix, &information, H5O_INFO_BASIC, H5P_DEFAULT));
  PetscCall(anndata_attribute_text(file, file->matrix, "h5sparse_format", kind, sizeof kind));
  PetscCall(anndata_attribute_text(file, file->matrix, "encoding-type", encoding, sizeof encoding));
  if (information.type == H5O_TYPE_DATASET) PetscCall(open_dense(file));
  else if (!strcmp(encoding, "csr_matrix") || !strcmp(kind, "csr")) PetscCall(open_sparse(file, MATRIX_CSR));
  else if (!strcmp(encoding, "csc_matrix") || !strcmp(kind, "csc")) PetscCall(open_sparse(file, MATRIX_CSC));
  else if (!strcmp(encoding, "dataframe")) PetscCall(open_frame(file));
  else return error_user("%s: '%s' is neither an array, a sparse matrix nor a data frame (encoding '%s')", file->path, file->matrix, encoding);
  if (file->columns > INT32_MAX) return error_user("%s: '%s' has %lld columns; at most %d can be read", file->path, file->matrix, (long long)file->columns, INT32_MAX);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- names of genes ------------------------------------------------------------------------------------------------------------ */

/* Names from an array of uns, when it has as many as the matrix has columns. */
static PetscErrorCode names_from_uns(AnnData *file, const char *matrix, PetscBool *found)
{
  static const char *const form[] = {"uns/%s_var_names", "uns/%s_gene_names", "uns/%s_names", "uns/%s_genes", "uns/hvg_names", "uns/hvg_genes", "uns/highly_variable_genes"};
  char                     path[512];
  AnnArray                 array;

  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  for (size_t f = 0; f < sizeof form / sizeof *form && !*found; f++) {
    snprintf(path, sizeof path, form[f], matrix);
    if (!anndata_exists(file, path) || anndata_table_is_compound(file, path) == PETSC_FALSE) continue;
    PetscCall(annarray_open(file, path, &array));
    if (array.kind == H5T_STRING && array.count == file->columns) {
      PetscCall(annarray_read_all(file, &array, &file->genes, &file->gene_name));
      *found = PETSC_TRUE;
    }
    PetscCall(annarray_close(&array));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Names of the genes that var/highly_variable marks, when they are as many as the matrix has columns. */
static PetscErrorCode names_of_variable_genes(AnnData *file, PetscBool *found)
{
  AnnArray   array;
  double    *mark;
  PetscInt64 marked = 0;

  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  if (!anndata_exists(file, "var/highly_variable")) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(annarray_open(file, "var/highly_variable", &array));
  PetscCall(anndata_allocate(file, array.name, array.count, sizeof *mark, &mark));
  PetscCall(annarray_read_numbers(file, &array, 0, array.count, mark));
  for (PetscInt64 j = 0; j < array.count; j++) marked += mark[j] == 1;
  PetscCall(annarray_close(&array));
  if (marked == file->columns) {
    PetscInt count, kept = 0;
    char   **name;
    PetscCall(annarray_open_index(file, "var", &array));
    PetscCall(annarray_read_all(file, &array, &count, &name));
    PetscCall(annarray_close(&array));
    PetscCall(PetscCalloc1(marked, &file->gene_name));
    for (PetscInt j = 0; j < count && j < array.count && kept < marked; j++)
      if (mark[j] == 1) PetscCall(PetscStrallocpy(name[j], &file->gene_name[kept++]));
    file->genes = (PetscInt)marked;
    *found      = kept == marked ? PETSC_TRUE : PETSC_FALSE;
    PetscCall(strings_free(count, &name));
    if (!*found) return anndata_damaged(file, "var");
  }
  PetscCall(PetscFree(mark));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode name_obsm_columns(AnnData *file)
{
  const char *matrix = file->matrix + strlen("obsm/");
  PetscBool   found;
  char        text[512];

  PetscFunctionBeginUser;
  if (file->form == MATRIX_FRAME) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(names_from_uns(file, matrix, &found));
  if (!found) PetscCall(names_of_variable_genes(file, &found));
  if (found) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(anndata_allocate(file, file->matrix, file->columns, sizeof *file->gene_name, &file->gene_name));
  memset(file->gene_name, 0, (size_t)file->columns * sizeof *file->gene_name);
  file->genes = (PetscInt)file->columns;
  for (PetscInt j = 0; j < file->genes; j++) {
    PetscCall(PetscSNPrintf(text, sizeof text, "%s_%d", matrix, (int)j));
    PetscCall(PetscStrallocpy(text, &file->gene_name[j]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode name_genes(AnnData *file)
{
  const char *const table = !strcmp(file->matrix, "raw/X") ? "raw/var" : !strcmp(file->matrix, "raw.X") ? "raw.var" : "var";
  AnnArray          array;

  PetscFunctionBeginUser;
  if (!strncmp(file->matrix, "obsm/", 5)) PetscCall(name_obsm_columns(file));
  else {
    if (!anndata_exists(file, table)) return error_user("%s: no '%s', so the genes of '%s' have no names", file->path, table, file->matrix);
    PetscCall(annarray_open_index(file, table, &array));
    if (array.count == file->columns) PetscCall(annarray_read_all(file, &array, &file->genes, &file->gene_name));
    PetscCall(annarray_close(&array));
    if (array.count != file->columns)
      return error_user("%s: '%s' has %lld columns but '%s' names %lld genes: write the file again", file->path, file->matrix, (long long)file->columns, table, (long long)array.count);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode select_here(AnnData *file, const char *matrix)
{
  PetscFunctionBeginUser;
  PetscCall(deselect(file));
  PetscCall(find_matrix(file, matrix, file->matrix, sizeof file->matrix));
  PetscCall(open_matrix(file));
  if (file->rows != file->cells)
    return error_user("%s: '%s' has %lld rows but obs has %lld cells: write the file again", file->path, file->matrix, (long long)file->rows, (long long)file->cells);
  PetscCall(name_genes(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- public ------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode anndata_select(AnnData *file, const char *matrix)
{
  PetscFunctionBeginUser;
  PetscCallAgree(file->comm, select_here(file, matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_here(AnnData *file)
{
  static const char *const table[] = {"obs", "var"};
  AnnArray                 array;
  hsize_t                  size;

  PetscFunctionBeginUser;
  AnnTry(file, "/", H5Fget_filesize(file->h5, &size));
  file->bytes = (double)size;
  for (int t = 0; t < 2; t++)
    if (!anndata_exists(file, table[t])) return error_user("%s: not an AnnData file: it has no '%s'; give a file written by anndata (.h5ad)", file->path, table[t]);
  PetscCall(annarray_open_index(file, "obs", &array));
  file->cells = array.count;
  PetscCall(annarray_close(&array));
  if (anndata_exists(file, "X")) PetscCall(select_here(file, "X"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_open(MPI_Comm comm, const char *path, AnnData **file)
{
  AnnData *new;

  PetscFunctionBeginUser;
  *file = NULL;
  PetscCall(lzf_filter_register());
  PetscCall(PetscCalloc1(1, &new));
  new->comm = comm;
  new->h5 = new->values = new->indices = new->indptr = H5I_INVALID_HID;
  PetscCall(PetscStrncpy(new->path, path, sizeof new->path));
  PetscErrorCode code = file_open(comm, path, "AnnData file", &new->h5);
  if (!code) code = error_agree(comm, open_here(new));
  if (code) PetscCall(anndata_close(&new));
  PetscCall(code);
  *file = new;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_close(AnnData **file)
{
  PetscFunctionBeginUser;
  if (!*file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(deselect(*file));
  /* Closes with it what a failed read left open. Nothing was written: what a damaged file answers does not matter. */
  if ((*file)->h5 > 0) H5Fclose((*file)->h5);
  PetscCall(PetscFree(*file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_shape(const AnnData *file, PetscInt64 *cells, PetscInt64 *genes)
{
  PetscFunctionBeginUser;
  *cells = file->cells;
  *genes = file->columns;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_gene_names(const AnnData *file, const char *const **names)
{
  PetscFunctionBeginUser;
  *names = (const char *const *)file->gene_name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode anndata_cell_names(AnnData *file, PetscInt64 first, PetscInt64 count, char ***names)
{
  AnnArray array;

  PetscFunctionBeginUser;
  *names = NULL;
  PetscCall(annarray_open_index(file, "obs", &array));
  PetscCall(PetscCalloc1(count + 1, names));
  PetscErrorCode code = annarray_read_text(file, &array, first, count, *names);
  if (code) PetscCall(strings_free((PetscInt)count, names));
  PetscCall(annarray_close(&array));
  PetscCall(code);
  for (PetscInt64 i = 0; i < count; i++)
    if (!(*names)[i]) PetscCall(PetscStrallocpy("", &(*names)[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
