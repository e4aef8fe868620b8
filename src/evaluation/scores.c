/* Scores of one predicted population against the real one (METRICS, "On means"). */
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/runtime/error.h>
#include <petscblaslapack.h>

const char *const population_score_name[POPULATION_SCORES] = {"pearson_delta", "mse", "mae", "r2", "energy_distance"};
const int         population_score_direction[POPULATION_SCORES] = {1, -1, -1, 1, -1};

/* Rows of a block of distances: two blocks of cells and one of products stay in the cache's reach and memory is bounded whatever the populations. */
enum { BLOCK = 256 };

static void column_means(PetscInt64 n, PetscInt64 genes, const double *x, double *mean)
{
  for (PetscInt64 g = 0; g < genes; g++) mean[g] = 0;
  for (PetscInt64 i = 0; i < n; i++)
    for (PetscInt64 g = 0; g < genes; g++) mean[g] += x[i * genes + g];
  for (PetscInt64 g = 0; g < genes; g++) mean[g] /= (double)n;
}

/* rows (count,G) = x - center, and their squared norms. */
static void center_rows(PetscInt64 count, PetscInt64 genes, const double *x, const double *center, double *rows, double *square)
{
  for (PetscInt64 i = 0; i < count; i++) {
    square[i] = 0;
    for (PetscInt64 g = 0; g < genes; g++) {
      const double value = rows[i * genes + g] = x[i * genes + g] - center[g];
      square[i] += value * value;
    }
  }
}

PetscErrorCode mean_distance(PetscInt64 n, const double *x, PetscInt64 m, const double *y, PetscInt64 genes, double *mean)
{
  const PetscBool same = x == y && n == m ? PETSC_TRUE : PETSC_FALSE;
  const double    one = 1, zero = 0;
  double         *center, *rows_x, *rows_y, *product, square_x[BLOCK], square_y[BLOCK], total = 0;
  PetscBLASInt    inner;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast((PetscInt)genes, &inner));
  PetscCall(PetscMalloc4(genes, &center, BLOCK * genes, &rows_x, BLOCK * genes, &rows_y, BLOCK * BLOCK, &product));
  /* |x-y|^2 = |x|^2 + |y|^2 - 2 x.y loses the digits that |x|^2 has above |x-y|^2: taken about a common point it has few. */
  column_means(n, genes, x, center);
  for (PetscInt64 i = 0; i < n; i += BLOCK) {
    const PetscBLASInt rows = (PetscBLASInt)PetscMin(BLOCK, n - i);
    center_rows(rows, genes, x + i * genes, center, rows_x, square_x);
    for (PetscInt64 j = same ? i : 0; j < m; j += BLOCK) {
      const PetscBLASInt columns = (PetscBLASInt)PetscMin(BLOCK, m - j);
      double             sum = 0;
      center_rows(columns, genes, y + j * genes, center, rows_y, square_y);
      PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &columns, &rows, &inner, &one, rows_y, &inner, rows_x, &inner, &zero, product, &columns));
      for (PetscInt64 a = 0; a < rows; a++) {
        for (PetscInt64 b = 0; b < columns; b++)
          sum += same && i + a == j + b ? 0 : sqrt(PetscMax(square_x[a] + square_y[b] - 2 * product[a * columns + b], 0));
      }
      total += same && j > i ? 2 * sum : sum;
    }
  }
  *mean = total / ((double)n * (double)m);
  PetscCall(PetscFree4(center, rows_x, rows_y, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Differences of log values below this are rounding. */
static const double no_change = 1e-10;

/* Pearson correlation of a - b and c - d over genes; NaN where one of them does not vary. */
static double pearson_of_differences(PetscInt64 genes, const double *a, const double *b, const double *c, const double *d)
{
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;

  for (PetscInt64 g = 0; g < genes; g++) {
    mean_x += (a[g] - b[g]) / (double)genes;
    mean_y += (c[g] - d[g]) / (double)genes;
  }
  for (PetscInt64 g = 0; g < genes; g++) {
    const double x = a[g] - b[g] - mean_x, y = c[g] - d[g] - mean_y;
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  return PetscMin(xx, yy) > no_change * no_change * (double)genes ? xy / sqrt(xx * yy) : NAN;
}

static void mean_scores(PetscInt64 genes, const double *real, const double *predicted, PopulationScores *scores)
{
  double average = 0, residual = 0, absolute = 0, spread = 0;

  for (PetscInt64 g = 0; g < genes; g++) average += real[g] / (double)genes;
  for (PetscInt64 g = 0; g < genes; g++) {
    const double difference = predicted[g] - real[g];
    residual += difference * difference;
    absolute += fabs(difference);
    spread += (real[g] - average) * (real[g] - average);
  }
  scores->mse = residual / (double)genes;
  scores->mae = absolute / (double)genes;
  scores->r2 = spread > 0 ? 1 - residual / spread : NAN;
}

PetscErrorCode population_scores(PetscInt64 n, const double *real, PetscInt64 m, const double *predicted, PetscInt64 genes, const double *control_real,
                                 const double *control_predicted, PopulationScores *scores)
{
  double *mean_real, *mean_predicted, across, within_real, within_predicted;

  PetscFunctionBeginUser;
  PetscCheck(n > 0 && m > 0 && genes > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Scores of an empty population");
  PetscCall(PetscMalloc2(genes, &mean_real, genes, &mean_predicted));
  column_means(n, genes, real, mean_real);
  column_means(m, genes, predicted, mean_predicted);
  scores->pearson_delta = pearson_of_differences(genes, mean_real, control_real, mean_predicted, control_predicted);
  mean_scores(genes, mean_real, mean_predicted, scores);
  PetscCall(mean_distance(n, real, m, predicted, genes, &across));
  PetscCall(mean_distance(n, real, n, real, genes, &within_real));
  PetscCall(mean_distance(m, predicted, m, predicted, genes, &within_predicted));
  scores->energy_distance = 2 * across - within_real - within_predicted;
  PetscCall(PetscFree2(mean_real, mean_predicted));
  PetscFunctionReturn(PETSC_SUCCESS);
}
