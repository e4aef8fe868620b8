/* ScaLAPACK and BLACS, declared once. Routines written in Fortran take the lengths of their character arguments at the end. */
#ifndef HILBERT_SCALAPACK_H
#define HILBERT_SCALAPACK_H

#include <mpi.h>
#include <stddef.h>

int  Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridmap(int *context, int *ranks, int ld, int rows, int columns);
void Cblacs_gridexit(int context);

/* C */
void pdgemm_(const char *transpose_a, const char *transpose_b, const int *m, const int *n, const int *k, const double *alpha, const double *a, const int *ia, const int *ja,
             const int *desc_a, const double *b, const int *ib, const int *jb, const int *desc_b, const double *beta, double *c, const int *ic, const int *jc, const int *desc_c);
void pdtrsm_(const char *side, const char *uplo, const char *transpose, const char *diagonal, const int *m, const int *n, const double *alpha, const double *a, const int *ia,
             const int *ja, const int *desc_a, double *b, const int *ib, const int *jb, const int *desc_b);

/* Fortran */
void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc_a, int *info, size_t);
void pdpotrs_(const char *uplo, const int *n, const int *columns, const double *a, const int *ia, const int *ja, const int *desc_a, double *b, const int *ib, const int *jb,
              const int *desc_b, int *info, size_t);
void pdsyevd_(const char *job, const char *uplo, const int *n, double *a, const int *ia, const int *ja, const int *desc_a, double *values, double *z, const int *iz, const int *jz,
              const int *desc_z, double *work, const int *work_size, int *index_work, const int *index_size, int *info, size_t, size_t);

#endif
