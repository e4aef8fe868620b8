/* Questions in the style of PerturbQA (Wu et al. 2025): does a perturbation change a gene in a cell type, and in which direction? */
#ifndef PERTURBDIFF_EVALUATION_QUESTIONS_H
#define PERTURBDIFF_EVALUATION_QUESTIONS_H

#include <perturbdiff/evaluation/contrast.h>

/* The scored populations that questions may be about; nothing is owned. */
typedef struct {
  PetscInt           groups, genes;
  char *const       *label[3]; /* (groups) perturbation, cell type, batch; "" where not used */
  const char *const *gene;     /* (genes) */
} QuestionScope;

/* Question q: is gene[q] differentially expressed in group[q]? A question about a perturbation and cell type is asked of each of its batches. */
typedef struct {
  PetscInt count;
  PetscInt *group, *gene; /* (count); gene -1: no question (an unused place) */
  int      *expressed;    /* (count) 1 yes, 0 no */
  int      *direction;    /* (count) 1 up, -1 down, 0 not asked */
} QuestionTable;

/* questions_read - a CSV file with columns perturbation, gene, differentially_expressed (1, 0, true, false, yes, no) and, where wanted, cell_type, batch, direction (1, -1, up,
   down, or empty). Collective, the same on all ranks. User errors: missing file or columns; populations or genes that are not scored; answers that are none of these; a
   question twice. */
PetscErrorCode questions_read(MPI_Comm comm, const char *path, const QuestionScope *scope, QuestionTable *table);
PetscErrorCode questions_create(PetscInt count, QuestionTable *table);
PetscErrorCode questions_destroy(QuestionTable *table);

/* questions_make - about one population: at most `each` of its significant genes, drawn, and as many others, into places [first, first + 2 each) of the table; fewer where
   there are fewer of one kind. Keyed by seed and key (distribution_key of the population's name). Not collective. */
PetscErrorCode questions_make(const GeneContrast *real, PetscInt group, PetscInt each, uint64_t seed, uint32_t key, PetscInt first, QuestionTable *table);

/* Scores of answers: areas under ROC and precision-recall of |score| for expressed, share of right calls; the same of score for the direction of those asked. NaN where a
   class is empty. */
typedef struct {
  double   auroc, auprc, accuracy, direction_auroc, direction_accuracy;
  PetscInt asked, expressed, directions;
} QuestionScores;
enum { QUESTION_SCORES = 5 };
extern const char *const question_score_name[QUESTION_SCORES];

/* question_scores - score (count): evidence with the sign of the direction (GeneContrast); called (count): 1 where significant. group: only its questions; -1: all. Not
   collective. */
PetscErrorCode question_scores(const QuestionTable *table, PetscInt group, const double *score, const double *called, QuestionScores *scores);

#endif
