/* Room network: the denoiser (MODEL, "Denoiser"): parameters, layers as forward/backward pairs, the whole network. */
#ifndef PERTURBDIFF_NETWORK_H
#define PERTURBDIFF_NETWORK_H

#include <perturbdiff/runtime/real.h>
#include <petscsys.h>
#include <stdint.h>

/* Sizes that fix the parameters. covariate_dim 128 and time_frequencies 128 in the published model. */
typedef struct {
  PetscInt genes, hidden, depth, heads, perturbations, cell_types, batches, covariate_dim, time_frequencies;
} DenoiserShape;

enum {
  PARAMETER_DECAY         = 1, /* AdamW decays it (all but biases) */
  PARAMETER_CONDITIONAL   = 2, /* takes part in conditional steps only */
  PARAMETER_UNCONDITIONAL = 4, /* takes part in unconditional steps only */
  PARAMETER_UNUSED        = 8  /* kept for import and export; never takes part */
};

/* One parameter in the flat array; names as in the public checkpoints. */
typedef struct {
  char     name[96];
  size_t   offset;        /* first element in the flat array */
  PetscInt rows, columns; /* matrices (out,in) row-major; vectors: columns 0 */
  unsigned flags;
  PetscInt bucket; /* 0: embeddings, covariates, time; 1..depth: blocks; depth+1: head. Parameters of a bucket are contiguous. */
} Parameter;

/* All parameters of a shape; values live in flat arrays of `total` elements made by the caller. */
typedef struct {
  DenoiserShape shape;
  PetscInt      count;
  Parameter    *item;
  size_t        total;
} ParameterTable;

/* Not collective. parametertable_find returns NULL where there is no such name. */
PetscErrorCode   parametertable_create(const DenoiserShape *shape, ParameterTable *table);
PetscErrorCode   parametertable_destroy(ParameterTable *table);
const Parameter *parametertable_find(const ParameterTable *table, const char *name);
static inline size_t parameter_size(const Parameter *p) { return (size_t)p->rows * (size_t)(p->columns ? p->columns : 1); }

/* parameters_start - starting values (MODEL, "Start"), equal on all ranks. zero_head: final linear layer starts at zero (centred head). */
PetscErrorCode parameters_start(const ParameterTable *table, uint64_t seed, PetscBool zero_head, Real *values);

/* What the network sees of B sets of S cells. Pointers not owned. */
typedef struct {
  PetscInt             sets;           /* B, at most the maximum given at creation */
  const Real          *noisy;          /* (B,S,G) X_t */
  const Real          *self_condition; /* (B,S,G) X_s, or NULL: zero */
  const Real          *control;        /* (B,S,G) C, or NULL: zero */
  const double        *step;           /* (B) t, need not be whole */
  const PetscInt      *perturbation;   /* (B) index; row index+1 of the embedding, -1: "none" */
  const PetscInt      *cell_type, *batch; /* (B) */
  const unsigned char *dropped;        /* (B) 1: class code is the null vector; NULL: none dropped */
  const Real          *center;         /* (B,S,G) added to the head's output before ReLU, or NULL */
  Real                 strength;       /* factor of the head's output where there is a center; 1 otherwise */
} DenoiserInput;

typedef struct Denoiser Denoiser;

/* denoiser_create - all scratch for at most max_sets sets of set_size cells from one arena; with_gradient keeps activations.
   Not collective. denoiser_bytes: what creation will take, before it. */
PetscErrorCode denoiser_create(const ParameterTable *table, PetscInt max_sets, PetscInt set_size, PetscBool with_gradient, Denoiser **denoiser);
PetscErrorCode denoiser_destroy(Denoiser **denoiser);
size_t         denoiser_bytes(const DenoiserShape *shape, PetscInt max_sets, PetscInt set_size, PetscBool with_gradient);

/* denoiser_forward - clean_estimate (B,S,G) = x0_hat. keep: save what the backward pass needs (needs with_gradient). hidden: if not
   NULL receives (B,S,H), the main stream after the last block. Not collective, no allocation. */
PetscErrorCode denoiser_forward(Denoiser *denoiser, const Real *parameters, const DenoiserInput *input, PetscBool keep, Real *clean_estimate, Real *hidden);

/* Called during the backward pass when the gradients of a bucket are complete. */
typedef PetscErrorCode (*BucketFunction)(void *context, PetscInt bucket);

/* denoiser_backward - adds to gradients (flat, as parameters) for d_estimate (B,S,G) = dL/dx0_hat, after a forward with keep on the
   same input and parameters. done may be NULL. Not collective, no allocation. */
PetscErrorCode denoiser_backward(Denoiser *denoiser, const Real *parameters, const DenoiserInput *input, const Real *d_estimate, Real *gradients, BucketFunction done,
                                 void *context);

/* Multiply-adds x 2 of one forward pass for a set of S cells (what the code does, not what the published one does). */
double denoiser_flops(const DenoiserShape *shape, PetscInt set_size, PetscBool self_condition);

#endif
