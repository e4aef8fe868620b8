#!/usr/bin/env python3
"""Make expected.h5: cells of five populations and what numpy, scipy and pertpy make of them. Sums over pairs are of differences formed directly, in double.

    make_expected.py OUT.h5        needs numpy, scipy, h5py, anndata, pertpy 1.0.3"""
import sys
import warnings

import h5py
import numpy as np
from scipy.spatial.distance import cdist

warnings.filterwarnings("ignore")
import anndata
import pertpy

rng = np.random.default_rng(7)
sizes = [40, 3, 61, 17, 29]
genes = 23
cells = []
for k, size in enumerate(sizes):
    values = np.log1p(rng.poisson(np.exp(rng.normal(0, 1, genes) + 0.3 * k), (size, genes)) * rng.gamma(2, 0.5, (size, 1)))
    cells.append(values)
x = np.vstack(cells).astype(np.float32).astype(np.float64)
# Cells that nearly coincide, and cells that do, within and across populations.
x[5] = x[4] * np.float32(1 + 1e-6)
x[70] = x[10]
x[71] = x[70]
x[71, 3] += 2.0 ** -17
x[100] = 0
x = x.astype(np.float32).astype(np.float64)
start = np.concatenate([[0], np.cumsum(sizes)])
label = np.repeat(np.arange(len(sizes)), sizes)


def square(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)


def block_means(matrix):
    return np.array([[matrix[np.ix_(label == i, label == j)].mean() for j in range(len(sizes))] for i in range(len(sizes))])


def unbiased(matrix):
    within = []
    for i, n in enumerate(sizes):
        block = matrix[np.ix_(label == i, label == i)]
        within.append((block.sum() - np.trace(block)) / (n * (n - 1)))
    within = np.array(within)
    mmd = within[:, None] + within[None, :] - 2 * block_means(matrix)
    np.fill_diagonal(mmd, 0)
    return mmd


d2 = square(x, x)
d = np.sqrt(d2)
norm = np.sqrt((x ** 2).sum(1))
bandwidths = np.array([1.5, 3.0, 7.25])
matrices = {
    "energy": (norm[:, None] + norm[None, :] - d) / 2,
    "gaussian": np.mean([np.exp(-d2 / (2 * h * h)) for h in bandwidths], axis=0),
    "inverse_multiquadric": np.mean([1 / np.sqrt(1 + d2 / (h * h)) for h in bandwidths], axis=0),
    "laplace": np.mean([np.exp(-d / h) for h in bandwidths], axis=0),
    "linear": x @ x.T,
    "distance": d,
}

with h5py.File(sys.argv[1], "w") as f:
    f["cells"] = x.astype(np.float32)
    f["start"] = start.astype(np.int64)
    f["bandwidths"] = bandwidths
    f["median_distance"] = np.array([np.median(d[np.triu_indices(len(x), 1)])])
    for name, k in matrices.items():
        f[f"means/{name}"] = block_means(k)
        f[f"self/{name}"] = np.array([np.diag(k)[label == i].mean() for i in range(len(sizes))])
        if name != "distance":
            f[f"mmd_u/{name}"] = unbiased(k)
    data = anndata.AnnData(x)
    data.obs["population"] = [str(k) for k in label]
    data.layers["x"] = x
    distance = pertpy.tools.Distance("edistance", layer_key="x")
    f["pertpy_edistance"] = distance.pairwise(data, "population", groups=[str(k) for k in range(len(sizes))], show_progressbar=False, n_jobs=1).to_numpy()
    assert np.allclose(cdist(x, x), d, atol=1e-12)
    # Principal components of all cells (more cells than genes) and of population 3 (fewer), signs so that the loading of largest modulus is positive.
    for name, part, components in (("pca", x, 6), ("pca_few", x[label == 3], 5)):
        u, s, v = np.linalg.svd(part - part.mean(0), full_matrices=False)
        v = v * np.sign(v[np.arange(len(v)), np.abs(v).argmax(1)])[:, None]
        f[f"{name}/variance"] = s[:components] ** 2 / (len(part) - 1)
        f[f"{name}/total"] = np.array([(s ** 2).sum() / (len(part) - 1)])
        f[f"{name}/loadings"] = np.ascontiguousarray(v[:components].T)
        scores = (x - part.mean(0)) @ v[:components].T
        f[f"{name}/scores"] = scores
        f[f"{name}/distance"] = block_means(np.sqrt(square(scores, scores)))
