/* Values of a population gene by gene, sorted. */
#include <perturbdiff/evaluation/genecolumns.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

/* ---- columns ------------------------------------------------------------------------------------------------------------------- */

/* Counts in offset[gene + 1] become places; next (genes): where the first value of each gene goes. */
static PetscErrorCode make_room(GeneColumns *columns, PetscBool wide, int64_t **next)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(columns->genes, next));
  for (PetscInt g = 0; g < columns->genes; g++) {
    (*next)[g] = columns->offset[g];
    columns->offset[g + 1] += columns->offset[g];
  }
  if (wide) PetscCall(PetscMalloc1(columns->offset[columns->genes] + 1, &columns->wide));
  else PetscCall(PetscMalloc1(columns->offset[columns->genes] + 1, &columns->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Genes whose ends are written to at a time: their cache lines stay in the first cache. */
enum { BLOCK = 256 };

/* Values above zero of each gene, counted in offset[gene + 1]; do the columns of all rows ascend? */
static PetscBool count_sparse(const SparseRows *rows, int64_t *offset)
{
  PetscBool ascend = PETSC_TRUE;

  for (PetscInt64 i = 0; i < rows->rows; i++)
    for (int64_t e = rows->offset[i], previous = -1; e < rows->offset[i + 1]; e++) {
      offset[rows->column[e] + 1] += sparserows_get(rows, e) > 0;
      if (rows->column[e] < previous) ascend = PETSC_FALSE;
      previous = rows->column[e];
    }
  return ascend;
}

/* The values of a row from entry e on whose columns are below `before`; the entry after them. */
static inline int64_t deal_out(const SparseRows *rows, int64_t e, int64_t end, PetscInt before, int64_t *next, GeneColumns *columns)
{
  for (; e < end && rows->column[e] < before; e++) {
    if (!(sparserows_get(rows, e) > 0)) continue;
    const int64_t at = next[rows->column[e]]++;
    if (rows->wide) columns->wide[at] = rows->wide[e];
    else columns->value[at] = rows->value[e];
  }
  return e;
}

PetscErrorCode genecolumns_create(const SparseRows *rows, PetscInt genes, GeneColumns *columns)
{
  int64_t *next, *left;

  PetscFunctionBeginUser;
  *columns = (GeneColumns){.cells = rows->rows, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &columns->offset));
  const PetscInt step = count_sparse(rows, columns->offset) ? BLOCK : PetscMax(1, genes);
  PetscCall(make_room(columns, rows->wide ? PETSC_TRUE : PETSC_FALSE, &next));
  PetscCall(PetscMalloc1(rows->rows + 1, &left));
  PetscCall(PetscArraycpy(left, rows->offset, rows->rows + 1));
  for (PetscInt g = 0; g < genes; g += step)
    for (PetscInt64 i = 0; i < rows->rows; i++) left[i] = deal_out(rows, left[i], rows->offset[i + 1], PetscMin(genes, g + step), next, columns);
  PetscCall(PetscFree(left));
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values above zero of each gene, counted in offset[gene + 1]; are all in single precision? */
VECTOR_CLONES static PetscBool count_dense(PetscInt64 cells, const double *restrict rows, PetscInt genes, int64_t *restrict offset)
{
  int64_t wide = 0;

  for (PetscInt64 i = 0; i < cells; i++)
    for (PetscInt g = 0; g < genes; g++) {
      const double value = rows[i * genes + g];
      offset[g + 1] += value > 0;
      wide += value != (double)(float)value;
    }
  return wide ? PETSC_FALSE : PETSC_TRUE;
}

PetscErrorCode genecolumns_of_dense(PetscInt64 cells, const double *rows, PetscInt genes, GeneColumns *columns)
{
  int64_t  *next;
  PetscInt *found;

  PetscFunctionBeginUser;
  *columns = (GeneColumns){.cells = cells, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &columns->offset));
  PetscCall(make_room(columns, count_dense(cells, rows, genes, columns->offset) ? PETSC_FALSE : PETSC_TRUE, &next));
  PetscCall(PetscMalloc1(genes, &found));
  for (PetscInt64 i = 0; i < cells; i++, rows += genes) {
    PetscInt count = 0;

    for (PetscInt g = 0; g < genes; g++) {
      found[count] = g;
      count += rows[g] > 0;
    }
    for (PetscInt k = 0; k < count; k++) {
      const int64_t at = next[found[k]]++;
      if (columns->wide) columns->wide[at] = rows[found[k]];
      else columns->value[at] = (float)rows[found[k]];
    }
  }
  PetscCall(PetscFree(found));
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genecolumns_destroy(GeneColumns *columns)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(columns->offset));
  PetscCall(PetscFree(columns->value));
  PetscCall(PetscFree(columns->wide));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- sorting ------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode genecolumns_sort(GeneColumns *columns, PetscInt first, PetscInt end)
{
  PetscFunctionBeginUser;
  if (columns->wide) PetscCall(sort_double_lists(end - first, columns->offset + first, columns->wide));
  else PetscCall(sort_float_lists(end - first, columns->offset + first, columns->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- runs ---------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode generuns_create(const GeneColumns *sorted, GeneRuns *runs)
{
  const PetscInt genes = sorted->genes;

  PetscFunctionBeginUser;
  PetscCheck(sorted->cells <= INT32_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%lld cells of a control", (long long)sorted->cells);
  *runs = (GeneRuns){.cells = sorted->cells, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &runs->offset));
  PetscCall(PetscCalloc1(genes, &runs->ties));
#pragma omp parallel for schedule(static)
  for (PetscInt g = 0; g < genes; g++)
    for (int64_t e = sorted->offset[g]; e < sorted->offset[g + 1]; e++)
      runs->offset[g + 1] += e == sorted->offset[g] || genecolumns_get(sorted, e) != genecolumns_get(sorted, e - 1);
  for (PetscInt g = 0; g < genes; g++) runs->offset[g + 1] += runs->offset[g];
  PetscCall(PetscMalloc1(runs->offset[genes] + 1, &runs->value));
  PetscCall(PetscMalloc1(runs->offset[genes] + 1, &runs->upto));
#pragma omp parallel for schedule(static)
  for (PetscInt g = 0; g < genes; g++) {
    const int64_t begin = sorted->offset[g], end = sorted->offset[g + 1];
    int64_t       at = runs->offset[g];

    for (int64_t e = begin, next; e < end; e = next) {
      const double value = genecolumns_get(sorted, e);
      for (next = e + 1; next < end && genecolumns_get(sorted, next) == value;) next++;
      const double t = (double)(next - e);
      runs->value[at] = value;
      runs->upto[at++] = (int32_t)(next - begin);
      runs->ties[g] += t * t * t - t;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode generuns_destroy(GeneRuns *runs)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(runs->offset));
  PetscCall(PetscFree(runs->value));
  PetscCall(PetscFree(runs->upto));
  PetscCall(PetscFree(runs->ties));
  PetscFunctionReturn(PETSC_SUCCESS);
}
