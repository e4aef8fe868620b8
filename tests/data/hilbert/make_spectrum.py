#!/usr/bin/env python3
"""Expected numbers of tests/unit/nystrom_mpi.c and cluster_test.c, by numpy and scipy. Usage: make_spectrum.py expected.h5 spectrum.h5

expected.h5 (make_expected.py) holds the cells; landmarks are fixed positions here."""
import sys

import h5py
import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist, squareform

with h5py.File(sys.argv[1]) as f:
    x = f["cells"][:].astype(np.float64)
    start = f["start"][:]
    bandwidths = f["bandwidths"][:]
groups = len(start) - 1
label = np.repeat(np.arange(groups), np.diff(start))
landmark = np.array([0, 7, 13, 22, 31, 40, 42, 47, 55, 63, 80, 91, 104, 110, 119, 121, 128, 140, 149])
d2 = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
norm = np.sqrt((x ** 2).sum(1))
kernels = {
    "energy": (norm[:, None] + norm[None, :] - np.sqrt(d2)) / 2,
    "gaussian": np.mean([np.exp(-d2 / (2 * h * h)) for h in bandwidths], axis=0),
}
average = (label[None, :] == np.arange(groups)[:, None]) / np.diff(start)[:, None]


def descending(matrix):
    return np.linalg.eigvalsh(matrix)[::-1].clip(0)


with h5py.File(sys.argv[2], "w") as f:
    f["landmark"] = landmark
    for name, k in kernels.items():
        factor = cholesky(k[np.ix_(landmark, landmark)], lower=True)
        phi = solve_triangular(factor, k[landmark], lower=True).T
        means = average @ phi
        exact = average @ k @ average.T
        projected = means @ means.T
        f[f"{name}/features"] = phi
        f[f"{name}/embeddings"] = means
        mmd = lambda g: np.diag(g)[:, None] + np.diag(g)[None, :] - 2 * g
        f[f"{name}/error"] = np.array([
            np.linalg.norm(exact - projected) / np.linalg.norm(exact),
            np.abs(mmd(exact) - mmd(projected)).max() / mmd(exact).max(),
            1 - (phi ** 2).sum() / np.trace(k),
        ])
        within = np.mean([np.cov(phi[label == i].T, bias=True) for i in range(groups)], axis=0)
        f[f"{name}/within"] = descending(within)
        # Between populations, from the embeddings themselves rather than their Gram matrix.
        centered = means - means.mean(0)
        s, v = np.linalg.eigh(centered.T @ centered / groups)
        s, v = s[::-1][: groups - 1], v[:, ::-1][:, : groups - 1]
        coordinate = centered @ v
        sign = np.sign(coordinate[np.abs(coordinate).argmax(0), np.arange(groups - 1)])
        f[f"{name}/between"] = s
        f[f"{name}/coordinate"] = coordinate * sign
        f[f"{name}/function"] = (phi - means.mean(0)) @ v * sign
        f[f"{name}/participation"] = np.array([s.sum() ** 2 / (s ** 2).sum()])
        f[f"{name}/effective"] = np.array([(s / (s + lam)).sum() for lam in (s[0], s[2], 1e-3)])
    rng = np.random.default_rng(11)
    points = rng.normal(size=(40, 3)) + 4 * rng.integers(0, 3, (40, 1))
    distance = cdist(points, points)
    tree = linkage(squareform(distance, checks=False), "average")
    f["cluster/distance"] = distance
    f["cluster/height"] = tree[:, 2]
    f["cluster/order"] = leaves_list(tree).astype(np.int64)
