/* Questions about genes: made from real differential expression, read from a table, scored. */
#include <math.h>
#include <perturbdiff/evaluation/questions.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const question_score_name[QUESTION_SCORES] = {"question_auroc", "question_auprc", "question_accuracy", "direction_auroc", "direction_accuracy"};

enum { STEP_EXPRESSED = 8, STEP_OTHERS };
enum { PERTURBATION, CELL_TYPE, BATCH, GENE, EXPRESSED, DIRECTION, COLUMNS };
static const char *const column_name[COLUMNS] = {"perturbation", "cell_type", "batch", "gene", "differentially_expressed", "direction"};

PetscErrorCode questions_create(PetscInt count, QuestionTable *table)
{
  PetscFunctionBeginUser;
  table->count = count;
  PetscCall(PetscCalloc4(count, &table->group, count, &table->gene, count, &table->expressed, count, &table->direction));
  for (PetscInt q = 0; q < count; q++) table->gene[q] = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode questions_destroy(QuestionTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(table->group, table->gene, table->expressed, table->direction));
  table->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  PetscInt    place;
} Named;

static int by_name(const void *a, const void *b) { return strcmp(((const Named *)a)->name, ((const Named *)b)->name); }

/* A question as it stands in the file. */
typedef struct {
  PetscInt group, gene, line;
  int      expressed, direction;
} Asked;

static int by_question(const void *a, const void *b)
{
  const Asked *x = a, *y = b;
  return x->group != y->group ? (x->group > y->group) - (x->group < y->group) : (x->gene > y->gene) - (x->gene < y->gene);
}

/* The value of the first of the words that is the text; words end with NULL. */
static PetscBool word_value(const char *text, const char *const *word, const int *meaning, int *value)
{
  for (; *word; word++, meaning++) {
    if (strcasecmp(text, *word)) continue;
    *value = *meaning;
    return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

static PetscErrorCode read_answers(const CsvLines *lines, const PetscInt column[COLUMNS], int *expressed, int *direction)
{
  static const char *const yes_no[] = {"1", "0", "true", "false", "yes", "no", NULL}, *const up_down[] = {"1", "-1", "up", "down", "+1", "", "0", NULL};
  static const int yes_no_value[] = {1, 0, 1, 0, 1, 0}, up_down_value[] = {1, -1, 1, -1, 1, 0, 0};

  PetscFunctionBeginUser;
  if (!word_value(lines->cell[column[EXPRESSED]], yes_no, yes_no_value, expressed))
    return error_user("%s:%lld: differentially_expressed is '%s'; write 1 or 0", lines->path, (long long)lines->line, lines->cell[column[EXPRESSED]]);
  *direction = 0;
  if (column[DIRECTION] >= 0 && !word_value(lines->cell[column[DIRECTION]], up_down, up_down_value, direction))
    return error_user("%s:%lld: direction is '%s'; write up, down or nothing", lines->path, (long long)lines->line, lines->cell[column[DIRECTION]]);
  if (!*expressed) *direction = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does the group carry the labels of the line? Columns that are absent or cells that are empty fit all. */
static PetscBool fits(const QuestionScope *scope, PetscInt k, const CsvLines *lines, const PetscInt column[COLUMNS])
{
  for (int a = 0; a < 3; a++) {
    const char *wanted = column[a] >= 0 ? lines->cell[column[a]] : "";
    if (*wanted && *scope->label[a][k] && strcmp(wanted, scope->label[a][k])) return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

static PetscErrorCode find_gene(const CsvLines *lines, const QuestionScope *scope, const Named *sorted, const char *gene, PetscInt *place)
{
  const Named  wanted = {gene, 0};
  const Named *found = bsearch(&wanted, sorted, (size_t)scope->genes, sizeof *sorted, by_name);

  PetscFunctionBeginUser;
  if (!found) {
    const char *near = nearest_name(gene, scope->gene, (size_t)scope->genes);
    return error_user("%s:%lld: gene '%.80s' is not among the %lld scored genes%s%s%s", lines->path, (long long)lines->line, gene, (long long)scope->genes,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  }
  *place = found->place;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode refuse_repeats(const char *path, const QuestionScope *scope, PetscInt count, const Asked *asked)
{
  Asked *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &sorted));
  PetscCall(PetscArraycpy(sorted, asked, count));
  qsort(sorted, (size_t)count, sizeof *sorted, by_question);
  for (PetscInt q = 1; q < count; q++) {
    if (by_question(&sorted[q - 1], &sorted[q])) continue;
    return error_user("%s:%lld: the question of line %lld again (perturbation '%s', gene '%s'); keep one", path,
                      (long long)PetscMax(sorted[q - 1].line, sorted[q].line), (long long)PetscMin(sorted[q - 1].line, sorted[q].line),
                      scope->label[0][sorted[q].group], scope->gene[sorted[q].gene]);
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The questions of one line: one for each population that carries its labels. */
static PetscErrorCode read_line(const CsvLines *lines, const PetscInt column[COLUMNS], const QuestionScope *scope, const Named *sorted, PetscInt *used,
                                PetscInt *capacity, Asked **asked)
{
  const PetscInt before = *used;
  Asked          question = {.line = lines->line};

  PetscFunctionBeginUser;
  PetscCall(read_answers(lines, column, &question.expressed, &question.direction));
  PetscCall(find_gene(lines, scope, sorted, lines->cell[column[GENE]], &question.gene));
  for (PetscInt k = 0; k < scope->groups; k++) {
    if (!fits(scope, k, lines, column)) continue;
    if (*used == *capacity) {
      *capacity = PetscMax(1024, 2 * *capacity);
      PetscCall(PetscRealloc((size_t)*capacity * sizeof **asked, asked));
    }
    question.group = k;
    (*asked)[(*used)++] = question;
  }
  if (*used == before) {
    const char *type = column[CELL_TYPE] >= 0 ? lines->cell[column[CELL_TYPE]] : "";
    return error_user("%s:%lld: no scored population of perturbation '%.80s'%s%.80s%s; ask about populations that are predicted", lines->path,
                      (long long)lines->line, lines->cell[column[PERTURBATION]], *type ? ", cell type '" : "", type, *type ? "'" : "");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode parse(const char *path, char *text, const QuestionScope *scope, QuestionTable *table)
{
  CsvLines       lines;
  PetscInt       column[COLUMNS], used = 0, capacity = 0;
  Named         *sorted;
  Asked         *asked = NULL;
  PetscBool      more;
  const PetscInt every[] = {PERTURBATION, GENE, EXPRESSED};

  PetscFunctionBeginUser;
  PetscCall(csvlines_open(path, text, &lines));
  for (int c = 0; c < COLUMNS; c++) column[c] = csvlines_column(&lines, column_name[c]);
  for (int i = 0; i < 3; i++) {
    if (column[every[i]] < 0)
      return error_user("%s: no column '%s'; questions have perturbation, gene, differentially_expressed and may have cell_type, batch, direction", path,
                        column_name[every[i]]);
  }
  PetscCall(PetscMalloc1(scope->genes, &sorted));
  for (PetscInt g = 0; g < scope->genes; g++) sorted[g] = (Named){scope->gene[g], g};
  qsort(sorted, (size_t)scope->genes, sizeof *sorted, by_name);
  PetscCall(csvlines_next(&lines, &more));
  while (more) {
    PetscCall(read_line(&lines, column, scope, sorted, &used, &capacity, &asked));
    PetscCall(csvlines_next(&lines, &more));
  }
  if (!used) return error_user("%s: no questions below the line of column names", path);
  PetscCall(refuse_repeats(path, scope, used, asked));
  PetscCall(questions_create(used, table));
  for (PetscInt q = 0; q < used; q++) {
    table->group[q] = asked[q].group;
    table->gene[q] = asked[q].gene;
    table->expressed[q] = asked[q].expressed;
    table->direction[q] = asked[q].direction;
  }
  PetscCall(PetscFree(asked));
  PetscCall(PetscFree(sorted));
  PetscCall(csvlines_close(&lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode questions_read(MPI_Comm comm, const char *path, const QuestionScope *scope, QuestionTable *table)
{
  char  *text;
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(comm, path, &text, &length));
  PetscCallAgree(comm, parse(path, text, scope, table));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- making and scoring ------------------------------------------------------------------------------------------------------------ */

PetscErrorCode questions_make(const GeneContrast *real, PetscInt group, PetscInt each, uint64_t seed, uint32_t key, PetscInt first, QuestionTable *table)
{
  PetscInt *kind[2], count[2] = {0, 0};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(real->genes, &kind[0], real->genes, &kind[1]));
  for (PetscInt g = 0; g < real->genes; g++) {
    const int significant = contrast_significant(real, g);
    kind[significant][count[significant]++] = g;
  }
  const PetscInt drawn = PetscMin(each, PetscMin(count[0], count[1]));
  for (int significant = 1; significant >= 0; significant--) {
    const RandomStream stream = random_stream(seed, RANDOM_RESAMPLE, significant ? STEP_EXPRESSED : STEP_OTHERS, key, 0);
    for (PetscInt i = 0; i < drawn; i++) {
      const PetscInt gene = kind[significant][random_permuted(&stream, (uint64_t)count[significant], (uint64_t)i)], q = first++;
      table->group[q] = group;
      table->gene[q] = gene;
      table->expressed[q] = significant;
      table->direction[q] = !significant ? 0 : real->score[gene] > 0 ? 1 : -1;
    }
  }
  PetscCall(PetscFree2(kind[0], kind[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode question_scores(const QuestionTable *table, PetscInt group, const double *score, const double *called, QuestionScores *s)
{
  double        *evidence;
  unsigned char *label;
  PetscInt       right = 0;

  PetscFunctionBeginUser;
  *s = (QuestionScores){.accuracy = NAN, .direction_accuracy = NAN};
  PetscCall(PetscMalloc2(table->count, &evidence, table->count, &label));
  for (PetscInt q = 0; q < table->count; q++) {
    if (table->gene[q] < 0 || (group >= 0 && table->group[q] != group)) continue;
    evidence[s->asked] = fabs(score[q]);
    label[s->asked++] = (unsigned char)table->expressed[q];
    s->expressed += table->expressed[q];
    right += (called[q] > 0) == table->expressed[q];
  }
  PetscCall(ranking_areas(s->asked, evidence, label, &s->auroc, &s->auprc));
  if (s->asked) s->accuracy = (double)right / s->asked;
  right = 0;
  for (PetscInt q = 0; q < table->count; q++) {
    if (table->gene[q] < 0 || !table->direction[q] || (group >= 0 && table->group[q] != group)) continue;
    evidence[s->directions] = score[q];
    label[s->directions++] = table->direction[q] > 0;
    right += table->direction[q] * score[q] > 0;
  }
  PetscCall(ranking_areas(s->directions, evidence, label, &s->direction_auroc, NULL));
  if (s->directions) s->direction_accuracy = (double)right / s->directions;
  PetscCall(PetscFree2(evidence, label));
  PetscFunctionReturn(PETSC_SUCCESS);
}
