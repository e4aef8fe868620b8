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
  BlockMatrix           mmd, energy; /* (groups, groups) MMD^2, energy distances */
  FileDraft             draft;       /* embedding.h5 while it is written */
} Embed;

/* Most populations whose matrices are also written as CSV. */
enum { EMBED_CSV_MOST = 2000 };

/* embed_write_file - everything of the struct into embedding.h5 (draft open). embed_write_tables - energy_distance.csv, mmd.csv, to_control.csv. Collective. */
PetscErrorCode embed_write_file(Embed *embed);
PetscErrorCode embed_write_tables(Embed *embed);

#endif
