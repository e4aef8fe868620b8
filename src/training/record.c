/* log.jsonl, log.csv, validation.csv, options.yaml and run.json of a run folder (FORMATS, "Results"). */
#include "config.h"
#include "training/training_internal.h"
#include "revision.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static const char *const phase_name[PHASES] = {"read", "prepare", "forward", "backward", "reduce", "optimizer", "gather"};

static void path_in(const Trainer *t, const char *name, char path[PETSC_MAX_PATH_LEN])
{
  (void)PetscSNPrintf(path, PETSC_MAX_PATH_LEN, "%s/%s", t->options->folder, name);
}

/* The step a line of a log belongs to: the first number in it; -1 where there is none (a header). */
static long long line_step(const char *line)
{
  const char *digit = strpbrk(line, "0123456789");
  const char *end = strchr(line, '\n');

  return digit && (!end || digit < end) ? strtoll(digit, NULL, 10) : -1;
}

/* Keep the whole lines of steps already in the checkpoint: a killed run may have written more, or half a line. */
static PetscErrorCode truncate_log(const Trainer *t, const char *name, const char *header)
{
  char        path[PETSC_MAX_PATH_LEN], *text = NULL, *kept;
  size_t      length = 0, used = strlen(header);
  struct stat status;
  int         there = 0;

  PetscFunctionBeginUser;
  path_in(t, name, path);
  if (!t->rank) there = t->state.step > 0 && !stat(path, &status);
  PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, t->comm));
  if (there) PetscCall(file_read_text(t->comm, path, &text, &length));
  PetscCall(PetscMalloc1(used + length + 1, &kept));
  PetscCall(PetscStrcpy(kept, header));
  for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
    const long long step = line_step(line);

    if (step < 0 || step > t->state.step) continue;
    memcpy(kept + used, line, (size_t)(end + 1 - line));
    used += (size_t)(end + 1 - line);
  }
  kept[used] = '\0';
  PetscCall(file_write_text(t->comm, path, kept));
  PetscCall(PetscFree(kept));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode append_line(const Trainer *t, const char *name, const char *line)
{
  char path[PETSC_MAX_PATH_LEN];

  path_in(t, name, path);
  FILE *file = fopen(path, "a");
  if (!file) return error_user("%s: cannot be written; make room or check the folder's permissions", path);
  const int bad = fprintf(file, "%s\n", line) < 0;
  if (fclose(file) || bad) return error_user("%s: cannot be written; is the disk full?", path);
  return PETSC_SUCCESS;
}

static PetscErrorCode append_json(const Trainer *t, cJSON *object)
{
  char *line = cJSON_PrintUnformatted(object);

  PetscFunctionBeginUser;
  cJSON_Delete(object);
  PetscCheck(line, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for a line of the log");
  const PetscErrorCode code = append_line(t, "log.jsonl", line);
  cJSON_free(line);
  PetscFunctionReturn(code);
}

PetscErrorCode record_begin(const Trainer *t, PetscBool resumed)
{
  char path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  if (!resumed) PetscCall(file_make_folder(t->comm, t->options->folder));
  path_in(t, "options.yaml", path);
  if (t->options->options_yaml) PetscCall(file_write_text(t->comm, path, t->options->options_yaml));
  PetscCall(truncate_log(t, "log.jsonl", ""));
  PetscCall(truncate_log(t, "log.csv",
                         "step,loss,mse,energy,gradient_norm,learning_rate,cells_per_second,seconds,stall_seconds,read_seconds,prepare_seconds,forward_seconds,"
                         "backward_seconds,reduce_seconds,optimizer_seconds,gather_seconds,communication_seconds,communication_waited_seconds\n"));
  PetscCall(truncate_log(t, "validation.csv", "step,strength,energy_distance,pearson_delta,objective,chosen\n"));
  PetscCall(record_run(t, "running", NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_step(const Trainer *t, const TrainingResult *result, double cells_per_second)
{
  cJSON *object = cJSON_CreateObject();
  char   line[1024];
  int    length;

  PetscFunctionBeginUser;
  cJSON_AddNumberToObject(object, "step", (double)t->state.step);
  cJSON_AddNumberToObject(object, "loss", result->loss);
  cJSON_AddNumberToObject(object, "mse", result->mse);
  cJSON_AddNumberToObject(object, "energy", result->energy);
  cJSON_AddNumberToObject(object, "gradient_norm", t->norm);
  cJSON_AddNumberToObject(object, "learning_rate", t->lr);
  cJSON_AddNumberToObject(object, "cells_per_second", cells_per_second);
  cJSON_AddNumberToObject(object, "seconds", result->seconds);
  cJSON_AddNumberToObject(object, "stall_seconds", result->stall);
  cJSON *phases = cJSON_AddObjectToObject(object, "seconds_by_phase");
  for (int p = 0; p < PHASES; p++) cJSON_AddNumberToObject(phases, phase_name[p], t->seconds[p]);
  cJSON_AddNumberToObject(object, "communication_seconds", result->communication);
  cJSON_AddNumberToObject(object, "communication_waited_seconds", result->waited);
  cJSON_AddNumberToObject(object, "communication_bytes", t->communication.bytes);
  PetscCall(append_json(t, object));
  length = snprintf(line, sizeof line, "%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.6g,%.6g,%.6g", (long long)t->state.step, result->loss, result->mse, result->energy,
                    t->norm, t->lr, cells_per_second, result->seconds, result->stall);
  for (int p = 0; p < PHASES; p++) length += snprintf(line + length, sizeof line - (size_t)length, ",%.6g", t->seconds[p]);
  (void)snprintf(line + length, sizeof line - (size_t)length, ",%.6g,%.6g", result->communication, result->waited);
  PetscCall(append_line(t, "log.csv", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode record_step(const Trainer *t, const TrainingResult *result, double cells_per_second)
{
  PetscFunctionBeginUser;
  PetscCallAgree(t->comm, t->rank ? PETSC_SUCCESS : write_step(t, result, cells_per_second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_validation(const Trainer *t, double objective, PetscInt count, const ValidationScore *scores, PetscInt best)
{
  cJSON *object = cJSON_CreateObject();
  char   line[256];

  PetscFunctionBeginUser;
  cJSON_AddNumberToObject(object, "step", (double)t->state.step);
  cJSON *inner = cJSON_AddObjectToObject(object, "validation");
  cJSON_AddNumberToObject(inner, "objective", objective);
  cJSON_AddNumberToObject(inner, "strength", scores[best].strength);
  cJSON *table = cJSON_AddArrayToObject(inner, "scores");
  for (PetscInt i = 0; i < count; i++) {
    cJSON *row = cJSON_CreateObject();

    cJSON_AddNumberToObject(row, "strength", scores[i].strength);
    cJSON_AddNumberToObject(row, "energy_distance", scores[i].energy_distance);
    cJSON_AddNumberToObject(row, "pearson_delta", scores[i].pearson_delta);
    cJSON_AddItemToArray(table, row);
  }
  PetscCall(append_json(t, object));
  for (PetscInt i = 0; i < count; i++) {
    (void)snprintf(line, sizeof line, "%lld,%g,%.9g,%.9g,%.9g,%d", (long long)t->state.step, scores[i].strength, scores[i].energy_distance,
                   scores[i].pearson_delta, objective, i == best);
    PetscCall(append_line(t, "validation.csv", line));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode record_validation(const Trainer *t, double objective, PetscInt count, const ValidationScore *scores, PetscInt best)
{
  PetscFunctionBeginUser;
  PetscCallAgree(t->comm, t->rank ? PETSC_SUCCESS : write_validation(t, objective, count, scores, best));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void add_versions(cJSON *object)
{
  cJSON   *versions = cJSON_AddObjectToObject(object, "versions");
  unsigned major, minor, release;
  char     text[MPI_MAX_LIBRARY_VERSION_STRING];
  int      length;

  (void)PetscSNPrintf(text, sizeof text, "%d.%d.%d", PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR);
  cJSON_AddStringToObject(versions, "petsc", text);
  H5get_libversion(&major, &minor, &release);
  (void)PetscSNPrintf(text, sizeof text, "%u.%u.%u", major, minor, release);
  cJSON_AddStringToObject(versions, "hdf5", text);
  MPI_Get_library_version(text, &length);
  text[strcspn(text, ",\n")] = '\0';
  cJSON_AddStringToObject(versions, "mpi", text);
  cJSON_AddStringToObject(versions, "dense", dense_backend());
}

static void add_result(cJSON *object, const Trainer *t, const TrainingResult *result)
{
  cJSON_AddNumberToObject(object, "seconds", result->seconds);
  cJSON_AddNumberToObject(object, "wall_seconds_all_starts", t->state.wall_seconds);
  if (isfinite(result->loss)) cJSON_AddNumberToObject(object, "loss", result->loss);
  cJSON_AddNumberToObject(object, "stall_seconds", result->stall);
  cJSON_AddNumberToObject(object, "communication_seconds", result->communication);
  cJSON_AddNumberToObject(object, "communication_waited_seconds", result->waited);
  cJSON_AddNumberToObject(object, "checkpoints", (double)result->checkpoints);
  cJSON_AddNumberToObject(object, "checkpoint_seconds", result->checkpoint_seconds);
  cJSON_AddNumberToObject(object, "checkpoint_hidden_seconds", result->checkpoint_hidden);
  if (result->best_validation < 0) return;
  cJSON *best = cJSON_AddObjectToObject(object, "best");
  cJSON_AddNumberToObject(best, "step", (double)result->best_step);
  cJSON_AddNumberToObject(best, "energy_distance", result->best_validation);
  cJSON_AddNumberToObject(best, "pearson_delta", result->pearson);
  cJSON_AddNumberToObject(best, "strength", result->strength);
}

PetscErrorCode record_run(const Trainer *t, const char *state, const TrainingResult *result)
{
  char         path[PETSC_MAX_PATH_LEN], text[64], *json;
  const time_t now = time(NULL);
  cJSON       *object = cJSON_CreateObject(), *grid;
  struct tm    utc;

  PetscFunctionBeginUser;
  cJSON_AddStringToObject(object, "program", PACKAGE_NAME);
  cJSON_AddStringToObject(object, "version", PACKAGE_VERSION);
  cJSON_AddStringToObject(object, "git_revision", GIT_REVISION);
  cJSON_AddStringToObject(object, "command", t->options->command ? t->options->command : "");
  cJSON_AddStringToObject(object, "exit_state", state);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  cJSON_AddStringToObject(object, "written", text);
  cJSON_AddNumberToObject(object, "step", (double)t->state.step);
  cJSON_AddNumberToObject(object, "steps", (double)t->steps);
  if (result) add_result(object, t, result);
  struct rusage usage; /* of this rank; Linux counts in KiB */
  if (!getrusage(RUSAGE_SELF, &usage)) cJSON_AddNumberToObject(object, "peak_memory_bytes", 1024. * (double)usage.ru_maxrss);
  grid = cJSON_AddObjectToObject(object, "grid");
  cJSON_AddNumberToObject(grid, "ranks", t->ranks);
  cJSON_AddNumberToObject(grid, "ranks_a_set", t->grid.parts);
  cJSON_AddBoolToObject(grid, "recompute", t->options->recompute);
  cJSON_AddNumberToObject(grid, "threads", machine_threads());
  grid = cJSON_AddObjectToObject(object, "machine");
  cJSON_AddStringToObject(grid, "cpu", machine_cpu_name());
  cJSON_AddStringToObject(grid, "blas", blas_core_name());
  add_versions(object);
  grid = cJSON_AddObjectToObject(object, "store");
  cJSON_AddStringToObject(grid, "path", cellstore_path(t->store));
  (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)t->cells->checksum);
  cJSON_AddStringToObject(grid, "checksum", text);
  cJSON_AddNumberToObject(object, "parameters", (double)t->state.table.total);
  json = cJSON_Print(object);
  cJSON_Delete(object);
  PetscCheck(json, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for run.json");
  path_in(t, "run.json", path);
  const PetscErrorCode code = file_write_text(t->comm, path, json);
  cJSON_free(json);
  PetscFunctionReturn(code);
}
