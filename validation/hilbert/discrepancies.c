/* discrepancies - MMD^2 and energy distance of samples against their closed forms for Gaussians, what landmarks cost MMD^2, and the regression against the posterior of a Gaussian prior:

   in n, cells a population: the bias of V (first order in 1/n, and the constant known), U without bias, root mean square errors (order 1/2), the same for the energy distance;
   in m, landmark cells: root mean square error of MMD^2 over all pairs of populations for the three choices of landmarks, against the exact Gram matrix and against the closed form;
   in R, replicates of each perturbation: mean squared error of the conditional mean embedding where the prior is true, against the posterior variance.

   Under mpirun on any number of ranks; fails (status 1) where a statement above does not hold within its error of simulation. */
#include <math.h>
#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>
#include <stdio.h>

enum { DRAWS = 400, MOST = 400, POPULATIONS = 12, SEEDS = 20 };

static int rank, failures;

static void expect(int holds, const char *what)
{
  failures += !holds;
  if (!rank && !holds) printf("NOT SO: %s\n", what);
}

/* E|x-y| for x - y ~ N(mean, variance): the folded normal (Leone, Nelson, Nottingham 1961). */
static double folded(double mean, double variance) { return sqrt(2 * variance / M_PI) * exp(-mean * mean / (2 * variance)) + mean * erf(mean / sqrt(2 * variance)); }

/* E exp(-|x-y|^2 / (2 h^2)) for x - y ~ N(mean, variance I) in d dimensions, square = |mean|^2. */
static double smoothed(double square, double variance, double h, int d) { return pow(h * h / (h * h + variance), 0.5 * d) * exp(-square / (2 * (h * h + variance))); }

static PetscErrorCode entry(const BlockMatrix *m, PetscInt i, PetscInt j, double *value)
{
  double all[4];

  PetscFunctionBeginUser;
  PetscCall(blockmatrix_replicate(m, 0, 2, all));
  *value = all[2 * i + j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* MMD^2 (V, U) and energy distance (all pairs, and without those of a cell with itself) of one draw of n cells of N(0, 1) and n of N(1.3, 1.5^2). */
static PetscErrorCode one_draw(BlockGrid *grid, const Kernel *kernel, PetscInt n, uint32_t draw, double found[4])
{
  const RandomStream stream = random_stream(1, RANDOM_TEST, draw, (uint32_t)n, 0);
  const PairPlan     plan   = pairs_plan(2 * n, 1, 1, 0);
  double             x[2 * MOST];
  CellFeatures      *features;
  Gram               gram;
  BlockMatrix        result;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < 2 * n; i++) x[i] = random_normal(&stream, (uint32_t)i) * (i < n ? 1 : 1.5) + (i < n ? 0 : 1.3);
  PetscCall(features_from_doubles(2 * n, 1, x, &features));
  const CellGroup group[2] = {{features, 0, n}, {features, n, n}};
  PetscCall(gram_assemble(grid, kernel, 2, group, &plan, &gram));
  for (int k = 0; k < 3; k++) {
    PetscCall(k == 2 ? gram_energy(&gram, &result) : gram_mmd(&gram, k ? STATISTIC_U : STATISTIC_V, &result));
    PetscCall(entry(&result, 0, 1, &found[k]));
    PetscCall(blockmatrix_destroy(&result));
  }
  found[3] = found[2];
  for (int side = 0; side < 2; side++) {
    double mean = 0;
    PetscCall(entry(&gram.distance, side, side, &mean));
    found[3] -= mean / (double)(n - 1);
  }
  PetscCall(gram_destroy(&gram));
  PetscCall(features_destroy(&features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode in_cells(void)
{
  static const char *const name[4] = {"MMD^2, V", "MMD^2, U", "energy, V", "energy, U"};
  const double             h = 0.8, s = 1, t = 1.5, mean = 1.3;
  const Kernel             kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  const double             within[2] = {smoothed(0, 2 * s * s, h, 1), smoothed(0, 2 * t * t, h, 1)}, apart[2] = {folded(0, 2 * s * s), folded(0, 2 * t * t)};
  const double             truth[2] = {within[0] + within[1] - 2 * smoothed(mean * mean, s * s + t * t, h, 1), 2 * folded(mean, s * s + t * t) - apart[0] - apart[1]};
  /* E V - truth = sum over both sides of (E k(x,x) - E k(x,x')) / n (Gretton et al. 2012), with -|x-x'| for k in the energy distance. */
  const double constant[2] = {2 - within[0] - within[1], apart[0] + apart[1]};
  double       before[4][2] = {{0}};
  BlockGrid   *grid;

  PetscFunctionBeginUser;
  PetscCall(blockgrid_create(PETSC_COMM_WORLD, 2, &grid));
  if (!rank) printf("n cells of N(0, 1) and n of N(1.3, 1.5^2), %d draws; order in 1/n in brackets. Truth: MMD^2 %.6f, energy distance %.6f\n", DRAWS, truth[0], truth[1]);
  for (PetscInt n = 25; n <= MOST; n *= 2) {
    double sum[4] = {0}, error[4] = {0};
    for (uint32_t draw = 0; draw < DRAWS; draw++) {
      double found[4];
      PetscCall(one_draw(grid, &kernel, n, draw, found));
      for (int k = 0; k < 4; k++) {
        sum[k] += found[k] / DRAWS;
        error[k] += pow(found[k] - truth[k / 2], 2) / DRAWS;
      }
    }
    for (int k = 0; k < 4; k++) {
      const double rms = sqrt(error[k]), deviation = rms / sqrt(DRAWS);
      /* The bias of V by its mean difference to U, which has little noise; that of U, none, by the truth. */
      const double bias = k % 2 ? sum[k] - truth[k / 2] : sum[k] - sum[k + 1], order[2] = {log2(before[k][0] / bias), log2(before[k][1] / rms)};
      if (!rank) {
        printf("%6d  %s  bias %10.3e", (int)n, name[k], bias);
        if (k % 2) printf(", %4.1f standard errors                 ", bias / deviation);
        else if (n > 25) printf(" (%4.2f), times n %.4f of %.4f", order[0], (double)n * bias, constant[k / 2]);
        else printf("       , times n %.4f of %.4f", (double)n * bias, constant[k / 2]);
        printf("  root mean square error %9.2e", rms);
        if (n > 25) printf(" (%4.2f)", order[1]);
        printf("\n");
      }
      if (k % 2) expect(fabs(bias) < 4.5 * deviation, "U has no bias, within 4.5 standard errors");
      else expect(fabs((double)n * bias / constant[k / 2] - 1) < 0.04, "n times the bias of V is its constant, within 4 %");
      if (n > 25 && k % 2 == 0) expect(fabs(order[0] - 1) < 0.05, "the bias of V falls as 1/n");
      if (n > 25) expect(fabs(order[1] - 0.5) < 0.25, "root mean square errors fall as 1/sqrt(n)");
      before[k][0] = bias;
      before[k][1] = rms;
    }
  }
  PetscCall(blockgrid_destroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations N(a_p, 0.6^2 I) of the plane on a circle; two of them have a twentieth of the cells of the others. */
static PetscErrorCode in_landmarks(void)
{
  static const char *const name[3] = {"uniform", "stratified", "leverage"};
  enum { LARGE = 600, SMALL = 30, CELLS = (POPULATIONS - 2) * LARGE + 2 * SMALL };
  const double         h = 0.9, s = 0.6;
  const Kernel         kernel = {.kind = KERNEL_GAUSSIAN, .bandwidths = 1, .bandwidth = {h}};
  const RandomStream   stream = random_stream(2, RANDOM_TEST, 0, 0, 0);
  const PairPlan       plan   = pairs_plan(CELLS, 2, 1, 0);
  static double        x[2 * CELLS], exact[POPULATIONS * POPULATIONS], found[POPULATIONS * POPULATIONS], closed[POPULATIONS * POPULATIONS];
  double               before[3] = {0}, noise = 0, first[3] = {0}, last[3] = {0};
  CellGroup            group[POPULATIONS];
  CellFeatures        *features;
  BlockGrid           *grid;
  Gram                 gram;
  BlockMatrix          mmd;

  PetscFunctionBeginUser;
  PetscCall(features_from_doubles(CELLS, 2, x, &features));
  for (PetscInt p = 0, start = 0; p < POPULATIONS; p++) {
    const PetscInt cells = p < POPULATIONS - 2 ? LARGE : SMALL;
    const double   angle = 2 * M_PI * p / POPULATIONS, center[2] = {2 * cos(angle), 2 * sin(angle)};
    group[p] = (CellGroup){features, start, cells};
    for (PetscInt i = start; i < start + cells; i++)
      for (int c = 0; c < 2; c++) x[2 * i + c] = center[c] + s * random_normal(&stream, (uint32_t)(2 * i + c));
    start += cells;
  }
  for (int p = 0; p < POPULATIONS; p++)
    for (int q = 0; q < POPULATIONS; q++)
      closed[p * POPULATIONS + q] = 2 * smoothed(0, 2 * s * s, h, 2) - 2 * smoothed(8 - 8 * cos(2 * M_PI * (p - q) / POPULATIONS), 2 * s * s, h, 2);
  PetscCall(blockgrid_create(PETSC_COMM_WORLD, POPULATIONS, &grid));
  PetscCall(gram_assemble(grid, &kernel, POPULATIONS, group, &plan, &gram));
  PetscCall(gram_mmd(&gram, STATISTIC_V, &mmd));
  PetscCall(blockmatrix_replicate(&mmd, 0, POPULATIONS, exact));
  for (int k = 0; k < POPULATIONS * POPULATIONS; k++) noise += pow(exact[k] - closed[k], 2) / (POPULATIONS * POPULATIONS);
  if (!rank) printf("\n%d populations of the plane, %d or %d cells: root mean square error of MMD^2 by m landmarks over all pairs and %d draws, against all pairs of cells (order), [against the closed form; all pairs "
                    "of cells: %.2e]\n%6s",
                    POPULATIONS, LARGE, SMALL, SEEDS, sqrt(noise), "m");
  for (int choice = 0; choice < 3 && !rank; choice++) printf("  %-33s", name[choice]);
  if (!rank) printf("\n");
  PetscCall(blockmatrix_destroy(&mmd));
  PetscCall(gram_destroy(&gram));
  PetscCall(blockgrid_destroy(&grid));
  for (PetscInt m = 6; m <= 96; m *= 2) {
    if (!rank) printf("%6d", (int)m);
    for (int choice = 0; choice < 3; choice++) {
      double error = 0, from_closed = 0;
      PetscCall(blockgrid_create(PETSC_COMM_WORLD, m, &grid));
      for (uint64_t seed = 0; seed < SEEDS; seed++) {
        PetscInt64 landmark[96];
        Nystrom    nystrom;
        Gram       projected = {.populations = POPULATIONS, .kernel = kernel};
        BlockMatrix embeddings;

        PetscCall(landmarks_choose(PETSC_COMM_WORLD, &kernel, POPULATIONS, group, (LandmarkChoice)choice, m, seed, landmark));
        PetscCall(nystrom_create(grid, &kernel, PRODUCTS_DOUBLE, POPULATIONS, group, m, landmark, &nystrom));
        PetscCall(nystrom_embeddings(&nystrom, POPULATIONS, group, &embeddings, NULL));
        PetscCall(nystrom_gram(&embeddings, &projected.product));
        PetscCall(gram_mmd(&projected, STATISTIC_V, &mmd));
        PetscCall(blockmatrix_replicate(&mmd, 0, POPULATIONS, found));
        for (int k = 0; k < POPULATIONS * POPULATIONS; k++) {
          error += pow(found[k] - exact[k], 2) / (POPULATIONS * POPULATIONS * SEEDS);
          from_closed += pow(found[k] - closed[k], 2) / (POPULATIONS * POPULATIONS * SEEDS);
          expect(found[k] < exact[k] + 1e-9, "a projection is no longer than what it projects");
        }
        PetscCall(blockmatrix_destroy(&mmd));
        PetscCall(blockmatrix_destroy(&projected.product));
        PetscCall(blockmatrix_destroy(&embeddings));
        PetscCall(nystrom_destroy(&nystrom));
      }
      PetscCall(blockgrid_destroy(&grid));
      error = sqrt(error);
      if (m == 6) first[choice] = error;
      last[choice] = error;
      if (!rank && m > 6) printf("  %9.2e (%5.2f) [%9.2e]    ", error, log2(before[choice] / error), sqrt(from_closed));
      else if (!rank) printf("  %9.2e         [%9.2e]    ", error, sqrt(from_closed));
      before[choice] = error;
    }
    if (!rank) printf("\n");
  }
  for (int choice = 0; choice < 3; choice++) expect(last[choice] < 0.02 * first[choice], "sixteen times the landmarks leave a fiftieth of the error, or less");
  expect(last[2] < last[0], "leverage does better than uniform where populations are unequal");
  PetscCall(features_destroy(&features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Functions f_p of the prior N(0, (shared + (1 - shared) [p = q]) C), seen R times with noise of covariance lambda C: the regression's weights give the posterior mean. */
static PetscErrorCode posterior(void)
{
  enum { PERTURBATIONS = 12, OUTPUTS = 20, PRIOR_DRAWS = 40, REPLICATES = 32 };
  const double    shared = 0.4, lambda = 0.8, prior[2] = {shared * PERTURBATIONS + 1 - shared, 1 - shared};
  CovariateKernel kernel = {.shared = {shared, 1, 1}, .levels = {PERTURBATIONS, 1, 1}};
  double          before = 0;

  PetscFunctionBeginUser;
  if (!rank) printf("\n%d perturbations seen R times, prior and noise Gaussian: mean squared error of the regression over %d draws, posterior variance (order in 1/R), both of the trace of the covariance\n", PERTURBATIONS, PRIOR_DRAWS);
  for (PetscInt replicates = 1; replicates <= REPLICATES; replicates *= 2) {
    const PetscInt    n = PERTURBATIONS * replicates;
    const double      noise = lambda / (double)replicates;
    static Covariates covariates[PERTURBATIONS * REPLICATES], condition[PERTURBATIONS];
    static double     weights[PERTURBATIONS * PERTURBATIONS * REPLICATES], y[PERTURBATIONS * REPLICATES];
    double            variance = 0, error = 0, trace = 0;
    BlockGrid        *grid;
    BlockMatrix       outputs;
    Regression        r;

    for (PetscInt i = 0; i < n; i++) covariates[i] = (Covariates){{i % PERTURBATIONS, 0, 0}};
    for (int p = 0; p < PERTURBATIONS; p++) {
      condition[p] = (Covariates){{p, 0, 0}};
      variance += prior[p > 0] * noise / (prior[p > 0] + noise) / PERTURBATIONS;
    }
    PetscCall(blockgrid_create(PETSC_COMM_WORLD, n, &grid));
    PetscCall(blockmatrix_create(grid, n, n, &outputs));
    for (int j = 0; j < outputs.local_columns; j++)
      for (int i = 0; i < outputs.local_rows; i++) outputs.values[(size_t)j * (size_t)outputs.ld + (size_t)i] = blockmatrix_row(&outputs, i) == blockmatrix_column(&outputs, j);
    PetscCall(regression_fit(n, covariates, 1, &kernel, 1, &lambda, &outputs, &r));
    PetscCall(regression_weights(&r, PERTURBATIONS, condition, NULL, weights));
    for (int c = 0; c < OUTPUTS; c++) trace += pow(1 + c, -2);
    for (uint32_t draw = 0; draw < PRIOR_DRAWS; draw++)
      for (int c = 0; c < OUTPUTS; c++) {
        const RandomStream stream = random_stream(3, RANDOM_TEST, draw, (uint32_t)replicates, (uint32_t)c);
        double             f[PERTURBATIONS];
        const double       common = sqrt(shared) * random_normal(&stream, 0), part = pow(1 + c, -2) / trace; /* eigenvalues of C */
        uint32_t           next = 1;
        for (int p = 0; p < PERTURBATIONS; p++) f[p] = common + sqrt(1 - shared) * random_normal(&stream, next++);
        for (PetscInt i = 0; i < n; i++) y[i] = f[i % PERTURBATIONS] + sqrt(lambda) * random_normal(&stream, next++);
        for (int p = 0; p < PERTURBATIONS; p++) {
          double mean = -f[p];
          for (PetscInt i = 0; i < n; i++) mean += weights[(size_t)p * (size_t)n + (size_t)i] * y[i];
          error += part * mean * mean / (PRIOR_DRAWS * PERTURBATIONS);
        }
      }
    if (!rank) printf("%6d   %9.3e   %9.3e", (int)replicates, error, variance);
    if (!rank && replicates > 1) printf(" (%4.2f)", log2(before / variance));
    if (!rank) printf("\n");
    expect(fabs(error / variance - 1) < 0.12, "the squared error is the posterior variance");
    before = variance;
    PetscCall(regression_destroy(&r));
    PetscCall(blockmatrix_destroy(&outputs));
    PetscCall(blockgrid_destroy(&grid));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(in_cells());
  PetscCall(in_landmarks());
  PetscCall(posterior());
  if (!rank) printf("%s\n", failures ? "NOT as the closed forms say" : "all as the closed forms say");
  return PetscFinalize() || failures;
}
