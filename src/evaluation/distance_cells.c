/* Cells made ready for products, and distances of some of them from all of others. */
#include "evaluation/pair_internal.h"
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <perturbdiff/hilbert/distances.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/memory.h>
#include <string.h>

/* Sparse cells of a tile of products, 115 KB, which stays in the second cache; rows of a tile that the diagonal cuts; rows of a dense product, of PRODUCT values where that leaves LEAST_ROWS; cells of a
   square that is mirrored. */
enum { TILE_CELLS = 256, DIAGONAL_STEP = 32, SQUARE = 32, PRODUCT_ROWS = 96, LEAST_ROWS = 16, PRODUCT = 1 << 21, CACHE_LINE = 64 };

PetscErrorCode distancecells_create(const SparseRows *rows, PetscInt genes, DistanceCells *cells)
{
  PetscFunctionBeginUser;
  *cells = (DistanceCells){.rows = rows, .cells = rows->rows, .genes = genes, .wide = rows->wide ? PETSC_TRUE : PETSC_FALSE, .packs = sparseproducts_pay()};
  omp_init_lock(&cells->lock);
  cells->density = rows->rows ? (double)(rows->offset[rows->rows] - rows->offset[0]) / ((double)rows->rows * genes) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt64 panels_of(const DistanceCells *cells) { return (cells->cells + SPARSE_PANEL - 1) / SPARSE_PANEL; }

PetscErrorCode distancecells_destroy(DistanceCells *cells)
{
  PetscFunctionBeginUser;
  if (!cells->genes) PetscFunctionReturn(PETSC_SUCCESS);
  omp_destroy_lock(&cells->lock);
  PetscCall(PetscFree(cells->square));
  PetscCall(PetscFree(cells->dense));
  PetscCall(sparsecells_destroy(&cells->sparse));
  for (PetscInt64 p = 0; cells->panels && p < panels_of(cells); p++) PetscCall(PetscFree(cells->panels[p].memory));
  PetscCall(PetscFree(cells->panels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows may be so much denser than columns and still be the sparse ones: they are fewer, packed anyway, and the columns' panels serve many of them. */
static const double row_preference = 1.2;

/* Forms that products take the cells in. */
typedef enum { FORM_SPARSE, FORM_PANELS, FORM_DENSE } Form;

static PetscErrorCode make_dense(DistanceCells *cells)
{
  const size_t values = (size_t)cells->cells * (size_t)cells->genes;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(values, &cells->dense));
  memory_large_pages(cells->dense, values * sizeof *cells->dense);
  sparserows_dense(cells->rows, cells->cells, NULL, cells->dense);
  if (cells->square) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(cells->cells, &cells->square));
  for (PetscInt64 i = 0; i < cells->cells; i++) cells->square[i] = cblas_ddot(cells->genes, cells->dense + i * cells->genes, 1, cells->dense + i * cells->genes, 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Memory to be freed, and where in it a line of the cache begins. */
static PetscErrorCode aligned(size_t bytes, void **memory, void **line)
{
  char *all;

  PetscFunctionBeginUser;
  *line = NULL;
  PetscCall(PetscMalloc1(bytes + CACHE_LINE, &all));
  memory_large_pages(all, bytes);
  *memory = all;
  *line = all + (CACHE_LINE - (uintptr_t)all % CACHE_LINE) % CACHE_LINE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each panel has memory of its own, which finds room between other arrays. */
static PetscErrorCode make_panels(DistanceCells *cells)
{
  const PetscInt64 panels = panels_of(cells);

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(panels, &cells->panels));
  for (PetscInt64 p = 0; p < panels; p++) {
    void *at = NULL;
    PetscCall(aligned(sparsepanel_bytes(cells->genes, cells->wide), &cells->panels[p].memory, &at));
    cells->panels[p].panel = sparsepanel_at(at, cells->wide);
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (PetscInt64 p = 0; p < panels; p++) sparsepanel_fill(&cells->sparse, p * SPARSE_PANEL, &cells->panels[p].panel);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double in_panel(const DistanceCells *cells, PetscInt64 i, PetscInt g) { return sparsepanel_get(&cells->panels[i / SPARSE_PANEL].panel, g, i % SPARSE_PANEL); }

/* Rows as they were before there were only panels. Free them. */
static PetscErrorCode rows_of_panels(const DistanceCells *cells, SparseRows *rows)
{
  const PetscInt genes = cells->genes;

  PetscFunctionBeginUser;
  *rows = (SparseRows){.rows = cells->cells, .columns = genes};
  PetscCall(PetscMalloc1(cells->cells + 1, &rows->offset));
  rows->offset[0] = 0;
  for (PetscInt64 i = 0; i < cells->cells; i++) {
    rows->offset[i + 1] = rows->offset[i];
    for (PetscInt g = 0; g < genes; g++) rows->offset[i + 1] += in_panel(cells, i, g) != 0;
  }
  PetscCall(sparserows_allocate(rows->offset[cells->cells], cells->wide, rows));
  for (PetscInt64 i = 0; i < cells->cells; i++) {
    int64_t e = rows->offset[i];
    for (PetscInt g = 0; g < genes; g++) {
      if (in_panel(cells, i, g) == 0) continue;
      rows->column[e] = (int32_t)g;
      sparserows_set(rows, e++, in_panel(cells, i, g));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode make_sparse(DistanceCells *cells)
{
  SparseRows rows = {0};
  double    *square = NULL;

  PetscFunctionBeginUser;
  if (!cells->rows) PetscCall(rows_of_panels(cells, &rows));
  if (!cells->square) PetscCall(PetscMalloc1(cells->cells, &square));
  PetscCall(sparsecells_create(cells->rows ? cells->rows : &rows, cells->genes, &cells->sparse, square));
  if (square) cells->square = square;
  PetscCall(sparserows_free(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cells may be those that all threads compare theirs with; others' cells are made ready meanwhile. */
static PetscErrorCode make_form(DistanceCells *cells, Form form)
{
  PetscErrorCode code = PETSC_SUCCESS;

  omp_set_lock(&cells->lock);
  const PetscBool fills = form == FORM_PANELS && !cells->panels ? PETSC_TRUE : PETSC_FALSE;
  if ((form == FORM_SPARSE || fills) && !cells->sparse.part) code = make_sparse(cells);
  if (!code && fills) code = make_panels(cells);
  if (form == FORM_DENSE && !cells->dense) code = make_dense(cells);
  omp_unset_lock(&cells->lock);
  return code;
}

PetscErrorCode distancecells_prepare(DistanceCells *cells, PetscBool panels)
{
  PetscFunctionBeginUser;
  if (cells->packs) PetscCall(make_form(cells, panels ? FORM_PANELS : FORM_SPARSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distancecells_free_rows(DistanceCells *cells, SparseRows *rows)
{
  PetscFunctionBeginUser;
  if (!cells->packs) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(make_form(cells, FORM_SPARSE));
  cells->rows = NULL;
  PetscCall(sparserows_free(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distancecells_keep_panels(DistanceCells *cells)
{
  PetscFunctionBeginUser;
  if (!cells->packs || cells->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(make_form(cells, FORM_PANELS));
  PetscCall(sparsecells_destroy(&cells->sparse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Doubles that a panel takes the room of, up to the end of a line of the cache. */
static size_t values_of_panel(const DistanceCells *cells) { return (sparsepanel_bytes(cells->genes, cells->wide) + CACHE_LINE - 1) / CACHE_LINE * (CACHE_LINE / sizeof(double)); }

PetscErrorCode distancerows_create(DistanceCells *a, DistanceCells *b, DistanceRows *d)
{
  PetscInt64 tile;
  void      *at = NULL;

  PetscFunctionBeginUser;
  *d = (DistanceRows){.a = a, .b = b, .threads = omp_in_parallel() ? 1 : omp_get_max_threads()};
  d->way = !a->packs || !b->packs ? PRODUCTS_DENSE : a->density <= row_preference * b->density ? PRODUCTS_OF_SPARSE_ROWS : PRODUCTS_OF_SPARSE_COLUMNS;
  if (d->way == PRODUCTS_DENSE) {
    PetscCall(make_form(a, FORM_DENSE));
    PetscCall(make_form(b, FORM_DENSE));
    d->step = PetscMin(PRODUCT_ROWS, PetscMax(LEAST_ROWS, PRODUCT / b->cells));
    tile = d->step * b->cells;
  } else {
    DistanceCells *sparse = d->way == PRODUCTS_OF_SPARSE_ROWS ? a : b, *other = d->way == PRODUCTS_OF_SPARSE_ROWS ? b : a;

    PetscCall(make_form(sparse, FORM_SPARSE));
    d->sparse = &sparse->sparse;
    /* The panels of cells with themselves are used once in a block: one by one where there are none. */
    if (a != b) PetscCall(make_form(other, FORM_PANELS));
    d->fills = a == b && !a->panels ? PETSC_TRUE : PETSC_FALSE;
    d->step = d->way == PRODUCTS_OF_SPARSE_ROWS ? SPARSE_PANEL : TILE_CELLS;
    tile = SPARSE_PANEL * (TILE_CELLS + 1);
  }
  /* Of a thread: a tile of products, then a panel; the values of a cell. */
  d->tile_size = (size_t)(tile + 7) / 8 * 8 + (d->fills ? values_of_panel(a) : 0);
  PetscCall(aligned((size_t)d->threads * d->tile_size * sizeof *d->tile, &d->memory, &at));
  d->tile = (double *)at;
  PetscCall(PetscCalloc1((size_t)d->threads * (size_t)a->genes, &d->cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode distancerows_destroy(DistanceRows *d)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(d->memory));
  PetscCall(PetscFree(d->cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* cell (genes) += sign * cell i. */
static void add_cell(const DistanceCells *cells, PetscInt64 i, double sign, double *cell)
{
  const SparseRows *rows = cells->rows;

  if (rows)
    for (int64_t e = rows->offset[i]; e < rows->offset[i + 1]; e++) cell[rows->column[e]] += sign * sparserows_get(rows, e);
  else if (cells->sparse.part) sparsecells_add(&cells->sparse, i, sign, cell);
  else
    for (PetscInt g = 0; g < cells->genes; g++) cell[g] += sign * in_panel(cells, i, g);
}

/* |x - y|^2 from the cells themselves; cell (genes): zeros before and after. */
static double squared_difference(const DistanceCells *a, PetscInt64 i, const DistanceCells *b, PetscInt64 j, double *cell)
{
  double sum = 0;

  add_cell(a, i, 1, cell);
  add_cell(b, j, -1, cell);
  for (PetscInt g = 0; g < a->genes; g++) sum += cell[g] * cell[g];
  memset(cell, 0, (size_t)a->genes * sizeof *cell);
  return sum;
}

/* Of squared distances that are not negative. */
VECTOR_CLONES static void square_roots(PetscInt64 n, const double *restrict square, float *restrict narrow, double *restrict wide)
{
  if (narrow)
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) narrow[j] = sqrtf((float)square[j]);
  if (wide)
#pragma omp simd
    for (PetscInt64 j = 0; j < n; j++) wide[j] = sqrt(square[j]);
}

/* distances_squares and square_roots in one go, in single precision: the number of those that need the cells themselves. */
VECTOR_CLONES static PetscInt narrow_distances(PetscInt64 n, double square_x, const double *restrict square_y, const double *restrict product, float *restrict narrow)
{
  PetscInt close = 0;

#pragma omp simd reduction(+ : close)
  for (PetscInt64 j = 0; j < n; j++) {
    const double both = square_x + square_y[j], square = both - 2 * product[j];
    close += !(square >= CANCELLATION_DOUBLE * both) || both <= 0;
    narrow[j] = sqrtf((float)square);
  }
  return close;
}

/* Products of cell i with cells [column, column + columns) become distances at `at`. */
static void finish(const DistanceRows *d, PetscInt64 i, PetscInt64 column, PetscInt64 columns, double *product, size_t at, double *cell)
{
  const DistanceCells *a = d->a, *b = d->b;
  const PetscInt64     same = a == b ? i - column : -1;

  /* As a rule no two cells are alike. */
  if (!d->wide && !narrow_distances(columns, a->square[i], b->square + column, product, d->narrow + at)) return;
  if (distances_squares((PetscInt)columns, CANCELLATION_DOUBLE, a->square[i], b->square + column, product))
    for (PetscInt64 j = 0; j < columns; j++)
      if (product[j] < 0) product[j] = j == same ? 0 : squared_difference(a, i, b, column + j, cell);
  square_roots(columns, product, d->narrow ? d->narrow + at : NULL, d->wide ? d->wide + at : NULL);
}

/* A cell with itself and its mirror image, in squares that stay in the first cache. */
static void mirror(const DistanceRows *d, PetscInt64 first, PetscInt64 rows)
{
  const size_t     m = (size_t)d->b->cells;
  const PetscInt64 squares = (rows + SQUARE - 1) / SQUARE;

#pragma omp parallel for schedule(dynamic, 1) num_threads(d->threads)
  for (PetscInt64 s = 0; s < squares; s++)
    for (PetscInt64 t = s; t < squares; t++)
      for (PetscInt64 i = s * SQUARE; i < PetscMin(rows, (s + 1) * SQUARE); i++)
        for (PetscInt64 j = PetscMax(i + 1, t * SQUARE); j < PetscMin(rows, (t + 1) * SQUARE); j++) {
          const size_t above = (size_t)i * m + (size_t)(first + j), below = (size_t)j * m + (size_t)(first + i);
          if (d->narrow) d->narrow[above] = d->narrow[below];
          if (d->wide) d->wide[above] = d->wide[below];
        }
}

/* A panel of `of`, filled after the tile where it is not kept. */
static SparsePanel panel_of(const DistanceRows *d, const DistanceCells *of, PetscInt64 panel, double *tile)
{
  if (!d->fills) return of->panels[panel].panel;
  const SparsePanel filled = sparsepanel_at(tile + d->tile_size - values_of_panel(of), of->wide);
  sparsepanel_fill(d->sparse, panel * SPARSE_PANEL, &filled);
  return filled;
}

/* Columns of one panel. Of cells with themselves only those not above the diagonal, by steps of the rows: of two cells it is always the later that is the sparse one, so that however rows are
   cut, sums are the same. */
static void sparse_rows(const DistanceRows *d, PetscInt64 first, PetscInt64 rows, PetscInt64 panel, double *tile, double *cell)
{
  const PetscBool   itself = d->a == d->b ? PETSC_TRUE : PETSC_FALSE;
  const PetscInt64  column = panel * SPARSE_PANEL, end = first + rows, from = itself ? PetscMax(first, column) : first;
  const SparsePanel y = panel_of(d, d->b, panel, tile);

  for (PetscInt64 begin = from - from % 2, after; begin < end; begin = after) {
    after = PetscMin(end, begin + (itself && begin < column + SPARSE_PANEL ? DIAGONAL_STEP : TILE_CELLS));
    const PetscInt64 columns = PetscMin(SPARSE_PANEL, (itself ? after : d->b->cells) - column);
    sparse_products(d->sparse, begin, after - begin, &y, columns, tile);
    for (PetscInt64 i = PetscMax(from, begin); i < after; i++)
      finish(d, i, column, columns, tile + (i - begin) * SPARSE_PANEL, (size_t)(i - first) * (size_t)d->b->cells + (size_t)column, cell);
  }
}

/* Rows [row, end) of one panel y, of a block that begins with `first`, and columns [column, column + TILE_CELLS) up to the last; the last row of the tile takes parts of its transpose. */
static void sparse_tile(const DistanceRows *d, PetscInt64 first, const SparsePanel *y, PetscInt64 row, PetscInt64 end, PetscInt64 column, double *tile, double *cell)
{
  const PetscInt64 even = column - column % 2, last = PetscMin(even + TILE_CELLS, d->b->cells);
  double          *part = tile + TILE_CELLS * SPARSE_PANEL;

  sparse_products(d->sparse, even, last - even, y, end - row / SPARSE_PANEL * SPARSE_PANEL, tile);
  for (PetscInt64 i = row; i < end; i++)
    for (PetscInt64 done = column, now; done < last; done += now) {
      now = PetscMin(SPARSE_PANEL, last - done);
      for (PetscInt64 j = 0; j < now; j++) part[j] = tile[(done - even + j) * SPARSE_PANEL + i % SPARSE_PANEL];
      finish(d, i, done, now, part, (size_t)(i - first) * (size_t)d->b->cells + (size_t)done, cell);
    }
}

/* Columns [column, column + TILE_CELLS) of the rows, panel by panel of these. */
static void sparse_columns(const DistanceRows *d, PetscInt64 first, PetscInt64 rows, PetscInt64 column, double *tile, double *cell)
{
  for (PetscInt64 i = first, end; i < first + rows; i = end) {
    end = PetscMin(first + rows, (i / SPARSE_PANEL + 1) * SPARSE_PANEL);
    const SparsePanel y = panel_of(d, d->a, i / SPARSE_PANEL, tile);
    sparse_tile(d, first, &y, i, end, column, tile, cell);
  }
}

/* Of cells with themselves: rows of one panel and all columns beyond the block. */
static void sparse_beyond(const DistanceRows *d, PetscInt64 first, PetscInt64 rows, PetscInt64 panel, double *tile, double *cell)
{
  const PetscInt64  row = PetscMax(first, panel * SPARSE_PANEL), end = PetscMin(first + rows, (panel + 1) * SPARSE_PANEL);
  const SparsePanel y = panel_of(d, d->a, panel, tile);

  for (PetscInt64 column = first + rows; column < d->b->cells; column += TILE_CELLS - column % 2) sparse_tile(d, first, &y, row, end, column, tile, cell);
}

/* Rows [row, row + count) of products by BLAS, of which the block [first, ...) holds the distances. */
static void dense_rows(const DistanceRows *d, PetscInt64 first, PetscInt64 end, PetscInt64 row, PetscInt64 count, double *tile, double *cell)
{
  const PetscInt   genes = d->a->genes;
  const double    *x = d->a->dense + (size_t)row * (size_t)genes;
  /* Of cells with themselves those up to the diagonal, and those beyond the block. */
  const PetscInt64 part[2][2] = {{0, d->a == d->b ? row + count : d->b->cells}, {d->a == d->b ? end : d->b->cells, d->b->cells}};

  for (int p = 0; p < 2; p++) {
    const PetscInt64 column = part[p][0], columns = part[p][1] - column;
    if (columns < 1) continue;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, (blasint)columns, genes, 1, x, genes, d->b->dense + (size_t)column * (size_t)genes, genes, 0, tile, (blasint)columns);
    for (PetscInt64 i = 0; i < count; i++)
      finish(d, row + i, column, columns, tile + (size_t)i * (size_t)columns, (size_t)(row + i - first) * (size_t)d->b->cells + (size_t)column, cell);
  }
}

void distancerows_fill(const DistanceRows *d, PetscInt64 first, PetscInt64 rows)
{
  const PetscBool  itself = d->a == d->b ? PETSC_TRUE : PETSC_FALSE, by_rows = d->way == PRODUCTS_OF_SPARSE_ROWS ? PETSC_TRUE : PETSC_FALSE;
  const PetscInt64 step = d->step, end = first + rows, of_pieces = d->way == PRODUCTS_DENSE ? rows : itself ? end : d->b->cells, pieces = (of_pieces + step - 1) / step;
  const PetscInt64 beyond = itself && by_rows && end < d->b->cells ? (end - 1) / SPARSE_PANEL - first / SPARSE_PANEL + 1 : 0;

#pragma omp parallel for schedule(dynamic, 1) num_threads(d->threads)
  for (PetscInt64 k = 0; k < pieces + beyond; k++) {
    double *tile = d->tile + (size_t)omp_get_thread_num() * d->tile_size, *cell = d->cell + (size_t)omp_get_thread_num() * (size_t)d->a->genes;

    if (d->way == PRODUCTS_DENSE) dense_rows(d, first, end, first + k * step, PetscMin(step, rows - k * step), tile, cell);
    else if (k >= pieces) sparse_beyond(d, first, rows, first / SPARSE_PANEL + k - pieces, tile, cell);
    else if (by_rows) sparse_rows(d, first, rows, k, tile, cell);
    else sparse_columns(d, first, rows, k * step, tile, cell);
  }
  if (itself) mirror(d, first, rows);
}
