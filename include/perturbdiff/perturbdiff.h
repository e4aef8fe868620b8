/* Everything the library offers; each room may also be included alone. */
#ifndef PERTURBDIFF_H
#define PERTURBDIFF_H

#include <perturbdiff/data.h>
#include <perturbdiff/diffusion.h>
#include <perturbdiff/evaluation.h>
#include <perturbdiff/hilbert.h>
#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>
#include <perturbdiff/sampling.h>
#include <perturbdiff/training.h>

#endif
