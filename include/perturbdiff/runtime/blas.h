/* OpenBLAS chooses its kernels by the CPU when it is loaded, and takes CPUs newer than itself for older ones: five times slower
   (upstream issue 4267 on version 0.3.21), or, where it finds AVX2 but not AVX-512, two times. */
#ifndef PERTURBDIFF_RUNTIME_BLAS_H
#define PERTURBDIFF_RUNTIME_BLAS_H

/* blas_guard - when the kernels are older than the CPU's AVX2 or AVX-512, set OPENBLAS_CORETYPE and execute the program again, once.
   Call first in main, before MPI starts; returns where there is nothing to mend. An OPENBLAS_CORETYPE of the user's that is older than AVX2
   is replaced with one line of warning (from the first rank), unless PERTURBDIFF_KEEP_BLAS is set. No errors: if it cannot be
   mended the program goes on as it is. BLAS then uses as many threads as OpenMP, unless OPENBLAS_NUM_THREADS is set, and those without work sleep soon, unless OPENBLAS_THREAD_TIMEOUT is set. */
void blas_guard(int argc, char **argv);

/* Name of the kernels in use on this rank ("SkylakeX"), static. Not collective. */
const char *blas_core_name(void);

#endif
