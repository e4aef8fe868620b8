/* Two-sample classifier: cross-validated logistic regression from inner products of cells (Lopez-Paz and Oquab 2017). */
#include <math.h>
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/runtime/error.h>
#include <petscblaslapack.h>

/* A fit on `count` of the cells: decision = sum_j alpha_j x_j.x + b. */
typedef struct {
  PetscInt  count;
  PetscInt *cell;                                      /* (count) */
  double   *kernel, *matrix;                           /* (count, count) */
  double   *sign, *alpha, *decision;                   /* (count) */
  double   *next_alpha, *next_decision, *root, *right; /* (count), right (2, count) */
  double    b;
} Fit;

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* |w|^2 / 2 + sum log(1 + exp(-sign decision)). */
static double objective(const Fit *f, const double *alpha, const double *decision, double b)
{
  double norm = 0, loss = 0;

  for (PetscInt i = 0; i < f->count; i++) {
    norm += alpha[i] * (decision[i] - b);
    loss += softplus(-f->sign[i] * decision[i]);
  }
  return 0.5 * norm + loss;
}

/* One Newton step: iteratively reweighted least squares in the dual, (K + W^-1) alpha = z - b, sum alpha = 0, solved through I + W^1/2 K W^1/2
   (Rasmussen and Williams 2006, algorithm 3.1). */
static PetscErrorCode newton_step(Fit *f, double *b)
{
  const PetscInt     n = f->count;
  const PetscBLASInt order = (PetscBLASInt)n, sides = 2;
  PetscBLASInt       info;
  double             u = 0, v = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) {
    const double chance = 1 / (1 + exp(-f->decision[i])), weight = PetscMax(chance * (1 - chance), 1e-12);
    f->root[i] = sqrt(weight);
    f->right[i] = f->root[i] * (f->decision[i] + ((f->sign[i] > 0) - chance) / weight);
    f->right[n + i] = f->root[i];
  }
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) f->matrix[i * n + j] = f->root[i] * f->kernel[i * n + j] * f->root[j] + (i == j);
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("U", &order, f->matrix, &order, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "Cholesky factor of a kernel matrix: %d", (int)info);
  PetscCallBLAS("LAPACKpotrs", LAPACKpotrs_("U", &order, &sides, f->matrix, &order, f->right, &order, &info));
  for (PetscInt i = 0; i < n; i++) {
    u += f->root[i] * f->right[i];
    v += f->root[i] * f->right[n + i];
  }
  *b = u / v;
  for (PetscInt i = 0; i < n; i++) f->next_alpha[i] = f->root[i] * (f->right[i] - *b * f->right[n + i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode fit_logistic(Fit *f)
{
  const PetscBLASInt order = (PetscBLASInt)f->count, unit = 1;
  const double       one = 1, zero = 0;
  double             value;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(f->alpha, f->count));
  PetscCall(PetscArrayzero(f->decision, f->count));
  f->b = 0;
  value = objective(f, f->alpha, f->decision, 0);
  for (int step = 0; step < 100; step++) {
    double b = 0, next;

    PetscCall(newton_step(f, &b));
    PetscCallBLAS("BLASgemv", BLASgemv_("N", &order, &order, &one, f->kernel, &order, f->next_alpha, &unit, &zero, f->next_decision, &unit));
    for (PetscInt i = 0; i < f->count; i++) f->next_decision[i] += b;
    next = objective(f, f->next_alpha, f->next_decision, b);
    /* The objective is convex: halving towards the last point ends below it. */
    for (int half = 0; half < 40 && next > value; half++) {
      for (PetscInt i = 0; i < f->count; i++) {
        f->next_alpha[i] = 0.5 * (f->next_alpha[i] + f->alpha[i]);
        f->next_decision[i] = 0.5 * (f->next_decision[i] + f->decision[i]);
      }
      b = 0.5 * (b + f->b);
      next = objective(f, f->next_alpha, f->next_decision, b);
    }
    const double gain = value - next;
    if (gain < 0) break;
    PetscCall(PetscArraycpy(f->alpha, f->next_alpha, f->count));
    PetscCall(PetscArraycpy(f->decision, f->next_decision, f->count));
    f->b = b;
    value = next;
    if (gain <= 1e-13 * (1 + value)) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode logistic_decisions(PetscInt cells, const double *gram, const unsigned char *label, PetscInt folds, const PetscInt *fold, double *decision)
{
  Fit f;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(cells, &f.cell, (size_t)cells * (size_t)cells, &f.kernel, (size_t)cells * (size_t)cells, &f.matrix));
  PetscCall(
      PetscMalloc7(cells, &f.sign, cells, &f.alpha, cells, &f.decision, cells, &f.next_alpha, cells, &f.next_decision, cells, &f.root, 2 * cells, &f.right));
  for (PetscInt k = 0; k < folds; k++) {
    f.count = 0;
    for (PetscInt i = 0; i < cells; i++)
      if (fold[i] != k) f.cell[f.count++] = i;
    for (PetscInt i = 0; i < f.count; i++) {
      f.sign[i] = label[f.cell[i]] ? 1 : -1;
      for (PetscInt j = 0; j < f.count; j++) f.kernel[i * f.count + j] = gram[(size_t)f.cell[i] * (size_t)cells + (size_t)f.cell[j]];
    }
    PetscCall(fit_logistic(&f));
    for (PetscInt i = 0; i < cells; i++) {
      if (fold[i] != k) continue;
      decision[i] = f.b;
      for (PetscInt j = 0; j < f.count; j++) decision[i] += f.alpha[j] * gram[(size_t)i * (size_t)cells + (size_t)f.cell[j]];
    }
  }
  PetscCall(PetscFree3(f.cell, f.kernel, f.matrix));
  PetscCall(PetscFree7(f.sign, f.alpha, f.decision, f.next_alpha, f.next_decision, f.root, f.right));
  PetscFunctionReturn(PETSC_SUCCESS);
}
