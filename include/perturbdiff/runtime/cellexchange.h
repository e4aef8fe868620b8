/* What the C ranks that share a cell set tell each other: rows gathered (keys and values of attention), their gradients reduced back to the
   owners, blocks of cells passed round a ring (energy distance). Free of PETSc and HDF5 (see grid.h). Collective on the group's communicator. */
#ifndef PERTURBDIFF_RUNTIME_CELLEXCHANGE_H
#define PERTURBDIFF_RUNTIME_CELLEXCHANGE_H

#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/runtime/real.h>
#include <stddef.h>

typedef struct CellExchange CellExchange;

/* cellexchange_create - set_size cells of each set dealt over comm's ranks by share_of (a rank may have none); at most max_sets sets of rows up to max_width values
   at once. Allocates all it will ever need (cellexchange_bytes, on the rank with most cells). comm is duplicated. With one rank nothing is sent. */
int    cellexchange_create(MPI_Comm comm, int set_size, int max_sets, int max_width, CellExchange **exchange);
int    cellexchange_destroy(CellExchange **exchange);
size_t cellexchange_bytes(int ranks, int set_size, int max_sets, int max_width);
/* Not collective: ranks; cells of a set held by a rank, from `first` on. */
int  cellexchange_ranks(const CellExchange *exchange);
int  cellexchange_rank(const CellExchange *exchange);
void cellexchange_cells(const CellExchange *exchange, int rank, int *first, int *count);

/* Operations that may be under way at once. */
enum { CELLEXCHANGE_PENDING = 2 };

/* cellexchange_gather_start - own (sets, own cells, width; row stride ld) into all (sets, set_size, width contiguous) on every rank; complete after
   cellexchange_finish. reduce_start - the opposite: own (row stride ld) = sum over ranks of their all, for this rank's cells; summed in rank order. Up to
   CELLEXCHANGE_PENDING may be started before a finish, which completes all; until then their results are undefined, and reduce's all must not be written (gather's
   own may). Started in the same order on all ranks. */
int cellexchange_gather_start(CellExchange *exchange, int sets, int width, const Real *own, int ld, Real *all);
int cellexchange_reduce_start(CellExchange *exchange, int sets, int width, const Real *all, Real *own, int ld);
int cellexchange_finish(CellExchange *exchange);
/* cellexchange_progress - drive what has been started; call it between the layers of a pass. Returns at once. Not collective. */
int cellexchange_progress(CellExchange *exchange);

/* cellexchange_ring - blocks of cells of one set travel round the ring: `use` is called once for every rank's block that has cells, this rank's own first, while the
   next one is under way. own (own cells, width). The block is valid during the call only. A code other than 0 from `use` ends the ring and is returned. Nothing else
   may be under way. */
typedef int (*RingFunction)(void *context, int first_cell, int cells, const Real *block);
int cellexchange_ring(CellExchange *exchange, int width, const Real *own, RingFunction use, void *context);

/* cellexchange_sum - n doubles summed over the ranks, in place, the same bits on all. */
int cellexchange_sum(CellExchange *exchange, int n, double *values);

/* As buckets_times, of gathers, reductions and rings. */
ExchangeTimes cellexchange_times(CellExchange *exchange);

#endif
