/* Inside the AnnData reader: what an open file keeps, and reads of foreign HDF5 objects whose failures are user errors. */
#ifndef DATA_ANNDATA_PRIVATE_H
#define DATA_ANNDATA_PRIVATE_H

#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/error.h>
#include <hdf5.h>

typedef enum { MATRIX_NONE, MATRIX_DENSE, MATRIX_CSR, MATRIX_CSC, MATRIX_FRAME } MatrixForm;

/* One array of the file: a data set, a member of a compound data set (anndata 0.6), or a nullable array (values and mask). */
typedef struct {
  hid_t      dataset, mask;           /* mask: H5I_INVALID_HID when there is none */
  char       member[256];             /* of a compound data set; "" otherwise */
  char       name[512];               /* for messages */
  H5T_class_t kind;                   /* H5T_STRING, H5T_INTEGER, H5T_FLOAT, H5T_ENUM (booleans) */
  PetscBool  variable, is_unsigned;   /* strings of variable length; integers without sign */
  size_t     size;                    /* bytes of an element in the file */
  H5T_cset_t encoding;
  PetscInt64 count;
} AnnArray;

struct AnnData {
  MPI_Comm   comm;
  hid_t      h5;
  char       path[PETSC_MAX_PATH_LEN];
  double     bytes;   /* of the file */
  PetscInt64 cells;   /* rows of obs */
  /* The selected matrix. */
  char       matrix[256];
  MatrixForm form;
  PetscInt64 rows, columns, entries; /* entries: stored ones; sparse only */
  PetscBool  keep_double;            /* values in double precision are read as such */
  hid_t      values, indices, indptr;
  PetscInt64 chunk_rows;             /* of a dense matrix; 1 when contiguous */
  int64_t   *pointer;                /* CSC: columns + 1 */
  AnnArray  *frame;                  /* MATRIX_FRAME: one array a column */
  PetscInt   genes;                  /* length of gene_name */
  char     **gene_name;
};

/* A failed read of the file: a user error that names the object. */
PetscErrorCode anndata_damaged(const AnnData *file, const char *object);
#define AnnTry(file, object, expression)                            \
  do {                                                              \
    if ((expression) < 0) return anndata_damaged((file), (object)); \
  } while (0)

/* Around reads of strings of variable length: a fault of HDF5 there is a damaged file. Not nested. */
void heap_guard_begin(const AnnData *file);
void heap_guard_end(void);

/* Decompression of h5py's lzf filter; done once a process. */
PetscErrorCode lzf_filter_register(void);

/* Allocate count elements that the file claims to hold; a count that no file of this size can hold is a user error. */
PetscErrorCode anndata_allocate(const AnnData *file, const char *object, PetscInt64 count, size_t size, void *memory);

/* Names of the members of a group, sorted; none where there is no such group. Free with strings_free. */
PetscErrorCode anndata_members(const AnnData *file, const char *group, PetscInt *count, char ***names);
/* String attribute of an object into text (empty when there is none). */
PetscErrorCode anndata_attribute_text(const AnnData *file, const char *path, const char *name, char *text, size_t size);
/* Attribute of strings (column-order); count 0 when there is none. Free with strings_free. */
PetscErrorCode anndata_attribute_strings(const AnnData *file, const char *path, const char *name, PetscInt *count, char ***strings);
/* First n integers of an attribute or data set; found says whether it is there. */
PetscErrorCode anndata_attribute_integers(const AnnData *file, const char *path, const char *name, PetscInt n, int64_t *values, PetscBool *found);

/* Open a data set with a chunk cache that holds a row of its chunks. rank: dimensions it must have; extent: rank lengths. */
PetscErrorCode anndata_dataset_open(const AnnData *file, const char *path, int rank, hid_t *dataset, hsize_t *extent);
/* Elements [first, first+count) of a one-dimensional data set as the memory type. */
PetscErrorCode anndata_read_slab(const AnnData *file, hid_t dataset, const char *object, hid_t type, PetscInt64 first, PetscInt64 count, void *values);

/* A column (or index) of the table obs, var, raw/var or an obsm data frame, or any one-dimensional array by its path. */
PetscErrorCode annarray_open(const AnnData *file, const char *path, AnnArray *array);
PetscErrorCode annarray_open_member(const AnnData *file, const char *table, const char *name, AnnArray *array);
PetscErrorCode annarray_open_index(const AnnData *file, const char *table, AnnArray *array);
PetscErrorCode annarray_close(AnnArray *array);
/* Elements as text, numbers in their shortest decimal form; missing ones NULL. strings: count pointers, each freed by PetscFree. */
PetscErrorCode annarray_read_text(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, char **strings);
/* Elements as numbers, missing ones NaN. User error where the array holds strings. */
PetscErrorCode annarray_read_numbers(const AnnData *file, const AnnArray *array, PetscInt64 first, PetscInt64 count, double *numbers);
/* A whole array as text, missing ones "". Free with strings_free. */
PetscErrorCode annarray_read_all(const AnnData *file, const AnnArray *array, PetscInt *count, char ***strings);

/* Is the table (obs, var) a compound data set, as anndata 0.6 wrote it? */
PetscBool anndata_table_is_compound(const AnnData *file, const char *table);
/* Columns of a table in file order. Free with strings_free. */
PetscErrorCode anndata_table_columns(const AnnData *file, const char *table, PetscInt *count, char ***names);

/* "a, b, c ..." for messages, at most ten names. */
void anndata_list_names(char *text, size_t size, PetscInt count, char *const *names);

#endif
