/* Witness function of two populations: w(x) = mean of k(x, treated) - mean of k(x, control), large where treated cells are over-represented (Gretton et al. 2012, JMLR 13, section 2.3;
   HILBERT, "What embed computes", 5), and its gradient: along which genes the treated cells differ. */
#ifndef PERTURBDIFF_HILBERT_WITNESS_H
#define PERTURBDIFF_HILBERT_WITNESS_H

#include <perturbdiff/hilbert/pairs.h>

/* witness - value (n + m): w at the cells of the treated groups, then of the control groups, laid end to end; NULL where not wanted. gradient (dimension): mean gradient of w over the
   treated cells and over the control cells, half of each. Collective on comm, whose ranks share the pairs of cells and all get the result (the
   same to rounding on any number of them); all ranks give the same groups. Memory: witness_bytes. User errors as features_rows, agreed on. */
PetscErrorCode witness(MPI_Comm comm, const Kernel *kernel, PetscInt treated_groups, const CellGroup *treated, PetscInt control_groups, const CellGroup *control, double *value, double *gradient);
double         witness_bytes(PetscInt64 cells, PetscInt dimension);

#endif
