/* How many ranks share each cell set. */
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/gridchoice.h>
#include <perturbdiff/runtime/log.h>
#include <stdio.h>

static PetscErrorCode as_wanted(const GridQuestion *q, int *parts, char *reason, size_t size)
{
  char divisors[160] = "";
  int  length = 0;

  PetscFunctionBeginUser;
  if (q->wanted > 0 && q->wanted <= q->ranks && q->ranks % q->wanted == 0) {
    *parts = (int)q->wanted;
    snprintf(reason, size, "as -grid_cells says");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int c = 1; c <= q->ranks && length < (int)sizeof divisors - 16; c++)
    if (q->ranks % c == 0) length += snprintf(divisors + length, sizeof divisors - (size_t)length, "%s%d", length ? ", " : "", c);
  PetscFunctionReturn(error_user("-grid_cells %lld does not divide the %d ranks; give one of %s, or 0 to let the program choose", (long long)q->wanted, q->ranks, divisors));
}

/* Sets of the busiest group, each shared by c ranks. */
static double work(const GridQuestion *q, int c)
{
  const PetscInt64 groups = q->ranks / c;

  return (double)((q->sets + groups - 1) / groups) / c;
}

PetscErrorCode grid_choose(const GridQuestion *q, int *parts, char *reason, size_t size)
{
  const PetscBool limited = q->memory_limit > 0 ? PETSC_TRUE : PETSC_FALSE;
  int             smallest = 0, least = 1, best = 0; /* that fits; that takes least; the answer */
  char            need[32], limit[32];

  PetscFunctionBeginUser;
  if (q->wanted) {
    PetscCall(as_wanted(q, parts, reason, size));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int c = 1; c <= PetscMin((PetscInt)q->ranks, PetscMax(q->set_size, 1)); c++) {
    if (q->ranks % c) continue;
    if (limited && q->bytes(q->context, c) < q->bytes(q->context, least)) least = c;
    if (limited && q->bytes(q->context, c) > q->memory_limit) continue;
    if (!smallest) smallest = best = c;
    if (q->sets < q->ranks && work(q, c) < work(q, best)) best = c;
  }
  format_bytes(limited ? q->bytes(q->context, 1) : 0, need, sizeof need);
  format_bytes(q->memory_limit, limit, sizeof limit);
  *parts = best ? best : least;
  if (!best) snprintf(reason, size, "the least memory, but still over %s a rank", limit);
  else if (best > smallest) snprintf(reason, size, "%lld sets for %d ranks", (long long)q->sets, q->ranks);
  else if (best > 1) snprintf(reason, size, "whole sets take %s a rank, over %s", need, limit);
  else if (q->ranks == 1) snprintf(reason, size, "one rank");
  else if (q->sets < q->ranks) snprintf(reason, size, "sharing sets saves nothing");
  else snprintf(reason, size, "sets for all ranks");
  PetscFunctionReturn(PETSC_SUCCESS);
}
