/* For the files that know MPI alone (grid, buckets, cellexchange): hand an error code of MPI on to the caller. */
#ifndef RUNTIME_TRY_MPI_H
#define RUNTIME_TRY_MPI_H

#define TryMPI(call) \
  do { \
    const int code_ = (call); \
    if (code_ != MPI_SUCCESS) return code_; \
  } while (0)

#endif
