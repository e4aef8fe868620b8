/* From AnnData files to a cell store: the order of the steps. */
#include "data/prepare_internal.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <perturbdiff/data/split.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Inputs ---- */

/* The name of a data set: the file's without folder and .h5ad. */
static PetscErrorCode dataset_name(const char *path, char **name)
{
  const char *slash = strrchr(path, '/');
  char       *end;

  PetscFunctionBeginUser;
  PetscCall(PetscStrallocpy(slash ? slash + 1 : path, name));
  if ((end = strstr(*name, ".h5ad"))) *end = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's part of the checksum of a file's bytes: pieces dealt round. */
static PetscErrorCode file_checksum(const Preparation *preparation, const char *path, int64_t *size, uint64_t *checksum)
{
  const size_t   piece = (size_t)4 << 20;
  const int      file  = open(path, O_RDONLY | O_CLOEXEC);
  struct stat    status;
  unsigned char *bytes;
  ssize_t        got = 0;

  PetscFunctionBeginUser;
  if (file < 0 || fstat(file, &status)) {
    if (file >= 0) close(file);
    return error_user("%s: cannot be read: %s", path, strerror(errno));
  }
  *size     = (int64_t)status.st_size;
  *checksum = 0;
  PetscCall(PetscMalloc1(piece, &bytes));
  for (int64_t at = (int64_t)piece * preparation->rank; at < *size && got >= 0; at += (int64_t)piece * preparation->ranks) {
    size_t length = 0;
    while (length < piece && (got = pread(file, bytes + length, piece - length, at + (int64_t)length)) > 0) length += (size_t)got;
    *checksum += checksum_piece(bytes, length, (uint64_t)at);
  }
  PetscCall(PetscFree(bytes));
  close(file);
  if (got < 0) return error_user("%s: cannot be read: %s", path, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whatever way its path is written, an input is not overwritten. */
static PetscErrorCode not_the_output(const char *path, const char *output)
{
  struct stat in, out;

  if (!stat(path, &in) && !stat(output, &out) && in.st_dev == out.st_dev && in.st_ino == out.st_ino) return error_user("%s: -out is one of the inputs; give it another name", output);
  return PETSC_SUCCESS;
}

static PetscErrorCode open_input(Preparation *preparation, PetscInt i)
{
  const PrepareOptions *options = preparation->options;
  PrepareInput         *input   = &preparation->input[i];
  uint64_t              checksum;
  PetscInt64            rows;

  PetscFunctionBeginUser;
  input->path = options->input[i];
  PetscCallAgree(preparation->comm, not_the_output(input->path, options->output));
  PetscCall(anndata_open(preparation->comm, input->path, &input->file));
  PetscCall(anndata_select(input->file, options->matrix));
  PetscCall(anndata_shape(input->file, &input->cells, &input->genes));
  if (!input->cells || !input->genes) return error_user("%s: %s is empty (%lld cells, %lld genes)", input->path, options->matrix, (long long)input->cells, (long long)input->genes);
  PetscCallAgree(preparation->comm, file_checksum(preparation, input->path, &input->size, &checksum));
  PetscCallMPI(MPI_Allreduce(&checksum, &input->checksum, 1, MPI_UINT64_T, MPI_SUM, preparation->comm));
  PetscCall(anndata_rows_for_bytes(input->file, options->chunk_bytes / 8, &rows));
  /* A block for each rank at least. */
  const PetscInt64 even = (input->cells + preparation->ranks - 1) / preparation->ranks;
  input->block_rows     = rows < 1 ? 1 : rows < even ? rows : even;
  input->blocks         = (input->cells + input->block_rows - 1) / input->block_rows;
  input->first_cell     = preparation->cells;
  preparation->cells += input->cells;
  PetscCall(log_line(preparation->comm, "             %s: %lld cells, %lld genes in %s", input->path, (long long)input->cells, (long long)input->genes, options->matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode open_inputs(Preparation *preparation)
{
  const PrepareOptions *options  = preparation->options;
  Vocabulary           *datasets = &preparation->table.dataset;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)preparation->inputs, &preparation->input));
  PetscCall(PetscCalloc1((size_t)preparation->inputs, &datasets->name));
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    PetscCall(dataset_name(options->input[i], &datasets->name[i]));
    datasets->count++;
    if (vocabulary_find(datasets, datasets->name[i]) != i)
      return error_user("two inputs are called '%s'; the name of the file is the name of the data set: rename one", datasets->name[i]);
    PetscCall(open_input(preparation, i));
  }
  PetscCall(PetscMalloc1((size_t)preparation->cells, &preparation->population));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- The whole ---- */

/* Can the output be written at all? Better to know before the first pass than after it. */
static PetscErrorCode try_output(const Preparation *preparation)
{
  FileDraft draft;

  PetscFunctionBeginUser;
  PetscCall(file_draft_create(preparation->comm, preparation->options->output, &draft));
  PetscCall(file_draft_discard(&draft));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode describe_table(Preparation *preparation)
{
  const PrepareOptions *options = preparation->options;
  CellStoreTable       *table   = &preparation->table;

  PetscFunctionBeginUser;
  PetscCall(PetscStrallocpy(options->perturbation_column, &table->perturbation_column));
  PetscCall(PetscStrallocpy(options->cell_type_column, &table->cell_type_column));
  PetscCall(PetscStrallocpy(options->batch_column, &table->batch_column));
  table->value_scale = options->value_scale;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode log_split(const Preparation *preparation)
{
  const CellStoreTable *table  = &preparation->table;
  PetscInt              sets[3] = {0};
  PetscInt64            cells[3] = {0};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < table->populations; i++) {
    const Population *p = &table->population[i];
    sets[p->split] += p->perturbation != table->control;
    cells[p->split] += p->cells;
  }
  PetscCall(log_line(preparation->comm, "             perturbed populations (cells): train %d (%lld with control), validation %d (%lld), test %d (%lld)", (int)sets[0], (long long)cells[0],
                     (int)sets[1], (long long)cells[1], (int)sets[2], (long long)cells[2]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Are the genes to be chosen by a number smaller than what there is? */
static PetscBool wants_variable_genes(const Preparation *preparation)
{
  char      *end;
  const long wanted = strtol(preparation->options->genes, &end, 10);

  return isdigit((unsigned char)*preparation->options->genes) && !*end && wanted < preparation->all_genes.count ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode run(Preparation *preparation)
{
  const PrepareOptions *options = preparation->options;
  CellStoreTable       *table   = &preparation->table;
  PetscInt              counts  = 0;
  LogStage              stage;
  char                  size[32];
  struct stat           status;

  PetscFunctionBeginUser;
  PetscCall(try_output(preparation));
  PetscCall(log_stage_begin(preparation->comm, "labels", &stage));
  PetscCall(open_inputs(preparation));
  PetscCall(describe_table(preparation));
  PetscCall(prepare_populations(preparation));
  PetscCall(prepare_gene_union(preparation));
  PetscCall(split_apply(table, options->split, options->holdouts, options->holdout, options->validation_fraction, options->seed, preparation->comm));
  PetscCall(log_split(preparation));
  PetscCall(log_stage_end(&stage, "%lld cells of %d populations", (long long)table->cells, (int)table->populations));

  PetscCall(log_stage_begin(preparation->comm, "statistics", &stage));
  preparation->moments = strcmp(options->normalize, "none") || wants_variable_genes(preparation) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(prepare_statistics(preparation));
  PetscCall(prepare_gene_choice(preparation));
  for (PetscInt i = 0; i < preparation->inputs; i++) counts += preparation->input[i].kind == VALUES_COUNTS;
  table->library_size = counts == preparation->inputs ? LIBRARY_SIZE : 0;
  PetscCall(log_stage_end(&stage, "%lld cells read", (long long)preparation->cells));

  PetscCall(log_stage_begin(preparation->comm, "store", &stage));
  PetscCall(prepare_write(preparation));
  format_bytes(stat(options->output, &status) ? 0 : (double)status.st_size, size, sizeof size);
  PetscCall(log_stage_end(&stage, "%s: %lld cells, %d genes, %s", options->output, (long long)table->cells, (int)table->gene.count, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode free_preparation(Preparation *preparation)
{
  CellStoreTable *table           = &preparation->table;
  Vocabulary     *vocabularies[6] = {&table->gene, &table->perturbation, &table->cell_type, &table->batch, &table->dataset, &preparation->all_genes};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; preparation->input && i < preparation->inputs; i++) {
    PetscCall(anndata_close(&preparation->input[i].file));
    PetscCall(PetscFree(preparation->input[i].gene));
    PetscCall(PetscFree(preparation->input[i].kept));
  }
  for (int i = 0; i < 6; i++) PetscCall(strings_free(vocabularies[i]->count, &vocabularies[i]->name));
  PetscCall(PetscFree(preparation->input));
  PetscCall(PetscFree(preparation->population));
  PetscCall(PetscFree(table->population));
  PetscCall(PetscFree(table->perturbation_column));
  PetscCall(PetscFree(table->cell_type_column));
  PetscCall(PetscFree(table->batch_column));
  PetscCall(PetscFree3(preparation->gene_entries, preparation->gene_mean, preparation->gene_variance));
  PetscCall(PetscFree(preparation->chosen));
  PetscCall(PetscFree3(preparation->log_mean, preparation->dispersion, preparation->variable));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prepare_store(MPI_Comm comm, const PrepareOptions *options)
{
  Preparation    preparation = {.comm = comm, .options = options, .inputs = options->inputs};
  PetscErrorCode code;

  PetscFunctionBeginUser;
  if (options->inputs < 1) return error_user("-in: give at least one AnnData file");
  PetscCallMPI(MPI_Comm_rank(comm, &preparation.rank));
  PetscCallMPI(MPI_Comm_size(comm, &preparation.ranks));
  code = run(&preparation);
  PetscCall(free_preparation(&preparation));
  PetscFunctionReturn(code);
}
