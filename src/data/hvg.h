/* Highly variable genes as scanpy's flavour 'seurat' chooses them (Satija et al. 2015, doi:10.1038/nbt.3192). */
#ifndef DATA_HVG_H
#define DATA_HVG_H

#include <petscsys.h>
#include <stdint.h>

/* hvg_select - mark the genes with the highest normalised dispersion; ties at the cut are all taken.
   mean, variance (genes): of the scaled counts (not log values), variance with n - 1. Out, each (genes): log_mean log(1 + mean),
   dispersion log(variance / mean), NaN where a gene does not vary, chosen 0 or 1; selected: their number. Not collective, no errors but memory. */
PetscErrorCode hvg_select(PetscInt genes, const double *mean, const double *variance, PetscInt wanted, double *log_mean, double *dispersion, int32_t *chosen, PetscInt *selected);

#endif
