/* Ranks written in a mixed radix, and which part of a block a rank holds after some stages of a reduction (buckets.c). No MPI, no errors. */
#ifndef RUNTIME_STAGES_H
#define RUNTIME_STAGES_H

#include <stddef.h>

enum { STAGES_MOST = 32 };

/* Stage i: the radix[i] ranks that differ in digit i alone; stride[i] ranks lie between two of them. The first node_count stages join the ranks of a node. */
typedef struct {
  int count, node_count;
  int radix[STAGES_MOST], stride[STAGES_MOST];
} Stages;

/* stages_create - for `ranks` ranks, node_ranks neighbours to a node (a divisor); prime factors joined while a radix stays small. */
Stages stages_create(int ranks, int node_ranks);

/* Digit of a rank in a stage. */
int stages_digit(const Stages *stages, int rank, int stage);

/* Part `part` of a block of `total` elements cut into `parts`. */
void stages_part(size_t total, int part, int parts, size_t *first, size_t *count);

/* stages_block - what a rank holds of the elements [*first, *first + *count) after the first `upto` stages. */
void stages_block(const Stages *stages, int rank, int upto, size_t *first, size_t *count);

#endif
