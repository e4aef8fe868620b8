/* Items of work dealt out to ranks, or to teams of ranks where there are more of these. */
#include <perturbdiff/runtime/deal.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

PetscErrorCode deal_to_least(PetscInt count, const double *cost, PetscMPIInt ranks, PetscMPIInt *owner)
{
  Ranked *order;
  double *load;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &order));
  PetscCall(PetscCalloc1(ranks, &load));
  for (PetscInt i = 0; i < count; i++) order[i] = (Ranked){cost[i], i};
  sort_largest_first(count, order);
  for (PetscInt k = 0; k < count; k++) {
    PetscMPIInt least = 0;
    for (PetscMPIInt r = 1; r < ranks; r++)
      if (load[r] < load[least]) least = r;
    load[least] += order[k].value;
    owner[order[k].index] = least;
  }
  PetscCall(PetscFree(order));
  PetscCall(PetscFree(load));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode deal_create(MPI_Comm comm, PetscInt items, const double *cost, Deal *deal)
{
  PetscFunctionBeginUser;
  *deal = (Deal){.comm = comm, .items = items, .parts = 1};
  PetscCallMPI(MPI_Comm_rank(comm, &deal->rank));
  PetscCallMPI(MPI_Comm_size(comm, &deal->size));
  PetscCall(PetscMalloc4(items, &deal->first, items, &deal->count, items, &deal->mine, items, &deal->place));
  if (deal->size <= items) {
    PetscCall(deal_to_least(items, cost, deal->size, deal->first));
    for (PetscInt i = 0; i < items; i++) deal->count[i] = 1;
  } else {
    for (PetscInt i = 0; i < items; i++) {
      deal->first[i] = (PetscMPIInt)((PetscInt64)i * deal->size / items);
      deal->count[i] = (PetscMPIInt)((PetscInt64)(i + 1) * deal->size / items) - deal->first[i];
    }
  }
  for (PetscInt i = 0; i < items; i++) {
    const PetscBool in = deal->rank >= deal->first[i] && deal->rank < deal->first[i] + deal->count[i] ? PETSC_TRUE : PETSC_FALSE;
    deal->place[i] = in ? deal->own : -1;
    if (in) deal->mine[deal->own++] = i;
    while (deal->parts < deal->count[i]) deal->parts *= 2;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode deal_destroy(Deal *deal)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(deal->first, deal->count, deal->mine, deal->place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool deal_leads(const Deal *deal, PetscInt item) { return deal->first[item] == deal->rank ? PETSC_TRUE : PETSC_FALSE; }
