/* From AnnData files to a cell store. */
#ifndef PERTURBDIFF_DATA_PREPARE_H
#define PERTURBDIFF_DATA_PREPARE_H

#include <perturbdiff/data/cellstore.h>

typedef struct {
  PetscInt           inputs;
  const char *const *input; /* AnnData paths; each is a data set */
  const char        *output;
  const char        *perturbation_column, *control, *cell_type_column, *batch_column; /* last two may be "" */
  const char        *matrix;                                                         /* anndata_select; "X" */
  const char        *genes;         /* "" all, a number: that many highly variable, else a file with one name a line */
  const char        *normalize;     /* "auto" or "none" */
  const char        *split;         /* file or "" */
  PetscInt           holdouts;
  const char *const *holdout;
  double             validation_fraction, chunk_bytes, value_scale;
  PetscInt           compress; /* deflate level, 0: none */
  uint64_t           seed;
  const char        *command;  /* kept in the file */
} PrepareOptions;

/* prepare_store - the whole pipeline: columns, gene union, counts or log values recognised, scaling to library size, log1p, highly
   variable genes (scanpy's seurat flavour on training cells), split, control pairing, store. Collective; each rank reads and
   writes its ranges, memory bounded by chunk_bytes a rank. User errors: all of COMMANDS "prepare". */
PetscErrorCode prepare_store(MPI_Comm comm, const PrepareOptions *options);

#endif
