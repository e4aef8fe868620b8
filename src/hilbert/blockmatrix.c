/* The grid of ranks and where the entries of a block-cyclic matrix lie; entries moved there and back. */
#include "hilbert/scalapack.h"
#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/sum.h>

enum { LARGEST_BLOCK = 64, SMALLEST_BLOCK = 8 };

/* Shape of the grid: the squarest that leaves at most a tenth of the ranks without work. */
static void choose_shape(int ranks, int *rows, int *columns)
{
  int r = 1;

  while ((r + 1) * (r + 1) <= ranks) r++;
  while (r > 1 && 10 * r * (ranks / r) < 9 * ranks) r--;
  *rows    = r;
  *columns = ranks / r;
}

static PetscErrorCode join_blacs(BlockGrid *g)
{
  int *map;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(g->rows * g->columns, &map));
  for (int i = 0; i < g->rows; i++)
    for (int j = 0; j < g->columns; j++) map[i + j * g->rows] = i * g->columns + j;
  g->handle  = Csys2blacs_handle(g->comm);
  g->context = g->handle;
  Cblacs_gridmap(&g->context, map, g->rows, g->rows, g->columns);
  PetscCall(PetscFree(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockgrid_create(MPI_Comm comm, PetscInt64 size, BlockGrid **grid)
{
  BlockGrid *g;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&g));
  PetscCallMPI(MPI_Comm_dup(comm, &g->comm));
  PetscCallMPI(MPI_Comm_size(g->comm, &g->ranks));
  PetscCallMPI(MPI_Comm_rank(g->comm, &g->rank));
  choose_shape(g->ranks, &g->rows, &g->columns);
  /* Two blocks an edge and rank at least, where blocks that small still pay. */
  g->block                = (int)PetscMax(SMALLEST_BLOCK, PetscMin(LARGEST_BLOCK, size / (2 * g->columns)));
  const PetscInt64 blocks = PetscMax(1, (size + g->block - 1) / g->block);
  g->rows                 = (int)PetscMin(g->rows, blocks);
  g->columns              = (int)PetscMin(g->columns, blocks);
  const PetscBool inside  = g->rank < g->rows * g->columns ? PETSC_TRUE : PETSC_FALSE;
  g->row                  = inside ? g->rank / g->columns : -1;
  g->column               = inside ? g->rank % g->columns : -1;
  PetscCall(join_blacs(g));
  *grid = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockgrid_destroy(BlockGrid **grid)
{
  BlockGrid *g = *grid;

  PetscFunctionBeginUser;
  if (!g) PetscFunctionReturn(PETSC_SUCCESS);
  if (g->row >= 0) Cblacs_gridexit(g->context);
  Cfree_blacs_system_handle(g->handle);
  PetscCallMPI(MPI_Comm_free(&g->comm));
  PetscCall(PetscFree(*grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows or columns of `total` that place i of n holds. */
static PetscInt64 share(PetscInt64 total, int block, int i, int n)
{
  const PetscInt64 blocks = total / block, own = blocks / n + (i < blocks % n);

  return own * block + (i == blocks % n ? total % block : 0);
}

double blockmatrix_bytes(const BlockGrid *grid, PetscInt64 rows, PetscInt64 columns)
{
  const double block = grid->block;

  return (double)sizeof(double) * PetscMin((double)rows, (double)share(rows, grid->block, 0, grid->rows) + block) *
         PetscMin((double)columns, (double)share(columns, grid->block, 0, grid->columns) + block);
}

PetscErrorCode blockmatrix_create(const BlockGrid *grid, PetscInt64 rows, PetscInt64 columns, BlockMatrix *m)
{
  PetscFunctionBeginUser;
  *m = (BlockMatrix){.grid = grid, .rows = (PetscInt)rows, .columns = (PetscInt)columns, .ld = 1};
  if (rows > PETSC_MAX_INT / 2 || columns > PETSC_MAX_INT / 2 || blockmatrix_bytes(grid, rows, columns) > 2147483647. * sizeof(double))
    PetscFunctionReturn(error_user("a matrix of %lld x %lld is more than ScaLAPACK can count on %d ranks; use more ranks, fewer landmarks or fewer populations", (long long)rows,
                                   (long long)columns, grid->ranks));
  if (grid->row >= 0) {
    m->local_rows    = (int)share(rows, grid->block, grid->row, grid->rows);
    m->local_columns = (int)share(columns, grid->block, grid->column, grid->columns);
    m->ld            = PetscMax(1, m->local_rows);
  }
  const int descriptor[9] = {1, grid->row >= 0 ? grid->context : -1, (int)rows, (int)columns, grid->block, grid->block, 0, 0, m->ld};
  for (int i = 0; i < 9; i++) m->descriptor[i] = descriptor[i];
  PetscCall(PetscCalloc1((size_t)m->ld * (size_t)PetscMax(1, m->local_columns), &m->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_destroy(BlockMatrix *m)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(m->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank that holds an entry, and where in its array. */
static int owner(const BlockMatrix *m, PetscInt i, PetscInt j)
{
  const BlockGrid *g = m->grid;
  return (i / g->block % g->rows) * g->columns + j / g->block % g->columns;
}

static size_t place(const BlockMatrix *m, PetscInt i, PetscInt j)
{
  const int b = m->grid->block, row = i / b / m->grid->rows * b + i % b, column = j / b / m->grid->columns * b + j % b;
  return (size_t)column * (size_t)m->ld + (size_t)row;
}

/* Counts and offsets of an exchange. */
typedef struct {
  int *send, *send_from, *receive, *receive_from;
} Exchange;

static PetscErrorCode exchange_create(int ranks, Exchange *e)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc4(ranks, &e->send, ranks + 1, &e->send_from, ranks, &e->receive, ranks + 1, &e->receive_from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode exchange_destroy(Exchange *e) { return PetscFree4(e->send, e->send_from, e->receive, e->receive_from); }

/* Offsets from counts; what does not fit MPI's counts is refused. */
static PetscErrorCode add_up(int ranks, const int *count, int *from)
{
  PetscInt64 sum = 0;

  PetscFunctionBeginUser;
  for (int r = 0; r < ranks; r++) {
    from[r] = (int)sum;
    sum += count[r];
    PetscCheck(sum <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "More entries in one message than MPI can count");
  }
  from[ranks] = (int)sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows [first, first + count) of the whole matrix that lie on a grid row, ascending: calls for each local row. */
#define for_rows_on(m, place_row, first, count, i) \
  for (PetscInt i = (PetscInt)(first); i < (PetscInt)((first) + (count)); i++) \
    if (i / (m)->grid->block % (m)->grid->rows == (place_row))
#define for_columns_on(m, place_column, j) \
  for (PetscInt j = 0; j < (m)->columns; j++) \
    if (j / (m)->grid->block % (m)->grid->columns == (place_column))

/* How many entries of rows [first, first + count) a rank holds. */
static PetscInt64 entries_on(const BlockMatrix *m, int rank, long long first, long long count)
{
  const BlockGrid *g = m->grid;
  PetscInt64       rows = 0;

  if (rank >= g->rows * g->columns) return 0;
  for_rows_on(m, rank / g->columns, first, count, i) rows++;
  return rows * share(m->columns, g->block, rank % g->columns, g->columns);
}

/* Rows by share_of to and from the block-cyclic layout. Both ends know the order: rows ascending, columns ascending. */
static PetscErrorCode move_rows(const BlockMatrix *m, const double *in, double *out)
{
  const BlockGrid *g = m->grid;
  const PetscBool  to_blocks = in ? PETSC_TRUE : PETSC_FALSE;
  Exchange         e;
  double          *here, *there;
  long long        own_first, own_count, first, count;

  PetscFunctionBeginUser;
  PetscCall(exchange_create(g->ranks, &e));
  share_of(m->rows, g->rank, g->ranks, &own_first, &own_count);
  /* send: what of this rank's rows each rank of the grid holds; receive: what of each rank's rows this one holds in its blocks. */
  for (int r = 0; r < g->ranks; r++) {
    share_of(m->rows, r, g->ranks, &first, &count);
    e.send[r]    = (int)entries_on(m, r, own_first, own_count);
    e.receive[r] = (int)entries_on(m, g->rank, first, count);
  }
  PetscCall(add_up(g->ranks, e.send, e.send_from));
  PetscCall(add_up(g->ranks, e.receive, e.receive_from));
  PetscCall(PetscMalloc2(PetscMax(1, e.send_from[g->ranks]), &here, PetscMax(1, e.receive_from[g->ranks]), &there));
  if (to_blocks) {
    for (int r = 0; r < g->rows * g->columns; r++) {
      double *next = here + e.send_from[r];
      for_rows_on(m, r / g->columns, own_first, own_count, i) for_columns_on(m, r % g->columns, j) *next++ = in[(size_t)(i - own_first) * (size_t)m->columns + (size_t)j];
    }
    PetscCallMPI(MPI_Alltoallv(here, e.send, e.send_from, MPI_DOUBLE, there, e.receive, e.receive_from, MPI_DOUBLE, g->comm));
  }
  for (int r = 0; r < g->ranks && g->row >= 0; r++) {
    double *next = there + e.receive_from[r];
    share_of(m->rows, r, g->ranks, &first, &count);
    for_rows_on(m, g->row, first, count, i) for_columns_on(m, g->column, j)
    {
      if (to_blocks) m->values[place(m, i, j)] = *next++;
      else *next++ = m->values[place(m, i, j)];
    }
  }
  if (!to_blocks) {
    PetscCallMPI(MPI_Alltoallv(there, e.receive, e.receive_from, MPI_DOUBLE, here, e.send, e.send_from, MPI_DOUBLE, g->comm));
    for (int r = 0; r < g->rows * g->columns; r++) {
      const double *next = here + e.send_from[r];
      for_rows_on(m, r / g->columns, own_first, own_count, i) for_columns_on(m, r % g->columns, j) out[(size_t)(i - own_first) * (size_t)m->columns + (size_t)j] = *next++;
    }
  }
  PetscCall(PetscFree2(here, there));
  PetscCall(exchange_destroy(&e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_from_rows(BlockMatrix *matrix, const double *rows)
{
  double none = 0;

  PetscFunctionBeginUser;
  PetscCall(move_rows(matrix, rows ? rows : &none, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_to_rows(const BlockMatrix *matrix, double *rows)
{
  PetscFunctionBeginUser;
  PetscCall(move_rows(matrix, NULL, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_add_panel(BlockMatrix *m, PetscInt first_row, PetscInt rows, double *panel)
{
  PetscFunctionBeginUser;
  PetscCall(sum_over_ranks(m->grid->comm, (PetscInt64)rows * m->columns, MPI_DOUBLE, panel));
  if (m->grid->row >= 0)
    for_rows_on(m, m->grid->row, first_row, rows, i) for_columns_on(m, m->grid->column, j) m->values[place(m, i, j)] += panel[(size_t)(i - first_row) * (size_t)m->columns + (size_t)j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_add_entries(BlockMatrix *m, PetscInt64 count, const BlockEntry *entries)
{
  const BlockGrid *g = m->grid;
  Exchange         e;
  BlockEntry      *out, *in;
  MPI_Datatype     type;

  PetscFunctionBeginUser;
  PetscCall(exchange_create(g->ranks, &e));
  for (PetscInt64 k = 0; k < count; k++) e.send[owner(m, entries[k].row, entries[k].column)]++;
  PetscCallMPI(MPI_Alltoall(e.send, 1, MPI_INT, e.receive, 1, MPI_INT, g->comm));
  PetscCall(add_up(g->ranks, e.send, e.send_from));
  PetscCall(add_up(g->ranks, e.receive, e.receive_from));
  PetscCall(PetscMalloc2(PetscMax(1, e.send_from[g->ranks]), &out, PetscMax(1, e.receive_from[g->ranks]), &in));
  for (PetscInt64 k = 0; k < count; k++) out[e.send_from[owner(m, entries[k].row, entries[k].column)]++] = entries[k];
  PetscCall(add_up(g->ranks, e.send, e.send_from));
  PetscCallMPI(MPI_Type_contiguous(sizeof(BlockEntry), MPI_BYTE, &type));
  PetscCallMPI(MPI_Type_commit(&type));
  PetscCallMPI(MPI_Alltoallv(out, e.send, e.send_from, type, in, e.receive, e.receive_from, type, g->comm));
  PetscCallMPI(MPI_Type_free(&type));
  for (int k = 0; k < e.receive_from[g->ranks]; k++) m->values[place(m, in[k].row, in[k].column)] += in[k].value;
  PetscCall(PetscFree2(out, in));
  PetscCall(exchange_destroy(&e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_diagonal(const BlockMatrix *m, double *diagonal)
{
  const PetscInt n = PetscMin(m->rows, m->columns);

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) diagonal[i] = owner(m, i, i) == m->grid->rank ? m->values[place(m, i, i)] : 0;
  PetscCall(sum_over_ranks(m->grid->comm, n, MPI_DOUBLE, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode blockmatrix_replicate(const BlockMatrix *m, PetscInt first, PetscInt count, double *values)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(values, (size_t)m->rows * (size_t)count));
  for (int j = 0; j < m->local_columns; j++) {
    const PetscInt column = blockmatrix_column(m, j);
    if (column < first || column >= first + count) continue;
    for (int i = 0; i < m->local_rows; i++)
      values[(size_t)blockmatrix_row(m, i) * (size_t)count + (size_t)(column - first)] = m->values[(size_t)j * (size_t)m->ld + (size_t)i];
  }
  PetscCall(sum_over_ranks(m->grid->comm, (PetscInt64)m->rows * count, MPI_DOUBLE, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
