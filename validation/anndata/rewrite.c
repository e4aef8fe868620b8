/* rewrite IN.h5ad OUT.h5ad [MATRIX [BYTES [COLUMN ...]]] - read a matrix and columns of obs in row ranges of about BYTES, write them again as
   AnnData. What validation/anndata/roundtrip compares, and a measure of the speed of reading and writing. */
#include <perturbdiff/data/anndata.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/options.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_COLUMNS = 64 };

typedef struct {
  PetscInt  columns;
  char    **name;
  AnnColumn column[MOST_COLUMNS];
} Table;

/* All cells in order: a round takes most cells of each rank, one rank after the other. */
static PetscErrorCode copy_rows(AnnData *file, AnnWriter *writer, const Table *obs, PetscInt64 cells, PetscInt64 most, double seconds[2])
{
  const int32_t *codes[MOST_COLUMNS];
  SparseRows     rows;
  char         **names;
  int            rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  for (PetscInt64 first = 0; first < cells; first += most * size) {
    const PetscInt64 begin = PetscMin(first + most * rank, cells), count = PetscMin(most, cells - begin);
    double           start = MPI_Wtime();
    PetscErrorCode   code  = anndata_read_rows(file, begin, count, &rows);
    seconds[0] += MPI_Wtime() - start;
    if (!code) code = anndata_cell_names(file, begin, count, &names);
    PetscCallAgree(PETSC_COMM_WORLD, code);
    for (PetscInt c = 0; c < obs->columns; c++) codes[c] = obs->column[c].code + begin;
    start = MPI_Wtime();
    PetscCall(anndata_append(writer, &rows, codes, (const char *const *)names));
    seconds[1] += MPI_Wtime() - start;
    PetscCall(sparserows_free(&rows));
    PetscCall(strings_free((PetscInt)count, &names));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode rewrite(const char *in, const char *out, const char *matrix, double bytes, const Table *wanted)
{
  AnnData           *file;
  AnnWriter         *writer;
  Table              obs = *wanted;
  PetscInt64         cells, genes, most;
  const char *const *gene;
  double             seconds[2] = {0, 0};
  int                rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(anndata_open(PETSC_COMM_WORLD, in, &file));
  PetscCall(anndata_select(file, matrix));
  PetscCall(anndata_shape(file, &cells, &genes));
  PetscCall(anndata_gene_names(file, &gene));
  PetscCall(anndata_rows_for_bytes(file, bytes, &most));
  PetscCall(anndata_create(PETSC_COMM_WORLD, out, genes, gene, &writer));
  for (PetscInt c = 0; c < obs.columns; c++) {
    PetscCall(anndata_column(file, "obs", obs.name[c], &obs.column[c]));
    PetscCall(anndata_declare_column(writer, obs.name[c], obs.column[c].levels, (const char *const *)obs.column[c].level));
  }
  PetscCall(copy_rows(file, writer, &obs, cells, most, seconds));
  double *places;
  PetscCall(PetscMalloc1(genes, &places));
  for (PetscInt64 j = 0; j < genes; j++) places[j] = (double)j / 8;
  PetscCall(anndata_write_array(writer, "var/place", genes, 0, places));
  PetscCall(anndata_write_array(writer, "uns/truth/places", genes, 1, places));
  PetscCall(anndata_write_strings(writer, "uns/truth/genes", genes, gene));
  PetscCall(anndata_write_text(writer, "uns/source", in));
  PetscCall(PetscFree(places));
  PetscCall(anndata_commit(&writer));
  if (!rank) fprintf(stderr, "%lld cells, read %.3f s, written %.3f s by rank 0 of %d\n", (long long)cells, seconds[0], seconds[1], size);
  for (PetscInt c = 0; c < obs.columns; c++) PetscCall(anncolumn_free(&obs.column[c]));
  PetscCall(anndata_close(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  int rank;

  if (argc < 3) {
    fprintf(stderr, "usage: rewrite IN.h5ad OUT.h5ad [MATRIX [BYTES [COLUMN ...]]]\n");
    return STATUS_USER_ERROR;
  }
  if (PetscInitialize(&argc, &argv, NULL, NULL) || error_handler_install()) return STATUS_PROGRAM_ERROR;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  const Table          obs  = {.columns = argc > 5 ? PetscMin(argc - 5, MOST_COLUMNS) : 0, .name = argv + 5};
  const PetscErrorCode code = rewrite(argv[1], argv[2], argc > 3 ? argv[3] : "X", argc > 4 ? atof(argv[4]) : 64e6, &obs);
  if (code && !rank) fprintf(stderr, "rewrite: %s\n", error_message());
  PetscFinalize();
  return code == ERROR_USER ? STATUS_USER_ERROR : code ? STATUS_PROGRAM_ERROR : STATUS_SUCCESS;
}
