/* Baselines: cells for a condition from training populations alone, without a network. What a model has to beat. */
#ifndef PERTURBDIFF_EVALUATION_BASELINE_H
#define PERTURBDIFF_EVALUATION_BASELINE_H

#include <perturbdiff/data/cellstore.h>
#include <perturbdiff/hilbert/regression.h>

typedef enum {
  BASELINE_CONTROL,           /* control cells drawn: no change */
  BASELINE_MEAN_SHIFT,        /* plus the mean change by the perturbation in other cell types (center_shift), clipped at 0 as all shifts are */
  BASELINE_PERTURBATION_MEAN, /* plus the mean change over training perturbations in the cell type (over all where it has none) */
  BASELINE_ADDITIVE,          /* plus least-squares effects of perturbation and cell type */
  BASELINE_RIDGE,             /* plus the change by kernel ridge regression on the covariates, with external features of perturbations where given */
  BASELINE_NEAREST,           /* cells of the training population nearest in perturbation, then in mean control cell; control cells where there is none */
  BASELINE_CME,               /* conditional mean embedding: real cells of the mixture of training populations nearest to the predicted embedding */
  BASELINES
} BaselineMethod;

/* Names as users type them, in the order of BaselineMethod. */
extern const char *const baseline_name[BASELINES];

typedef struct {
  BaselineMethod method;
  const double  *similarity;      /* (perturbations, perturbations) from covariate_similarity; NULL: perturbations have nothing in common. Not owned */
  PetscInt       embedding_cells; /* of each population that cme embeds, at most */
  uint64_t       seed;            /* of the draws, which are keyed by condition */
} BaselineOptions;

typedef struct Baseline Baseline;

/* baseline_create - what a method learns from the training populations, for conditions (perturbation, cell type, batch) that will be asked for; a condition that is a training
   population itself is predicted without it. store, means (from cellstore_means) and options->similarity are kept by pointer. ridge and cme predict no change where fewer than two training populations are there
   (the note says so). Collective. User error: a condition without control cells. */
PetscErrorCode baseline_create(MPI_Comm comm, CellStore *store, const double *means, const BaselineOptions *options, PetscInt conditions, const Covariates *condition,
                               Baseline **baseline);
PetscErrorCode baseline_destroy(Baseline **baseline);
/* One line about what was chosen ("ridge 0.1, leave-one-out error 0.71 of no change"), "" where nothing is. */
const char *baseline_note(const Baseline *baseline);

/* baseline_cells - cells (count, genes) in log1p units of a condition given at creation. Not collective. */
PetscErrorCode baseline_cells(const Baseline *baseline, PetscInt condition, PetscInt64 count, double *cells);

/* baseline_additive_shift - shift (G) = a_perturbation + b_cell_type, the least-squares fit of the mean changes of all training populations but the condition
   itself, each with the same weight, b of smallest norm; effects that no training population shows are zero. Not collective. */
PetscErrorCode baseline_additive_shift(const CellStoreTable *table, const double *means, const Covariates *condition, double *shift);

/* perturbation_similarity - covariate_similarity from a CSV file: a column `perturbation`, every other column a number; perturbations without a row resemble themselves only.
   similarity (perturbations, perturbations), free with PetscFree. Collective. User errors: no such column, not a number, a row twice, no row of the store's perturbations. */
PetscErrorCode perturbation_similarity(MPI_Comm comm, const char *path, const CellStoreTable *table, double **similarity);

#endif
