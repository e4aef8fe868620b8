/* Genes of one population against its control. */
#include <float.h>
#include <math.h>
#include <perturbdiff/evaluation/contrast.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

/* Counts in offset[gene + 1] become places; values are put there by `put`. */
static PetscErrorCode allocate(SortedGenes *s)
{
  PetscFunctionBeginUser;
  for (PetscInt g = 0; g < s->genes; g++) s->offset[g + 1] += s->offset[g];
  PetscCall(PetscMalloc1(s->offset[s->genes] + 1, &s->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Filling has moved offset[g] to the end of gene g: shift back and sort. */
static void sort_genes(SortedGenes *s)
{
  for (PetscInt g = s->genes; g > 0; g--) s->offset[g] = s->offset[g - 1];
  s->offset[0] = 0;
  for (PetscInt g = 0; g < s->genes; g++) sort_doubles(s->offset[g + 1] - s->offset[g], s->value + s->offset[g]);
}

PetscErrorCode sortedgenes_create(const SparseRows *rows, PetscInt genes, SortedGenes *s)
{
  PetscFunctionBeginUser;
  *s = (SortedGenes){.cells = rows->rows, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &s->offset));
  for (int64_t e = 0; e < rows->offset[rows->rows]; e++) s->offset[rows->column[e] + 1] += sparserows_get(rows, e) > 0;
  PetscCall(allocate(s));
  for (int64_t e = 0; e < rows->offset[rows->rows]; e++)
    if (sparserows_get(rows, e) > 0) s->value[s->offset[rows->column[e]]++] = sparserows_get(rows, e);
  sort_genes(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sortedgenes_of_dense(PetscInt64 cells, const double *rows, PetscInt genes, SortedGenes *s)
{
  const size_t count = (size_t)cells * (size_t)genes, width = (size_t)genes;

  PetscFunctionBeginUser;
  *s = (SortedGenes){.cells = cells, .genes = genes};
  PetscCall(PetscCalloc1(genes + 1, &s->offset));
  for (size_t i = 0; i < count; i++) s->offset[i % width + 1] += rows[i] > 0;
  PetscCall(allocate(s));
  for (size_t i = 0; i < count; i++)
    if (rows[i] > 0) s->value[s->offset[i % width]++] = rows[i];
  sort_genes(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode sortedgenes_destroy(SortedGenes *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(s->offset));
  PetscCall(PetscFree(s->value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static GeneValues values_of(const SortedGenes *s, PetscInt gene)
{
  return (GeneValues){.cells = s->cells, .entries = s->offset[gene + 1] - s->offset[gene], .value = s->value + s->offset[gene]};
}

PetscErrorCode contrast_create(const SortedGenes *population, const SortedGenes *control, GeneContrast *c)
{
  PetscFunctionBeginUser;
  c->genes = population->genes;
  PetscCall(PetscMalloc3(c->genes, &c->p_value, c->genes, &c->fdr, c->genes, &c->score));
  for (PetscInt g = 0; g < c->genes; g++) {
    const GeneValues a = values_of(population, g), b = values_of(control, g);
    double           u;

    rank_sum_test(&a, &b, &u, &c->p_value[g]);
    const double middle = (double)a.cells * (double)b.cells / 2, size = -log10(PetscMax(c->p_value[g], DBL_MIN));
    c->score[g] = u > middle ? size : u < middle ? -size : 0;
  }
  PetscCall(false_discovery_rates(c->genes, c->p_value, NULL, c->fdr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode contrast_destroy(GeneContrast *c)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(c->p_value, c->fdr, c->score));
  PetscFunctionReturn(PETSC_SUCCESS);
}
