/* Which cells make up a cell set: functions of seed and set number alone. */
#include <perturbdiff/data/cellset.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/random.h>

struct CellSets {
  const CellStoreTable *table; /* not owned */
  PetscInt              set_size, used;
  uint64_t              seed;
  PetscInt             *population; /* (used) */
  PetscInt64           *first_set;  /* (used + 1) sets of the populations before */
};

static PetscInt64 sets_of(const CellSets *sets, const Population *population) { return (population->cells + sets->set_size - 1) / sets->set_size; }

PetscErrorCode cellsets_create(const CellStoreTable *table, const unsigned char *use, PetscInt set_size, uint64_t seed, CellSets **sets)
{
  CellSets *s;

  PetscFunctionBeginUser;
  *sets = NULL;
  if (set_size < 1) return error_user("a cell set needs at least one cell, not %d", (int)set_size);
  PetscCall(PetscNew(&s));
  s->table    = table;
  s->set_size = set_size;
  s->seed     = seed;
  PetscCall(PetscMalloc2((size_t)table->populations, &s->population, (size_t)table->populations + 1, &s->first_set));
  s->first_set[0] = 0;
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i];
    if (use ? !use[i] : p->split != SPLIT_TRAIN) continue;
    if (!p->cells || p->control < 0) continue;
    s->population[s->used]    = i;
    s->first_set[s->used + 1] = s->first_set[s->used] + sets_of(s, p);
    s->used++;
  }
  *sets = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellsets_destroy(CellSets **sets)
{
  PetscFunctionBeginUser;
  if (!*sets) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2((*sets)->population, (*sets)->first_set));
  PetscCall(PetscFree(*sets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt64 cellsets_per_epoch(const CellSets *sets) { return sets->first_set[sets->used]; }

PetscErrorCode cellsets_draw_population(const CellSets *sets, PetscInt population, PetscInt64 epoch, PetscInt64 j, CellSet *set)
{
  const Population  *p        = &sets->table->population[population];
  const PetscInt64   first    = j * sets->set_size;
  const RandomStream cells    = random_stream(sets->seed, RANDOM_CELLS, (uint32_t)epoch, (uint32_t)population, 0);
  const RandomStream fill     = random_stream(sets->seed, RANDOM_FILL, (uint32_t)epoch, (uint32_t)population, 0);
  const RandomStream controls = random_stream(sets->seed, RANDOM_CONTROLS, (uint32_t)epoch, (uint32_t)population, 0);

  if (p->control < 0 || first >= p->cells || j < 0) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "population %d has no set %lld", (int)population, (long long)j);
  const Population *control = &sets->table->population[p->control];
  set->population           = population;
  for (PetscInt i = 0; i < sets->set_size; i++) {
    const PetscInt64 place = first + i;
    set->filled[i]         = place >= p->cells;
    set->cell[i]           = p->first_cell + (PetscInt64)(set->filled[i] ? random_below(&fill, (uint32_t)place, (uint64_t)p->cells) :
                                                                           random_permuted(&cells, (uint64_t)p->cells, (uint64_t)place));
    set->control[i]        = control->first_cell + (PetscInt64)random_below(&controls, (uint32_t)place, (uint64_t)control->cells);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode cellsets_draw(const CellSets *sets, PetscInt64 n, CellSet *set)
{
  const PetscInt64 per_epoch = cellsets_per_epoch(sets);

  if (!per_epoch) return error_user("no population of the store has cells to draw from");
  const PetscInt64   epoch = n / per_epoch;
  const RandomStream order = random_stream(sets->seed, RANDOM_EPOCH, (uint32_t)epoch, 0, 0);
  const PetscInt64   k     = (PetscInt64)random_permuted(&order, (uint64_t)per_epoch, (uint64_t)(n % per_epoch));
  /* The population whose sets hold number k. */
  PetscInt low = 0, high = sets->used;
  while (high - low > 1) {
    const PetscInt middle = (low + high) / 2;
    if (sets->first_set[middle] <= k) low = middle;
    else high = middle;
  }
  return cellsets_draw_population(sets, sets->population[low], epoch, k - sets->first_set[low], set);
}
