/* Baselines: cells for a condition from training populations alone, without a network. */
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/runtime.h>
#include <petscblaslapack.h>

const char *const baseline_name[BASELINES] = {"control", "mean_shift", "additive", "nearest"};

/* A perturbed population that may be learnt from, other than the condition itself. */
static PetscBool teaches(const CellStoreTable *table, const Population *p, PetscInt perturbation, PetscInt cell_type, PetscInt batch)
{
  const PetscBool itself = p->perturbation == perturbation && p->cell_type == cell_type && p->batch == batch ? PETSC_TRUE : PETSC_FALSE;
  return p->split == SPLIT_TRAIN && p->perturbation != table->control && p->control >= 0 && p->cells && !itself ? PETSC_TRUE : PETSC_FALSE;
}

/* Normal equations of b after a is eliminated: (N - n n'/n_p) b = sums about the mean of each perturbation; n[p][c] populations, N their sums over p.
   matrix (C,C) and right (G,C) row-major, right being column-major (C,G) for LAPACK. */
static PetscErrorCode additive_equations(const CellStoreTable *table, const double *means, PetscInt perturbation, PetscInt cell_type, PetscInt batch,
                                         double *matrix, double *right)
{
  const PetscInt types = table->cell_type.count, genes = table->gene.count, treatments = table->perturbation.count;
  double        *count, *mean;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)treatments * types, &count, genes, &mean));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    if (teaches(table, p, perturbation, cell_type, batch)) count[p->perturbation * types + p->cell_type]++;
  }
  for (PetscInt t = 0; t < treatments; t++) {
    const double *n = count + (size_t)t * types;
    double        total = 0;

    for (PetscInt c = 0; c < types; c++) total += n[c];
    if (total == 0) continue;
    for (PetscInt c = 0; c < types; c++) {
      matrix[c * types + c] += n[c];
      for (PetscInt d = 0; d < types; d++) matrix[c * types + d] -= n[c] * n[d] / total;
    }
    PetscCall(PetscArrayzero(mean, genes));
    for (PetscInt k = 0; k < table->populations; k++) {
      const Population *p = &table->population[k];
      if (p->perturbation != t || !teaches(table, p, perturbation, cell_type, batch)) continue;
      const double *treated = means + (size_t)k * genes, *control = means + (size_t)p->control * genes;
      for (PetscInt g = 0; g < genes; g++) {
        mean[g] += (treated[g] - control[g]) / total;
        right[(size_t)g * types + p->cell_type] += treated[g] - control[g];
      }
    }
    for (PetscInt g = 0; g < genes; g++)
      for (PetscInt c = 0; c < types; c++) right[(size_t)g * types + c] -= n[c] * mean[g];
  }
  PetscCall(PetscFree2(count, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Least-squares solution of smallest norm: the level that a and b share goes to a, and b of a cell type without populations is zero. */
static PetscErrorCode solve_smallest(PetscInt n, PetscInt columns, double *matrix, double *right)
{
  PetscBLASInt order, sides, lwork, rank, info;
  double      *singular, *work, cut = 1e-10;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &order));
  PetscCall(PetscBLASIntCast(columns, &sides));
  lwork = 5 * order + PetscMax(2 * order, sides);
  PetscCall(PetscMalloc2(order, &singular, lwork, &work));
  PetscCallBLAS("LAPACKgelss", LAPACKgelss_(&order, &order, &sides, matrix, &order, right, &order, singular, &cut, &rank, work, &lwork, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK gelss: info %d", (int)info);
  PetscCall(PetscFree2(singular, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_additive_shift(const CellStoreTable *table, const double *means, PetscInt perturbation, PetscInt cell_type, PetscInt batch,
                                       double *shift)
{
  const PetscInt types = table->cell_type.count, genes = table->gene.count;
  double        *matrix, *effect;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)types * types, &matrix, (size_t)types * genes, &effect));
  PetscCall(additive_equations(table, means, perturbation, cell_type, batch, matrix, effect));
  PetscCall(solve_smallest(types, genes, matrix, effect));
  /* a_p = mean over the populations of p of (change - b). */
  PetscCall(PetscArrayzero(shift, genes));
  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    if (p->perturbation != perturbation || !teaches(table, p, perturbation, cell_type, batch)) continue;
    const double *treated = means + (size_t)k * genes, *control = means + (size_t)p->control * genes;
    for (PetscInt g = 0; g < genes; g++) shift[g] += treated[g] - control[g] - effect[(size_t)g * types + p->cell_type];
    count++;
  }
  for (PetscInt g = 0; g < genes; g++) shift[g] = (count ? shift[g] / count : 0) + effect[(size_t)g * types + cell_type];
  PetscCall(PetscFree2(matrix, effect));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Training population of the perturbation whose control mean is nearest to the condition's; -1: none. */
static PetscInt nearest_population(const CellStoreTable *table, const double *means, PetscInt control, PetscInt perturbation, PetscInt cell_type,
                                   PetscInt batch)
{
  const PetscInt genes = table->gene.count;
  const double  *here = means + (size_t)control * genes;
  PetscInt       nearest = -1;
  double         least = INFINITY;

  for (PetscInt k = 0; k < table->populations; k++) {
    const Population *p = &table->population[k];
    double            square = 0;
    if (p->perturbation != perturbation || !teaches(table, p, perturbation, cell_type, batch)) continue;
    for (PetscInt g = 0; g < genes; g++) {
      const double difference = means[(size_t)p->control * genes + g] - here[g];
      square += difference * difference;
    }
    if (square < least) {
      least = square;
      nearest = k;
    }
  }
  return nearest;
}

/* count cells of a population: without replacement, and once all are used in another random order. */
static PetscErrorCode draw_cells(const CellStore *store, const Population *from, uint64_t seed, uint32_t condition, PetscInt64 count, double *cells)
{
  const PetscInt genes = cellstore_table(store)->gene.count;
  Real          *row;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(genes, &row));
  for (PetscInt64 i = 0; i < count; i++) {
    const RandomStream stream = random_stream(seed, RANDOM_EVALUATE, 1, condition, (uint32_t)(i / from->cells));
    const PetscInt64   cell = from->first_cell + (PetscInt64)random_permuted(&stream, (uint64_t)from->cells, (uint64_t)(i % from->cells));
    PetscCall(cellstore_dense(store, 1, &cell, 1, row, genes));
    for (PetscInt g = 0; g < genes; g++) cells[i * genes + g] = (double)row[g];
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode baseline_predict(CellStore *store, const double *means, BaselineMethod method, PetscInt perturbation, PetscInt cell_type, PetscInt batch,
                                PetscInt64 count, uint64_t seed, double *cells)
{
  const CellStoreTable *table = cellstore_table(store);
  const PetscInt        genes = table->gene.count, control = control_pair(table, cell_type, batch);
  const uint32_t        condition = (uint32_t)((perturbation * table->cell_type.count + cell_type) * table->batch.count + batch);
  PetscInt              from = control, averaged;
  double               *shift;

  PetscFunctionBeginUser;
  if (control < 0 || !table->population[control].cells) {
    return error_user("%s: no control cells for cell type '%s' and batch '%s'", cellstore_path(store), table->cell_type.name[cell_type],
                      table->batch.name[batch]);
  }
  if (method == BASELINE_NEAREST) {
    const PetscInt nearest = nearest_population(table, means, control, perturbation, cell_type, batch);
    if (nearest >= 0) from = nearest;
  }
  PetscCall(draw_cells(store, &table->population[from], seed, condition, count, cells));
  if (method == BASELINE_CONTROL || method == BASELINE_NEAREST) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(genes, &shift));
  if (method == BASELINE_MEAN_SHIFT)
    PetscCall(center_shift(table, means, NULL, perturbation, cell_type, batch, shift, &averaged));
  else
    PetscCall(baseline_additive_shift(table, means, perturbation, cell_type, batch, shift));
  for (PetscInt64 i = 0; i < count; i++)
    for (PetscInt g = 0; g < genes; g++) cells[i * genes + g] = PetscMax(cells[i * genes + g] + shift[g], 0);
  PetscCall(PetscFree(shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}
