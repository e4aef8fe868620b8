#!/usr/bin/env python3
"""Two AnnData files to evaluate: PERTURBATIONS x CELLS perturbed and CONTROLS control cells, GENES genes, log1p values, 40 % of them not zero.

    python make_files.py DIR PERTURBATIONS CELLS GENES CONTROLS
"""
import sys

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

folder, (perturbations, cells, genes, controls) = sys.argv[1], map(int, sys.argv[2:6])
rng = np.random.default_rng(0)
labels = ["control"] * controls + [f"p{k:04d}" for k in range(perturbations) for _ in range(int(cells * rng.uniform(0.8, 1.2)))]
base = rng.gamma(1, 1, genes)
effects = {f"p{k:04d}": np.where(rng.random(genes) < 0.1, np.exp(rng.normal(0, 0.7, genes)), 1) for k in range(perturbations)}
for name, noise in (("real", 0), ("predicted", 0.2)):
    parts = []
    order = rng.permutation(len(labels))
    for first in range(0, len(labels), 2000):
        mine = [labels[k] for k in order[first : first + 2000]]
        mean = np.stack([base * effects.get(p, np.ones(genes)) for p in mine]) * np.exp(noise * rng.normal(size=(1, genes)))
        parts.append(sp.csr_matrix(np.log1p(rng.poisson(mean * rng.gamma(5, 0.2, (len(mine), 1))) * 1.37).astype(np.float32)))
    obs = pd.DataFrame({"perturbation": pd.Categorical([labels[k] for k in order])}, index=[f"c{k}" for k in order])
    ad.AnnData(sp.vstack(parts).tocsr(), obs=obs, var=pd.DataFrame(index=[f"G{g}" for g in range(genes)])).write_h5ad(f"{folder}/{name}.h5ad")
