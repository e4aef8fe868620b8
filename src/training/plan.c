/* What a rank will need, said before anything large is allocated. */
#include "training/training_internal.h"
#include <perturbdiff/runtime/buckets.h>
#include <unistd.h>

/* A way to run: what the advice tries besides what was asked for. */
typedef struct {
  int       ranks, parts;
  PetscInt  sets;
  PetscBool recompute;
} Way;

enum { ITEMS = 13, TRIED = 32 };

/* What the program has in memory already: code, libraries, buffers of MPI. */
static double resident_bytes(void)
{
  double pages = 0;
  FILE  *file = fopen("/proc/self/statm", "r");

  if (file && fscanf(file, "%*s %lf", &pages) != 1) pages = 0;
  if (file) fclose(file);
  return pages * (double)sysconf(_SC_PAGESIZE);
}

PetscInt64 memory_largest_held(const MemoryQuestion *q)
{
  const PetscInt64 size = q->options->set_size;
  PetscInt64       largest = 0;

  for (PetscInt k = 0; k < q->cells->populations; k++) {
    const PetscInt64 want = PetscMin((PetscInt64)q->options->validation.cells, q->cells->population[k].cells);
    if (q->held[k]) largest = PetscMax(largest, (want + size - 1) / size * size);
  }
  return largest;
}

/* Distances of pairs of cells and a copy of the cells. */
static double objective_bytes(double rows, double cells, double genes) { return (rows * cells + (rows + 1) * genes) * (double)sizeof(Real); }

static double validation_bytes(const MemoryQuestion *q, const Way *way)
{
  const double   genes = q->shape->genes, largest = (double)memory_largest_held(q);
  DenoiserPlan   plan = validation_plan(q->options);
  const PetscInt cells = q->options->validation.cells;
  double         bytes = 6 * largest * genes * (double)sizeof(Real) + objective_bytes(cells, cells, genes);

  if (!largest) return 0;
  if (way->parts > 1) bytes += (double)denoiser_bytes(q->shape, &plan) + objective_bytes(q->options->set_size, q->options->set_size, genes);
  return bytes;
}

/* What sending gradients and parameters takes. */
static double bucket_bytes(const ParameterTable *table, const Way *way)
{
  PetscInt count = 0;
  size_t  *size = NULL;
  double   bytes = 0;

  if (way->ranks > 1 && !bucket_sizes(table, &count, &size)) bytes = (double)buckets_bytes(way->ranks, (int)count, size);
  (void)PetscFree(size);
  return bytes;
}

static double items_of(const MemoryQuestion *q, const Way *way, MemoryItem item[ITEMS])
{
  const TrainingOptions *options = q->options;
  const DenoiserShape   *shape = q->shape;
  const int              groups = way->ranks / way->parts;
  const PetscInt         sets = (way->sets + groups - 1) / groups, cells = (options->set_size + way->parts - 1) / way->parts;
  const double           batch = (double)sets * cells * shape->genes * (double)sizeof(Real);
  const DenoiserPlan     plan = {.max_sets = sets, .set_size = options->set_size, .parts = way->parts, .with_gradient = PETSC_TRUE, .recompute = way->recompute};
  const PetscInt64       means = memory_largest_held(q) || options->center == CENTER_SHIFT ? 1 + (options->center == CENTER_SHIFT) : 0;
  ParameterTable         table;
  double                 sum = 0;

  if (parametertable_create(shape, &table)) return 0;
  const double whole = (double)table.total * (double)sizeof(Real), shard = way->ranks > 1 ? whole / way->ranks + 256. * (shape->depth + 2) : whole;
  const MemoryItem items[ITEMS] = {
        {"parameters", whole / (way->ranks > 1 ? q->sharing : 1)},
        {"gradients", whole},
        {"moments", 2 * shard},
        {"average", shard},
        {"checkpoint", (double)checkpoint_buffer_bytes((size_t)(shard / (double)sizeof(Real)))},
        {"messages", bucket_bytes(&table, way)},
        {"activations", (double)denoiser_bytes(shape, &plan)},
        {"exchange of cells", way->parts > 1 ? (double)cellexchange_bytes(way->parts, options->set_size, sets, exchange_width(shape)) : 0},
        {"cells, noise, estimates", (4 + 4 + (options->center != CENTER_NONE)) * batch + objective_bytes(cells, options->set_size, shape->genes)},
        {"means of populations", (double)means * q->cells->populations * shape->genes * (double)sizeof(double)},
        {"validation", validation_bytes(q, way)},
        {"unpacked cells of the store", q->cache},
        {"program so far", resident_bytes()}};

  (void)parametertable_destroy(&table);
  for (int i = 0; i < ITEMS; i++) sum += items[i].bytes;
  if (item) (void)PetscArraycpy(item, items, ITEMS);
  return sum;
}

static Way way_asked(const MemoryQuestion *q, int parts) { return (Way){q->ranks, parts, q->options->sets, q->options->recompute}; }

double memory_with_parts(void *context, int parts)
{
  const MemoryQuestion *q = context;
  const Way             way = way_asked(q, parts);

  return items_of(q, &way, NULL);
}

/* The first change that fits, the least painful first: recomputing, sharing sets, both, fewer sets a step, more ranks. */
static PetscBool find_advice(const MemoryQuestion *q, const Way *asked, char *text, size_t size)
{
  const double limit = q->options->memory_limit;
  char         bytes[32];
  double       sum;

#define try_way(way_, ...) \
  do { \
    const Way way = way_; \
    if ((sum = items_of(q, &way, NULL)) <= limit) { \
      format_bytes(sum, bytes, sizeof bytes); \
      snprintf(text, size, __VA_ARGS__); \
      return PETSC_TRUE; \
    } \
  } while (0)

  try_way(((Way){asked->ranks, asked->parts, asked->sets, PETSC_TRUE}), "-train_recompute would take %s", bytes);
  for (int recompute = 0; recompute < 2; recompute++)
    for (int c = 2; c <= PetscMin(asked->ranks, q->options->set_size); c++)
      if (asked->ranks % c == 0)
        try_way(((Way){asked->ranks, c, asked->sets, recompute ? PETSC_TRUE : PETSC_FALSE}), "-grid_cells %d%s would take %s", c, recompute ? " with -train_recompute" : "", bytes);
  for (PetscInt sets = asked->sets / 2; sets >= 1; sets /= 2)
    try_way(((Way){asked->ranks, asked->parts, sets, PETSC_TRUE}), "-sets %d with -train_recompute would take %s", (int)sets, bytes);
  for (int more = 2; more <= 64; more *= 2)
    for (int c = 1; c <= PetscMin(asked->ranks * more, q->options->set_size); c++)
      if (asked->ranks * more % c == 0)
        try_way(((Way){asked->ranks * more, c, asked->sets, PETSC_TRUE}), "%d ranks with -grid_cells %d and -train_recompute would take %s", asked->ranks * more, c, bytes);
#undef try_way
  return PETSC_FALSE;
}

PetscErrorCode memory_plan(MPI_Comm comm, const MemoryQuestion *q, int parts)
{
  const Way      asked = way_asked(q, parts);
  MemoryItem     item[ITEMS];
  double         sum = items_of(q, &asked, item);
  char           advice[128];
  ParameterTable table;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_MAX, comm)); /* ranks differ in what they hold already */
  PetscCall(parametertable_create(q->shape, &table));
  PetscCall(log_line(comm, "  network    %.4g million parameters: %d genes, hidden %d, %d blocks, %d heads", 1e-6 * (double)table.total, (int)q->shape->genes,
                     (int)q->shape->hidden, (int)q->shape->depth, (int)q->shape->heads));
  PetscCall(parametertable_destroy(&table));
  PetscCall(memory_print(comm, sum, q->options->recompute ? ", blocks recomputed" : "", ITEMS, item));
  if (q->options->memory_limit <= 0 || sum <= q->options->memory_limit) PetscFunctionReturn(PETSC_SUCCESS);
  PetscFunctionReturn(memory_exceeded("training", sum, q->options->memory_limit,
                                      find_advice(q, &asked, advice, sizeof advice) ? advice : "lower -set_size, -hidden or -depth"));
}
