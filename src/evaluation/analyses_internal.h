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
} Analyses;

/* A group while it is analysed. */
typedef struct {
  PetscInt      group;
  uint32_t      key;
  FILE         *stream[ANALYSIS_TABLES];
  size_t        length[ANALYSIS_TABLES];
  GeneContrast  real;
  GeneSetTest  *real_test, *test; /* (sets) */
  double      **draw;             /* (rows) cells kept for coverage */
} GroupAnalysis;

/* A candidate of a group; cells (count, genes) and the control cells it is compared with (NULL: no contrast, as for the ceiling). */
typedef struct {
  PetscInt64         count, count_real;
  const double      *cells, *real;
  const GeneRuns    *control;
} AnalysedRow;

/* analyses_create - read gene sets and questions, once names, rows and groups of the table stand. Collective. User errors as genesets_read, questions_read. */
PetscErrorCode analyses_create(MPI_Comm comm, const AnalysisOptions *options, uint64_t seed, const ScoreTable *table, Analyses **analyses);
PetscErrorCode analyses_destroy(const ScoreTable *table, Analyses **analyses);

/* analyses_need_cells - are the cells of all groups looked at? Else there is no group to begin. analyses_use_threads - may groups be analysed at the same time? Coverage speaks to MPI.
   analyses_bytes - a group takes at most, the largest population of it having so many cells. analyses_leave_out - no values of a group. */
PetscBool analyses_need_cells(const Analyses *a);
PetscBool analyses_use_threads(const Analyses *a, const ScoreTable *table);
double    analyses_bytes(const Analyses *a, PetscInt genes, PetscInt64 cells);
void      analyses_leave_out(Analyses *a, const ScoreTable *table, PetscInt group);

/* Between begin and end of a group: its rows in any order. Not collective; thread-safe, for groups that differ, as far as PETSc's memory is. */
PetscErrorCode analyses_begin_group(Analyses *a, const ScoreTable *table, PetscInt group, PetscInt64 cells, const double *real, const GeneRuns *control, GroupAnalysis *w);
PetscErrorCode analyses_row(Analyses *a, const ScoreTable *table, GroupAnalysis *w, PetscInt row, const AnalysedRow *given);
PetscErrorCode analyses_end_group(Analyses *a, const ScoreTable *table, GroupAnalysis *w, PetscInt64 cells, const double *real);

/* analyses_join - bring values to all ranks and lines to rank 0. owner (groups). Collective. */
PetscErrorCode analyses_join(Analyses *a, const ScoreTable *table, const PetscMPIInt *owner);

/* Key of a population's random numbers. */
uint32_t analyses_key(const ScoreTable *table, PetscInt group);

/* "model,perturbation,cell type,batch," of a line of a table. */
void analyses_begin_line(const ScoreTable *table, const char *model, PetscInt group, FILE *stream);

/* Cells drawn from a population for figures (cells, genes); x NULL: none. */
typedef struct {
  PetscInt cells;
  double  *x;
} ShownCells;

/* What is shown of a group. */
typedef struct {
  PetscInt   group;
  ShownCells real, *row; /* row: (rows of the table) */
} ShownGroup;

enum { SHOWN_CELLS = 300 }; /* drawn of each population at most */

/* Figures of the strongest populations (shown.c). shown_choose - those of largest strength (groups), the same on all ranks. shown_order - the cells that are drawn of n; key: of the
   population, side: 0 real, 1 predicted; returns how many. shown_calibration, shown_components - lines of calibration.csv, of cells.csv; thread-safe, for groups that differ, as far as
   PETSc's memory is, and where BLAS runs one thread. shown_free - cells that were drawn. shown_keep_changes - change (1 + rows, genes) of a group, rank 0. shown_print_... - a
   ScoreTable's changes.csv: mean change from control of every gene; distances.csv: Euclidean distance of predicted changes from real ones, all pairs of shown populations. Not
   collective. */
PetscErrorCode shown_choose(Analyses *a, const ScoreTable *table, const double *strength);
PetscErrorCode shown_destroy(Analyses *a, const ScoreTable *table);
PetscInt       shown_order(const Analyses *a, uint32_t key, uint32_t side, PetscInt64 n, PetscInt64 order[SHOWN_CELLS]);
PetscErrorCode shown_calibration(Analyses *a, const ScoreTable *table, const ShownGroup *shown);
PetscErrorCode shown_components(Analyses *a, const ScoreTable *table, const ShownGroup *shown);
PetscErrorCode shown_free(const ScoreTable *table, ShownGroup *shown);
PetscErrorCode shown_keep_changes(Analyses *a, const ScoreTable *table, PetscInt group, const double *change);
PetscErrorCode shown_print_changes(const void *table, FILE *stream);
PetscErrorCode shown_print_distances(const void *table, FILE *stream);

/* analyses_write - the tables that were asked for, and comparison.csv. Collective. */
PetscErrorCode analyses_write(MPI_Comm comm, const ScoreTable *table, const char *folder);

#endif
