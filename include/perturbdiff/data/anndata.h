/* AnnData files (.h5ad, on-disk format of anndata 0.7 to 0.12), read in row ranges and written in parallel. */
#ifndef PERTURBDIFF_DATA_ANNDATA_H
#define PERTURBDIFF_DATA_ANNDATA_H

#include <petscsys.h>
#include <stdint.h>

/* Rows of a sparse matrix, CSR: row i holds entries offset[i] <= e < offset[i+1] (offset[0] = 0), columns ascending. */
typedef struct {
  PetscInt64 rows, columns;
  int64_t   *offset; /* rows + 1 */
  int32_t   *column;
  float     *value;  /* NULL where the values are kept in double precision: */
  double    *wide;   /* only of a file that anndata_keep_double was called for */
} SparseRows;
/* Value of an entry of either kind; set rounds where values are single. */
static inline double sparserows_get(const SparseRows *rows, int64_t entry) { return rows->wide ? rows->wide[entry] : (double)rows->value[entry]; }
static inline void   sparserows_set(SparseRows *rows, int64_t entry, double value)
{
  if (rows->wide) rows->wide[entry] = value;
  else rows->value[entry] = (float)value;
}
/* Bytes of so many rows and entries. */
static inline double sparserows_bytes(PetscInt64 rows, int64_t entries, PetscBool wide)
{
  return (double)entries * (double)(sizeof(int32_t) + (wide ? sizeof(double) : sizeof(float))) + (double)rows * sizeof(int64_t);
}
/* sparserows_allocate - column and values of so many entries, of the kind given; offset is the caller's. Not collective. */
PetscErrorCode sparserows_allocate(int64_t entries, PetscBool wide, SparseRows *rows);
/* Safe on a zeroed matrix. */
PetscErrorCode sparserows_free(SparseRows *rows);

/* A column of obs or var as codes into labels; numbers are turned into their shortest decimal text. -1: missing. */
typedef struct {
  PetscInt64 count;
  int32_t   *code; /* count */
  PetscInt   levels;
  char     **level; /* categories in file order; for strings and numbers in sorted order */
} AnnColumn;
PetscErrorCode anncolumn_free(AnnColumn *column);

/* A file open for reading. */
typedef struct AnnData AnnData;

/* anndata_open - open for reading; X is selected. Collective, as is anndata_close (safe on NULL). User errors: not an AnnData file, missing, damaged. */
PetscErrorCode anndata_open(MPI_Comm comm, const char *path, AnnData **file);
PetscErrorCode anndata_close(AnnData **file);

/* anndata_select - choose the matrix that is read: "X", "layers/NAME" (or just NAME), "obsm/NAME", "raw/X". Collective.
   User error: no such matrix (names the ones there are). Gene names of an obsm matrix: its columns if a data frame, else
   names from uns/var of highly variable genes when their count fits, else "NAME_0", "NAME_1", ... */
PetscErrorCode anndata_select(AnnData *file, const char *matrix);

/* Does the path exist, such as "uns/log1p", every group on the way included? Independent. */
PetscBool anndata_exists(const AnnData *file, const char *path);

/* Rows and columns of the selected matrix. Independent. */
PetscErrorCode anndata_shape(const AnnData *file, PetscInt64 *cells, PetscInt64 *genes);
/* Names of its columns (genes), on every rank. Borrowed: valid until close or the next select. */
PetscErrorCode anndata_gene_names(const AnnData *file, const char *const **names);
/* Names of cells [first, first+count); free with strings_free. Independent. */
PetscErrorCode anndata_cell_names(AnnData *file, PetscInt64 first, PetscInt64 count, char ***names);

/* anndata_column - a whole column of "obs" or "var", on every rank. Collective. User error: no such column (names the ones
   there are). */
PetscErrorCode anndata_column(AnnData *file, const char *table, const char *name, AnnColumn *column);

/* anndata_read_rows - rows [first, first+count) of the selected matrix as sorted CSR, explicit zeros dropped, duplicates
   summed. Independent: any rank, any range. Free with sparserows_free. CSC is scanned in bounded chunks. User error (caller
   agrees): damaged or truncated data, indices out of range. */
PetscErrorCode anndata_read_rows(AnnData *file, PetscInt64 first, PetscInt64 count, SparseRows *rows);

/* Are the values of the selected matrix stored in double precision? They are rounded to single when they are read, unless anndata_keep_double was called for the
   file. Independent. */
PetscBool      anndata_is_double(const AnnData *file);
PetscErrorCode anndata_keep_double(AnnData *file);

/* Rows of a CSR matrix straight from the file, by any thread. */
typedef struct PlainRows PlainRows;
/* plainrows_open - rows of the selected matrix, another of which may be selected afterwards. NULL where they are not in the file as they would be in memory: not CSR, compressed,
   indices of other than 32 bits, values of another precision than is read, row pointers that are not in order. Not collective. User error: damaged. plainrows_close is safe on NULL. */
PetscErrorCode plainrows_open(AnnData *file, PlainRows **rows);
PetscErrorCode plainrows_close(PlainRows **rows);
/* plainrows_entries - how many rows [first, first + count) have. plainrows_append - the rows behind those of `to`, which have room for them, as they are in the file: nothing is checked,
   sorted or left out. By any thread. User error: the file became shorter. */
int64_t        plainrows_entries(const PlainRows *rows, PetscInt64 first, PetscInt64 count);
PetscErrorCode plainrows_append(const PlainRows *rows, PetscInt64 first, PetscInt64 count, SparseRows *to);

/* anndata_rows_for_bytes - how many rows a read may take so that it stays near the given memory, at least one. Independent. */
PetscErrorCode anndata_rows_for_bytes(const AnnData *file, double bytes, PetscInt64 *rows);

typedef struct AnnWriter AnnWriter;

/* anndata_create - begin a file (encoding 0.8, CSR float32 X); it appears under path at anndata_commit. Collective. genes and names
   are the same on all ranks, copied. User errors as file_draft_create. */
PetscErrorCode anndata_create(MPI_Comm comm, const char *path, PetscInt64 genes, const char *const *gene_names, AnnWriter **writer);
/* A categorical obs column, declared before the first append, the same on all ranks. levels are copied. Not collective. */
PetscErrorCode anndata_declare_column(AnnWriter *writer, const char *name, PetscInt levels, const char *const *level);
/* anndata_append - add rows: all of rank 0's, then rank 1's and so on. Collective; rows may be empty on some ranks. codes[c][i]:
   category of row i in the c-th declared column (-1 missing); cell_names[i]: name of row i. */
PetscErrorCode anndata_append(AnnWriter *writer, const SparseRows *rows, const int32_t *const *codes, const char *const *cell_names);
/* Extra arrays, the same values on all ranks: path such as "uns/truth/loadings" or "var/mean" (then columns 0, rows genes).
   Collective. var vectors become columns of var. */
PetscErrorCode anndata_write_array(AnnWriter *writer, const char *path, PetscInt64 rows, PetscInt64 columns, const double *values);
PetscErrorCode anndata_write_strings(AnnWriter *writer, const char *path, PetscInt64 count, const char *const *strings);
PetscErrorCode anndata_write_text(AnnWriter *writer, const char *path, const char *text);
/* Note that X holds log1p values, as scanpy does (uns/log1p). Collective. */
PetscErrorCode anndata_mark_log1p(AnnWriter *writer);
/* Finish the file and free the writer. Collective. anndata_discard: drop it (safe on NULL). */
PetscErrorCode anndata_commit(AnnWriter **writer);
PetscErrorCode anndata_discard(AnnWriter **writer);

/* sparserows_dense - copy of the first count rows, or with order not NULL of rows order[0 ... count - 1], to dense (count, columns of the rows), zeros included. Not
   collective. */
void sparserows_dense(const SparseRows *rows, PetscInt64 count, const PetscInt64 *order, double *dense);
/* sparserows_from_dense - CSR of a dense row-major block, values at or below cut dropped. Free with sparserows_free. Not collective. */
PetscErrorCode sparserows_from_dense(PetscInt64 rows, PetscInt64 columns, const double *dense, double cut, SparseRows *sparse);

#endif
