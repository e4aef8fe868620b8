/* Room report: figures by gnuplot as SVG, and one self-contained HTML page. */
#ifndef PERTURBDIFF_REPORT_H
#define PERTURBDIFF_REPORT_H

#include <petscsys.h>

typedef struct {
  const char        *output;      /* the page */
  const char        *title;
  PetscInt           runs;        /* run folders written by train: options.yaml, run.json, log.csv */
  const char *const *run;
  PetscInt           evaluations; /* folders written by evaluate: scores.csv, summary.csv, deltas.csv */
  const char *const *evaluation;
  PetscInt           embeddings;  /* folders written by embed: mmd.csv or energy_distance.csv, spectrum.csv, components.csv */
  const char *const *embedding;
} ReportOptions;

/* report_write - one page with figures inline, no network needed to read it. Collective; rank 0 does the work. Figures need gnuplot
   at run time and are left out, with a sentence, where there is none. User errors: a folder without the files it should hold,
   nothing to report, as file_write_text. */
PetscErrorCode report_write(MPI_Comm comm, const ReportOptions *options);

/* report_embedding_figures - populations.svg (distances, ordered by average linkage), spectrum.svg, components.svg in a folder that embed wrote its tables into; drawn: how many, 0 where
   there is no gnuplot. Collective; rank 0 does the work. User error: as file_write_text. */
PetscErrorCode report_embedding_figures(MPI_Comm comm, const char *folder, PetscInt *drawn);

#endif
