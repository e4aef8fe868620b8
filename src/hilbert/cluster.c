/* Average linkage: the two nearest clusters merge, their distances to the others are the means weighted by size. */
#include <perturbdiff/hilbert/cluster.h>
#include <math.h>
#include <perturbdiff/runtime/error.h>

typedef struct {
  PetscInt n;
  double  *distance;
  PetscInt *nearest; /* of each cluster among those with a larger index, -1: none */
  PetscInt *size;    /* 0: merged into another */
  PetscInt *name;    /* of the tree's node; leaves 0..n-1, merges n, n+1, ... */
  PetscInt *child;   /* (n - 1, 2) */
} Clusters;

static void find_nearest(Clusters *c, PetscInt i)
{
  c->nearest[i] = -1;
  for (PetscInt j = i + 1; j < c->n; j++)
    if (c->size[j] && (c->nearest[i] < 0 || c->distance[(size_t)i * (size_t)c->n + (size_t)j] < c->distance[(size_t)i * (size_t)c->n + (size_t)c->nearest[i]])) c->nearest[i] = j;
}

/* Clusters i < j become cluster j. */
static void merge(Clusters *c, PetscInt i, PetscInt j)
{
  const size_t n = (size_t)c->n;
  const double si = (double)c->size[i], sj = (double)c->size[j];

  for (PetscInt k = 0; k < c->n; k++) {
    if (!c->size[k] || k == i || k == j) continue;
    const double mean = (si * c->distance[(size_t)i * n + (size_t)k] + sj * c->distance[(size_t)j * n + (size_t)k]) / (si + sj);
    c->distance[(size_t)j * n + (size_t)k] = c->distance[(size_t)k * n + (size_t)j] = mean;
  }
  c->size[j] += c->size[i];
  c->size[i] = 0;
  for (PetscInt k = 0; k < j; k++) {
    if (!c->size[k]) continue;
    if (c->nearest[k] == i || c->nearest[k] == j) find_nearest(c, k);
    else if (c->nearest[k] < 0 || c->distance[(size_t)k * n + (size_t)j] < c->distance[(size_t)k * n + (size_t)c->nearest[k]]) c->nearest[k] = j;
  }
  find_nearest(c, j);
}

PetscErrorCode cluster_average(PetscInt n, double *distance, PetscInt *order, double *height)
{
  Clusters  c = {.n = n, .distance = distance};
  PetscInt *stack, depth = 0, leaves = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5(n, &c.nearest, n, &c.size, n, &c.name, 2 * n, &c.child, 2 * n, &stack));
  for (PetscInt i = 0; i < n; i++) {
    c.size[i] = 1;
    c.name[i] = i;
  }
  for (PetscInt i = 0; i < n; i++) find_nearest(&c, i);
  for (PetscInt step = 0; step < n - 1; step++) {
    PetscInt best = -1;
    double   least = INFINITY;
    for (PetscInt i = 0; i < n; i++)
      if (c.size[i] && c.nearest[i] >= 0 && distance[(size_t)i * (size_t)n + (size_t)c.nearest[i]] < least) {
        best  = i;
        least = distance[(size_t)i * (size_t)n + (size_t)c.nearest[i]];
      }
    PetscCheck(best >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Distances to cluster by are not finite");
    const PetscInt other = c.nearest[best];
    c.child[2 * step]     = PetscMin(c.name[best], c.name[other]);
    c.child[2 * step + 1] = PetscMax(c.name[best], c.name[other]);
    if (height) height[step] = least;
    merge(&c, best, other);
    c.name[other] = n + step;
  }
  /* Leaves from left to right. */
  stack[depth++] = n > 1 ? 2 * n - 2 : 0;
  while (depth) {
    const PetscInt node = stack[--depth];
    if (node < n) order[leaves++] = node;
    else {
      stack[depth++] = c.child[2 * (node - n) + 1];
      stack[depth++] = c.child[2 * (node - n)];
    }
  }
  PetscCall(PetscFree5(c.nearest, c.size, c.name, c.child, stack));
  PetscFunctionReturn(PETSC_SUCCESS);
}
