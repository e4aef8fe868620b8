/* Parts of the command embed: what its stages share. A stage reads its own options, calls the room hilbert, and writes its groups of embedding.h5. */
#ifndef COMMANDS_EMBED_H
#define COMMANDS_EMBED_H

#include <perturbdiff/hilbert.h>
#include <perturbdiff/runtime.h>

typedef struct {
  const Options        *options;
  MPI_Comm              comm;
  int                   ranks;
  const char           *folder;
  double                memory_limit; /* bytes a rank may plan for; 0: unknown */
  uint64_t              seed;
  CellStore            *store;
  const CellStoreTable *table;
  PetscInt              groups;      /* populations embedded, in the store's order */
  PetscInt             *population;  /* (groups) index in the store */
  CellGroup            *group;       /* (groups) their cells as `features` */
  CellFeatures         *genes;       /* log1p values of all genes */
  CellFeatures         *projected;   /* principal components of them; NULL where the kernel sees genes */
  PrincipalComponents   components;  /* components = 0 without */
  Kernel                kernel;
  Statistic             statistic;
  BlockGrid            *grid;
  PairPlan              plan;
  Gram                  gram;
  BlockMatrix           mmd, energy; /* (groups, groups) MMD^2, energy distances; energy.values NULL by landmarks with another kernel than energy */
  PetscInt              landmarks;   /* 0: all pairs of cells; else the members below */
  LandmarkChoice        landmark_choice;
  ProductPrecision      precision;
  Nystrom               nystrom;
  BlockMatrix           embeddings;  /* (groups, landmarks) */
  NystromError          error;
  PopulationComponents  spectrum;    /* between populations */
  double                trace_within;
  double               *within;      /* (landmarks) eigenvalues within populations; NULL where not wanted */
  double               *similarity;  /* of perturbations by -features; NULL without */
  double               *cell_value;  /* eigenfunctions at this rank's cells (share_of); NULL where not wanted */
  FileDraft             draft;       /* embedding.h5 while it is written */
} Embed;

/* Most populations whose matrices are also written as CSV. */
enum { EMBED_CSV_MOST = 2000 };

/* embed_spectrum.c. embed_landmark_options - options of landmarks, checked. embed_landmark_bytes - what a rank needs with landmarks in place of pairs; embed_spectrum_bytes - for the
   spectrum beside the Gram matrix. embed_choose_landmarks - landmarks and their factor; embed_by_landmarks - fills gram, mmd and
   energy. embed_spectrum - after gram is there. embed_write_spectrum - groups nystrom and spectrum; embed_write_spectrum_tables - spectrum.csv, components.csv. embed_figures - after
   the tables are there. Collective but for the bytes. */
extern const OptionSpec embed_spectrum_options[];
PetscErrorCode          embed_landmark_options(Embed *embed);
PetscErrorCode          embed_landmark_bytes(const Embed *embed, PetscInt dimension, double *bytes);
PetscErrorCode          embed_spectrum_bytes(const Embed *embed, double *bytes);
PetscErrorCode          embed_choose_landmarks(Embed *embed);
PetscErrorCode          embed_by_landmarks(Embed *embed);
PetscErrorCode          embed_spectrum(Embed *embed);
PetscErrorCode          embed_write_spectrum(const Embed *embed, hid_t file);
PetscErrorCode          embed_write_spectrum_tables(const Embed *embed);
PetscErrorCode          embed_figures(const Embed *embed);
PetscErrorCode          embed_spectrum_free(Embed *embed);

/* embed_tests.c. embed_tests_bytes - what a rank needs for tests and witness functions (0 without). embed_tests - runs and writes them, after gram is there; draft open. embed_regression.c.
   embed_regression - conditional mean embedding over the populations: cme.csv, after gram is there. Collective but for the bytes. */
extern const OptionSpec embed_tests_options[], embed_regression_options[];
PetscErrorCode          embed_tests_bytes(const Embed *embed, PetscInt dimension, double *bytes);
PetscErrorCode          embed_tests(const Embed *embed);
/* Fills similarity by -features, checked before anything is computed. */
PetscErrorCode          embed_regression_features(Embed *embed);
/* what a rank needs for the regression beside the Gram matrix (0 without). */
PetscErrorCode          embed_regression_bytes(const Embed *embed, double *bytes);
PetscErrorCode          embed_regression(const Embed *embed);

/* Numbers of an embedding to print. */
typedef struct {
  const Embed  *embed;
  const double *value;
} EmbedNumbers;

/* Pieces of embed_write.c: a vector from rank 0, a matrix from all ranks, what print(context, stream) prints on rank 0 into a file of the folder
   (file_write_printed). Collective. */
PetscErrorCode embed_write_vector(hid_t where, const char *name, hid_t type, PetscInt64 count, const void *values);
PetscErrorCode embed_write_matrix(hid_t where, const char *name, const BlockMatrix *matrix);
PetscErrorCode embed_write_text(const Embed *embed, const char *name, PetscErrorCode (*print)(const void *, FILE *), const void *context);
/* "perturbation,cell type,batch" of a population of the store; the batch is left out where it is pooled over batches. */
void embed_print_labels(const CellStoreTable *table, const Population *population, PetscBool pooled, FILE *stream);
/* value (groups): a matrix's entry at each population and its paired control, on every rank; 0 without one. embed_control_row: the control's row, -1. */
PetscErrorCode embed_against_control(const Embed *embed, const BlockMatrix *matrix, double *value);
PetscInt       embed_control_row(const Embed *embed, PetscInt row);

/* embed_remove_old - tables and figures an earlier run left in the folder. Collective. */
PetscErrorCode embed_remove_old(const Embed *embed);

/* embed_write_file - everything of the struct into embedding.h5 (draft open). embed_write_tables - energy_distance.csv, mmd.csv, to_control.csv. Collective. */
PetscErrorCode embed_write_file(Embed *embed);
PetscErrorCode embed_write_tables(Embed *embed);

#endif
