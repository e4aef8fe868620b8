/* Compare the tables that evaluate makes with those of cell-eval.

     evaluate_parity DIR [-tolerance T] [-p_tolerance T] [-memory MIB] [-chunk N]

   DIR holds real.h5ad, predicted.h5ad (perturbations in column "perturbation", control label "control"), cell-eval's tables ([PREFIX_]results.csv, agg_results.csv,
   real_de.csv, pred_de.csv), and may hold options.txt ("-cpm_filter T -embedding KEY -cell_type_column NAME -real_de given_X.csv -predicted_de given_Y.csv"). We
   must write these tables and no others. Columns and rows must be the same and in the same order; numbers agree to T
   relative, 1e-6 by default, p-values and false discovery rates to 1e-9. With -chunk, copies of the files are read whose sparse matrices are not compressed but in chunks of N values, of 0
   in one piece. Where numbers lie around zero - correlations, log fold changes - the difference
   is taken relative to 1 at least: cell-eval computes them in single precision, which has no sixth digit there. Exit status 0 when all agree. */
#include <dirent.h>
#include <math.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/runtime.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cell-eval's column that is left out. */
static const char left_out[] = "clustering_agreement";

typedef struct {
  char  *text, **cell; /* (rows, columns), the first row has the names */
  size_t rows, columns;
} Table;

static PetscErrorCode table_read(const char *path, Table *t)
{
  size_t length, cells = 1, count = 0;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(PETSC_COMM_SELF, path, &t->text, &length));
  for (size_t i = 0; i < length; i++) cells += t->text[i] == ',' || t->text[i] == '\n';
  PetscCall(PetscMalloc1(cells, &t->cell));
  t->rows = t->columns = 0;
  for (char *c = t->text; *c;) {
    PetscBool quoted = *c == '"' ? PETSC_TRUE : PETSC_FALSE;
    t->cell[count++] = c;
    for (c += quoted; *c && (quoted || (*c != ',' && *c != '\n')); c++)
      if (quoted && *c == '"') quoted = PETSC_FALSE;
    if (*c == '\n' || !*c) t->rows++;
    if (t->rows == 1 && !t->columns) t->columns = count;
    if (*c) *c++ = '\0';
  }
  PetscCheck(count == t->rows * t->columns, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "%s: lines of different width", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode table_free(Table *t)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(t->cell));
  PetscCall(PetscFree(t->text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool around_zero(const char *column)
{
  return strstr(column, "pearson") || strstr(column, "spearman") || !strcmp(column, "log2_fold_change") || !strcmp(column, "percent_change") ? PETSC_TRUE : PETSC_FALSE;
}

/* Difference of two cells: 0 equal, infinite where they are not numbers alike. */
static double difference(const char *a, const char *b, const char *column)
{
  char        *end_a, *end_b;
  const double x = strtod(a, &end_a), y = strtod(b, &end_b);

  if (!strcmp(a, b)) return 0;
  if (!*a || !*b || *end_a || *end_b) return INFINITY;
  if (x == y || (isnan(x) && isnan(y))) return 0;
  if (isnan(x) || isnan(y) || isinf(x) || isinf(y)) return INFINITY;
  return fabs(x - y) / PetscMax(fabs(y), around_zero(column) ? 1 : 1e-300);
}

/* Columns of theirs are visited in order; ours has all but one of them. */
static PetscErrorCode compare(const char *ours_path, const char *theirs_path, const char *name, double tolerance, double p_tolerance, PetscInt *failures)
{
  Table  ours, theirs;
  size_t own = 0;

  PetscFunctionBeginUser;
  PetscCall(table_read(ours_path, &ours));
  PetscCall(table_read(theirs_path, &theirs));
  if (ours.rows != theirs.rows) {
    printf("not ok %s: %zu rows, expected %zu\n", name, ours.rows, theirs.rows);
    ++*failures;
  }
  for (size_t c = 0; c < theirs.columns && ours.rows == theirs.rows; c++) {
    const char  *column = theirs.cell[c];
    const double limit = !strcmp(column, "p_value") || !strcmp(column, "fdr") ? p_tolerance : tolerance;
    double       worst = 0;
    size_t       at = 0;

    if (!strcmp(column, left_out)) continue;
    if (own >= ours.columns || strcmp(ours.cell[own], column)) {
      printf("not ok %s: column %s, expected %s\n", name, own < ours.columns ? ours.cell[own] : "(none)", column);
      ++*failures;
      break;
    }
    for (size_t r = 1; r < ours.rows; r++) {
      const double d = difference(ours.cell[r * ours.columns + own], theirs.cell[r * theirs.columns + c], column);
      if (d > worst) {
        worst = d;
        at = r;
      }
    }
    if (worst > limit) {
      printf("not ok %s %s: row %zu (%s) is %s, expected %s\n", name, column, at, theirs.cell[at * theirs.columns], ours.cell[at * ours.columns + own],
             theirs.cell[at * theirs.columns + c]);
      ++*failures;
    } else {
      printf("ok %-16s %-28s worst difference %.2g\n", name, column, worst);
    }
    own++;
  }
  if (ours.rows == theirs.rows && own < ours.columns) {
    printf("not ok %s: column %s is not cell-eval's\n", name, ours.cell[own]);
    ++*failures;
  }
  PetscCall(table_free(&ours));
  PetscCall(table_free(&theirs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Options of the case. */
typedef struct {
  char embedding[256], cell_type_column[256], real_de[256], predicted_de[256];
} CaseText;

static PetscErrorCode read_text(const char *line, const char *name, char text[256])
{
  char *found, option[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s ", name));
  if ((found = strstr(line, option)) && sscanf(found + strlen(option), "%255s", text) != 1) text[0] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_path(const char *line, const char *name, const char *folder, char text[256], char path[PETSC_MAX_PATH_LEN])
{
  PetscFunctionBeginUser;
  PetscCall(read_text(line, name, text));
  path[0] = '\0';
  if (*text) PetscCall(PetscSNPrintf(path, PETSC_MAX_PATH_LEN, "%s/%s", folder, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode read_line(const char *folder, char line[1024])
{
  char  path[PETSC_MAX_PATH_LEN];
  FILE *file;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof path, "%s/options.txt", folder));
  line[0] = '\0';
  file = fopen(path, "r");
  if (file && !fgets(line, 1024, file)) line[0] = '\0';
  if (file) fclose(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool ends_with(const char *name, const char *end)
{
  return strlen(name) >= strlen(end) && !strcmp(name + strlen(name) - strlen(end), end) ? PETSC_TRUE : PETSC_FALSE;
}

/* Every table of theirs against ours, which is then removed; what is left of ours is too much. */
static PetscErrorCode compare_all(const char *ours_folder, const char *folder, double tolerance, double p_tolerance, PetscInt *failures)
{
  char           ours[PETSC_MAX_PATH_LEN], theirs[PETSC_MAX_PATH_LEN];
  struct dirent *entry;
  DIR           *directory = opendir(folder);
  PetscInt       compared = 0;

  PetscFunctionBeginUser;
  PetscCheck(directory, PETSC_COMM_SELF, PETSC_ERR_FILE_OPEN, "No folder %s", folder);
  while ((entry = readdir(directory))) {
    const char *name = entry->d_name;
    if (!strncmp(name, "given", 5) || !(ends_with(name, "results.csv") || ends_with(name, "real_de.csv") || ends_with(name, "pred_de.csv"))) continue;
    PetscCall(PetscSNPrintf(ours, sizeof ours, "%s/%s", ours_folder, name));
    PetscCall(PetscSNPrintf(theirs, sizeof theirs, "%s/%s", folder, name));
    PetscCall(compare(ours, theirs, name, tolerance, p_tolerance, failures));
    if (unlink(ours)) printf("# %s stays\n", ours);
    compared++;
  }
  closedir(directory);
  if (compared < 2) {
    printf("not ok %s: only %d tables\n", folder, (int)compared);
    ++*failures;
  }
  if (rmdir(ours_folder)) {
    printf("not ok %s: holds tables that cell-eval does not make\n", ours_folder);
    ++*failures;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Write a data set anew without filters; chunk: elements, 0: in one piece. */
static PetscErrorCode unpack(hid_t h5, const char *object, hsize_t chunk)
{
  hid_t   dataset, space, type, properties;
  hsize_t count;
  char   *bytes;

  PetscFunctionBeginUser;
  H5Check(dataset = H5Dopen2(h5, object, H5P_DEFAULT));
  H5Check(space = H5Dget_space(dataset));
  H5Check(type = H5Dget_type(dataset));
  count = (hsize_t)H5Sget_simple_extent_npoints(space);
  H5Check(H5Sclose(space));
  PetscCall(PetscMalloc1(count * H5Tget_size(type), &bytes));
  H5Check(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes));
  H5Check(H5Dclose(dataset));
  H5Check(H5Ldelete(h5, object, H5P_DEFAULT));
  H5Check(properties = H5Pcreate(H5P_DATASET_CREATE));
  chunk = PetscMin(chunk, count);
  if (chunk) H5Check(H5Pset_chunk(properties, 1, &chunk));
  H5Check(space = H5Screate_simple(1, &count, NULL));
  H5Check(dataset = H5Dcreate2(h5, object, type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes));
  H5Check(H5Dclose(dataset));
  H5Check(H5Sclose(space));
  H5Check(H5Pclose(properties));
  H5Check(H5Tclose(type));
  PetscCall(PetscFree(bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode copy_unpacked(const char *from, const char *to, hsize_t chunk)
{
  size_t length;
  char  *bytes;
  hid_t  h5;

  PetscFunctionBeginUser;
  PetscCall(file_read_text(PETSC_COMM_SELF, from, &bytes, &length));
  FILE *out = fopen(to, "wb");
  if (!out || fwrite(bytes, 1, length, out) != length || fclose(out)) return error_user("%s: cannot be written", to);
  PetscCall(PetscFree(bytes));
  H5Check(h5 = H5Fopen(to, H5F_ACC_RDWR, H5P_DEFAULT));
  if (H5Lexists(h5, "X/indptr", H5P_DEFAULT) > 0) {
    PetscCall(unpack(h5, "X/data", chunk));
    PetscCall(unpack(h5, "X/indices", chunk));
  }
  H5Check(H5Fclose(h5));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* chunk: -1: read the files as they are. */
static PetscErrorCode run(const char *folder, double tolerance, double p_tolerance, double memory, int chunk, PetscInt *failures)
{
  static const char *const copy[] = {"evaluate_parity.real.h5ad", "evaluate_parity.predicted.h5ad"};
  char              real[PETSC_MAX_PATH_LEN], predicted[PETSC_MAX_PATH_LEN], real_de[PETSC_MAX_PATH_LEN], predicted_de[PETSC_MAX_PATH_LEN], line[1024], number[256] = "";
  const char        out[] = "evaluate_parity.tables", *predictions[] = {predicted}, *model[] = {"predicted"};
  CaseText          text = {"", "", "", ""};
  PairOptions       pair = {.folder = out, .prefix = "", .score = "", .real_de = real_de, .predicted_de = predicted_de, .embedding = text.embedding, .cpm_filter = NAN, .memory = memory};
  EvaluateOptions   o = {.real = real, .predictions = 1, .predicted = predictions, .model = model, .perturbation_column = "perturbation", .control = "control",
                         .cell_type_column = text.cell_type_column, .batch_column = "", .memory = memory, .pair = &pair};
  ScoreTable        table;
  PetscMPIInt       rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscSNPrintf(real, sizeof real, "%s/real.h5ad", folder));
  PetscCall(PetscSNPrintf(predicted, sizeof predicted, "%s/predicted.h5ad", folder));
  if (chunk >= 0) {
    PetscCallAgree(PETSC_COMM_WORLD, rank ? PETSC_SUCCESS : copy_unpacked(real, copy[0], (hsize_t)chunk));
    PetscCallAgree(PETSC_COMM_WORLD, rank ? PETSC_SUCCESS : copy_unpacked(predicted, copy[1], (hsize_t)chunk));
    PetscCall(PetscStrncpy(real, copy[0], sizeof real));
    PetscCall(PetscStrncpy(predicted, copy[1], sizeof predicted));
  }
  PetscCall(read_line(folder, line));
  PetscCall(read_text(line, "cpm_filter", number));
  if (*number) pair.cpm_filter = strtod(number, NULL);
  PetscCall(read_text(line, "embedding", text.embedding));
  PetscCall(read_text(line, "cell_type_column", text.cell_type_column));
  PetscCall(read_path(line, "real_de", folder, text.real_de, real_de));
  PetscCall(read_path(line, "predicted_de", folder, text.predicted_de, predicted_de));
  PetscCall(evaluate_files(PETSC_COMM_WORLD, &o, &table));
  PetscCall(scoretable_destroy(&table));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  for (int f = 0; f < 2 && chunk >= 0 && !rank; f++) remove(copy[f]);
  if (!rank) PetscCall(compare_all(out, folder, tolerance, p_tolerance, failures));
  PetscCallMPI(MPI_Bcast(failures, 1, MPIU_INT, 0, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  double         tolerance = 1e-6, p_tolerance = 1e-9, memory = 0;
  int            chunk = -1;
  PetscInt       failures = 0;
  PetscErrorCode code;

  if (argc < 2) {
    fprintf(stderr, "usage: evaluate_parity DIR [-tolerance T] [-p_tolerance T] [-memory MIB] [-chunk N]\n");
    return 2;
  }
  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  error_handler_install();
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "-tolerance")) tolerance = strtod(argv[i + 1], NULL);
    if (!strcmp(argv[i], "-chunk")) chunk = (int)strtol(argv[i + 1], NULL, 10);
    if (!strcmp(argv[i], "-memory")) memory = 0x1p20 * strtod(argv[i + 1], NULL);
    if (!strcmp(argv[i], "-p_tolerance")) p_tolerance = strtod(argv[i + 1], NULL);
  }
  code = run(argv[1], tolerance, p_tolerance, memory, chunk, &failures);
  if (code == ERROR_USER) fprintf(stderr, "%s\n", error_message());
  PetscFinalize();
  return code == ERROR_USER ? 2 : code || failures ? 1 : 0;
}
