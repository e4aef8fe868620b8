/* Simulated screens: draws against the moments and probabilities of their laws, the law of a screen, the same cells however they are dealt. */
#include "check.h"
#include "data/count_draw.h"
#include <perturbdiff/data/simulate.h>
#include <perturbdiff/runtime.h>
#include <string.h>
#include <unistd.h>

static const SimulateOptions small = {.cells = 500,
                                      .genes = 60,
                                      .perturbations = 11,
                                      .cell_types = 4,
                                      .batches = 2,
                                      .programs = 3,
                                      .effect_genes = 12,
                                      .effect_size = 1.2,
                                      .batch_effect = 0.2,
                                      .responders = 0.5,
                                      .opposed = 0.5,
                                      .without_effect = 0.2,
                                      .dispersion = 0.25,
                                      .library_size = 900,
                                      .seed = 5};

typedef double (*DrawFunction)(CountDraw *draw, double parameter);

static double negative_binomial(CountDraw *draw, double mean) { return count_draw_negative_binomial(draw, mean, 0.4); }

/* Mean and variance of n draws against the law's, within five standard errors; share of zeros against p0 (negative: not a count). */
static void compare(DrawFunction function, double parameter, double mean, double variance, double kurtosis, double p0)
{
  enum { CELLS = 400, EACH = 500 };
  const double n = (double)CELLS * EACH;
  double       sum = 0, squares = 0, zeros = 0;

  for (uint64_t cell = 0; cell < CELLS; cell++) {
    CountDraw draw;
    count_draw_begin(17, 7, cell, &draw);
    for (int i = 0; i < EACH; i++) {
      const double x = function(&draw, parameter) - mean;
      sum += x;
      squares += x * x;
      zeros += x == -mean;
    }
  }
  check_close(sum / n, 0, 5 * sqrt(variance / n), 1);
  check_close(squares / n / variance, 1, 5 * sqrt((kurtosis - 1) / n), 1);
  if (p0 >= 0) check_close(zeros / n, p0, 5 * sqrt(p0 * (1 - p0) / n) + 1e-12, 1);
}

static void moments_of_draws(void **state)
{
  const double means[] = {0.02, 0.7, 4, 9.99, 10, 35, 800}, shapes[] = {0.3, 1, 4, 50};

  for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
    const double m = means[i], a = 0.4, v = m + a * m * m;
    compare(count_draw_poisson, m, m, m, 3 + 1 / m, exp(-m));
    /* Excess kurtosis of the negative binomial: 6 / r + 1 / v. */
    compare(negative_binomial, m, m, v, 3 + 6 * a + 1 / v, pow(1 + a * m, -1 / a));
  }
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) compare(count_draw_gamma, shapes[i], shapes[i], shapes[i], 3 + 6 / shapes[i], -1);
  CountDraw draw;
  count_draw_begin(17, 7, 0, &draw);
  assert_true(count_draw_poisson(&draw, 0) == 0 && count_draw_negative_binomial(&draw, 0, 0.4) == 0);
}

/* Every probability of a Poisson law near its mode, on both sides of the change of method. */
static void probabilities_of_poisson(void **state)
{
  const double means[] = {9.5, 12, 60};

  for (int i = 0; i < 3; i++) {
    enum { DRAWS = 200000 };
    double    count[256] = {0};
    CountDraw draw;

    count_draw_begin(3, 7, (uint64_t)i, &draw);
    for (int j = 0; j < DRAWS; j++) {
      const double k = count_draw_poisson(&draw, means[i]);
      assert_true(k >= 0 && k == floor(k));
      if (k < 256) count[(int)k]++;
    }
    for (int k = 0; k < 256; k++) {
      const double p = exp(k * log(means[i]) - means[i] - lgamma(k + 1.));
      check_close(count[k] / DRAWS, p, 5 * sqrt(p / DRAWS) + 3. / DRAWS, 1);
    }
  }
}

static void law_of_a_screen(void **state)
{
  SimulatedScreen s;
  double         *share;
  PetscInt        silent = 0, respond;

  check_call(simulated_screen_create(&small, &s));
  check_call(PetscMalloc1(small.genes, &share));
  assert_int_equal(s.populations, 96);
  for (PetscInt k = 0; k < s.populations; k++) {
    double total = 0;
    simulated_screen_share(&s, k, share);
    for (PetscInt g = 0; g < small.genes; g++) total += share[g];
    check_close(total, 1, 1e-12, 1);
  }
  /* The share of one gene of one population from the arrays of the law, by the formula in the header. */
  const PetscInt p = 4, c = 3, b = 1, G = small.genes;
  double         log_share[60], total = 0;
  for (PetscInt g = 0; g < G; g++) {
    log_share[g] = s.base[g] + s.cell_type[c * G + g] + s.batch[b * G + g];
    for (PetscInt k = 0; k < 3; k++) log_share[g] += s.batch_strength[b] * s.loading[p * 3 + k] * s.responsiveness[c * 3 + k] * s.program[k * G + g];
    total += exp(log_share[g]);
  }
  simulated_screen_share(&s, (p * 4 + c) * 2 + b, share);
  for (PetscInt g = 0; g < G; g++) check_close(share[g], exp(log_share[g]) / total, 1e-12, 1);
  /* Two of eleven perturbations do nothing, as the control; each program moves its genes in two of four cell types. */
  for (PetscInt q = 0; q <= 11; q++) silent += s.loading[q * 3] == 0 && s.loading[q * 3 + 1] == 0 && s.loading[q * 3 + 2] == 0;
  assert_int_equal(silent, 3);
  assert_true(s.loading[9 * 3] != 0 || s.loading[9 * 3 + 1] != 0);
  assert_true(s.loading[10 * 3] == 0 && s.loading[11 * 3] == 0);
  for (PetscInt k = 0; k < 3; k++) {
    PetscInt moved = 0;
    double   product = 1;
    respond = 0;
    for (PetscInt g = 0; g < G; g++) moved += s.program[k * G + g] != 0;
    for (PetscInt t = 0; t < 4; t++) {
      if (s.responsiveness[t * 3 + k] == 0) continue;
      respond++;
      product *= s.responsiveness[t * 3 + k];
    }
    assert_int_equal(moved, 12);
    assert_int_equal(respond, 2);
    assert_true(product < 0);
  }
  check_call(PetscFree(share));
  check_call(simulated_screen_destroy(&s));
}

/* Mean counts of a population follow its shares; cells made in pieces equal cells made at once. */
static void cells_of_a_screen(void **state)
{
  SimulateOptions many = small;
  SimulatedScreen s;
  SparseRows      all, piece;
  double          expected[60], mean[60] = {0}, library = 0;

  many.cells = 96 * 300 + 5;
  /* What was in the structs before counts for nothing. */
  memset(&all, 0x5a, sizeof all);
  memset(&piece, 0x5a, sizeof piece);
  check_call(simulated_screen_create(&many, &s));
  assert_int_equal(simulated_screen_population(&s, 0), 0);
  assert_int_equal(simulated_screen_population(&s, many.cells - 1), 95);
  check_call(simulated_screen_cells(&s, 0, 300, &all));
  check_call(simulated_screen_cells(&s, 120, 7, &piece));
  assert_int_equal(simulated_screen_population(&s, 299), 0);
  for (int64_t i = 0; i < 7; i++) {
    const int64_t n = piece.offset[i + 1] - piece.offset[i], at = all.offset[120 + i];
    assert_int_equal(n, all.offset[121 + i] - at);
    assert_memory_equal(piece.column + piece.offset[i], all.column + at, (size_t)n * sizeof(int32_t));
    assert_memory_equal(piece.value + piece.offset[i], all.value + at, (size_t)n * sizeof(float));
  }
  for (int64_t e = 0; e < all.offset[300]; e++) mean[all.column[e]] += all.value[e] / 300;
  for (int g = 0; g < 60; g++) library += mean[g];
  /* Mean of a log-normal of median 900 and spread 0.35; its standard error over 300 cells is about 2 %. */
  check_close(library, 900 * exp(0.5 * 0.35 * 0.35), 0.1, 900);
  simulated_screen_share(&s, 0, expected);
  for (int g = 0; g < 60; g++) {
    const double m = 900 * exp(0.5 * 0.35 * 0.35) * expected[g];
    check_close(mean[g], m, 5 * sqrt((m + (1.13 * 1.25 - 1) * m * m) / 300) + 0.01, 1);
  }
  check_call(sparserows_free(&all));
  check_call(sparserows_free(&piece));
  check_call(simulated_screen_destroy(&s));
}

static void check_file(const char *path, const SimulatedScreen *s, const SparseRows *expected)
{
  AnnData   *file;
  AnnColumn  column[3];
  SparseRows rows;
  PetscInt64 cells, genes;

  check_call(anndata_open(PETSC_COMM_WORLD, path, &file));
  check_call(anndata_shape(file, &cells, &genes));
  assert_int_equal(cells, small.cells);
  assert_int_equal(genes, small.genes);
  check_call(anndata_column(file, "obs", "perturbation", &column[0]));
  check_call(anndata_column(file, "obs", "cell_type", &column[1]));
  check_call(anndata_column(file, "obs", "batch", &column[2]));
  for (PetscInt64 i = 0; i < cells; i++)
    assert_int_equal((column[0].code[i] * small.cell_types + column[1].code[i]) * small.batches + column[2].code[i], simulated_screen_population(s, i));
  assert_string_equal(column[0].level[0], "control");
  assert_string_equal(column[0].level[11], "drug11");
  check_call(anndata_read_rows(file, 0, cells, &rows));
  assert_memory_equal(rows.offset, expected->offset, (size_t)(cells + 1) * sizeof *rows.offset);
  assert_memory_equal(rows.column, expected->column, (size_t)rows.offset[cells] * sizeof *rows.column);
  assert_memory_equal(rows.value, expected->value, (size_t)rows.offset[cells] * sizeof *rows.value);
  check_call(sparserows_free(&rows));
  for (int c = 0; c < 3; c++) check_call(anncolumn_free(&column[c]));
  check_call(anndata_close(&file));
}

/* The file that these ranks write holds the cells that one rank makes; the table of changes is log share over the control's share without batch effects. */
static void file_of_a_screen(void **state)
{
  const char     *path = "simulate_mpi.h5ad";
  SimulateOptions o = small;
  SimulatedScreen s;
  SparseRows      cells;
  hid_t           h5;
  double          change[60], total = 0, control_total = 0;
  const PetscInt  p = 3, c = 2, G = small.genes, K = small.programs;

  o.output = path;
  check_call(simulated_screen_create(&o, &s));
  check_call(simulated_screen_cells(&s, 0, o.cells, &cells));
  check_call(simulate_write(PETSC_COMM_WORLD, &o));
  check_file(path, &s, &cells);
  check_call(file_open(PETSC_COMM_WORLD, path, "AnnData file", &h5));
  check_call(h5_read_slab(h5, "uns/truth/log_fold_change", H5T_NATIVE_DOUBLE, (p - 1) * small.cell_types + c, 1, change));
  H5Fclose(h5);
  for (int pass = 0; pass < 2; pass++) {
    for (PetscInt g = 0; g < G; g++) {
      double response = 0;
      for (PetscInt k = 0; k < K; k++) response += s.loading[p * K + k] * s.responsiveness[c * K + k] * s.program[k * G + g];
      if (pass) check_close(change[g], response - log(total / control_total), 1e-12, 1);
      total += pass ? 0 : exp(s.base[g] + s.cell_type[c * G + g] + response);
      control_total += pass ? 0 : exp(s.base[g] + s.cell_type[c * G + g]);
    }
  }
  check_call(sparserows_free(&cells));
  check_call(simulated_screen_destroy(&s));
  MPI_Barrier(PETSC_COMM_WORLD);
  unlink(path);
}

static void sizes_that_do_not_fit(void **state)
{
  SimulateOptions few = small, wide = small;
  SimulatedScreen s;

  few.cells = 95;
  assert_int_equal(simulated_screen_create(&few, &s), ERROR_USER);
  assert_non_null(strstr(error_message(), "-cells 96"));
  wide.effect_genes = 61;
  assert_int_equal(simulated_screen_create(&wide, &s), ERROR_USER);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(moments_of_draws), cmocka_unit_test(probabilities_of_poisson),
                                          cmocka_unit_test(law_of_a_screen),  cmocka_unit_test(cells_of_a_screen),
                                          cmocka_unit_test(file_of_a_screen), cmocka_unit_test(sizes_that_do_not_fit)};

TEST_MAIN(tests)
