/* Files under a temporary name until they are whole; removed however the program ends. */
#define _GNU_SOURCE
#include "file_private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MOST_DRAFTS = 16, LARGE_SET = 1 << 16, FILE_PAGE = 4096 };

/* Drafts of this process, for the signal handler; an entry counts while its used flag is set. */
static char                  open_drafts[MOST_DRAFTS][PETSC_MAX_PATH_LEN];
static volatile sig_atomic_t used[MOST_DRAFTS];

/* Signals that end a program and can be caught, and what was done about them before. */
static const int        fatal_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGXCPU};
static struct sigaction former[sizeof fatal_signals / sizeof *fatal_signals];

/* Finished files that are to appear together, and folders made for them (path empty), the last first. */
typedef struct Held {
  struct Held *next;
  char         temporary[PETSC_MAX_PATH_LEN], path[PETSC_MAX_PATH_LEN];
} Held;
static Held *volatile held;
static PetscBool      holding;

static void held_remove(void)
{
  for (const Held *h = held; h; h = h->next) h->path[0] ? unlink(h->temporary) : rmdir(h->temporary);
}

void file_drafts_remove(void)
{
  for (int i = 0; i < MOST_DRAFTS; i++) {
    if (used[i]) unlink(open_drafts[i]);
    used[i] = 0;
  }
  held_remove();
  held = NULL;
}

static void remove_and_pass_on(int number)
{
  file_drafts_remove();
  for (size_t i = 0; i < sizeof fatal_signals / sizeof *fatal_signals; i++)
    if (fatal_signals[i] == number) sigaction(number, &former[i], NULL);
  raise(number);
}

static void catch_signals(void)
{
  static PetscBool at_exit = PETSC_FALSE;

  if (!at_exit && !atexit(file_drafts_remove)) at_exit = PETSC_TRUE;
  if (deadline_holds_signals()) return;
  signal(SIGXFSZ, SIG_IGN); /* a file size limit shows as a failed write */
  for (size_t i = 0; i < sizeof fatal_signals / sizeof *fatal_signals; i++) {
    struct sigaction action = {.sa_handler = remove_and_pass_on}, now;
    sigemptyset(&action.sa_mask);
    if (sigaction(fatal_signals[i], NULL, &now) || now.sa_handler == remove_and_pass_on || now.sa_handler == SIG_IGN) continue;
    former[i] = now;
    sigaction(fatal_signals[i], &action, NULL);
  }
}

/* The user's name for a file: "dir/.name.partial" is "dir/name". */
static void shown_name(const char *path, char shown[PETSC_MAX_PATH_LEN])
{
  const char  *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  const size_t folder = (size_t)(base - path), length = strlen(base), ending = strlen(".partial");

  if (base[0] == '.' && length > ending + 1 && !strcmp(base + length - ending, ".partial"))
    snprintf(shown, PETSC_MAX_PATH_LEN, "%.*s%.*s", (int)folder, path, (int)(length - ending - 1), base + 1);
  else
    snprintf(shown, PETSC_MAX_PATH_LEN, "%s", path);
}

PetscErrorCode file_error(const char *path, const char *doing, int number)
{
  char shown[PETSC_MAX_PATH_LEN];

  shown_name(path, shown);
  switch (number) {
  case ENOENT:
    return error_user("%s: no such file or folder; check the path", shown);
  case ENOTDIR:
    return error_user("%s: a part of the path is a file, not a folder; check the path", shown);
  case EISDIR:
    return error_user("%s: is a folder; name a file", shown);
  case EACCES:
  case EPERM:
  case EROFS:
    return error_user("%s: no permission to %s it (%s); choose another path or change its rights", shown, doing, strerror(number));
  case ENOSPC:
  case EDQUOT:
    return error_user("%s: no space left to %s it (%s); free some or choose another folder", shown, doing, strerror(number));
  case EFBIG:
    return error_user("%s: larger than the limit on file sizes allows; raise it (ulimit -f) or choose another folder", shown);
  case ENAMETOOLONG:
    return error_user("%s: the name is too long; choose a shorter one", shown);
  default:
    return error_user("%s: cannot %s it (%s)", shown, doing, strerror(number));
  }
}

PetscErrorCode draft_begin(const char *path, char temporary[PETSC_MAX_PATH_LEN])
{
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  char        folder[PETSC_MAX_PATH_LEN];
  struct stat status;
  int         slot = 0;

  temporary[0] = 0;
  if (!*path) return error_user("the name of a file to write is empty; give one");
  if (!*base || (!stat(path, &status) && S_ISDIR(status.st_mode))) return file_error(path, "write", EISDIR);
  if (strlen(path) + strlen("..partial") >= PETSC_MAX_PATH_LEN) return file_error(path, "write", ENAMETOOLONG);
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  if (stat(folder, &status)) {
    if (errno == ENOENT) return error_user("%s: its folder does not exist; make it (mkdir -p '%s') or choose another path", path, folder);
    return file_error(path, "write", errno);
  }
  if (!stat(path, &status) && !S_ISREG(status.st_mode)) return error_user("%s: is a device or pipe; name a file", path);
  /* A name that exists and cannot be written (a read-only file) is the user's to sort out, not ours to replace. */
  if (!access(path, F_OK) && access(path, W_OK)) return file_error(path, "write", errno);
  snprintf(temporary, PETSC_MAX_PATH_LEN, "%.*s.%s.partial", (int)(base - path), path, base);
  while (slot < MOST_DRAFTS && used[slot]) slot++;
  if (slot == MOST_DRAFTS) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_PLIB, "more than %d files being written at once", MOST_DRAFTS);
  catch_signals();
  strcpy(open_drafts[slot], temporary);
  used[slot] = 1;
  const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0) {
    const int number = errno;
    used[slot] = 0;
    temporary[0] = 0;
    return file_error(path, "write", number);
  }
  close(file);
  return PETSC_SUCCESS;
}

static void forget(const char *temporary)
{
  for (int i = 0; i < MOST_DRAFTS; i++)
    if (used[i] && !strcmp(open_drafts[i], temporary)) used[i] = 0;
}

/* A draft gets its name. */
static PetscErrorCode appear(const char *temporary, const char *path)
{
  if (rename(temporary, path)) return file_error(path, "write", errno);
  return PETSC_SUCCESS;
}

/* New names must survive a crash; file systems that cannot flush a folder do no harm. */
static void flush_folder(const char *path)
{
  const char *slash = strrchr(path, '/');
  char        folder[PETSC_MAX_PATH_LEN];

  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  const int file = open(folder, O_RDONLY);
  if (file < 0) return;
  fsync(file);
  close(file);
}

static PetscErrorCode hold(const char *temporary, const char *path)
{
  Held *made;

  /* Written again: the same draft. */
  for (const Held *h = held; h; h = h->next)
    if (!strcmp(h->temporary, temporary)) return PETSC_SUCCESS;
  catch_signals();
  PetscCall(PetscNew(&made));
  strcpy(made->temporary, temporary);
  strcpy(made->path, path);
  made->next = held;
  held = made;
  return PETSC_SUCCESS;
}

PetscErrorCode draft_folder_made(const char *path)
{
  if (holding) PetscCall(hold(path, ""));
  return PETSC_SUCCESS;
}

void file_hold_begin(void) { holding = PETSC_TRUE; }

PetscErrorCode file_hold_end(MPI_Comm comm, PetscBool whole)
{
  PetscErrorCode code = PETSC_SUCCESS;

  for (Held *h = held; whole && h && !code; h = h->next)
    if (h->path[0]) code = appear(h->temporary, h->path);
  for (const Held *h = held; whole && h && !code; h = h->next) flush_folder(h->path[0] ? h->path : h->temporary);
  if (!whole || code) held_remove();
  for (Held *h = held, *next; h; h = next) {
    next = h->next;
    held = next;
    PetscCall(PetscFree(h));
  }
  holding = PETSC_FALSE;
  return whole ? error_agree(comm, code) : PETSC_SUCCESS;
}

PetscErrorCode draft_finish(const char *temporary, const char *path)
{
  struct stat status;
  int         file = open(temporary, O_WRONLY), number;

  if (file < 0) return file_error(path, "write", errno);
  /* Gives back what was reserved past the end. */
  number = fstat(file, &status) || ftruncate(file, status.st_size) || fsync(file) ? errno : 0;
  if (close(file) && !number) number = errno;
  if (number) return file_error(path, "write", number);
  if (holding) PetscCall(hold(temporary, path));
  else PetscCall(appear(temporary, path));
  forget(temporary);
  if (!holding) flush_folder(path);
  return PETSC_SUCCESS;
}

PetscErrorCode draft_remove(const char *temporary)
{
  if (!temporary[0]) return PETSC_SUCCESS;
  unlink(temporary);
  forget(temporary);
  return PETSC_SUCCESS;
}

PetscErrorCode draft_reserve(const char *temporary, hid_t h5, uint64_t extra)
{
  size_t         most, least_clean, cached = 0;
  int            entries;
  struct stat    status;
  struct statvfs space;
  struct rlimit  limit;
  const int      file = open(temporary, O_WRONLY);

  if (h5 >= 0) H5Check(H5Fget_mdc_size(h5, &most, &least_clean, &cached, &entries));
  if (file < 0) return file_error(temporary, "write", errno);
  /* Behind what is in the file so far, what is in HDF5's cache, and a little for how HDF5 rounds. */
  int            number = fstat(file, &status) ? errno : 0;
  const uint64_t size = (uint64_t)status.st_size + cached + extra + 4096;
  if (!number && !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur) number = EFBIG;
  if (!number && fallocate(file, FALLOC_FL_KEEP_SIZE, 0, (off_t)size)) {
    number = errno;
    /* A file system that cannot reserve: compare with what is free. MPI-IO takes a short write for a whole one, so this matters. */
    if (number == EOPNOTSUPP && !fstatvfs(file, &space) && (double)space.f_bavail * (double)space.f_frsize + 512. * (double)status.st_blocks < (double)size)
      number = ENOSPC;
  }
  close(file);
  if (number == ENOSPC || number == EDQUOT || number == EFBIG) return file_error(temporary, "write", number);
  return PETSC_SUCCESS;
}

PetscErrorCode file_draft_reserve(const FileDraft *draft, uint64_t extra)
{
  int rank;

  PetscCallMPI(MPI_Comm_rank(draft->comm, &rank));
  PetscCallAgree(draft->comm, rank ? PETSC_SUCCESS : draft_reserve(draft->temporary, draft->h5, extra));
  return PETSC_SUCCESS;
}

/* The name, the empty file and room for it; known to all ranks. */
static PetscErrorCode begin_draft(MPI_Comm comm, const char *path, FileDraft *draft)
{
  PetscErrorCode code = PETSC_SUCCESS;
  int            rank;

  PetscCall(PetscMemzero(draft, sizeof *draft));
  draft->comm = comm;
  draft->h5 = H5I_INVALID_HID;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) {
    code = draft_begin(path, draft->temporary);
    if (!code) code = draft_reserve(draft->temporary, H5I_INVALID_HID, 0);
    if (code) draft_remove(draft->temporary);
  }
  PetscCallAgree(comm, code);
  PetscCall(PetscStrncpy(draft->path, path, sizeof draft->path));
  PetscCallMPI(MPI_Bcast(draft->temporary, PETSC_MAX_PATH_LEN, MPI_CHAR, 0, comm));
  return PETSC_SUCCESS;
}

/* writer: this rank opens the file with HDF5; shared: all ranks of comm do, by MPI-IO. */
static PetscErrorCode open_draft(MPI_Comm comm, PetscBool writer, PetscBool shared, FileDraft *draft)
{
  if (writer) {
    const hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
    H5Check(access_list);
    if (shared) H5Check(H5Pset_fapl_mpio(access_list, comm, MPI_INFO_NULL));
    else H5Check(H5Pset_alignment(access_list, LARGE_SET, FILE_PAGE)); /* ranks may write large sets past the page cache */
    H5Check(H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG));
    H5Check(H5Pset_libver_bounds(access_list, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18));
    draft->h5 = H5Fcreate(draft->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access_list);
    H5Check(H5Pclose(access_list));
  }
  PetscErrorCode code = error_agree(comm, writer && draft->h5 < 0 ? file_error(draft->temporary, "write", EIO) : PETSC_SUCCESS);
  if (code) PetscCall(file_draft_discard(draft));
  return code;
}

PetscErrorCode file_draft_create(MPI_Comm comm, const char *path, FileDraft *draft)
{
  PetscCall(begin_draft(comm, path, draft));
  return open_draft(comm, PETSC_TRUE, PETSC_TRUE, draft);
}

PetscErrorCode file_draft_create_first(MPI_Comm comm, const char *path, FileDraft *draft)
{
  int rank;

  PetscCall(begin_draft(comm, path, draft));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  return open_draft(comm, rank ? PETSC_FALSE : PETSC_TRUE, PETSC_FALSE, draft);
}

/* Everything that must be on the device before the new name: space, HDF5's caches, no object left open. */
static PetscErrorCode draft_flush(FileDraft *draft)
{
  const PetscBool open = draft->h5 >= 0; /* everywhere, or on the first rank alone */
  herr_t          closed = 0;
  int             rank;

  PetscCallMPI(MPI_Comm_rank(draft->comm, &rank));
  if (open && H5Fget_obj_count(draft->h5, H5F_OBJ_ALL | H5F_OBJ_LOCAL) > 1)
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_PLIB, "objects of %s are still open", draft->temporary);
  PetscCallMPI(MPI_Barrier(draft->comm));
  PetscCallAgree(draft->comm, rank ? PETSC_SUCCESS : draft_reserve(draft->temporary, draft->h5, 0));
  PetscCallAgree(draft->comm, open && H5Fflush(draft->h5, H5F_SCOPE_GLOBAL) < 0 ? file_error(draft->temporary, "write", EIO) : PETSC_SUCCESS);
  if (open) closed = H5Fclose(draft->h5);
  draft->h5 = H5I_INVALID_HID;
  PetscCallAgree(draft->comm, closed < 0 ? file_error(draft->temporary, "write", EIO) : PETSC_SUCCESS);
  return PETSC_SUCCESS;
}

PetscErrorCode file_draft_commit(FileDraft *draft)
{
  PetscErrorCode code = draft_flush(draft);
  int            rank;

  PetscCallMPI(MPI_Comm_rank(draft->comm, &rank));
  if (!code) code = error_agree(draft->comm, rank ? PETSC_SUCCESS : draft_finish(draft->temporary, draft->path));
  if (code) {
    PetscCall(file_draft_discard(draft));
    return code;
  }
  PetscCall(PetscMemzero(draft, sizeof *draft));
  draft->h5 = H5I_INVALID_HID;
  return PETSC_SUCCESS;
}

PetscErrorCode file_draft_discard(FileDraft *draft)
{
  struct rlimit limit = {0}, hard;
  int           rank;

  if (!draft->temporary[0]) return PETSC_SUCCESS;
  PetscCallMPI(MPI_Comm_rank(draft->comm, &rank));
  /* Emptied first, and without a limit: HDF5 insists on writing while it closes, and cannot be left with a file half closed. */
  if (!rank && truncate(draft->temporary, 0)) PetscCall(PetscInfo(NULL, "%s: %s\n", draft->temporary, strerror(errno)));
  PetscCallMPI(MPI_Barrier(draft->comm));
  const PetscBool limited = !getrlimit(RLIMIT_FSIZE, &limit);
  hard = limit;
  hard.rlim_cur = limit.rlim_max;
  if (limited) setrlimit(RLIMIT_FSIZE, &hard);
  if (draft->h5 > 0) H5Fclose(draft->h5);
  if (limited) setrlimit(RLIMIT_FSIZE, &limit);
  if (!rank) PetscCall(draft_remove(draft->temporary));
  PetscCall(PetscMemzero(draft, sizeof *draft));
  draft->h5 = H5I_INVALID_HID;
  return PETSC_SUCCESS;
}
