/* Lines for people, on standard error, from rank 0. */
#include "config.h"
#include "revision.h"
#include <perturbdiff/runtime/blas.h>
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/log.h>
#include <hdf5.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static PetscErrorCode speaks(MPI_Comm comm, PetscBool *yes)
{
  int       rank;
  PetscBool quiet = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) PetscCall(PetscOptionsGetBool(NULL, NULL, "-quiet", &quiet, NULL));
  *yes = !rank && !quiet ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode log_line(MPI_Comm comm, const char *format, ...)
{
  PetscBool yes;
  va_list   arguments;

  PetscFunctionBeginUser;
  PetscCall(speaks(comm, &yes));
  if (!yes) PetscFunctionReturn(PETSC_SUCCESS);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

void format_seconds(double seconds, char *text, size_t size)
{
  if (!(seconds < 1e8)) snprintf(text, size, "?");
  else if (seconds < 60) snprintf(text, size, "%.1f s", seconds);
  else if (seconds < 3600) snprintf(text, size, "%d min %02d s", (int)(seconds / 60), (int)fmod(seconds, 60));
  else snprintf(text, size, "%d h %02d min", (int)(seconds / 3600), (int)(fmod(seconds, 3600) / 60));
}

void format_bytes(double bytes, char *text, size_t size)
{
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  int                      unit    = 0;

  while (bytes >= 1024 && unit < 5) {
    bytes /= 1024;
    unit++;
  }
  snprintf(text, size, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

const char *machine_cpu_name(void)
{
  static char name[128];
  FILE       *info;
  char        line[256];

  if (*name) return name;
  snprintf(name, sizeof name, "unknown CPU");
  if (!(info = fopen("/proc/cpuinfo", "r"))) return name;
  while (fgets(line, sizeof line, info)) {
    char *value = strchr(line, ':');
    if (strncmp(line, "model name", 10) || !value) continue;
    value[strcspn(value, "\n")] = '\0';
    snprintf(name, sizeof name, "%s", value + 2);
    break;
  }
  fclose(info);
  return name;
}

PetscInt machine_threads(void) { return omp_get_max_threads(); }

PetscErrorCode log_banner(MPI_Comm comm, const char *command)
{
  int      size, length;
  unsigned h5[3];
  char     host[MPI_MAX_PROCESSOR_NAME], mpi[MPI_MAX_LIBRARY_VERSION_STRING];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Get_processor_name(host, &length));
  PetscCallMPI(MPI_Get_library_version(mpi, &length));
  mpi[strcspn(mpi, ",\n")] = '\0';
  H5Check(H5get_libversion(&h5[0], &h5[1], &h5[2]));
  PetscCall(log_line(comm, "perturbdiff %s %s (%s)", PACKAGE_VERSION, command, GIT_REVISION));
  PetscCall(log_line(comm, "  %d rank%s x %d thread%s on %s, %s, BLAS kernel %s", size, size == 1 ? "" : "s", (int)machine_threads(), machine_threads() == 1 ? "" : "s", host,
                     machine_cpu_name(), blas_core_name()));
  PetscCall(log_line(comm, "  %s, PETSc %d.%d.%d, HDF5 %u.%u.%u, %s", mpi, PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR, h5[0], h5[1], h5[2], dense_backend()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode log_stage_begin(MPI_Comm comm, const char *name, LogStage *stage)
{
  stage->comm  = comm;
  stage->name  = name;
  stage->start = MPI_Wtime();
  return PETSC_SUCCESS;
}

PetscErrorCode log_stage_end(LogStage *stage, const char *format, ...)
{
  char    what[1024], seconds[32];
  va_list arguments;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  format_seconds(MPI_Wtime() - stage->start, seconds, sizeof seconds);
  PetscCall(log_line(stage->comm, "  %-10s %s  (%s)", stage->name, what, seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode progress_begin(MPI_Comm comm, const char *name, double first, double total, Progress *progress)
{
  *progress = (Progress){comm, name, total, first, MPI_Wtime(), 0, isatty(STDERR_FILENO) ? PETSC_TRUE : PETSC_FALSE};
  return PETSC_SUCCESS;
}

PetscErrorCode progress_update(Progress *progress, double done, const char *detail)
{
  const double now = MPI_Wtime(), elapsed = now - progress->start, rate = elapsed > 0 ? (done - progress->first) / elapsed : 0;
  char         left[32];
  PetscBool    yes;

  PetscFunctionBeginUser;
  PetscCall(speaks(progress->comm, &yes));
  if (!yes) PetscFunctionReturn(PETSC_SUCCESS);
  /* A terminal line is rewritten five times a second; a batch log gets a line a tenth of the way or every half minute. */
  if (progress->terminal ? now - progress->last_print < 0.2 && done < progress->total
                         : floor(10 * done / progress->total) <= floor(10 * progress->last_print / progress->total) && done < progress->total)
    PetscFunctionReturn(PETSC_SUCCESS);
  progress->last_print = progress->terminal ? now : done;
  format_seconds(rate > 0 ? (progress->total - done) / rate : INFINITY, left, sizeof left);
  fprintf(stderr, "%s  %-10s %.0f/%.0f (%3.0f %%)  %s%s%.3g/s  %s left%s", progress->terminal ? "\r\033[K" : "", progress->name, done, progress->total,
          100 * done / progress->total, detail ? detail : "", detail ? "  " : "", rate, left, progress->terminal ? "" : "\n");
  fflush(stderr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode progress_late(Progress *progress, double done, const char *detail)
{
  return MPI_Wtime() - progress->start < 2 ? PETSC_SUCCESS : progress_update(progress, done, detail);
}

PetscErrorCode progress_end(Progress *progress)
{
  PetscBool yes;

  PetscFunctionBeginUser;
  PetscCall(speaks(progress->comm, &yes));
  if (yes && progress->terminal) fprintf(stderr, "\r\033[K");
  PetscFunctionReturn(PETSC_SUCCESS);
}
