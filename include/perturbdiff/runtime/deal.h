/* Items of work dealt out to ranks by cost. */
#ifndef PERTURBDIFF_RUNTIME_DEAL_H
#define PERTURBDIFF_RUNTIME_DEAL_H

#include <petscsys.h>

/* Who computes what: each item has a team of ranks, of one unless there are more ranks than items. */
typedef struct {
  MPI_Comm     comm;
  PetscMPIInt  rank, size;
  PetscInt     items;
  PetscMPIInt *first, *count; /* (items) ranks of the team */
  PetscInt     own;
  PetscInt    *mine;          /* (own) items whose team has this rank, ascending */
  PetscInt    *place;         /* (items) index in mine, -1 */
  PetscInt     parts;         /* pieces of a sum that a team shares: the same for all items, a power of two, no fewer than the ranks of any team */
} Deal;

/* deal_to_least - owner (count): items by falling cost, in any unit, each to the rank with the least so far (Graham 1969, longest processing time
   first). Not collective. */
PetscErrorCode deal_to_least(PetscInt count, const double *cost, PetscMPIInt ranks, PetscMPIInt *owner);
/* deal_create - by cost (items). No messages, but all ranks of comm must give the same costs to have the same deal. */
PetscErrorCode deal_create(MPI_Comm comm, PetscInt items, const double *cost, Deal *deal);
PetscErrorCode deal_destroy(Deal *deal);
/* Is this rank the first of the item's team? */
PetscBool deal_leads(const Deal *deal, PetscInt item);

#endif
