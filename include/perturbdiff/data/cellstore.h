/* The cell store: all cells of a population together, sparse, normalised, with vocabularies (FORMATS, "Cell store"). */
#ifndef PERTURBDIFF_DATA_CELLSTORE_H
#define PERTURBDIFF_DATA_CELLSTORE_H

#include <perturbdiff/runtime/real.h>
#include <petscsys.h>
#include <stdint.h>

typedef enum { SPLIT_TRAIN = 0, SPLIT_VALIDATION = 1, SPLIT_TEST = 2 } Split;

/* All cells of one (perturbation, cell type, batch) of one data set. */
typedef struct {
  PetscInt   perturbation, cell_type, batch, dataset; /* indices into the vocabularies */
  PetscInt64 first_cell, cells;
  PetscInt   control; /* index of the paired control population (its own index for a control population), -1: none */
  Split      split;
} Population;

typedef struct {
  PetscInt count;
  char   **name;
} Vocabulary;

/* Everything about a store but its cells; the same on all ranks. */
typedef struct {
  Vocabulary  gene, perturbation, cell_type, batch, dataset;
  char       *perturbation_column, *cell_type_column, *batch_column; /* names in the input; "" where there was none */
  PetscInt    control;                                              /* index of the control label in perturbation */
  PetscInt    populations;
  Population *population;
  PetscInt64  cells;
  double      value_scale;  /* stored log1p values are divided by this when made dense for the network (10) */
  double      library_size; /* counts per cell after scaling (10,000); 0 when input was left as it was */
  uint64_t    checksum;     /* of the cells and tables; a checkpoint names the store it was trained on by it */
} CellStoreTable;

typedef struct CellStore CellStore;

/* cellstore_open - map a store for reading. Collective. Cells are read from the mapped file on demand, so that the store
   may be larger than memory; chunks of a compressed one are unpacked on demand into a cache of -cache_bytes that the ranks of a
   node share. User errors: not a store, damaged, newer version. */
PetscErrorCode cellstore_open(MPI_Comm comm, const char *path, CellStore **store);
/* Collective for a compressed store, whose cache the ranks of a node share. */
PetscErrorCode cellstore_close(CellStore **store);
/* What a rank must count for the cache of a compressed store: the node's cache divided among its ranks; 0 of a store that is not compressed. */
double cellstore_cache_bytes(const CellStore *store);
/* cellstore_verify - read all cells, dealt over the ranks of comm, and compare with the checksum; opening compares the tables only. Collective.
   User error: damaged. */
PetscErrorCode cellstore_verify(CellStore *store, MPI_Comm comm);
const CellStoreTable *cellstore_table(const CellStore *store);
const char *cellstore_path(const CellStore *store);

/* cellstore_row - entries of one cell: gene indices ascending and log1p values (not divided by value_scale). Thread-safe. The
   row is copied into the caller's arrays, which hold at least genes entries. */
PetscErrorCode cellstore_row(const CellStore *store, PetscInt64 cell, PetscInt *entries, int32_t *gene, float *value);

/* cellstore_dense - rows of a dense (count, genes) array, value * factor, zeros elsewhere; leading dimension ld. Thread-safe, no
   collective, no allocation but while a chunk of a compressed store is unpacked. The network takes factor = 1/value_scale. */
PetscErrorCode cellstore_dense(const CellStore *store, PetscInt64 count, const PetscInt64 *cells, double factor, Real *dense, PetscInt64 ld);

/* cellstore_name - name of a cell in its source file; caller frees with PetscFree. Not collective. */
PetscErrorCode cellstore_name(CellStore *store, PetscInt64 cell, char **name);

/* cellstore_find - population with these indices, -1 if there is none. */
PetscInt cellstore_find(const CellStoreTable *table, PetscInt perturbation, PetscInt cell_type, PetscInt batch);

/* Index of a name, -1 if absent. */
PetscInt vocabulary_find(const Vocabulary *vocabulary, const char *name);

/* cellstore_means - mean log1p expression of every population, (populations, genes), double; populations dealt over the ranks of comm
   and summed. Collective. Caller frees with PetscFree. */
PetscErrorCode cellstore_means(CellStore *store, MPI_Comm comm, double **means);

/* control_pair - control population of (cell type, batch): the same if it has cells; else same batch and another cell type, else same
   cell type and another batch (MODEL, "Data the model sees"); the largest such; -1 if none. */
PetscInt control_pair(const CellStoreTable *table, PetscInt cell_type, PetscInt batch);

/* population_label - "perturbation|cell type|batch" into text. */
void population_label(const CellStoreTable *table, PetscInt population, char *text, size_t size);

#endif
