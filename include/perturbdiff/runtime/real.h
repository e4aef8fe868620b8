/* The working precision: float, or double in the build that the tests compare to 1e-10. */
#ifndef PERTURBDIFF_RUNTIME_REAL_H
#define PERTURBDIFF_RUNTIME_REAL_H

#include <mpi.h>

#ifdef PERTURBDIFF_DOUBLE
typedef double Real;
  #define MPI_REAL_TYPE MPI_DOUBLE
#else
typedef float Real;
  #define MPI_REAL_TYPE MPI_FLOAT
#endif

#endif
