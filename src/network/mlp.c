/* The MLP of a stream: H -> 4H -> H with tanh-GELU (MODEL, "Denoiser"). */
#include "network/layers.h"

PetscErrorCode mlp_forward(const Mlp *mlp, const Real *parameters, PetscInt rows, const Real *x, const MlpSaved *saved, PetscBool keep, Real *y)
{
  const PetscInt h = mlp->fc1.in, wide = mlp->fc1.out;

  PetscFunctionBeginUser;
  PetscCall(linear_forward(&mlp->fc1, parameters, rows, x, h, DENSE_GELU, saved->hidden, wide, keep ? saved->pre : NULL));
  PetscCall(linear_forward(&mlp->fc2, parameters, rows, saved->hidden, wide, DENSE_LINEAR, y, h, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode mlp_backward(const Mlp *mlp, const Real *parameters, PetscInt rows, const Real *x, const MlpSaved *saved, const Real *dy, Real *d_hidden, Real *dx, Real *gradients)
{
  const PetscInt h = mlp->fc1.in, wide = mlp->fc1.out;

  PetscFunctionBeginUser;
  PetscCall(linear_backward(&mlp->fc2, parameters, rows, saved->hidden, wide, dy, h, d_hidden, wide, gradients));
  dense_gelu_backward((size_t)rows * (size_t)wide, saved->pre, d_hidden);
  PetscCall(linear_backward(&mlp->fc1, parameters, rows, x, h, d_hidden, wide, dx, h, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}
