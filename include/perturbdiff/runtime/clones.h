/* Loops compiled for several CPUs, the right one chosen when the program is loaded. */
#ifndef PERTURBDIFF_RUNTIME_CLONES_H
#define PERTURBDIFF_RUNTIME_CLONES_H

/* VECTOR_CLONES void function(...): versions for AVX-512, AVX2 and the base instruction set. Functions it calls must be inline.
   Sums of floats may differ in the last bits between CPUs, never between runs on one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && !defined(__SANITIZE_ADDRESS__) && !defined(__AVX2__)
  #define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
  #define VECTOR_CLONES
#endif

#endif
