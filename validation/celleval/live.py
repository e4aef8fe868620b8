#!/usr/bin/env python3
"""A case as tests/evaluate_parity reads them, with cell-eval's tables of it made now.

    python live.py FOLDER                       FOLDER has real.h5ad and predicted.h5ad
    python live.py FOLDER STORE PREDICTED       real cells from the cell store: the populations of the predicted file
"""
import os
import sys

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/data/evaluate"))
from make_cases import run  # noqa: E402


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def table_of_store(path):
    """Cells of a store (log1p values), with perturbation, cell_type and batch."""
    with h5py.File(path) as f:
        labels = {a: np.array([v.decode() for v in f[f"vocabulary/{a}"][:]]) for a in ("perturbation", "cell_type", "batch")}
        number = np.repeat(np.arange(len(f["populations/cells"])), f["populations/cells"][:])
        names = [v.decode() for v in f["genes/name"][:]]
        offset, gene, value = f["cells/offset"][:], f["cells/gene"][:].astype(np.int32), f["cells/value"][:].astype(np.float32)
        obs = pd.DataFrame({a: labels[a][f[f"populations/{a}"][:][number]] for a in labels}, index=[f"c{i}" for i in range(len(number))])
        columns = {text(f.attrs[f"{a}_column"]): a for a in labels}
        control = text(f["vocabulary/perturbation"].attrs["control"])
    return ad.AnnData(sp.csr_matrix((value, gene, offset), shape=(len(obs), len(names))), obs=obs, var=pd.DataFrame(index=names)), columns, control


def case_of_store(folder, store, predicted):
    real, columns, control = table_of_store(store)
    predicted = ad.read_h5ad(predicted)
    predicted.obs = predicted.obs.rename(columns=columns).astype(str)
    wanted = set(map(tuple, predicted.obs[["perturbation", "cell_type", "batch"]].to_numpy()))
    real = real[[key in wanted for key in map(tuple, real.obs[["perturbation", "cell_type", "batch"]].to_numpy())]].copy()
    predicted = predicted[:, real.var_names].copy()
    for name, a in (("real", real), ("predicted", predicted)):
        a.obs["perturbation"] = pd.Categorical(a.obs["perturbation"].replace({control: "control"}))
        a.obs["cell_type"] = pd.Categorical(a.obs["cell_type"])
        ad.AnnData(sp.csr_matrix(a.X), obs=a.obs[["perturbation", "cell_type"]], var=pd.DataFrame(index=a.var_names)).write_h5ad(f"{folder}/{name}.h5ad")
    return {"cell_type_column": "cell_type"}


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    run(sys.argv[1], case_of_store(*sys.argv[1:4]) if len(sys.argv) > 2 else {})
