/* Compare the program with numbers of the public PerturbDiff code: tests/golden FILE [RANKS_A_SET].
   Sizes are read from FILE. One line a group: largest error of its arrays, each relative to the array's largest value, and PASS or FAIL;
   the verdict last; exit status 0 or 1. On several ranks the sets are dealt out to groups of RANKS_A_SET (1), whose ranks share the cells
   of each, and gradients are summed. */
#include "golden.h"
#include <stdlib.h>
#include <string.h>

#ifdef PERTURBDIFF_DOUBLE
  #define TOLERANCE            1e-10
  #define TRAJECTORY_TOLERANCE 1e-10
#else
  #define TOLERANCE            1e-5
  /* A value at the cut-off may fall on either side. */
  #define TRAJECTORY_TOLERANCE 1e-4
#endif

PetscErrorCode golden_read(const Golden *g, const char *name, double **values, size_t *count)
{
  hid_t    data, space;
  hssize_t points;

  PetscFunctionBeginUser;
  if (!h5_exists(g->file, name)) PetscFunctionReturn(error_user("%s: no array '%s'; give a file of the form of tests/data/denoiser.h5", g->path, name));
  H5Check(data = H5Dopen2(g->file, name, H5P_DEFAULT));
  H5Check(space = H5Dget_space(data));
  H5Check(points = H5Sget_simple_extent_npoints(space));
  PetscCall(PetscMalloc1(points, values));
  H5Check(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, *values));
  H5Check(H5Sclose(space));
  H5Check(H5Dclose(data));
  *count = (size_t)points;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_read_sized(const Golden *g, const char *name, size_t expected, double **values)
{
  size_t count;

  PetscFunctionBeginUser;
  PetscCall(golden_read(g, name, values, &count));
  if (count != expected) PetscFunctionReturn(error_user("%s: array '%s' has %zu values where the sizes in the file's attributes ask for %zu", g->path, name, count, expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_attribute(const Golden *g, const char *group, const char *name, double *value)
{
  PetscBool found = PETSC_FALSE;
  hid_t     object;

  PetscFunctionBeginUser;
  if (h5_exists(g->file, group)) {
    H5Check(object = H5Oopen(g->file, group, H5P_DEFAULT));
    PetscCall(h5_read_attribute_double(object, name, value, &found));
    H5Check(H5Oclose(object));
  }
  if (!found) PetscFunctionReturn(error_user("%s: '%s' has no attribute '%s'; give a file of the form of tests/data/denoiser.h5", g->path, group, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_own(const Golden *g, size_t width, const double *all, double *own)
{
  const size_t n = (size_t)g->cells * width;

  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < g->own; s++)
    PetscCall(PetscArraycpy(own + (size_t)s * n, all + ((size_t)(g->first + s) * (size_t)g->set_size + (size_t)g->first_cell) * width, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's part of a (sets, S, G) array, as Real. */
static PetscErrorCode read_own(const Golden *g, const char *name, Real **own)
{
  const size_t width = (size_t)g->table.shape.genes, n = (size_t)g->own * g->own_values;
  double      *all, *part;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, (size_t)(g->sets * g->set_size) * width, &all));
  PetscCall(PetscMalloc1(n, &part));
  PetscCall(PetscMalloc1(n, own));
  PetscCall(golden_own(g, width, all, part));
  for (size_t i = 0; i < n; i++) (*own)[i] = (Real)part[i];
  PetscCall(PetscFree(part));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double golden_error(size_t n, const Real *ours, const double *expected, size_t n_scale, const double *scale)
{
  double largest = 0, worst = 0;

  for (size_t i = 0; i < n_scale; i++) largest = PetscMax(largest, fabs(scale[i]));
  for (size_t i = 0; i < n; i++) {
    const double error = fabs((double)ours[i] - expected[i]);
    if (!(error <= worst)) worst = error; /* also NaN */
  }
  return largest > 0 ? worst / largest : worst;
}

PetscErrorCode golden_error_own(const Golden *g, const char *name, size_t width, const Real *own, double *error)
{
  const size_t n = (size_t)(g->own * g->cells) * width, whole = (size_t)(g->sets * g->set_size) * width;
  double      *all, *part, mine;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, whole, &all));
  PetscCall(PetscMalloc1(n, &part));
  PetscCall(golden_own(g, width, all, part));
  mine = golden_error(n, own, part, whole, all);
  if (mine != mine) mine = PETSC_MAX_REAL;
  PetscCallMPI(MPI_Allreduce(&mine, error, 1, MPI_DOUBLE, MPI_MAX, g->comm));
  PetscCall(PetscFree(part));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_report(Golden *g, const char *group, double error, double tolerance, const char *where)
{
  const PetscBool pass = error <= tolerance ? PETSC_TRUE : PETSC_FALSE; /* NaN fails */

  PetscFunctionBeginUser;
  g->groups++;
  if (!pass) g->failed++;
  PetscCall(PetscPrintf(g->comm, "%-30s largest error %9.2e  (tolerance %g)  %s%s%s\n", group, error, tolerance, pass ? "PASS" : "FAIL", where[0] ? "  " : "", where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_size(const Golden *g, const char *name, PetscInt *value)
{
  int64_t   read;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(h5_read_attribute_int64(g->file, name, &read, &found));
  if (!found || read < 1) PetscFunctionReturn(error_user("%s: no size '%s' among the file's attributes; give a file of the form of tests/data/denoiser.h5", g->path, name));
  *value = (PetscInt)read;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_indices(const Golden *g, const char *name, PetscInt **own)
{
  double *all;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, (size_t)g->sets, &all));
  PetscCall(PetscMalloc1(g->own, own));
  for (PetscInt i = 0; i < g->own; i++) (*own)[i] = (PetscInt)all[g->first + i];
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_read_parameters(const Golden *g, const char *group, Real *values)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < g->table.count; k++) {
    const Parameter *p = &g->table.item[k];
    char             name[160];
    double          *read;

    snprintf(name, sizeof name, "%s/%s", group, p->name);
    PetscCall(golden_read_sized(g, name, parameter_size(p), &read));
    for (size_t i = 0; i < parameter_size(p); i++) values[p->offset + i] = (Real)read[i];
    PetscCall(PetscFree(read));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode golden_error_parameters(const Golden *g, const char *group, const Real *values, PetscBool absent_is_zero, double *error, char worst_name[128])
{
  PetscFunctionBeginUser;
  *error        = 0;
  worst_name[0] = 0;
  for (PetscInt k = 0; k < g->table.count; k++) {
    const Parameter *p = &g->table.item[k];
    const size_t     n = parameter_size(p);
    char             name[160];
    double          *expected, e;

    snprintf(name, sizeof name, "%s/%s", group, p->name);
    if (absent_is_zero && !h5_exists(g->file, name)) PetscCall(PetscCalloc1(n, &expected));
    else PetscCall(golden_read_sized(g, name, n, &expected));
    e = golden_error(n, values + p->offset, expected, n, expected);
    if (!(e <= *error)) {
      *error = e;
      snprintf(worst_name, 128, "at %s", p->name);
    }
    PetscCall(PetscFree(expected));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sets of this rank's group, its cells of each. */
static PetscErrorCode deal_out(Golden *g, int parts, const DenoiserShape *shape)
{
  long long first, count;
  int       first_cell, cells;

  PetscFunctionBeginUser;
  if (grid_create(g->comm, parts, &g->grid)) PetscFunctionReturn(error_user("%d ranks a set do not divide the ranks there are", parts));
  share_of(g->sets, g->grid.group, g->grid.groups, &first, &count);
  g->first = (PetscInt)first;
  g->own   = (PetscInt)count;
  PetscCallMPI(cellexchange_create(g->grid.cells, (int)g->set_size, 2 * (int)g->own, (int)PetscMax(2 * shape->hidden, shape->genes), &g->exchange));
  cellexchange_cells(g->exchange, g->grid.part, &first_cell, &cells);
  g->first_cell = first_cell;
  g->cells      = cells;
  g->own_values = (size_t)cells * (size_t)shape->genes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode golden_open(const char *path, int parts, Golden *g)
{
  DenoiserShape s;
  size_t        cells;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(g, sizeof *g));
  g->comm = PETSC_COMM_WORLD;
  g->path = path;
  PetscCall(file_open(g->comm, path, "golden file", &g->file));
  PetscCall(read_size(g, "genes", &s.genes));
  PetscCall(read_size(g, "hidden", &s.hidden));
  PetscCall(read_size(g, "depth", &s.depth));
  PetscCall(read_size(g, "heads", &s.heads));
  PetscCall(read_size(g, "perturbations", &s.perturbations));
  PetscCall(read_size(g, "cell_types", &s.cell_types));
  PetscCall(read_size(g, "batches", &s.batches));
  PetscCall(read_size(g, "covariate_dim", &s.covariate_dim));
  PetscCall(read_size(g, "time_frequencies", &s.time_frequencies));
  PetscCall(read_size(g, "set_size", &g->set_size));
  PetscCall(read_size(g, "sets", &g->sets));
  PetscCall(deal_out(g, parts, &s));
  cells = (size_t)g->own * g->own_values;
  PetscCall(parametertable_create(&s, &g->table));
  PetscCall(PetscMalloc4(g->table.total, &g->parameters, g->table.total, &g->gradients, cells, &g->estimate, cells, &g->d_estimate));
  PetscCall(PetscMalloc2(g->own, &g->step, g->own, &g->dropped));
  PetscCall(golden_read_parameters(g, "parameters", g->parameters));
  PetscCall(read_own(g, "inputs/clean", &g->clean));
  PetscCall(read_own(g, "inputs/control", &g->control));
  PetscCall(read_own(g, "inputs/noise", &g->noise));
  PetscCall(read_own(g, "inputs/self_condition", &g->self_condition));
  PetscCall(read_indices(g, "inputs/perturbation", &g->perturbation));
  PetscCall(read_indices(g, "inputs/cell_type", &g->cell_type));
  PetscCall(read_indices(g, "inputs/batch", &g->batch));
  PetscInt *step;
  PetscCall(read_indices(g, "inputs/step", &step));
  for (PetscInt i = 0; i < g->own; i++) g->step[i] = (double)step[i];
  PetscCall(PetscFree(step));
  PetscCall(schedule_create(SCHEDULE_LINEAR, 1000, 0, &g->schedule));
  PetscCall(denoiser_create(&g->table, &(DenoiserPlan){.max_sets = PetscMax(g->own, 1), .set_size = g->set_size, .exchange = g->exchange, .with_gradient = PETSC_TRUE}, &g->denoiser));
  PetscCall(objective_create(g->set_size, s.genes, 1, g->exchange, &g->objective));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode golden_close(Golden *g)
{
  PetscFunctionBeginUser;
  PetscCall(objective_destroy(&g->objective));
  PetscCall(denoiser_destroy(&g->denoiser));
  PetscCall(schedule_destroy(&g->schedule));
  PetscCall(PetscFree4(g->parameters, g->gradients, g->estimate, g->d_estimate));
  PetscCall(PetscFree2(g->step, g->dropped));
  PetscCall(PetscFree(g->noisy));
  PetscCall(PetscFree(g->clean));
  PetscCall(PetscFree(g->control));
  PetscCall(PetscFree(g->noise));
  PetscCall(PetscFree(g->self_condition));
  PetscCall(PetscFree(g->perturbation));
  PetscCall(PetscFree(g->cell_type));
  PetscCall(PetscFree(g->batch));
  PetscCall(parametertable_destroy(&g->table));
  PetscCallMPI(cellexchange_destroy(&g->exchange));
  PetscCallMPI(grid_destroy(&g->grid));
  if (g->file > 0) H5Check(H5Fclose(g->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

DenoiserInput golden_input(const Golden *g, PetscBool conditional)
{
  for (PetscInt i = 0; i < g->own; i++) g->dropped[i] = !conditional;
  /* The file's unconditional case has no self-conditioning either. */
  return (DenoiserInput){.sets           = g->own,
                         .noisy          = g->noisy,
                         .self_condition = conditional ? g->self_condition : NULL,
                         .control        = g->control,
                         .step           = g->step,
                         .perturbation   = g->perturbation,
                         .cell_type      = g->cell_type,
                         .batch          = g->batch,
                         .dropped        = g->dropped,
                         .strength       = 1};
}

PetscErrorCode golden_loss_and_gradients(Golden *g, const Real *parameters, PetscBool conditional, double *mse, double *energy, Real *hidden, double *total)
{
  const DenoiserInput input = golden_input(g, conditional);
  double              sum   = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(g->gradients, g->table.total));
  PetscCall(denoiser_forward(g->denoiser, parameters, &input, PETSC_TRUE, g->estimate, hidden));
  PetscCall(objective_evaluate(g->objective, g->own, g->clean, g->estimate, 1. / (double)g->sets, mse, energy, g->d_estimate));
  PetscCall(denoiser_backward(g->denoiser, parameters, &input, g->d_estimate, g->gradients));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, g->gradients, (int)g->table.total, MPI_REAL_TYPE, MPI_SUM, g->comm));
  /* All ranks of a group have the losses of its sets. */
  for (PetscInt i = 0; i < g->own && !g->grid.part; i++) sum += (mse[i] + energy[i]) / (double)g->sets;
  PetscCallMPI(MPI_Allreduce(&sum, total, 1, MPI_DOUBLE, MPI_SUM, g->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_noisy(Golden *g)
{
  double error;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)g->own * g->own_values, &g->noisy));
  corrupt(&g->schedule, g->own, g->own_values, g->step, g->clean, g->noise, g->noisy);
  PetscCall(golden_error_own(g, "forward/noisy", (size_t)g->table.shape.genes, g->noisy, &error));
  PetscCall(golden_report(g, "corruption", error, TOLERANCE, ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Per-set losses in double against the file, relative to the largest. */
static PetscErrorCode error_losses(const Golden *g, const char *name, const double *own, double *error)
{
  double *all, worst = 0, largest = 0;

  PetscFunctionBeginUser;
  PetscCall(golden_read_sized(g, name, (size_t)g->sets, &all));
  for (PetscInt i = 0; i < g->sets; i++) largest = PetscMax(largest, fabs(all[i]));
  for (PetscInt i = 0; i < g->own; i++)
    if (!(fabs(own[i] - all[g->first + i]) <= worst)) worst = fabs(own[i] - all[g->first + i]);
  worst = worst == worst ? worst / largest : PETSC_MAX_REAL;
  PetscCallMPI(MPI_Allreduce(&worst, error, 1, MPI_DOUBLE, MPI_MAX, g->comm));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode check_case(Golden *g, PetscBool conditional)
{
  const char  *which  = conditional ? "conditional" : "unconditional";
  const size_t hidden = (size_t)g->table.shape.hidden;
  char         name[96], group[96], worst[128];
  double      *mse, *energy, *expected, total, error;
  Real        *stream;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(g->own, &mse, g->own, &energy, (size_t)(g->own * g->cells) * hidden, &stream));
  PetscCall(golden_loss_and_gradients(g, g->parameters, conditional, mse, energy, stream, &total));

  snprintf(name, sizeof name, "forward/%s/clean_estimate", which);
  PetscCall(golden_error_own(g, name, (size_t)g->table.shape.genes, g->estimate, &error));
  snprintf(group, sizeof group, "%s clean estimate", which);
  PetscCall(golden_report(g, group, error, TOLERANCE, ""));
  snprintf(name, sizeof name, "forward/%s/hidden", which);
  PetscCall(golden_error_own(g, name, hidden, stream, &error));
  snprintf(group, sizeof group, "%s hidden state", which);
  PetscCall(golden_report(g, group, error, TOLERANCE, ""));
  for (int k = 0; k < 2; k++) {
    snprintf(name, sizeof name, "loss/%s/%s", which, k ? "energy" : "mse");
    PetscCall(error_losses(g, name, k ? energy : mse, &error));
    snprintf(group, sizeof group, "%s %s", which, k ? "energy" : "mse");
    PetscCall(golden_report(g, group, error, TOLERANCE, ""));
  }
  snprintf(name, sizeof name, "loss/%s/total", which);
  PetscCall(golden_read_sized(g, name, 1, &expected));
  snprintf(group, sizeof group, "%s loss", which);
  PetscCall(golden_report(g, group, fabs(total - expected[0]) / fabs(expected[0]), TOLERANCE, ""));
  PetscCall(PetscFree(expected));
  snprintf(name, sizeof name, "gradients/%s", which);
  PetscCall(golden_error_parameters(g, name, g->gradients, PETSC_TRUE, &error, worst));
  snprintf(group, sizeof group, "%s gradients", which);
  PetscCall(golden_report(g, group, error, TOLERANCE, worst));
  PetscCall(PetscFree3(mse, energy, stream));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run(const char *path, int parts, PetscBool *passed)
{
  Golden g;

  PetscFunctionBeginUser;
  PetscCall(golden_open(path, parts, &g));
  PetscCall(check_noisy(&g));
  PetscCall(check_case(&g, PETSC_TRUE));
  PetscCall(check_case(&g, PETSC_FALSE));
  PetscCall(golden_check_optimizer(&g, TOLERANCE));
  PetscCall(golden_check_sampling(&g, TRAJECTORY_TOLERANCE));
  *passed = g.failed ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(PetscPrintf(g.comm, "%s: %d of %d groups within tolerance of %s\n", *passed ? "PASS" : "FAIL", g.groups - g.failed, g.groups, path));
  PetscCall(golden_close(&g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscBool      passed = PETSC_FALSE;
  PetscErrorCode code;

  if (PetscInitialize(&argc, &argv, NULL, NULL)) return STATUS_PROGRAM_ERROR;
  error_handler_install();
  code = argc == 2 || argc == 3 ? run(argv[1], argc == 3 ? atoi(argv[2]) : 1, &passed) : error_user("usage: golden FILE [RANKS_A_SET]");
  if (code == ERROR_USER) PetscFPrintf(PETSC_COMM_WORLD, stderr, "golden: %s\n", error_message());
  dense_release();
  PetscFinalize();
  return code == ERROR_USER ? STATUS_USER_ERROR : code || !passed ? STATUS_PROGRAM_ERROR : STATUS_SUCCESS;
}
