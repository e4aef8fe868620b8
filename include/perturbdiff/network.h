/* Room network: the denoiser (MODEL, "Denoiser"): parameters, layers as forward/backward pairs, the whole network. */
#ifndef PERTURBDIFF_NETWORK_H
#define PERTURBDIFF_NETWORK_H

#include <perturbdiff/runtime/cellexchange.h>
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

/* What the network sees of B sets of S cells; where a set is split over ranks, S here and below is the number of a set's cells on this rank (possibly 0).
   Pointers not owned. */
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

/* What a denoiser is made for. exchange, not owned, NULL: whole sets on this rank; else the ranks of the exchange share the set_size cells of every set, and its
   max_sets and set_size are these. parts: for denoiser_bytes where there is no exchange yet: ranks that will share a set (0 counts as 1). recompute: backward
   repeats each block's forward pass instead of keeping what it computed. */
typedef struct {
  PetscInt      max_sets, set_size;
  CellExchange *exchange;
  PetscInt      parts;
  PetscBool     with_gradient, recompute;
} DenoiserPlan;

/* denoiser_create - all scratch for at most max_sets sets from one arena; with_gradient keeps activations. Not collective.
   denoiser_bytes: what creation will take, before it. */
PetscErrorCode denoiser_create(const ParameterTable *table, const DenoiserPlan *plan, Denoiser **denoiser);
PetscErrorCode denoiser_destroy(Denoiser **denoiser);
size_t         denoiser_bytes(const DenoiserShape *shape, const DenoiserPlan *plan);

typedef PetscErrorCode (*BucketFunction)(void *context, PetscInt bucket);

/* Called during the passes; each may be NULL. need: in every forward pass, before it first reads a bucket's parameters, in ascending order (also with no sets);
   done: backward has completed a bucket's gradients, in descending order (also with no sets); progress: several times a block, to drive communication that is
   under way. */
typedef struct {
  BucketFunction need, done;
  PetscErrorCode (*progress)(void *context);
  void *context;
} DenoiserHooks;

/* denoiser_set_hooks - from now on; a copy is kept; NULL: none. Not collective. */
PetscErrorCode denoiser_set_hooks(Denoiser *denoiser, const DenoiserHooks *hooks);

/* denoiser_forward - clean_estimate (B,S,G) = x0_hat. keep: save what the backward pass needs (needs with_gradient). hidden: if not
   NULL receives (B,S,H), the main stream after the last block. Collective on the exchange (else not), with the same number of sets on all its ranks;
   no allocation. */
PetscErrorCode denoiser_forward(Denoiser *denoiser, const Real *parameters, const DenoiserInput *input, PetscBool keep, Real *clean_estimate, Real *hidden);

/* denoiser_backward - writes the gradients (flat, as parameters) of all parameters but PARAMETER_UNUSED ones, which it leaves alone, for d_estimate (B,S,G) = dL/dx0_hat, after a forward with keep on the
   same input and parameters. Where sets are split the gradients are the part of this rank's cells: their sum over the ranks is the whole. Collective as the
   forward pass, no allocation. */
PetscErrorCode denoiser_backward(Denoiser *denoiser, const Real *parameters, const DenoiserInput *input, const Real *d_estimate, Real *gradients);

/* denoiser_flops - floating-point operations (a multiply-add is two) of one forward pass for a set, on this rank (what the code does, not what the published one does);
   self_condition: with a self-conditioning estimate. Not collective. */
double denoiser_flops(const DenoiserShape *shape, const DenoiserPlan *plan, PetscBool self_condition);

#endif
