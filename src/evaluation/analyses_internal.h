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
typedef enum { TABLE_GENES, TABLE_COVERAGE, TABLE_GENESETS, TABLE_AGREEMENT, TABLE_CELLS, TABLE_CALIBRATION, ANALYSIS_TABLES } AnalysisTable;

/* Cells drawn from a population for figures (cells, genes); x NULL: none. */
typedef struct {
  PetscInt cells;
  double  *x;
} ShownCells;

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
  unsigned char         *shown;     /* (groups) cells and changes are written for figures; NULL: of none */
  unsigned char         *shown_row; /* (rows) likewise */
  double               **shown_change; /* (groups) real change and those of all rows (1 + rows, genes); rank 0, of groups that are shown */
  /* The group at hand. */
  ShownCells    drawn_real, *drawn; /* drawn: (rows) */
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
  const GeneRuns *control;
} AnalysedRow;

/* analyses_create - read gene sets and questions, once names, rows and groups of the table stand. Collective. User errors as genesets_read, questions_read. */
PetscErrorCode analyses_create(MPI_Comm comm, const AnalysisOptions *options, uint64_t seed, const ScoreTable *table, Analyses **analyses);
PetscErrorCode analyses_destroy(const ScoreTable *table, Analyses **analyses);

/* Are the cells of a group looked at? Else they may be NULL below. */
PetscBool analyses_need_cells(const Analyses *a, PetscInt group);

/* Between begin and end of a group: its rows in any order. Not collective. */
PetscErrorCode analyses_begin_group(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt64 cells, const double *real, const GeneRuns *control);
PetscErrorCode analyses_row(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt row, const AnalysedRow *given);
PetscErrorCode analyses_end_group(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt64 cells, const double *real);

/* analyses_join - bring values to all ranks and lines to rank 0. owner (groups). Collective. */
PetscErrorCode analyses_join(Analyses *a, const ScoreTable *table, const PetscMPIInt *owner);

/* "model,perturbation,cell type,batch," of a line of a table. */
void analyses_begin_line(const ScoreTable *table, const char *model, PetscInt group, FILE *stream);

/* Figures of the strongest populations (shown.c). shown_choose - those of largest strength (groups), the same on all ranks; before the first group. shown_draw -
   some cells (n, genes); key: of the population, side: 0 real, 1 predicted. shown_end_group - lines of cells.csv and calibration.csv, cells freed. shown_keep_changes -
   change (1 + rows, genes) of a group, rank 0. shown_print_... - a ScoreTable's changes.csv: mean change from control of every gene; distances.csv: Euclidean distance of predicted
   changes from real ones, all pairs of shown populations. Not collective. */
PetscErrorCode shown_choose(Analyses *a, const ScoreTable *table, const double *strength);
PetscErrorCode shown_destroy(Analyses *a, const ScoreTable *table);
PetscErrorCode shown_draw(const Analyses *a, uint32_t key, uint32_t side, PetscInt genes, PetscInt64 n, const double *cells, ShownCells *drawn);
PetscErrorCode shown_end_group(Analyses *a, const ScoreTable *table, PetscInt group);
PetscErrorCode shown_keep_changes(Analyses *a, const ScoreTable *table, PetscInt group, const double *change);
PetscErrorCode shown_print_changes(const void *table, FILE *stream);
PetscErrorCode shown_print_distances(const void *table, FILE *stream);

/* analyses_write - the tables that were asked for, and comparison.csv. Collective. */
PetscErrorCode analyses_write(MPI_Comm comm, const ScoreTable *table, const char *folder);

#endif
