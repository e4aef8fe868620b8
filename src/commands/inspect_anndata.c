/* inspect: an AnnData file. */
#include "commands/inspect.h"
#include <math.h>
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime.h>
#include <string.h>

/* Names of the members of a group, or of the fields of a compound table (anndata before 0.7). */
static PetscErrorCode member_names(hid_t h5, const char *path, PetscInt *count, char ***name)
{
  *count = 0;
  *name = NULL;

  PetscFunctionBeginUser;
  if (!h5_exists(h5, path)) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t object = H5Oopen(h5, path, H5P_DEFAULT);
  H5Check(object);
  if (H5Iget_type(object) == H5I_GROUP) {
    H5G_info_t info;
    H5Check(H5Gget_info(object, &info));
    PetscCall(PetscCalloc1(info.nlinks, name));
    for (hsize_t i = 0; i < info.nlinks; i++) {
      const ssize_t length = H5Lget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, NULL, 0, H5P_DEFAULT);
      PetscCall(PetscMalloc1(length + 1, &(*name)[*count]));
      H5Check(H5Lget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, (*name)[(*count)++], (size_t)length + 1, H5P_DEFAULT));
    }
  } else {
    const hid_t type = H5Dget_type(object);
    const int   fields = H5Tget_class(type) == H5T_COMPOUND ? H5Tget_nmembers(type) : 0;
    PetscCall(PetscCalloc1(fields, name));
    for (int i = 0; i < fields; i++) {
      char *field = H5Tget_member_name(type, (unsigned)i);
      PetscCall(PetscStrallocpy(field, &(*name)[(*count)++]));
      H5free_memory(field);
    }
    H5Check(H5Tclose(type));
  }
  H5Check(H5Oclose(object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_members(hid_t h5, const char *group)
{
  PetscInt     count, shown = 0;
  char       **name;
  const char **kept;

  PetscFunctionBeginUser;
  PetscCall(member_names(h5, group, &count, &name));
  PetscCall(PetscMalloc1(count, &kept));
  for (PetscInt i = 0; i < count; i++)
    if (name[i][0] != '_') kept[shown++] = name[i];
  if (shown) inspect_names(group, shown, kept);
  PetscCall(PetscFree(kept));
  PetscCall(strings_free(count, &name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode print_columns(hid_t h5, AnnData *file)
{
  PetscInt  count;
  char    **name, *index = NULL;
  PetscBool found = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(member_names(h5, "obs", &count, &name));
  const hid_t obs = H5Oopen(h5, "obs", H5P_DEFAULT);
  H5Check(obs);
  PetscCall(h5_read_attribute_string(obs, "_index", &index, &found));
  H5Check(H5Oclose(obs));
  for (PetscInt i = 0; i < count; i++) {
    AnnColumn column;
    char      title[256];

    if (!strcmp(name[i], "__categories") || !strcmp(name[i], "index") || !strcmp(name[i], "_index") || (found && !strcmp(name[i], index))) continue;
    PetscCall(anndata_column(file, "obs", name[i], &column));
    snprintf(title, sizeof title, "obs %s", name[i]);
    inspect_names(title, column.levels, (const char *const *)column.level);
    PetscCall(anncolumn_free(&column));
  }
  PetscCall(PetscFree(index));
  PetscCall(strings_free(count, &name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the values of the first cells look like. */
static PetscErrorCode print_values(AnnData *file, PetscInt64 cells)
{
  SparseRows rows;
  double     largest = 0, least = 0;
  PetscBool  whole = PETSC_TRUE;

  PetscFunctionBeginUser;
  const PetscInt64 count = PetscMin(cells, 1000);
  PetscCall(anndata_read_rows(file, 0, count, &rows));
  const int64_t entries = rows.offset[count];
  for (int64_t e = 0; e < entries; e++) {
    const double value = (double)rows.value[e];
    largest = PetscMax(largest, value);
    least = PetscMin(least, value);
    if (value != floor(value)) whole = PETSC_FALSE;
  }
  inspect_print("  %-20s %s, %g to %g; %.1f %% are not zero (first %lld cells)\n", "values of X", whole ? "whole numbers (counts)" : "decimals", least, largest,
                count ? 100. * (double)entries / ((double)count * (double)rows.columns) : 0., (long long)count);
  PetscCall(sparserows_free(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode inspect_anndata(const char *path)
{
  MPI_Comm           comm = PETSC_COMM_WORLD;
  AnnData           *file;
  PetscInt64         cells, genes;
  const char *const *gene;
  hid_t              h5;

  PetscFunctionBeginUser;
  PetscCall(anndata_open(comm, path, &file));
  PetscCall(anndata_shape(file, &cells, &genes));
  PetscCall(anndata_gene_names(file, &gene));
  inspect_print("%s: AnnData\n  %-20s %lld\n", path, "cells", (long long)cells);
  inspect_names("genes", genes, gene);
  PetscCallAgree(comm, print_values(file, cells));
  PetscCall(file_open(comm, path, "AnnData file", &h5));
  PetscCall(print_columns(h5, file));
  PetscCall(print_members(h5, "var"));
  PetscCall(print_members(h5, "layers"));
  PetscCall(print_members(h5, "obsm"));
  PetscCall(print_members(h5, "uns"));
  PetscCall(print_members(h5, "raw"));
  H5Check(H5Fclose(h5));
  PetscCall(anndata_close(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
