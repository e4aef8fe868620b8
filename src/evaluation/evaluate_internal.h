/* Cells of the populations that are scored, from AnnData files or a cell store. */
#ifndef EVALUATION_EVALUATE_INTERNAL_H
#define EVALUATION_EVALUATE_INTERNAL_H

#include <perturbdiff/evaluation.h>

enum { AXES = 3 }; /* perturbation, cell type, batch */

/* Labels of the real cells. A population is a key: (perturbation * cell types + cell type) * batches + batch. */
typedef struct {
  PetscInt    count[AXES];
  char      **label[AXES];
  const char *column[AXES]; /* "": axis not used, one label "" */
  PetscInt    control;      /* perturbation of the control cells */
} Axes;

/* Populations by ascending key. */
typedef struct {
  PetscInt    count;
  int64_t    *key;
  PetscInt64 *cells;
} KeyTable;

/* Bytes of a rank for cells: of a chunk of a file that is read; of a file that is kept whole; of cells of groups held at once, and where they come from kept
   files, which is a matter of copying them from there. */
typedef struct {
  double chunk, kept, batch, small_batch;
} CellMemory;
/* bytes: 0 for the default. */
CellMemory cellmemory_of(double bytes);

/* An AnnData file with its labels and scale. */
typedef struct {
  const char *path; /* not owned */
  AnnData    *file;
  PetscInt64  cells, genes;
  AnnColumn   column[AXES];
  int64_t    *key;          /* (cells), -1: a label is missing */
  int32_t    *entries;      /* (cells) values that are not zero */
  PetscBool   wide;         /* values are in double precision */
  PetscBool   counts;       /* values are whole numbers */
  double      library_size; /* to which counts are brought */
  double     *type_library; /* (levels of the cell type column) the same of each cell type; NULL: library_size for all */
  int32_t    *position;     /* (genes) place of each gene among those scored, -1: not scored */
  CellMemory  memory;
  PetscInt64  step;         /* rows of a chunk */
  /* Cells at hand: read one by one past HDF5 (plain); or in memory on the scale of the scores, all on this rank (chunk) or once for the ranks of a node (window); else they are read in
     chunks. */
  PlainRows  *plain;
  PetscInt    chunks;
  SparseRows *chunk;
  SparseRows  kept;
  MPI_Win     window;       /* MPI_WIN_NULL: none */
} GroupedFile;

/* Populations whose cells are needed: the scored groups and their controls, by ascending key. */
typedef struct {
  PetscInt  count, controls;
  int64_t  *key;
  PetscInt *control_row; /* which of the controls, -1: a group */
  PetscInt *paired;      /* of a group: slot of its control */
} SlotList;

/* Cells of the slots in one file: log1p values of the scored genes. */
typedef struct {
  PetscInt64 *cells; /* (slots) in the file */
  int64_t    *entries; /* (slots) values that are not zero, about */
  PetscInt64 *member, *member_begin; /* cells of a file slot by slot, (slots + 1) where each slot begins; NULL for a store */
  PetscBool   wide;    /* the file's values are of double precision */
  SparseRows *rows;  /* (slots) kept where wanted; columns need not ascend */
  double     *mean;  /* (controls, genes) mean of the control populations, zero without cells */
} SlotCells;

/* groupedfile_open - matrix and columns. memory: of this rank for cells (CellMemory). Collective. User errors: no such column; no cells.
   groupedfile_scan - which scale the values have: whole numbers are counts, brought to library_size (0: the median of the file, of each of its cell types where that axis is used: cell-eval splits
   files by type first). beside(context) - NULL: nothing; else it is called once meanwhile, by the calling thread, and may be collective. Collective. User errors: negative, missing or too large
   values; those of beside. */
PetscErrorCode groupedfile_open(MPI_Comm comm, const char *path, const char *const column[AXES], double memory, GroupedFile *file);
PetscErrorCode groupedfile_scan(MPI_Comm comm, double library_size, PetscErrorCode (*beside)(void *context), void *context, GroupedFile *file);
PetscErrorCode groupedfile_close(GroupedFile *file);
/* Bring the rows of cells first, first + 1, ... to the scale of the scores, where they are counts. */
void groupedfile_scale(const GroupedFile *file, PetscInt64 first, SparseRows *rows);
/* groupedfile_rows - read cells [first, first + count), on the scale of the scores. Free with sparserows_free. Not collective. User error: damaged. */
PetscErrorCode groupedfile_rows(GroupedFile *file, PetscInt64 first, PetscInt64 count, SparseRows *rows);
/* groupedfile_is_kept - are cells at hand one by one, kept in memory or plain in the file? groupedfile_append_cells - then the scored genes of some cells, on the scale of the scores, behind the rows of
   `to`, which have room for all their entries (file->entries) and values of the file's precision; by any thread. moves: groupedfile_moves of the place of each gene of the file among
   those scored (-1: not scored), which is NULL where none moves and none is left out. All threads
   read cells that stay as they are in the file, where it is not called by one of several. User error: the file became shorter. */
PetscBool      groupedfile_is_kept(const GroupedFile *file);
const int32_t *groupedfile_moves(const GroupedFile *file, const int32_t *position);
PetscErrorCode groupedfile_append_cells(const GroupedFile *file, PetscInt64 count, const PetscInt64 *cell, const int32_t *moves, SparseRows *to);
/* The scored genes among entries [begin, after) of `from`, a cell's, as a row behind those of `to`; moves as above. Zeros are left out. */
void scored_append(const SparseRows *from, int64_t begin, int64_t after, const int32_t *moves, SparseRows *to);
/* groupedfile_keys - fill key. Not collective. User error: a label that the axes do not have. */
PetscErrorCode groupedfile_keys(GroupedFile *file, const char *real, const Axes *axes);
/* groupedfile_controls - numbers of cells and means of the controls, read in chunks; no rows; of plain files by any thread. groupedfile_load - rows of the wanted slots. Not collective; the same
   means on every rank. */
PetscErrorCode groupedfile_controls(GroupedFile *file, const SlotList *slots, PetscInt genes, SlotCells *cells);
PetscErrorCode groupedfile_load(GroupedFile *file, const SlotList *slots, PetscInt genes, const unsigned char *wanted, SparseRows *rows);

PetscErrorCode axes_of_file(const GroupedFile *file, const char *control, const char *const column[AXES], Axes *axes);
PetscErrorCode axes_of_store(const CellStoreTable *table, const char *const column[AXES], Axes *axes);
PetscErrorCode axes_destroy(Axes *axes);
/* Codes (perturbation, cell type, batch) of a key. */
void    axes_codes(const Axes *axes, int64_t key, PetscInt code[AXES]);
int64_t axes_key(const Axes *axes, PetscInt perturbation, PetscInt cell_type, PetscInt batch);

/* keytable_create - distinct keys and how often they occur; -1 left out. */
PetscErrorCode keytable_create(PetscInt64 count, const int64_t *key, KeyTable *table);
PetscErrorCode keytable_destroy(KeyTable *table);
PetscInt       key_find(PetscInt count, const int64_t *ascending, int64_t key);

/* groups_match - the groups of the predicted files: populations other than control; they must be the same in all and occur in the real table. */
PetscErrorCode groups_match(PetscInt files, const KeyTable *predicted, const GroupedFile *file, const char *real, const KeyTable *table, const Axes *axes,
                            PetscInt *count, int64_t **group);
/* slots_create - the groups and the control population each is compared with: of the same cell type and batch, else the largest of the same batch, else of the
 * same cell type. */
PetscErrorCode slots_create(PetscInt groups, const int64_t *group, const KeyTable *real, const char *path, const Axes *axes, SlotList *slots);
PetscErrorCode slots_destroy(SlotList *slots);

/* genes_match - genes of the predicted files (the same set in all) among the real ones; names of the scored genes in the order of the real file, borrowed;
   position (real genes) of the real file, and of every predicted file inside it. User errors: genes that the real file lacks, files that differ. */
PetscErrorCode genes_match(const char *real, PetscInt64 count, const char *const *name, PetscInt files, GroupedFile *file, int32_t *position, PetscInt *genes,
                           const char ***scored);

PetscErrorCode slotcells_create(const SlotList *slots, PetscInt genes, SlotCells *cells);
PetscErrorCode slotcells_destroy(const SlotList *slots, SlotCells *cells);
/* slotcells_list - members, once the cells of a file are counted. slotcells_load_kept - rows of slot s of a file that is kept; thread-safe as far as PETSc's memory is. Not
   collective. */
PetscErrorCode slotcells_list(const GroupedFile *file, const SlotList *slots, SlotCells *cells);
PetscErrorCode slotcells_load_kept(const GroupedFile *file, PetscInt s, PetscInt genes, SlotCells *cells);
/* The same of a store; means of its populations (cellstore_means). */
PetscErrorCode storecells_controls(const CellStore *store, const double *means, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes,
                                   SlotCells *cells);
PetscErrorCode storecells_load(const CellStore *store, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes,
                               const unsigned char *wanted, SparseRows *rows);
/* The rows of slot s alone; thread-safe as far as PETSc's memory is. */
PetscErrorCode storecells_load_slot(const CellStore *store, const Axes *axes, const SlotList *slots, const int32_t *position, PetscInt genes, PetscInt s, SparseRows *rows);

#endif
