/* Exchange between the ranks that share cell sets (ARCHITECTURE, "The process grid"). Several sets travel in one message: packed rank by rank, each
   rank's cells of all sets together. */
#include "try_mpi.h"
#include <limits.h>
#include <perturbdiff/runtime/cellexchange.h>
#include <perturbdiff/runtime/grid.h>
#include <stdlib.h>
#include <string.h>

typedef enum { GATHER, REDUCE } Kind;

/* One operation under way, and its buffers. */
typedef struct {
  Kind  kind;
  int   sets, width, ld;
  Real *all, *own;            /* of the caller */
  Real *send, *receive;       /* one set needs no packing of `all`, and gathers into it */
  int  *count[2], *place[2];  /* (ranks) of what is sent and received, in values */
} Operation;

struct CellExchange {
  MPI_Comm      comm;
  int           ranks, rank, set_size, max_sets, max_width;
  int          *first, *cells; /* (ranks) */
  int           pending;
  MPI_Request   request[CELLEXCHANGE_PENDING];
  Operation     operation[CELLEXCHANGE_PENDING];
  Real         *ring[2]; /* blocks arriving and leaving */
  ExchangeTimes times;
  double        since; /* when the first of what is under way began; 0 when all has arrived */
};

static size_t most_cells(int ranks, int set_size) { return (size_t)((set_size + ranks - 1) / ranks); }

/* Values of the buffers of one operation. */
static size_t send_values(int ranks, int set_size, int max_sets, int max_width)
{
  return (size_t)max_sets * (size_t)max_width * (max_sets > 1 ? (size_t)set_size : most_cells(ranks, set_size));
}

static size_t receive_values(int ranks, int set_size, int max_sets, int max_width)
{
  return (size_t)max_sets * (size_t)max_width * (size_t)ranks * most_cells(ranks, set_size);
}

size_t cellexchange_bytes(int ranks, int set_size, int max_sets, int max_width)
{
  const size_t ring = 2 * most_cells(ranks, set_size) * (size_t)max_width;

  if (ranks == 1) return sizeof(CellExchange);
  return sizeof(CellExchange) + (size_t)ranks * sizeof(int) * (2 + 4 * CELLEXCHANGE_PENDING) +
         sizeof(Real) * (ring + CELLEXCHANGE_PENDING * (send_values(ranks, set_size, max_sets, max_width) + receive_values(ranks, set_size, max_sets, max_width)));
}

static int allocate(CellExchange *e)
{
  const size_t ints = (size_t)e->ranks * sizeof(int), block = most_cells(e->ranks, e->set_size) * (size_t)e->max_width * sizeof(Real);
  int          missing;

  e->first = malloc(ints);
  e->cells = malloc(ints);
  missing  = !e->first || !e->cells;
  for (int k = 0; k < 2 && e->ranks > 1; k++) missing |= !(e->ring[k] = malloc(block + 1));
  for (int p = 0; p < CELLEXCHANGE_PENDING && e->ranks > 1; p++) {
    Operation *o = &e->operation[p];
    for (int k = 0; k < 2; k++) missing |= !(o->count[k] = malloc(ints)) || !(o->place[k] = malloc(ints));
    missing |= !(o->send = malloc(sizeof(Real) * send_values(e->ranks, e->set_size, e->max_sets, e->max_width) + 1));
    missing |= !(o->receive = malloc(sizeof(Real) * receive_values(e->ranks, e->set_size, e->max_sets, e->max_width) + 1));
  }
  return missing ? MPI_ERR_NO_MEM : MPI_SUCCESS;
}

int cellexchange_create(MPI_Comm comm, int set_size, int max_sets, int max_width, CellExchange **exchange)
{
  CellExchange *e = calloc(1, sizeof *e);

  *exchange = e;
  if (!e) return MPI_ERR_NO_MEM;
  if (set_size < 0 || max_sets < 0 || max_width < 0) return MPI_ERR_ARG;
  e->set_size  = set_size;
  e->max_sets  = max_sets;
  e->max_width = max_width;
  TryMPI(MPI_Comm_dup(comm, &e->comm));
  TryMPI(MPI_Comm_size(e->comm, &e->ranks));
  TryMPI(MPI_Comm_rank(e->comm, &e->rank));
  /* MPI counts values by int. */
  if (receive_values(e->ranks, set_size, max_sets, max_width) > INT_MAX) return MPI_ERR_COUNT;
  TryMPI(allocate(e));
  for (int r = 0; r < e->ranks; r++) {
    long long first, count;
    share_of(set_size, r, e->ranks, &first, &count);
    e->first[r] = (int)first;
    e->cells[r] = (int)count;
  }
  return MPI_SUCCESS;
}

int cellexchange_destroy(CellExchange **exchange)
{
  CellExchange *e = *exchange;

  if (!e) return MPI_SUCCESS;
  for (int p = 0; p < CELLEXCHANGE_PENDING; p++) {
    Operation *o = &e->operation[p];
    free(o->send);
    free(o->receive);
    for (int k = 0; k < 2; k++) {
      free(o->count[k]);
      free(o->place[k]);
    }
  }
  for (int k = 0; k < 2; k++) free(e->ring[k]);
  free(e->first);
  free(e->cells);
  TryMPI(MPI_Comm_free(&e->comm));
  free(e);
  *exchange = NULL;
  return MPI_SUCCESS;
}

int cellexchange_ranks(const CellExchange *exchange) { return exchange->ranks; }
int cellexchange_rank(const CellExchange *exchange) { return exchange->rank; }

void cellexchange_cells(const CellExchange *exchange, int rank, int *first, int *count)
{
  *first = exchange->first[rank];
  *count = exchange->cells[rank];
}

/* A rank's rows of all sets between (sets, set_size, width) and the same packed, (sets, its cells, width). */
static void pack(const CellExchange *e, int rank, int sets, int width, const Real *all, Real *packed)
{
  const size_t n = (size_t)e->cells[rank] * (size_t)width, first = (size_t)e->first[rank] * (size_t)width, whole = (size_t)e->set_size * (size_t)width;

  for (int s = 0; s < sets && n; s++) memcpy(packed + (size_t)s * n, all + (size_t)s * whole + first, n * sizeof(Real));
}

static void unpack(const CellExchange *e, int rank, int sets, int width, const Real *packed, Real *all)
{
  const size_t n = (size_t)e->cells[rank] * (size_t)width, first = (size_t)e->first[rank] * (size_t)width, whole = (size_t)e->set_size * (size_t)width;

  for (int s = 0; s < sets && n; s++) memcpy(all + (size_t)s * whole + first, packed + (size_t)s * n, n * sizeof(Real));
}

static void pack_rows(int rows, int width, const Real *own, int ld, Real *packed)
{
  for (int r = 0; r < rows; r++) memcpy(packed + (size_t)r * (size_t)width, own + (size_t)r * (size_t)ld, (size_t)width * sizeof(Real));
}

static int begin(CellExchange *e, Kind kind, int sets, int width, int ld, Operation **operation)
{
  if (e->pending == CELLEXCHANGE_PENDING || sets > e->max_sets || width > e->max_width) return MPI_ERR_ARG;
  if (!e->pending) e->since = MPI_Wtime();
  *operation          = &e->operation[e->pending];
  (*operation)->kind  = kind;
  (*operation)->sets  = sets;
  (*operation)->width = width;
  (*operation)->ld    = ld;
  return MPI_SUCCESS;
}

/* Count and place of every rank's packed rows. */
static void packed_places(const CellExchange *e, int sets, int width, int *count, int *place)
{
  for (int r = 0; r < e->ranks; r++) {
    count[r] = sets * e->cells[r] * width;
    place[r] = sets * e->first[r] * width;
  }
}

int cellexchange_gather_start(CellExchange *e, int sets, int width, const Real *own, int ld, Real *all)
{
  const double began = MPI_Wtime();
  const int    rows  = sets * e->cells[e->rank];
  Operation   *o;

  if (e->ranks == 1) {
    pack_rows(rows, width, own, ld, all);
    return MPI_SUCCESS;
  }
  TryMPI(begin(e, GATHER, sets, width, ld, &o));
  o->all = all;
  pack_rows(rows, width, own, ld, o->send);
  packed_places(e, sets, width, o->count[1], o->place[1]);
  TryMPI(MPI_Iallgatherv(o->send, rows * width, MPI_REAL_TYPE, sets == 1 ? all : o->receive, o->count[1], o->place[1], MPI_REAL_TYPE, e->comm, &e->request[e->pending++]));
  e->times.bytes += (double)(e->ranks - 1) * rows * width * (double)sizeof(Real);
  e->times.driving += MPI_Wtime() - began;
  return MPI_SUCCESS;
}

int cellexchange_reduce_start(CellExchange *e, int sets, int width, const Real *all, Real *own, int ld)
{
  const double began = MPI_Wtime();
  const int    rows  = sets * e->cells[e->rank];
  Operation   *o;

  if (e->ranks == 1) {
    for (int r = 0; r < rows; r++) memcpy(own + (size_t)r * (size_t)ld, all + (size_t)r * (size_t)width, (size_t)width * sizeof(Real));
    return MPI_SUCCESS;
  }
  TryMPI(begin(e, REDUCE, sets, width, ld, &o));
  o->all = (Real *)all; /* read only */
  o->own = own;
  packed_places(e, sets, width, o->count[0], o->place[0]);
  for (int r = 0; r < e->ranks; r++) {
    o->count[1][r] = r == e->rank ? 0 : rows * width;
    o->place[1][r] = r * rows * width;
    if (sets > 1 && r != e->rank) pack(e, r, sets, width, all, o->send + o->place[0][r]);
    if (r != e->rank) e->times.bytes += (double)o->count[0][r] * (double)sizeof(Real);
  }
  o->count[0][e->rank] = 0;
  TryMPI(MPI_Ialltoallv(sets == 1 ? all : o->send, o->count[0], o->place[0], MPI_REAL_TYPE, o->receive, o->count[1], o->place[1], MPI_REAL_TYPE, e->comm,
                     &e->request[e->pending++]));
  e->times.driving += MPI_Wtime() - began;
  return MPI_SUCCESS;
}

static void complete_gather(const CellExchange *e, const Operation *o)
{
  for (int r = 0; r < e->ranks && o->sets > 1; r++) unpack(e, r, o->sets, o->width, o->receive + o->place[1][r], o->all);
}

/* Sums in rank order, this rank's part from where it was computed. */
static void complete_reduce(const CellExchange *e, const Operation *o)
{
  const size_t width = (size_t)o->width;
  const int    cells = e->cells[e->rank];

  for (int s = 0; s < o->sets; s++)
    for (int i = 0; i < cells; i++) {
      Real       *to   = o->own + ((size_t)s * (size_t)cells + (size_t)i) * (size_t)o->ld;
      const Real *here = o->all + ((size_t)s * (size_t)e->set_size + (size_t)(e->first[e->rank] + i)) * width;
      for (int r = 0; r < e->ranks; r++) {
        const Real *from = r == e->rank ? here : o->receive + (size_t)o->place[1][r] + ((size_t)s * (size_t)cells + (size_t)i) * width;
        if (r == 0) memcpy(to, from, width * sizeof(Real));
        else
          for (size_t j = 0; j < width; j++) to[j] += from[j];
      }
    }
}

/* The last of what was under way has arrived. */
static void arrived(CellExchange *e, double now)
{
  if (e->since > 0) e->times.under_way += now - e->since;
  e->since = 0;
}

int cellexchange_finish(CellExchange *e)
{
  const double began = MPI_Wtime();
  double       done;

  if (!e->pending) return MPI_SUCCESS;
  TryMPI(MPI_Waitall(e->pending, e->request, MPI_STATUSES_IGNORE));
  done = MPI_Wtime();
  e->times.waited += done - began;
  arrived(e, done);
  for (int p = 0; p < e->pending; p++) {
    if (e->operation[p].kind == GATHER) complete_gather(e, &e->operation[p]);
    else complete_reduce(e, &e->operation[p]);
  }
  e->pending = 0;
  e->times.driving += MPI_Wtime() - done;
  return MPI_SUCCESS;
}

int cellexchange_progress(CellExchange *e)
{
  const double began = MPI_Wtime();
  int          all;

  if (!e->pending || !e->since) return MPI_SUCCESS;
  TryMPI(MPI_Testall(e->pending, e->request, &all, MPI_STATUSES_IGNORE));
  if (all) arrived(e, MPI_Wtime());
  e->times.driving += MPI_Wtime() - began;
  return MPI_SUCCESS;
}

int cellexchange_ring(CellExchange *e, int width, const Real *own, RingFunction use, void *context)
{
  const int   after = (e->rank + 1) % e->ranks, before = (e->rank + e->ranks - 1) % e->ranks;
  const Real *block = own;

  if (e->pending || (e->ranks > 1 && width > e->max_width)) return MPI_ERR_ARG;
  for (int step = 0; step < e->ranks; step++) {
    const int    owner = (e->rank + step) % e->ranks, next = (owner + 1) % e->ranks, more = step + 1 < e->ranks;
    const double began = MPI_Wtime();
    MPI_Request  request[2];
    int          code = 0;

    if (more) {
      TryMPI(MPI_Irecv(e->ring[step % 2], e->cells[next] * width, MPI_REAL_TYPE, after, step, e->comm, &request[0]));
      TryMPI(MPI_Isend(block, e->cells[owner] * width, MPI_REAL_TYPE, before, step, e->comm, &request[1]));
      e->times.bytes += (double)e->cells[owner] * width * (double)sizeof(Real);
    }
    if (e->cells[owner]) code = use(context, e->first[owner], e->cells[owner], block);
    if (more) {
      const double used = MPI_Wtime();
      TryMPI(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
      e->times.waited += MPI_Wtime() - used;
      e->times.under_way += MPI_Wtime() - began;
    }
    if (code) return code;
    block = e->ring[step % 2];
  }
  return MPI_SUCCESS;
}

/* A sum at one rank, passed on: an all-reduce may add in another order on each rank. */
int cellexchange_sum(CellExchange *e, int n, double *values)
{
  if (e->ranks == 1) return MPI_SUCCESS;
  TryMPI(MPI_Reduce(e->rank ? values : MPI_IN_PLACE, values, n, MPI_DOUBLE, MPI_SUM, 0, e->comm));
  return MPI_Bcast(values, n, MPI_DOUBLE, 0, e->comm);
}

ExchangeTimes cellexchange_times(CellExchange *e)
{
  const ExchangeTimes times = e->times;

  e->times = (ExchangeTimes){0, 0, 0, 0};
  return times;
}
