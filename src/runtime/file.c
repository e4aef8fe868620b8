/* Opening HDF5 files with a clear word when they cannot be read; small text files; folders. */
#if !defined(_GNU_SOURCE)
  #define _GNU_SOURCE
#endif
#include "file_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Little-endian number of size bytes, as HDF5 stores its addresses. */
static uint64_t stored_number(const unsigned char *bytes, unsigned size)
{
  uint64_t value = 0;

  for (unsigned i = size; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

/* The superblock lies at 0 or at 512 times a power of two. end: bytes the file must have (HDF5 File Format Specification,
   version 3, II.A); 0 when the superblock is of an unknown kind. found: there is a superblock. */
static PetscErrorCode superblock_end(int file, off_t size, PetscBool *found, uint64_t *end)
{
  static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  unsigned char              bytes[64];

  *found = PETSC_FALSE;
  *end = 0;
  for (off_t place = 0; place + 8 <= size; place = place ? 2 * place : 512) {
    memset(bytes, 0, sizeof bytes);
    if (pread(file, bytes, sizeof bytes, place) < 8 || memcmp(bytes, signature, 8)) continue;
    *found = PETSC_TRUE;
    const unsigned version = bytes[8], width = version < 2 ? bytes[13] : bytes[9];
    if (version > 3 || width < 2 || width > 8) return PETSC_SUCCESS;
    const unsigned start = version == 0 ? 24 : version == 1 ? 28 : 12;
    *end = stored_number(bytes + start + 2 * width, width);
    return PETSC_SUCCESS;
  }
  return PETSC_SUCCESS;
}

/* Why the file cannot be an HDF5 file open for reading, found without HDF5. Rank 0 only. */
static PetscErrorCode check_readable(const char *path, const char *what)
{
  struct stat status;
  PetscBool   found;
  uint64_t    end;

  if (!*path) return error_user("the name of the %s is empty; give one", what);
  const int file = open(path, O_RDONLY);
  if (file < 0) return errno == ENOENT ? error_user("%s: no such %s; check the path", path, what) : file_error(path, "read", errno);
  if (fstat(file, &status)) status.st_size = 0;
  if (S_ISDIR(status.st_mode)) {
    close(file);
    return error_user("%s: is a folder, not a file; name the %s itself", path, what);
  }
  PetscErrorCode code = superblock_end(file, status.st_size, &found, &end);
  close(file);
  if (code) return code;
  if (!status.st_size) return error_user("%s: the %s is empty; copy or make it again", path, what);
  if (!found) return error_user("%s: not an HDF5 file, so not the %s asked for; check the path", path, what);
  if (end > (uint64_t)status.st_size)
    return error_user("%s: truncated: the %s should have %llu bytes and has %llu; copy or make it again", path, what, (unsigned long long)end,
                      (unsigned long long)status.st_size);
  return PETSC_SUCCESS;
}

PetscErrorCode file_open(MPI_Comm comm, const char *path, const char *what, hid_t *h5)
{
  int rank;

  *h5 = H5I_INVALID_HID;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : check_readable(path, what));
  const hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
  H5Check(access_list);
  H5Check(H5Pset_fapl_mpio(access_list, comm, MPI_INFO_NULL));
  H5Check(H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG));
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access_list);
  H5Check(H5Pclose(access_list));
  PetscErrorCode code = error_agree(comm, file < 0 ? error_user("%s: damaged: HDF5 cannot open this %s; copy or make it again", path, what) : PETSC_SUCCESS);
  if (code && file >= 0) H5Fclose(file);
  if (!code) *h5 = file;
  return code;
}

PetscErrorCode textdraft_begin(const char *path, TextDraft *draft)
{
  *draft = (TextDraft){.file = -1};
  PetscCall(PetscStrncpy(draft->path, path, sizeof draft->path));
  PetscCall(draft_begin(path, draft->temporary));
  draft->file = open(draft->temporary, O_WRONLY);
  if (draft->file < 0) draft->failure = errno;
  return PETSC_SUCCESS;
}

/* Bytes from which a piece is worth sending to the device by itself. */
enum { FLUSHED = 1 << 16 };

void textdraft_add(TextDraft *draft, const char *text, size_t size)
{
  while (!draft->failure && size) {
    const ssize_t written = write(draft->file, text, size);
    if (written < 0 && errno != EINTR) draft->failure = errno;
    if (written > 0) {
#ifdef SYNC_FILE_RANGE_WRITE
      /* On its way to the device while the next lines are made: less to wait for at the end. A refusal costs nothing. */
      if (written >= FLUSHED) (void)sync_file_range(draft->file, draft->written, written, SYNC_FILE_RANGE_WRITE);
#endif
      draft->written += written;
      text += written;
      size -= (size_t)written;
    }
  }
}

PetscErrorCode textdraft_end(TextDraft *draft)
{
  if (draft->file >= 0 && close(draft->file) && !draft->failure) draft->failure = errno;
  const PetscErrorCode code = draft->failure ? file_error(draft->path, "write", draft->failure) : draft_finish(draft->temporary, draft->path);
  if (code) PetscCall(draft_remove(draft->temporary));
  return code;
}

static PetscErrorCode write_whole(const char *path, const char *text)
{
  TextDraft draft;

  PetscCall(textdraft_begin(path, &draft));
  textdraft_add(&draft, text, strlen(text));
  return textdraft_end(&draft);
}

PetscErrorCode file_write_text(MPI_Comm comm, const char *path, const char *text)
{
  int rank;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : write_whole(path, text));
  return PETSC_SUCCESS;
}

/* Into memory first: that a device is full is told by write(), which stdio's later calls would hide. */
static PetscErrorCode print_whole(const char *path, PetscErrorCode (*print)(const void *, FILE *), const void *context)
{
  char  *text;
  size_t size;
  FILE  *stream = open_memstream(&text, &size);

  PetscCheck(stream, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for %s", path);
  PetscErrorCode code = print(context, stream);
  PetscCheck(!fclose(stream), PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for %s", path);
  if (!code) code = write_whole(path, text);
  free(text);
  return code;
}

PetscErrorCode file_write_printed(MPI_Comm comm, const char *path, PetscErrorCode (*print)(const void *, FILE *), const void *context)
{
  int rank;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : print_whole(path, print, context));
  return PETSC_SUCCESS;
}

/* Read to the end, not to a size: the file may be a pipe. */
static PetscErrorCode read_whole(const char *path, char **text, size_t *length)
{
  size_t room = 65536;
  int    number = 0;

  *text = NULL;
  *length = 0;
  const int file = open(path, O_RDONLY);
  if (file < 0) return file_error(path, "read", errno);
  PetscCall(PetscMalloc1(room, text));
  for (;;) {
    if (room - *length < 2) PetscCall(PetscRealloc(room *= 2, text));
    const ssize_t count = read(file, *text + *length, room - *length - 1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) number = errno;
    if (count <= 0) break;
    *length += (size_t)count;
  }
  close(file);
  (*text)[*length] = 0;
  if (!number) return PETSC_SUCCESS;
  PetscCall(PetscFree(*text));
  return file_error(path, "read", number);
}

PetscErrorCode file_read_text(MPI_Comm comm, const char *path, char **text, size_t *length)
{
  int      rank;
  uint64_t size = 0;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  *text = NULL;
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : read_whole(path, text, length));
  if (!rank) size = *length;
  PetscCallMPI(MPI_Bcast(&size, 1, MPI_UINT64_T, 0, comm));
  if (rank) PetscCall(PetscMalloc1(size + 1, text));
  for (uint64_t first = 0; first <= size; first += 1u << 30) { /* with the closing zero */
    const uint64_t left = size + 1 - first;
    PetscCallMPI(MPI_Bcast(*text + first, left < 1u << 30 ? (int)left : 1 << 30, MPI_CHAR, 0, comm));
  }
  *length = (size_t)size;
  return PETSC_SUCCESS;
}

static PetscErrorCode make_folders(const char *path)
{
  char        part[PETSC_MAX_PATH_LEN];
  struct stat status;

  if (!*path) return error_user("the name of a folder to make is empty; give one");
  if (strlen(path) >= sizeof part) return file_error(path, "create", ENAMETOOLONG);
  strcpy(part, path);
  for (char *c = part + 1;; c++) {
    const char end = *c;
    if (end && end != '/') continue;
    *c = 0;
    if (!mkdir(part, 0777)) PetscCall(draft_folder_made(part));
    else if (errno != EEXIST) return file_error(part, "create", errno);
    if (!stat(part, &status) && !S_ISDIR(status.st_mode)) return error_user("%s: is a file where a folder is wanted; choose another path", part);
    *c = end;
    if (!end) return PETSC_SUCCESS;
  }
}

PetscErrorCode file_make_folder(MPI_Comm comm, const char *path)
{
  int rank;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallAgree(comm, rank ? PETSC_SUCCESS : make_folders(path));
  return PETSC_SUCCESS;
}
