/* What is called of LAPACK (netlib.org/lapack): column-major, and lengths of characters last. */
#ifndef HILBERT_LAPACK_H
#define HILBERT_LAPACK_H

#include <stddef.h>

/* Eigenvalues first_value, ..., last_value in ascending order of a symmetric matrix, and their vectors. */
void dsyevr_(const char *job, const char *range, const char *uplo, const int *n, double *a, const int *ld_a, const double *above, const double *upto, const int *first_value,
             const int *last_value, const double *tolerance, int *found, double *values, double *z, const int *ld_z, int *support, double *work, const int *work_size, int *index_work,
             const int *index_size, int *info, size_t job_length, size_t range_length, size_t uplo_length);

#endif
