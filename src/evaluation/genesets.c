/* Gene sets: GMT files, over-representation and rank enrichment. */
#include <math.h>
#include <perturbdiff/evaluation/genesets.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

/* limma's default correlation of the genes of a set (Wu and Smyth 2012). */
static const double inter_gene_correlation = 0.01;
static const double significant = 0.05;

typedef struct {
  const char *name;
  PetscInt    place;
} Named;

static int by_name(const void *a, const void *b) { return strcmp(((const Named *)a)->name, ((const Named *)b)->name); }

/* Members of one line that are scored, each once. mark (genes): the last set that had the gene. */
static PetscInt members(char *rest, PetscInt genes, const Named *sorted, PetscInt line, PetscInt *mark, PetscInt *member)
{
  PetscInt count = 0;

  for (char *name; (name = strsep(&rest, "\t"));) {
    const Named  wanted = {name, 0};
    const Named *found = bsearch(&wanted, sorted, (size_t)genes, sizeof *sorted, by_name);
    if (!found || mark[found->place] == line) continue;
    mark[found->place] = line;
    member[count++] = found->place;
  }
  return count;
}

static PetscErrorCode parse_gmt(const char *path, char *text, PetscInt genes, const Named *sorted, PetscInt least, PetscInt most, GeneSets *sets)
{
  PetscInt lines = 1, line = 0, capacity = 0, used = 0, *mark, *member;
  Named   *name;

  PetscFunctionBeginUser;
  for (const char *c = text; *c; c++) lines += *c == '\n';
  PetscCall(PetscMalloc3(genes, &mark, genes, &member, lines, &name));
  PetscCall(PetscArrayzero(mark, genes));
  PetscCall(PetscMalloc1(lines, &sets->name));
  PetscCall(PetscCalloc1(lines + 1, &sets->first));
  PetscInt named = 0;
  for (char *row; (row = strsep(&text, "\n"));) {
    line++;
    row[strcspn(row, "\r")] = '\0';
    if (!*row) continue;
    char *set = strsep(&row, "\t");
    if (!*set)
      return error_user("%s:%lld: a set without a name; a line of a GMT file is name, description and genes, separated by tabs", path, (long long)line);
    strsep(&row, "\t");
    if (!row || !*row)
      return error_user("%s:%lld: set '%.80s' has no genes; a line of a GMT file is name, description and genes, separated by tabs", path, (long long)line,
                        set);
    name[named++] = (Named){set, line};
    const PetscInt count = members(row, genes, sorted, line, mark, member);
    if (count < least || count > most) {
      sets->skipped++;
      continue;
    }
    if (used + count > capacity) {
      capacity = 2 * (used + count);
      PetscCall(PetscRealloc((size_t)capacity * sizeof *sets->gene, &sets->gene));
    }
    PetscCall(PetscArraycpy(sets->gene + used, member, count));
    PetscCall(PetscStrallocpy(set, &sets->name[sets->sets]));
    sets->first[++sets->sets] = used += count;
  }
  qsort(name, (size_t)named, sizeof *name, by_name);
  for (PetscInt i = 1; i < named; i++) {
    if (!by_name(&name[i - 1], &name[i])) {
      return error_user("%s:%lld: set '%.80s' is there twice (line %lld); give every set one name", path, (long long)PetscMax(name[i - 1].place, name[i].place),
                        name[i].name, (long long)PetscMin(name[i - 1].place, name[i].place));
    }
  }
  if (!named) return error_user("%s: no gene sets in it; a GMT file has a line a set: name, description, genes, separated by tabs", path);
  if (!sets->sets) {
    return error_user("%s: none of its %lld sets has %lld to %lld of the scored genes; do its gene names match those of the cells? else give -geneset_least or "
                      "-geneset_most",
                      path, (long long)named, (long long)least, (long long)most);
  }
  PetscCall(PetscFree3(mark, member, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genesets_read(MPI_Comm comm, const char *path, PetscInt genes, const char *const *gene, PetscInt least, PetscInt most, GeneSets *sets)
{
  char  *text;
  size_t length;
  Named *sorted;

  PetscFunctionBeginUser;
  *sets = (GeneSets){0};
  PetscCall(file_read_text(comm, path, &text, &length));
  PetscCall(PetscMalloc1(genes, &sorted));
  for (PetscInt g = 0; g < genes; g++) sorted[g] = (Named){gene[g], g};
  qsort(sorted, (size_t)genes, sizeof *sorted, by_name);
  PetscCallAgree(comm, parse_gmt(path, text, genes, sorted, least, most, sets));
  PetscCall(PetscFree(sorted));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode genesets_destroy(GeneSets *sets)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < sets->sets; s++) PetscCall(PetscFree(sets->name[s]));
  PetscCall(PetscFree(sets->name));
  PetscCall(PetscFree(sets->first));
  PetscCall(PetscFree(sets->gene));
  *sets = (GeneSets){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode geneset_tests(const GeneSets *sets, const GeneContrast *contrast, GeneSetTest *test)
{
  double  *rank, *p, *fdr, ties;
  PetscInt drawn = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(contrast->genes, &rank, sets->sets, &p, sets->sets, &fdr));
  PetscCall(average_ranks(contrast->genes, contrast->score, rank, &ties));
  for (PetscInt g = 0; g < contrast->genes; g++) drawn += contrast_significant(contrast, g);
  for (PetscInt s = 0; s < sets->sets; s++) {
    const PetscInt *member = sets->gene + sets->first[s], size = sets->first[s + 1] - sets->first[s];

    test[s].overlap = 0;
    for (PetscInt i = 0; i < size; i++) test[s].overlap += contrast_significant(contrast, member[i]);
    test[s].enrichment = drawn ? (double)test[s].overlap / drawn * contrast->genes / size : NAN;
    test[s].log_p = hypergeometric_log_tail(test[s].overlap, contrast->genes, size, drawn);
    rank_sum_correlated(contrast->genes, rank, ties, size, member, inter_gene_correlation, &test[s].effect, &test[s].effect_log_p);
    if (isnan(test[s].effect)) test[s].effect = test[s].effect_log_p = 0; /* a set of all genes */
  }
  for (int rank_test = 0; rank_test < 2; rank_test++) {
    for (PetscInt s = 0; s < sets->sets; s++) p[s] = exp(rank_test ? test[s].effect_log_p : test[s].log_p);
    PetscCall(false_discovery_rates(sets->sets, p, NULL, fdr));
    for (PetscInt s = 0; s < sets->sets; s++) *(rank_test ? &test[s].effect_fdr : &test[s].fdr) = fdr[s];
  }
  PetscCall(PetscFree3(rank, p, fdr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode geneset_agreement(PetscInt sets, const GeneSetTest *real, const GeneSetTest *predicted, GeneSetAgreement *a)
{
  double  *x, *y;
  PetscInt both[2] = {0, 0}, any[2] = {0, 0};

  PetscFunctionBeginUser;
  *a = (GeneSetAgreement){0};
  PetscCall(PetscMalloc2(sets, &x, sets, &y));
  for (PetscInt s = 0; s < sets; s++) {
    const PetscBool overlap[2] = {real[s].fdr < significant, predicted[s].fdr < significant};
    const PetscBool rank[2] = {real[s].effect_fdr < significant, predicted[s].effect_fdr < significant};

    x[s] = real[s].effect;
    y[s] = predicted[s].effect;
    for (int side = 0; side < 2; side++) {
      a->significant_overlap[side] += overlap[side];
      a->significant_rank[side] += rank[side];
    }
    both[0] += overlap[0] && overlap[1];
    any[0] += overlap[0] || overlap[1];
    both[1] += rank[0] && rank[1] && (x[s] > 0) == (y[s] > 0);
    any[1] += rank[0] || rank[1];
  }
  PetscCall(spearman_correlation(sets, x, y, &a->spearman));
  a->jaccard_overlap = any[0] ? (double)both[0] / any[0] : NAN;
  a->jaccard_rank = any[1] ? (double)both[1] / any[1] : NAN;
  PetscCall(PetscFree2(x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
