/* Room runtime: errors, options, logging, random numbers, dense kernels, time limit, files. Knows Open MPI, PETSc, HDF5,
   oneDNN and BLAS, and no other room. */
#ifndef PERTURBDIFF_RUNTIME_H
#define PERTURBDIFF_RUNTIME_H

#include <perturbdiff/runtime/blas.h>
#include <perturbdiff/runtime/buckets.h>
#include <perturbdiff/runtime/cellexchange.h>
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/csv.h>
#include <perturbdiff/runtime/deadline.h>
#include <perturbdiff/runtime/deal.h>
#include <perturbdiff/runtime/dense.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/exponential.h>
#include <perturbdiff/runtime/file.h>
#include <perturbdiff/runtime/grid.h>
#include <perturbdiff/runtime/gridchoice.h>
#include <perturbdiff/runtime/launch.h>
#include <perturbdiff/runtime/log.h>
#include <perturbdiff/runtime/memory.h>
#include <perturbdiff/runtime/options.h>
#include <perturbdiff/runtime/random.h>
#include <perturbdiff/runtime/real.h>
#include <perturbdiff/runtime/sort.h>
#include <perturbdiff/runtime/sum.h>
#include <perturbdiff/runtime/threads.h>

#endif
