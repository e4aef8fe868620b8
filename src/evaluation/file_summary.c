/* What the metrics need of one file: pseudobulk means, energy distances from the control, differential expression. */
#include "evaluation/pair_internal.h"
#include <cblas.h>
#include <math.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>
#include <perturbdiff/runtime/threads.h>

/* Genes of the control that a thread takes at a time. */
enum { CONTROL_GENES = 128 };

/* While a file is summarised. */
typedef struct {
  CellView             *view;
  const Deal           *deal;
  const SummaryOptions *options;
  FileSummary          *summary;
  GeneColumns           control_columns; /* until their runs are known */
  GeneRuns              control;
  SparseRows            control_rows;
  DistanceCells         control_cells;
  double               *control_mean;   /* (genes) geometric mean in counts */
  double               *control_cpm;    /* (genes) */
  double               *within, *across; /* (perturbations, parts) of the sums of distances */
  double               *within_control; /* (control parts) */
  PetscInt              control_parts;
} Work;

static double rounded(double value, PetscBool single) { return single ? (double)(float)value : value; }

/* Genes that are summed up side by side, as the additions of one wait for each other. */
enum { SIDE_BY_SIDE = 4 };

/* Of some genes, at most SIDE_BY_SIDE, over the values in the order of the cells: sums in double precision; sums of each value times `share`, those in the matrix' own precision. Compiled for both of
   what is stored and both of these. */
__attribute__((always_inline)) static inline void gene_sums(const GeneColumns *columns, PetscInt first, int genes, double share, const PetscBool wide, const PetscBool single, double *sum, double *shares)
{
  const int64_t *const offset = columns->offset + first;
  const float          weight = (float)share;
  float                narrow[SIDE_BY_SIDE] = {0};
  int64_t              shortest = genes == SIDE_BY_SIDE ? INT64_MAX : 0;

  for (int k = 0; k < genes; k++) {
    sum[k] = shares[k] = 0;
    shortest = PetscMin(shortest, offset[k + 1] - offset[k]);
  }
#define ADD(k, e)                                                                \
  {                                                                              \
    const double value = wide ? columns->wide[e] : (double)columns->value[e];    \
    sum[k] += value;                                                             \
    if (single) {                                                                \
      const float part = (float)value * weight;                                  \
      narrow[k] += part;                                                         \
    } else shares[k] += value * share;                                           \
  }
  for (int64_t i = 0; i < shortest; i++)
    _Pragma("GCC unroll 4") for (int k = 0; k < SIDE_BY_SIDE; k++) ADD(k, offset[k] + i)
  for (int k = 0; k < genes; k++) {
    for (int64_t e = offset[k] + shortest; e < offset[k + 1]; e++) ADD(k, e)
    if (single) shares[k] = (double)narrow[k];
  }
#undef ADD
}

/* Of genes [first, end): mean over cells as polars takes it (sums in double precision), before it is rounded to the matrix' precision; geometric mean in counts, expm1(mean(x)), in the matrix' own
   precision and in the order of scipy, which takes every value times 1/n, or of numpy for a dense matrix. */
static void gene_means(const CellView *view, const GeneColumns *columns, PetscInt first, PetscInt end, double *mean, double *geometric)
{
  const double cells = (double)columns->cells, share = view->dense ? 1 : 1 / cells;
  double       sum[SIDE_BY_SIDE], shares[SIDE_BY_SIDE];

  for (PetscInt g = first; g < end; g += SIDE_BY_SIDE) {
    const int genes = (int)PetscMin(SIDE_BY_SIDE, end - g);

    if (columns->wide && view->single) gene_sums(columns, g, genes, share, PETSC_TRUE, PETSC_TRUE, sum, shares);
    else if (columns->wide) gene_sums(columns, g, genes, share, PETSC_TRUE, PETSC_FALSE, sum, shares);
    else if (view->single) gene_sums(columns, g, genes, share, PETSC_FALSE, PETSC_TRUE, sum, shares);
    else gene_sums(columns, g, genes, share, PETSC_FALSE, PETSC_FALSE, sum, shares);
    for (int k = 0; k < genes; k++) {
      mean[g + k] = sum[k] / cells;
      if (view->single) geometric[g + k] = (double)expm1f(view->dense ? (float)shares[k] / (float)cells : (float)shares[k]);
      else geometric[g + k] = expm1(view->dense ? shares[k] / cells : shares[k]);
    }
  }
}

/* Counts of each gene per million counts of the group. */
static void counts_per_million(const GeneColumns *columns, double *cpm)
{
  double total = 0;

  for (PetscInt g = 0; g < columns->genes; g++) {
    cpm[g] = 0;
    for (int64_t e = columns->offset[g]; e < columns->offset[g + 1]; e++) cpm[g] += expm1(genecolumns_get(columns, e));
    cpm[g] /= (double)columns->cells;
    total += cpm[g];
  }
  for (PetscInt g = 0; g < columns->genes; g++) cpm[g] *= 1e6 / (total > 0 ? total : 1);
}

/* ---- control ------------------------------------------------------------------------------------------------------------------- */

/* CONTROL_GENES of the control's genes. */
static PetscErrorCode control_genes(void *context, PetscInt64 piece)
{
  Work          *w = context;
  const CellView *view = w->view;
  const PetscInt  genes = view->genes, first = (PetscInt)piece * CONTROL_GENES, end = PetscMin(genes, first + CONTROL_GENES);
  double         *mean = w->summary->mean + (size_t)view->perturbations * (size_t)genes;

  PetscFunctionBeginUser;
  gene_means(view->lender ? view->lender : view, &w->control_columns, first, end, mean, w->control_mean);
  for (PetscInt g = first; g < end; g++) mean[g] = rounded(mean[g], view->single);
  if (w->options->differential) PetscCall(genecolumns_sort(&w->control_columns, first, end));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The control's means, and what the tests of all perturbations need of it. */
static PetscErrorCode prepare_genes(Work *w)
{
  const PetscInt genes = w->view->genes;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(genes, &w->control_mean, genes, &w->control_cpm));
  PetscCall(genecolumns_create(&w->control_rows, genes, &w->control_columns));
  if (w->options->differential && !isnan(w->options->cpm_filter)) counts_per_million(&w->control_columns, w->control_cpm);
  PetscCall(threads_each(threads_that_allocate(), (genes + CONTROL_GENES - 1) / CONTROL_GENES, control_genes, w));
  if (w->options->differential) PetscCall(generuns_create(&w->control_columns, &w->control));
  PetscCall(genecolumns_destroy(&w->control_columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Distances among the control cells, which are shared out, and what those from the perturbed cells need. */
static PetscErrorCode prepare_distances(Work *w)
{
  PetscFunctionBeginUser;
  PetscCall(distancecells_create(&w->control_rows, w->view->genes, &w->control_cells));
  PetscCall(distancecells_free_rows(&w->control_cells, &w->control_rows));
  /* Before there are panels: not all of both are in memory at the same time. */
  for (PetscInt part = w->deal->rank; part < w->control_parts; part += w->deal->size)
    PetscCall(distance_part(&w->control_cells, &w->control_cells, w->view->single, w->control_parts, part, &w->within_control[part], NULL));
  PetscCall(distancecells_keep_panels(&w->control_cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank needs the control cells. */
static PetscErrorCode prepare_control(Work *w)
{
  CellView      *view = w->view;
  const PetscInt last = view->perturbations;
  unsigned char *wanted;
  SparseRows    *rows;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(last + 1, &wanted, last + 1, &rows));
  wanted[last] = 1;
  PetscCall(cellview_load(view->lender ? view->lender : view, wanted, rows));
  w->control_rows = rows[last];
  PetscCall(PetscFree2(wanted, rows));
  PetscCall(prepare_genes(w));
  if (w->options->energy) PetscCall(prepare_distances(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- one perturbation ---------------------------------------------------------------------------------------------------------- */

/* Genes [first, end) of the team's member. */
static void genes_of_member(const Work *w, PetscInt p, PetscInt *first, PetscInt *end)
{
  const PetscInt64 genes = w->view->genes, member = w->deal->rank - w->deal->first[p], count = w->deal->count[p];

  *first = (PetscInt)(genes * member / count);
  *end = (PetscInt)(genes * (member + 1) / count);
}

static PetscErrorCode test_genes(Work *w, PetscInt p, GeneColumns *columns, const double *geometric)
{
  DifferentialTable *t = &w->summary->de;
  const PetscInt     genes = w->view->genes, row = w->deal->place[p];
  const size_t       base = (size_t)row * (size_t)genes;
  PetscInt           first, end;
  double            *cpm = NULL;

  PetscFunctionBeginUser;
  t->target_cells[row] = columns->cells;
  t->reference_cells[row] = w->control.cells;
  if (!isnan(w->options->cpm_filter)) {
    PetscCall(PetscMalloc1(genes, &cpm));
    counts_per_million(columns, cpm);
  }
  for (PetscInt g = 0; g < genes; g++) {
    t->target_mean[base + (size_t)g] = geometric[g];
    t->reference_mean[base + (size_t)g] = w->control_mean[g];
    if (cpm) t->dropped[base + (size_t)g] = !(cpm[g] > w->options->cpm_filter || w->control_cpm[g] > w->options->cpm_filter);
    differential_fold_changes(t, base + (size_t)g);
  }
  genes_of_member(w, p, &first, &end);
  /* Members of a team are summed up; genes that are dropped have no rate. */
  PetscCall(PetscArrayzero(t->p_value + base, genes));
  PetscCall(PetscArrayzero(t->statistic + base, genes));
  PetscCall(PetscArrayzero(t->fdr + base, genes));
  PetscCall(genecolumns_sort(columns, first, end));
  for (PetscInt g = first; g < end; g++) rank_sum_test(columns, &w->control, g, &t->statistic[base + (size_t)g], &t->p_value[base + (size_t)g]);
  PetscCall(PetscFree(cpm));
  if (w->deal->size <= w->deal->items) PetscCall(false_discovery_rates(genes, t->p_value + base, t->dropped + base, t->fdr + base));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Distances among a perturbation's cells, and from the control's. */
static PetscErrorCode measure(Work *w, PetscInt p, DistanceCells *cells)
{
  const PetscInt  parts = w->deal->parts;
  const PetscBool single = w->view->single;
  double         *mean = w->summary->sums.within ? &w->summary->sums.within[p] : NULL;

  PetscFunctionBeginUser;
  /* Their panels serve the partner's cells too. */
  if (w->summary->sums.across) PetscCall(distancecells_prepare(cells, PETSC_TRUE));
  for (PetscInt part = w->deal->rank - w->deal->first[p]; part < parts; part += w->deal->count[p]) {
    const size_t at = (size_t)p * (size_t)parts + (size_t)part;
    PetscCall(distance_part(cells, cells, single, parts, part, &w->within[at], mean));
    PetscCall(distance_part(cells, &w->control_cells, single, parts, part, &w->across[at], NULL));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything but the distances from the partner's cells. */
static PetscErrorCode summarise_perturbation(Work *w, PetscInt p, const SparseRows *rows, DistanceCells *cells)
{
  const PetscInt genes = w->view->genes;
  GeneColumns    columns;
  double        *mean, *geometric;

  PetscFunctionBeginUser;
  PetscCall(genecolumns_create(rows, genes, &columns));
  PetscCall(PetscMalloc2(genes, &mean, genes, &geometric));
  gene_means(w->view, &columns, 0, genes, mean, geometric);
  for (PetscInt g = 0; g < genes && deal_leads(w->deal, p); g++) {
    const size_t at = (size_t)p * (size_t)genes + (size_t)g;

    w->summary->mean[at] = rounded(mean[g], w->view->single);
    if (w->summary->sums.mean) w->summary->sums.mean[at] = mean[g];
  }
  if (w->options->differential) PetscCall(test_genes(w, p, &columns, geometric));
  PetscCall(PetscFree2(mean, geometric));
  PetscCall(genecolumns_destroy(&columns));
  PetscCall(distancecells_create(rows, genes, cells));
  if (w->options->energy) PetscCall(measure(w, p, cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some own perturbations, of which those of a batch have their rows. */
typedef struct {
  Work       *work; /* of one file; of both in a task of two */
  PetscInt    begin;
  SparseRows *rows; /* (perturbations + 1); NULL: read one by one */
} Batch;

static PetscErrorCode summarise_one(void *context, PetscInt64 k)
{
  const Batch   *batch = context;
  Work          *w = batch->work;
  const PetscInt p = w->deal->mine[batch->begin + k];
  SparseRows     own, *rows = batch->rows ? &batch->rows[p] : &own;
  DistanceCells  cells;

  PetscFunctionBeginUser;
  if (!batch->rows) PetscCall(cellview_load_kept(w->view, p, rows));
  PetscCall(summarise_perturbation(w, p, rows, &cells));
  if (w->summary->sums.across) {
    DistanceCells partner;
    SparseRows    of_partner;

    PetscCall(cellview_load_kept(w->options->partner, p, &of_partner));
    PetscCall(distancecells_create(&of_partner, w->view->genes, &partner));
    PetscCall(distance_mean(&partner, &cells, &w->summary->sums.across[p]));
    PetscCall(distancecells_destroy(&partner));
    PetscCall(sparserows_free(&of_partner));
  }
  PetscCall(distancecells_destroy(&cells));
  PetscCall(sparserows_free(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A perturbation's cells in both files, while they are there. */
static PetscErrorCode summarise_two(void *context, PetscInt64 k)
{
  Work          *w = ((const Batch *)context)->work;
  const PetscInt p = w->deal->mine[k];
  SparseRows     rows[2];
  DistanceCells  cells[2];

  PetscFunctionBeginUser;
  for (int s = 0; s < 2; s++) {
    PetscCall(cellview_load_kept(w[s].view, p, &rows[s]));
    PetscCall(summarise_perturbation(&w[s], p, &rows[s], &cells[s]));
  }
  PetscCall(distance_mean(&cells[0], &cells[1], &w[1].summary->sums.across[p]));
  for (int s = 0; s < 2; s++) {
    PetscCall(distancecells_destroy(&cells[s]));
    PetscCall(sparserows_free(&rows[s]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Threads take a perturbation each; where these are fewer, all share the distances of one. */
static PetscErrorCode each_perturbation(PetscInt count, PetscErrorCode (*task)(void *context, PetscInt64 k), Batch *batch)
{
  const int threads = threads_that_allocate();

  PetscFunctionBeginUser;
  PetscCall(threads_each(count < threads ? 1 : threads, count, task, batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own perturbations in batches whose cells fit into memory, each batch a pass over the rows of the file that hold its cells; those of a file that is kept in memory one by one. */
static PetscErrorCode summarise_own(Work *w)
{
  const Deal    *deal = w->deal;
  const PetscInt groups = w->view->perturbations + 1;
  unsigned char *wanted;
  SparseRows    *rows;

  PetscFunctionBeginUser;
  PetscCall(prepare_control(w));
  if (cellview_is_kept(w->view)) {
    PetscCall(each_perturbation(deal->own, summarise_one, &(Batch){.work = w}));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc2(groups, &wanted, groups, &rows));
  for (PetscInt begin = 0, end; begin < deal->own; begin = end) {
    double bytes = 0;

    PetscCall(PetscArrayzero(wanted, groups));
    for (end = begin; end < deal->own; end++) {
      const PetscInt p = deal->mine[end];
      bytes += sparserows_bytes(w->view->group_cells[p], w->view->group_entries[p], w->view->single ? PETSC_FALSE : PETSC_TRUE);
      if (end > begin && bytes > w->options->bytes) break;
      wanted[p] = 1;
    }
    PetscCall(cellview_load(w->view, wanted, rows));
    PetscCall(each_perturbation(end - begin, summarise_one, &(Batch){w, begin, rows}));
  }
  PetscCall(PetscFree2(wanted, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- together ------------------------------------------------------------------------------------------------------------------ */

/* Members of a team share their genes' tests. */
static PetscErrorCode join_teams(Work *w)
{
  DifferentialTable *t = &w->summary->de;
  const Deal        *deal = w->deal;
  const PetscInt     genes = w->view->genes;
  MPI_Comm           team;

  PetscFunctionBeginUser;
  if (deal->size <= deal->items) PetscFunctionReturn(PETSC_SUCCESS);
  /* Every rank is in one team. */
  PetscCallMPI(MPI_Comm_split(deal->comm, (int)deal->mine[0], deal->rank, &team));
  PetscCall(sum_over_ranks(team, genes, MPI_DOUBLE, t->p_value));
  PetscCall(sum_over_ranks(team, genes, MPI_DOUBLE, t->statistic));
  PetscCallMPI(MPI_Comm_free(&team));
  PetscCall(false_discovery_rates(genes, t->p_value, t->dropped, t->fdr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode join_distances(Work *w)
{
  const CellView  *view = w->view;
  const PetscInt   parts = w->deal->parts;
  const PetscInt64 m = view->group_cells[view->perturbations];

  PetscFunctionBeginUser;
  PetscCall(sum_over_ranks(w->deal->comm, (PetscInt64)view->perturbations * parts, MPI_DOUBLE, w->within));
  PetscCall(sum_over_ranks(w->deal->comm, (PetscInt64)view->perturbations * parts, MPI_DOUBLE, w->across));
  PetscCall(sum_over_ranks(w->deal->comm, w->control_parts, MPI_DOUBLE, w->within_control));
  const double control = distance_join(w->control_parts, w->within_control, m * m, view->single);
  for (PetscInt p = 0; p < view->perturbations; p++) {
    const PetscInt64 n = view->group_cells[p];
    const double     within = distance_join(parts, w->within + (size_t)p * (size_t)parts, n * n, view->single);
    const double     across = distance_join(parts, w->across + (size_t)p * (size_t)parts, n * m, view->single);
    w->summary->energy[p] = view->single ? (double)((float)(2 * (float)across) - (float)within - (float)control) : 2 * across - within - control;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Can PopulationSums be found, where each perturbation is one rank's and its cells can be had by themselves? */
static PetscBool allows_sums(const CellView *view, const Deal *deal, const SummaryOptions *options)
{
  return options->sums && options->energy && deal->size <= deal->items && cellview_is_kept(view) ? PETSC_TRUE : PETSC_FALSE;
}

/* Room for them. */
static PetscErrorCode allow_sums(const CellView *view, const Deal *deal, const SummaryOptions *options, PopulationSums *sums)
{
  const size_t n = (size_t)view->perturbations;

  PetscFunctionBeginUser;
  if (!allows_sums(view, deal, options)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(n * (size_t)view->genes, &sums->mean));
  PetscCall(PetscCalloc1(n, &sums->within));
  if (options->partner && cellview_is_kept(options->partner)) PetscCall(PetscCalloc1(n, &sums->across));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode join_sums(const CellView *view, const Deal *deal, const PopulationSums *sums)
{
  const PetscInt64 n = view->perturbations;

  PetscFunctionBeginUser;
  if (sums->mean) PetscCall(sum_over_ranks(deal->comm, n * view->genes, MPI_DOUBLE, sums->mean));
  if (sums->within) PetscCall(sum_over_ranks(deal->comm, n, MPI_DOUBLE, sums->within));
  if (sums->across) PetscCall(sum_over_ranks(deal->comm, n, MPI_DOUBLE, sums->across));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for all that is found. */
static PetscErrorCode work_begin(Work *w, char *const *label, char *const *gene)
{
  const CellView *view = w->view;
  const Deal     *deal = w->deal;
  char          **own;

  PetscFunctionBeginUser;
  *w->summary = (FileSummary){0};
  for (w->control_parts = 1; w->control_parts < deal->size;) w->control_parts *= 2;
  PetscCall(PetscCalloc2((size_t)(view->perturbations + 1) * (size_t)view->genes, &w->summary->mean, view->perturbations, &w->summary->energy));
  PetscCall(PetscCalloc3(view->perturbations * deal->parts, &w->within, view->perturbations * deal->parts, &w->across, w->control_parts, &w->within_control));
  PetscCall(PetscMalloc1(deal->own, &own));
  for (PetscInt k = 0; k < deal->own; k++) own[k] = label[deal->mine[k]];
  if (w->options->differential) PetscCall(differential_create(deal->own, own, view->genes, gene, &w->summary->de));
  w->summary->de.single = view->single;
  PetscCall(allow_sums(view, deal, w->options, &w->summary->sums));
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the ranks found, on all of them. */
static PetscErrorCode work_end(Work *w)
{
  PetscFunctionBeginUser;
  /* Every row is set by one rank and zero elsewhere, that of the control on all. */
  PetscCall(sum_over_ranks(w->deal->comm, (PetscInt64)w->view->perturbations * w->view->genes, MPI_DOUBLE, w->summary->mean));
  PetscCall(join_sums(w->view, w->deal, &w->summary->sums));
  if (w->options->differential) PetscCall(join_teams(w));
  if (w->options->energy) PetscCall(join_distances(w));
  PetscCall(generuns_destroy(&w->control));
  PetscCall(sparserows_free(&w->control_rows));
  PetscCall(distancecells_destroy(&w->control_cells));
  PetscCall(PetscFree2(w->control_mean, w->control_cpm));
  PetscCall(PetscFree3(w->within, w->across, w->within_control));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The files of some works, one or both, summarised at once. The threads are ours, each with its own product. */
static PetscErrorCode create_summaries(int works, Work *w, char *const *label, char *const *gene, PetscErrorCode (*summarise)(Work *w))
{
  const int      blas_threads = openblas_get_num_threads();
  PetscErrorCode code;

  PetscFunctionBeginUser;
  for (int s = 0; s < works; s++) PetscCall(work_begin(&w[s], label, gene));
  openblas_set_num_threads(1);
  code = summarise(w);
  openblas_set_num_threads(blas_threads);
  PetscCallAgree(w->deal->comm, code);
  for (int s = 0; s < works; s++) PetscCall(work_end(&w[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode filesummary_create(CellView *view, const Deal *deal, char *const *label, char *const *gene, const SummaryOptions *options, FileSummary *summary)
{
  Work w = {.view = view, .deal = deal, .options = options, .summary = summary};

  PetscFunctionBeginUser;
  PetscCall(create_summaries(1, &w, label, gene, summarise_own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode summarise_own_of_both(Work *w)
{
  PetscFunctionBeginUser;
  for (int s = 0; s < 2; s++) PetscCall(prepare_control(&w[s]));
  PetscCall(each_perturbation(w->deal->own, summarise_two, &(Batch){.work = w}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Can the cells of a perturbation be had in both files, and the controls of both stay in memory? */
static PetscBool goes_together(CellView *const view[2], const Deal *deal, const SummaryOptions options[2])
{
  double controls = 0;

  for (int s = 0; s < 2; s++) controls += (double)view[s]->group_cells[view[s]->perturbations] * (double)view[s]->genes * (double)(view[s]->single ? sizeof(float) : sizeof(double));
  return allows_sums(view[0], deal, &options[0]) && allows_sums(view[1], deal, &options[1]) && options[1].partner && controls <= options[1].both_bytes ? PETSC_TRUE : PETSC_FALSE;
}

PetscErrorCode filesummary_create_both(CellView *const view[2], const Deal *deal, char *const *label, char *const *gene, const SummaryOptions options[2], FileSummary summary[2])
{
  Work w[2];

  PetscFunctionBeginUser;
  if (!goes_together(view, deal, options)) {
    for (int s = 0; s < 2; s++) PetscCall(filesummary_create(view[s], deal, label, gene, &options[s], &summary[s]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int s = 0; s < 2; s++) w[s] = (Work){.view = view[s], .deal = deal, .options = &options[s], .summary = &summary[s]};
  PetscCall(create_summaries(2, w, label, gene, summarise_own_of_both));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode filesummary_destroy(FileSummary *summary)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(summary->mean, summary->energy));
  PetscCall(PetscFree(summary->sums.mean));
  PetscCall(PetscFree(summary->sums.within));
  PetscCall(PetscFree(summary->sums.across));
  PetscCall(differential_destroy(&summary->de));
  PetscFunctionReturn(PETSC_SUCCESS);
}
