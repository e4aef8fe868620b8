/* Gene sets: which are over-represented among significant genes, which are shifted in the ranking of all genes. */
#ifndef PERTURBDIFF_EVALUATION_GENESETS_H
#define PERTURBDIFF_EVALUATION_GENESETS_H

#include <perturbdiff/evaluation/contrast.h>

/* Sets restricted to the genes that are scored. Owned by the struct. */
typedef struct {
  PetscInt  sets, skipped; /* skipped: sets of the file with too few or too many scored genes */
  char    **name;          /* (sets) in the order of the file */
  PetscInt *first, *gene;  /* members of set s: gene[first[s]] ... gene[first[s + 1] - 1], each once */
} GeneSets;

/* genesets_read - a GMT file: a line a set: name, description, genes, separated by tabs. Sets of least to most scored genes are kept. Collective, the same on all ranks.
   User errors: missing file; a line without genes; a name twice; no set of fitting size. */
PetscErrorCode genesets_read(MPI_Comm comm, const char *path, PetscInt genes, const char *const *gene, PetscInt least, PetscInt most, GeneSets *sets);
PetscErrorCode genesets_destroy(GeneSets *sets);

/* p-values as logarithms: they go below the range of double. fdr: Benjamini-Hochberg over the sets. */
typedef struct {
  PetscInt overlap;                 /* significant genes in the set */
  double   enrichment;              /* their share of the significant genes / the set's share of all genes; NaN without significant genes */
  double   log_p, fdr;              /* hypergeometric, P(overlap or more) with the scored genes as background */
  double   effect;                  /* rank-biserial correlation of the genes' scores, in [-1, 1]: positive where the set is up */
  double   effect_log_p, effect_fdr; /* CAMERA on ranks with its default inter-gene correlation 0.01 (Wu and Smyth 2012), two-sided */
} GeneSetTest;

/* geneset_tests - test (sets). Not collective. */
PetscErrorCode geneset_tests(const GeneSets *sets, const GeneContrast *contrast, GeneSetTest *test);

/* How well the sets of a prediction agree with the real ones. Significant: fdr < 0.05; Jaccard is NaN where neither side has any. */
typedef struct {
  double   spearman;                                /* of the effects over sets */
  double   jaccard_overlap, jaccard_rank;           /* of the sets significant by over-representation; by rank, with the same sign */
  PetscInt significant_overlap[2], significant_rank[2]; /* real, predicted */
} GeneSetAgreement;
PetscErrorCode geneset_agreement(PetscInt sets, const GeneSetTest *real, const GeneSetTest *predicted, GeneSetAgreement *agreement);

#endif
