/* An evaluation from its files to its table. */
#include "evaluation/analyses_internal.h"
#include "evaluation/evaluation_state.h"
#include "evaluation/pair_internal.h"
#include <perturbdiff/runtime.h>
#include <string.h>

/* Cells of each population that the baseline cme embeds, at most. */
enum { EMBEDDING_CELLS = 256 };

static PetscErrorCode name_rows(const EvaluateOptions *o, ScoreTable *t)
{
  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < t->rows; r++) {
    const PetscInt baseline = r - o->predictions;
    t->kind[r] = baseline < 0 ? ROW_PREDICTION : baseline < o->baselines ? ROW_BASELINE : ROW_CEILING;
    PetscCall(PetscStrallocpy(baseline < 0 ? o->model[r] : baseline < o->baselines ? baseline_name[o->baseline[baseline]] : "ceiling", &t->model[r]));
    t->repeat[r] = 1;
    for (PetscInt q = 0; q < r; q++) {
      if (strcmp(t->model[q], t->model[r])) continue;
      if (t->kind[r] != ROW_PREDICTION)
        return error_user("-predicted: the name '%s' is taken by a row of the table; give the file another name, such as model=FILE", t->model[r]);
      t->repeat[r]++;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the baselines learn, for all groups. */
static PetscErrorCode learn_baselines(Evaluation *e)
{
  const EvaluateOptions *o = e->options;
  Covariates            *condition;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(o->baselines, &e->baseline));
  if (!e->store) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(e->groups, &condition));
  for (PetscInt k = 0; k < e->groups; k++) axes_codes(&e->axes, e->slots.key[e->group_slot[k]], condition[k].level);
  for (PetscInt b = 0; b < o->baselines; b++) {
    const BaselineOptions options = {.method = o->baseline[b], .seed = o->seed, .embedding_cells = EMBEDDING_CELLS};
    PetscCall(baseline_create(e->comm, e->store, e->means, &options, e->groups, condition, &e->baseline[b]));
    if (*baseline_note(e->baseline[b])) PetscCall(log_line(e->comm, "  %s: %s", baseline_name[o->baseline[b]], baseline_note(e->baseline[b])));
  }
  PetscCall(PetscFree(condition));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode table_create(const Evaluation *e, ScoreTable *t)
{
  const EvaluateOptions *o = e->options;

  PetscFunctionBeginUser;
  t->rows = o->predictions + o->baselines + (o->ceiling ? 1 : 0);
  t->groups = e->groups;
  t->genes = e->genes;
  t->axes = 0;
  for (int a = 0; a < AXES; a++) t->axes |= *e->column[a] ? 1 << a : 0;
  PetscCall(PetscCalloc3(t->rows, &t->model, t->rows, &t->repeat, t->rows, &t->kind));
  PetscCall(PetscCalloc3(t->groups, &t->cells_real, t->rows * t->groups, &t->cells_predicted, t->rows * t->groups, &t->scores));
  PetscCall(PetscCalloc3(t->genes, &t->gene, t->genes, &t->change_real, (size_t)t->rows * (size_t)t->genes, &t->change));
  for (PetscInt g = 0; g < t->genes; g++) PetscCall(PetscStrallocpy(e->gene[g], &t->gene[g]));
  for (int a = 0; a < AXES; a++) {
    PetscCall(PetscCalloc1(t->groups, &t->label[a]));
    for (PetscInt k = 0; k < t->groups; k++) {
      PetscInt code[AXES];
      axes_codes(&e->axes, e->slots.key[e->group_slot[k]], code);
      PetscCall(PetscStrallocpy(*e->column[a] ? e->axes.label[a][code[a]] : "", &t->label[a][k]));
    }
  }
  PetscCall(name_rows(o, t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode scoretable_destroy(ScoreTable *t)
{
  PetscFunctionBeginUser;
  PetscCall(analyses_destroy(t, &t->analyses));
  PetscCall(pairmetrics_destroy(&t->metrics));
  for (PetscInt r = 0; r < t->rows; r++) PetscCall(PetscFree(t->model[r]));
  for (PetscInt g = 0; g < t->genes; g++) PetscCall(PetscFree(t->gene[g]));
  for (int a = 0; a < AXES; a++) PetscCall(strings_free(t->groups, &t->label[a]));
  PetscCall(PetscFree3(t->model, t->repeat, t->kind));
  PetscCall(PetscFree3(t->cells_real, t->cells_predicted, t->scores));
  PetscCall(PetscFree3(t->gene, t->change_real, t->change));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode close_all(Evaluation *e, KeyTable *real)
{
  PetscFunctionBeginUser;
  for (PetscInt f = 0; f <= e->options->predictions; f++) PetscCall(generuns_destroy(&e->sorted[f]));
  PetscCall(PetscFree2(e->sorted, e->sorted_slot));
  for (PetscInt f = 0; f < e->options->predictions; f++) {
    PetscCall(slotcells_destroy(&e->slots, &e->file_cells[f]));
    PetscCall(groupedfile_close(&e->file[f]));
  }
  PetscCall(slotcells_destroy(&e->slots, &e->real_cells));
  PetscCall(PetscFree2(e->file, e->file_cells));
  PetscCall(PetscFree2(e->group_slot, e->owner));
  for (PetscInt g = 0; g < e->genes; g++) PetscCall(PetscFree(e->gene[g]));
  PetscCall(PetscFree(e->gene));
  PetscCall(PetscFree(e->position));
  for (PetscInt b = 0; b < e->options->baselines; b++) PetscCall(baseline_destroy(&e->baseline[b]));
  PetscCall(PetscFree(e->baseline));
  PetscCall(PetscFree(e->means));
  PetscCall(slots_destroy(&e->slots));
  PetscCall(axes_destroy(&e->axes));
  PetscCall(keytable_destroy(real));
  if (e->store)
    PetscCall(cellstore_close(&e->store));
  else
    PetscCall(groupedfile_close(&e->real));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode evaluate_files(MPI_Comm comm, const EvaluateOptions *options, ScoreTable *table)
{
  Evaluation e = {.comm = comm, .options = options};
  KeyTable   real = {0, NULL, NULL};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &e.rank));
  PetscCallMPI(MPI_Comm_size(comm, &e.size));
  PetscCall(PetscMemzero(table, sizeof *table));
  e.contrasts = options->analysis && (*options->analysis->questions || *options->analysis->genesets) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscCalloc2(options->predictions + 1, &e.sorted, options->predictions + 1, &e.sorted_slot));
  for (PetscInt f = 0; f <= options->predictions; f++) e.sorted_slot[f] = -1;
  PetscCall(evaluation_open_all(&e, &real));
  PetscCall(evaluation_match_genes(&e));
  PetscCall(evaluation_prepare_groups(&e, &real));
  PetscCall(learn_baselines(&e));
  PetscCall(table_create(&e, table));
  if (options->analysis) PetscCall(analyses_create(comm, options->analysis, options->seed, table, &table->analyses));
  /* Writes files: after all that a mistake of the user may stop. */
  if (options->pair && options->pair->profile != PROFILE_NONE) PetscCall(evaluation_pairs(&e, table, &table->metrics));
  PetscCall(evaluation_score(&e, table));
  PetscCall(close_all(&e, &real));
  PetscFunctionReturn(PETSC_SUCCESS);
}
