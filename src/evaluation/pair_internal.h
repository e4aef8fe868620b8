/* A real and a predicted file scored as cell-eval does (METRICS): what is computed of each file, and the metrics of the pair. */
#ifndef EVALUATION_PAIR_INTERNAL_H
#define EVALUATION_PAIR_INTERNAL_H

#include "evaluation/differential_internal.h"
#include "evaluation/evaluate_internal.h"
#include <omp.h>
#include <perturbdiff/evaluation/pair.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/hilbert/sparseproducts.h>
#include <perturbdiff/runtime/deal.h>

/* Cells that are made when they are needed, not read: a baseline's. */
typedef struct {
  const char *name;
  void       *context;
  /* Number of cells of a perturbation (code of the axes) in a cell type (-1: in all); their rows, free with sparserows_free. Not collective. */
  PetscInt64 (*count)(const void *context, PetscInt perturbation, PetscInt type);
  PetscErrorCode (*make)(void *context, PetscInt perturbation, PetscInt type, SparseRows *rows);
} CellMaker;

/* The cells of one file that are compared: a group for each, 0 <= group < perturbations, or perturbations for the control. */
typedef struct CellView {
  const char      *path;       /* for messages; not owned */
  GroupedFile     *file;       /* one of the two, not owned */
  const CellStore *store;
  struct CellView *lender;     /* has the control cells of a file without any, NULL: the file's own; not owned */
  const CellMaker *maker;      /* NULL: cells are read; not owned */
  PetscInt        *code, type; /* (perturbations) the maker's; NULL */
  const int32_t   *position;   /* (genes of the file) place among those scored, -1: not scored; not owned */
  PetscInt         perturbations, genes;
  PetscInt64       cells;
  int32_t         *group;      /* (cells of the file) -1: left out */
  PetscInt64      *group_cells; /* (perturbations + 1) */
  int64_t         *group_entries; /* (perturbations + 1) values that are not zero, before genes are left out */
  PetscInt64      *member, *member_begin; /* (cells with a group) cells group by group, (perturbations + 2) where each group begins */
  PetscInt        *order;      /* (perturbations) as the file names them, which is the order of its rows of differential expression */
  PetscBool        single;     /* the matrix holds single precision: means and distances are rounded to it, as numpy does */
  PetscBool        dense;      /* the matrix is stored dense: numpy's order of a mean, not scipy's */
} CellView;

PetscErrorCode cellview_destroy(CellView *view);
/* Count cells and values of the groups. Not collective. */
PetscErrorCode cellview_count(CellView *view);
/* cellview_halves - two views of the same file: floor(n/2) random cells of each group with at least two, and as many others; label (kept + 1): of the
   groups that are left. Free label only. Not collective. User error: fewer than two control cells. */
PetscErrorCode cellview_halves(const CellView *view, char **label, uint64_t seed, CellView half[2], char ***kept);
/* cellview_embedding - mean (perturbations + 1, columns) of an obsm matrix. Collective. User errors: no such matrix; damaged. */
PetscErrorCode cellview_embedding(CellView *view, MPI_Comm comm, const char *key, PetscInt *columns, double **mean);

/* cellview_load - rows (perturbations + 1) of the wanted groups on the log1p scale, scored genes only; columns need not ascend. Free each
   with sparserows_free. Not collective. User error: damaged file. */
PetscErrorCode cellview_load(CellView *view, const unsigned char *wanted, SparseRows *rows);
/* cellview_is_kept - are the cells of a file at hand (groupedfile_is_kept)? cellview_load_kept - then the rows of one group; thread-safe as far as PETSc's memory is. */
PetscBool      cellview_is_kept(const CellView *view);
PetscErrorCode cellview_load_kept(const CellView *view, PetscInt group, SparseRows *rows);

/* What the score table needs of each perturbation, found on the way: means in double precision; mean distances of its cells from each other, and from those of the same perturbation in another
   view. NULL where they were not asked for or could not be had. On all ranks. */
typedef struct {
  double *mean;            /* (perturbations, genes) */
  double *within, *across; /* (perturbations) */
} PopulationSums;

/* What the metrics need of one file. */
typedef struct {
  double           *mean;   /* (perturbations + 1, genes) pseudobulk, the control last; on all ranks */
  PopulationSums    sums;
  double           *energy; /* (perturbations) energy distance from the control; on all ranks */
  DifferentialTable de;     /* own perturbations (Deal's mine) */
} FileSummary;

typedef struct {
  PetscBool differential, energy;
  double    cpm_filter; /* NaN: none */
  double    bytes;      /* of cells held at once */
  double    both_bytes; /* of the controls of both files, held at once */
  PetscBool sums;       /* PopulationSums are wanted */
  CellView *partner;    /* the other view, NULL: none */
} SummaryOptions;

/* filesummary_create - one pass over the file, or several where its cells do not fit into bytes. filesummary_create_both - the same of the real and the predicted file; where the cells of both are at
   hand, together, so that a perturbation's real cells serve the distances from the predicted ones too. names: (perturbations + 1) labels, gene names. Collective. User errors: damaged file. */
PetscErrorCode filesummary_create(CellView *view, const Deal *deal, char *const *label, char *const *gene, const SummaryOptions *options, FileSummary *summary);
PetscErrorCode filesummary_create_both(CellView *const view[2], const Deal *deal, char *const *label, char *const *gene, const SummaryOptions options[2], FileSummary summary[2]);
PetscErrorCode filesummary_destroy(FileSummary *summary);

/* Cells whose distances are wanted. The forms that products take them in are made when they are needed, by one thread at a time. Not to be copied. */
typedef struct {
  omp_lock_t        lock;
  const SparseRows *rows; /* not owned; NULL after distancecells_free_rows */
  PetscInt64        cells;
  PetscInt          genes;
  PetscBool         wide; /* values in double precision */
  double            density; /* share of values that are not zero */
  PetscBool         packs;   /* packed for sparse products: sparseproducts_pay() when it was created; else for BLAS */
  double           *square;  /* (cells) squared norms; NULL before there is a form */
  SparseCells       sparse;
  struct {
    void       *memory;
    SparsePanel panel;
  } *panels;
  double           *dense;  /* (cells, genes) */
} DistanceCells;
PetscErrorCode distancecells_create(const SparseRows *rows, PetscInt genes, DistanceCells *cells);
PetscErrorCode distancecells_destroy(DistanceCells *cells); /* safe on a zeroed one */
/* distancecells_prepare - the forms that products will take them in, where these are sparse: for cells that several threads will compare theirs with. By all
   threads, where it is not called by one of several. Not collective. */
PetscErrorCode distancecells_prepare(DistanceCells *cells, PetscBool panels);
/* Where products are sparse, else nothing is done: distancecells_free_rows - the cells are kept packed, and rows, of which they were created, are freed. distancecells_keep_panels - then only panels are
   kept (other forms until they are needed again). Not collective. */
PetscErrorCode distancecells_free_rows(DistanceCells *cells, SparseRows *rows);
PetscErrorCode distancecells_keep_panels(DistanceCells *cells);

typedef enum { PRODUCTS_DENSE, PRODUCTS_OF_SPARSE_ROWS, PRODUCTS_OF_SPARSE_COLUMNS } ProductWay;

/* Distances of some cells of a from all cells of b, zero for a cell with itself where b is a; exact to about 1e-10 before they are rounded. narrow (rows of a block, cells of b): in single
   precision, wide: in double; the caller's, one of them or both. Products are summed in double: sums of single precision distances feel the eighth digit of each, by up to 1e-6 of an energy distance. */
typedef struct {
  DistanceCells *a, *b;
  float         *narrow;
  double        *wide;
  ProductWay     way;
  PetscBool      fills; /* panels are filled when they are needed */
  PetscInt64     step; /* rows, or columns, of a product */
  const SparseCells *sparse; /* NULL: dense products */
  int            threads;
  size_t         tile_size;
  void          *memory;
  double        *tile, *cell; /* (threads, ...) scratch */
} DistanceRows;

/* distancerows_create, distancerows_fill - the block of rows [first, first + rows); uses the OpenMP threads where it is not called by one of several, BLAS must run
   one then. Not collective. */
PetscErrorCode distancerows_create(DistanceCells *a, DistanceCells *b, DistanceRows *distances);
PetscErrorCode distancerows_destroy(DistanceRows *distances);
void           distancerows_fill(const DistanceRows *distances, PetscInt64 first, PetscInt64 rows);

/* Part `part` of the sum of Euclidean distances of all pairs of cells of a and b: the sum is a binary tree, cut where it has `parts` (power of two) branches; distance_join adds them up. single: rounded
   as numpy and scikit-learn do in that precision. mean: NULL, or of one part of one, the mean as distance_mean gives it. Not collective. */
PetscErrorCode distance_part(DistanceCells *a, DistanceCells *b, PetscBool single, PetscInt parts, PetscInt part, double *sum, double *mean);
/* distance_mean - the mean of all these distances, without such rounding. Not collective. */
PetscErrorCode distance_mean(DistanceCells *a, DistanceCells *b, double *mean);

/* A population of real cells, which predictions are set against. Borrows the rows. Not collective; thread-safe as far as PETSc's memory is. */
typedef struct {
  DistanceCells cells;
  double       *mean;   /* (genes) */
  double        within; /* mean distance of its cells from each other */
} RealPopulation;
PetscErrorCode realpopulation_create(const SparseRows *rows, PetscInt genes, RealPopulation *real);
PetscErrorCode realpopulation_destroy(RealPopulation *real);
/* population_scores_of_rows - population_scores of sparse rows, and the mean change from the control's mean (genes). Thread-safe as above, a population for each thread. */
PetscErrorCode population_scores_of_rows(RealPopulation *real, const SparseRows *predicted, const double *control_real, const double *control_predicted, PopulationScores *scores,
                                         double *change_predicted);

/* population_scores_of_means - the same from what is known of both. Not collective. */
void population_scores_of_means(PetscInt genes, const double *real, const double *control_real, const double *predicted, const double *control_predicted, double energy_distance,
                                PopulationScores *scores, double *change_predicted);

/* Sum of an array in numpy's order; single: of single precision numbers. */
double numpy_sum(PetscInt64 n, const double *value, PetscBool single);
double distance_join(PetscInt parts, const double *sum, PetscInt64 pairs, PetscBool single);

/* ---- metrics ------------------------------------------------------------------------------------------------------------------- */

/* In the order of cell-eval's columns. */
typedef enum {
  OVERLAP_N, OVERLAP_50, OVERLAP_100, OVERLAP_200, OVERLAP_500,
  PRECISION_N, PRECISION_50, PRECISION_100, PRECISION_200, PRECISION_500,
  SPEARMAN_SIG, DIRECTION_MATCH, SPEARMAN_LFC_SIG, SIG_GENES_RECALL, NSIG_REAL, NSIG_PREDICTED, PR_AUC, ROC_AUC,
  PEARSON_DELTA, MSE, MAE, MSE_DELTA, MAE_DELTA, DISCRIMINATION_L1, DISCRIMINATION_L2, DISCRIMINATION_COSINE, PEARSON_EDISTANCE,
  METRICS
} Metric;

typedef enum { BEST_ONE, BEST_ZERO, BEST_NONE } MetricBest;
typedef struct {
  const char *name;
  MetricBest  best;
  PetscBool   reliable; /* the ceiling is corrected by Spearman-Brown */
} MetricInfo;
extern const MetricInfo metric_info[METRICS];

/* Whether a profile has a metric. */
PetscBool profile_has(Profile profile, Metric metric);

/* A row per perturbation. */
typedef struct {
  PetscInt       perturbations;
  char         **label;   /* not owned */
  double        *value;   /* (perturbations, METRICS) */
  unsigned char *missing; /* (perturbations, METRICS) 1: an empty cell */
  PetscBool      present[METRICS];
} MetricTable;

/* metrics_of_means - of one perturbation p: pearson_delta ... discrimination_score_cosine into value (METRICS). target: index of the gene named like the
   perturbation, -1. Not collective. */
PetscErrorCode metrics_of_means(PetscInt perturbations, PetscInt genes, PetscInt p, PetscInt target, const FileSummary *real, const FileSummary *predicted,
                                PetscBool single, double *value);
/* metrics_of_expression - overlap_at_N ... roc_auc but de_spearman_sig of row r of the real and row q of the predicted table, which have the same genes.
   missing is set where cell-eval has no number. Not collective. */
PetscErrorCode metrics_of_expression(const DifferentialTable *real, PetscInt r, const DifferentialTable *predicted, PetscInt q, double *value,
                                     unsigned char *missing);

PetscErrorCode metrictable_create(PetscInt perturbations, char **label, MetricTable *table);
PetscErrorCode metrictable_destroy(MetricTable *table);
/* metrictable_write - PREFIX_results.csv and PREFIX_agg_results.csv; ceiling: PREFIX_ceiling_results.csv and its corrected means. The same table on all
   ranks. Collective. User errors as file_write_text. */
PetscErrorCode metrictable_write(MPI_Comm comm, const MetricTable *table, const char *folder, const char *prefix, PetscBool ceiling);
/* metrictable_score - PREFIX_baseline_diff.csv: each metric's mean on the way from that of a baseline's agg_results.csv (0) to the best (1). Collective. User
   errors: unreadable, other metrics. */
PetscErrorCode metrictable_score(MPI_Comm comm, const MetricTable *table, const char *baseline, const char *folder, const char *prefix);
/* "FOLDER/PREFIX_NAME", slashes in the prefix as dashes; without "PREFIX_" where prefix is empty. */
PetscErrorCode table_path(const char *folder, const char *prefix, const char *name, char path[PETSC_MAX_PATH_LEN]);

/* What the metrics need of the real cells of one cell type, which all predictions are set against. */
typedef struct {
  PetscBool   there;
  Deal        deal;
  FileSummary summary;
  PetscBool   halved;  /* the table of two halves of them is there, labels owned: */
  MetricTable ceiling;
} RealSummary;

/* Metrics of every row of a score table (prediction, baseline, ceiling) in every perturbation, of each cell type where that axis is used. */
typedef struct PairMetrics {
  PetscInt     rows, groups;
  char       **perturbation, **cell_type; /* (groups) of the score table, not owned */
  double      *value;                     /* (rows, groups, METRICS) NaN: none */
  PetscInt     types;
  RealSummary *real;                      /* (types) kept until pairmetrics_release */
  /* What was found on the way for the score table: of the real cells, then of each prediction; none where the groups are not those of the table. */
  PetscInt     sides, genes;
  double      *mean;            /* (sides, groups, genes) */
  double      *within, *across; /* (sides, groups) as in PopulationSums; NaN: not found */
} PairMetrics;

/* pairmetrics_create - groups from the table's. types: cell types, 1 where that axis is not used. predictions: rows whose sums are kept, 0: none are, as populations may be parts of a pair's. pairmetrics_keep - a pair's table into a row. Not collective. */
PetscErrorCode pairmetrics_create(const ScoreTable *table, PetscInt types, PetscInt predictions, PairMetrics **metrics);
PetscErrorCode pairmetrics_release(PairMetrics *metrics);
PetscErrorCode pairmetrics_destroy(PairMetrics **metrics);
PetscErrorCode pairmetrics_keep(PairMetrics *metrics, PetscInt row, const char *cell_type, const MetricTable *table);
/* pairmetrics_keep_sums - the sums of a pair whose table was kept in a row. pairmetrics_found - are those of the row in a group of the score table there? Means (genes), energy distance.
   Not collective. */
PetscErrorCode pairmetrics_keep_sums(PairMetrics *metrics, PetscInt row, const char *cell_type, const MetricTable *table, const PopulationSums *real, const PopulationSums *predicted);
PetscBool      pairmetrics_found(const PairMetrics *metrics, PetscInt row, PetscInt group, const double **real, const double **predicted, double *energy_distance);
/* Is the metric one number for all perturbations of a table? */
PetscBool metric_shared(Metric metric);

/* What a pair is: its row in the table of all, that of the ceiling (-1: not kept), and whether its tables of differential expression are written. */
typedef struct {
  PairMetrics *metrics;
  PetscInt     row, ceiling, type;
  const char  *cell_type;
  PetscBool    write_expression;
} PairPlace;

/* pair_tables - all tables of one prediction (COMMANDS, evaluate). real, predicted: the same perturbations (label, the control's last) and genes.
   Collective. User errors: tables that cannot be read or written, or do not fit. */
PetscErrorCode pair_tables(MPI_Comm comm, CellView *real, CellView *predicted, char **label, char *const *gene, const PairPlace *place,
                           const PairOptions *options, const char *folder, const char *prefix);

/* What the files of an evaluation are, for pair_evaluate. Nothing is owned. */
typedef struct {
  const char        *real; /* path */
  const Axes        *axes;
  GroupedFile       *file;  /* of the real cells; NULL: */
  CellStore         *store;
  const int32_t     *position; /* (genes of the real file) */
  PetscInt64         all_genes;
  PetscInt           genes; /* scored */
  const char *const *gene;
} RealCells;

/* pair_check - what stands against the tables of one prediction; nothing is written. AnnData files must have the same genes, perturbations, cell types and control
   cells, as cell-eval wants, and a finite embedding of the same width where one is named; of a store the part that is predicted is taken, and its control cells where
   the prediction has none. Collective. User errors: such differences. */
PetscErrorCode pair_check(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const PairOptions *options);

/* pair_evaluate - the tables of one prediction that pair_check has passed, a set for each cell type where that axis is used. maker: not NULL: in place of the file's
   cells those it makes, with the real control cells. place: all but the type. Collective. User errors: as pair_tables. */
PetscErrorCode pair_evaluate(MPI_Comm comm, const RealCells *real, GroupedFile *predicted, const CellMaker *maker, PairPlace place, const PairOptions *options,
                             const char *folder);

#endif
