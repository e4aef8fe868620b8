/* Kernels k(x,y) between two cells, functions of |x-y|^2, |x|^2 and |y|^2 (HILBERT, "Kernels"). */
#ifndef PERTURBDIFF_HILBERT_KERNEL_H
#define PERTURBDIFF_HILBERT_KERNEL_H

#include <perturbdiff/hilbert/features.h>

typedef enum {
  KERNEL_ENERGY,               /* (|x| + |y| - |x-y|) / 2: its MMD^2 is half the energy distance (Sejdinovic et al. 2013, arXiv 1207.6076) */
  KERNEL_GAUSSIAN,             /* exp(-|x-y|^2 / (2 h^2)) */
  KERNEL_INVERSE_MULTIQUADRIC, /* (1 + |x-y|^2 / h^2)^(-1/2) */
  KERNEL_LAPLACE,              /* exp(-|x-y| / h) */
  KERNEL_LINEAR,               /* x.y */
  KERNEL_DISTANCE,             /* |x-y|, no kernel but what energy distances are made of */
  KERNELS
} KernelKind;

/* Names as users type them, in the order of KernelKind; those a user may choose end before KERNEL_DISTANCE. */
extern const char *const kernel_name[KERNELS];

enum { KERNEL_BANDWIDTHS = 16 };

/* A kernel with bandwidths is the mean of the kernels of each bandwidth h. */
typedef struct {
  KernelKind kind;
  PetscInt   bandwidths; /* 0 for energy, linear, distance */
  double     bandwidth[KERNEL_BANDWIDTHS];
} Kernel;

/* Does the kind have a bandwidth? */
PetscBool kernel_has_bandwidth(KernelKind kind);

/* kernel_apply - value[j] = k of a cell x with |x|^2 = square_x and count cells y: distance[j] = |x-y_j|^2, square_y[j] = |y_j|^2 (read for energy and linear
   only, else may be NULL). value may be distance. kernel_sum: the sum of these values. Not collective, thread-safe. Relative error 1e-14. */
void   kernel_apply(const Kernel *kernel, PetscInt count, double square_x, const double *square_y, const double *distance, double *value);
double kernel_sum(const Kernel *kernel, PetscInt count, double square_x, const double *square_y, const double *distance);
/* k(x,x) for |x|^2 = square. */
double kernel_self(const Kernel *kernel, double square);

/* kernel_median_bandwidths - h = factor * the median distance between `sample` cells drawn from all groups (keyed by seed, never by rank), for factors 1/4, 1/2, 1, 2, 4.
   median: where not NULL. Collective on comm. User error: half the pairs have distance 0. */
PetscErrorCode kernel_median_bandwidths(MPI_Comm comm, PetscInt groups, const CellGroup *group, PetscInt sample, uint64_t seed, Kernel *kernel, double *median);

#endif
