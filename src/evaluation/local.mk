# Files of the room evaluation.
public_headers += include/perturbdiff/evaluation.h include/perturbdiff/evaluation/differential.h include/perturbdiff/evaluation/genecolumns.h include/perturbdiff/evaluation/pair.h
library_sources += src/evaluation/baseline.c src/evaluation/evaluate.c src/evaluation/evaluate_internal.h src/evaluation/evaluation_load.c \
  src/evaluation/evaluation_state.h src/evaluation/grouped_file.c src/evaluation/grouped_rows.c src/evaluation/groups.c src/evaluation/score_groups.c \
  src/evaluation/score_table.c src/evaluation/scores.c src/evaluation/slot_cells.c
library_sources += src/evaluation/differential.c src/evaluation/differential_file.c src/evaluation/differential_internal.h src/evaluation/gene_columns.c src/evaluation/number_text.c
public_headers += include/perturbdiff/evaluation/statistics.h
library_sources += src/evaluation/statistics.c
public_headers += include/perturbdiff/evaluation/distribution.h
library_sources += src/evaluation/classifier.c src/evaluation/coverage.c src/evaluation/distribution.c
library_sources += src/evaluation/cell_view.c src/evaluation/distance_cells.c src/evaluation/distance_sum.c src/evaluation/file_summary.c src/evaluation/metric_table.c \
  src/evaluation/metrics_expression.c src/evaluation/metrics_means.c src/evaluation/pair.c src/evaluation/pair_internal.h src/evaluation/pair_views.c
public_headers += include/perturbdiff/evaluation/baseline.h
library_sources += src/evaluation/baseline_additive.c src/evaluation/baseline_features.c src/evaluation/baseline_internal.h src/evaluation/baseline_regression.c
public_headers += include/perturbdiff/evaluation/comparison.h include/perturbdiff/evaluation/contrast.h include/perturbdiff/evaluation/genesets.h \
  include/perturbdiff/evaluation/questions.h
library_sources += src/evaluation/comparison.c src/evaluation/contrast.c src/evaluation/genesets.c src/evaluation/questions.c
library_sources += src/evaluation/analyses.c src/evaluation/analyses_internal.h src/evaluation/analyses_write.c src/evaluation/shown.c
library_sources += src/evaluation/evaluation_pairs.c src/evaluation/pair_metrics.c
