/* The union of the inputs' genes, and which of them the store keeps. */
#include "data/hvg.h"
#include "data/prepare_internal.h"
#include <ctype.h>
#include <math.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/options.h>
#include <stdlib.h>
#include <string.h>

/* Add one input's genes; names the gene that it holds twice. */
static PetscErrorCode add_genes(PrepareInput *input, NameIndex *index, Vocabulary *all, PetscInt *capacity)
{
  const char *const *names;
  unsigned char     *seen;
  PetscErrorCode     code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(anndata_gene_names(input->file, &names));
  PetscCall(PetscMalloc1((size_t)input->genes, &input->gene));
  PetscCall(PetscCalloc1((size_t)(all->count + input->genes), &seen));
  for (PetscInt64 g = 0; g < input->genes && !code; g++) {
    int32_t *at = &input->gene[g];
    PetscCall(nameindex_put(index, (const char *const *)all->name, names[g], all->count, at));
    if (*at == all->count) {
      if (all->count == *capacity) PetscCall(PetscRealloc((size_t)(*capacity *= 2) * sizeof *all->name, &all->name));
      PetscCall(PetscStrallocpy(names[g], &all->name[all->count]));
      all->count++;
    }
    if (seen[*at]) code = error_user("%s: gene '%s' is there twice; make the names of var unique first", input->path, names[g]);
    seen[*at] = 1;
  }
  PetscCall(PetscFree(seen));
  PetscFunctionReturn(code);
}

PetscErrorCode prepare_gene_union(Preparation *preparation)
{
  Vocabulary    *all      = &preparation->all_genes;
  PetscInt       capacity = 1024;
  PetscErrorCode code     = PETSC_SUCCESS;
  NameIndex      index;

  PetscFunctionBeginUser;
  PetscCall(nameindex_create(&index));
  PetscCall(PetscMalloc1((size_t)capacity, &all->name));
  for (PetscInt i = 0; i < preparation->inputs && !code; i++) code = add_genes(&preparation->input[i], &index, all, &capacity);
  PetscCall(nameindex_destroy(&index));
  PetscCall(code);
  for (PetscInt i = 0; i < preparation->inputs && preparation->inputs > 1; i++)
    PetscCall(log_line(preparation->comm, "             %s: %lld of the %d genes of all inputs", preparation->table.dataset.name[i], (long long)preparation->input[i].genes,
                       (int)all->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Choice ---- */

static PetscErrorCode keep_all(Preparation *preparation, PetscInt *count)
{
  PetscFunctionBeginUser;
  *count = preparation->all_genes.count;
  PetscCall(PetscMalloc1((size_t)*count, &preparation->chosen));
  for (PetscInt g = 0; g < *count; g++) preparation->chosen[g] = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Genes of a list, in its order; a gene that no input has is kept as zeros (index -1). */
static PetscErrorCode keep_listed(Preparation *preparation, const char *path, PetscInt count, char **listed)
{
  const Vocabulary *all = &preparation->all_genes;
  NameIndex         known, twice;
  PetscInt          missing = 0;
  const char       *first = NULL;
  PetscErrorCode    code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCall(nameindex_create(&known));
  PetscCall(nameindex_create(&twice));
  PetscCall(PetscMalloc1((size_t)count + 1, &preparation->chosen));
  for (PetscInt g = 0; g < all->count; g++) {
    int32_t at;
    PetscCall(nameindex_put(&known, (const char *const *)all->name, all->name[g], g, &at));
  }
  for (PetscInt g = 0; g < count && !code; g++) {
    int32_t at;
    PetscCall(nameindex_put(&twice, (const char *const *)listed, listed[g], g, &at));
    if (at != g) code = error_user("%s: gene '%s' is listed twice", path, listed[g]);
    preparation->chosen[g] = nameindex_find(&known, (const char *const *)all->name, listed[g]);
    if (preparation->chosen[g] >= 0) continue;
    if (!missing++) first = listed[g];
  }
  PetscCall(nameindex_destroy(&known));
  PetscCall(nameindex_destroy(&twice));
  PetscCall(code);
  if (missing == count) return error_user("%s: none of the listed genes is in the input (the first is '%s'); -genes takes a number or a file with one gene name a line", path, first ? first : "");
  if (missing) PetscCall(log_line(preparation->comm, "             %d of the %d listed genes are not in the input and stay zero ('%s' first)", (int)missing, (int)count, first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode keep_file(Preparation *preparation, const char *path, PetscInt *count)
{
  char         **listed, *text;
  size_t         length;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(preparation->comm, path, &text, &length));
  PetscCall(string_split(text, "\r\n", count, &listed));
  PetscCall(PetscFree(text));
  if (!*count) return error_user("%s: no gene names in it; write one a line", path);
  code = keep_listed(preparation, path, *count, listed);
  if (code) PetscCall(strings_free(*count, &listed));
  PetscCall(code);
  preparation->table.gene = (Vocabulary){*count, listed};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode keep_variable(Preparation *preparation, PetscInt wanted, PetscInt *count)
{
  const PetscInt all = preparation->all_genes.count;
  double        *log_mean, *dispersion;
  int32_t       *variable;
  PetscInt       next = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)all, &log_mean, (size_t)all, &dispersion, (size_t)all, &variable));
  PetscCall(hvg_select(all, preparation->gene_mean, preparation->gene_variance, wanted, log_mean, dispersion, variable, count));
  PetscCall(PetscMalloc1((size_t)*count + 1, &preparation->chosen));
  for (PetscInt g = 0; g < all; g++)
    if (variable[g]) preparation->chosen[next++] = g;
  PetscCall(PetscFree3(log_mean, dispersion, variable));
  if (!*count) return error_user("no gene varies over the training cells: nothing to choose highly variable genes from; use -genes all");
  if (*count > wanted) PetscCall(log_line(preparation->comm, "             %d genes share the last place: %d are kept", (int)(*count - wanted + 1), (int)*count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the store says of its genes: scanpy's means and dispersions, and whether a gene was chosen for its variability. */
static PetscErrorCode describe_genes(Preparation *preparation, PetscBool variable)
{
  const PetscInt count = preparation->table.gene.count;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)count, &preparation->log_mean, (size_t)count, &preparation->dispersion, (size_t)count, &preparation->variable));
  for (PetscInt g = 0; g < count; g++) {
    const PetscInt at     = preparation->chosen[g];
    const double   mean   = at < 0 ? 0 : preparation->gene_mean[at], variance = at < 0 ? 0 : preparation->gene_variance[at];
    preparation->log_mean[g]   = log1p(mean);
    preparation->dispersion[g] = variance > 0 ? log(variance / mean) : NAN;
    preparation->variable[g]   = variable ? 1 : 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode prepare_gene_choice(Preparation *preparation)
{
  const char *genes    = preparation->options->genes;
  Vocabulary *kept     = &preparation->table.gene;
  PetscInt    count    = 0;
  PetscBool   variable = PETSC_FALSE;
  char       *end;
  const long  wanted = strtol(genes, &end, 10);

  PetscFunctionBeginUser;
  if (*genes && !*end && wanted < 1) return error_user("-genes %s: at least one gene is needed; give a number, 'all' or a file with one gene name a line", genes);
  if (!*genes || !strcmp(genes, "all") || (isdigit((unsigned char)*genes) && !*end && wanted >= preparation->all_genes.count)) PetscCall(keep_all(preparation, &count));
  else if (isdigit((unsigned char)*genes) && !*end) {
    PetscCall(keep_variable(preparation, (PetscInt)wanted, &count));
    variable = PETSC_TRUE;
  } else PetscCall(keep_file(preparation, genes, &count));
  if (!kept->name) {
    kept->count = count;
    PetscCall(PetscMalloc1((size_t)count + 1, &kept->name));
    for (PetscInt g = 0; g < count; g++) PetscCall(PetscStrallocpy(preparation->all_genes.name[preparation->chosen[g]], &kept->name[g]));
  }
  for (PetscInt i = 0; i < preparation->inputs; i++) {
    PrepareInput *input = &preparation->input[i];
    int32_t      *place;
    PetscCall(PetscMalloc1((size_t)preparation->all_genes.count, &place));
    for (PetscInt g = 0; g < preparation->all_genes.count; g++) place[g] = -1;
    for (PetscInt g = 0; g < count; g++)
      if (preparation->chosen[g] >= 0) place[preparation->chosen[g]] = g;
    PetscCall(PetscMalloc1((size_t)input->genes, &input->kept));
    for (PetscInt64 g = 0; g < input->genes; g++) input->kept[g] = place[input->gene[g]];
    PetscCall(PetscFree(place));
  }
  if (preparation->moments) PetscCall(describe_genes(preparation, variable));
  PetscCall(log_line(preparation->comm, "             %d of %d genes kept%s", (int)count, (int)preparation->all_genes.count, variable ? ", the most variable in the training cells" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}
