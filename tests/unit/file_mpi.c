/* Files: whole or not at all, clear words for what cannot be read, parallel writing and reading of slabs, strings, attributes. */
#include "check.h"
#include <perturbdiff/runtime/file.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];
static int  my_rank, ranks;

/* Path of a file in the test's folder; four at a time. */
static const char *in(const char *name)
{
  static char paths[4][512];
  static int  next;

  next = (next + 1) % 4;
  snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
  return paths[next];
}

static int entries(void)
{
  int            count = 0;
  DIR           *handle;
  struct dirent *entry;

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  handle = opendir(folder);
  assert_non_null(handle);
  while ((entry = readdir(handle))) count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
  closedir(handle);
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  return count;
}

static int begin(void **state)
{
  const char *base = getenv("TMPDIR");

  MPI_Comm_rank(PETSC_COMM_WORLD, &my_rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  snprintf(folder, sizeof folder, "%s/file_mpi_XXXXXX", base && *base ? base : "/tmp");
  if (!my_rank && !mkdtemp(folder)) return -1;
  if (MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, PETSC_COMM_WORLD)) return -1;
  return 0;
}

static int end(void **state)
{
  char command[512];

  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return my_rank ? 0 : system(command);
}

static PetscInt64 first_row(PetscInt64 total, int r) { return total * r / ranks; }

static void slabs(void **state)
{
  enum { ROWS = 11, COLUMNS = 5 };
  const PetscInt64 first = first_row(ROWS, my_rank), rows = first_row(ROWS, my_rank + 1) - first;
  const char      *names[] = {"CD4 T", "B", "na\xc3\xafve", ""};
  float            mine[ROWS * COLUMNS], all[ROWS * COLUMNS];
  int64_t          counts[ROWS];
  double           converted[2 * COLUMNS];
  char           **read, *text;
  PetscInt64       extent, columns;
  int64_t          integer;
  double           number;
  PetscBool        found;
  FileDraft        draft;
  hid_t            h5;

  for (int i = 0; i < ROWS * COLUMNS; i++) mine[i] = (float)first * COLUMNS + (float)i;
  check_call(file_draft_create(PETSC_COMM_WORLD, in("slabs.h5"), &draft));
  check_call(h5_write_slab(draft.h5, "cells/value", H5T_NATIVE_FLOAT, ROWS, COLUMNS, first, rows, mine));
  for (int i = 0; i < ROWS; i++) counts[i] = (INT64_C(1) << 40) + first + i;
  check_call(h5_write_slab(draft.h5, "counts", H5T_NATIVE_INT64, ROWS, 0, first, rows, counts));
  /* All rows on the last rank, none anywhere, and an empty set. */
  check_call(h5_write_slab(draft.h5, "last", H5T_NATIVE_INT64, 2, 0, my_rank == ranks - 1 ? 0 : 2, my_rank == ranks - 1 ? 2 : 0,
                           my_rank == ranks - 1 ? counts : NULL));
  check_call(h5_write_slab(draft.h5, "empty", H5T_NATIVE_INT64, 0, 3, 0, 0, NULL));
  check_call(h5_write_strings(draft.h5, "vocabulary/cell_type", 4, names));
  check_call(h5_write_strings(draft.h5, "vocabulary/none", 0, NULL));
  check_call(h5_write_attribute_string(draft.h5, "format", "first"));
  check_call(h5_write_attribute_string(draft.h5, "format", "perturbdiff-\xce\xb1"));
  check_call(h5_write_attribute_strings(draft.h5, "order", 4, names));
  check_call(h5_write_attribute_int64(draft.h5, "version", INT64_MAX - 1));
  check_call(h5_write_attribute_double(draft.h5, "scale", 0.1));
  assert_int_not_equal(access(in("slabs.h5"), F_OK), 0);
  check_call(file_draft_commit(&draft));
  check_call(file_draft_discard(&draft));
  assert_int_equal(entries(), 1);

  check_call(file_open(PETSC_COMM_WORLD, in("slabs.h5"), "cell store", &h5));
  check_call(h5_extent(h5, "cells/value", &extent, &columns));
  assert_true(extent == ROWS && columns == COLUMNS);
  check_call(h5_read_slab(h5, "cells/value", H5T_NATIVE_FLOAT, 0, ROWS, all));
  for (int i = 0; i < ROWS * COLUMNS; i++) assert_true(all[i] == (float)i);
  check_call(h5_read_slab(h5, "cells/value", H5T_NATIVE_DOUBLE, 7, 2, converted));
  for (int i = 0; i < 2 * COLUMNS; i++) assert_true(converted[i] == 7 * COLUMNS + i);
  check_call(h5_read_slab(h5, "cells/value", H5T_NATIVE_DOUBLE, ROWS, 0, NULL));
  memset(counts, 0, sizeof counts);
  check_call(h5_read_slab(h5, "counts", H5T_NATIVE_INT64, 0, ROWS, counts));
  for (int i = 0; i < ROWS; i++) assert_true(counts[i] == (INT64_C(1) << 40) + i);
  check_call(h5_extent(h5, "empty", &extent, &columns));
  assert_true(extent == 0 && columns == 3);
  check_call(h5_read_slab(h5, "empty", H5T_NATIVE_INT64, 0, 0, NULL));
  check_call(h5_read_strings(h5, "vocabulary/cell_type", &extent, &read));
  assert_int_equal(extent, 4);
  for (int i = 0; i < 4; i++) {
    assert_string_equal(read[i], names[i]);
    check_call(PetscFree(read[i]));
  }
  check_call(PetscFree(read));
  check_call(h5_read_attribute_string(h5, "format", &text, NULL));
  assert_string_equal(text, "perturbdiff-\xce\xb1");
  check_call(PetscFree(text));
  check_call(h5_read_attribute_int64(h5, "version", &integer, NULL));
  assert_true(integer == INT64_MAX - 1);
  check_call(h5_read_attribute_double(h5, "scale", &number, &found));
  assert_true(found && number == 0.1);
  check_call(h5_read_attribute_double(h5, "nothing", &number, &found));
  assert_false(found);
  check_call(h5_read_attribute_int64(h5, "format", &integer, &found));
  assert_false(found);
  assert_true(h5_exists(h5, "/vocabulary/cell_type") && h5_exists(h5, "vocabulary") && h5_exists(h5, "/"));
  assert_false(h5_exists(h5, "vocabulary/gene") || h5_exists(h5, "counts/x") || h5_exists(h5, "no/such/way"));
  assert_int_equal(h5_extent(h5, "cells/nothing", &extent, &columns), ERROR_USER);
  assert_non_null(strstr(error_message(), "no data set 'cells/nothing'"));
  assert_int_equal(h5_read_strings(h5, "counts", &extent, &read), ERROR_USER);
  H5Fclose(h5);
}

/* Strings as h5py and old AnnData files have them: variable length, space padded, null terminated. */
static void foreign_strings(void **state)
{
  const char *const words[] = {"alpha", "be", ""};
  const char        padded[] = "one  two  ";
  const hsize_t     three = 3, two = 2;
  char            **read, *text;
  PetscInt64        count;
  hid_t             h5;

  if (!my_rank) {
    hid_t file = H5Fcreate(in("foreign.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &three, NULL), set;
    H5Tset_size(type, H5T_VARIABLE);
    set = H5Dcreate2(file, "variable", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Tclose(type);
    type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 5);
    H5Tset_strpad(type, H5T_STR_SPACEPAD);
    space = H5Screate_simple(1, &two, NULL);
    set = H5Dcreate2(file, "padded", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    space = H5Screate(H5S_SCALAR);
    set = H5Acreate2(file, "padded", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(set, type, padded) >= 0);
    H5Aclose(set);
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(file);
  }
  check_call(file_open(PETSC_COMM_WORLD, in("foreign.h5"), "AnnData file", &h5));
  check_call(h5_read_strings(h5, "variable", &count, &read));
  assert_int_equal(count, 3);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(read[i], words[i]);
    check_call(PetscFree(read[i]));
  }
  check_call(PetscFree(read));
  check_call(h5_read_strings(h5, "padded", &count, &read));
  assert_int_equal(count, 2);
  assert_string_equal(read[0], "one");
  assert_string_equal(read[1], "two");
  for (int i = 0; i < 2; i++) check_call(PetscFree(read[i]));
  check_call(PetscFree(read));
  check_call(h5_read_attribute_string(h5, "padded", &text, NULL));
  assert_string_equal(text, "one");
  check_call(PetscFree(text));
  H5Fclose(h5);
}

static void expect_open_error(const char *path, const char *words)
{
  hid_t h5;

  assert_int_equal(file_open(PETSC_COMM_WORLD, path, "AnnData file", &h5), ERROR_USER);
  if (!strstr(error_message(), words)) fail_msg("'%s' does not say '%s'", error_message(), words);
  assert_null(strchr(error_message(), '\n'));
}

static void unreadable_files(void **state)
{
  struct stat status;

  if (!my_rank) {
    FILE *stream = fopen(in("text.h5ad"), "w");
    fputs("gene,cell\n", stream);
    fclose(stream);
    stream = fopen(in("nothing.h5ad"), "w");
    fclose(stream);
    assert_int_equal(stat(in("slabs.h5"), &status), 0);
    char command[1200];
    snprintf(command, sizeof command, "head -c %ld '%s' > '%s'", (long)status.st_size - 100, in("slabs.h5"), in("short.h5ad"));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "cp '%s' '%s' && printf '\\377\\377\\377\\377' | dd of='%s' bs=1 seek=96 conv=notrunc 2>/dev/null", in("slabs.h5"),
             in("bad.h5ad"), in("bad.h5ad"));
    assert_int_equal(system(command), 0);
  }
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  expect_open_error(in("absent.h5ad"), "no such AnnData file");
  expect_open_error(in("text.h5ad/deeper"), "not a folder");
  expect_open_error(folder, "is a folder");
  expect_open_error(in("text.h5ad"), "not an HDF5 file");
  expect_open_error(in("nothing.h5ad"), "is empty");
  expect_open_error(in("short.h5ad"), "truncated");
  expect_open_error(in("bad.h5ad"), "damaged");
  expect_open_error("", "empty");
  if (geteuid()) {
    if (!my_rank) chmod(in("text.h5ad"), 0);
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    expect_open_error(in("text.h5ad"), "no permission");
  }
}

static void expect_draft_error(const char *path, const char *words)
{
  const int before = entries();
  FileDraft draft;

  assert_int_equal(file_draft_create(PETSC_COMM_WORLD, path, &draft), ERROR_USER);
  if (!strstr(error_message(), words)) fail_msg("'%s' does not say '%s'", error_message(), words);
  check_call(file_draft_discard(&draft));
  assert_int_equal(file_write_text(PETSC_COMM_WORLD, path, "text"), ERROR_USER);
  assert_int_equal(entries(), before);
}

static void unwritable_files(void **state)
{
  FileDraft draft;

  expect_draft_error(in("no/such/folder.h5"), "does not exist");
  expect_draft_error(folder, "is a folder");
  expect_draft_error(in("text.h5ad/x.h5"), "not a folder");
  expect_draft_error("/proc/version/x", "not a folder");
  expect_draft_error("/dev/null", "device");
  expect_draft_error("/proc/x.h5", "/proc/x.h5");
  expect_draft_error("", "empty");
  /* What was there before is still there after a draft that was given up. */
  check_call(file_write_text(PETSC_COMM_WORLD, in("kept.h5"), "before"));
  const int before = entries();
  check_call(file_draft_create(PETSC_COMM_WORLD, in("kept.h5"), &draft));
  assert_int_equal(entries(), before + 1);
  check_call(h5_write_attribute_int64(draft.h5, "x", 1));
  check_call(file_draft_discard(&draft));
  assert_int_equal(entries(), before);
  char  *text;
  size_t length;
  check_call(file_read_text(PETSC_COMM_WORLD, in("kept.h5"), &text, &length));
  assert_string_equal(text, "before");
  check_call(PetscFree(text));
}

/* A limit on file sizes stands for a device that runs full: the same calls fail. */
static void device_full(void **state)
{
  enum { ROWS = 1 << 16 };
  const int        before = entries();
  const PetscInt64 first = first_row(ROWS, my_rank), rows = first_row(ROWS, my_rank + 1) - first;
  struct rlimit    limit, small;
  double          *values;
  FileDraft        draft;

  check_call(PetscCalloc1(ROWS, &values));
  check_call(file_draft_create(PETSC_COMM_WORLD, in("full.h5"), &draft));
  check_call(h5_write_slab(draft.h5, "fits", H5T_NATIVE_DOUBLE, 16, 0, my_rank ? 16 : 0, my_rank ? 0 : 16, values));
  getrlimit(RLIMIT_FSIZE, &limit);
  small = limit;
  small.rlim_cur = 100000;
  setrlimit(RLIMIT_FSIZE, &small);
  const PetscErrorCode code = h5_write_slab(draft.h5, "large", H5T_NATIVE_DOUBLE, ROWS, 0, first, rows, values);
  const char          *message = error_message();
  assert_int_equal(code, ERROR_USER);
  assert_non_null(strstr(message, "/full.h5: "));
  check_call(file_draft_discard(&draft));
  assert_int_equal(file_write_text(PETSC_COMM_WORLD, in("full.txt"), "short"), PETSC_SUCCESS);
  char *long_text;
  check_call(PetscMalloc1(200001, &long_text));
  memset(long_text, 'x', 200000);
  long_text[200000] = 0;
  assert_int_equal(file_write_text(PETSC_COMM_WORLD, in("full.txt"), long_text), ERROR_USER);
  /* Metadata alone that do not fit show when the draft is committed. */
  small.rlim_cur = 6000;
  setrlimit(RLIMIT_FSIZE, &small);
  check_call(file_draft_create(PETSC_COMM_WORLD, in("full.h5"), &draft));
  for (int i = 0; i < 200; i++) {
    char name[16];
    snprintf(name, sizeof name, "attribute %d", i);
    check_call(h5_write_attribute_int64(draft.h5, name, i));
  }
  assert_int_equal(file_draft_commit(&draft), ERROR_USER);
  assert_non_null(strstr(error_message(), "/full.h5: "));
  setrlimit(RLIMIT_FSIZE, &limit);
  char  *text;
  size_t length;
  check_call(file_read_text(PETSC_COMM_WORLD, in("full.txt"), &text, &length));
  assert_string_equal(text, "short");
  check_call(PetscFree(text));
  check_call(PetscFree(long_text));
  check_call(PetscFree(values));
  assert_int_equal(entries(), before + 1);
}

/* A text file begun by a child that a signal ends is not left behind. One rank: a child of an MPI process may not use MPI. */
static void signal_removes_draft(void **state)
{
  const int before = entries();

  if (!my_rank) {
    FileDraft draft;
    check_call(file_draft_create(PETSC_COMM_SELF, in("signalled.h5"), &draft));
    const pid_t child = fork();
    if (!child) {
      raise(SIGUSR1);
      _exit(7);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 7);
    assert_int_not_equal(access(in(".signalled.h5.partial"), F_OK), 0);
    check_call(file_draft_discard(&draft));
  }
  assert_int_equal(entries(), before);
}

static void folders_and_text(void **state)
{
  char  *text;
  size_t length;

  check_call(file_make_folder(PETSC_COMM_WORLD, in("a/b//c/")));
  check_call(file_make_folder(PETSC_COMM_WORLD, in("a/b")));
  check_call(file_write_text(PETSC_COMM_WORLD, in("a/b/c/text"), "line 1\nline 2\n"));
  check_call(file_read_text(PETSC_COMM_WORLD, in("a/b/c/text"), &text, &length));
  assert_string_equal(text, "line 1\nline 2\n");
  assert_int_equal(length, 14);
  check_call(PetscFree(text));
  assert_int_equal(file_make_folder(PETSC_COMM_WORLD, in("a/b/c/text/d")), ERROR_USER);
  assert_int_equal(file_make_folder(PETSC_COMM_WORLD, in("a/b/c/text")), ERROR_USER);
  assert_int_equal(file_read_text(PETSC_COMM_WORLD, in("a/b/c"), &text, &length), ERROR_USER);
  assert_int_equal(file_read_text(PETSC_COMM_WORLD, in("a/none"), &text, &length), ERROR_USER);
}

static PetscErrorCode print_number(const void *context, FILE *stream)
{
  const int number = *(const int *)context;

  assert_int_equal(my_rank, 0);
  fprintf(stream, "%d\n", number);
  return number < 0 ? error_user("%d is not to be printed", number) : PETSC_SUCCESS;
}

static void printed_text(void **state)
{
  char  *text;
  size_t length;
  int    number = 6 * 7;

  check_call(file_write_printed(PETSC_COMM_WORLD, in("printed"), print_number, &number));
  const int before = entries();
  number = -1;
  assert_int_equal(file_write_printed(PETSC_COMM_WORLD, in("printed"), print_number, &number), ERROR_USER);
  assert_string_equal(error_message(), "-1 is not to be printed");
  assert_int_equal(entries(), before);
  check_call(file_read_text(PETSC_COMM_WORLD, in("printed"), &text, &length));
  assert_string_equal(text, "42\n");
  check_call(PetscFree(text));
  assert_int_equal(file_write_printed(PETSC_COMM_WORLD, in("none/printed"), print_number, &number), ERROR_USER);
}

/* Files that are held appear all at the end, or go with the folder made for them. */
static void held_files(void **state)
{
  const int before = entries();
  char     *text;
  size_t    length;

  for (int whole = 0; whole < 2; whole++) {
    file_hold_begin();
    check_call(file_make_folder(PETSC_COMM_WORLD, in("held/inner")));
    check_call(file_write_text(PETSC_COMM_WORLD, in("held/inner/a"), "first"));
    check_call(file_write_text(PETSC_COMM_WORLD, in("held/b"), "b"));
    check_call(file_write_text(PETSC_COMM_WORLD, in("held/inner/a"), "second"));
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    assert_true(access(in("held/inner/a"), F_OK) && access(in("held/b"), F_OK));
    check_call(MPI_Barrier(PETSC_COMM_WORLD));
    check_call(file_hold_end(PETSC_COMM_WORLD, whole ? PETSC_TRUE : PETSC_FALSE));
    assert_int_equal(entries(), before + whole);
  }
  check_call(file_read_text(PETSC_COMM_WORLD, in("held/inner/a"), &text, &length));
  assert_string_equal(text, "second");
  check_call(PetscFree(text));
  check_call(file_write_text(PETSC_COMM_WORLD, in("held/c"), "c"));
  check_call(MPI_Barrier(PETSC_COMM_WORLD));
  assert_int_equal(access(in("held/c"), F_OK) || access(in("held/b"), F_OK), 0);
}

static void checksums(void **state)
{
  unsigned char bytes[1003];
  uint64_t      pieces = 0;

  for (int i = 0; i < 1003; i++) bytes[i] = (unsigned char)(i * 37 + i / 7);
  const uint64_t whole = checksum_piece(bytes, sizeof bytes, 0);
  for (size_t first = 0; first < sizeof bytes; first += 8 * 13) pieces += checksum_piece(bytes + first, PetscMin(8 * 13, sizeof bytes - first), first);
  assert_true(pieces == whole);
  for (size_t i = 0; i < sizeof bytes; i += 11) { /* any bit counts, and so does its place */
    bytes[i] ^= 1 << i % 8;
    assert_true(checksum_piece(bytes, sizeof bytes, 0) != whole);
    bytes[i] ^= 1 << i % 8;
  }
  assert_true(checksum_piece(bytes, sizeof bytes, 8) != whole);
  static const unsigned char zeros[32];
  for (size_t size = 1; size < 32; size++) assert_true(checksum_piece(zeros, size, 0) != checksum_piece(zeros, size - 1, 0));
  /* SplitMix64 seeded with 0: its first two published outputs. */
  assert_true(checksum_piece(zeros, 8, 0) == UINT64_C(0xe220a8397b1dcdaf));
  assert_true(checksum_piece(zeros, 8, 8) == UINT64_C(0x6e789e6aa1b965f4));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup(slabs, begin), cmocka_unit_test(foreign_strings),
                                          cmocka_unit_test(unreadable_files),   cmocka_unit_test(unwritable_files),
                                          cmocka_unit_test(device_full),        cmocka_unit_test(signal_removes_draft),
                                          cmocka_unit_test(folders_and_text),   cmocka_unit_test(printed_text),
                                          cmocka_unit_test(held_files),
                                          cmocka_unit_test_teardown(checksums, end)};

TEST_MAIN(tests)
