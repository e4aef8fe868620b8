/* Tiles of squared distances between all cells: which rank computes which, and the products they are made of. */
#include "hilbert/cellblock.h"
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <perturbdiff/hilbert/distances.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>

/* Rows of a tile for each thread, columns of a tile, rows of a product within a diagonal tile. A tile of 4 MiB stays in the last cache until it is summed. */
enum { TILE_ROWS = 21 * CELLBLOCK_STEP, TILE_COLUMNS = 42 * CELLBLOCK_STEP, DIAGONAL_ROWS = 5 * CELLBLOCK_STEP };

/* Whole panels where there are several. */
static double whole_steps(double cells) { return cells < CELLBLOCK_STEP ? cells : CELLBLOCK_STEP * floor(cells / CELLBLOCK_STEP); }

PairPlan pairs_plan(PetscInt64 cells, PetscInt dimension, int ranks, double bytes)
{
  const double row = (double)dimension * sizeof(double), room = (bytes > 0 ? bytes : 268435456.) / row;
  PairPlan     plan = {.cells = cells, .dimension = dimension};
  /* A part of the triangle that is about square needs the fewest cells made dense. */
  double resident = ceil((double)cells / sqrt(2. * ranks));

  plan.columns  = (PetscInt)PetscMax(1, PetscMin(whole_steps(PetscMin(TILE_COLUMNS, PetscMax(64, room / 4))), (double)cells));
  resident      = PetscMin(resident, PetscMax(64, room - (double)plan.columns));
  plan.resident = (PetscInt)PetscMax(1, PetscMin(CELLBLOCK_STEP * ceil(PetscMax(resident, PetscMin(256, room / 2)) / CELLBLOCK_STEP), (double)cells));
  plan.rows     = (PetscInt)PetscMin((PetscInt)TILE_ROWS * omp_get_max_threads(), plan.resident);
  return plan;
}

double pairs_bytes(const PairPlan *plan)
{
  const double tile = (double)PetscMax(plan->rows, plan->columns) * plan->columns;

  return cellblock_bytes(plan->resident, plan->dimension) + cellblock_bytes(plan->columns, plan->dimension) + sizeof(double) * tile;
}

typedef struct {
  PetscInt         groups, threads;
  const CellGroup *group;
  const PairPlan  *plan;
  PairVisitor      visit;
  void            *context;
  CellBlock        row, column; /* resident cells, and cells streamed past them */
  double          *tile;
  Progress         progress;
  double           scale, done; /* million pairs of all ranks for each of this rank's; done so far */
} Pairs;

/* ---- Tiles. The threads are ours, each with its own product: BLAS's threads and waiting OpenMP threads would take each other's cores. ---- */

/* Products in a row of `columns` cells y from place `at` on become distances from cell i of x. */
static void finish_row(const CellBlock *x, PetscInt i, const CellBlock *y, PetscInt at, PetscInt columns, double *row)
{
  if (!distances_squares(columns, CANCELLATION_DOUBLE, x->square[i], y->square + at, row)) return;
  for (PetscInt j = 0; j < columns; j++)
    if (row[j] < 0) row[j] = cellblock_squared_difference(x, i, y, at + j);
}

static void distances(const CellBlock *x, PetscInt i, PetscInt rows, const CellBlock *y, PetscInt at, PetscInt columns, double *distance)
{
  cellblock_products(x, i, rows, y, at, columns, distance, columns);
  for (PetscInt r = 0; r < rows; r++) finish_row(x, i + r, y, at, columns, distance + (size_t)r * (size_t)columns);
}

/* Rows a thread takes of `count`. */
static PetscInt piece_of(const Pairs *p, PetscInt count)
{
  const PetscInt piece = (count + p->threads - 1) / p->threads;
  return (piece + CELLBLOCK_STEP - 1) / CELLBLOCK_STEP * CELLBLOCK_STEP;
}

/* Resident cells from place `at` on against cells of y from place `at_y` on. */
static PetscErrorCode rectangle(Pairs *p, PetscInt64 first_row, PetscInt at, PetscInt rows, PetscInt64 first_column, PetscInt columns, const CellBlock *y, PetscInt at_y)
{
  PetscFunctionBeginUser;
  for (PetscInt done = 0; done < rows; done += p->plan->rows) {
    const PetscInt now = PetscMin(p->plan->rows, rows - done), piece = piece_of(p, now);

#pragma omp parallel for schedule(static, 1)
    for (PetscInt i = 0; i < now; i += piece) distances(&p->row, at + done + i, PetscMin(piece, now - i), y, at_y, columns, p->tile + (size_t)i * (size_t)columns);
    PetscCall(p->visit(p->context, &(PairTile){.first_row     = first_row + done,
                                               .first_column  = first_column,
                                               .rows          = now,
                                               .columns       = columns,
                                               .ld            = columns,
                                               .row_square    = p->row.square + at + done,
                                               .column_square = y->square + at_y,
                                               .distance      = p->tile}));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `count` resident cells from place `at` on against themselves: half the products, then mirrored. */
static PetscErrorCode diagonal(Pairs *p, PetscInt64 first, PetscInt at, PetscInt count)
{
  const double *square = p->row.square + at;
  const size_t  ld = (size_t)count;

  PetscFunctionBeginUser;
#pragma omp parallel for schedule(dynamic, 1)
  for (PetscInt i = 0; i < count; i += DIAGONAL_ROWS) {
    const PetscInt rows = PetscMin(DIAGONAL_ROWS, count - i);

    cellblock_products(&p->row, at + i, rows, &p->row, at, i + rows, p->tile + (size_t)i * ld, count);
    for (PetscInt j = i; j < i + rows; j++) {
      finish_row(&p->row, at + j, &p->row, at, j, p->tile + (size_t)j * ld);
      p->tile[(size_t)j * ld + (size_t)j] = 0;
    }
  }
#pragma omp parallel for schedule(dynamic, 8)
  for (PetscInt i = 0; i < count; i++)
    for (PetscInt j = i + 1; j < count; j++) p->tile[(size_t)i * ld + (size_t)j] = p->tile[(size_t)j * ld + (size_t)i];
  PetscCall(p->visit(p->context, &(PairTile){.first_row     = first,
                                             .first_column  = first,
                                             .rows          = count,
                                             .columns       = count,
                                             .ld            = count,
                                             .diagonal      = PETSC_TRUE,
                                             .row_square    = square,
                                             .column_square = square,
                                             .distance      = p->tile}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Parts. The lower triangle is cut into bands of `resident` rows; a band's columns follow one another, and the bands too. Ranks get equal numbers of pairs. ---- */

/* Pairs of a band of `rows` rows from `first` on in its columns [0, column). */
static double band_pairs(double first, double rows, double column)
{
  const double inside = PetscMax(0, column - first);

  return rows * PetscMin(column, first) + inside * rows - inside * (inside - 1) / 2;
}

/* The column of a band before which about `pairs` of its pairs lie. */
static PetscInt64 band_column(PetscInt64 first, PetscInt64 rows, double pairs)
{
  PetscInt64 low = 0, high = first + rows;

  if (pairs <= 0) return 0;
  while (low < high) {
    const PetscInt64 middle = low + (high - low) / 2;
    if (band_pairs((double)first, (double)rows, (double)middle) < pairs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* Columns [begin, end) of the band of rows [first, first + rows). */
static PetscErrorCode band(Pairs *p, PetscInt64 first, PetscInt rows, PetscInt64 begin, PetscInt64 end)
{
  const PetscInt64 loaded = PetscMax(first, begin); /* rows above the first column are no part of it */
  const PetscInt   here   = (PetscInt)(first + rows - loaded);

  PetscFunctionBeginUser;
  if (begin >= end) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(cellblock_load(p->groups, p->group, loaded, here, &p->row));
  for (PetscInt64 c = begin; c < end;) {
    const PetscInt64 limit   = c < first ? PetscMin(first, end) : end;
    const PetscInt   columns = (PetscInt)PetscMin(p->plan->columns, limit - c), at = (PetscInt)(c - loaded);

    if (c < first) {
      PetscCall(cellblock_load(p->groups, p->group, c, columns, &p->column));
      PetscCall(rectangle(p, first, 0, rows, c, columns, &p->column, 0));
    } else {
      PetscCall(diagonal(p, c, at, columns));
      PetscCall(rectangle(p, c + columns, at + columns, here - at - columns, c, columns, &p->row, at));
    }
    c += columns;
    p->done += p->scale * (band_pairs((double)first, rows, (double)c) - band_pairs((double)first, rows, (double)(c - columns)));
    if (p->plan->progress) PetscCall(progress_late(&p->progress, p->done, "million pairs"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode own_part(Pairs *p, int rank, int ranks)
{
  const double n = (double)p->plan->cells, total = n * (n + 1) / 2, from = total * rank / ranks, to = total * (rank + 1) / ranks;
  double       before = 0;

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0; first < p->plan->cells; first += p->plan->resident) {
    const PetscInt   rows = (PetscInt)PetscMin(p->plan->resident, p->plan->cells - first);
    const PetscInt64 all  = first + rows;
    const double     work = band_pairs((double)first, rows, (double)all);

    PetscCall(band(p, first, rows, from > before + work ? all : band_column(first, rows, from - before), to >= before + work ? all : band_column(first, rows, to - before)));
    before += work;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode pairs_visit(MPI_Comm comm, PetscInt groups, const CellGroup *group, const PairPlan *plan, PairVisitor visit, void *context)
{
  Pairs          p = {.groups = groups, .threads = omp_get_max_threads(), .group = group, .plan = plan, .visit = visit, .context = context};
  static PetscLogEvent event = -1;
  const int            blas_threads = openblas_get_num_threads();
  int                  rank, ranks;
  PetscErrorCode       code;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  for (PetscInt i = 0; i < groups; i++)
    PetscCheck(features_dimension(group[i].features) == plan->dimension, comm, PETSC_ERR_ARG_SIZ, "Group %d has %d features, the plan %d", (int)i,
               (int)features_dimension(group[i].features), (int)plan->dimension);
  PetscCall(cellblock_create(cellblock_layout(), plan->resident, plan->dimension, &p.row));
  PetscCall(cellblock_create(cellblock_layout(), plan->columns, plan->dimension, &p.column));
  PetscCall(PetscMalloc1((size_t)PetscMax(plan->rows, plan->columns) * (size_t)plan->columns, &p.tile));
  if (event < 0) PetscCall(PetscLogEventRegister("HilbertPairs", PETSC_OBJECT_CLASSID, &event));
  PetscCall(PetscLogEventBegin(event, 0, 0, 0, 0));
  openblas_set_num_threads(1);
  p.scale = 1e-6 * ranks;
  if (plan->progress) PetscCall(progress_begin(comm, "pairs", 0, 0.5e-6 * (double)plan->cells * ((double)plan->cells + 1), &p.progress));
  code = own_part(&p, rank, ranks);
  if (plan->progress) PetscCall(progress_end(&p.progress));
  openblas_set_num_threads(blas_threads);
  PetscCall(PetscLogFlops((double)plan->cells * ((double)plan->cells + 1) * plan->dimension / ranks));
  PetscCall(PetscLogEventEnd(event, 0, 0, 0, 0));
  PetscCall(cellblock_destroy(&p.row));
  PetscCall(cellblock_destroy(&p.column));
  PetscCall(PetscFree(p.tile));
  PetscCallAgree(comm, code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
