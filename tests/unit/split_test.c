/* Splits: the forms of STATE's TOML, their YAML counterpart, patterns, random pairs, and what is said about mistakes. */
#include "check.h"
#include <perturbdiff/data/split.h>
#include <string.h>
#include <unistd.h>

enum { PERTURBATIONS = 4, TYPES = 3, DATASETS = 2, COUNT = PERTURBATIONS * TYPES * DATASETS };

static const char *perturbations[] = {"ctrl", "IFN-beta", "TNF", "A.B \"x\""};
static const char *types[]         = {"B cells", "CD4.T", "NK"};
static const char *batches[]       = {"d1", "d2"};
static const char *datasets[]      = {"kang", "other"};
static const char *path            = "split_test.toml";

static Population     population[COUNT];
static CellStoreTable table = {.perturbation = {PERTURBATIONS, (char **)(void *)perturbations},
                               .cell_type    = {TYPES, (char **)(void *)types},
                               .batch        = {2, (char **)(void *)batches},
                               .dataset      = {DATASETS, (char **)(void *)datasets},
                               .populations  = COUNT,
                               .population   = population};

static int set_up(void **state)
{
  for (int i = 0; i < COUNT; i++)
    population[i] = (Population){.perturbation = i % PERTURBATIONS, .cell_type = i / PERTURBATIONS % TYPES, .batch = i / PERTURBATIONS / TYPES, .dataset = i / PERTURBATIONS / TYPES, .cells = 3};
  return 0;
}

static PetscErrorCode apply_text(const char *file, const char *text)
{
  FILE          *stream = fopen(file, "w");
  PetscErrorCode code;

  fputs(text, stream);
  fclose(stream);
  code = split_apply(&table, file, 0, NULL, 0, 0, PETSC_COMM_WORLD);
  unlink(file);
  return code;
}

/* Every population has the split that expected gives it. */
static void check_splits(Split (*expected)(const Population *))
{
  for (int i = 0; i < COUNT; i++) assert_int_equal(population[i].split, population[i].perturbation ? expected(&population[i]) : SPLIT_TRAIN);
}

/* Other's T cells unseen; TNF and the quoted one held out in kang's B cells. */
static Split state_split(const Population *p)
{
  if (p->dataset == 1 && p->cell_type == 1) return SPLIT_TEST;
  if (p->dataset == 1 && p->cell_type == 2) return SPLIT_VALIDATION;
  if (p->dataset == 0 && p->cell_type == 0) return p->perturbation == 2 ? SPLIT_TEST : p->perturbation == 3 ? SPLIT_VALIDATION : SPLIT_TRAIN;
  return SPLIT_TRAIN;
}

static void toml_of_state(void **state)
{
  const char *text = "# Dataset paths\n[datasets]\nmine = \"/data/kang.h5ad\"\nother = '/data/other/'\n\n[training]\nmine = \"train\"  # all else\nother = \"train\"\n"
                     "[zeroshot]\n\"other.CD4.T\" = \"test\"\nother.NK = \"val\"\n\n[fewshot]\n[fewshot.\"mine.B cells\"]\nval = [\"A.B \\\"\\u0078\\\"\"]\ntest = [\n  \"TNF\", # one\n]\n";

  check_call(apply_text(path, text));
  check_splits(state_split);
}

static void yaml_counterpart(void **state)
{
  const char *text = "datasets: {mine: /data/kang.h5ad}\ntraining: [mine, other]\nzeroshot:\n  other.CD4.T: test\n  other.NK: validation\nfewshot:\n  mine.B cells:\n    val: ['A.B \"x\"']\n    test: [TNF]\n";

  check_call(apply_text("split_test.yaml", text));
  check_splits(state_split);
}

/* A data set outside [training] is not trained on. */
static Split only_kang(const Population *p) { return p->dataset == 0 ? SPLIT_TRAIN : SPLIT_TEST; }

static void untrained_dataset(void **state)
{
  check_call(apply_text(path, "[training]\nkang = \"train\"\n"));
  check_splits(only_kang);
}

static Split pattern_split(const Population *p)
{
  if (p->perturbation == 1 && p->cell_type == 0) return SPLIT_TEST;
  return p->perturbation == 3 && p->batch == 1 ? SPLIT_TEST : p->cell_type == 2 ? SPLIT_VALIDATION : SPLIT_TRAIN;
}

static void patterns(void **state)
{
  const char *holdout[] = {"IFN*|B cells", "A.B*|*|d2"};
  FILE       *stream    = fopen("split_test.yaml", "w");

  fputs("validation: [\"*|NK|*\"]\n", stream);
  fclose(stream);
  check_call(split_apply(&table, "split_test.yaml", 2, holdout, 0, 0, PETSC_COMM_WORLD));
  unlink("split_test.yaml");
  check_splits(pattern_split);
}

/* Pairs are drawn whole, in the number asked for, and by the seed. */
static void random_validation(void **state)
{
  int differ = 0;

  for (int seed = 0; seed < 6; seed++) {
    static Split before[COUNT];
    int          drawn = 0;
    check_call(split_apply(&table, "", 0, NULL, 1.0 / 3, (uint64_t)seed, PETSC_COMM_WORLD));
    for (int i = 0; i < COUNT / 2; i++) {
      assert_int_equal(population[i].split, population[i + COUNT / 2].split);
      assert_true(population[i].perturbation || population[i].split == SPLIT_TRAIN);
      drawn += population[i].split == SPLIT_VALIDATION;
      differ += seed && population[i].split != before[i];
      before[i] = population[i].split;
    }
    assert_int_equal(drawn, 3);
  }
  assert_true(differ > 4);
}

static void says(PetscErrorCode code, const char *a, const char *b)
{
  assert_int_equal(code, ERROR_USER);
  if (!strstr(error_message(), a) || !strstr(error_message(), b)) fail_msg("'%s' should speak of '%s' and '%s'", error_message(), a, b);
}

static void mistakes(void **state)
{
  const char *pattern = "IFN-beta|B cell|*", *nowhere = "T*z|*|*", *all = "*|*|*", *long_one = "a|b|c|d";

  says(apply_text(path, "[zeroshot]\nkang = = 3\n"), "line 2", "string");
  says(apply_text(path, "[zeroshot]\n\"kang.NK\" = \"test\n"), "line 2", "closing quote");
  says(apply_text(path, "[zeroshot\n"), "line 1", "]");
  says(apply_text(path, "\n\n[fewshot.\"kang.NK\"]\ntest = [\"TNF\"\n \"x\"]"), "line 5", "comma");
  says(apply_text(path, "[fewshot.\"kang.NK\"]\ntest = [\"TNF\",\n"), "line 2", "closing ]");
  says(apply_text(path, "[zeroshot]\n\"kang.NKK\" = \"test\"\n"), "line 2", "did you mean 'NK'");
  says(apply_text(path, "[zeroshot]\n\"nope.NK\" = \"test\"\n"), "line 2", "data set");
  says(apply_text(path, "[zeroshot]\n\"kang.NK\" = \"tset\"\n"), "line 2", "tset");
  says(apply_text(path, "[fewshot.\"kang.NK\"]\ntest = [\"TMF\"]\n"), "line 2", "did you mean 'TNF'");
  says(apply_text(path, "[zero]\n\"kang.NK\" = \"test\"\n"), "line 2", "zeroshot");
  says(apply_text("split_test.yaml", "zeroshot: {NK: test\nx: ]"), "line", "YAML");
  says(apply_text("split_test.yaml", "- NK\n"), "line 1", "key");
  says(apply_text("split_test.yaml", ""), "split_test.yaml", "empty");
  says(apply_text("split_test.yaml", "training: [kang]\ntest: ['*|*|d1']\n"), "nothing is left", "train");
  says(split_apply(&table, "", 1, &pattern, 0, 0, PETSC_COMM_WORLD), "no cell type 'B cell'", "did you mean 'B cells'");
  says(split_apply(&table, "", 1, &nowhere, 0, 0, PETSC_COMM_WORLD), "T*z", "matches no");
  says(split_apply(&table, "", 1, &long_one, 0, 0, PETSC_COMM_WORLD), "a|b|c|d", "form");
  says(split_apply(&table, "", 1, &all, 0, 0, PETSC_COMM_WORLD), "nothing is left", "train");
  says(split_apply(&table, "missing.toml", 0, NULL, 0, 0, PETSC_COMM_WORLD), "missing.toml", "");
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup(toml_of_state, set_up),     cmocka_unit_test_setup(yaml_counterpart, set_up),
                                          cmocka_unit_test_setup(untrained_dataset, set_up), cmocka_unit_test_setup(patterns, set_up),
                                          cmocka_unit_test_setup(random_validation, set_up), cmocka_unit_test_setup(mistakes, set_up)};

TEST_MAIN(tests)
