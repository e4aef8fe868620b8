/* How many ranks share each cell set (C of grid.h): one rule for all commands. */
#ifndef PERTURBDIFF_RUNTIME_GRIDCHOICE_H
#define PERTURBDIFF_RUNTIME_GRIDCHOICE_H

#include <petscsys.h>

/* Bytes a rank takes with `parts` ranks a set. */
typedef double (*GridBytesFunction)(void *context, int parts);

/* What the choice depends on. */
typedef struct {
  int               ranks;
  PetscInt64        sets;         /* to be worked on at once, over all ranks: the sets of a training step, all sets to sample */
  PetscInt          set_size;     /* cells in a set */
  GridBytesFunction bytes;
  void             *context;
  double            memory_limit; /* bytes a rank may take; 0: not known */
  PetscInt64        wanted;       /* -grid_cells; 0: choose */
} GridQuestion;

/* grid_choose - parts: C, a divisor of the ranks, and why in words ("1 rank a set" and so on). As wanted; else 1 unless a set does not fit, or there are fewer sets
   than ranks: then the C with the least work on the busiest rank, the smallest of equals. Where no C fits, the one that takes least (whoever plans the memory
   refuses it). Not collective; the same on all ranks that ask the same. User error: -grid_cells does not divide the ranks. */
PetscErrorCode grid_choose(const GridQuestion *question, int *parts, char *reason, size_t size);

#endif
