/* Ridge and conditional mean embedding: regressions over the covariates of the training populations. */
#include "evaluation/baseline_internal.h"
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime.h>

/* Populations that teach, and, for embeddings, the control populations beside them. */
static PetscErrorCode choose_populations(const CellStoreTable *table, PetscBool controls, BaselineWeights *w)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(table->populations, &w->population));
  PetscCall(PetscMalloc1(table->populations, &w->covariates));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    if (!baseline_teaches(table, p, NULL) && !(controls && p->perturbation == table->control && p->cells)) continue;
    w->covariates[w->populations] = (Covariates){{p->perturbation, p->cell_type, p->batch}};
    w->population[w->populations++] = k;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Best regression for outputs of the Gram matrix given, its weights for every condition, and what it says of itself. */
static PetscErrorCode fit_weights(const CellStoreTable *table, const BaselineOptions *options, const BlockMatrix *outputs, PetscInt conditions, const Covariates *condition,
                                  BaselineWeights *w)
{
  const PetscInt  levels[COVARIATE_AXES] = {table->perturbation.count, table->cell_type.count, table->batch.count};
  CovariateKernel kernel[COVARIATE_KERNELS];
  const PetscInt  kernels = covariate_kernels(levels, options->similarity, kernel);
  Regression      r;
  double         *square, nothing = 0;
  PetscInt       *left_out;

  PetscFunctionBeginUser;
  PetscCall(regression_fit(w->populations, w->covariates, kernels, kernel, REGRESSION_LAMBDAS, regression_lambda, outputs, &r));
  PetscCall(PetscMalloc2(w->populations, &square, conditions, &left_out));
  PetscCall(blockmatrix_diagonal(outputs, square));
  for (PetscInt i = 0; i < w->populations; i++) nothing += square[i] / w->populations;
  for (PetscInt c = 0; c < conditions; c++) {
    left_out[c] = -1;
    for (PetscInt i = 0; i < w->populations; i++) {
      const PetscInt *a = w->covariates[i].level, *b = condition[c].level;
      if (a[0] == b[0] && a[1] == b[1] && a[2] == b[2]) left_out[c] = i;
    }
  }
  PetscCall(PetscMalloc1((size_t)conditions * (size_t)w->populations, &w->weights));
  PetscCall(regression_weights(&r, conditions, condition, left_out, w->weights));
  snprintf(w->note, sizeof w->note, "%d populations, shared %g perturbation, %g cell type, %g batch, ridge %g, leave-one-out error %.3f of predicting zero", (int)w->populations,
           r.kernel.shared[0], r.kernel.shared[1], r.kernel.shared[2], r.lambda, nothing > 0 ? r.error / nothing : 0);
  PetscCall(PetscFree2(square, left_out));
  PetscCall(regression_destroy(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With fewer than two training populations there is nothing to fit: weights of zero, said in the note. */
static PetscErrorCode too_few(PetscInt conditions, BaselineWeights *w, PetscBool *few)
{
  PetscFunctionBeginUser;
  *few = w->populations < 2 ? PETSC_TRUE : PETSC_FALSE;
  if (!*few) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1((size_t)conditions * (size_t)w->populations, &w->weights));
  snprintf(w->note, sizeof w->note, "fewer than two training populations: no change");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_ridge_weights(MPI_Comm comm, const CellStore *store, const double *means, const BaselineOptions *options, PetscInt conditions, const Covariates *condition,
                                      BaselineWeights *w)
{
  const CellStoreTable *table = cellstore_table(store);
  const PetscInt        genes = table->gene.count;
  BlockGrid            *grid;
  BlockMatrix           change, outputs;
  long long             first, count;
  double               *rows;
  PetscBool             few;

  PetscFunctionBeginUser;
  PetscCall(choose_populations(table, PETSC_FALSE, w));
  PetscCall(too_few(conditions, w, &few));
  if (few) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(blockgrid_create(comm, w->populations, &grid));
  PetscCall(blockmatrix_create(grid, w->populations, genes, &change));
  PetscCall(blockmatrix_create(grid, w->populations, w->populations, &outputs));
  share_of(w->populations, grid->rank, grid->ranks, &first, &count);
  PetscCall(PetscMalloc1((size_t)count * (size_t)genes, &rows));
  for (long long i = 0; i < count; i++) {
    const PetscInt k = w->population[first + i];
    const double  *treated = means + (size_t)k * (size_t)genes, *control = means + (size_t)table->population[k].control * (size_t)genes;
    for (PetscInt g = 0; g < genes; g++) rows[(size_t)i * (size_t)genes + (size_t)g] = treated[g] - control[g];
  }
  PetscCall(blockmatrix_from_rows(&change, rows));
  PetscCall(PetscFree(rows));
  PetscCall(blockmatrix_product(PETSC_FALSE, PETSC_TRUE, 1, &change, &change, 0, &outputs));
  PetscCall(blockmatrix_destroy(&change));
  PetscCall(fit_weights(table, options, &outputs, conditions, condition, w));
  PetscCall(blockmatrix_destroy(&outputs));
  PetscCall(blockgrid_destroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mixtures nearest to the embeddings predicted, conditions dealt over ranks. The condition's own population takes no part. */
static PetscErrorCode mixtures(MPI_Comm comm, const CellStoreTable *table, const double *gram, PetscInt conditions, const Covariates *condition, BaselineWeights *w)
{
  const PetscInt n = w->populations;
  unsigned char *usable;
  double        *mixture;
  int            rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(PetscMalloc2(n, &usable, n, &mixture));
  for (PetscInt c = 0; c < conditions; c++) {
    double *weights = w->weights + (size_t)c * (size_t)n;
    if (c % ranks != rank) {
      PetscCall(PetscArrayzero(weights, n));
      continue;
    }
    for (PetscInt i = 0; i < n; i++) {
      const Population *p = &table->population[w->population[i]];
      usable[i] = p->perturbation == table->control || baseline_teaches(table, p, &condition[c]);
    }
    PetscCall(preimage_weights(n, gram, weights, usable, mixture, NULL));
    PetscCall(PetscArraycpy(weights, mixture, n));
  }
  PetscCall(PetscFree2(usable, mixture));
  for (PetscInt c = 0; c < conditions; c++) PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, w->weights + (size_t)c * (size_t)n, n, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_cme_weights(MPI_Comm comm, const CellStore *store, const BaselineOptions *options, PetscInt conditions, const Covariates *condition, BaselineWeights *w)
{
  const CellStoreTable *table = cellstore_table(store);
  const Kernel          kernel = {.kind = KERNEL_ENERGY};
  CellFeatures         *features;
  CellGroup            *group;
  BlockGrid            *grid;
  BlockMatrix           outputs;
  double               *gram;
  long long             first, count;
  PetscBool             few;

  PetscFunctionBeginUser;
  PetscCall(choose_populations(table, PETSC_TRUE, w));
  PetscCall(too_few(conditions, w, &few));
  if (few) PetscFunctionReturn(PETSC_SUCCESS);
  const size_t n = (size_t)w->populations;
  PetscCall(features_from_store(store, &features));
  PetscCall(PetscMalloc2(n, &group, n * n, &gram));
  for (size_t i = 0; i < n; i++) {
    const Population *p = &table->population[w->population[i]];
    group[i] = (CellGroup){.features = features, .first = p->first_cell, .cells = PetscMin(p->cells, options->embedding_cells)};
  }
  PetscCall(kernel_means(comm, &kernel, w->populations, group, gram, NULL));
  PetscCall(blockgrid_create(comm, w->populations, &grid));
  PetscCall(blockmatrix_create(grid, w->populations, w->populations, &outputs));
  share_of(w->populations, grid->rank, grid->ranks, &first, &count);
  PetscCall(blockmatrix_from_rows(&outputs, gram + (size_t)first * n));
  PetscCall(fit_weights(table, options, &outputs, conditions, condition, w));
  PetscCall(mixtures(comm, table, gram, conditions, condition, w));
  PetscCall(blockmatrix_destroy(&outputs));
  PetscCall(blockgrid_destroy(&grid));
  PetscCall(PetscFree2(group, gram));
  PetscCall(features_destroy(&features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_weights_free(BaselineWeights *w)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(w->population));
  PetscCall(PetscFree(w->covariates));
  PetscCall(PetscFree(w->weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}
