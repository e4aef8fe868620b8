/* Time code: waves of the diffusion step through a small MLP (MODEL, "Denoiser"). */
#include "network/layers.h"
#include <math.h>

PetscErrorCode timecode_forward(const TimeCode *t, const Real *parameters, PetscInt sets, const double *step, const TimeCodeSaved *saved, Real *code)
{
  const PetscInt f = t->frequencies, h = t->first.out;

  PetscFunctionBeginUser;
  for (PetscInt set = 0; set < sets; set++) {
    Real *wave = saved->waves + (size_t)(2 * f) * (size_t)set;
    for (PetscInt j = 0; j < f; j++) {
      const double angle = step[set] * exp(-log(10000.) * (double)j / (double)f);
      wave[j]            = (Real)cos(angle);
      wave[f + j]        = (Real)sin(angle);
    }
  }
  PetscCall(linear_forward(&t->first, parameters, sets, saved->waves, 2 * f, DENSE_LINEAR, saved->pre, h, NULL));
  silu_forward((size_t)(sets * h), saved->pre, saved->hidden);
  PetscCall(linear_forward(&t->second, parameters, sets, saved->hidden, h, DENSE_LINEAR, code, h, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode timecode_backward(const TimeCode *t, const Real *parameters, PetscInt sets, const TimeCodeSaved *saved, const Real *d_code, Real *d_hidden, Real *gradients)
{
  const PetscInt f = t->frequencies, h = t->first.out;

  PetscFunctionBeginUser;
  PetscCall(linear_backward(&t->second, parameters, sets, saved->hidden, h, d_code, h, d_hidden, h, gradients));
  silu_backward((size_t)(sets * h), saved->pre, d_hidden);
  PetscCall(linear_backward(&t->first, parameters, sets, saved->waves, 2 * f, d_hidden, h, NULL, 0, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}
