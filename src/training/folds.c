/* Step and strength of a centred head chosen by leaving each cell type of the training populations out in turn. */
#include "training/training_internal.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* One score of one fold. */
typedef struct {
  PetscInt        fold;
  int64_t         step;
  ValidationScore score;
} FoldScore;

typedef struct {
  MPI_Comm              comm;
  char                  path[PETSC_MAX_PATH_LEN]; /* of folds.json */
  PetscInt              folds, *cell_type;        /* (folds) */
  PetscBool            *complete;                 /* (folds) */
  PetscInt              count, capacity;
  FoldScore            *scores;
  PetscInt              fold; /* the one that runs */
  const CellStoreTable *cells;
} Folds;

static PetscErrorCode add_score(Folds *folds, PetscInt fold, int64_t step, ValidationScore score)
{
  PetscFunctionBeginUser;
  if (folds->count == folds->capacity) {
    folds->capacity = 2 * folds->capacity + 16;
    PetscCall(PetscRealloc(sizeof *folds->scores * (size_t)folds->capacity, &folds->scores));
  }
  folds->scores[folds->count++] = (FoldScore){fold, step, score};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All that is known so far, so that a run killed between folds goes on. chosen: NULL before the end. */
static PetscErrorCode write_folds(const Folds *folds, const FoldScore *chosen)
{
  cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "folds");

  PetscFunctionBeginUser;
  for (PetscInt f = 0; f < folds->folds; f++) {
    cJSON *fold = cJSON_CreateObject(), *scores;

    cJSON_AddItemToArray(list, fold);
    cJSON_AddStringToObject(fold, "cell_type", folds->cells->cell_type.name[folds->cell_type[f]]);
    cJSON_AddBoolToObject(fold, "complete", folds->complete[f]);
    scores = cJSON_AddArrayToObject(fold, "scores");
    for (PetscInt i = 0; i < folds->count; i++) {
      if (folds->scores[i].fold != f) continue;
      cJSON *score = cJSON_CreateObject();
      cJSON_AddItemToArray(scores, score);
      cJSON_AddNumberToObject(score, "step", (double)folds->scores[i].step);
      cJSON_AddNumberToObject(score, "strength", folds->scores[i].score.strength);
      cJSON_AddNumberToObject(score, "energy_distance", folds->scores[i].score.energy_distance);
      cJSON_AddNumberToObject(score, "pearson_delta", folds->scores[i].score.pearson_delta);
    }
  }
  if (chosen) {
    cJSON_AddNumberToObject(root, "step", (double)chosen->step);
    cJSON_AddNumberToObject(root, "strength", chosen->score.strength);
  }
  char *text = cJSON_Print(root);
  cJSON_Delete(root);
  PetscCheck(text, PETSC_COMM_SELF, PETSC_ERR_MEM, "folds.json");
  PetscErrorCode code = file_write_text(folds->comm, folds->path, text);
  cJSON_free(text);
  PetscFunctionReturn(code);
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* Scores of an earlier start, if there was one; those of a fold that was not complete count up to the step its checkpoint holds. */
static PetscErrorCode read_folds(Folds *folds, const char *folder)
{
  char        *text;
  size_t       length;
  const cJSON *fold, *score;
  int          rank, there = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(folds->comm, &rank));
  if (!rank) there = !access(folds->path, F_OK);
  PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, folds->comm));
  if (!there) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(file_read_text(folds->comm, folds->path, &text, &length));
  cJSON *root = cJSON_ParseWithLength(text, length);
  PetscCall(PetscFree(text));
  if (!root) PetscFunctionReturn(error_user("%s: damaged; remove it and the folders fold-* beside it, and start again", folds->path));
  cJSON_ArrayForEach(fold, cJSON_GetObjectItemCaseSensitive(root, "folds"))
  {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fold, "cell_type"));

    for (PetscInt f = 0; f < folds->folds && name; f++) {
      char     path[PETSC_MAX_PATH_LEN];
      PetscInt count;
      int64_t *step, newest = 0;

      if (strcmp(folds->cells->cell_type.name[folds->cell_type[f]], name)) continue;
      folds->complete[f] = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(fold, "complete")) ? PETSC_TRUE : PETSC_FALSE;
      PetscCall(PetscSNPrintf(path, sizeof path, "%s/fold-%d", folder, (int)f + 1));
      PetscCall(checkpoint_list(folds->comm, path, &count, &step));
      if (count) newest = step[count - 1];
      PetscCall(PetscFree(step));
      cJSON_ArrayForEach(score, cJSON_GetObjectItemCaseSensitive(fold, "scores"))
      {
        if (!folds->complete[f] && (int64_t)number(score, "step") > newest) continue;
        PetscCall(add_score(folds, f, (int64_t)number(score, "step"),
                            (ValidationScore){number(score, "strength"), number(score, "energy_distance"), number(score, "pearson_delta")}));
      }
    }
  }
  cJSON_Delete(root);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode observe(void *context, int64_t step, PetscInt count, const ValidationScore *scores)
{
  Folds *folds = context;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < count; i++) PetscCall(add_score(folds, folds->fold, step, scores[i]));
  PetscCall(write_folds(folds, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const FoldScore *find_score(const Folds *folds, PetscInt fold, int64_t step, double strength)
{
  for (PetscInt i = 0; i < folds->count; i++)
    if (folds->scores[i].fold == fold && folds->scores[i].step == step && folds->scores[i].score.strength == strength) return &folds->scores[i];
  return NULL;
}

/* Means over the folds at one step and strength: energy distance relative to strength 0, pearson_delta, and that at strength 0. False where a fold lacks it. */
static PetscBool mean_scores(const Folds *folds, int64_t step, double strength, double *ratio, double *pearson, double *pearson_zero)
{
  *ratio = *pearson = *pearson_zero = 0;
  for (PetscInt f = 0; f < folds->folds; f++) {
    const FoldScore *mine = find_score(folds, f, step, strength), *zero = find_score(folds, f, step, 0);

    if (!mine || !zero) return PETSC_FALSE;
    *ratio += mine->score.energy_distance / zero->score.energy_distance / folds->folds;
    *pearson += mine->score.pearson_delta / folds->folds;
    *pearson_zero += zero->score.pearson_delta / folds->folds;
  }
  return PETSC_TRUE;
}

/* Smallest mean ratio among those whose mean pearson_delta is not below that of strength 0, which is always among them. */
static PetscErrorCode choose(const Folds *folds, FoldScore *chosen)
{
  double best = INFINITY;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < folds->count; i++) {
    const FoldScore *candidate = &folds->scores[i];
    double           ratio, pearson, zero;

    if (candidate->fold || !mean_scores(folds, candidate->step, candidate->score.strength, &ratio, &pearson, &zero)) continue;
    PetscCall(log_line(folds->comm, "  folds      step %lld  strength %-5g energy distance %.3f of strength 0  pearson_delta %.3f (%.3f)",
                       (long long)candidate->step, candidate->score.strength, ratio, pearson, zero));
    if (pearson < zero || ratio >= best) continue;
    best = ratio;
    *chosen = *candidate;
  }
  PetscCall(log_line(folds->comm, "  chosen     step %lld, strength %g", (long long)chosen->step, chosen->score.strength));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run_fold(Folds *folds, CellStore *store, const TrainingOptions *options, TrainingResult *result)
{
  TrainingOptions fold = *options;
  char            folder[PETSC_MAX_PATH_LEN], pattern[1024];
  const char     *patterns[] = {pattern}, *name = folds->cells->cell_type.name[folds->cell_type[folds->fold]];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(folder, sizeof folder, "%s/fold-%d", options->folder, (int)folds->fold + 1));
  PetscCall(PetscSNPrintf(pattern, sizeof pattern, "*|%s|*", name));
  PetscCall(log_line(folds->comm, "  fold       %d of %d: %s left out", (int)folds->fold + 1, (int)folds->folds, name));
  fold.folder = folder;
  fold.validation.patterns = 1;
  fold.validation.pattern = patterns;
  fold.validation.best = PETSC_FALSE;
  fold.validation.patience = 0;
  fold.validation.observe = observe;
  fold.validation.observe_context = folds;
  PetscCall(training_run(folds->comm, store, &fold, result));
  folds->complete[folds->fold] = PETSC_TRUE;
  PetscCall(write_folds(folds, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode list_folds(Folds *folds)
{
  const CellStoreTable *cells = folds->cells;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(cells->cell_type.count, &folds->cell_type));
  PetscCall(PetscCalloc1(cells->cell_type.count, &folds->complete));
  for (PetscInt c = 0; c < cells->cell_type.count; c++) {
    PetscBool trains = PETSC_FALSE;
    for (PetscInt k = 0; k < cells->populations; k++) {
      const Population *p = &cells->population[k];
      if (p->cell_type == c && p->split == SPLIT_TRAIN && p->perturbation != cells->control && p->control >= 0 && p->cells) trains = PETSC_TRUE;
    }
    if (trains) folds->cell_type[folds->folds++] = c;
  }
  if (folds->folds < 2)
    PetscFunctionReturn(
        error_user("-train_validate folds needs perturbed training populations of two cell types or more; this store has %d", (int)folds->folds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode run_all(Folds *folds, CellStore *store, const TrainingOptions *options, TrainingResult *result)
{
  TrainingOptions final = *options;
  FoldScore       chosen = {0};
  PetscInt        earlier;

  PetscFunctionBeginUser;
  PetscCall(list_folds(folds));
  PetscCall(count_checkpoints(folds->comm, options, &earlier));
  PetscCall(file_make_folder(folds->comm, options->folder));
  if (options->resume) PetscCall(read_folds(folds, options->folder));
  for (folds->fold = 0; folds->fold < folds->folds; folds->fold++)
    if (!folds->complete[folds->fold]) PetscCall(run_fold(folds, store, options, result));
  PetscCall(choose(folds, &chosen));
  PetscCall(write_folds(folds, &chosen));
  final.validation.fraction = -1; /* all populations train */
  final.validation.patterns = 0;
  final.strength = chosen.score.strength;
  final.stop_step = chosen.step;
  PetscCall(training_run(folds->comm, store, &final, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode training_run_folds(MPI_Comm comm, CellStore *store, const TrainingOptions *options, TrainingResult *result)
{
  Folds     folds = {.comm = comm, .cells = cellstore_table(store)};
  PetscBool zero = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (options->center == CENTER_NONE)
    PetscFunctionReturn(
        error_user("-train_validate folds chooses the strength of a centred head; give -denoiser_center control or shift, or validate on a fraction"));
  for (PetscInt i = 0; i < options->validation.strengths; i++) zero = zero || options->validation.strength[i] == 0 ? PETSC_TRUE : PETSC_FALSE;
  if (!zero) PetscFunctionReturn(error_user("-validation_strengths must hold 0, to which -train_validate folds compares the others"));
  PetscCall(PetscSNPrintf(folds.path, sizeof folds.path, "%s/folds.json", options->folder));
  const PetscErrorCode code = run_all(&folds, store, options, result);
  PetscCall(PetscFree(folds.cell_type));
  PetscCall(PetscFree(folds.complete));
  PetscCall(PetscFree(folds.scores));
  PetscFunctionReturn(code);
}
