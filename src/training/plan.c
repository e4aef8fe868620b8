/* What a rank will need, said before anything large is allocated. */
#include "training/training_internal.h"

typedef struct {
  const char *name;
  double      bytes;
} Item;

PetscErrorCode memory_plan(MPI_Comm comm, const TrainingOptions *options, const CellStoreTable *cells, const DenoiserShape *shape, PetscInt max_sets,
                           PetscBool held)
{
  ParameterTable table;
  const double   batch = (double)max_sets * options->set_size * shape->genes * (double)sizeof(Real);
  double         sum = 0;
  char           text[32], line[512];
  int            length = 0;

  PetscFunctionBeginUser;
  PetscCall(parametertable_create(shape, &table));
  const double one = (double)table.total * (double)sizeof(Real);
  const Item   items[] = {{"parameters", one},
                          {"gradients", one},
                          {"moments", 2 * one},
                          {"average", one},
                          {"activations", (double)denoiser_bytes(shape, &(DenoiserPlan){.max_sets = max_sets, .set_size = options->set_size, .with_gradient = PETSC_TRUE})},
                          {"cells", (4 + 4 + (options->center != CENTER_NONE)) * batch}, /* two prefetched batches of two; noisy, estimates, gradient */
                          {"means", held || options->center == CENTER_SHIFT ? 2. * cells->populations * shape->genes * (double)sizeof(double) : 0},
                          {"validation", held ? 6. * (options->validation.cells + options->set_size) * shape->genes * (double)sizeof(Real) : 0}};

  for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
    if (!items[i].bytes) continue;
    sum += items[i].bytes;
    format_bytes(items[i].bytes, text, sizeof text);
    length += snprintf(line + length, sizeof line - (size_t)length, ", %s %s", items[i].name, text);
  }
  format_bytes(sum, text, sizeof text);
  PetscCall(log_line(comm, "  memory     %s a rank%s", text, line));
  PetscCall(log_line(comm, "  network    %.4g million parameters: %d genes, hidden %d, %d blocks, %d heads", 1e-6 * (double)table.total, (int)shape->genes,
                     (int)shape->hidden, (int)shape->depth, (int)shape->heads));
  PetscCall(parametertable_destroy(&table));
  if (options->memory_limit > 0 && sum > options->memory_limit) {
    char limit[32];

    format_bytes(options->memory_limit, limit, sizeof limit);
    PetscFunctionReturn(error_user("training needs %s a rank and may take %s (-memory_limit, or its share of the node); lower %s-hidden or -depth", text, limit,
                                   max_sets > 1 ? "-sets or -set_size, use more ranks, or lower " : "-set_size, "));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
