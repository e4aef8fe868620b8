/* External features of perturbations: how much one says about another. */
#include <math.h>
#include <perturbdiff/evaluation/baseline.h>
#include <perturbdiff/runtime.h>

/* Rows of the file into feature (perturbations, columns - 1) and known (perturbations). Rows of perturbations that the store does not have are passed over. */
static PetscErrorCode read_rows(CsvLines *lines, PetscInt column, const CellStoreTable *table, double *feature, unsigned char *known)
{
  const PetscInt features = lines->columns - 1;
  PetscBool      more;

  PetscFunctionBeginUser;
  for (;;) {
    PetscCall(csvlines_next(lines, &more));
    if (!more) break;
    const PetscInt p = vocabulary_find(&table->perturbation, lines->cell[column]);
    if (p < 0) continue;
    if (known[p]) return error_user("%s:%lld: perturbation '%s' has a row already", lines->path, (long long)lines->line, lines->cell[column]);
    known[p] = 1;
    for (PetscInt c = 0, k = 0; c < lines->columns; c++) {
      if (c == column) continue;
      double *value = &feature[(size_t)p * (size_t)features + (size_t)k++];
      if (!*lines->cell[c]) return error_user("%s:%lld: no value in column %s", lines->path, (long long)lines->line, lines->name[c]);
      PetscCall(csvlines_number(lines, c, value));
      if (!isfinite(*value)) return error_user("%s:%lld: '%s' in column %s is not a finite number", lines->path, (long long)lines->line, lines->cell[c], lines->name[c]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode similarity_of_text(const char *path, char *text, const CellStoreTable *table, double **similarity)
{
  const size_t   n = (size_t)table->perturbation.count;
  CsvLines       lines;
  double        *feature;
  unsigned char *known;
  PetscInt       count = 0;

  PetscFunctionBeginUser;
  PetscCall(csvlines_open(path, text, &lines));
  const PetscInt column = csvlines_column(&lines, "perturbation");
  if (column < 0) return error_user("%s: no column 'perturbation'; the others hold the features", path);
  if (lines.columns < 2) return error_user("%s: no column of features beside 'perturbation'", path);
  PetscCall(PetscCalloc2(n * (size_t)(lines.columns - 1), &feature, n, &known));
  PetscCall(read_rows(&lines, column, table, feature, known));
  for (size_t p = 0; p < n; p++) count += known[p];
  if (!count) return error_user("%s: has none of the store's %d perturbations", path, (int)n);
  PetscCall(PetscMalloc1(n * n, similarity));
  PetscCall(log_line(PETSC_COMM_WORLD, "  features   %s: %d columns for %d of %d perturbations", path, (int)lines.columns - 1, (int)count, (int)n));
  PetscCall(covariate_similarity((PetscInt)n, lines.columns - 1, feature, known, *similarity));
  PetscCall(PetscFree2(feature, known));
  PetscCall(csvlines_close(&lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode perturbation_similarity(MPI_Comm comm, const char *path, const CellStoreTable *table, double **similarity)
{
  char  *text;
  size_t length;

  PetscFunctionBeginUser;
  *similarity = NULL;
  PetscCall(file_read_text(comm, path, &text, &length));
  /* The same text on all ranks gives the same outcome. */
  PetscCall(similarity_of_text(path, text, table, similarity));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}
