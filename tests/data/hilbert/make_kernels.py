#!/usr/bin/env python3
"""Make kernels.csv: MMD^2 of every perturbation of features.h5ad to the control, by direct double sums over pairs of cells, for every kernel on genes and on five
principal components, with the bandwidths of the median heuristic and with two of our own; V-statistics, and U-statistics.

    make_kernels.py FOLDER        needs numpy, anndata; h5ad as make_features.py made it"""
import sys

import anndata
import numpy as np

OWN, COMPONENTS = (1.5, 4.0), 5
data = anndata.read_h5ad(f"{sys.argv[1]}/features.h5ad")
counts = data.X.toarray().astype(np.float64)
genes = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4).astype(np.float32).astype(np.float64)
label = data.obs["perturbation"].astype(str).to_numpy()
centered = genes - genes.mean(0)
components = centered @ np.linalg.svd(centered, full_matrices=False)[2][:COMPONENTS].T

KERNELS = {
    "energy": lambda d, dot, x, y, h: (x + y - d) / 2,
    "gaussian": lambda d, dot, x, y, h: np.exp(-d * d / (2 * h * h)),
    "inverse_multiquadric": lambda d, dot, x, y, h: 1 / np.sqrt(1 + d * d / (h * h)),
    "laplace": lambda d, dot, x, y, h: np.exp(-d / h),
    "linear": lambda d, dot, x, y, h: dot,
}


def sums(kernel, x, y, h):
    d = np.sqrt(((x[:, None, :] - y[None, :, :]) ** 2).sum(-1))
    norm = [np.sqrt((z ** 2).sum(1)) for z in (x, y)]
    return np.mean([kernel(d, (x[:, None, :] * y[None, :, :]).sum(-1), norm[0][:, None], norm[1][None, :], s) for s in h], axis=0)


with open(f"{sys.argv[1]}/kernels.csv", "w") as stream:
    print("kernel,components,bandwidths,statistic,perturbation,mmd", file=stream)
    for number, cells in ((0, genes), (COMPONENTS, components)):
        d = np.sqrt(((cells[:, None, :] - cells[None, :, :]) ** 2).sum(-1))
        median = np.median(d[np.triu_indices(len(d), 1)])
        for name, kernel in KERNELS.items():
            bare = name in ("energy", "linear")
            for bandwidths in ("none",) if bare else ("median", "own"):
                h = (1,) if bare else OWN if bandwidths == "own" else tuple(median * f for f in (0.25, 0.5, 1, 2, 4))
                control = cells[label == "control"]
                for p in sorted(set(label) - {"control"}):
                    treated = cells[label == p]
                    xx, yy, xy = sums(kernel, treated, treated, h), sums(kernel, control, control, h), sums(kernel, treated, control, h).mean()
                    within = {"v": xx.mean() + yy.mean(), "u": sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy))}
                    for statistic, value in within.items():
                        print(f"{name},{number},{bandwidths},{statistic},{p},{value - 2 * xy:.12g}", file=stream)
