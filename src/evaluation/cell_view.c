/* The cells of a file by group: loading, and values by gene. */
#include "evaluation/pair_internal.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sum.h>
#include <perturbdiff/runtime/random.h>

PetscErrorCode cellview_destroy(CellView *view)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(view->group, view->order));
  PetscCall(PetscFree2(view->group_cells, view->group_entries));
  PetscCall(PetscFree2(view->member, view->member_begin));
  PetscCall(PetscFree(view->code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Groups are counted. */
static PetscErrorCode list_members(CellView *view)
{
  const PetscInt groups = view->perturbations + 1;
  PetscInt64     all = 0, *next;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < groups; k++) all += view->group_cells[k];
  PetscCall(PetscMalloc2(all, &view->member, groups + 1, &view->member_begin));
  view->member_begin[0] = 0;
  for (PetscInt k = 0; k < groups; k++) view->member_begin[k + 1] = view->member_begin[k] + view->group_cells[k];
  PetscCall(PetscMalloc1(groups, &next));
  PetscCall(PetscArraycpy(next, view->member_begin, groups));
  for (PetscInt64 i = 0; i < view->cells; i++)
    if (view->group[i] >= 0) view->member[next[view->group[i]]++] = i;
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_count(CellView *view)
{
  int32_t *gene = NULL;
  float   *value = NULL;

  PetscFunctionBeginUser;
  if (view->store) {
    const PetscInt all = cellstore_table(view->store)->gene.count;
    PetscCall(PetscMalloc2(all, &gene, all, &value));
  }
  PetscCall(PetscCalloc2(view->perturbations + 1, &view->group_cells, view->perturbations + 1, &view->group_entries));
  for (PetscInt64 i = 0; i < view->cells; i++) {
    const int32_t group = view->group[i];
    PetscInt      entries;

    if (group < 0) continue;
    view->group_cells[group]++;
    if (view->store) PetscCall(cellstore_row(view->store, i, &entries, gene, value));
    view->group_entries[group] += view->store ? entries : view->file->entries[i];
  }
  PetscCall(PetscFree2(gene, value));
  PetscCall(list_members(view));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for all cells of a group: how many values they have is known. */
static PetscErrorCode rows_create(const CellView *view, PetscInt group, SparseRows *rows)
{
  PetscFunctionBeginUser;
  *rows = (SparseRows){.columns = view->genes};
  PetscCall(PetscMalloc1(view->group_cells[group] + 1, &rows->offset));
  PetscCall(sparserows_allocate(view->group_entries[group], view->single ? PETSC_FALSE : PETSC_TRUE, rows));
  rows->offset[0] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode load_file(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  const PetscInt64 step = view->file->step;
  const int32_t   *moves = groupedfile_moves(view->file, view->position);

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < view->cells; first += step) {
    PetscInt64 begin = first, end = PetscMin(first + step, view->cells);
    SparseRows part;

    while (begin < end && (view->group[begin] < 0 || !wanted[view->group[begin]])) begin++;
    while (end > begin && (view->group[end - 1] < 0 || !wanted[view->group[end - 1]])) end--;
    if (begin == end) continue;
    PetscCall(groupedfile_rows(view->file, begin, end - begin, &part));
    for (PetscInt64 i = begin; i < end; i++) {
      const int32_t group = view->group[i];
      if (group >= 0 && wanted[group]) scored_append(&part, part.offset[i - begin], part.offset[i - begin + 1], moves, &rows[group]);
    }
    PetscCall(sparserows_free(&part));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode load_store(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  const PetscInt all = cellstore_table(view->store)->gene.count;
  SparseRows     cell = {0};

  PetscFunctionBeginUser;
  PetscCall(sparserows_allocate(all, PETSC_FALSE, &cell));
  for (PetscInt64 i = 0; i < view->cells; i++) {
    PetscInt entries;
    if (view->group[i] < 0 || !wanted[view->group[i]]) continue;
    PetscCall(cellstore_row(view->store, i, &entries, cell.column, cell.value));
    scored_append(&cell, 0, entries, view->position, &rows[view->group[i]]);
  }
  PetscCall(sparserows_free(&cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The cells of a group of a file that is kept, to rows that have room. */
static PetscErrorCode append_group(const CellView *view, PetscInt group, SparseRows *rows)
{
  const PetscInt64 begin = view->member_begin[group];

  PetscFunctionBeginUser;
  PetscCall(groupedfile_append_cells(view->file, view->member_begin[group + 1] - begin, view->member + begin, groupedfile_moves(view->file, view->position), rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_load(CellView *view, const unsigned char *wanted, SparseRows *rows)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k <= view->perturbations; k++) {
    rows[k] = (SparseRows){0};
    if (!wanted[k]) continue;
    if (view->maker) PetscCall(view->maker->make(view->maker->context, view->code[k], view->type, &rows[k]));
    else PetscCall(rows_create(view, k, &rows[k]));
    if (cellview_is_kept(view)) PetscCall(append_group(view, k, &rows[k]));
  }
  if (view->maker || cellview_is_kept(view)) PetscFunctionReturn(PETSC_SUCCESS);
  if (view->store)
    PetscCall(load_store(view, wanted, rows));
  else
    PetscCall(load_file(view, wanted, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool cellview_is_kept(const CellView *view) { return view->file && !view->maker && groupedfile_is_kept(view->file) ? PETSC_TRUE : PETSC_FALSE; }

PetscErrorCode cellview_load_kept(const CellView *view, PetscInt group, SparseRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(rows_create(view, group, rows));
  PetscCall(append_group(view, group, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The i-th cell of a group goes to the half that the image of i under a random permutation falls into. */
static void assign_halves(const CellView *view, const PetscInt *place, uint64_t seed, PetscInt64 *seen, CellView half[2])
{
  for (PetscInt64 i = 0; i < view->cells; i++) {
    const int32_t group = view->group[i];

    half[0].group[i] = half[1].group[i] = -1;
    if (group < 0 || place[group] < 0) continue;
    const PetscInt64   size = view->group_cells[group] / 2;
    const RandomStream stream = random_stream(seed, RANDOM_EVALUATE, 2, (uint32_t)group, 0);
    const PetscInt64   at = (PetscInt64)random_permuted(&stream, (uint64_t)view->group_cells[group], (uint64_t)seen[group]++);
    if (at < 2 * size) half[at / size].group[i] = (int32_t)place[group];
  }
}

PetscErrorCode cellview_halves(const CellView *view, char **label, uint64_t seed, CellView half[2], char ***kept)
{
  const PetscInt groups = view->perturbations + 1;
  PetscInt      *place, count = 0;
  PetscInt64    *seen;

  PetscFunctionBeginUser;
  if (view->group_cells[view->perturbations] < 2) return error_user("%s: fewer than two control cells; the ceiling needs two halves of them", view->path);
  PetscCall(PetscMalloc1(groups, kept));
  PetscCall(PetscCalloc2(groups, &place, groups, &seen));
  for (PetscInt k = 0; k < groups; k++) {
    place[k] = view->group_cells[k] > 1 ? count : -1;
    if (place[k] >= 0) (*kept)[count++] = label[k];
  }
  for (int h = 0; h < 2; h++) {
    half[h] = *view;
    half[h].perturbations = count - 1;
    PetscCall(PetscMalloc2(view->cells, &half[h].group, count, &half[h].order));
    for (PetscInt k = 0; k < count; k++) half[h].order[k] = k;
  }
  assign_halves(view, place, seed, seen, half);
  for (int h = 0; h < 2; h++) PetscCall(cellview_count(&half[h]));
  PetscCall(PetscFree2(place, seen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over the cells of this rank's share of the rows. */
static PetscErrorCode sum_embedding(CellView *view, PetscInt64 first, PetscInt64 end, PetscInt columns, double *sum)
{
  PetscInt64 step;

  PetscFunctionBeginUser;
  PetscCall(anndata_rows_for_bytes(view->file->file, view->file->memory.chunk, &step));
  for (; first < end; first += step) {
    SparseRows rows;
    PetscCall(anndata_read_rows(view->file->file, first, PetscMin(step, end - first), &rows));
    for (PetscInt64 i = 0; i < rows.rows; i++) {
      double *row = sum + (size_t)PetscMax(view->group[first + i], 0) * (size_t)columns;
      for (int64_t e = rows.offset[i]; view->group[first + i] >= 0 && e < rows.offset[i + 1]; e++) row[rows.column[e]] += sparserows_get(&rows, e);
    }
    PetscCall(sparserows_free(&rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode cellview_embedding(CellView *view, MPI_Comm comm, const char *key, PetscInt *columns, double **mean)
{
  PetscMPIInt rank, size;
  PetscInt64  cells, width;
  char        path[512];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscSNPrintf(path, sizeof path, "obsm/%s", key));
  PetscCall(anndata_select(view->file->file, path));
  PetscCall(anndata_shape(view->file->file, &cells, &width));
  *columns = (PetscInt)width;
  const size_t count = (size_t)(view->perturbations + 1) * (size_t)width;
  PetscCall(PetscCalloc1(count, mean));
  PetscCallAgree(comm, sum_embedding(view, cells * rank / size, cells * (rank + 1) / size, *columns, *mean));
  PetscCall(sum_over_ranks(comm, (PetscInt64)count, MPI_DOUBLE, *mean));
  for (size_t i = 0; i < count; i++) (*mean)[i] = (double)(float)((*mean)[i] / (double)view->group_cells[i / (size_t)width]);
  PetscCall(anndata_select(view->file->file, "X"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
