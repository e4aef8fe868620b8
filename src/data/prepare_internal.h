/* The steps of prepare and what they hand on. */
#ifndef DATA_PREPARE_INTERNAL_H
#define DATA_PREPARE_INTERNAL_H

#include "data/cellstore_write.h"
#include "data/name_index.h"
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/data/prepare.h>

typedef enum { VALUES_COUNTS, VALUES_LOG, VALUES_AS_THEY_ARE } ValueKind;

typedef struct {
  const char *path; /* not owned */
  AnnData    *file;
  PetscInt64  cells, genes, first_cell; /* first_cell: in the order of all inputs together */
  PetscInt64  block_rows, blocks;       /* the file is read in blocks of rows */
  int32_t    *gene;                     /* (genes) index in the union of genes */
  int32_t    *kept;                     /* (genes) index in the store, -1: not kept */
  ValueKind   kind;
  int64_t     size, checksum;
} PrepareInput;

typedef struct {
  MPI_Comm              comm;
  int                   rank, ranks;
  const PrepareOptions *options;
  PetscInt              inputs;
  PrepareInput         *input;
  PetscInt64            cells;      /* of all inputs */
  int32_t              *population; /* (cells) of each cell, -1: dropped */
  Vocabulary            all_genes;  /* union over inputs, in order of first appearance; names owned */
  CellStoreTable        table;      /* owned, filled step by step */
  /* Statistics over the union of genes. */
  PetscInt64 empty_cells;           /* kept cells without any count */
  size_t     name_length;           /* longest name of a kept cell */
  int64_t   *gene_entries;          /* (all genes) non-zero values in kept cells */
  PetscBool  moments;               /* are mean and variance known? */
  double    *gene_mean, *gene_variance; /* (all genes) of the scaled counts of training cells */
  /* Genes of the store: index in the union, and what the store says of them. */
  PetscInt *chosen; /* (table.gene.count) */
  double   *log_mean, *dispersion;
  int32_t  *variable;
} Preparation;

/* prepare_columns.c: labels, populations in store order, control pairing. Collective. */
PetscErrorCode prepare_populations(Preparation *preparation);
/* prepare_genes.c: union of the inputs' genes; then, after the statistics, the genes of the store. Collective. */
PetscErrorCode prepare_gene_union(Preparation *preparation);
PetscErrorCode prepare_gene_choice(Preparation *preparation);
/* prepare_statistics.c: the first pass: what kind of values, sums of training cells. Collective. */
PetscErrorCode prepare_statistics(Preparation *preparation);
/* prepare_write.c: the second pass. Collective. */
PetscErrorCode prepare_write(Preparation *preparation);

/* prepare_values - the store's values of one row as read, all genes of the file: counts are scaled to the library size of the row and
   log1p is taken, others are left. out may be values. */
void prepare_values(ValueKind kind, int64_t entries, const float *values, float *out);

enum { LIBRARY_SIZE = 10000 };

#endif
