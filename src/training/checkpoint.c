/* Checkpoints: what is in the file beside the large arrays, which checkpoint_values writes and reads (FORMATS, "Checkpoint"). */
#include "training/checkpoint_values.h"
#include "training/training_internal.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { VERSION = 1 };

static const char        format_name[] = "perturbdiff-checkpoint";

/* Scalars of the state: name in the file, kind, place. Written to and read from attributes of /state. */
typedef enum { FIELD_INT64, FIELD_DOUBLE, FIELD_INT, FIELD_CENTER, FIELD_SCHEDULE } FieldKind;
typedef struct {
  const char *name;
  FieldKind   kind;
  size_t      offset;
} Field;
#define FIELD(name, kind)                                                                                                                                      \
  {                                                                                                                                                            \
    #name, kind, offsetof(TrainingState, name)                                                                                                                 \
  }
static const Field  fields[] = {FIELD(step, FIELD_INT64),
                                FIELD(best_step, FIELD_INT64),
                                FIELD(best_validation, FIELD_DOUBLE),
                                FIELD(best_pearson, FIELD_DOUBLE),
                                FIELD(best_strength, FIELD_DOUBLE),
                                FIELD(wall_seconds, FIELD_DOUBLE),
                                FIELD(strength, FIELD_DOUBLE),
                                {"pending_mse", FIELD_DOUBLE, offsetof(TrainingState, pending)},
                                {"pending_energy", FIELD_DOUBLE, offsetof(TrainingState, pending) + sizeof(double)},
                                FIELD(pending_steps, FIELD_INT64),
                                FIELD(center, FIELD_CENTER),
                                FIELD(sees_cell_type, FIELD_INT),
                                FIELD(sees_batch, FIELD_INT),
                                FIELD(schedule, FIELD_SCHEDULE),
                                FIELD(schedule_steps, FIELD_INT),
                                FIELD(schedule_gamma, FIELD_DOUBLE),
                                FIELD(set_size, FIELD_INT),
                                FIELD(sets, FIELD_INT),
                                FIELD(store_checksum, FIELD_INT64),
                                FIELD(seed, FIELD_INT64)};
static const size_t field_count = sizeof fields / sizeof *fields;

static const Field  shape_fields[] = {{"genes", FIELD_INT, offsetof(DenoiserShape, genes)},
                                      {"hidden", FIELD_INT, offsetof(DenoiserShape, hidden)},
                                      {"depth", FIELD_INT, offsetof(DenoiserShape, depth)},
                                      {"heads", FIELD_INT, offsetof(DenoiserShape, heads)},
                                      {"perturbations", FIELD_INT, offsetof(DenoiserShape, perturbations)},
                                      {"cell_types", FIELD_INT, offsetof(DenoiserShape, cell_types)},
                                      {"batches", FIELD_INT, offsetof(DenoiserShape, batches)},
                                      {"covariate_dim", FIELD_INT, offsetof(DenoiserShape, covariate_dim)},
                                      {"time_frequencies", FIELD_INT, offsetof(DenoiserShape, time_frequencies)}};
static const size_t shape_count = sizeof shape_fields / sizeof *shape_fields;

/* One scalar as eight bytes, whatever its kind. */
static int64_t field_get(const void *base, const Field *field)
{
  const char *place = (const char *)base + field->offset;
  int64_t     bits;

  switch (field->kind) {
  case FIELD_INT:
    return *(const PetscInt *)(const void *)place;
  case FIELD_CENTER:
    return *(const CenterKind *)(const void *)place;
  case FIELD_SCHEDULE:
    return *(const ScheduleKind *)(const void *)place;
  default:
    memcpy(&bits, place, sizeof bits);
    return bits;
  }
}

static void field_set(void *base, const Field *field, int64_t bits)
{
  char *place = (char *)base + field->offset;

  switch (field->kind) {
  case FIELD_INT:
    *(PetscInt *)(void *)place = (PetscInt)bits;
    break;
  case FIELD_CENTER:
    *(CenterKind *)(void *)place = (CenterKind)bits;
    break;
  case FIELD_SCHEDULE:
    *(ScheduleKind *)(void *)place = (ScheduleKind)bits;
    break;
  default:
    memcpy(place, &bits, sizeof bits);
  }
}

static PetscErrorCode write_fields(hid_t object, const void *base, size_t count, const Field *list)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < count; i++) {
    const int64_t bits = field_get(base, &list[i]);
    double        number;

    memcpy(&number, &bits, sizeof number);
    if (list[i].kind == FIELD_DOUBLE)
      PetscCall(h5_write_attribute_double(object, list[i].name, number));
    else
      PetscCall(h5_write_attribute_int64(object, list[i].name, bits));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_fields(hid_t object, void *base, size_t count, const Field *list)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < count; i++) {
    int64_t bits = 0;
    double  number = 0;

    if (list[i].kind == FIELD_DOUBLE) {
      PetscCall(h5_read_attribute_double(object, list[i].name, &number, NULL));
      memcpy(&bits, &number, sizeof bits);
    } else
      PetscCall(h5_read_attribute_int64(object, list[i].name, &bits, NULL));
    field_set(base, &list[i], bits);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void add_bytes(const void *bytes, size_t size, uint64_t *position, uint64_t *sum)
{
  *sum += checksum_piece(bytes, size, *position);
  *position += (size + 7) / 8 * 8 + 8;
}

/* Checksum of everything but the four large sections. */
static uint64_t header_checksum(const TrainingState *state)
{
  const Vocabulary *const vocabulary[] = {&state->gene, &state->perturbation, &state->cell_type, &state->batch};
  uint64_t                position = 0, sum = 0;
  int64_t                 bits;

  for (size_t i = 0; i < shape_count; i++) bits = field_get(&state->table.shape, &shape_fields[i]), add_bytes(&bits, sizeof bits, &position, &sum);
  for (size_t i = 0; i < field_count; i++) bits = field_get(state, &fields[i]), add_bytes(&bits, sizeof bits, &position, &sum);
  for (PetscInt k = 0; k < state->table.count; k++) add_bytes(&state->steps_taken[k], sizeof(int64_t), &position, &sum);
  if (state->options_yaml) add_bytes(state->options_yaml, strlen(state->options_yaml), &position, &sum);
  for (size_t v = 0; v < 4; v++)
    for (PetscInt i = 0; i < vocabulary[v]->count; i++) add_bytes(vocabulary[v]->name[i], strlen(vocabulary[v]->name[i]), &position, &sum);
  return sum;
}

/* A set without values yet; the same type and names as always. */
static PetscErrorCode create_set(hid_t group, const Parameter *p, hid_t creation, hid_t *set, uint64_t *place)
{
  const hsize_t extent[2] = {(hsize_t)p->rows, (hsize_t)p->columns};
  const hid_t   space = H5Screate_simple(p->columns ? 2 : 1, extent, NULL);

  PetscFunctionBeginUser;
  H5Check(space);
  *set = H5Dcreate2(group, p->name, H5T_REAL_TYPE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  H5Check(*set);
  H5Check(H5Sclose(space));
  const haddr_t at = H5Dget_offset(*set);
  PetscCheck(at != HADDR_UNDEF || !parameter_size(p), PETSC_COMM_SELF, PETSC_ERR_LIB, "%s has no place in the file", p->name);
  *place = at;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sets of all sections, their room allotted: each has one place in the file, at which ranks write without asking HDF5. */
static PetscErrorCode create_sets(hid_t h5, const TrainingState *state, hid_t *set, uint64_t *place)
{
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);

  PetscFunctionBeginUser;
  H5Check(creation);
  H5Check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER));
  H5Check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY));
  for (int s = 0; s < SECTIONS; s++) {
    const hid_t group = H5Gcreate2(h5, section_name[s], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    H5Check(group);
    for (PetscInt k = 0; k < state->table.count; k++)
      PetscCall(create_set(group, &state->table.item[k], creation, &set[s * state->table.count + k], &place[s * state->table.count + k]));
    H5Check(H5Gclose(group));
  }
  H5Check(H5Pclose(creation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_header(hid_t h5, int ranks, const TrainingState *state)
{
  static const char *const names[] = {"gene", "perturbation", "cell_type", "batch"};
  const Vocabulary *const  vocabulary[] = {&state->gene, &state->perturbation, &state->cell_type, &state->batch};

  PetscFunctionBeginUser;
  PetscCall(h5_write_attribute_string(h5, "format", format_name));
  PetscCall(h5_write_attribute_int64(h5, "version", VERSION));
  PetscCall(h5_write_attribute_int64(h5, "step", state->step));
  PetscCall(h5_write_attribute_string(h5, "options", state->options_yaml ? state->options_yaml : ""));
  PetscCall(h5_write_attribute_int64(h5, "ranks", ranks));
  PetscCall(h5_write_attribute_int64(h5, "checksum", (int64_t)header_checksum(state)));
  hid_t group = H5Gcreate2(h5, "network", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Check(group);
  PetscCall(write_fields(group, &state->table.shape, shape_count, shape_fields));
  H5Check(H5Gclose(group));
  group = H5Gcreate2(h5, "state", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Check(group);
  PetscCall(write_fields(group, state, field_count, fields));
  PetscCall(h5_write_slab(group, "steps_taken", H5T_NATIVE_INT64, state->table.count, 0, 0, state->table.count, state->steps_taken));
  H5Check(H5Gclose(group));
  group = H5Gcreate2(h5, "vocabulary", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Check(group);
  for (size_t v = 0; v < 4; v++) PetscCall(h5_write_strings(group, names[v], vocabulary[v]->count, (const char *const *)vocabulary[v]->name));
  H5Check(H5Gclose(group));
  group = H5Gcreate2(h5, "optimizer", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Check(group);
  H5Check(H5Gclose(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct CheckpointWrite {
  FileDraft     draft;
  int           sets; /* in all sections */
  hid_t        *set;  /* (sets) of the first rank, open */
  uint64_t     *place, *sum; /* (sets) */
  ValuesWriter *values;
};

/* The file as long as it will be: writes that make a file longer wait for each other. */
static PetscErrorCode stretch(const CheckpointWrite *w, const TrainingState *state)
{
  uint64_t end = 0;

  for (int i = 0; i < w->sets; i++) end = PetscMax(end, w->place[i] + parameter_size(&state->table.item[i % state->table.count]) * sizeof(Real));
  return truncate(w->draft.temporary, (off_t)end) ? file_error(w->draft.path, "write", errno) : PETSC_SUCCESS;
}

/* The first rank makes the file and its sets, all begin to write their pieces. */
static PetscErrorCode begin_contents(CheckpointWrite *w, const TrainingState *state, PetscBool direct)
{
  PetscErrorCode code = PETSC_SUCCESS;
  int            rank, ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(w->draft.comm, &rank));
  PetscCallMPI(MPI_Comm_size(w->draft.comm, &ranks));
  PetscCall(file_draft_reserve(&w->draft, SECTIONS * (uint64_t)state->table.total * sizeof(Real) + 8192 * (uint64_t)w->sets));
  if (!rank) {
    PetscCall(write_header(w->draft.h5, ranks, state));
    PetscCall(create_sets(w->draft.h5, state, w->set, w->place));
    code = stretch(w, state);
  }
  PetscCallAgree(w->draft.comm, code);
  PetscCallMPI(MPI_Bcast(w->place, w->sets, MPI_UINT64_T, 0, w->draft.comm));
  PetscCall(checkpoint_values_start(&w->draft, state, w->place, direct, &w->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode free_write(CheckpointWrite **write)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3((*write)->set, (*write)->place, (*write)->sum));
  PetscCall(PetscFree(*write));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_begin(MPI_Comm comm, const char *path, const TrainingState *state, PetscBool direct, CheckpointWrite **write)
{
  CheckpointWrite *w;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(write));
  w = *write;
  w->sets = SECTIONS * (int)state->table.count;
  PetscCall(PetscMalloc3(w->sets, &w->set, w->sets, &w->place, w->sets, &w->sum));
  PetscErrorCode code = file_draft_create_first(comm, path, &w->draft);
  if (!code) {
    code = error_agree(comm, begin_contents(w, state, direct));
    if (code) PetscCall(file_draft_discard(&w->draft));
  }
  if (code) PetscCall(free_write(write));
  PetscFunctionReturn(code);
}

/* The first rank adds the checksums. */
static PetscErrorCode end_contents(CheckpointWrite *w, double *hidden)
{
  int rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(w->draft.comm, &rank));
  PetscCall(checkpoint_values_finish(&w->values, w->sum, hidden));
  for (int i = 0; i < w->sets && !rank; i++) {
    PetscCall(h5_write_attribute_int64(w->set[i], "checksum", (int64_t)w->sum[i]));
    H5Check(H5Dclose(w->set[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_end(CheckpointWrite **write, double *hidden)
{
  CheckpointWrite *w = *write;
  double           seconds;

  PetscFunctionBeginUser;
  PetscErrorCode code = error_agree(w->draft.comm, end_contents(w, hidden ? hidden : &seconds));
  if (code)
    PetscCall(file_draft_discard(&w->draft));
  else
    code = file_draft_commit(&w->draft);
  PetscCall(free_write(write));
  PetscFunctionReturn(code);
}

PetscErrorCode checkpoint_abandon(CheckpointWrite **write)
{
  PetscFunctionBeginUser;
  if (!*write) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(checkpoint_values_discard(&(*write)->values));
  PetscCall(file_draft_discard(&(*write)->draft));
  PetscCall(free_write(write));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_write(MPI_Comm comm, const char *path, const TrainingState *state)
{
  CheckpointWrite *write;

  PetscFunctionBeginUser;
  PetscCall(checkpoint_begin(comm, path, state, PETSC_TRUE, &write));
  PetscCall(checkpoint_end(&write, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes, scalars and names; every rank reads them itself. state is made here, without its arrays. */
static PetscErrorCode read_header(hid_t h5, const Shard *shard, TrainingState *state)
{
  static const char *const names[] = {"gene", "perturbation", "cell_type", "batch"};
  Vocabulary *const        vocabulary[] = {&state->gene, &state->perturbation, &state->cell_type, &state->batch};
  DenoiserShape            shape;
  PetscInt64               rows, columns;

  PetscFunctionBeginUser;
  hid_t group = H5Gopen2(h5, "network", H5P_DEFAULT);
  H5Check(group);
  PetscCall(read_fields(group, &shape, shape_count, shape_fields));
  H5Check(H5Gclose(group));
  for (size_t i = 0; i < shape_count; i++) {
    const int64_t value = field_get(&shape, &shape_fields[i]);
    PetscCheck(value >= 0 && value < 100000000, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "size out of range");
  }
  PetscCheck(shape.heads > 0 && shape.hidden > 0, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "size out of range");
  PetscCall(trainingstate_begin(&shape, shard, state));
  group = H5Gopen2(h5, "state", H5P_DEFAULT);
  H5Check(group);
  PetscCall(read_fields(group, state, field_count, fields));
  PetscCall(h5_extent(group, "steps_taken", &rows, &columns));
  PetscCheck(rows == state->table.count, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "parameters do not fit");
  PetscCall(h5_read_slab(group, "steps_taken", H5T_NATIVE_INT64, 0, rows, state->steps_taken));
  H5Check(H5Gclose(group));
  group = H5Gopen2(h5, "vocabulary", H5P_DEFAULT);
  H5Check(group);
  for (size_t v = 0; v < 4; v++) {
    PetscInt64 count = 0;

    PetscCall(h5_read_strings(group, names[v], &count, &vocabulary[v]->name));
    vocabulary[v]->count = (PetscInt)count;
  }
  H5Check(H5Gclose(group));
  PetscCall(h5_read_attribute_string(h5, "options", &state->options_yaml, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the sets lie and the checksums they should have. */
static PetscErrorCode find_sets(hid_t h5, int sections, const TrainingState *state, uint64_t *place, uint64_t *expected)
{
  PetscFunctionBeginUser;
  for (int s = 0; s < sections; s++) {
    const hid_t group = H5Gopen2(h5, section_name[s], H5P_DEFAULT);

    H5Check(group);
    for (PetscInt k = 0; k < state->table.count; k++) {
      const Parameter *p = &state->table.item[k];
      PetscInt64       rows, columns;
      int64_t          bits;

      PetscCall(h5_extent(group, p->name, &rows, &columns));
      PetscCheck(rows == p->rows && columns == p->columns, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "%s has other sizes", p->name);
      const hid_t set = H5Dopen2(group, p->name, H5P_DEFAULT);
      H5Check(set);
      PetscCall(h5_read_attribute_int64(set, "checksum", &bits, NULL));
      expected[s * state->table.count + k] = (uint64_t)bits;
      /* Rewritten by another program it may be chunked, compressed or of another type: then HDF5 reads it. */
      const hid_t type = H5Dget_type(set);
      H5Check(type);
      const haddr_t at = H5Tequal(type, H5T_REAL_TYPE) > 0 ? H5Dget_offset(set) : HADDR_UNDEF;
      place[s * state->table.count + k] = at == HADDR_UNDEF ? PLACE_UNKNOWN : at;
      H5Check(H5Tclose(type));
      H5Check(H5Dclose(set));
    }
    H5Check(H5Gclose(group));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the file says it is. */
static PetscErrorCode check_format(hid_t h5, const char *path)
{
  char     *format = NULL;
  int64_t   version = 0;
  PetscBool found, known = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(h5_read_attribute_string(h5, "format", &format, &found));
  if (found) known = strcmp(format, format_name) ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(PetscFree(format));
  if (!known) PetscFunctionReturn(error_user("%s: not a checkpoint of this program; give a file that `perturbdiff train` wrote", path));
  PetscCall(h5_read_attribute_int64(h5, "version", &version, NULL));
  if (version > VERSION)
    PetscFunctionReturn(error_user("%s: checkpoint of version %d, this program reads up to %d; use a newer program", path, (int)version, VERSION));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything of one rank, no messages: what fails here is damage. */
static PetscErrorCode read_contents(MPI_Comm comm, hid_t h5, const char *path, int sections, const Shard *shard, PetscBool keep, TrainingState *state, uint64_t **expected,
                                    uint64_t **sum)
{
  uint64_t *place;
  int64_t   bits;

  PetscFunctionBeginUser;
  PetscCall(check_format(h5, path));
  PetscCall(read_header(h5, shard, state));
  PetscCall(h5_read_attribute_int64(h5, "checksum", &bits, NULL));
  PetscCheck((uint64_t)bits == header_checksum(state), PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "checksum");
  if (shard && shard->piece && shard->whole != state->table.total) keep = PETSC_FALSE;
  PetscCall(PetscCalloc2(SECTIONS * state->table.count, expected, SECTIONS * state->table.count, sum));
  PetscCall(PetscMalloc1(SECTIONS * state->table.count, &place));
  PetscCall(find_sets(h5, sections, state, place, *expected));
  if (keep) PetscCall(trainingstate_allocate(state, sections == SECTIONS ? PETSC_TRUE : PETSC_FALSE));
  PetscCall(checkpoint_read_values(comm, h5, path, sections, place, keep, state, *sum));
  PetscCall(PetscFree(place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Read and compare checksums. keep: store the values; otherwise only look whether the file is intact. */
static PetscErrorCode load(MPI_Comm comm, const char *path, int sections, const Shard *shard, PetscBool keep, TrainingState *state)
{
  uint64_t      *expected = NULL, *sum = NULL;
  const char    *culprit = NULL;
  hid_t          h5;
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(state, sizeof *state));
  PetscCall(file_open(comm, path, "checkpoint", &h5));
  /* A damaged file makes library calls fail that cannot fail otherwise: silence, then one line. */
  PetscCall(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  code = read_contents(comm, h5, path, sections, shard, keep, state, &expected, &sum);
  (void)H5Fclose(h5);
  PetscCall(PetscPopErrorHandler());
  if (code && code != ERROR_USER) code = error_user("%s: damaged checkpoint; take an earlier one", path);
  code = error_agree(comm, code);
  if (!code) {
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, SECTIONS * state->table.count, MPI_UINT64_T, MPI_SUM, comm));
    for (PetscInt i = 0; i < sections * state->table.count && !culprit; i++)
      if (sum[i] != expected[i]) culprit = state->table.item[i % state->table.count].name;
    if (culprit) code = error_user("%s: damaged checkpoint (checksum of %s); take an earlier one", path, culprit);
    code = error_agree(comm, code);
  }
  PetscCall(PetscFree2(expected, sum));
  if (code) PetscCall(trainingstate_destroy(state));
  PetscFunctionReturn(code);
}

PetscErrorCode checkpoint_read(MPI_Comm comm, const char *path, PetscBool optimizer, TrainingState *state)
{
  const int sections = optimizer ? SECTIONS : 2;

  PetscFunctionBeginUser;
  PetscCall(load(comm, path, sections, NULL, PETSC_TRUE, state));
  PetscCall(checkpoint_share_values(comm, sections, state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_read_shard(MPI_Comm comm, const char *path, const Shard *shard, TrainingState *state)
{
  PetscFunctionBeginUser;
  PetscCall(load(comm, path, SECTIONS, shard, PETSC_TRUE, state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode checkpoint_verify(MPI_Comm comm, const char *path)
{
  TrainingState state;

  PetscFunctionBeginUser;
  PetscCall(load(comm, path, SECTIONS, NULL, PETSC_FALSE, &state));
  PetscCall(trainingstate_destroy(&state));
  PetscFunctionReturn(PETSC_SUCCESS);
}
