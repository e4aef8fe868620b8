/* convergence - the Gaussian kernel exp(-(x-y)^2 / (2 h^2)) under N(0, s^2), whose operator has known eigenvalues (Zhu et al. 1998; Rasmussen & Williams 2006, eq. 4.40):
   eigenvalues from n cells, evenly spaced quantiles or random draws, with the order of convergence in n; and what m landmarks leave out of a cell's square, against the tail of the
   eigenvalues beyond m, the least any m functions can leave. Under mpirun on any number of ranks. */
#include "../../tests/unit/normal_quantile.h"
#include <math.h>
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>
#include <stdio.h>

enum { VALUES = 4, SEEDS = 8, MOST = 1600, MOST_LANDMARKS = 20 };

static const double h = 0.9, s = 1.2;

static double mercer(int k)
{
  const double a = 1 / (4 * s * s), b = 1 / (2 * h * h), c = sqrt(a * a + 2 * a * b), total = a + b + c;

  return sqrt(2 * a / total) * pow(b / total, k);
}

static void draw(PetscInt n, uint64_t seed, double *x)
{
  const RandomStream stream = random_stream(seed, RANDOM_TEST, 0, 0, 0);

  for (PetscInt i = 0; i < n; i++) x[i] = s * (seed ? random_normal(&stream, (uint32_t)i) : normal_quantile((i + 0.5) / n));
}

/* Largest eigenvalues of the second moment operator of n cells. */
static PetscErrorCode eigenvalues(PetscInt n, const double *x, double *value)
{
  const Kernel         kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  const PairPlan       plan   = pairs_plan(n, 1, 1, 0);
  CellFeatures        *features;
  CellGroup           *cell;
  BlockGrid           *grid;
  Gram                 gram;
  PopulationComponents components;

  PetscFunctionBeginUser;
  PetscCall(features_from_doubles(n, 1, x, &features));
  PetscCall(PetscMalloc1(n, &cell));
  for (PetscInt i = 0; i < n; i++) cell[i] = (CellGroup){features, i, 1};
  PetscCall(blockgrid_create(PETSC_COMM_WORLD, n, &grid));
  PetscCall(gram_assemble(grid, &kernel, n, cell, &plan, &gram));
  PetscCall(population_components(&gram.product, PETSC_FALSE, 1, &components));
  for (int k = 0; k < VALUES; k++) value[k] = components.eigenvalue[k];
  PetscCall(population_components_free(&components));
  PetscCall(gram_destroy(&gram));
  PetscCall(blockgrid_destroy(&grid));
  PetscCall(PetscFree(cell));
  PetscCall(features_destroy(&features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Relative errors: of quantiles, and root mean square over draws. */
static PetscErrorCode in_cells(int rank)
{
  double x[MOST], value[VALUES] = {0}, error[VALUES], before[VALUES] = {0};

  PetscFunctionBeginUser;
  for (int random = 0; random < 2; random++) {
    if (!rank) printf("%s\n%8s", random ? "\nrandom cells: root mean square error of eigenvalues over 8 draws, relative (order in 1/n)" : "quantiles: error of eigenvalues, relative (order in 1/n)", "n");
    for (int k = 0; k < VALUES && !rank; k++) printf("   %13s %d", "eigenvalue", k);
    if (!rank) printf("\n");
    for (PetscInt n = 100; n <= (random ? 800 : MOST); n *= 2) {
      for (int k = 0; k < VALUES; k++) error[k] = 0;
      for (uint64_t seed = 1; seed <= (random ? SEEDS : 1); seed++) {
        draw(n, random ? seed : 0, x);
        PetscCall(eigenvalues(n, x, value));
        for (int k = 0; k < VALUES; k++) error[k] += pow(value[k] / mercer(k) - 1, 2) / (random ? SEEDS : 1);
      }
      if (!rank) printf("%8d", (int)n);
      for (int k = 0; k < VALUES; k++) {
        error[k] = sqrt(error[k]);
        if (!rank && n == 100) printf("   %9.2e       ", error[k]);
        else if (!rank) printf("   %9.2e (%4.2f)", error[k], log2(before[k] / error[k]));
        before[k] = error[k];
      }
      if (!rank) printf("\n");
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode residual(const CellGroup *all, LandmarkChoice choice, PetscInt m, double *mean)
{
  const Kernel kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  PetscInt64   landmark[MOST_LANDMARKS];
  BlockGrid   *grid;
  Nystrom      nystrom;
  NystromError error;

  PetscFunctionBeginUser;
  *mean = 0;
  PetscCall(blockgrid_create(PETSC_COMM_WORLD, m, &grid));
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    PetscCall(landmarks_choose(PETSC_COMM_WORLD, &kernel, 1, all, choice, m, seed, landmark));
    PetscCall(nystrom_create(grid, &kernel, PRODUCTS_DOUBLE, 1, all, m, landmark, &nystrom));
    PetscCall(nystrom_error(&nystrom, 1, all, 1, all->cells, 0, &error));
    *mean += error.residual / SEEDS;
    PetscCall(nystrom_destroy(&nystrom));
  }
  PetscCall(blockgrid_destroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode in_landmarks(int rank)
{
  double        x[MOST], uniform = 0, leverage = 0;
  CellFeatures *features;

  PetscFunctionBeginUser;
  draw(MOST, 0, x);
  PetscCall(features_from_doubles(MOST, 1, x, &features));
  const CellGroup all = {features, 0, MOST};
  if (!rank) printf("\n%d cells: part of a cell's square left out by m landmarks, mean over 8 draws\n%8s %12s %12s %12s\n", MOST, "m", "tail", "uniform", "leverage");
  for (PetscInt m = 2; m <= MOST_LANDMARKS; m += 3) {
    double tail = 0;
    for (int k = m; k < 200; k++) tail += mercer(k);
    PetscCall(residual(&all, LANDMARKS_UNIFORM, m, &uniform));
    PetscCall(residual(&all, LANDMARKS_LEVERAGE, m, &leverage));
    if (!rank) printf("%8d %12.3e %12.3e %12.3e\n", (int)m, tail, uniform, leverage);
  }
  PetscCall(features_destroy(&features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  int rank;

  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(in_cells(rank));
  PetscCall(in_landmarks(rank));
  return PetscFinalize() ? 1 : 0;
}
