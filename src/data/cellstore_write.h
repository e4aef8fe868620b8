/* Writing a cell store (prepare, tests): tables first, then the cells in order, window by window. */
#ifndef DATA_CELLSTORE_WRITE_H
#define DATA_CELLSTORE_WRITE_H

#include <perturbdiff/data/anndata.h>
#include <perturbdiff/data/cellstore.h>

/* What a store holds besides its table; arrays are borrowed during cellstore_create. */
typedef struct {
  int64_t            entries;     /* of all cells together */
  size_t             name_length; /* longest cell name */
  PetscInt           compress;    /* deflate level 1..9 of genes and values, 0: none (then the file can be mapped) */
  const char        *command;     /* how it was made */
  const double      *gene_mean, *gene_dispersion; /* (genes), of the training cells; NULL: none */
  const int32_t     *gene_variable;               /* (genes), 1: chosen as highly variable; NULL: none */
  PetscInt           sources;
  const char *const *source_path;
  const int64_t     *source_size, *source_checksum;
} CellStoreContent;

typedef struct CellStoreWriter CellStoreWriter;

/* cellstore_create - begin a store; it appears under path at cellstore_commit. Collective; table and content are the same on
   all ranks (table->checksum is ignored). User errors as file_draft_create. */
PetscErrorCode cellstore_create(MPI_Comm comm, const char *path, const CellStoreTable *table, const CellStoreContent *content, CellStoreWriter **writer);

/* cellstore_append - the next cells of the store: all of rank 0's, then rank 1's and so on. Collective; rows may be empty on some
   ranks. name: cell names, name_length bytes each, padded with zeros; source_row: row in the source file. */
PetscErrorCode cellstore_append(CellStoreWriter *writer, const SparseRows *rows, const char *name, const int64_t *source_row);

/* cellstore_commit - finish the file and free the writer; checksum (may be NULL) is what the table of the opened store will hold.
   Collective. Cells or entries missing is a program error. cellstore_discard: drop the file (safe on NULL). */
PetscErrorCode cellstore_commit(CellStoreWriter **writer, uint64_t *checksum);
PetscErrorCode cellstore_discard(CellStoreWriter **writer);

#endif
