/* The tables of cell-eval (METRICS), of each prediction and each baseline of an evaluation. */
#include "evaluation/evaluation_state.h"
#include "evaluation/pair_internal.h"
#include <math.h>
#include <perturbdiff/runtime.h>

/* A baseline of an evaluation, as a maker of cells. */
typedef struct {
  Evaluation *e;
  PetscInt    baseline;
} Maker;

static PetscBool in_view(const Evaluation *e, PetscInt group, PetscInt perturbation, PetscInt type)
{
  PetscInt code[AXES];

  axes_codes(&e->axes, e->slots.key[e->group_slot[group]], code);
  return code[0] == perturbation && (type < 0 || code[1] == type) ? PETSC_TRUE : PETSC_FALSE;
}

/* As many cells as are real, of all batches. */
static PetscInt64 maker_count(const void *context, PetscInt perturbation, PetscInt type)
{
  const Evaluation *e = ((const Maker *)context)->e;
  PetscInt64        count = 0;

  for (PetscInt k = 0; k < e->groups; k++)
    if (in_view(e, k, perturbation, type)) count += e->real_cells.cells[e->group_slot[k]];
  return count;
}

static PetscErrorCode maker_make(void *context, PetscInt perturbation, PetscInt type, SparseRows *rows)
{
  const Maker     *maker = context;
  Evaluation      *e = maker->e;
  const PetscInt64 all = maker_count(context, perturbation, type);
  double          *cells;
  PetscInt64       done = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(all * e->genes, &cells));
  for (PetscInt k = 0; k < e->groups; k++) {
    if (!in_view(e, k, perturbation, type)) continue;
    const PetscInt64 count = e->real_cells.cells[e->group_slot[k]];
    PetscCall(evaluation_baseline_cells(e, maker->baseline, k, count, cells + done * e->genes));
    done += count;
  }
  PetscCall(sparserows_from_dense(all, e->genes, cells, 0, rows));
  PetscCall(PetscFree(cells));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Into the folder itself where one prediction is all there is, else a sub-folder for each row. */
static PetscErrorCode folder_of_row(const Evaluation *e, const ScoreTable *t, PetscInt row, char folder[PETSC_MAX_PATH_LEN])
{
  const char *parent = e->options->pair->folder;

  PetscFunctionBeginUser;
  if (t->kind[row] == ROW_PREDICTION && e->options->predictions == 1) PetscCall(PetscStrncpy(folder, parent, PETSC_MAX_PATH_LEN));
  else if (t->repeat[row] == 1) PetscCall(PetscSNPrintf(folder, PETSC_MAX_PATH_LEN, "%s/%s", parent, t->model[row]));
  else PetscCall(PetscSNPrintf(folder, PETSC_MAX_PATH_LEN, "%s/%s_%lld", parent, t->model[row], (long long)t->repeat[row]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without a store cells are drawn from the controls: on every rank, which may need any group's. */
static PetscErrorCode load_all_controls(Evaluation *e)
{
  unsigned char *wanted;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(e->slots.count, &wanted));
  for (PetscInt k = 0; k < e->groups; k++) wanted[e->slots.paired[e->group_slot[k]]] = 1;
  PetscCall(groupedfile_load(&e->real, &e->slots, e->genes, wanted, e->real_cells.rows));
  PetscCall(PetscFree(wanted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode baseline_pairs(Evaluation *e, const ScoreTable *t, const RealCells *real, PairMetrics *metrics)
{
  const EvaluateOptions *o = e->options;
  PairOptions            options = *o->pair;
  char                   folder[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  if (!o->baselines) PetscFunctionReturn(PETSC_SUCCESS);
  if (!e->store) PetscCallAgree(e->comm, load_all_controls(e));
  options.ceiling = PETSC_FALSE;
  options.score = options.predicted_de = options.embedding = "";
  for (PetscInt b = 0; b < o->baselines; b++) {
    Maker           maker = {e, b};
    const CellMaker cells = {baseline_name[o->baseline[b]], &maker, maker_count, maker_make};
    const PetscInt  row = o->predictions + b;

    PetscCall(folder_of_row(e, t, row, folder));
    PetscCall(pair_evaluate(e->comm, real, &e->file[0], &cells, (PairPlace){.metrics = metrics, .row = row, .ceiling = -1}, &options, folder));
    /* These take the distances of an embedding that a baseline does not have. */
    for (PetscInt k = 0; *o->pair->embedding && k < metrics->groups; k++)
      for (int m = DISCRIMINATION_L2; m <= DISCRIMINATION_COSINE; m++) metrics->value[((size_t)row * (size_t)metrics->groups + (size_t)k) * METRICS + (size_t)m] = NAN;
  }
  for (PetscInt s = 0; !e->store && s < e->slots.count; s++) PetscCall(sparserows_free(&e->real_cells.rows[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode all_pairs(Evaluation *e, const ScoreTable *t, PairMetrics **metrics)
{
  const EvaluateOptions *o = e->options;
  const RealCells        real = {.real = o->real,
                                 .axes = &e->axes,
                                 .file = e->store ? NULL : &e->real,
                                 .store = e->store,
                                 .position = e->position,
                                 .all_genes = e->store ? 0 : e->real.genes,
                                 .genes = e->genes,
                                 .gene = e->gene};
  char                   folder[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  /* Before hours of work what can be seen at once. */
  for (PetscInt f = 0; f < o->predictions; f++) PetscCall(pair_check(e->comm, &real, &e->file[f], o->pair));
  /* Pairs do not tell batches apart. */
  PetscCall(pairmetrics_create(t, *e->axes.column[1] ? e->axes.count[1] : 1, *e->axes.column[2] ? 0 : o->predictions, metrics));
  for (PetscInt f = 0; f < o->predictions; f++) {
    PetscCall(folder_of_row(e, t, f, folder));
    PetscCall(pair_evaluate(e->comm, &real, &e->file[f], NULL,
                            (PairPlace){.metrics = *metrics, .row = f, .ceiling = f || !o->ceiling ? -1 : t->rows - 1, .write_expression = PETSC_TRUE}, o->pair, folder));
  }
  PetscCall(baseline_pairs(e, t, &real, *metrics));
  PetscCall(pairmetrics_release(*metrics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* No table appears of an input that is refused, which a later prediction or cell type may be. */
PetscErrorCode evaluation_pairs(Evaluation *e, const ScoreTable *t, PairMetrics **metrics)
{
  PetscFunctionBeginUser;
  file_hold_begin();
  const PetscErrorCode code = all_pairs(e, t, metrics);
  const PetscErrorCode end = file_hold_end(e->comm, code ? PETSC_FALSE : PETSC_TRUE);
  PetscCall(code);
  PetscCall(end);
  PetscFunctionReturn(PETSC_SUCCESS);
}
