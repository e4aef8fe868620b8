/* Class code: the covariates of a set, or the null vector where conditions are dropped (MODEL, "Denoiser"). Only sets that keep their
   conditions go through the products, packed one after another. */
#include "network/layers.h"

/* Row of an embedding of each covariate of a set, in the flat parameter array. */
static PetscErrorCode covariate_rows(const ClassCode *c, const DenoiserInput *input, PetscInt set, size_t row[3])
{
  const PetscInt p = input->perturbation[set], t = input->cell_type[set], b = input->batch[set];
  const size_t   n = (size_t)c->covariate_dim;

  PetscFunctionBeginUser;
  PetscCheck(p >= -1 && p < c->perturbations && t >= 0 && t < c->cell_types && b >= 0 && b < c->batches, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "set %" PetscInt_FMT ": perturbation %" PetscInt_FMT ", cell type %" PetscInt_FMT ", batch %" PetscInt_FMT " out of range", set, p, t, b);
  row[0] = c->perturbation + (size_t)(p + 1) * n;
  row[1] = c->cell_type + (size_t)t * n;
  row[2] = c->batch + (size_t)b * n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode classcode_forward(const ClassCode *c, const Real *parameters, const DenoiserInput *input, ClassCodeSaved *saved, Real *code)
{
  const PetscInt h = c->embed.out, g = c->embed.in, n = c->covariate_dim;
  PetscInt       kept = 0;

  PetscFunctionBeginUser;
  for (PetscInt set = 0; set < input->sets; set++) {
    if (input->dropped && input->dropped[set]) {
      for (PetscInt j = 0; j < h; j++) code[set * h + j] += parameters[c->null_vector + (size_t)j];
    } else {
      size_t row[3];
      PetscCall(covariate_rows(c, input, set, row));
      for (int i = 0; i < 3; i++) PetscCall(PetscArraycpy(saved->embeddings + (size_t)((3 * kept + i) * n), parameters + row[i], (size_t)n));
      saved->kept[kept++] = set;
    }
  }
  saved->kept_count = kept;
  if (!kept) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(linear_forward(&c->transform, parameters, kept, saved->embeddings, 3 * n, DENSE_LINEAR, saved->pre, g, NULL));
  silu_forward((size_t)kept * (size_t)g, saved->pre, saved->active);
  PetscCall(linear_forward(&c->embed, parameters, kept, saved->active, g, DENSE_LINEAR, saved->code, h, NULL));
  for (PetscInt i = 0; i < kept; i++)
    for (PetscInt j = 0; j < h; j++) code[saved->kept[i] * h + j] += saved->code[i * h + j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What took no part has gradient zero. */
static PetscErrorCode zero_gradients(const ClassCode *c, Real *gradients)
{
  const Linear *const linear[] = {&c->transform, &c->embed};

  PetscFunctionBeginUser;
  for (int i = 0; i < 2; i++) {
    PetscCall(PetscArrayzero(gradients + linear[i]->weight, (size_t)linear[i]->out * (size_t)linear[i]->in));
    PetscCall(PetscArrayzero(gradients + linear[i]->bias, (size_t)linear[i]->out));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode classcode_backward(const ClassCode *c, const Real *parameters, const DenoiserInput *input, ClassCodeSaved *saved, const Real *d_code, Real *gradients)
{
  const PetscInt h = c->embed.out, g = c->embed.in, n = c->covariate_dim, kept = saved->kept_count;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(gradients + c->null_vector, (size_t)h));
  PetscCall(PetscArrayzero(gradients + c->perturbation, (size_t)(c->perturbations + 1) * (size_t)n));
  PetscCall(PetscArrayzero(gradients + c->cell_type, (size_t)c->cell_types * (size_t)n));
  PetscCall(PetscArrayzero(gradients + c->batch, (size_t)c->batches * (size_t)n));
  for (PetscInt set = 0; set < input->sets; set++)
    if (input->dropped && input->dropped[set])
      for (PetscInt j = 0; j < h; j++) gradients[c->null_vector + (size_t)j] += d_code[set * h + j];
  if (!kept) {
    PetscCall(zero_gradients(c, gradients));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < kept; i++) PetscCall(PetscArraycpy(saved->code + i * h, d_code + saved->kept[i] * h, (size_t)h));
  PetscCall(linear_backward(&c->embed, parameters, kept, saved->active, g, saved->code, h, saved->d_pre, g, gradients));
  silu_backward((size_t)kept * (size_t)g, saved->pre, saved->d_pre);
  PetscCall(linear_backward(&c->transform, parameters, kept, saved->embeddings, 3 * n, saved->d_pre, g, saved->d_embeddings, 3 * n, gradients));
  for (PetscInt i = 0; i < kept; i++) {
    size_t row[3];
    PetscCall(covariate_rows(c, input, saved->kept[i], row));
    for (int part = 0; part < 3; part++)
      for (PetscInt j = 0; j < n; j++) gradients[row[part] + (size_t)j] += saved->d_embeddings[(3 * i + part) * n + j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
