/* What an evaluation computes of every population besides its scores: distributions, questions, gene sets, and the comparison of models. */
#ifndef EVALUATION_ANALYSES_INTERNAL_H
#define EVALUATION_ANALYSES_INTERNAL_H

#include <perturbdiff/evaluation.h>
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/evaluation/genesets.h>
#include <perturbdiff/evaluation/questions.h>

/* Per-population scores that the comparison takes over from the analyses, NaN where not computed. */
enum {
  ANALYSIS_QUESTIONS = DISTRIBUTION_SCORES,
  ANALYSIS_GENESETS = ANALYSIS_QUESTIONS + QUESTION_SCORES, /* spearman, jaccard_overlap, jaccard_rank */
  ANALYSIS_SCORES = ANALYSIS_GENESETS + 3
};

/* Tables written group by group: each rank keeps the lines of its groups, rank 0 joins them in the order of groups. */
typedef enum { TABLE_GENES, TABLE_COVERAGE, TABLE_GENESETS, TABLE_AGREEMENT, ANALYSIS_TABLES } AnalysisTable;

typedef struct Analyses {
  const AnalysisOptions *options;
  uint64_t               seed;
  MPI_Comm               comm;
  PetscMPIInt            rank;
  PetscBool              contrasts, asked; /* the genes of populations are tested against control; there are questions */
  GeneSets               sets;
  QuestionTable          questions;
  double                *score;  /* (rows, questions) */
  double                *called; /* (rows, questions) */
  double                *value;  /* (rows, groups, ANALYSIS_SCORES) */
  char                **lines[ANALYSIS_TABLES]; /* (groups) text of own groups; malloc */
  char                 *table[ANALYSIS_TABLES]; /* joined, rank 0; NULL: not asked for */
  /* The group at hand. */
  FILE         *stream[ANALYSIS_TABLES];
  size_t        length[ANALYSIS_TABLES];
  GeneContrast  real;
  GeneSetTest  *real_test, *test; /* (sets) */
  double      **draw;             /* (rows) cells kept for coverage */
} Analyses;

/* A candidate of a group; cells (count, genes) and the control cells it is compared with (NULL: no contrast, as for the ceiling). */
typedef struct {
  PetscInt64         count, count_real;
  const double      *cells, *real;
  const SortedGenes *control;
} AnalysedRow;

/* analyses_create - read gene sets and questions, once names, rows and groups of the table stand. Collective. User errors as genesets_read, questions_read. */
PetscErrorCode analyses_create(MPI_Comm comm, const AnalysisOptions *options, uint64_t seed, const ScoreTable *table, Analyses **analyses);
PetscErrorCode analyses_destroy(const ScoreTable *table, Analyses **analyses);

/* Between begin and end of a group: its rows in any order. Not collective. */
PetscErrorCode analyses_begin_group(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt64 cells, const double *real, const SortedGenes *control);
PetscErrorCode analyses_row(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt row, const AnalysedRow *given);
PetscErrorCode analyses_end_group(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt64 cells, const double *real);

/* analyses_join - bring values to all ranks and lines to rank 0. owner (groups). Collective. */
PetscErrorCode analyses_join(Analyses *a, const ScoreTable *table, const PetscMPIInt *owner);

/* analyses_write - the tables that were asked for, and comparison.csv. Collective. */
PetscErrorCode analyses_write(MPI_Comm comm, const ScoreTable *table, const char *folder);

#endif
