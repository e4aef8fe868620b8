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
  PetscInt set_size, genes;
  double   energy_weight;
  Real    *gram;                         /* (S,S): a Gram matrix, then 1/distance */
  Real    *clean_norm, *estimate_norm;   /* (S) squared norms */
  Real    *mean, *centered;              /* (G) and (S,G): the estimate's mean, the estimate less it */
  double  *row_sum, *row_weight, *row_error; /* (S) sums of a row's distances, of its 1/distances, of its squared errors */
};

PetscErrorCode objective_create(PetscInt set_size, PetscInt genes, double energy_weight, CellExchange *exchange, Objective **objective)
{
  Objective *o;

  PetscFunctionBeginUser;
  PetscCheck(!exchange, PETSC_COMM_SELF, PETSC_ERR_SUP, "sets split over ranks");
  PetscCall(PetscNew(&o));
  o->set_size      = set_size;
  o->genes         = genes;
  o->energy_weight = energy_weight;
  PetscCall(PetscMalloc3(set_size * set_size, &o->gram, set_size, &o->clean_norm, set_size, &o->estimate_norm));
  PetscCall(PetscMalloc2(genes, &o->mean, (size_t)set_size * (size_t)genes, &o->centered));
  PetscCall(PetscMalloc3(set_size, &o->row_sum, set_size, &o->row_weight, set_size, &o->row_error));
  *objective = o;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode objective_destroy(Objective **objective)
{
  PetscFunctionBeginUser;
  if (!*objective) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree3((*objective)->gram, (*objective)->clean_norm, (*objective)->estimate_norm));
  PetscCall(PetscFree2((*objective)->mean, (*objective)->centered));
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

/* From squared distances to their roots' inverses, zero where clipped; sums of distances and of inverses. */
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
  *distances = sum;
  *inverses  = weight;
}

/* Mean distance of all pairs (p_i, q_j); leaves 1/distance in o->gram and its row sums in o->row_weight. */
static PetscErrorCode mean_distance(Objective *o, const Real *p, const Real *p_norm, const Real *q, const Real *q_norm, double *mean)
{
  const PetscInt s = o->set_size, g = o->genes;
  double         sum = 0;

  PetscFunctionBeginUser;
  PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, s, s, g, 1, p, g, q, g, 0, o->gram, s));
#pragma omp parallel for schedule(dynamic, 4) if (s *s > 4096)
  for (PetscInt i = 0; i < s; i++) {
    Real *row = o->gram + (size_t)i * (size_t)s;

    if (row_squares(s, p_norm[i], q_norm, row))
      for (PetscInt j = 0; j < s; j++)
        if (row[j] < 0) row[j] = p == q && i == j ? 0 : (Real)squared_difference(g, p + (size_t)i * (size_t)g, q + (size_t)j * (size_t)g);
    row_distances(s, row, &o->row_sum[i], &o->row_weight[i]);
  }
  for (PetscInt i = 0; i < s; i++) sum += o->row_sum[i];
  *mean = sum / ((double)s * (double)s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* d_j += sign * factor * sum_i (q_j - other_i) * weight_ji for the weights in o->gram. */
static PetscErrorCode distance_gradient(Objective *o, double factor, const Real *estimate, const Real *other, Real *d)
{
  const PetscInt s = o->set_size, g = o->genes;

  PetscFunctionBeginUser;
#pragma omp parallel for schedule(static) if (s *g > 16384)
  for (PetscInt j = 0; j < s; j++) {
    const Real   weight = (Real)(factor * o->row_weight[j]);
    const size_t row    = (size_t)j * (size_t)g;
    for (size_t k = row; k < row + (size_t)g; k++) d[k] += weight * estimate[k];
  }
  PetscCall(dense_product(PETSC_FALSE, PETSC_FALSE, s, g, s, (Real)-factor, o->gram, s, other, g, 1, d, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* o->centered = estimate less its mean cell, with the squared norms. */
static void center_estimate(Objective *o, const Real *estimate)
{
  const PetscInt s = o->set_size, g = o->genes;
  const Real     share = 1 / (Real)s;

#pragma omp parallel for schedule(static) if (s *g > 16384)
  for (PetscInt first = 0; first < g; first += 64) {
    const PetscInt end = PetscMin(g, first + 64);
    for (PetscInt k = first; k < end; k++) o->mean[k] = 0;
    for (PetscInt i = 0; i < s; i++)
      for (PetscInt k = first; k < end; k++) o->mean[k] += share * estimate[(size_t)i * (size_t)g + (size_t)k];
  }
#pragma omp parallel for schedule(static) if (s *g > 16384)
  for (PetscInt i = 0; i < s; i++) {
    const size_t row = (size_t)i * (size_t)g;
    for (PetscInt k = 0; k < g; k++) o->centered[row + (size_t)k] = estimate[row + (size_t)k] - o->mean[k];
    o->estimate_norm[i] = (Real)squared_norm(g, o->centered + row);
  }
}

/* Squared error and norms of a set; d = gradient of weight * mse. */
static double squared_errors(Objective *o, const Real *clean, const Real *estimate, double weight, Real *d)
{
  const PetscInt s = o->set_size, g = o->genes;
  const double   values = (double)s * (double)g;
  const Real     slope  = (Real)(2 * weight / values);
  double         sum    = 0;

#pragma omp parallel for schedule(static) if (s *g > 16384)
  for (PetscInt i = 0; i < s; i++) {
    const size_t row = (size_t)i * (size_t)g;

    o->clean_norm[i]    = (Real)squared_norm(g, clean + row);
    o->estimate_norm[i] = (Real)squared_norm(g, estimate + row);
    o->row_error[i]     = squared_difference(g, estimate + row, clean + row);
    if (d)
      for (size_t k = row; k < row + (size_t)g; k++) d[k] = slope * (estimate[k] - clean[k]);
  }
  for (PetscInt i = 0; i < s; i++) sum += o->row_error[i];
  return sum / values;
}

PetscErrorCode objective_evaluate(Objective *o, PetscInt sets, const Real *clean, const Real *estimate, double weight, double *mse, double *energy, Real *d_estimate)
{
  const size_t n      = (size_t)o->set_size * (size_t)o->genes;
  const double factor = weight * o->energy_weight / ((double)o->set_size * (double)o->set_size);

  PetscFunctionBeginUser;
  for (PetscInt set = 0; set < sets; set++) {
    const Real *p = clean + (size_t)set * n, *q = estimate + (size_t)set * n;
    Real       *d = d_estimate ? d_estimate + (size_t)set * n : NULL;
    double      across, within_clean, within_estimate;

    mse[set] = squared_errors(o, p, q, weight, d);
    PetscCall(mean_distance(o, p, o->clean_norm, p, o->clean_norm, &within_clean));
    /* Rows are cells of the estimate: their sums of weights are its own. */
    PetscCall(mean_distance(o, q, o->estimate_norm, p, o->clean_norm, &across));
    if (d) PetscCall(distance_gradient(o, factor, q, p, d));
    /* A pair within the estimate counts twice, times one half. */
    center_estimate(o, q);
    PetscCall(mean_distance(o, o->centered, o->estimate_norm, o->centered, o->estimate_norm, &within_estimate));
    if (d) PetscCall(distance_gradient(o, -factor, o->centered, o->centered, d));
    energy[set] = across - 0.5 * within_clean - 0.5 * within_estimate;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
