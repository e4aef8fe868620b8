/* The centre of a head that predicts a change: what training and sampling add to the network's output. */
#ifndef PERTURBDIFF_DATA_CENTER_H
#define PERTURBDIFF_DATA_CENTER_H

#include <perturbdiff/data/cellstore.h>

/* What the head's output is added to (x0_hat = ReLU(center + strength * head)); NONE is the published model. */
typedef enum { CENTER_NONE, CENTER_CONTROL, CENTER_SHIFT } CenterKind;

/* center_fill - center (S,G), log1p/value_scale, of a set: control cells, plus the mean shift of the condition for CENTER_SHIFT
   (shift: (G) from center_shift, in log1p units; NULL for CENTER_CONTROL). */
void center_fill(PetscInt set_size, PetscInt genes, const Real *control, const double *shift, double value_scale, Real *center);
/* center_shift - mean change (perturbed minus paired control mean) of the perturbation over training populations of other cell types (over all other
   training populations where there are none), log1p units; zero for the control label. use: populations that may contribute (NULL: split train).
   means from cellstore_means. Not collective. Returns the number of populations averaged in count. */
PetscErrorCode center_shift(const CellStoreTable *table, const double *means, const unsigned char *use, PetscInt perturbation, PetscInt cell_type, PetscInt batch, double *shift,
                            PetscInt *count);

#endif
