/* Room evaluation: metrics between real and predicted populations, baselines, tables (METRICS). */
#ifndef PERTURBDIFF_EVALUATION_H
#define PERTURBDIFF_EVALUATION_H

#include <perturbdiff/data.h>
#include <perturbdiff/evaluation/differential.h>
#include <perturbdiff/evaluation/pair.h>
#include <perturbdiff/evaluation/baseline.h>
#include <petscsys.h>
#include <stdio.h>

/* Numbers of one group (perturbation x cell type [x batch]); means over cells on log1p values. pearson_delta is NaN where a delta does not vary over genes,
   r2 where the real mean does not. */
typedef struct {
  double pearson_delta, mse, mae, r2, energy_distance;
} PopulationScores;

enum { POPULATION_SCORES = sizeof(PopulationScores) / sizeof(double) };

/* Names of the scores in the order of the struct, and for each whether more (1) or less (-1) is better. */
extern const char *const population_score_name[POPULATION_SCORES];
extern const int         population_score_direction[POPULATION_SCORES];

/* population_scores - real (n,G), predicted (m,G), control means (G) of the real and of the predicted file; row-major double. Energy distance
   2 E|x-y| - E|x-x'| - E|y-y'|, all pairs. Not collective. */
PetscErrorCode population_scores(PetscInt64 n, const double *real, PetscInt64 m, const double *predicted, PetscInt64 genes, const double *control_real,
                                 const double *control_predicted, PopulationScores *scores);

/* What is computed of every population besides its scores (distribution.h, questions.h, genesets.h), and how models are compared (comparison.h). */
typedef struct {
  PetscBool   distribution, distribution_genes; /* distances between distributions; also a row for every gene */
  PetscInt    permutations;
  PetscInt64  distribution_cells; /* at most, of each population */
  const char *questions;          /* CSV file, "make": from the real cells, "": none */
  PetscInt    questions_each;     /* made of each population: as many significant genes at most, and as many others */
  const char *genesets;           /* GMT file, "": none */
  PetscInt    geneset_least, geneset_most;
  PetscInt    bootstrap; /* resamples */
  PetscInt    shown;     /* populations with the largest real change whose cells, calibration and changes are written for figures */
} AnalysisOptions;

typedef struct {
  const char           *real; /* AnnData file or cell store */
  PetscInt              predictions;
  const char *const    *predicted;                                                       /* AnnData paths */
  const char *const    *model;                                                           /* their names; the same name again: another repeat of that model */
  const char           *perturbation_column, *control, *cell_type_column, *batch_column; /* "": the store's, else perturbation, control, none, none */
  PetscInt              baselines;
  const BaselineMethod *baseline;
  PetscBool             ceiling;
  double                library_size; /* of files that hold counts; 0: their median (the store's, when real is one) */
  uint64_t              seed;
  double                memory; /* bytes of a rank for cells held at once, about: larger files are read several times; 0: 1 GiB */
  const PairOptions    *pair; /* cell-eval's tables of each prediction; NULL: none */
  const AnalysisOptions *analysis; /* NULL: none, and no comparison; kept until the table is destroyed */
} EvaluateOptions;

/* What a row of scores belongs to. */
typedef enum { ROW_PREDICTION, ROW_BASELINE, ROW_CEILING } ScoreRowKind;

/* Scores of every row (prediction, baseline, ceiling) in every group (perturbation, cell type, batch); the same on all ranks. */
typedef struct {
  PetscInt          rows, groups, axes; /* axes: bits 1 perturbation, 2 cell type, 4 batch: the columns that are used */
  char            **model;              /* (rows) */
  PetscInt         *repeat;             /* (rows) from 1 */
  ScoreRowKind     *kind;               /* (rows) */
  char            **label[3];           /* (groups) each; "" where the axis is not used */
  PetscInt64       *cells_real;         /* (groups) */
  PetscInt64       *cells_predicted;    /* (rows, groups) */
  PopulationScores *scores;             /* (rows, groups) */
  PetscInt          genes;
  char            **gene;                 /* (genes) */
  double           *change_real, *change; /* (genes), (rows, genes): mean change from control, averaged over groups; rank 0 only */
  struct Analyses    *analyses; /* NULL: none */
  struct PairMetrics *metrics;  /* of cell-eval; NULL: none */
} ScoreTable;

/* evaluate_is_store - is the file of real cells a cell store, not AnnData? Collective. User errors as file_open. */
PetscErrorCode evaluate_is_store(MPI_Comm comm, const char *path, PetscBool *store);

/* evaluate_files - groups are the populations of the predicted files. Real cells are brought to the scale METRICS names, restricted to the genes predicted.
   Groups are dealt over ranks; scores are the same on any number of ranks. Collective. User errors: files that cannot be read, columns or control label absent,
   genes or populations that the real file does not have, predicted files that differ in genes or populations, values below 0 or above 15 that are not counts.
 */
PetscErrorCode evaluate_files(MPI_Comm comm, const EvaluateOptions *options, ScoreTable *table);
PetscErrorCode scoretable_destroy(ScoreTable *table);

/* Mean and standard deviation over groups of one score of one model: mean over repeats of the mean over groups; over_groups: standard deviation over groups of
   the mean over repeats; over_repeats: standard deviation of the repeats' means (0 with one). NaN are left out. */
typedef struct {
  double mean, over_groups, over_repeats;
} ScoreSummary;
/* summary of the model of a row (its first repeat). */
ScoreSummary scoretable_summary(const ScoreTable *table, PetscInt row, int score);
/* Number of repeats of the model of a row. */
PetscInt scoretable_repeats(const ScoreTable *table, PetscInt row);

/* scoretable_write - scores.csv, summary.csv, deltas.csv in a folder that is made; with analyses also comparison.csv and the tables asked for: distribution.csv,
   cells.csv, calibration.csv, changes.csv, distances.csv (of the populations shown), distribution_genes.csv, coverage.csv, questions.csv, question_scores.csv, genesets.csv, genesets_agreement.csv. Collective. User errors as file_write_text. */
PetscErrorCode scoretable_write(MPI_Comm comm, const ScoreTable *table, const char *folder);
/* scoretable_print - aligned table, the best prediction or baseline of each score marked. Rank 0 of comm prints. */
PetscErrorCode scoretable_print(MPI_Comm comm, const ScoreTable *table, FILE *stream);

#endif
