/* The tables of a real and a predicted file, as cell-eval makes them. */
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  MPI_Comm           comm;
  const PairOptions *options;
  const char        *folder, *prefix;
  const PairPlace   *place;
  CellView          *view[2]; /* real, predicted */
  char             **label;
  char *const       *gene;
  Deal               deal;
  FileSummary        summary[2];
  PetscInt           columns; /* of the embedding, 0: none */
  FileSummary        embedded[2];
} Pair;

static const char *const side_name[2] = {"real", "pred"};

/* Cells and pairs of cells: reading and sorting against the distances from the control. */
static PetscErrorCode deal_pair(Pair *pair, const RealSummary *kept)
{
  const PetscInt n = pair->view[0]->perturbations;
  double        *cost;

  PetscFunctionBeginUser;
  if (kept && kept->there) {
    pair->deal = kept->deal;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscCalloc1(n, &cost));
  for (PetscInt p = 0; p < n; p++)
    for (int s = 0; s < 2; s++) cost[p] += (double)pair->view[s]->group_cells[p] * (double)(pair->view[s]->group_cells[p] + pair->view[s]->group_cells[n] + 1000);
  PetscCall(deal_create(pair->comm, n, cost, &pair->deal));
  PetscCall(PetscFree(cost));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- differential expression ------------------------------------------------------------------------------------------------------ */

/* A perturbation's lines, maybe on their way to rank 0. */
typedef struct {
  char       *text;
  size_t      size;
  MPI_Request request;
} Lines;

/* Perturbations [first, first + count), in the order of the file: their lines are made, while those of [written, first) are written. */
typedef struct {
  const Pair *pair;
  int         side;
  PetscInt    written, first, count;
  Lines      *lines; /* (perturbations) in the order of the file */
  TextDraft  *draft; /* of rank 0; NULL on others */
} LinesMaker;

/* Perturbations whose lines are made at a time, at least. */
enum { LINES_STEP = 16 };

static void write_lines(LinesMaker *maker)
{
  for (; maker->draft && maker->written < maker->first; maker->written++) {
    Lines *lines = &maker->lines[maker->written];
    textdraft_add(maker->draft, lines->text, lines->size);
    free(lines->text);
    lines->text = NULL;
  }
}

/* Item 0 writes, the others make the lines of a perturbation each. */
static PetscErrorCode make_lines(void *context, PetscInt64 item)
{
  LinesMaker *maker = context;
  const Pair *pair = maker->pair;

  PetscFunctionBeginUser;
  if (!item) {
    write_lines(maker);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const PetscInt k = maker->first + (PetscInt)item - 1, p = pair->view[maker->side]->order[k];
  if (!deal_leads(&pair->deal, p)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(differential_write_target(&pair->summary[maker->side].de, pair->deal.place[p], &maker->lines[k].text, &maker->lines[k].size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lines that this rank made to rank 0, which takes those of all others. */
static PetscErrorCode send_lines(const Pair *pair, PetscMPIInt leader, Lines *lines)
{
  const Deal *deal = &pair->deal;

  PetscFunctionBeginUser;
  if (deal->rank && lines->text) PetscCallMPI(MPI_Isend(lines->text, (PetscMPIInt)lines->size, MPI_CHAR, 0, 0, deal->comm, &lines->request));
  if (!deal->rank && !lines->text) {
    MPI_Status  status;
    PetscMPIInt length;

    PetscCallMPI(MPI_Probe(leader, 0, deal->comm, &status));
    PetscCallMPI(MPI_Get_count(&status, MPI_CHAR, &length));
    lines->size = (size_t)length;
    lines->text = malloc(lines->size + 1);
    PetscCheck(lines->text, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for a table");
    PetscCallMPI(MPI_Recv(lines->text, length, MPI_CHAR, leader, 0, deal->comm, MPI_STATUS_IGNORE));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lines of all ranks to the draft of rank 0, in the order of the file. */
static PetscErrorCode gather_lines(const Pair *pair, int side, TextDraft *draft)
{
  const CellView *view = pair->view[side];
  const int       threads = threads_that_allocate();
  LinesMaker      maker = {.pair = pair, .side = side, .draft = draft};

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(view->perturbations, &maker.lines));
  for (; maker.first < view->perturbations; maker.first += maker.count) {
    maker.count = PetscMin(PetscMax(LINES_STEP, threads), view->perturbations - maker.first);
    PetscCall(threads_each(threads, maker.count + 1, make_lines, &maker));
    for (PetscInt k = maker.first; k < maker.first + maker.count; k++) PetscCall(send_lines(pair, pair->deal.first[view->order[k]], &maker.lines[k]));
  }
  write_lines(&maker);
  for (PetscInt k = 0; k < view->perturbations; k++) {
    if (!maker.lines[k].text) continue;
    PetscCallMPI(MPI_Wait(&maker.lines[k].request, MPI_STATUS_IGNORE));
    free(maker.lines[k].text);
  }
  PetscCall(PetscFree(maker.lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_expression(Pair *pair, int side)
{
  char      name[32], path[PETSC_MAX_PATH_LEN];
  TextDraft draft;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(name, sizeof name, "%s_de.csv", side_name[side]));
  PetscCall(table_path(pair->folder, pair->prefix, name, path));
  PetscCallAgree(pair->comm, pair->deal.rank ? PETSC_SUCCESS : textdraft_begin(path, &draft));
  if (!pair->deal.rank) textdraft_add(&draft, differential_names, strlen(differential_names));
  PetscCall(gather_lines(pair, side, pair->deal.rank ? NULL : &draft));
  PetscCallAgree(pair->comm, pair->deal.rank ? PETSC_SUCCESS : textdraft_end(&draft));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own rows of a table that was read, on the genes that are scored. */
static PetscErrorCode take_rows(Pair *pair, const char *path, const DifferentialTable *read, DifferentialTable *own)
{
  const Deal *deal = &pair->deal;
  PetscInt   *place;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(read->genes, &place));
  for (PetscInt g = 0, last = -1; g < read->genes; g++) {
    /* Files hold the genes in the order of the data, some left out. */
    const PetscInt genes = own->genes;
    place[g] = -1;
    for (PetscInt j = 1; j <= genes && place[g] < 0; j++)
      if (!strcmp(read->gene[g], own->gene[(last + j) % genes])) place[g] = (last + j) % genes;
    if (place[g] < 0) return error_user("%s: feature '%s' is not a gene of %s", path, read->gene[g], pair->view[0]->path);
    last = place[g];
  }
  differential_drop_all(own);
  for (PetscInt k = 0; k < pair->deal.items; k++) {
    const PetscInt from = differential_target(read, pair->label[k]), row = deal->place[k];
    if (from < 0) return error_user("%s: no rows of target '%s'", path, pair->label[k]);
    if (row < 0) continue;
    for (PetscInt g = 0; g < read->genes; g++) {
      const size_t in = (size_t)from * (size_t)read->genes + (size_t)g, out = (size_t)row * (size_t)own->genes + (size_t)place[g];
      own->dropped[out] = read->dropped[in];
      own->log2_fold_change[out] = read->log2_fold_change[in];
      own->p_value[out] = read->p_value[in];
      own->fdr[out] = read->fdr[in];
    }
  }
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_expression(Pair *pair, int side, const char *path, DifferentialTable *table)
{
  const Deal       *deal = &pair->deal;
  DifferentialTable read;
  char            **own;

  PetscFunctionBeginUser;
  PetscCall(differential_read(pair->comm, path, &read));
  PetscCall(PetscMalloc1(deal->own, &own));
  for (PetscInt k = 0; k < deal->own; k++) own[k] = pair->label[deal->mine[k]];
  PetscCall(differential_create(deal->own, own, pair->view[side]->genes, pair->gene, table));
  PetscCallAgree(pair->comm, take_rows(pair, path, &read, table));
  PetscCall(PetscFree(own));
  PetscCall(differential_destroy(&read));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- metrics ---------------------------------------------------------------------------------------------------------------------- */

static PetscInt rows_left(const DifferentialTable *t, PetscInt row)
{
  PetscInt left = 0;
  for (PetscInt g = 0; g < t->genes; g++) left += !t->dropped[(size_t)row * (size_t)t->genes + (size_t)g];
  return left;
}

/* Genes of an own perturbation in both tables: none, or some in both. */
static PetscErrorCode refuse_filtered(const Pair *pair)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < pair->deal.own; k++) {
    const PetscInt p = pair->deal.mine[k], left[] = {rows_left(&pair->summary[0].de, k), rows_left(&pair->summary[1].de, k)};

    if (deal_leads(&pair->deal, p) && !left[0] != !left[1])
      return error_user("%s: no gene of '%s' passes -cpm_filter, but some do in %s; lower it", pair->view[left[0] > 0]->path, pair->label[p], pair->view[left[0] == 0]->path);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const Pair  *pair;
  PetscBool    expression;
  MetricTable *table;
} OwnMetrics;

/* Of one own perturbation. */
static PetscErrorCode metrics_task(void *context, PetscInt64 k)
{
  const OwnMetrics *own = context;
  const Pair       *pair = own->pair;
  const Deal       *deal = &pair->deal;
  const PetscInt    p = deal->mine[k], genes = pair->view[0]->genes;
  double           *value = own->table->value + p * METRICS, embedded[METRICS];
  unsigned char    *missing = own->table->missing + p * METRICS;
  PetscInt          target = 0;

  PetscFunctionBeginUser;
  if (!deal_leads(deal, p)) PetscFunctionReturn(PETSC_SUCCESS);
  while (target < genes && strcmp(pair->gene[target], pair->label[p])) target++;
  PetscCall(metrics_of_means(deal->items, genes, p, target < genes ? target : -1, &pair->summary[0], &pair->summary[1], pair->view[0]->single && pair->view[1]->single, value));
  if (pair->columns) {
    PetscCall(metrics_of_means(deal->items, pair->columns, p, -1, &pair->embedded[0], &pair->embedded[1], PETSC_TRUE, embedded));
    value[DISCRIMINATION_L2] = embedded[DISCRIMINATION_L2];
    value[DISCRIMINATION_COSINE] = embedded[DISCRIMINATION_COSINE];
  }
  if (!own->expression) PetscFunctionReturn(PETSC_SUCCESS);
  if (rows_left(&pair->summary[0].de, (PetscInt)k)) PetscCall(metrics_of_expression(&pair->summary[0].de, (PetscInt)k, &pair->summary[1].de, (PetscInt)k, value, missing));
  else memset(missing, 1, PEARSON_DELTA);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode own_metrics(const Pair *pair, PetscBool expression, MetricTable *table)
{
  OwnMetrics own = {pair, expression, table};

  PetscFunctionBeginUser;
  if (expression) PetscCall(refuse_filtered(pair));
  PetscCall(threads_each(threads_that_allocate(), pair->deal.own, metrics_task, &own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Metrics that are one number for all perturbations. */
static PetscErrorCode shared_metrics(Pair *pair, MetricTable *t)
{
  const PetscInt n = t->perturbations;
  double        *x, *y, spearman = 1;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &x, n, &y));
  for (PetscInt p = 0; p < n; p++) {
    if (!(t->value[p * METRICS + NSIG_REAL] > 0)) continue;
    x[count] = t->value[p * METRICS + NSIG_REAL];
    y[count++] = t->value[p * METRICS + NSIG_PREDICTED];
  }
  if (count) PetscCall(spearman_correlation(count, x, y, &spearman));
  for (PetscInt p = 0; p < n; p++) {
    t->value[p * METRICS + SPEARMAN_SIG] = spearman;
    t->value[p * METRICS + PEARSON_EDISTANCE] = n > 1 ? pearson_correlation(n, pair->summary[0].energy, pair->summary[1].energy) : NAN;
  }
  PetscCall(PetscFree2(x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode all_metrics(Pair *pair, PetscBool expression, MetricTable *t)
{
  const PetscMPIInt count = (PetscMPIInt)(t->perturbations * METRICS);

  PetscFunctionBeginUser;
  PetscCallAgree(pair->comm, own_metrics(pair, expression, t));
  /* Set on one rank and zero on the others. */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->value, count, MPI_DOUBLE, MPI_SUM, pair->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, t->missing, count, MPI_UNSIGNED_CHAR, MPI_MAX, pair->comm));
  PetscCall(shared_metrics(pair, t));
  for (int m = 0; m < METRICS; m++) {
    t->present[m] = profile_has(pair->options->profile, (Metric)m) && (expression || m >= PEARSON_DELTA) ? PETSC_TRUE : PETSC_FALSE;
    /* A metric without any number has no column. */
    PetscInt numbers = 0;
    for (PetscInt p = 0; p < t->perturbations; p++) numbers += !t->missing[p * METRICS + m];
    if (!numbers || (m == PEARSON_EDISTANCE && t->perturbations < 2) || (m == PEARSON_DELTA && pair->view[0]->genes < 2)) t->present[m] = PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------- */

/* Of cells held at once. Those that are made, perturbation by perturbation, are in no file. */
static double bytes_of(const CellView *view, double memory)
{
  const CellMemory limits = cellmemory_of(memory);
  return view->maker || view->store || groupedfile_is_kept(view->file) ? limits.small_batch : limits.batch;
}

/* kept: of the real cells, NULL: nothing is. */
static PetscErrorCode summarise(Pair *pair, PetscBool expression, const char *const precomputed[2], RealSummary *kept)
{
  const Profile     profile = pair->options->profile;
  const PetscBool   sums = kept && pair->place->row + 1 < pair->place->metrics->sides ? PETSC_TRUE : PETSC_FALSE, there = kept && kept->there ? PETSC_TRUE : PETSC_FALSE;
  const int         first = there ? 1 : 0; /* side that is new */
  SummaryOptions    options[2];
  DifferentialTable given[2];

  PetscFunctionBeginUser;
  /* Tables may be refused: before cells are read. */
  for (int s = first; s < 2; s++)
    if (expression && *precomputed[s]) PetscCall(read_expression(pair, s, precomputed[s], &given[s]));
  for (int s = 0; s < 2; s++)
    options[s] = (SummaryOptions){.differential = expression && !*precomputed[s] ? PETSC_TRUE : PETSC_FALSE,
                                  .energy = profile_has(profile, PEARSON_EDISTANCE),
                                  .cpm_filter = pair->options->cpm_filter,
                                  .bytes = bytes_of(pair->view[s], pair->options->memory),
                                  .both_bytes = cellmemory_of(pair->options->memory).batch,
                                  .sums = sums,
                                  .partner = s && sums ? pair->view[0] : NULL};
  if (there) {
    pair->summary[0] = kept->summary;
    PetscCall(filesummary_create(pair->view[1], &pair->deal, pair->label, pair->gene, &options[1], &pair->summary[1]));
  } else PetscCall(filesummary_create_both(pair->view, &pair->deal, pair->label, pair->gene, options, pair->summary));
  for (int s = first; s < 2; s++)
    if (expression && *precomputed[s]) pair->summary[s].de = given[s];
  if (kept && !there) *kept = (RealSummary){.there = PETSC_TRUE, .deal = pair->deal, .summary = pair->summary[0]};
  if (!*pair->options->embedding) PetscFunctionReturn(PETSC_SUCCESS);
  PetscInt columns[2];
  for (int s = 0; s < 2; s++) PetscCall(cellview_embedding(pair->view[s], pair->comm, pair->options->embedding, &columns[s], &pair->embedded[s].mean));
  pair->columns = columns[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The metrics of the pair; kept: as in summarise. */
static PetscErrorCode make_table(Pair *pair, PetscBool expression, const char *const precomputed[2], RealSummary *kept, MetricTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(deal_pair(pair, kept));
  PetscCall(summarise(pair, expression, precomputed, kept));
  PetscCall(metrictable_create(pair->deal.items, pair->label, table));
  PetscCall(all_metrics(pair, expression, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What make_table made beside the table. */
static PetscErrorCode forget(Pair *pair, const RealSummary *kept)
{
  PetscFunctionBeginUser;
  for (int s = 0; s < 2; s++) {
    if (s || !kept) PetscCall(filesummary_destroy(&pair->summary[s]));
    PetscCall(PetscFree(pair->embedded[s].mean));
  }
  if (!kept) PetscCall(deal_destroy(&pair->deal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode prediction_tables(Pair *pair, PetscBool expression, RealSummary *real)
{
  const PairOptions *o = pair->options;
  const PairPlace   *place = pair->place;
  const char *const  precomputed[2] = {o->real_de, o->predicted_de};
  MetricTable        table;

  PetscFunctionBeginUser;
  PetscCall(make_table(pair, expression, precomputed, real, &table));
  if (place->row >= 0) PetscCall(pairmetrics_keep(place->metrics, place->row, place->cell_type, &table));
  if (place->row >= 0) PetscCall(pairmetrics_keep_sums(place->metrics, place->row, place->cell_type, &table, &pair->summary[0].sums, &pair->summary[1].sums));
  /* Reads a file that may be refused: before anything is written. */
  if (*o->score) PetscCall(metrictable_score(pair->comm, &table, o->score, pair->folder, pair->prefix));
  PetscCall(file_make_folder(pair->comm, pair->folder));
  for (int s = 0; s < 2 && expression && place->write_expression; s++)
    if (!*precomputed[s]) PetscCall(write_expression(pair, s));
  PetscCall(metrictable_write(pair->comm, &table, pair->folder, pair->prefix, PETSC_FALSE));
  PetscCall(metrictable_destroy(&table));
  PetscCall(forget(pair, real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One half of the real cells as if it predicted the other: the same for all predictions. */
static PetscErrorCode halve(Pair *pair, PetscBool expression, RealSummary *real)
{
  static const char *const none[2] = {"", ""};
  CellView                 half[2];

  PetscFunctionBeginUser;
  PetscCall(cellview_halves(pair->view[0], pair->label, pair->options->seed, half, &pair->label));
  for (int s = 0; s < 2; s++) pair->view[s] = &half[s];
  if (half[0].perturbations) {
    PetscCall(make_table(pair, expression, none, NULL, &real->ceiling));
    PetscCall(forget(pair, NULL));
  } else {
    PetscCall(metrictable_create(0, pair->label, &real->ceiling));
  }
  real->halved = PETSC_TRUE;
  for (int s = 0; s < 2; s++) PetscCall(cellview_destroy(&half[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pair_tables(MPI_Comm comm, CellView *real, CellView *predicted, char **label, char *const *gene, const PairPlace *place,
                           const PairOptions *options, const char *folder, const char *prefix)
{
  const PetscBool expression = options->profile != PROFILE_PDS ? PETSC_TRUE : PETSC_FALSE;
  RealSummary    *kept = &place->metrics->real[place->type];
  Pair            pair = {.comm = comm, .options = options, .folder = folder, .prefix = prefix, .place = place, .view = {real, predicted}, .label = label, .gene = gene};

  PetscFunctionBeginUser;
  PetscCall(prediction_tables(&pair, expression, kept));
  if (!options->ceiling) PetscFunctionReturn(PETSC_SUCCESS);
  if (!kept->halved) PetscCall(halve(&pair, expression, kept));
  if (!kept->ceiling.perturbations) {
    PetscCall(log_line(comm, "  no ceiling for %s: no perturbation has two cells", real->path));
  } else {
    if (place->ceiling >= 0) PetscCall(pairmetrics_keep(place->metrics, place->ceiling, place->cell_type, &kept->ceiling));
    PetscCall(metrictable_write(comm, &kept->ceiling, folder, prefix, PETSC_TRUE));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
