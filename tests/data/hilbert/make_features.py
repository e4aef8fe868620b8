#!/usr/bin/env python3
"""Make features.h5ad and features.csv: counts of a screen in which the log fold changes of a perturbation are a linear function of its two features.

    make_features.py FOLDER        needs numpy, scipy, anndata"""
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

warnings.filterwarnings("ignore")
rng = np.random.default_rng(11)
perturbations, genes, each, controls = 16, 24, 24, 60
angle = 2 * np.pi * np.arange(perturbations) / perturbations
feature = np.round(np.stack([np.cos(angle), np.sin(angle)], 1), 4)
weights = rng.normal(0, 0.8, (2, genes))
base = np.exp(rng.normal(1, 0.7, genes))
counts, label = [], []
for p in range(-1, perturbations):
    n = controls if p < 0 else each
    change = np.zeros(genes) if p < 0 else feature[p] @ weights
    counts.append(rng.poisson(base * np.exp(change) * rng.gamma(8, 1 / 8, (n, 1))))
    label += ["control" if p < 0 else f"p{p + 1:02d}"] * n
x = scipy.sparse.csr_matrix(np.vstack(counts).astype(np.float32))
obs = pd.DataFrame({"perturbation": pd.Categorical(label)}, index=[f"cell{i}" for i in range(len(label))])
data = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"gene{g}" for g in range(genes)]))
data.write_h5ad(f"{sys.argv[1]}/features.h5ad", compression="gzip")
with open(f"{sys.argv[1]}/features.csv", "w") as stream:
    print("perturbation,first,second", file=stream)
    for p in range(perturbations):
        print(f"p{p + 1:02d},{feature[p, 0]},{feature[p, 1]}", file=stream)
