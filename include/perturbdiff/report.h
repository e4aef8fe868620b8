/* Room report: figures by gnuplot as SVG, and one self-contained HTML page. */
#ifndef PERTURBDIFF_REPORT_H
#define PERTURBDIFF_REPORT_H

#include <petscsys.h>

typedef struct {
  const char        *output;  /* the page */
  const char        *title;
  PetscInt           folders; /* in any order: runs of train (log.csv), evaluations (scores.csv), embeddings (to_control.csv) */
  const char *const *folder;
} ReportOptions;

/* report_write - one page with figures inline, no network needed to read it; sections whose tables are missing are left out. Collective; rank 0 does the work.
   Figures need gnuplot at run time and are left out, with a sentence, where there is none. User errors: a folder that is none of the three kinds, a table of
   uneven lines, nothing to report, as file_write_text. */
PetscErrorCode report_write(MPI_Comm comm, const ReportOptions *options);

/* report_embedding_figures - populations.svg (distances, ordered by average linkage), tests.svg (volcano, where there are tests), components.svg, spectrum.svg in a folder that embed wrote its tables into; drawn: how many, 0 where
   there is no gnuplot. Collective; rank 0 does the work. User error: as file_write_text. */
PetscErrorCode report_embedding_figures(MPI_Comm comm, const char *folder, PetscInt *drawn);

#endif
