/* The denoiser's parts and memory (internal to the room). */
#ifndef NETWORK_DENOISER_LAYOUT_H
#define NETWORK_DENOISER_LAYOUT_H

#include "network/layers.h"

struct Denoiser {
  DenoiserShape shape;
  DenoiserPlan  plan;
  DenoiserHooks hooks;
  PetscInt      cells; /* of each set, on this rank */
  PetscBool     kept;  /* the last forward pass saved what backward needs */
  /* Where the layers lie in the parameter array. */
  Linear    embed[2], head_modulation, head;
  size_t    null_gene;
  TimeCode  time;
  ClassCode class;
  Block    *block;
  /* What forward saves; one BlockSaved a block where gradients are wanted without recomputation, else one for all. */
  Real          *bias;      /* (H) b_x + g0 */
  Real          *stream[2]; /* (rows,H) */
  Real          *code, *active; /* (sets,H) c and SiLU(c) */
  TimeCodeSaved  time_saved;
  ClassCodeSaved class_saved;
  BlockSaved    *saved;
  Real          *block_input[2]; /* (depth-1,rows,H) the streams at the start of each block but the last, for recomputation */
  Real          *head_values; /* (sets,2H) shift, scale */
  Real          *head_normalized, *head_inverse, *head_input; /* (rows,H), (rows), (rows,H) */
  unsigned char *positive; /* (rows,G) the estimate is above zero */
  /* Scratch of backward. */
  Real        *d_head;                        /* (rows,G) */
  Real        *d_head_values;                 /* (sets,2H) */
  Real        *d_stream[2];                   /* (rows,H) */
  Real        *d_code, *d_time_hidden;        /* (sets,H) */
  BlockScratch scratch;
  void        *memory;
};

/* Whether sets are split over ranks, and how many BlockSaved there are. */
PetscBool denoiser_split(const DenoiserPlan *plan);
PetscInt  denoiser_blocks_saved(const DenoiserPlan *plan, PetscInt depth);
/* Cells of each set on this rank; the most on any where there is no exchange yet. */
PetscInt denoiser_cells(const DenoiserPlan *plan);

#endif
