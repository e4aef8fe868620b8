/* h5same [-relative X | -scale X] A B [PATH...]: exit status 0 when two HDF5 files hold the same groups, data sets and attributes, 1 when not, with
   a line for each difference. PATH (an object, or object@attribute) is left out. X: floating-point values may differ by that much of
   the larger one, or of the largest of their data set (-scale: for values that cancel). */
#include <hdf5.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  hid_t        file[2];
  const char  *path; /* of the object at hand */
  int          excluded, differences;
  char *const *exclude;
  double       relative, scale;
} Comparison;

static int is_excluded(const Comparison *c, const char *path)
{
  for (int i = 0; i < c->excluded; i++)
    if (!strcmp(c->exclude[i], path)) return 1;
  return 0;
}

static void differ(Comparison *c, const char *path, const char *what)
{
  printf("%s: %s\n", path, what);
  c->differences++;
}

static int close_enough(const Comparison *c, double a, double b, double largest)
{
  return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= fmax(c->relative * fmax(fabs(a), fabs(b)), c->scale * largest);
}

static double value_of(size_t size, const char *at) { return size == sizeof(float) ? (double)*(const float *)at : *(const double *)at; }

static size_t count_different(const Comparison *c, hid_t type, size_t count, const char *a, const char *b)
{
  const size_t size = H5Tget_size(type);
  const int    number = H5Tget_class(type) == H5T_FLOAT && (size == sizeof(float) || size == sizeof(double));
  size_t       bad = 0;
  double       largest = 0;

  for (size_t i = 0; number && i < count; i++)
    if (isfinite(value_of(size, a + i * size))) largest = fmax(largest, fabs(value_of(size, a + i * size)));
  for (size_t i = 0; i < count; i++, a += size, b += size) {
    if (H5Tis_variable_str(type) > 0) {
      const char *left = *(char *const *)a, *right = *(char *const *)b;
      bad += strcmp(left ? left : "", right ? right : "") != 0;
    } else if (number) bad += !close_enough(c, value_of(size, a), value_of(size, b), largest);
    else bad += memcmp(a, b, size) != 0;
  }
  return bad;
}

/* Two data sets or two attributes, both open. */
static void compare_values(Comparison *c, const char *path, const hid_t object[2], int attribute)
{
  hid_t   type[2], space[2];
  hsize_t extent[2][H5S_MAX_RANK];
  int     rank[2];
  void   *value[2];
  char    text[64];

  for (int f = 0; f < 2; f++) {
    const hid_t stored = attribute ? H5Aget_type(object[f]) : H5Dget_type(object[f]);
    space[f] = attribute ? H5Aget_space(object[f]) : H5Dget_space(object[f]);
    type[f] = H5Tget_native_type(stored, H5T_DIR_DEFAULT);
    rank[f] = H5Sget_simple_extent_dims(space[f], extent[f], NULL);
    H5Tclose(stored);
  }
  const hssize_t count = H5Sget_simple_extent_npoints(space[0]);
  if (rank[0] != rank[1] || memcmp(extent[0], extent[1], (size_t)rank[0] * sizeof *extent[0]) || H5Sget_simple_extent_npoints(space[1]) != count)
    differ(c, path, "another shape");
  else if (H5Tequal(type[0], type[1]) <= 0) differ(c, path, "another type");
  else if (count > 0) {
    int bad = 0;
    for (int f = 0; f < 2; f++) {
      value[f] = calloc((size_t)count, H5Tget_size(type[f]));
      bad |= !value[f] || (attribute ? H5Aread(object[f], type[f], value[f]) : H5Dread(object[f], type[f], H5S_ALL, H5S_ALL, H5P_DEFAULT, value[f])) < 0;
    }
    if (bad) differ(c, path, "cannot be read");
    else {
      const size_t different = count_different(c, type[0], (size_t)count, value[0], value[1]);
      snprintf(text, sizeof text, "%zu of %lld values differ", different, (long long)count);
      if (different) differ(c, path, text);
    }
    for (int f = 0; f < 2; f++) free(value[f]); /* the text of strings goes with the process */
  }
  for (int f = 0; f < 2; f++) {
    H5Tclose(type[f]);
    H5Sclose(space[f]);
  }
}

static herr_t compare_attribute(hid_t owner, const char *name, const H5A_info_t *info, void *context)
{
  Comparison *c = context;
  char        path[4096];
  hid_t       attribute[2];

  (void)info;
  snprintf(path, sizeof path, "%s@%s", c->path, name);
  if (is_excluded(c, path)) return 0;
  if (H5Aexists_by_name(c->file[1], c->path, name, H5P_DEFAULT) <= 0) {
    differ(c, path, "missing from the second file");
    return 0;
  }
  attribute[0] = H5Aopen(owner, name, H5P_DEFAULT);
  attribute[1] = H5Aopen_by_name(c->file[1], c->path, name, H5P_DEFAULT, H5P_DEFAULT);
  compare_values(c, path, attribute, 1);
  H5Aclose(attribute[0]);
  H5Aclose(attribute[1]);
  return 0;
}

static herr_t count_attribute(hid_t owner, const char *name, const H5A_info_t *info, void *context)
{
  (void)owner;
  (void)name;
  (void)info;
  ++*(long *)context;
  return 0;
}

static void compare_objects(Comparison *c, const char *name)
{
  hid_t object[2];
  long  attributes[2] = {0};

  if (is_excluded(c, name)) return;
  for (int f = 0; f < 2; f++) object[f] = H5Oopen(c->file[f], name, H5P_DEFAULT);
  if (object[0] < 0 || object[1] < 0 || H5Iget_type(object[0]) != H5Iget_type(object[1])) differ(c, name, "missing from one file, or of another kind");
  else {
    for (int f = 0; f < 2; f++) H5Aiterate2(object[f], H5_INDEX_NAME, H5_ITER_INC, NULL, count_attribute, &attributes[f]);
    if (attributes[0] != attributes[1]) differ(c, name, "another number of attributes");
    c->path = name;
    H5Aiterate2(object[0], H5_INDEX_NAME, H5_ITER_INC, NULL, compare_attribute, c);
    if (H5Iget_type(object[0]) == H5I_DATASET) compare_values(c, name, object, 0);
  }
  for (int f = 0; f < 2; f++)
    if (object[f] >= 0) H5Oclose(object[f]);
}

static herr_t visit(hid_t file, const char *name, const H5L_info_t *info, void *context)
{
  (void)file;
  (void)info;
  compare_objects(context, name);
  return 0;
}

static herr_t count_object(hid_t file, const char *name, const H5L_info_t *info, void *context)
{
  (void)file;
  (void)name;
  (void)info;
  ++*(long *)context;
  return 0;
}

int main(int argc, char **argv)
{
  Comparison c = {.relative = 0};
  long       objects[2] = {0};
  int        first = 1;

  if (argc > 2 && (!strcmp(argv[1], "-relative") || !strcmp(argv[1], "-scale"))) {
    *(argv[1][1] == 'r' ? &c.relative : &c.scale) = strtod(argv[2], NULL);
    first = 3;
  }
  if (argc < first + 2) return fprintf(stderr, "usage: h5same [-relative X | -scale X] A B [PATH...]\n"), 2;
  MPI_Init(NULL, NULL); /* the parallel library wants it */
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  c.exclude = argv + first + 2;
  c.excluded = argc - first - 2;
  for (int f = 0; f < 2; f++) {
    c.file[f] = H5Fopen(argv[first + f], H5F_ACC_RDONLY, H5P_DEFAULT);
    if (c.file[f] < 0 || H5Lvisit(c.file[f], H5_INDEX_NAME, H5_ITER_INC, count_object, &objects[f]) < 0)
      differ(&c, argv[first + f], "cannot be read");
  }
  if (!c.differences && objects[0] != objects[1]) differ(&c, "/", "another number of objects");
  if (!c.differences) {
    compare_objects(&c, ".");
    H5Lvisit(c.file[0], H5_INDEX_NAME, H5_ITER_INC, visit, &c);
  }
  for (int f = 0; f < 2; f++)
    if (c.file[f] >= 0) H5Fclose(c.file[f]);
  MPI_Finalize();
  return c.differences != 0;
}
