# Files of the room report.
public_headers += include/perturbdiff/report.h
library_sources += src/report/csv.c src/report/embedding.c src/report/figures.c src/report/figures_cells.c src/report/figures_genes.c src/report/figures_scores.c src/report/figures_tests.c \
  src/report/hilbert_figures.c src/report/page.c src/report/report_internal.h src/report/tables.c src/report/training.c
