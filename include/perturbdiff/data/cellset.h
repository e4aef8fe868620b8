/* Drawing of cell sets: S cells of one population, each paired with a control cell; epochs shuffled by counter. */
#ifndef PERTURBDIFF_DATA_CELLSET_H
#define PERTURBDIFF_DATA_CELLSET_H

#include <perturbdiff/data/cellstore.h>

typedef struct CellSets CellSets;

/* One cell set; arrays of S entries owned by the caller. */
typedef struct {
  PetscInt       population;
  PetscInt64    *cell;    /* cells of the population */
  PetscInt64    *control; /* paired cells of its control population */
  unsigned char *filled;  /* 1 where the cell was drawn again to fill up the last set */
} CellSet;

/* cellsets_create - all sets of the populations with use[population] != 0 (NULL: all with split == SPLIT_TRAIN): ceil(cells/S) sets each,
   every cell once an epoch. The draw depends on seed and set number only, never on rank. Not collective. */
PetscErrorCode cellsets_create(const CellStoreTable *table, const unsigned char *use, PetscInt set_size, uint64_t seed, CellSets **sets);
PetscErrorCode cellsets_destroy(CellSets **sets);
PetscInt64     cellsets_per_epoch(const CellSets *sets);

/* cellsets_draw - set number n = 0, 1, ... of the endless sequence (epoch n / per_epoch, shuffled in each). Thread-safe. */
PetscErrorCode cellsets_draw(const CellSets *sets, PetscInt64 n, CellSet *set);

/* cellsets_draw_population - set j of one population in epoch e, bypassing the shuffle (validation, sampling). */
PetscErrorCode cellsets_draw_population(const CellSets *sets, PetscInt population, PetscInt64 epoch, PetscInt64 j, CellSet *set);

/* Dense cells of one step's share of sets, made by a background thread while the step before computes. */
typedef struct {
  PetscInt        sets, cells;                      /* cells of each set on this rank */
  const PetscInt *population;                       /* (sets) */
  const PetscInt *perturbation, *cell_type, *batch; /* (sets) */
  const Real     *clean, *control;                  /* (sets, cells, genes), log1p / value_scale */
} CellBatch;

/* A rank's share of a step: sets [first_set, + sets) of global_sets, of each the cells [first_cell, + cells). */
typedef struct {
  PetscInt global_sets, first_set, sets, first_cell, cells;
} PrefetchShare;

typedef struct Prefetch Prefetch;
/* prefetch_create - sets [step*global_sets + first_set, + sets) for step = first_step, ...; which cells they have does not depend on the share. Two buffers, one
   thread. Not collective. */
PetscErrorCode prefetch_create(const CellStore *store, const CellSets *sets, PetscInt set_size, const PrefetchShare *share, PetscInt64 first_step, Prefetch **prefetch);
/* prefetch_next - the next step's batch, valid until the following call; seconds waited are added to stall. */
PetscErrorCode prefetch_next(Prefetch *prefetch, CellBatch *batch, double *stall);
PetscErrorCode prefetch_destroy(Prefetch **prefetch);

#endif
