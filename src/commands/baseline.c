/* baseline: cells predicted without a network, in the same form as sample writes them. */
#include "commands/commands.h"
#include <perturbdiff/evaluation.h>
#include <perturbdiff/sampling.h>

static const OptionSpec own[] = {
    {"data", VALUE_PATH, NULL, 0, 0, "", "Cell store made by prepare; its training populations are all that is used"},
    {"method", VALUE_CHOICE, NULL, 0, 0, "control|mean_shift|perturbation_mean|additive|ridge|nearest|cme",
     "control: no change; mean_shift: plus the mean change in other cell types; perturbation_mean: plus the mean change by all training perturbations in the cell "
     "type; additive: plus perturbation and cell type effects; ridge: plus the change by kernel ridge regression on the covariates; nearest: cells of the nearest "
     "training population; cme: cells of the mixture of training populations nearest to the conditional mean embedding"},
    {"features", VALUE_PATH, "", 0, 0, "", "CSV of perturbations' features (column perturbation, then numbers): what ridge, nearest and cme know of perturbations never seen"},
    {"embedding_cells", VALUE_INTEGER, "256", 1, 1e6, "cells", "Cells of each population that cme embeds, at most"},
    {"out", VALUE_PATH, NULL, 0, 0, "", "AnnData file to write (log1p values)"},
    {"split", VALUE_CHOICE, "test", 0, 0, "train|validation|test", "Predict the populations of this split"},
    {"conditions", VALUE_PATH, "", 0, 0, "", "Predict the rows of this CSV instead: columns perturbation,cell_type,batch[,cells]"},
    {"cells_per_condition", VALUE_INTEGER, "0", 0, 1e8, "cells", "Cells of a condition; 0: as many as the real population has, 256 where there is none"},
    {"with_controls", VALUE_SWITCH, "true", 0, 0, "", "Add the real control cells of the conditions to the file"},
    {"seed", VALUE_INTEGER, "0", 0, 9e15, "", "Seed of the draws; the file is the same on any number of ranks"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};
static const OptionSpec *const groups[] = {own, options_common, NULL};

/* A population to write: predicted, or control cells as they are. */
typedef struct {
  Condition condition;
  PetscBool real;
} Piece;

typedef struct {
  MPI_Comm              comm;
  PetscMPIInt           rank, size;
  CellStore            *store;
  const CellStoreTable *table;
  double               *means;
  BaselineOptions       options;
  double               *similarity; /* of perturbations by their features; NULL */
  Baseline             *baseline;
  PetscInt              pieces, predicted; /* the first ones are predicted, the others control cells */
  Piece                *piece;
  AnnWriter            *writer;
} Prediction;

static PetscErrorCode choose_pieces(const Options *options, Prediction *b)
{
  enum { CELLS_OF_UNKNOWN = 256 };
  const char   *path;
  PetscInt      split;
  PetscInt64    cells;
  PetscBool     with_controls;
  ConditionList list;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "conditions", &path));
  PetscCall(options_choice(options, "split", &split));
  PetscCall(options_integer(options, "cells_per_condition", &cells));
  PetscCall(options_switch(options, "with_controls", &with_controls));
  if (*path)
    PetscCall(conditions_read(b->comm, path, b->table, cells, CELLS_OF_UNKNOWN, &list));
  else
    PetscCall(conditions_of_split(b->table, (Split)split, cells, &list));
  PetscCall(PetscCalloc1(2 * list.count, &b->piece));
  for (PetscInt i = 0; i < list.count; i++) b->piece[b->pieces++].condition = list.item[i];
  b->predicted = b->pieces;
  for (PetscInt i = 0; with_controls && i < list.count; i++) {
    PetscBool there = PETSC_FALSE;
    for (PetscInt j = list.count; j < b->pieces; j++)
      if (b->piece[j].condition.control == list.item[i].control) there = PETSC_TRUE;
    if (there) continue;
    const Population *p = &b->table->population[list.item[i].control];
    Piece *new = &b->piece[b->pieces++];
    new->real = PETSC_TRUE;
    new->condition = list.item[i];
    new->condition.perturbation = p->perturbation;
    new->condition.cell_type = p->cell_type;
    new->condition.batch = p->batch;
    new->condition.cells = p->cells;
  }
  PetscCall(conditions_free(&list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode start_file(Prediction *b, const char *path)
{
  const CellStoreTable   *t = b->table;
  const char *const       column[] = {t->perturbation_column, t->cell_type_column, t->batch_column};
  const Vocabulary *const vocabulary[] = {&t->perturbation, &t->cell_type, &t->batch};

  PetscFunctionBeginUser;
  PetscCall(anndata_create(b->comm, path, t->gene.count, (const char *const *)t->gene.name, &b->writer));
  for (int a = 0; a < 3; a++)
    if (*column[a]) PetscCall(anndata_declare_column(b->writer, column[a], vocabulary[a]->count, (const char *const *)vocabulary[a]->name));
  PetscCall(anndata_write_text(b->writer, "uns/command", command_line()));
  if (t->library_size > 0) PetscCall(anndata_mark_log1p(b->writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Dense cells of a piece: predicted, or the control cells. */
static PetscErrorCode piece_cells(const Prediction *b, PetscInt k, double *cells)
{
  const Piece     *piece = &b->piece[k];
  const Condition *c = &piece->condition;
  const PetscInt   genes = b->table->gene.count;
  Real            *row;

  PetscFunctionBeginUser;
  if (!piece->real) {
    PetscCall(baseline_cells(b->baseline, k, c->cells, cells));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(genes, &row));
  for (PetscInt64 i = 0; i < c->cells; i++) {
    const PetscInt64 cell = c->first_control + i;
    PetscCall(cellstore_dense(b->store, 1, &cell, 1, row, genes));
    for (PetscInt g = 0; g < genes; g++) cells[i * genes + g] = (double)row[g];
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode cell_name(const Prediction *b, const Piece *piece, PetscInt number, PetscInt64 i, char **name)
{
  char text[64];

  PetscFunctionBeginUser;
  if (piece->real)
    PetscCall(cellstore_name(b->store, piece->condition.first_control + i, name));
  else {
    PetscCall(PetscSNPrintf(text, sizeof text, "%s-%lld-%lld", baseline_name[b->options.method], (long long)number + 1, (long long)i + 1));
    PetscCall(PetscStrallocpy(text, name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of piece number k; none where k is past the last. */
static PetscErrorCode make_rows(Prediction *b, PetscInt k, SparseRows *rows, int32_t *code[3], char ***name)
{
  const Piece     *piece = k < b->pieces ? &b->piece[k] : NULL;
  const PetscInt64 count = piece ? piece->condition.cells : 0;
  double          *cells;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(count, &code[0], count, &code[1], count, &code[2]));
  PetscCall(PetscCalloc1(count, name));
  PetscCall(PetscMalloc1(count * b->table->gene.count, &cells));
  if (piece) PetscCall(piece_cells(b, k, cells));
  for (PetscInt64 i = 0; i < count; i++) {
    code[0][i] = (int32_t)piece->condition.perturbation;
    code[1][i] = (int32_t)piece->condition.cell_type;
    code[2][i] = (int32_t)piece->condition.batch;
    PetscCall(cell_name(b, piece, k, i, &(*name)[i]));
  }
  PetscCall(sparserows_from_dense(count, b->table->gene.count, cells, 0, rows));
  PetscCall(PetscFree(cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One piece a rank at a time, in order, so that the file does not depend on the number of ranks. */
static PetscErrorCode write_pieces(Prediction *b)
{
  const CellStoreTable *t = b->table;
  const PetscBool       used[] = {PETSC_TRUE, *t->cell_type_column ? PETSC_TRUE : PETSC_FALSE, *t->batch_column ? PETSC_TRUE : PETSC_FALSE};

  PetscFunctionBeginUser;
  for (PetscInt first = 0; first < b->pieces; first += b->size) {
    SparseRows     rows;
    int32_t       *code[3];
    const int32_t *declared[3];
    char         **name;
    PetscInt       columns = 0;

    PetscCallAgree(b->comm, make_rows(b, first + b->rank, &rows, code, &name));
    for (int a = 0; a < 3; a++)
      if (used[a]) declared[columns++] = code[a];
    PetscCall(anndata_append(b->writer, &rows, declared, (const char *const *)name));
    PetscCall(strings_free((PetscInt)rows.rows, &name));
    PetscCall(PetscFree3(code[0], code[1], code[2]));
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode learn(Prediction *b)
{
  Covariates *condition;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(b->predicted, &condition));
  for (PetscInt i = 0; i < b->predicted; i++) {
    const Condition *c = &b->piece[i].condition;
    condition[i] = (Covariates){{c->perturbation, c->cell_type, c->batch}};
  }
  const PetscErrorCode code = baseline_create(b->comm, b->store, b->means, &b->options, b->predicted, condition, &b->baseline);
  PetscCall(PetscFree(condition));
  PetscCall(code);
  if (*baseline_note(b->baseline)) PetscCall(log_line(b->comm, "  %s: %s", baseline_name[b->options.method], baseline_note(b->baseline)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode predict_all(const Options *options, Prediction *b)
{
  const char *data, *out, *features;
  PetscInt    method;
  PetscInt64  seed, embedding_cells;
  LogStage    stage;

  PetscFunctionBeginUser;
  PetscCall(options_string(options, "data", &data));
  PetscCall(options_string(options, "out", &out));
  PetscCall(options_choice(options, "method", &method));
  PetscCall(options_integer(options, "seed", &seed));
  PetscCall(options_integer(options, "embedding_cells", &embedding_cells));
  PetscCall(options_string(options, "features", &features));
  b->options = (BaselineOptions){.method = (BaselineMethod)method, .seed = (uint64_t)seed, .embedding_cells = (PetscInt)embedding_cells};
  if (*features && method != BASELINE_RIDGE && method != BASELINE_NEAREST && method != BASELINE_CME)
    return error_user("-features %s: -method %s does not look at features of perturbations; ridge, nearest and cme do", features, baseline_name[method]);
  PetscCall(log_stage_begin(b->comm, "baseline", &stage));
  PetscCall(cellstore_open(b->comm, data, &b->store));
  b->table = cellstore_table(b->store);
  PetscCall(choose_pieces(options, b));
  PetscCall(cellstore_means(b->store, b->comm, &b->means));
  if (*features) PetscCall(perturbation_similarity(b->comm, features, b->table, &b->similarity));
  b->options.similarity = b->similarity;
  PetscCall(learn(b));
  PetscCall(start_file(b, out));
  PetscCall(write_pieces(b));
  PetscCall(anndata_commit(&b->writer));
  PetscCall(log_stage_end(&stage, "%s: %s, %lld populations, control among them", out, baseline_name[b->options.method], (long long)b->pieces));
  PetscCall(log_line(b->comm, "next: perturbdiff evaluate -real %s -predicted %s -out scores", data, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode baseline(const Options *options)
{
  Prediction b = {.comm = PETSC_COMM_WORLD};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(b.comm, &b.rank));
  PetscCallMPI(MPI_Comm_size(b.comm, &b.size));
  const PetscErrorCode code = predict_all(options, &b);
  if (!code || code == ERROR_USER) {
    PetscCall(anndata_discard(&b.writer));
    PetscCall(PetscFree(b.piece));
    PetscCall(baseline_destroy(&b.baseline));
    PetscCall(PetscFree(b.similarity));
    PetscCall(PetscFree(b.means));
    if (b.store) PetscCall(cellstore_close(&b.store));
  }
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Command command_baseline = {
    .name = "baseline",
    .summary = "predictions without a network: what a model has to beat",
    .usage = "baseline -data cells.h5 -method METHOD -out baseline.h5ad [options]",
    .examples = "perturbdiff baseline -data cells.h5 -method mean_shift -out mean_shift.h5ad\n"
                "perturbdiff baseline -data cells.h5 -method additive -split validation -out additive.h5ad",
    .options = {.groups = groups},
    .run = baseline,
};
