/* embed: embedding.h5 and the tables.

   embedding.h5, version 1. N populations, G genes, d components:
     /                     attrs format "perturbdiff-embedding", version, program, command, store, store_checksum, kernel, statistic (v or u), features (genes or
                           principal_components), options (YAML that reruns it)
     /populations/{label,perturbation,cell_type,batch}   (N) strings; {index,cells,split,control} (N) int64: index in the store, number of cells, 0 train 1 validation
                           2 test, row of the paired control population here (-1: not here)
     /kernel/bandwidths    (number) where the kernel has any; the kernel is the mean over them
     /gram/product         (N,N) K_ij = <mu_i, mu_j>, all pairs of cells; /gram/self (N) mean of k(x,x)
     /gram/distance        (N,N) mean Euclidean distance of all pairs of cells; not with -landmarks
     /gram/mmd             (N,N) squared maximum mean discrepancy; /gram/energy_distance (N,N); with -landmarks for the energy kernel only
     /principal_components/{mean (G), loadings (G,d), variance (d), total (1), gene (G) strings} where the kernel sees components
     /nystrom, /spectrum: embed_spectrum.c */
#include "commands/commands.h"
#include "commands/embed.h"
#include "config.h"
#include "revision.h"
#include <perturbdiff/runtime/grid.h>

PetscErrorCode embed_write_vector(hid_t where, const char *name, hid_t type, PetscInt64 count, const void *values)
{
  int rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(h5_write_slab(where, name, type, count, 0, rank ? count : 0, rank ? 0 : count, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_write_matrix(hid_t where, const char *name, const BlockMatrix *matrix)
{
  long long first, count;
  double   *rows;

  PetscFunctionBeginUser;
  share_of(matrix->rows, matrix->grid->rank, matrix->grid->ranks, &first, &count);
  PetscCall(PetscMalloc1((size_t)(count + 1) * (size_t)matrix->columns, &rows));
  PetscCall(blockmatrix_to_rows(matrix, rows));
  PetscCall(h5_write_slab(where, name, H5T_NATIVE_DOUBLE, matrix->rows, matrix->columns, first, count, rows));
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row of the paired control population, -1 where it is not embedded. */
PetscInt embed_control_row(const Embed *e, PetscInt row)
{
  const PetscInt control = e->table->population[e->population[row]].control;

  for (PetscInt i = 0; i < e->groups; i++)
    if (e->population[i] == control) return i;
  return -1;
}

static PetscErrorCode write_populations(const Embed *e, hid_t file)
{
  const CellStoreTable *t = e->table;
  const char          **text;
  char                (*label)[768];
  int64_t              *number;
  hid_t                 where;

  PetscFunctionBeginUser;
  H5Check(where = H5Gcreate2(file, "populations", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(PetscMalloc3(e->groups, &text, e->groups, &label, e->groups, &number));
  for (int column = 0; column < 4; column++) {
    static const char *const name[4] = {"label", "perturbation", "cell_type", "batch"};
    for (PetscInt i = 0; i < e->groups; i++) {
      const Population *p = &t->population[e->population[i]];
      population_label(t, e->population[i], label[i], sizeof label[i]);
      text[i] = column == 0 ? label[i] : column == 1 ? t->perturbation.name[p->perturbation] : column == 2 ? t->cell_type.name[p->cell_type] : t->batch.name[p->batch];
    }
    PetscCall(h5_write_strings(where, name[column], e->groups, text));
  }
  for (int column = 0; column < 4; column++) {
    static const char *const name[4] = {"index", "cells", "split", "control"};
    for (PetscInt i = 0; i < e->groups; i++) {
      const Population *p = &t->population[e->population[i]];
      number[i]           = column == 0 ? e->population[i] : column == 1 ? p->cells : column == 2 ? (int64_t)p->split : embed_control_row(e, i);
    }
    PetscCall(embed_write_vector(where, name[column], H5T_NATIVE_INT64, e->groups, number));
  }
  PetscCall(PetscFree3(text, label, number));
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_header(const Embed *e, hid_t file)
{
  char *yaml;

  PetscFunctionBeginUser;
  PetscCall(options_yaml(e->options, &yaml));
  PetscCall(h5_write_attribute_string(file, "format", "perturbdiff-embedding"));
  PetscCall(h5_write_attribute_int64(file, "version", 1));
  PetscCall(h5_write_attribute_string(file, "program", "perturbdiff " PACKAGE_VERSION " " GIT_REVISION));
  PetscCall(h5_write_attribute_string(file, "command", command_line()));
  PetscCall(h5_write_attribute_string(file, "store", cellstore_path(e->store)));
  PetscCall(h5_write_attribute_int64(file, "store_checksum", (int64_t)e->table->checksum));
  PetscCall(h5_write_attribute_string(file, "kernel", kernel_name[e->kernel.kind]));
  PetscCall(h5_write_attribute_string(file, "statistic", e->statistic == STATISTIC_U ? "u" : "v"));
  PetscCall(h5_write_attribute_string(file, "features", e->projected ? "principal_components" : "genes"));
  PetscCall(h5_write_attribute_string(file, "options", yaml));
  PetscCall(PetscFree(yaml));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_components(const Embed *e, hid_t file)
{
  const PrincipalComponents *c = &e->components;
  int                        rank;
  hid_t                      where;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(e->comm, &rank));
  H5Check(where = H5Gcreate2(file, "principal_components", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(embed_write_vector(where, "mean", H5T_NATIVE_DOUBLE, c->dimension, c->mean));
  PetscCall(embed_write_vector(where, "variance", H5T_NATIVE_DOUBLE, c->components, c->variance));
  PetscCall(embed_write_vector(where, "total", H5T_NATIVE_DOUBLE, 1, &c->total));
  PetscCall(h5_write_slab(where, "loadings", H5T_NATIVE_DOUBLE, c->dimension, c->components, rank ? c->dimension : 0, rank ? 0 : c->dimension, c->loadings));
  PetscCall(h5_write_strings(where, "gene", e->table->gene.count, (const char *const *)e->table->gene.name));
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_write_file(Embed *e)
{
  const hid_t file = e->draft.h5;
  hid_t       where;

  PetscFunctionBeginUser;
  PetscCall(write_header(e, file));
  PetscCall(write_populations(e, file));
  if (e->kernel.bandwidths) {
    H5Check(where = H5Gcreate2(file, "kernel", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    PetscCall(embed_write_vector(where, "bandwidths", H5T_NATIVE_DOUBLE, e->kernel.bandwidths, e->kernel.bandwidth));
    H5Check(H5Gclose(where));
  }
  H5Check(where = H5Gcreate2(file, "gram", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(embed_write_matrix(where, "product", &e->gram.product));
  if (e->gram.distance.values) PetscCall(embed_write_matrix(where, "distance", &e->gram.distance));
  PetscCall(embed_write_matrix(where, "mmd", &e->mmd));
  if (e->energy.values) PetscCall(embed_write_matrix(where, "energy_distance", &e->energy));
  PetscCall(embed_write_vector(where, "self", H5T_NATIVE_DOUBLE, e->groups, e->gram.self));
  H5Check(H5Gclose(where));
  if (e->projected) PetscCall(write_components(e, file));
  PetscCall(embed_write_spectrum(e, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tables and figures of an earlier run, which this one may not write anew, go: no figure shows numbers of another kernel. */
PetscErrorCode embed_remove_old(const Embed *e)
{
  static const char *const name[] = {"energy_distance.csv", "mmd.csv", "to_control.csv", "tests.csv", "witness.csv", "cme.csv", "spectrum.csv", "components.csv", "populations.svg", "tests.svg", "spectrum.svg", "components.svg"};
  char                     path[PETSC_MAX_PATH_LEN];
  int                      rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(e->comm, &rank));
  for (size_t k = 0; k < sizeof name / sizeof *name && !rank; k++) {
    PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", e->folder, name[k]));
    (void)remove(path); /* what is not there, or not ours to remove, shows when the table is written */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_write_text(const Embed *e, const char *name, PetscErrorCode (*print)(const void *, FILE *), const void *context)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/%s", e->folder, name));
  PetscCall(file_write_printed(e->comm, path, print, context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void embed_print_labels(const CellStoreTable *table, const Population *population, PetscBool pooled, FILE *stream)
{
  csv_field(stream, table->perturbation.name[population->perturbation]);
  fputc(',', stream);
  csv_field(stream, table->cell_type.name[population->cell_type]);
  fputc(',', stream);
  if (!pooled) csv_field(stream, table->batch.name[population->batch]);
}

static void print_label(const Embed *e, PetscInt row, FILE *stream)
{
  char label[768];

  population_label(e->table, e->population[row], label, sizeof label);
  csv_field(stream, label);
}

/* A square table with a line of labels and a label at the beginning of each line, as pandas writes one. */
static PetscErrorCode print_matrix(const void *context, FILE *stream)
{
  const EmbedNumbers *numbers = context;
  const Embed        *e = numbers->embed;
  const double       *values = numbers->value;

  fputs("population", stream);
  for (PetscInt j = 0; j < e->groups; j++) {
    fputc(',', stream);
    print_label(e, j, stream);
  }
  fputc('\n', stream);
  for (PetscInt i = 0; i < e->groups; i++) {
    print_label(e, i, stream);
    for (PetscInt j = 0; j < e->groups; j++) fprintf(stream, ",%.12g", values[(size_t)i * (size_t)e->groups + (size_t)j]);
    fputc('\n', stream);
  }
  return PETSC_SUCCESS;
}

/* One line a population: discrepancies to its paired control, (groups, 2). */
static PetscErrorCode print_to_control(const void *context, FILE *stream)
{
  const EmbedNumbers *numbers = context;
  const Embed        *e = numbers->embed;
  const double       *values = numbers->value;

  static const char *const split[] = {"train", "validation", "test"};

  fputs("perturbation,cell_type,batch,split,cells,control_cells,energy_distance,mmd\n", stream);
  for (PetscInt i = 0; i < e->groups; i++) {
    const Population *p = &e->table->population[e->population[i]];
    if (p->control < 0 || p->control == e->population[i]) continue;
    embed_print_labels(e->table, p, PETSC_FALSE, stream);
    fprintf(stream, ",%s,%lld,%lld", split[p->split], (long long)p->cells, (long long)e->table->population[p->control].cells);
    fputc(',', stream);
    if (embed_control_row(e, i) >= 0 && e->energy.values) fprintf(stream, "%.12g", values[2 * i]);
    fputc(',', stream);
    if (embed_control_row(e, i) >= 0) fprintf(stream, "%.12g", values[2 * i + 1]);
    fputc('\n', stream);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode embed_against_control(const Embed *e, const BlockMatrix *matrix, double *value)
{
  enum { COLUMNS = 256 };
  double *panel;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(value, e->groups));
  PetscCall(PetscMalloc1((size_t)e->groups * COLUMNS, &panel));
  for (PetscInt first = 0; first < e->groups; first += COLUMNS) {
    const PetscInt count = PetscMin(COLUMNS, e->groups - first);
    PetscCall(blockmatrix_replicate(matrix, first, count, panel));
    for (PetscInt i = 0; i < e->groups; i++) {
      const PetscInt control = embed_control_row(e, i);
      if (control >= first && control < first + count) value[i] = panel[(size_t)i * (size_t)count + (size_t)(control - first)];
    }
  }
  PetscCall(PetscFree(panel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The nearest and the farthest treated population on one line; value (groups, 2), column 0 energy distances, 1 MMD^2. */
static PetscErrorCode say_extremes(const Embed *e, const double *value)
{
  const int column = e->energy.values ? 0 : 1;
  PetscInt  least = -1, most = -1;
  char      label[2][768];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < e->groups; i++) {
    const PetscInt control = embed_control_row(e, i);
    if (control < 0 || control == i) continue;
    if (least < 0 || value[2 * i + column] < value[2 * least + column]) least = i;
    if (most < 0 || value[2 * i + column] > value[2 * most + column]) most = i;
  }
  if (most < 0 || most == least) PetscFunctionReturn(PETSC_SUCCESS);
  population_label(e->table, e->population[least], label[0], sizeof label[0]);
  population_label(e->table, e->population[most], label[1], sizeof label[1]);
  PetscCall(log_line(e->comm, "  to control %s from %.3g (%s) to %.3g (%s)", column ? "squared MMD" : "energy distance", value[2 * least + column], label[0], value[2 * most + column], label[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_to_control(const Embed *e)
{
  double *values, *energy, *mmd;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(2 * (size_t)e->groups, &values, e->groups, &energy, e->groups, &mmd));
  if (e->energy.values) PetscCall(embed_against_control(e, &e->energy, energy));
  PetscCall(embed_against_control(e, &e->mmd, mmd));
  for (PetscInt i = 0; i < e->groups; i++) {
    values[2 * i] = energy[i];
    values[2 * i + 1] = mmd[i];
  }
  PetscCall(embed_write_text(e, "to_control.csv", print_to_control, &(EmbedNumbers){e, values}));
  PetscCall(say_extremes(e, values));
  PetscCall(PetscFree3(values, energy, mmd));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_write_tables(Embed *e)
{
  double *values;

  PetscFunctionBeginUser;
  PetscCall(write_to_control(e));
  PetscCall(embed_write_spectrum_tables(e));
  if (e->groups > EMBED_CSV_MOST) {
    PetscCall(log_line(e->comm, "  tables     %d populations: the matrices are in embedding.h5 only", (int)e->groups));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1((size_t)e->groups * (size_t)e->groups, &values));
  if (e->energy.values) {
    PetscCall(blockmatrix_replicate(&e->energy, 0, e->groups, values));
    PetscCall(embed_write_text(e, "energy_distance.csv", print_matrix, &(EmbedNumbers){e, values}));
  }
  PetscCall(blockmatrix_replicate(&e->mmd, 0, e->groups, values));
  PetscCall(embed_write_text(e, "mmd.csv", print_matrix, &(EmbedNumbers){e, values}));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
