/* Room data: AnnData files in and out, the cell store, splits, pairing with control, drawing of cell sets, simulated screens. */
#ifndef PERTURBDIFF_DATA_H
#define PERTURBDIFF_DATA_H

#include <perturbdiff/data/anndata.h>
#include <perturbdiff/data/cellset.h>
#include <perturbdiff/data/center.h>
#include <perturbdiff/data/cellstore.h>
#include <perturbdiff/data/prepare.h>
#include <perturbdiff/data/simulate.h>
#include <perturbdiff/data/split.h>

#endif
