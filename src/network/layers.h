/* Layers of the denoiser as forward/backward pairs (internal to the room). Rows are the cells of all sets of a batch, set after set;
   what depends on the conditions alone has one row a set. Nothing here allocates. Gradients of parameters are written. */
#ifndef NETWORK_LAYERS_H
#define NETWORK_LAYERS_H

#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>

/* Under LN and RMSNorm roots (MODEL, "Denoiser"). */
#define NORM_EPSILON ((Real)1e-6)
/* Below this many elements a loop is not worth a second thread. */
#define PARALLEL_ELEMENTS 16384

/* What a pass works on: of every set the cells of this rank. */
typedef struct {
  PetscInt             sets, cells, set_size; /* B; cells of each set on this rank; on all ranks that share it */
  CellExchange        *exchange;              /* NULL: cells is set_size */
  const DenoiserHooks *hooks;
} Batch;

/* Between layers: drive what communication is under way. */
static inline PetscErrorCode batch_progress(const Batch *batch)
{
  if (batch->exchange) PetscCallMPI(cellexchange_progress(batch->exchange));
  return batch->hooks->progress ? batch->hooks->progress(batch->hooks->context) : PETSC_SUCCESS;
}

/* A linear layer in the flat parameter array: y = x W' + b, W (out,in) with row stride `stride`. */
typedef struct {
  PetscInt in, out, stride;
  size_t   weight, bias;
} Linear;

PetscErrorCode linear_find(const ParameterTable *table, const char *prefix, Linear *linear);

/* y (rows,out), row strides ldx, ldy. pre (rows,out): see dense_linear_forward. */
static inline PetscErrorCode linear_forward(const Linear *l, const Real *parameters, PetscInt rows, const Real *x, PetscInt ldx, DenseActivation activation, Real *y,
                                            PetscInt ldy, Real *pre)
{
  return dense_linear_forward(rows, l->in, l->out, x, ldx, parameters + l->weight, l->stride, parameters + l->bias, activation, PETSC_FALSE, y, ldy, pre);
}

/* dx (rows,in) = dy W unless NULL; gradients of W and b written. */
static inline PetscErrorCode linear_backward(const Linear *l, const Real *parameters, PetscInt rows, const Real *x, PetscInt ldx, const Real *dy, PetscInt lddy, Real *dx,
                                             PetscInt lddx, Real *gradients)
{
  return dense_linear_backward(rows, l->in, l->out, x, ldx, parameters + l->weight, l->stride, dy, lddy, PETSC_FALSE, dx, lddx, gradients + l->weight, l->stride,
                               gradients + l->bias);
}

/* y = silu(x) = x / (1 + exp(-x)); d *= silu'(x). */
void silu_forward(size_t n, const Real *x, Real *y);
void silu_backward(size_t n, const Real *x, Real *d);

/* One modulation p*(1+scale)+shift of normalised rows; shift, scale and their gradients (sets, width) with row stride `stride`. */
typedef struct {
  const Real *shift, *scale;
  Real       *d_shift, *d_scale; /* backward: written, not added to */
  PetscInt    stride;
  Real       *rows; /* forward: result (rows,width); backward: its gradient, used as scratch */
  PetscInt    row_stride;
} Modulation;

/* normalized = LN(x) without affine part, inverse = 1/sqrt(var + eps) (rows); each of `count` modulations of it. x, normalized (sets*set_size, width). */
void norm_forward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *x, Real *normalized, Real *inverse, PetscInt count, const Modulation *modulation);
/* dx (rows,width): gradient of x, added if accumulate, else written. */
void norm_backward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *normalized, const Real *inverse, PetscInt count, const Modulation *modulation,
                   PetscBool accumulate, Real *dx);

/* x += gate_a * a + gate_m * m. Gates (sets,width) with row stride `stride`, a with row stride lda, x and m (rows,width). */
void gates_forward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *gate_a, const Real *gate_m, PetscInt stride, const Real *a, PetscInt lda, const Real *m, Real *x);
/* From dx: da, dm (written), d_gate_a, d_gate_m (written, stride as the gates). */
void gates_backward(PetscInt sets, PetscInt set_size, PetscInt width, const Real *gate_a, const Real *gate_m, PetscInt stride, const Real *a, PetscInt lda, const Real *m,
                    const Real *dx, Real *da, PetscInt ldda, Real *dm, Real *d_gate_a, Real *d_gate_m);

/* H -> 4H -> H with tanh-GELU. */
typedef struct {
  Linear fc1, fc2;
} Mlp;

/* What the MLP keeps: argument and value of GELU (rows,4H). */
typedef struct {
  Real *pre, *hidden;
} MlpSaved;

PetscErrorCode mlp_forward(const Mlp *mlp, const Real *parameters, PetscInt rows, const Real *x, const MlpSaved *saved, PetscBool keep, Real *y);
/* d_hidden (rows,4H): scratch. dx (rows,H) written. */
PetscErrorCode mlp_backward(const Mlp *mlp, const Real *parameters, PetscInt rows, const Real *x, const MlpSaved *saved, const Real *dy, Real *d_hidden, Real *dx, Real *gradients);

/* Attention over the cells of each set, width W = 2H, heads A of width W/A, RMSNorm on q and k per head. */
typedef struct {
  PetscInt heads;
  Linear   qkv, proj; /* proj.out may be the first part of W: the rest of its rows has no effect in the last block */
  size_t   q_norm, k_norm;
} Attention;

typedef struct {
  Real *qkv;         /* (rows,3W) before the norms; rows q, k, v */
  Real *qk;          /* (rows,2W) q and k after the norms */
  Real *inverse;     /* (rows,2A) 1/rms of each head of q and k */
  Real *keys, *values; /* (sets,S,W) of all cells of split sets; unused otherwise */
  Real *probability; /* (sets,A,cells,S): this rank's cells look at all of the set */
  Real *mixed;       /* (rows,W) probability v */
} AttentionSaved;

/* Scratch of the backward pass: d_mixed (rows,W), d_qkv (rows,3W), d_score (A,cells,S), d_weight (pieces,2W/A), of split sets d_keys and d_values (sets,S,W). */
typedef struct {
  Real *d_mixed, *d_qkv, *d_score, *d_weight, *d_keys, *d_values;
} AttentionScratch;

/* Rows of one piece of the sums over rows whose order must not depend on the number of threads. */
#define PIECE_ROWS 32

/* z (rows,W) -> y (rows, proj.out) with row stride ldy. begin: queries, keys and values, and the gathering of those of split sets starts; end: the rest. What does not
   depend on the result is best done between the two. */
PetscErrorCode attention_forward_begin(const Attention *a, const Real *parameters, const Batch *batch, const Real *z, const AttentionSaved *saved);
PetscErrorCode attention_forward_end(const Attention *a, const Real *parameters, const Batch *batch, const AttentionSaved *saved, Real *y, PetscInt ldy);
/* dz (rows,W) written. begin: gradients of queries, keys and values; those of split sets start on their way to their owners; end: the rest. */
PetscErrorCode attention_backward_begin(const Attention *a, const Real *parameters, const Batch *batch, const AttentionSaved *saved, const AttentionScratch *scratch,
                                        const Real *dy, PetscInt lddy, Real *gradients);
PetscErrorCode attention_backward_end(const Attention *a, const Real *parameters, const Batch *batch, const Real *z, const AttentionSaved *saved,
                                      const AttentionScratch *scratch, Real *dz, Real *gradients);

/* Time code: [cos(t f); sin(t f)] -> H -> SiLU -> H. */
typedef struct {
  PetscInt frequencies;
  Linear   first, second;
} TimeCode;

typedef struct {
  Real *waves;          /* (sets,2F) */
  Real *pre, *hidden;   /* (sets,H) */
} TimeCodeSaved;

PetscErrorCode timecode_forward(const TimeCode *t, const Real *parameters, PetscInt sets, const double *step, const TimeCodeSaved *saved, Real *code);
/* d_hidden (sets,H): scratch. */
PetscErrorCode timecode_backward(const TimeCode *t, const Real *parameters, PetscInt sets, const TimeCodeSaved *saved, const Real *d_code, Real *d_hidden, Real *gradients);

/* Class code: embeddings of perturbation, cell type and batch -> G -> SiLU -> H; the null vector for dropped sets. */
typedef struct {
  PetscInt covariate_dim, perturbations, cell_types, batches;
  size_t   perturbation, cell_type, batch, null_vector;
  Linear   transform, embed;
} ClassCode;

typedef struct {
  PetscInt *kept;          /* the sets that are not dropped */
  PetscInt  kept_count;
  Real     *embeddings;    /* (kept,3 covariate_dim) */
  Real     *pre, *active;  /* (kept,G) e and SiLU(e) */
  Real     *code;          /* (kept,H); its gradient in the backward pass */
  Real     *d_pre;         /* (kept,G) scratch of the backward pass */
  Real     *d_embeddings;  /* (kept,3 covariate_dim) scratch of the backward pass */
} ClassCodeSaved;

/* code (sets,H) += class code. Indices out of range are program errors. */
PetscErrorCode classcode_forward(const ClassCode *c, const Real *parameters, const DenoiserInput *input, ClassCodeSaved *saved, Real *code);
PetscErrorCode classcode_backward(const ClassCode *c, const Real *parameters, const DenoiserInput *input, ClassCodeSaved *saved, const Real *d_code, Real *gradients);

/* One MM-DiT block: two streams (0: noisy cells, 1: control cells) that meet in attention. */
typedef struct {
  PetscInt  hidden;
  PetscBool last; /* the control stream ends before its update */
  Linear    modulation[2];
  Attention attention;
  Mlp       mlp[2];
} Block;

typedef struct {
  Real          *modulation[2];  /* (sets,6H): shift, scale, gate of attention, then of the MLP */
  Real          *normalized[2];  /* (rows,H) */
  Real          *inverse[2];     /* (rows) */
  Real          *tokens;         /* (rows,2H) attention's input */
  AttentionSaved attention;
  Real          *attended;       /* (rows,2H) attention's output */
  Real          *mlp_input[2];   /* (rows,H) */
  MlpSaved       mlp[2];
  Real          *mlp_output[2];  /* (rows,H) */
} BlockSaved;

typedef struct {
  AttentionScratch attention;
  Real            *d_attended;   /* (rows,2H) */
  Real            *d_tokens;     /* (rows,2H) */
  Real            *d_hidden;     /* (rows,4H) */
  Real            *d_output[2];  /* (rows,H) gradients of the MLPs' outputs */
  Real            *d_input[2];   /* (rows,H) gradients of the MLPs' inputs */
  Real            *d_modulation[2]; /* (sets,6H) */
} BlockScratch;

/* active (sets,H) = SiLU(c); stream[0], stream[1] (rows,H) updated in place. */
PetscErrorCode block_forward(const Block *b, const Real *parameters, const Batch *batch, const Real *active, const BlockSaved *saved, PetscBool keep, Real *const stream[2]);
/* d_stream: gradients of the block's results in, of its inputs out (the last block's control stream: written). d_active (sets,H) added to. */
PetscErrorCode block_backward(const Block *b, const Real *parameters, const Batch *batch, const Real *active, const BlockSaved *saved, const BlockScratch *scratch,
                              Real *const d_stream[2], Real *d_active, Real *gradients);

#endif
