/* Whole evaluations: cell-eval's numbers, a store against its own cells, scales and genes, repeats, the same on any number of ranks, mistakes of the user. */
#include "check.h"
#include "evaluation/analyses_internal.h"
#include "small_store.h"
#include <perturbdiff/evaluation.h>
#include <stdlib.h>
#include <unistd.h>

static const char *store_path = "evaluate_mpi.h5", *predicted_path = "evaluate_mpi.predicted.h5ad", *real_path = "evaluate_mpi.real.h5ad",
                  *folder = "evaluate_mpi.scores";

static const BaselineMethod all_baselines[] = {BASELINE_CONTROL, BASELINE_MEAN_SHIFT, BASELINE_ADDITIVE, BASELINE_NEAREST, BASELINE_RIDGE, BASELINE_CME, BASELINE_PERTURBATION_MEAN};

/* Write cells (dense, row-major) with labels perturbation and cell_type; rank 0 holds all rows. */
static void write_cells(const char *path, int genes, const char *const *gene, int cells, const double *dense, const int32_t *perturbation, const int32_t *type)
{
  AnnWriter  *writer;
  SparseRows  rows;
  const char *name[64];
  char        text[64][8];
  int         rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank) cells = 0;
  for (int i = 0; i < cells; i++) {
    snprintf(text[i], sizeof text[i], "c%d", i);
    name[i] = text[i];
  }
  check_call(anndata_create(PETSC_COMM_WORLD, path, genes, gene, &writer));
  check_call(anndata_declare_column(writer, "perturbation", 3, small_perturbations));
  check_call(anndata_declare_column(writer, "cell_type", 2, small_types));
  check_call(sparserows_from_dense(cells, genes, dense, 0, &rows));
  check_call(anndata_append(writer, &rows, (const int32_t *const[]){perturbation, type}, name));
  check_call(sparserows_free(&rows));
  check_call(anndata_commit(&writer));
}

static EvaluateOptions options_of(const char *real, const char *const *predicted)
{
  static const char *model[] = {"model", "model"};
  return (EvaluateOptions){.real = real,
                           .predictions = 1,
                           .predicted = predicted,
                           .model = model,
                           .perturbation_column = "",
                           .control = "",
                           .cell_type_column = "",
                           .batch_column = "",
                           .baselines = 1,
                           .baseline = all_baselines,
                           .ceiling = PETSC_TRUE,
                           .seed = 1};
}

static PopulationScores at(const ScoreTable *t, PetscInt row, PetscInt group) { return t->scores[row * t->groups + group]; }

/* Column of a line of a CSV file. */
static double number(const char *line, int column)
{
  while (column--) line = strchr(line, ',') + 1;
  return strtod(line, NULL);
}

static void numbers_of_cell_eval(void **state)
{
  const char *source = getenv("srcdir") ? getenv("srcdir") : ".";
  char        real[4096], predicted[4096], results[4096], line[4096];
  const char *file[] = {predicted};
  ScoreTable  t;
  PetscInt    k = 0;

  snprintf(real, sizeof real, "%s/tests/data/evaluate/real.h5ad", source);
  snprintf(predicted, sizeof predicted, "%s/tests/data/evaluate/predicted.h5ad", source);
  snprintf(results, sizeof results, "%s/tests/data/evaluate/results.csv", source);
  const EvaluateOptions o = options_of(real, file);
  check_call(evaluate_files(PETSC_COMM_WORLD, &o, &t));
  assert_int_equal(t.groups, 8);
  FILE *stream = fopen(results, "r");
  assert_non_null(stream);
  assert_non_null(fgets(line, sizeof line, stream));
  while (fgets(line, sizeof line, stream)) {
    const size_t length = strlen(t.label[0][k]);
    assert_true(!strncmp(line, t.label[0][k], length) && line[length] == ',');
    check_close(at(&t, 0, k).pearson_delta, number(line, 19), 1e-6, 1);
    check_close(at(&t, 0, k).mse, number(line, 20), 1e-6, 1);
    check_close(at(&t, 0, k).mae, number(line, 21), 1e-6, 1);
    k++;
  }
  assert_int_equal(k, 8);
  fclose(stream);
  check_call(scoretable_destroy(&t));
}

/* Real cells given as the prediction, with three of the genes in another order: perfect scores; baselines from the store. */
static void store_against_its_cells(void **state)
{
  const char *const gene[] = {"G5", "G0", "G3"}, *file[] = {predicted_path, predicted_path};
  const int         column[] = {5, 0, 3};
  double            dense[31 * 3];
  int32_t           perturbation[31], type[31];
  int               cells = 0;
  uint64_t          checksum;
  ScoreTable        t;

  check_call(small_write(PETSC_COMM_WORLD, store_path, 0, &checksum));
  for (int p = 0; p < SMALL_POPULATIONS; p++) {
    const Population *population = &small_populations[p];
    for (PetscInt64 i = 0; i < population->cells; i++) {
      for (int g = 0; g < 3; g++) dense[cells * 3 + g] = (double)small_value(population->first_cell + i, column[g]);
      perturbation[cells] = (int32_t)population->perturbation;
      type[cells++] = (int32_t)population->cell_type;
    }
  }
  write_cells(predicted_path, 3, gene, cells, dense, perturbation, type);
  EvaluateOptions o = options_of(store_path, file);
  o.predictions = 2;
  o.baselines = 4;
  check_call(evaluate_files(PETSC_COMM_WORLD, &o, &t));
  assert_int_equal(t.groups, 3);
  assert_int_equal(t.rows, 7);
  assert_int_equal(t.genes, 3);
  assert_string_equal(t.gene[0], "G0");
  assert_string_equal(t.gene[2], "G5");
  for (PetscInt k = 0; k < 3; k++) {
    check_close(at(&t, 0, k).pearson_delta, 1, 1e-6, 1);
    check_close(at(&t, 0, k).mse, 0, 1e-12, 1);
    check_close(at(&t, 0, k).r2, 1, 1e-6, 1);
    check_close(at(&t, 0, k).energy_distance, 0, 1e-6, 1);
    for (PetscInt r = 2; r < 6; r++) assert_int_equal(t.cells_predicted[r * 3 + k], t.cells_real[k]);
    assert_int_equal(t.cells_predicted[6 * 3 + k], t.cells_real[k] / 2);
    assert_true(at(&t, 2, k).energy_distance > 0.01);
  }
  assert_string_equal(t.label[0][1], "drug a");
  assert_string_equal(t.label[1][1], "T cells");
  assert_string_equal(t.label[2][1], "");
  /* Two repeats of one file: no spread. */
  assert_int_equal(scoretable_repeats(&t, 0), 2);
  assert_int_equal(t.repeat[1], 2);
  check_close(scoretable_summary(&t, 0, 4).over_repeats, 0, 0, 1);
  check_close(scoretable_summary(&t, 2, 1).mean, (at(&t, 2, 0).mse + at(&t, 2, 1).mse + at(&t, 2, 2).mse) / 3, 1e-14, 1);
  check_call(scoretable_write(PETSC_COMM_WORLD, &t, folder));
  check_call(scoretable_destroy(&t));
}

static const char *const two_genes[] = {"A", "B"};

/* Counts of 10, 20 and 40: brought to the median 20, then log1p; the mean change by hand. */
static void counts_are_scaled(void **state)
{
  const char *const file[] = {real_path};
  const double      counts[] = {5, 5, 20, 0, 10, 30};
  const int32_t     perturbation[] = {0, 1, 1}, type[] = {0, 0, 0};
  int               rank;
  ScoreTable        t;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  write_cells(real_path, 2, two_genes, 3, counts, perturbation, type);
  EvaluateOptions o = options_of(real_path, file);
  check_call(evaluate_files(PETSC_COMM_WORLD, &o, &t));
  if (!rank) {
    check_close(t.change_real[0], (log1p(20) + log1p(5)) / 2 - log1p(10), 1e-6, 1);
    check_close(t.change_real[1], log1p(15) / 2 - log1p(10), 1e-6, 1);
    check_close(t.change[1], t.change_real[1], 1e-14, 1);
  }
  /* Cell by cell: the distance of the two real cells, halved, is what their own energy distance takes off. */
  check_close(at(&t, 0, 0).energy_distance, 0, 1e-9, 1);
  check_call(scoretable_destroy(&t));
  o.library_size = 100;
  check_call(evaluate_files(PETSC_COMM_WORLD, &o, &t));
  if (!rank) check_close(t.change_real[0], (log1p(100) + log1p(25)) / 2 - log1p(50), 1e-6, 1);
  check_call(scoretable_destroy(&t));
}

static void same_on_any_ranks(void **state)
{
  const char *const file[] = {predicted_path};
  EvaluateOptions   o = options_of(store_path, file);
  ScoreTable        all, alone;

  const AnalysisOptions analysis = {.distribution = PETSC_TRUE, .permutations = 19, .distribution_cells = 100, .questions = "make", .questions_each = 2,
                                    .genesets = "", .bootstrap = 100};

  o.baselines = 7;
  o.analysis = &analysis;
  check_call(evaluate_files(PETSC_COMM_WORLD, &o, &all));
  check_call(evaluate_files(PETSC_COMM_SELF, &o, &alone));
  for (PetscInt i = 0; i < o.predictions * all.groups * ANALYSIS_SCORES; i++) {
    const double a = all.analyses->value[i], b = alone.analyses->value[i];
    assert_true(a == b || (isnan(a) && isnan(b)));
  }
  assert_int_equal(all.analyses->questions.count, all.groups * 4);
  assert_memory_equal(all.analyses->questions.gene, alone.analyses->questions.gene, (size_t)all.groups * 4 * sizeof(PetscInt));
  const double *scores = &all.scores[0].pearson_delta, *expected = &alone.scores[0].pearson_delta;
  int           rank;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  /* Rows follow one another: the same bits, but for the regressions, whose linear algebra is spread over the ranks. */
  for (PetscInt r = 0; r < all.rows; r++) {
    const PetscInt baseline = r - o.predictions;
    const double   tolerance = baseline == 4 || baseline == 5 ? 1e-9 : 0;
    for (PetscInt i = 0; i < all.groups * POPULATION_SCORES; i++) {
      const double a = scores[(r * all.groups) * POPULATION_SCORES + i], b = expected[(r * all.groups) * POPULATION_SCORES + i];
      if (isnan(a) || isnan(b)) assert_true(isnan(a) && isnan(b));
      else check_close(a, b, tolerance, fmax(1, fabs(b)));
    }
    for (PetscInt g = 0; !rank && g < all.genes; g++) check_close(all.change[r * all.genes + g], alone.change[r * all.genes + g], tolerance, 1);
  }
  check_call(scoretable_destroy(&all));
  check_call(scoretable_destroy(&alone));
}

static void user_error(const EvaluateOptions *o, const char *part)
{
  ScoreTable t;

  assert_int_equal(evaluate_files(PETSC_COMM_WORLD, o, &t), ERROR_USER);
  if (!strstr(error_message(), part)) fail_msg("'%s' is not in: %s", part, error_message());
}

static void mistakes(void **state)
{
  const char *const one[] = {predicted_path}, *other[] = {real_path}, *absent[] = {"evaluate_mpi.absent.h5ad"};
  const double      decimals[] = {0.5, 16, 1, 1, 1, 1};
  const int32_t     perturbation[] = {0, 1, 2}, type[] = {0, 0, 0}, all_control[] = {0, 0, 0}, type_other[] = {0, 0, 1};
  const double      fine[] = {0.5, 1, 1, 1, 1, 2};

  EvaluateOptions o = options_of(store_path, absent);
  user_error(&o, "evaluate_mpi.absent.h5ad");
  o = options_of(store_path, other);
  user_error(&o, "2 of its 2 genes are not in evaluate_mpi.h5 (A, B)");
  o = options_of(store_path, one);
  o.control = "vehicle";
  user_error(&o, "control label");
  o = options_of(predicted_path, one);
  o.perturbation_column = "drug";
  user_error(&o, "drug");
  o = options_of(predicted_path, one);
  o.baselines = 2;
  user_error(&o, "mean_shift");
  o = options_of(predicted_path, one);
  o.control = "controls";
  user_error(&o, "did you mean 'control'");
  write_cells(real_path, 2, two_genes, 3, decimals, perturbation, type);
  o = options_of(real_path, other);
  user_error(&o, "16");
  write_cells(real_path, 2, two_genes, 3, fine, all_control, type);
  user_error(&o, "only control cells");
  /* Drug b of T cells is in no population of the store. */
  write_cells(real_path, 1, (const char *const[]){"G1"}, 3, fine, perturbation, type_other);
  o = options_of(store_path, other);
  user_error(&o, "drug b|T cells");
}

static int remove_files(void **state)
{
  int  rank;
  char path[256];

  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank) return 0;
  unlink(store_path);
  unlink(predicted_path);
  unlink(real_path);
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s.csv", folder, (const char *[]){"scores", "summary", "deltas"}[i]);
    if (unlink(path)) return 1;
  }
  return rmdir(folder);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_of_cell_eval), cmocka_unit_test(store_against_its_cells),
                                          cmocka_unit_test(counts_are_scaled), cmocka_unit_test(same_on_any_ranks),
                                          cmocka_unit_test_teardown(mistakes, remove_files)};

TEST_MAIN(tests)
