/* The centre of a head that predicts a change: control cells, or control cells plus the mean shift of the condition. */
#include <perturbdiff/data/center.h>
#include <perturbdiff/runtime/error.h>

void center_fill(PetscInt set_size, PetscInt genes, const Real *control, const double *shift, double value_scale, Real *center)
{
  for (PetscInt s = 0; s < set_size; s++) {
    const size_t row = (size_t)s * (size_t)genes;
    for (PetscInt g = 0; g < genes; g++) center[row + (size_t)g] = control[row + (size_t)g] + (shift ? (Real)(shift[g] / value_scale) : 0);
  }
}

PetscErrorCode center_shift(const CellStoreTable *table, const double *means, const unsigned char *use, PetscInt perturbation, PetscInt cell_type, PetscInt batch, double *shift,
                            PetscInt *count)
{
  const PetscInt genes = table->gene.count;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(shift, genes));
  *count = 0;
  if (perturbation == table->control) PetscFunctionReturn(PETSC_SUCCESS);
  /* First other cell types only: what a cell type held out of training will be given. Then any other population. */
  for (int any = 0; any < 2 && !*count; any++) {
    for (PetscInt k = 0; k < table->populations; k++) {
      const Population *p = &table->population[k];

      if (p->perturbation != perturbation || p->control < 0 || !p->cells) continue;
      if (use ? !use[k] : p->split != SPLIT_TRAIN) continue;
      if (p->cell_type == cell_type && (!any || p->batch == batch)) continue;
      const double *treated = means + (size_t)k * (size_t)genes, *control = means + (size_t)p->control * (size_t)genes;
      for (PetscInt g = 0; g < genes; g++) shift[g] += treated[g] - control[g];
      ++*count;
    }
  }
  for (PetscInt g = 0; *count && g < genes; g++) shift[g] /= *count;
  PetscFunctionReturn(PETSC_SUCCESS);
}
