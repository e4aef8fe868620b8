/* Room hilbert: kernels, what they see of a cell, sums over all pairs of cells, Gram matrices of populations, mean embeddings and discrepancies (HILBERT). */
#ifndef PERTURBDIFF_HILBERT_H
#define PERTURBDIFF_HILBERT_H

#include <perturbdiff/hilbert/blockmatrix.h>
#include <perturbdiff/hilbert/cluster.h>
#include <perturbdiff/hilbert/distances.h>
#include <perturbdiff/hilbert/features.h>
#include <perturbdiff/hilbert/gram.h>
#include <perturbdiff/hilbert/kernel.h>
#include <perturbdiff/hilbert/nystrom.h>
#include <perturbdiff/hilbert/pairs.h>
#include <perturbdiff/hilbert/permutation.h>
#include <perturbdiff/hilbert/regression.h>
#include <perturbdiff/hilbert/witness.h>
#include <perturbdiff/hilbert/spectrum.h>

#endif
