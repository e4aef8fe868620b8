/* What reader and writer of the cell store share: names in the file, version, checksums. */
#ifndef DATA_CELLSTORE_FORMAT_H
#define DATA_CELLSTORE_FORMAT_H

#include <perturbdiff/data/cellstore.h>

#define CELLSTORE_FORMAT "perturbdiff-cells"
enum { CELLSTORE_VERSION = 1 };

/* Checksum of everything in the tables. Not collective. */
PetscErrorCode cellstore_table_checksum(const CellStoreTable *table, uint64_t *checksum);

/* Checksum of one cell: its row as 32-bit gene indices and values, at entry number first of the store. The sum over cells does not
   depend on who adds which. */
uint64_t cellstore_row_checksum(PetscInt64 cell, int64_t first, PetscInt entries, const int32_t *gene, const float *value);

#endif
