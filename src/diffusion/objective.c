/* Mean squared error and half the energy distance of two cell sets, with the gradient (MODEL, "Corruption and objective").
   Distances come from Gram matrices; where two cells are so close that the difference of the squares would lose digits, from the cells.
   Within the estimate they come from the cells less their mean, so that an estimate that is nearly the same for all cells has a gradient. */
#include <perturbdiff/diffusion.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>
#include <tgmath.h>

/* Squared distances below this count as this, with gradient zero. */
#define SMALLEST_SQUARE 1e-8
/* Below this part of |p|^2 + |q|^2 a squared distance is computed from the cells. */
#define CANCELLATION ((Real)0.01)

struct Objective {
  PetscInt      set_size, genes, first, cells; /* cells first..first+cells-1 of a set are this rank's */
  CellExchange *exchange;                      /* NULL: all cells are */
  double        energy_weight;
  Real         *gram;                              /* (cells, largest block): a Gram matrix, then 1/distance */
  Real         *clean_norm, *estimate_norm, *norm; /* (cells), (cells), (largest block) squared norms */
  Real         *mean, *centered;                   /* (G) and (cells,G): the estimate's mean, the estimate less it */
  double       *sums;                              /* (G) of the estimate, over ranks */
  double       *row_sum, *row_weight, *row_error;  /* (cells) sums of a row's distances, of its 1/distances, of its squared errors */
};

PetscErrorCode objective_create(PetscInt set_size, PetscInt genes, double energy_weight, CellExchange *exchange, Objective **objective)
{
  Objective *o;
  PetscInt   block = set_size; /* of the rank with most cells */

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&o));
  o->set_size      = set_size;
  o->genes         = genes;
  o->cells         = set_size;
  o->energy_weight = energy_weight;
  if (exchange && cellexchange_ranks(exchange) > 1) {
    const int ranks = cellexchange_ranks(exchange);
    int       first, count;

    cellexchange_cells(exchange, ranks - 1, &first, &count);
    PetscCheck(first + count == set_size, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "sets of %" PetscInt_FMT " cells, and an exchange for %d", set_size, first + count);
    cellexchange_cells(exchange, cellexchange_rank(exchange), &first, &count);
    o->exchange = exchange;
    o->first    = first;
    o->cells    = count;
    block       = (set_size + ranks - 1) / ranks;
  }
  PetscCall(PetscMalloc4(o->cells * block, &o->gram, o->cells, &o->clean_norm, o->cells, &o->estimate_norm, block, &o->norm));
  PetscCall(PetscMalloc3(genes, &o->mean, (size_t)o->cells * (size_t)genes, &o->centered, genes, &o->sums));
  PetscCall(PetscMalloc3(o->cells, &o->row_sum, o->cells, &o->row_weight, o->cells, &o->row_error));
  *objective = o;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode objective_destroy(Objective **objective)
{
  PetscFunctionBeginUser;
  if (!*objective) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree4((*objective)->gram, (*objective)->clean_norm, (*objective)->estimate_norm, (*objective)->norm));
  PetscCall(PetscFree3((*objective)->mean, (*objective)->centered, (*objective)->sums));
  PetscCall(PetscFree3((*objective)->row_sum, (*objective)->row_weight, (*objective)->row_error));
  PetscCall(PetscFree(*objective));
  PetscFunctionReturn(PETSC_SUCCESS);
}

VECTOR_CLONES static double squared_difference(PetscInt n, const Real *restrict p, const Real *restrict q)
{
  double sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) {
    const double d = (double)p[j] - (double)q[j];
    sum += d * d;
  }
  return sum;
}

VECTOR_CLONES static double squared_norm(PetscInt n, const Real *restrict p)
{
  double sum = 0;

#pragma omp simd reduction(+ : sum)
  for (PetscInt j = 0; j < n; j++) sum += (double)p[j] * (double)p[j];
  return sum;
}

/* gram[j] = |p|^2 + |q_j|^2 - 2 p.q_j; returns how many of them need the cells themselves (marked by -1). */
VECTOR_CLONES static PetscInt row_squares(PetscInt n, Real norm, const Real *restrict norms, Real *restrict gram)
{
  PetscInt close = 0;

#pragma omp simd reduction(+ : close)
  for (PetscInt j = 0; j < n; j++) {
    const Real both = norm + norms[j], square = both - 2 * gram[j];
    const int  near = square < CANCELLATION * both || both <= 0;
    gram[j]         = near ? -1 : square;
    close += near;
  }
  return close;
}

/* From squared distances to their roots' inverses, zero where clipped; sums of distances and of inverses are added to. */
VECTOR_CLONES static void row_distances(PetscInt n, Real *restrict gram, double *restrict distances, double *restrict inverses)
{
  double sum = 0, weight = 0;

#pragma omp simd reduction(+ : sum, weight)
  for (PetscInt j = 0; j < n; j++) {
    const Real clipped = gram[j] > (Real)SMALLEST_SQUARE ? gram[j] : (Real)SMALLEST_SQUARE;
    const Real root = sqrt(clipped), inverse = gram[j] >= (Real)SMALLEST_SQUARE ? 1 / root : 0;
    sum += (double)root;
    weight += (double)inverse;
    gram[j] = inverse;
  }
  *distances += sum;
  *inverses += weight;
}

/* One sum over pairs of cells: rows are this rank's, columns all of the set, a block at a time. */
typedef struct {
  Objective  *o;
  const Real *rows, *row_norm, *columns, *column_norm; /* (cells,G) and (cells): this rank's; columns: those it gives to the others */
  double      factor;                                  /* of the gradient */
  Real       *d;                                       /* (cells,G) gradient of the rows, added to; NULL: not wanted */
} PairSum;

/* Distances of the rows to a block of columns: sums of rows grow; 1/distance is left in o->gram. */
static PetscErrorCode block_distances(const PairSum *pairs, PetscInt first, PetscInt n, const Real *block, const Real *norms)
{
  Objective      *o = pairs->o;
  const PetscInt  g = o->genes, cells = o->cells;
  const PetscBool own = pairs->rows == pairs->columns ? PETSC_TRUE : PETSC_FALSE; /* a cell and itself */

  PetscFunctionBeginUser;
  PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, cells, n, g, 1, pairs->rows, g, block, g, 0, o->gram, n));
#pragma omp parallel for schedule(dynamic, 4) if (cells *n > 4096)
  for (PetscInt i = 0; i < cells; i++) {
    Real *row = o->gram + (size_t)i * (size_t)n;

    if (row_squares(n, pairs->row_norm[i], norms, row))
      for (PetscInt j = 0; j < n; j++)
        if (row[j] < 0) row[j] = own && o->first + i == first + j ? 0 : (Real)squared_difference(g, pairs->rows + (size_t)i * (size_t)g, block + (size_t)j * (size_t)g);
    row_distances(n, row, &o->row_sum[i], &o->row_weight[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* d_i += factor * sum_j (row_i - column_j) / distance_ij: here the part of the columns. */
static PetscErrorCode use_block(const PairSum *pairs, PetscInt first, PetscInt n, const Real *block)
{
  Objective     *o    = pairs->o;
  const PetscInt g    = o->genes;
  const Real    *norm = pairs->column_norm;

  PetscFunctionBeginUser;
  if (block != pairs->columns) {
    for (PetscInt j = 0; j < n; j++) o->norm[j] = (Real)squared_norm(g, block + (size_t)j * (size_t)g);
    norm = o->norm;
  }
  PetscCall(block_distances(pairs, first, n, block, norm));
  if (pairs->d) PetscCall(dense_product(PETSC_FALSE, PETSC_FALSE, o->cells, g, n, (Real)-pairs->factor, o->gram, n, block, g, 1, pairs->d, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The ring passes codes of PETSc on. */
static int use_ring_block(void *context, int first, int n, const Real *block) { return (int)use_block(context, first, n, block); }

/* Sum of distances of all pairs of a row of this rank and a column of the set, and the gradient. */
static PetscErrorCode pair_sum(const PairSum *pairs, double *sum)
{
  Objective     *o = pairs->o;
  const PetscInt g = o->genes, cells = o->cells;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < cells; i++) o->row_sum[i] = o->row_weight[i] = 0;
  if (o->exchange) PetscCall((PetscErrorCode)cellexchange_ring(o->exchange, (int)g, pairs->columns, use_ring_block, (void *)pairs));
  else PetscCall(use_block(pairs, 0, cells, pairs->columns));
  *sum = 0;
  for (PetscInt i = 0; i < cells; i++) *sum += o->row_sum[i];
  if (!pairs->d) PetscFunctionReturn(PETSC_SUCCESS);
#pragma omp parallel for schedule(static) if (cells *g > 16384)
  for (PetscInt i = 0; i < cells; i++) {
    const Real   weight = (Real)(pairs->factor * o->row_weight[i]);
    const size_t row    = (size_t)i * (size_t)g;
    for (size_t k = row; k < row + (size_t)g; k++) pairs->d[k] += weight * pairs->rows[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* o->centered = estimate less the mean cell of the set, with the squared norms. */
static PetscErrorCode center_estimate(Objective *o, const Real *estimate)
{
  const PetscInt cells = o->cells, g = o->genes;
  const double   share = 1 / (double)o->set_size;

  PetscFunctionBeginUser;
#pragma omp parallel for schedule(static) if (cells *g > 16384)
  for (PetscInt first = 0; first < g; first += 64) {
    const PetscInt end = PetscMin(g, first + 64);
    for (PetscInt k = first; k < end; k++) o->sums[k] = 0;
    for (PetscInt i = 0; i < cells; i++)
      for (PetscInt k = first; k < end; k++) o->sums[k] += (double)estimate[(size_t)i * (size_t)g + (size_t)k];
  }
  if (o->exchange) PetscCallMPI(cellexchange_sum(o->exchange, (int)g, o->sums));
  for (PetscInt k = 0; k < g; k++) o->mean[k] = (Real)(share * o->sums[k]);
#pragma omp parallel for schedule(static) if (cells *g > 16384)
  for (PetscInt i = 0; i < cells; i++) {
    const size_t row = (size_t)i * (size_t)g;
    for (PetscInt k = 0; k < g; k++) o->centered[row + (size_t)k] = estimate[row + (size_t)k] - o->mean[k];
    o->estimate_norm[i] = (Real)squared_norm(g, o->centered + row);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum of squared errors and norms of this rank's cells of a set; d = gradient of weight * mse. */
static double squared_errors(Objective *o, const Real *clean, const Real *estimate, double weight, Real *d)
{
  const PetscInt cells = o->cells, g = o->genes;
  const Real     slope = (Real)(2 * weight / ((double)o->set_size * (double)g));
  double         sum   = 0;

#pragma omp parallel for schedule(static) if (cells *g > 16384)
  for (PetscInt i = 0; i < cells; i++) {
    const size_t row = (size_t)i * (size_t)g;

    o->clean_norm[i]    = (Real)squared_norm(g, clean + row);
    o->estimate_norm[i] = (Real)squared_norm(g, estimate + row);
    o->row_error[i]     = squared_difference(g, estimate + row, clean + row);
    if (d)
      for (size_t k = row; k < row + (size_t)g; k++) d[k] = slope * (estimate[k] - clean[k]);
  }
  for (PetscInt i = 0; i < cells; i++) sum += o->row_error[i];
  return sum;
}

PetscErrorCode objective_evaluate(Objective *o, PetscInt sets, const Real *clean, const Real *estimate, double weight, double *mse, double *energy, Real *d_estimate)
{
  const size_t n     = (size_t)o->cells * (size_t)o->genes;
  const double pairs = (double)o->set_size * (double)o->set_size, factor = weight * o->energy_weight / pairs;

  PetscFunctionBeginUser;
  for (PetscInt set = 0; set < sets; set++) {
    const Real *p = clean + (size_t)set * n, *q = estimate + (size_t)set * n;
    Real       *d = d_estimate ? d_estimate + (size_t)set * n : NULL;
    double      sums[4]; /* squared errors; distances within clean, across, within the estimate */

    sums[0] = squared_errors(o, p, q, weight, d);
    PetscCall(pair_sum(&(PairSum){.o = o, .rows = p, .row_norm = o->clean_norm, .columns = p, .column_norm = o->clean_norm}, &sums[1]));
    PetscCall(pair_sum(&(PairSum){.o = o, .rows = q, .row_norm = o->estimate_norm, .columns = p, .column_norm = o->clean_norm, .factor = factor, .d = d}, &sums[2]));
    /* A pair within the estimate counts twice, times one half. */
    PetscCall(center_estimate(o, q));
    PetscCall(pair_sum(&(PairSum){.o = o, .rows = o->centered, .row_norm = o->estimate_norm, .columns = o->centered, .column_norm = o->estimate_norm, .factor = -factor, .d = d},
                       &sums[3]));
    if (o->exchange) PetscCallMPI(cellexchange_sum(o->exchange, 4, sums));
    mse[set]    = sums[0] / ((double)o->set_size * (double)o->genes);
    energy[set] = (sums[2] - 0.5 * sums[1] - 0.5 * sums[3]) / pairs;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
