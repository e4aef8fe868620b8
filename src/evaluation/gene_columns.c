/* Values of a population gene by gene, sorted. */
#include <omp.h>
#include <perturbdiff/evaluation/genecolumns.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>
#include <string.h>

/* ---- columns ------------------------------------------------------------------------------------------------------------------- */

/* Genes whose ends are written to at a time: their cache lines stay in the first cache. Rows from which on they are shared among threads. */
enum { BLOCK = 256, ROWS_FOR_THREADS = 512 };

/* A thread's rows [begin, end). next (genes): how many values above zero they have of each gene, then where the next of them goes. */
typedef struct {
  PetscInt64 begin, end;
  int64_t   *next, *left; /* left (rows of the part): the entry of each row that is dealt out next */
  PetscBool  ascends;     /* the columns of every row */
} Part;

static void count_part(const SparseRows *rows, PetscInt genes, Part *part)
{
  memset(part->next, 0, (size_t)genes * sizeof *part->next);
  part->ascends = PETSC_TRUE;
  for (PetscInt64 i = part->begin; i < part->end; i++) {
    part->left[i - part->begin] = rows->offset[i];
    for (int64_t e = rows->offset[i], previous = -1; e < rows->offset[i + 1]; e++) {
      part->next[rows->column[e]] += sparserows_get(rows, e) > 0;
      if (rows->column[e] < previous) part->ascends = PETSC_FALSE;
      previous = rows->column[e];
    }
  }
}

/* The values of the part's rows to their genes, a block of these after the other; wide: of both precisions, for which it is compiled. The pieces of rows that a block takes are short: those of a later row
   come from memory meanwhile. */
__attribute__((always_inline)) static inline void deal_out(const SparseRows *rows, PetscInt genes, const Part *part, const PetscBool wide, GeneColumns *columns)
{
  const int32_t *const restrict column = rows->column;
  const float *const restrict   value = rows->value;
  const double *const restrict  exact = rows->wide;
  float *const restrict         to = columns->value;
  double *const restrict        exact_to = columns->wide;
  int64_t *const restrict       next = part->next, *const restrict left = part->left;
  const PetscInt                step = part->ascends ? BLOCK : PetscMax(1, genes);

  for (PetscInt g = 0; g < genes; g += step)
    for (PetscInt64 i = part->begin; i < part->end; i++) {
      const int64_t end = rows->offset[i + 1], later = left[PetscMin(i + 2, part->end - 1) - part->begin];
      const int32_t before = PetscMin(genes, g + step);
      int64_t       e = left[i - part->begin];

      for (int line = 0; line < 2; line++) {
        __builtin_prefetch(column + later + 16 * line);
        __builtin_prefetch(wide ? (const void *)(exact + later + 8 * line) : value + later + 16 * line);
      }
      for (; e < end && column[e] < before; e++)
        if (wide && exact[e] > 0) exact_to[next[column[e]]++] = exact[e];
        else if (!wide && value[e] > 0) to[next[column[e]]++] = value[e];
      left[i - part->begin] = e;
    }
}

static void deal_part(const SparseRows *rows, PetscInt genes, const Part *part, GeneColumns *columns)
{
  if (rows->wide) deal_out(rows, genes, part, PETSC_TRUE, columns);
  else deal_out(rows, genes, part, PETSC_FALSE, columns);
}

/* Counts become places, in each gene those of the parts one after the other, and room for all. */
static PetscErrorCode place_parts(int parts, Part *part, PetscBool wide, GeneColumns *columns)
{
  int64_t end = 0;

  PetscFunctionBeginUser;
  for (PetscInt g = 0; g < columns->genes; g++) {
    for (int t = 0; t < parts; t++) {
      const int64_t count = part[t].next[g];
      part[t].next[g] = end;
      end += count;
    }
    columns->offset[g + 1] = end;
  }
  if (wide) PetscCall(PetscMalloc1(end + 1, &columns->wide));
  else PetscCall(PetscMalloc1(end + 1, &columns->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genecolumns_create(const SparseRows *rows, PetscInt genes, GeneColumns *columns)
{
  const int parts = omp_in_parallel() || rows->rows < ROWS_FOR_THREADS ? 1 : omp_get_max_threads();
  int64_t  *next, *left;
  Part     *part;

  PetscFunctionBeginUser;
  *columns = (GeneColumns){.cells = rows->rows, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &columns->offset));
  PetscCall(PetscMalloc3(parts, &part, (size_t)parts * (size_t)genes, &next, rows->rows, &left));
  for (int t = 0; t < parts; t++) {
    const PetscInt64 begin = rows->rows * t / parts;
    part[t] = (Part){.begin = begin, .end = rows->rows * (t + 1) / parts, .next = next + (size_t)t * (size_t)genes, .left = left + begin};
  }
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int t = 0; t < parts; t++) count_part(rows, genes, &part[t]);
  PetscCall(place_parts(parts, part, rows->wide ? PETSC_TRUE : PETSC_FALSE, columns));
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int t = 0; t < parts; t++) deal_part(rows, genes, &part[t], columns);
  PetscCall(PetscFree3(part, next, left));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values above zero of each gene, added to count (genes); are all in single precision? */
VECTOR_CLONES static PetscBool count_dense(PetscInt64 cells, const double *restrict rows, PetscInt genes, int64_t *restrict count)
{
  int64_t wide = 0;

  for (PetscInt64 i = 0; i < cells; i++)
    for (PetscInt g = 0; g < genes; g++) {
      const double value = rows[i * genes + g];
      count[g] += value > 0;
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
  PetscCall(PetscCalloc2(genes, &next, genes, &found));
  const PetscBool wide = count_dense(cells, rows, genes, next) ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(place_parts(1, &(Part){.next = next}, wide, columns));
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
  PetscCall(PetscFree2(next, found));
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
