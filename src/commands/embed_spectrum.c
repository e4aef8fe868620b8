/* embed: landmarks and their Nystrom features, spectra of the covariance operators, components of the populations; their groups of embedding.h5 and tables.

   With -landmarks m:
     /nystrom                attrs choice, precision, jitter (added to the diagonal of K_mm), error_gram, error_mmd, error_residual (nystrom.h), error_populations, error_cells
     /nystrom/landmark       (m) int64 cell of the store; /nystrom/factor (m,m) lower triangle L, L L' = K_mm + jitter I; /nystrom/embeddings (N,m) mean of L^-1 k_m
   Always:
     /spectrum               attrs trace_between, trace_within, participation_between[, participation_within]
     /spectrum/between       (N) eigenvalues of the covariance operator between populations; /spectrum/coordinate (N,r) kernel principal components of populations
     /spectrum/within        (m) with landmarks: eigenvalues of the covariance operator within populations
     /spectrum/cell_value    (n,r) with -cell_components: eigenfunctions at the cells of the embedded populations, one after another */
#include "commands/commands.h"
#include "commands/embed.h"
#include <perturbdiff/report.h>
#include <perturbdiff/runtime/grid.h>

const OptionSpec embed_spectrum_options[] = {
    {"landmarks", VALUE_INTEGER, "0", 0, 1e6, "cells",
     "Landmark cells: Gram matrix and discrepancies from the embeddings' projections on their span, in one pass over the cells (Nystrom); 0: from all pairs of cells"},
    {"landmark_choice", VALUE_CHOICE, "uniform", 0, 0, "uniform|stratified|leverage",
     "Landmarks drawn from all cells, in equal numbers from each population, or by approximate ridge leverage scores"},
    {"precision", VALUE_CHOICE, "double", 0, 0, "double|single", "Products of cells and landmarks; single takes half the time, and the error reported includes its rounding"},
    {"error_populations", VALUE_INTEGER, "32", 1, 4096, "", "Populations of the sample that the landmarks' error is measured on against all pairs of cells"},
    {"error_cells", VALUE_INTEGER, "100", 1, 1e6, "cells", "Cells of each population of this sample"},
    {"within_cells", VALUE_INTEGER, "200", 0, 1e9, "cells", "With landmarks: cells of each population that the spectrum within populations is estimated from; 0: no such spectrum"},
    {"components", VALUE_INTEGER, "10", 1, 1000, "", "Kernel principal components of the populations written (never more than populations)"},
    {"cell_components", VALUE_SWITCH, "no", 0, 0, "", "With landmarks: write the components' eigenfunctions at every cell"},
    {"figures", VALUE_SWITCH, "yes", 0, 0, "", "Draw figures into the folder, where gnuplot is installed"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};

static const char *const choice_name[] = {"uniform", "stratified", "leverage"}; /* LandmarkChoice */

PetscErrorCode embed_landmark_options(Embed *e)
{
  PetscInt   choice;
  PetscInt64 number;
  PetscBool  cells;

  PetscFunctionBeginUser;
  PetscCall(options_integer(e->options, "landmarks", &number));
  e->landmarks = (PetscInt)number;
  PetscCall(options_choice(e->options, "landmark_choice", &choice));
  e->landmark_choice = (LandmarkChoice)choice;
  PetscCall(options_choice(e->options, "precision", &choice));
  e->precision = (ProductPrecision)choice;
  PetscCall(options_switch(e->options, "cell_components", &cells));
  if (e->landmarks && e->statistic == STATISTIC_U)
    PetscFunctionReturn(error_user("-statistic u with -landmarks: the projection of a cell's pair with itself is not known; take -statistic v, or all pairs (-landmarks 0)"));
  if (cells && !e->landmarks) PetscFunctionReturn(error_user("-cell_components yes needs -landmarks: eigenfunctions are evaluated by the landmarks"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_spectrum_bytes(const Embed *e, double *bytes)
{
  PetscInt64 components;

  PetscFunctionBeginUser;
  PetscCall(options_integer(e->options, "components", &components));
  *bytes = population_components_bytes(e->grid, e->groups, (PetscInt)PetscMin(components, e->groups));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_landmark_bytes(const Embed *e, PetscInt dimension, double *bytes)
{
  const PetscInt64 n = groups_cells(e->groups, e->group);
  const double     m = e->landmarks, square = blockmatrix_bytes(e->grid, e->landmarks, e->landmarks);
  PetscInt64       groups_most, cells_most, within_cells;
  double           spectrum = 0, choice = 0, within = 0;

  PetscFunctionBeginUser;
  PetscCall(options_integer(e->options, "error_populations", &groups_most));
  PetscCall(options_integer(e->options, "error_cells", &cells_most));
  PetscCall(options_integer(e->options, "within_cells", &within_cells));
  PetscCall(embed_spectrum_bytes(e, &spectrum));
  if (e->landmark_choice == LANDMARKS_LEVERAGE) choice = landmarks_bytes(e->comm, n, dimension, e->landmarks);
  if (within_cells) within = sizeof(double) * m * m + 5 * square; /* moments, covariance and the workspace of the eigenvalues */
  const PairPlan plan  = pairs_plan(PetscMin(n, PetscMin(groups_most, e->groups) * cells_most), dimension, e->ranks, 0);
  const double   error = pairs_bytes(&plan) + sizeof(double) * 3 * 1024 * m / e->ranks;
  *bytes = nystrom_bytes(e->grid, e->landmarks, dimension, e->groups) + 3 * blockmatrix_bytes(e->grid, e->groups, e->groups) + PetscMax(PetscMax(choice, error), PetscMax(within, spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gram matrix by the embeddings' projections, in place of gram_assemble. */
static PetscErrorCode fill_gram(Embed *e)
{
  PetscFunctionBeginUser;
  e->gram = (Gram){.populations = e->groups, .kernel = e->kernel};
  PetscCall(PetscMalloc1(e->groups, &e->gram.cells));
  PetscCall(PetscMalloc1(e->groups, &e->gram.self));
  for (PetscInt i = 0; i < e->groups; i++) e->gram.cells[i] = e->group[i].cells;
  PetscCall(nystrom_embeddings(&e->nystrom, e->groups, e->group, &e->embeddings, e->gram.self));
  PetscCall(nystrom_gram(&e->embeddings, &e->gram.product));
  PetscCall(gram_mmd(&e->gram, STATISTIC_V, &e->mmd));
  if (e->kernel.kind != KERNEL_ENERGY) PetscFunctionReturn(PETSC_SUCCESS);
  /* Energy distance is twice the MMD^2 of the energy kernel. */
  PetscCall(blockmatrix_create(e->grid, e->groups, e->groups, &e->energy));
  for (size_t k = 0; k < (size_t)e->mmd.ld * (size_t)e->mmd.local_columns; k++) e->energy.values[k] = 2 * e->mmd.values[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_choose_landmarks(Embed *e)
{
  PetscInt64 *landmark;
  LogStage    stage;

  PetscFunctionBeginUser;
  if (!e->landmarks) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(log_stage_begin(e->comm, "landmarks", &stage));
  PetscCall(PetscMalloc1(e->landmarks, &landmark));
  PetscCall(landmarks_choose(e->comm, &e->kernel, e->groups, e->group, e->landmark_choice, e->landmarks, e->seed, landmark));
  PetscCall(nystrom_create(e->grid, &e->kernel, e->precision, e->groups, e->group, e->landmarks, landmark, &e->nystrom));
  e->nystrom.progress = PETSC_TRUE;
  PetscCall(PetscFree(landmark));
  PetscCall(log_stage_end(&stage, "%d cells, %s; jitter %.3g", (int)e->landmarks, choice_name[e->landmark_choice], e->nystrom.jitter));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_by_landmarks(Embed *e)
{
  const double cells = (double)groups_cells(e->groups, e->group), m = e->landmarks;
  PetscInt64   groups_most, cells_most;
  LogStage     stage;

  PetscFunctionBeginUser;
  PetscCall(options_integer(e->options, "error_populations", &groups_most));
  PetscCall(options_integer(e->options, "error_cells", &cells_most));
  PetscCall(log_stage_begin(e->comm, "embeddings", &stage));
  PetscCall(fill_gram(e));
  const double seconds = PetscMax(MPI_Wtime() - stage.start, 1e-9);
  PetscCall(log_stage_end(&stage, "%.4g million cells, %s kernel, %.0f GF/s in all", 1e-6 * cells, kernel_name[e->kernel.kind], 2e-9 * cells * m * e->nystrom.dimension / seconds));
  PetscCall(log_stage_begin(e->comm, "error", &stage));
  PetscCall(nystrom_error(&e->nystrom, e->groups, e->group, (PetscInt)groups_most, cells_most, e->seed, &e->error));
  PetscCall(log_stage_end(&stage, "against all pairs of %lld cells of %d populations: Gram matrix %.2g, MMD^2 %.2g, of a cell's square %.2g outside the landmarks' span", (long long)e->error.cells,
                          (int)e->error.groups, e->error.gram, e->error.mmd, e->error.residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode within_spectrum(Embed *e)
{
  PetscInt64  most;
  BlockMatrix covariance;

  PetscFunctionBeginUser;
  PetscCall(options_integer(e->options, "within_cells", &most));
  if (!e->landmarks || !most) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(e->landmarks, &e->within));
  PetscCall(nystrom_covariance(&e->nystrom, e->groups, e->group, most, e->seed, &covariance));
  PetscCall(operator_spectrum(&covariance, e->within));
  PetscCall(blockmatrix_destroy(&covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenfunctions at this rank's cells. */
static PetscErrorCode cell_values(Embed *e)
{
  const size_t r = (size_t)e->spectrum.components;
  PetscBool    wanted;
  double      *coefficient, *constant;
  long long    first, own;

  PetscFunctionBeginUser;
  PetscCall(options_switch(e->options, "cell_components", &wanted));
  if (!wanted) PetscFunctionReturn(PETSC_SUCCESS);
  share_of(groups_cells(e->groups, e->group), e->grid->rank, e->ranks, &first, &own);
  PetscCall(PetscMalloc2((size_t)e->landmarks * r, &coefficient, r, &constant));
  PetscCall(PetscMalloc1((size_t)(own + 1) * r, &e->cell_value));
  PetscCall(component_functions(&e->nystrom, &e->embeddings, &e->spectrum, coefficient, constant));
  PetscCall(nystrom_values(e->comm, &e->nystrom, e->groups, e->group, (PetscInt)r, coefficient, constant, e->cell_value));
  PetscCall(PetscFree2(coefficient, constant));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_spectrum(Embed *e)
{
  PetscInt64 components;
  double    *diagonal, total = 0;
  LogStage   stage;

  PetscFunctionBeginUser;
  PetscCall(log_stage_begin(e->comm, "spectrum", &stage));
  PetscCall(options_integer(e->options, "components", &components));
  PetscCall(population_components(&e->gram.product, PETSC_TRUE, (PetscInt)PetscMin(components, e->groups), &e->spectrum));
  PetscCall(PetscMalloc1(e->groups, &diagonal));
  PetscCall(blockmatrix_diagonal(&e->gram.product, diagonal));
  e->trace_within = 0;
  for (PetscInt i = 0; i < e->groups; i++) {
    e->trace_within += (e->gram.self[i] - diagonal[i]) / e->groups;
    total += e->spectrum.eigenvalue[i];
  }
  PetscCall(PetscFree(diagonal));
  PetscCall(within_spectrum(e));
  PetscCall(cell_values(e));
  const double first = e->spectrum.eigenvalue[0];
  PetscCall(log_stage_end(&stage, "between populations: trace %.4g (within %.4g), first component %.1f %%, participation ratio %.3g", total, e->trace_within, total > 0 ? 100 * first / total : 0,
                          participation_ratio(e->groups, e->spectrum.eigenvalue)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- embedding.h5 ---- */

/* Cell of the store at a position in the embedded populations. */
static PetscInt64 store_cell(const Embed *e, PetscInt64 position)
{
  PetscInt i = 0;

  while (position >= e->group[i].cells) position -= e->group[i++].cells;
  return e->group[i].first + position;
}

static PetscErrorCode write_nystrom(const Embed *e, hid_t file)
{
  int64_t *cell;
  hid_t    where;

  PetscFunctionBeginUser;
  if (!e->landmarks) PetscFunctionReturn(PETSC_SUCCESS);
  H5Check(where = H5Gcreate2(file, "nystrom", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(h5_write_attribute_string(where, "choice", choice_name[e->landmark_choice]));
  PetscCall(h5_write_attribute_string(where, "precision", e->precision == PRODUCTS_SINGLE ? "single" : "double"));
  PetscCall(h5_write_attribute_double(where, "jitter", e->nystrom.jitter));
  PetscCall(h5_write_attribute_double(where, "error_gram", e->error.gram));
  PetscCall(h5_write_attribute_double(where, "error_mmd", e->error.mmd));
  PetscCall(h5_write_attribute_double(where, "error_residual", e->error.residual));
  PetscCall(h5_write_attribute_int64(where, "error_populations", e->error.groups));
  PetscCall(h5_write_attribute_int64(where, "error_cells", e->error.cells));
  PetscCall(PetscMalloc1(e->landmarks, &cell));
  for (PetscInt j = 0; j < e->landmarks; j++) cell[j] = store_cell(e, e->nystrom.landmark[j]);
  PetscCall(embed_write_vector(where, "landmark", H5T_NATIVE_INT64, e->landmarks, cell));
  PetscCall(PetscFree(cell));
  PetscCall(embed_write_matrix(where, "factor", &e->nystrom.factor));
  PetscCall(embed_write_matrix(where, "embeddings", &e->embeddings));
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_write_spectrum(const Embed *e, hid_t file)
{
  const PetscInt n = e->groups, r = e->spectrum.components;
  const PetscInt64 cells = groups_cells(e->groups, e->group);
  double         total = 0;
  long long      first, own;
  hid_t          where;

  PetscFunctionBeginUser;
  PetscCall(write_nystrom(e, file));
  H5Check(where = H5Gcreate2(file, "spectrum", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  for (PetscInt i = 0; i < n; i++) total += e->spectrum.eigenvalue[i];
  PetscCall(h5_write_attribute_double(where, "trace_between", total));
  PetscCall(h5_write_attribute_double(where, "trace_within", e->trace_within));
  PetscCall(h5_write_attribute_double(where, "participation_between", participation_ratio(n, e->spectrum.eigenvalue)));
  PetscCall(embed_write_vector(where, "between", H5T_NATIVE_DOUBLE, n, e->spectrum.eigenvalue));
  PetscCall(h5_write_slab(where, "coordinate", H5T_NATIVE_DOUBLE, n, r, e->grid->rank ? n : 0, e->grid->rank ? 0 : n, e->spectrum.coordinate));
  if (e->within) {
    PetscCall(h5_write_attribute_double(where, "participation_within", participation_ratio(e->landmarks, e->within)));
    PetscCall(embed_write_vector(where, "within", H5T_NATIVE_DOUBLE, e->landmarks, e->within));
  }
  if (e->cell_value) {
    share_of(cells, e->grid->rank, e->ranks, &first, &own);
    PetscCall(h5_write_slab(where, "cell_value", H5T_NATIVE_DOUBLE, cells, r, first, own, e->cell_value));
  }
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Tables and figures ---- */

/* One line an eigenvalue; effective_dimension is d_eff(lambda) with lambda this eigenvalue. Those below 1e-12 of the first are rounding. */
static void print_operator(const char *name, PetscInt count, const double *eigenvalue, FILE *stream)
{
  double total = 0, sum = 0;

  for (PetscInt k = 0; k < count; k++) total += eigenvalue[k];
  for (PetscInt k = 0; k < count && eigenvalue[k] > 1e-12 * eigenvalue[0]; k++) {
    sum += eigenvalue[k];
    fprintf(stream, "%s,%d,%.12g,%.12g,%.12g,%.12g\n", name, (int)k + 1, eigenvalue[k], eigenvalue[k] / total, sum / total, effective_dimension(count, eigenvalue, eigenvalue[k]));
  }
}

static PetscErrorCode print_spectrum(const void *context, FILE *stream)
{
  const Embed *e = context;

  fputs("operator,index,eigenvalue,fraction,cumulative_fraction,effective_dimension\n", stream);
  print_operator("between", e->groups, e->spectrum.eigenvalue, stream);
  if (e->within) print_operator("within", e->landmarks, e->within, stream);
  return PETSC_SUCCESS;
}

static PetscErrorCode print_components(const void *context, FILE *stream)
{
  const Embed          *e = context;
  const CellStoreTable *t = e->table;
  const PetscInt        r = e->spectrum.components;

  fputs("perturbation,cell_type,batch,control,cells", stream);
  for (PetscInt a = 0; a < r; a++) fprintf(stream, ",component_%d", (int)a + 1);
  fputc('\n', stream);
  for (PetscInt i = 0; i < e->groups; i++) {
    const Population *p = &t->population[e->population[i]];
    embed_print_labels(t, p, PETSC_FALSE, stream);
    fprintf(stream, ",%d,%lld", p->perturbation == t->control, (long long)p->cells);
    for (PetscInt a = 0; a < r; a++) fprintf(stream, ",%.12g", e->spectrum.coordinate[(size_t)i * (size_t)r + (size_t)a]);
    fputc('\n', stream);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode embed_write_spectrum_tables(const Embed *e)
{
  PetscFunctionBeginUser;
  PetscCall(embed_write_text(e, "spectrum.csv", print_spectrum, e));
  PetscCall(embed_write_text(e, "components.csv", print_components, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_figures(const Embed *e)
{
  PetscBool wanted;
  PetscInt  drawn;
  LogStage  stage;

  PetscFunctionBeginUser;
  PetscCall(options_switch(e->options, "figures", &wanted));
  if (!wanted) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(log_stage_begin(e->comm, "figures", &stage));
  PetscCall(report_embedding_figures(e->comm, e->folder, &drawn));
  if (drawn) PetscCall(log_stage_end(&stage, "%d in %s: populations.svg, components.svg, spectrum.svg%s", (int)drawn, e->folder, drawn > 3 ? ", tests.svg" : ""));
  else PetscCall(log_stage_end(&stage, "none: gnuplot was not found"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_spectrum_free(Embed *e)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(e->within));
  PetscCall(PetscFree(e->cell_value));
  PetscCall(population_components_free(&e->spectrum));
  PetscCall(blockmatrix_destroy(&e->embeddings));
  PetscCall(nystrom_destroy(&e->nystrom));
  PetscFunctionReturn(PETSC_SUCCESS);
}
