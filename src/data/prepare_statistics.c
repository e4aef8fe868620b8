/* The first pass over the inputs: counts or log values, and exact sums over the training cells. */
#include "data/prepare_internal.h"
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/options.h>
#include <string.h>

/* log1p values of cells scaled to any usual library size stay below this; counts of 3 million do not. */
#define LARGEST_LOG 15.0

/* Sums in fixed point with 30 binary digits after the point: exact, so that they do not depend on the number of ranks. */
#define FIXED_POINT 1073741824.0
typedef unsigned __int128 Sum;

typedef struct {
  Sum     *sum, *squares; /* (all genes) of the scaled counts of training cells */
  int64_t *entries;       /* (all genes) non-zero values in kept cells */
  int64_t  empty;         /* kept cells without any count */
  int64_t  longest;       /* cell name */
  float   *scratch;       /* one row */
} Statistics;

/* What an input's values are like. */
typedef struct {
  double    most;
  PetscBool decimals, seen;
  ValueKind guess; /* what the sums took them for */
} Facts;

void prepare_values(ValueKind kind, int64_t entries, const float *values, float *out)
{
  double total = 0;

  if (kind != VALUES_COUNTS) {
    if (out != values) memcpy(out, values, (size_t)entries * sizeof *out);
    return;
  }
  for (int64_t e = 0; e < entries; e++) total += values[e];
  const double scale = total > 0 ? LIBRARY_SIZE / total : 0;
  for (int64_t e = 0; e < entries; e++) out[e] = log1pf((float)(values[e] * scale));
}

static PetscErrorCode bad_value(const PrepareInput *input, PetscInt64 row, int32_t column, float value)
{
  const char *const *genes;
  char             **names;
  PetscErrorCode     code;

  PetscFunctionBeginUser;
  PetscCall(anndata_gene_names(input->file, &genes));
  PetscCall(anndata_cell_names(input->file, row, 1, &names));
  code = error_user("%s: cell '%s', gene '%s' holds %g; expression values are finite and not negative", input->path, names[0], genes[column], (double)value);
  PetscCall(strings_free(1, &names));
  PetscFunctionReturn(code);
}

/* Whole numbers are counts, values with decimals log values, as far as these rows tell. */
static ValueKind guess_kind(const SparseRows *rows)
{
  for (int64_t e = 0; e < rows->offset[rows->rows]; e++)
    if (rows->value[e] != rintf(rows->value[e])) return VALUES_LOG;
  return VALUES_COUNTS;
}

/* Mean and variance are those of the scaled counts, undoing the logarithm where there is one, as scanpy does. */
static void add_training_row(const PrepareInput *input, ValueKind kind, int64_t entries, const int32_t *column, const float *value, Statistics *statistics)
{
  double total = 0;

  if (kind == VALUES_COUNTS)
    for (int64_t e = 0; e < entries; e++) total += value[e];
  const double scale = total > 0 ? LIBRARY_SIZE / total : 0;
  for (int64_t e = 0; e < entries; e++) {
    const double   scaled = kind == VALUES_COUNTS ? (float)(value[e] * scale) : expm1f(value[e] < (float)LARGEST_LOG ? value[e] : (float)LARGEST_LOG);
    const uint64_t fixed  = (uint64_t)llrint(scaled * FIXED_POINT);
    statistics->sum[input->gene[column[e]]] += fixed;
    statistics->squares[input->gene[column[e]]] += (Sum)fixed * fixed;
  }
}

static PetscErrorCode add_row(const Preparation *preparation, const PrepareInput *input, PetscInt64 row, int64_t entries, const int32_t *column, const float *value, Facts *facts,
                              Statistics *statistics)
{
  const int32_t population = preparation->population[input->first_cell + row];

  PetscFunctionBeginUser;
  if (population < 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int64_t e = 0; e < entries; e++) {
    if (!(value[e] >= 0 && value[e] <= 3.4e38f)) PetscCall(bad_value(input, row, column[e], value[e]));
    if (value[e] > facts->most) facts->most = value[e];
    if (value[e] != rintf(value[e])) facts->decimals = PETSC_TRUE;
    statistics->entries[input->gene[column[e]]]++;
  }
  statistics->empty += !entries;
  if (preparation->moments && preparation->table.population[population].split == SPLIT_TRAIN) add_training_row(input, facts->guess, entries, column, value, statistics);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode longest_name(const Preparation *preparation, const PrepareInput *input, PetscInt64 first, PetscInt64 rows, int64_t *longest)
{
  char **names;

  PetscFunctionBeginUser;
  PetscCall(anndata_cell_names(input->file, first, rows, &names));
  for (PetscInt64 r = 0; r < rows; r++) {
    const int64_t length = (int64_t)strlen(names[r]);
    if (preparation->population[input->first_cell + first + r] >= 0 && length > *longest) *longest = length;
  }
  PetscCall(strings_free((PetscInt)rows, &names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode add_block(const Preparation *preparation, const PrepareInput *input, PetscInt64 block, Facts *facts, Statistics *statistics)
{
  const PetscInt64 first = block * input->block_rows, rest = input->cells - first, rows = rest < input->block_rows ? rest : input->block_rows;
  PetscErrorCode   code = PETSC_SUCCESS;
  SparseRows       read;

  PetscFunctionBeginUser;
  PetscCall(anndata_read_rows(input->file, first, rows, &read));
  if (!facts->seen) facts->guess = guess_kind(&read);
  facts->seen = PETSC_TRUE;
  for (PetscInt64 r = 0; r < rows && !code; r++) {
    const int64_t at = read.offset[r];
    code             = add_row(preparation, input, first + r, read.offset[r + 1] - at, read.column + at, read.value + at, facts, statistics);
  }
  PetscCall(sparserows_free(&read));
  PetscCall(code);
  PetscCall(longest_name(preparation, input, first, rows, &statistics->longest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's blocks of all inputs: dealt round. */
static PetscErrorCode add_blocks(const Preparation *preparation, Facts *facts, Statistics *statistics)
{
  PetscInt64 dealt = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < preparation->inputs; i++)
    for (PetscInt64 block = 0; block < preparation->input[i].blocks; block++)
      if (dealt++ % preparation->ranks == preparation->rank) PetscCall(add_block(preparation, &preparation->input[i], block, &facts[i], statistics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Agree on what each input holds. again: some rank summed under another guess. */
static PetscErrorCode recognise(Preparation *preparation, Facts *facts, PetscBool *again)
{
  PetscFunctionBeginUser;
  *again = PETSC_FALSE;
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    PrepareInput *input  = &preparation->input[i];
    double        all[2] = {facts[i].most, facts[i].decimals};
    int           differs, any;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, all, 2, MPI_DOUBLE, MPI_MAX, preparation->comm));
    if (!strcmp(preparation->options->normalize, "none")) input->kind = VALUES_AS_THEY_ARE;
    else if (all[1] == 0) input->kind = VALUES_COUNTS;
    else if (all[0] < LARGEST_LOG) input->kind = VALUES_LOG;
    else
      return error_user("%s: values have decimals and reach %g: neither counts nor log1p values; give raw counts (-layer), or -normalize none to take them as they are", input->path,
                        all[0]);
    if (preparation->moments && input->kind == VALUES_AS_THEY_ARE && all[0] >= LARGEST_LOG)
      return error_user("%s: highly variable genes are chosen from log1p values, but with -normalize none they reach %g; use -genes all or a list", input->path, all[0]);
    differs = facts[i].seen && (facts[i].guess == VALUES_COUNTS) != (input->kind == VALUES_COUNTS);
    PetscCallMPI(MPI_Allreduce(&differs, &any, 1, MPI_INT, MPI_MAX, preparation->comm));
    if (any) *again = PETSC_TRUE;
    facts[i] = (Facts){.guess = input->kind == VALUES_COUNTS ? VALUES_COUNTS : VALUES_LOG, .seen = PETSC_TRUE};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sum over the ranks, in limbs of 32 binary digits that cannot overflow. */
static PetscErrorCode add_over_ranks(MPI_Comm comm, PetscInt count, Sum *sum)
{
  enum { LIMBS = 4 };
  uint64_t *limb;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)count * LIMBS, &limb));
  for (PetscInt g = 0; g < count; g++)
    for (int l = 0; l < LIMBS; l++) limb[g * LIMBS + l] = (uint64_t)(sum[g] >> (32 * l)) & UINT32_MAX;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, limb, count * LIMBS, MPI_UINT64_T, MPI_SUM, comm));
  for (PetscInt g = 0; g < count; g++) {
    sum[g] = 0;
    for (int l = 0; l < LIMBS; l++) sum[g] += (Sum)limb[g * LIMBS + l] << (32 * l);
  }
  PetscCall(PetscFree(limb));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean and variance (n - 1) of every gene over the training cells; a gene missing from an input is zero there. */
static PetscErrorCode take_moments(Preparation *preparation, Statistics *statistics)
{
  const PetscInt genes = preparation->all_genes.count;
  double         cells = 0;

  PetscFunctionBeginUser;
  PetscCall(add_over_ranks(preparation->comm, genes, statistics->sum));
  PetscCall(add_over_ranks(preparation->comm, genes, statistics->squares));
  for (PetscInt i = 0; i < preparation->table.populations; i++)
    if (preparation->table.population[i].split == SPLIT_TRAIN) cells += (double)preparation->table.population[i].cells;
  for (PetscInt g = 0; g < genes; g++) {
    const long double sum     = (long double)statistics->sum[g] / FIXED_POINT;
    const long double squares = (long double)statistics->squares[g] / FIXED_POINT / FIXED_POINT;
    preparation->gene_mean[g]     = (double)(sum / cells);
    preparation->gene_variance[g] = cells > 1 ? (double)((squares - sum * sum / cells) / (cells - 1)) : 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run_pass(Preparation *preparation, Facts *facts, Statistics *statistics)
{
  PetscBool again = PETSC_TRUE;

  PetscFunctionBeginUser;
  /* A wrong guess from the first rows shows at the end; the second time the kind is known. */
  while (again) {
    const size_t genes = (size_t)preparation->all_genes.count;
    memset(statistics->sum, 0, genes * sizeof *statistics->sum);
    memset(statistics->squares, 0, genes * sizeof *statistics->squares);
    memset(statistics->entries, 0, genes * sizeof *statistics->entries);
    statistics->empty = 0;
    PetscCallAgree(preparation->comm, add_blocks(preparation, facts, statistics));
    PetscCall(recognise(preparation, facts, &again));
  }
  PetscCallMPI(MPI_Allreduce(statistics->entries, preparation->gene_entries, preparation->all_genes.count, MPI_INT64_T, MPI_SUM, preparation->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &statistics->empty, 1, MPI_INT64_T, MPI_SUM, preparation->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &statistics->longest, 1, MPI_INT64_T, MPI_MAX, preparation->comm));
  preparation->empty_cells = statistics->empty;
  preparation->name_length = (size_t)statistics->longest;
  if (preparation->moments) PetscCall(take_moments(preparation, statistics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode log_kinds(const Preparation *preparation)
{
  static const char *const text[3] = {"counts: scaled to 10,000 a cell, log1p taken", "values with decimals below 15: already log1p, left as they are", "values taken as they are"};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < preparation->inputs; i++) PetscCall(log_line(preparation->comm, "             %s: %s", preparation->table.dataset.name[i], text[preparation->input[i].kind]));
  if (preparation->empty_cells) PetscCall(log_line(preparation->comm, "             %lld cells hold no counts at all and are kept as zeros", (long long)preparation->empty_cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prepare_statistics(Preparation *preparation)
{
  const size_t   genes      = (size_t)preparation->all_genes.count;
  Statistics     statistics = {0};
  Facts         *facts;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(genes, &statistics.sum, genes, &statistics.squares, genes, &statistics.entries));
  PetscCall(PetscMalloc3(genes, &preparation->gene_entries, genes, &preparation->gene_mean, genes, &preparation->gene_variance));
  PetscCall(PetscCalloc1((size_t)preparation->inputs, &facts));
  code = run_pass(preparation, facts, &statistics);
  PetscCall(PetscFree(facts));
  PetscCall(PetscFree3(statistics.sum, statistics.squares, statistics.entries));
  PetscCall(code);
  PetscCall(log_kinds(preparation));
  PetscFunctionReturn(PETSC_SUCCESS);
}
