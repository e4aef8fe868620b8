/* What an evaluation holds while it runs. */
#ifndef EVALUATION_EVALUATION_STATE_H
#define EVALUATION_EVALUATION_STATE_H

#include "evaluation/evaluate_internal.h"
#include <perturbdiff/evaluation/contrast.h>

/* Everything an evaluation holds while it runs. */
typedef struct {
  MPI_Comm               comm;
  PetscMPIInt            rank, size;
  const EvaluateOptions *options;
  const char            *column[AXES];
  const char            *control;
  CellStore             *store; /* NULL: the real cells come from a file */
  double                *means; /* of the store's populations */
  Baseline             **baseline; /* (baselines), of a store */
  GroupedFile            real, *file;
  Axes                   axes;
  SlotList               slots;
  PetscInt               groups, genes;
  PetscInt              *group_slot; /* (groups) */
  PetscMPIInt           *owner;      /* (groups) */
  const char           **gene;       /* scored genes; names copied, for those of a file go when another of its matrices is selected */
  int32_t               *position;   /* (real genes) */
  SlotCells              real_cells, *file_cells;
  PetscBool              contrasts;               /* the analyses need the cells of the controls */
  PetscInt              *sorted_slot;             /* (1 + files) control whose genes are sorted, of the real cells and of each file; -1: none */
  GeneRuns              *sorted;
} Evaluation;

/* evaluation_open_all - all files, axes and groups of the real cells. evaluation_match_genes - scored genes. evaluation_prepare_groups - scored groups, their owners, means of their
   controls. Collective. User errors: what does not fit together. */
PetscErrorCode evaluation_open_all(Evaluation *e, KeyTable *real);
PetscErrorCode evaluation_match_genes(Evaluation *e);
PetscErrorCode evaluation_prepare_groups(Evaluation *e, const KeyTable *real);

/* evaluation_baseline_cells - cells (count, genes) that a baseline predicts for a group; without a store drawn from the group's control cells, whose rows must be loaded. Not
   collective. evaluation_pairs - the tables of cell-eval, of each prediction and baseline; metrics: of all rows. Collective. User errors as pair_evaluate. */
PetscErrorCode evaluation_baseline_cells(Evaluation *e, PetscInt baseline, PetscInt group, PetscInt64 count, double *cells);
PetscErrorCode evaluation_pairs(Evaluation *e, const ScoreTable *table, struct PairMetrics **metrics);

/* evaluation_score - fill a table whose rows, groups and genes are named: every rank its groups. Collective. User error: damaged file. */
PetscErrorCode evaluation_score(Evaluation *e, ScoreTable *table);

/* evaluation_load_controls - rows of the controls that own groups need as cells. evaluation_load_batch - rows of the first groups of a list that fit into memory, at least one
   group; evaluation_free_rows - of one slot. Not collective. User error: damaged file. */
PetscErrorCode evaluation_load_controls(Evaluation *e);
PetscErrorCode evaluation_load_batch(Evaluation *e, PetscInt count, const PetscInt *group, PetscInt *taken);
PetscErrorCode evaluation_free_rows(Evaluation *e, PetscInt slot);
/* evaluation_is_kept - are the cells of all files at hand (groupedfile_is_kept)? evaluation_load_kept - then the rows of one group; thread-safe as far as PETSc's memory is. Not collective. */
PetscBool      evaluation_is_kept(const Evaluation *e);
PetscErrorCode evaluation_load_kept(Evaluation *e, PetscInt group);

#endif
