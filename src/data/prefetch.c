/* The next step's cells, made dense by a thread while the current step computes. The thread touches neither HDF5 nor MPI. */
#include <perturbdiff/data/cellset.h>
#include <perturbdiff/runtime/error.h>
#include <pthread.h>
#include <time.h>

enum { BUFFERS = 2 };

typedef struct {
  PetscInt *population, *perturbation, *cell_type, *batch; /* (sets) */
  Real     *clean, *control;                               /* (sets, cells, genes) */
} Buffer;

struct Prefetch {
  const CellStore *store; /* not owned */
  const CellSets  *sets;  /* not owned */
  PetscInt         set_size;
  PrefetchShare    share;
  PetscInt64       first_step;
  Buffer           buffer[BUFFERS];
  CellSet          set; /* scratch of the thread */
  pthread_t        thread;
  PetscBool        started;
  pthread_mutex_t  lock;
  pthread_cond_t   changed;
  /* Under the lock: batches made and handed out so far, the error that ended the thread, the wish to end it. */
  PetscInt64     made, taken;
  PetscErrorCode failure;
  PetscBool      stop;
};

static double now(void)
{
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Fill a buffer with the sets of a step. Runs in the thread. */
static PetscErrorCode fill(Prefetch *prefetch, PetscInt64 step, Buffer *buffer)
{
  const CellStoreTable *table = cellstore_table(prefetch->store);
  const PrefetchShare  *share = &prefetch->share;
  const PetscInt64      genes = table->gene.count;

  for (PetscInt s = 0; s < share->sets; s++) {
    const size_t   at   = (size_t)s * (size_t)share->cells * (size_t)genes;
    PetscErrorCode code = cellsets_draw(prefetch->sets, step * share->global_sets + share->first_set + s, &prefetch->set);
    if (!code) code = cellstore_dense(prefetch->store, share->cells, prefetch->set.cell + share->first_cell, 1.0 / table->value_scale, buffer->clean + at, genes);
    if (!code) code = cellstore_dense(prefetch->store, share->cells, prefetch->set.control + share->first_cell, 1.0 / table->value_scale, buffer->control + at, genes);
    if (code) return code;
    const Population *population = &table->population[prefetch->set.population];
    buffer->population[s]        = prefetch->set.population;
    buffer->perturbation[s]      = population->perturbation;
    buffer->cell_type[s]         = population->cell_type;
    buffer->batch[s]             = population->batch;
  }
  return PETSC_SUCCESS;
}

/* Keep one batch ahead: batch m may be made once batch m - 2 is no longer in use, i.e. batch m - 1 has been taken. */
static void *work(void *context)
{
  Prefetch *prefetch = context;

  pthread_mutex_lock(&prefetch->lock);
  while (!prefetch->stop && !prefetch->failure) {
    if (prefetch->made >= BUFFERS && prefetch->taken < prefetch->made) {
      pthread_cond_wait(&prefetch->changed, &prefetch->lock);
      continue;
    }
    const PetscInt64 step = prefetch->first_step + prefetch->made;
    Buffer          *next = &prefetch->buffer[prefetch->made % BUFFERS];
    pthread_mutex_unlock(&prefetch->lock);
    const PetscErrorCode code = fill(prefetch, step, next);
    pthread_mutex_lock(&prefetch->lock);
    prefetch->failure = code;
    if (!code) prefetch->made++;
    pthread_cond_signal(&prefetch->changed);
  }
  pthread_mutex_unlock(&prefetch->lock);
  return NULL;
}

static PetscErrorCode allocate(Prefetch *prefetch)
{
  const size_t sets = (size_t)prefetch->share.sets, size = (size_t)prefetch->set_size;
  const size_t values = sets * (size_t)prefetch->share.cells * (size_t)cellstore_table(prefetch->store)->gene.count;

  PetscFunctionBeginUser;
  for (int b = 0; b < BUFFERS; b++) {
    Buffer *buffer = &prefetch->buffer[b];
    PetscCall(PetscMalloc4(sets, &buffer->population, sets, &buffer->perturbation, sets, &buffer->cell_type, sets, &buffer->batch));
    PetscCall(PetscMalloc2(values, &buffer->clean, values, &buffer->control));
  }
  PetscCall(PetscMalloc3(size, &prefetch->set.cell, size, &prefetch->set.control, size, &prefetch->set.filled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prefetch_create(const CellStore *store, const CellSets *sets, PetscInt set_size, const PrefetchShare *share, PetscInt64 first_step, Prefetch **prefetch)
{
  Prefetch *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  p->store      = store;
  p->sets       = sets;
  p->set_size   = set_size;
  p->share      = *share;
  p->first_step = first_step;
  PetscCall(allocate(p));
  if (pthread_mutex_init(&p->lock, NULL) || pthread_cond_init(&p->changed, NULL) || pthread_create(&p->thread, NULL, work, p))
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "the thread that fetches cells cannot be started");
  p->started = PETSC_TRUE;
  *prefetch  = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prefetch_next(Prefetch *prefetch, CellBatch *batch, double *stall)
{
  const double   start = now();
  PetscErrorCode failure = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  pthread_mutex_lock(&prefetch->lock);
  while (prefetch->taken == prefetch->made && !prefetch->failure) pthread_cond_wait(&prefetch->changed, &prefetch->lock);
  if (prefetch->taken == prefetch->made) failure = prefetch->failure;
  const Buffer *buffer = &prefetch->buffer[prefetch->taken % BUFFERS];
  if (!failure) prefetch->taken++;
  pthread_cond_signal(&prefetch->changed);
  pthread_mutex_unlock(&prefetch->lock);
  if (stall) *stall += now() - start;
  PetscCall(failure);
  *batch = (CellBatch){.sets         = prefetch->share.sets,
                       .cells        = prefetch->share.cells,
                       .population   = buffer->population,
                       .perturbation = buffer->perturbation,
                       .cell_type    = buffer->cell_type,
                       .batch        = buffer->batch,
                       .clean        = buffer->clean,
                       .control      = buffer->control};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prefetch_destroy(Prefetch **prefetch)
{
  Prefetch *p = *prefetch;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  if (p->started) {
    pthread_mutex_lock(&p->lock);
    p->stop = PETSC_TRUE;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
  }
  for (int b = 0; b < BUFFERS; b++) {
    PetscCall(PetscFree4(p->buffer[b].population, p->buffer[b].perturbation, p->buffer[b].cell_type, p->buffer[b].batch));
    PetscCall(PetscFree2(p->buffer[b].clean, p->buffer[b].control));
  }
  PetscCall(PetscFree3(p->set.cell, p->set.control, p->set.filled));
  PetscCall(PetscFree(*prefetch));
  PetscFunctionReturn(PETSC_SUCCESS);
}
