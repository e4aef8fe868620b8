/* embed: kernel mean embeddings of the populations of a cell store: Gram matrix, discrepancies. */
#include "commands/commands.h"
#include "commands/embed.h"
#include <stdlib.h>
#include <string.h>

static const OptionSpec own[] = {
    {"data", VALUE_PATH, NULL, 0, 0, "", "Cell store made by prepare"},
    {"out", VALUE_PATH, NULL, 0, 0, "", "Folder to write embedding.h5, tables and figures into"},
    {"kernel", VALUE_CHOICE, "energy", 0, 0, "energy|gaussian|inverse_multiquadric|laplace|linear",
     "Kernel between two cells, h a bandwidth: (|x|+|y|-|x-y|)/2, exp(-|x-y|^2/2h^2), (1+|x-y|^2/h^2)^(-1/2), exp(-|x-y|/h), x.y"},
    {"bandwidths", VALUE_LIST, "median", 0, 0, "", "Bandwidths, the kernel is the mean over them; median: 1/4, 1/2, 1, 2 and 4 times the median distance of sampled cells"},
    {"median_cells", VALUE_INTEGER, "1000", 2, 20000, "cells", "Cells sampled for the median distance"},
    {"principal_components", VALUE_INTEGER, "0", 0, 100000, "", "Kernels see so many principal components of the log-normalised genes; 0: the genes themselves"},
    {"statistic", VALUE_CHOICE, "v", 0, 0, "v|u", "MMD^2 over all pairs of cells (v), or unbiased, a cell not paired with itself (u)"},
    {"split", VALUE_CHOICE, "all", 0, 0, "all|train|validation|test", "Embed the populations of this split, with their control populations"},
    {"pair_memory", VALUE_NUMBER, "0.25", 0.001, 1e6, "GiB", "About what a rank keeps of dense cells while it forms pairs"},
    {"seed", VALUE_INTEGER, "0", 0, 9e15, "", "Seed of the sampled cells; the results are the same on any number of ranks"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, embed_spectrum_options, embed_tests_options, embed_regression_options, options_common, NULL};

static PetscErrorCode read_bandwidths(Embed *e)
{
  PetscInt       count;
  PetscBool      given;
  char         **part;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(options_given(e->options, "bandwidths", &given));
  PetscCall(options_list(e->options, "bandwidths", &count, &part));
  if (given && !kernel_has_bandwidth(e->kernel.kind)) code = error_user("-bandwidths: the %s kernel has none; leave the option out", kernel_name[e->kernel.kind]);
  else if (kernel_has_bandwidth(e->kernel.kind) && !(count == 1 && !strcmp(part[0], "median"))) {
    if (count < 1 || count > KERNEL_BANDWIDTHS) code = error_user("-bandwidths: %d numbers; give 1 to %d, or median", (int)count, KERNEL_BANDWIDTHS);
    for (PetscInt b = 0; b < count && !code; b++) {
      char *end;
      e->kernel.bandwidth[b] = strtod(part[b], &end);
      if (end == part[b] || *end || !(e->kernel.bandwidth[b] > 1e-150 && e->kernel.bandwidth[b] < 1e150))
        code = error_user("-bandwidths: '%s' is not a number above 0, nor median", part[b]);
    }
    e->kernel.bandwidths = count;
  }
  PetscCall(strings_free(count, &part));
  PetscFunctionReturn(code);
}

static PetscErrorCode read_options(Embed *e)
{
  PetscInt   choice;
  PetscInt64 number;
  double     limit;

  PetscFunctionBeginUser;
  PetscCall(options_string(e->options, "out", &e->folder));
  PetscCall(options_choice(e->options, "kernel", &choice));
  e->kernel.kind = (KernelKind)choice;
  PetscCall(read_bandwidths(e));
  PetscCall(options_choice(e->options, "statistic", &choice));
  e->statistic = (Statistic)choice;
  PetscCall(embed_landmark_options(e));
  PetscCall(options_integer(e->options, "seed", &number));
  e->seed = (uint64_t)number;
  PetscCall(options_number(e->options, "memory_limit", &limit));
  if (limit > 0) e->memory_limit = limit * 1073741824.;
  else PetscCall(memory_share(e->comm, &e->memory_limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Populations of the split, and the controls they are paired with. */
static PetscErrorCode choose_populations(Embed *e)
{
  const CellStoreTable *t = e->table;
  PetscInt              split;
  unsigned char        *wanted;
  char                  label[768];

  PetscFunctionBeginUser;
  PetscCall(options_choice(e->options, "split", &split));
  PetscCall(PetscCalloc1(t->populations, &wanted));
  for (PetscInt i = 0; i < t->populations; i++) {
    if (split && (PetscInt)t->population[i].split != split - 1) continue;
    wanted[i] = 1;
    if (t->population[i].control >= 0) wanted[t->population[i].control] = 1;
  }
  PetscCall(PetscMalloc2(t->populations, &e->population, t->populations, &e->group));
  for (PetscInt i = 0; i < t->populations; i++)
    if (wanted[i]) e->population[e->groups++] = i;
  PetscCall(PetscFree(wanted));
  if (e->groups < 2)
    PetscFunctionReturn(error_user("%s: %d population%s in the split '%s'; two at least are needed to compare", cellstore_path(e->store), (int)e->groups, e->groups == 1 ? "" : "s",
                                   split == 1 ? "train" : split == 2 ? "validation" : split == 3 ? "test" : "all"));
  for (PetscInt i = 0; i < e->groups && e->statistic == STATISTIC_U; i++) {
    if (t->population[e->population[i]].cells > 1) continue;
    population_label(t, e->population[i], label, sizeof label);
    PetscFunctionReturn(error_user("-statistic u: population '%s' has one cell, which has no pair; take -statistic v", label));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void point_groups(Embed *e, const CellFeatures *features)
{
  for (PetscInt i = 0; i < e->groups; i++) {
    const Population *p = &e->table->population[e->population[i]];
    e->group[i]         = (CellGroup){features, p->first_cell, p->cells};
  }
}

/* Memory of the stages, said before any is taken; the largest stage counts. */
static PetscErrorCode plan_memory(Embed *e, PetscInt components)
{
  const PetscInt   genes = e->table->gene.count, dimension = components ? components : genes;
  const PetscInt64 cells = groups_cells(e->groups, e->group);
  double           room;
  PetscInt64       sample;
  char             advice[96];

  PetscFunctionBeginUser;
  PetscCall(options_number(e->options, "pair_memory", &room));
  PetscCall(options_integer(e->options, "median_cells", &sample));
  e->plan = pairs_plan(cells, dimension, e->ranks, room * 1073741824.);
  e->plan.progress = PETSC_TRUE;
  const double algebra     = components ? principal_components_bytes(e->comm, cells, genes, components) : 0;
  const double coordinates = components ? (double)e->table->cells * components * sizeof(double) : 0; /* once a node */
  const double median      = kernel_has_bandwidth(e->kernel.kind) && !e->kernel.bandwidths ? (double)sample * (2 * (double)dimension + (double)sample) * sizeof(double) : 0;
  double       spectrum = 0, tests = 0, regression = 0, pairs = pairs_bytes(&e->plan);
  PetscCall(embed_spectrum_bytes(e, &spectrum));
  PetscCall(embed_regression_bytes(e, &regression));
  PetscCall(embed_tests_bytes(e, dimension, &tests));
  if (e->landmarks) PetscCall(embed_landmark_bytes(e, dimension, &pairs));
  const double gram = e->landmarks ? 0 : gram_bytes(e->grid, e->groups) + 2 * blockmatrix_bytes(e->grid, e->groups, e->groups);
  const double cache = cellstore_cache_bytes(e->store), peak = cache + coordinates + PetscMax(algebra, PetscMax(median, PetscMax(PetscMax(pairs, tests), PetscMax(spectrum, regression)) + gram));

  const MemoryItem item[] = {{"coordinates", coordinates},       {"Gram matrices", gram}, {"principal components", algebra}, {"median distance", median},
                             {e->landmarks ? "landmarks" : "pairs of cells", pairs}, {"tests", tests},        {"spectrum", spectrum},   {"regression", regression},    {"unpacked cells of the store", cache}};
  PetscCall(memory_print(e->comm, peak, ", the stages one after another", sizeof item / sizeof *item, item));
  if (e->memory_limit <= 0 || peak <= e->memory_limit) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(advice, sizeof advice, "lower %s%s or use more ranks", e->landmarks ? "-landmarks" : "-pair_memory", components ? ", -principal_components" : ""));
  PetscFunctionReturn(memory_exceeded("embed", peak, e->memory_limit, advice));
}

static PetscErrorCode find_components(Embed *e, PetscInt components)
{
  LogStage stage;
  double   kept = 0;

  PetscFunctionBeginUser;
  if (!components) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(log_stage_begin(e->comm, "components", &stage));
  PetscCall(principal_components(e->comm, e->groups, e->group, components, &e->components));
  PetscCall(features_project(e->comm, e->genes, &e->components, &e->projected));
  point_groups(e, e->projected);
  for (PetscInt k = 0; k < components; k++) kept += e->components.variance[k];
  PetscCall(log_stage_end(&stage, "%d hold %.1f %% of the variance of %d genes", (int)components, 100 * kept / e->components.total, (int)e->table->gene.count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode find_bandwidths(Embed *e)
{
  PetscInt64 sample;
  double     median;
  LogStage   stage;

  PetscFunctionBeginUser;
  if (!kernel_has_bandwidth(e->kernel.kind) || e->kernel.bandwidths) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(options_integer(e->options, "median_cells", &sample));
  PetscCall(log_stage_begin(e->comm, "bandwidth", &stage));
  PetscCall(kernel_median_bandwidths(e->comm, e->groups, e->group, (PetscInt)sample, e->seed, &e->kernel, &median));
  PetscCall(log_stage_end(&stage, "median distance %.4g, bandwidths 1/4 to 4 of it", median));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode gram_of_pairs(Embed *e)
{
  const double cells = (double)e->plan.cells, pairs = cells * (cells + 1) / 2;
  LogStage     stage;

  PetscFunctionBeginUser;
  PetscCall(log_stage_begin(e->comm, "pairs", &stage));
  PetscCall(gram_assemble(e->grid, &e->kernel, e->groups, e->group, &e->plan, &e->gram));
  const double seconds = PetscMax(MPI_Wtime() - stage.start, 1e-9);
  PetscCall(log_stage_end(&stage, "%.4g million pairs of cells, %s kernel, %.0f GF/s in all", 1e-6 * pairs, kernel_name[e->kernel.kind], 2e-9 * pairs * e->plan.dimension / seconds));
  PetscCall(gram_mmd(&e->gram, e->statistic, &e->mmd));
  PetscCall(gram_energy(&e->gram, &e->energy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_results(Embed *e)
{
  LogStage stage;

  PetscFunctionBeginUser;
  PetscCall(log_stage_begin(e->comm, "write", &stage));
  PetscCall(embed_write_file(e));
  PetscCall(embed_write_tables(e));
  PetscCall(file_draft_commit(&e->draft));
  PetscCall(log_stage_end(&stage, "%s/embedding.h5, energy_distance.csv, mmd.csv, to_control.csv, spectrum.csv, components.csv", e->folder));
  PetscCall(embed_figures(e));
  PetscCall(log_line(e->comm, "next: perturbdiff report %s -out %s.html", e->folder, e->folder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode embed_all(Embed *e)
{
  const char *data;
  char        path[PETSC_MAX_PATH_LEN];
  PetscInt64  components;
  LogStage    stage;

  PetscFunctionBeginUser;
  PetscCall(read_options(e));
  PetscCall(options_string(e->options, "data", &data));
  PetscCall(options_integer(e->options, "principal_components", &components));
  PetscCall(log_stage_begin(e->comm, "cells", &stage));
  PetscCall(cellstore_open(e->comm, data, &e->store));
  e->table = cellstore_table(e->store);
  PetscCall(choose_populations(e));
  PetscCall(embed_regression_features(e)); /* a mistake there is found at the start */
  PetscCall(features_from_store(e->store, &e->genes));
  point_groups(e, e->genes);
  PetscCall(blockgrid_create(e->comm, PetscMax(e->groups, e->landmarks), &e->grid));
  PetscCall(log_stage_end(&stage, "%s: %d populations, %lld cells, %d genes; grid %d x %d", data, (int)e->groups, (long long)groups_cells(e->groups, e->group),
                          (int)e->table->gene.count, e->grid->rows, e->grid->columns));
  PetscCall(plan_memory(e, (PetscInt)components));
  PetscCall(find_components(e, (PetscInt)components));
  PetscCall(find_bandwidths(e));
  PetscCall(embed_choose_landmarks(e));
  PetscCall(file_make_folder(e->comm, e->folder));
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/embedding.h5", e->folder));
  PetscCall(file_draft_create(e->comm, path, &e->draft));
  PetscCall(embed_remove_old(e));
  PetscCall(e->landmarks ? embed_by_landmarks(e) : gram_of_pairs(e));
  PetscCall(embed_spectrum(e));
  PetscCall(embed_tests(e));
  PetscCall(embed_regression(e));
  PetscCall(write_results(e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode embed_free(Embed *e)
{
  PetscFunctionBeginUser;
  PetscCall(file_draft_discard(&e->draft));
  PetscCall(embed_spectrum_free(e));
  PetscCall(PetscFree(e->similarity));
  PetscCall(blockmatrix_destroy(&e->mmd));
  PetscCall(blockmatrix_destroy(&e->energy));
  PetscCall(gram_destroy(&e->gram));
  PetscCall(blockgrid_destroy(&e->grid));
  PetscCall(principal_components_free(&e->components));
  PetscCall(features_destroy(&e->projected));
  PetscCall(features_destroy(&e->genes));
  PetscCall(PetscFree2(e->population, e->group));
  PetscCall(cellstore_close(&e->store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode embed(const Options *options)
{
  Embed          e = {.options = options, .comm = PETSC_COMM_WORLD};
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(e.comm, &e.ranks));
  code = embed_all(&e);
  if (!code || code == ERROR_USER) PetscCall(embed_free(&e));
  PetscFunctionReturn(code);
}

const Command command_embed = {
    .name = "embed",
    .summary = "distances between populations: kernel mean embeddings, MMD, energy distance",
    .usage = "embed [INPUT.yaml] -data cells.h5 -out DIR [options]",
    .examples = "perturbdiff embed -data cells.h5 -out embedding\n"
                "perturbdiff embed -data cells.h5 -out embedding -kernel gaussian -principal_components 50\n"
                "perturbdiff embed -data cells.h5 -out embedding -landmarks 1000 -landmark_choice leverage\n"
                "mpirun -n 4 perturbdiff embed inputs/embed.yaml -data cells.h5 -out embedding",
    .options = {.groups = groups},
    .run = embed,
};
