/* Values of a population gene by gene: what rank tests take. */
#ifndef PERTURBDIFF_EVALUATION_GENECOLUMNS_H
#define PERTURBDIFF_EVALUATION_GENECOLUMNS_H

#include <perturbdiff/data/anndata.h>

/* Values above zero of every gene; the other cells hold zeros. In the order of the cells, or ascending. */
typedef struct {
  PetscInt64 cells;
  PetscInt   genes;
  int64_t   *offset; /* (genes + 1) */
  float     *value;  /* NULL where values are kept in double precision: */
  double    *wide;
} GeneColumns;
static inline double genecolumns_get(const GeneColumns *columns, int64_t entry) { return columns->wide ? columns->wide[entry] : (double)columns->value[entry]; }

/* genecolumns_create - from rows whose columns are the genes, in any order. genecolumns_of_dense - from (cells, genes), kept in single precision where that changes none.
   genecolumns_sort - the values of the genes [first, end) in ascending order; threads may share the genes. Not collective. */
PetscErrorCode genecolumns_create(const SparseRows *rows, PetscInt genes, GeneColumns *columns);
PetscErrorCode genecolumns_of_dense(PetscInt64 cells, const double *rows, PetscInt genes, GeneColumns *columns);
PetscErrorCode genecolumns_sort(GeneColumns *columns, PetscInt first, PetscInt end);
PetscErrorCode genecolumns_destroy(GeneColumns *columns);

/* The same of a control, which many populations are tested against: runs of equal values. */
typedef struct {
  PetscInt64 cells;
  PetscInt   genes;
  int64_t   *offset; /* (genes + 1) */
  double    *value;  /* ascending in each gene */
  int32_t   *upto;   /* values of the gene that are not above it */
  double    *ties;   /* (genes) sum of t^3 - t over runs of t values */
} GeneRuns;

/* generuns_create - of sorted columns, which may go then. Not collective. */
PetscErrorCode generuns_create(const GeneColumns *sorted, GeneRuns *runs);
PetscErrorCode generuns_destroy(GeneRuns *runs);

#endif
