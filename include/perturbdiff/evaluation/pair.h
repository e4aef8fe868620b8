/* The tables that cell-eval 0.8.2 (with pdex 0.3.0) makes of a real and a predicted file (METRICS). */
#ifndef PERTURBDIFF_EVALUATION_PAIR_H
#define PERTURBDIFF_EVALUATION_PAIR_H

#include <petscsys.h>
#include <stdint.h>

/* Sets of metrics, as cell-eval names them; PROFILE_NONE: no tables. clustering_agreement, which depends on a random clustering, is left out of all. */
typedef enum { PROFILE_FULL, PROFILE_DE, PROFILE_ANNDATA, PROFILE_MINIMAL, PROFILE_VCC, PROFILE_PDS, PROFILE_NONE } Profile;
#define PROFILE_NAMES "full|de|anndata|minimal|vcc|pds|none"

/* Strings are not owned; "" for none. */
typedef struct {
  Profile     profile;
  const char *folder;               /* results.csv, agg_results.csv, real_de.csv, pred_de.csv; with several predictions a sub-folder for each */
  const char *prefix;               /* put before the names with an underscore */
  const char *score;                /* agg_results.csv of a baseline: baseline_diff.csv is written */
  const char *real_de, *predicted_de; /* tables of differential expression in place of computed ones */
  const char *embedding;            /* obsm matrix for discrimination_score_l2 and _cosine */
  double      cpm_filter;           /* genes with at most this many counts per million in both groups are dropped; NaN: none */
  PetscBool   ceiling;              /* two halves of the real cells against each other: ceiling_results.csv, agg_ceiling_results.csv */
  uint64_t    seed;                 /* of the halves */
  double      memory;               /* bytes of a rank for cells held at once, about; 0: 1 GiB */
} PairOptions;

#endif
