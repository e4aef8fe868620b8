/* inspect -machine: processor, memory, libraries, measured speed. */
#include "commands/inspect.h"
#include "config.h"
#include <hdf5.h>
#include <perturbdiff/runtime.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Best of a few products C = A B of n x n, in operations a second. */
static PetscErrorCode measure_product(PetscInt n, double *rate)
{
  Real  *a, *b, *c;
  double best = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)n * (size_t)n, &a, (size_t)n * (size_t)n, &b, (size_t)n * (size_t)n, &c));
  const RandomStream stream = random_stream(0, RANDOM_TEST, 0, 0, 0);
  random_uniforms(&stream, 0, (size_t)n * (size_t)n, a);
  random_uniforms(&stream, 1, (size_t)n * (size_t)n, b);
  for (int i = 0; i < 5; i++) {
    const double start = MPI_Wtime();
    PetscCall(dense_product(PETSC_FALSE, PETSC_TRUE, n, n, n, 1, a, n, b, n, 0, c, n));
    const double seconds = MPI_Wtime() - start;
    best = PetscMax(best, 2. * (double)n * (double)n * (double)n / seconds);
  }
  PetscCall(PetscFree3(a, b, c));
  *rate = best;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *first_line(char *text)
{
  text[strcspn(text, "\n,")] = '\0';
  return text;
}

PetscErrorCode inspect_machine(void)
{
  char           mpi[MPI_MAX_LIBRARY_VERSION_STRING], petsc[256], memory[32];
  int            length, size;
  unsigned       major, minor, release;
  double         rate, total;
  struct utsname system;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCallMPI(MPI_Get_library_version(mpi, &length));
  PetscCall(PetscGetVersion(petsc, sizeof petsc));
  H5Check(H5get_libversion(&major, &minor, &release));
  format_bytes((double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE), memory, sizeof memory);
  if (!uname(&system)) inspect_print("  %-20s %s, %s %s %s\n", "host", system.nodename, system.sysname, system.release, system.machine);
  inspect_print("  %-20s %s\n", "processor", machine_cpu_name());
  inspect_print("  %-20s %ld online\n", "cores", sysconf(_SC_NPROCESSORS_ONLN));
  inspect_print("  %-20s %s\n", "memory", memory);
  inspect_print("  %-20s %d x %lld threads\n", "ranks", size, (long long)machine_threads());
  inspect_print("  %-20s %s\n", "perturbdiff", PACKAGE_VERSION);
  inspect_print("  %-20s %s\n", "MPI", first_line(mpi));
  inspect_print("  %-20s %s\n", "PETSc", first_line(petsc));
  inspect_print("  %-20s %u.%u.%u\n", "HDF5", major, minor, release);
  inspect_print("  %-20s %s\n", "dense products", dense_backend());
  inspect_print("  %-20s %s\n", "BLAS kernel", blas_core_name());
  PetscCall(measure_product(1024, &rate));
  PetscCallMPI(MPI_Allreduce(&rate, &total, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD));
  inspect_print("  %-20s %.1f GF/s a rank, %.1f GF/s in all (1024 x 1024, %s)\n", "measured", rate * 1e-9, total * 1e-9,
                sizeof(Real) == 4 ? "float32" : "float64");
  PetscFunctionReturn(PETSC_SUCCESS);
}
