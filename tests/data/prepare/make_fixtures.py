"""Inputs of tests/unit/prepare_mpi.c and what scanpy makes of them. Run in this folder:
    python make_fixtures.py
Made with anndata 0.12.19 and scanpy 1.11.5; the files are committed."""
import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

rng = np.random.default_rng(7)


def counts(cells, genes):
    return rng.poisson(rng.gamma(0.4, 4.0, size=(1, genes)), size=(cells, genes)).astype(np.float32)


def screen(cells, genes, prefix, batches):
    """Cells in random order. B cells of the last batch have no control; some labels are missing."""
    obs = pd.DataFrame(index=[f"{prefix}{i}" for i in range(cells)])
    obs["drug"] = rng.choice(["none", "p1", "p2"], size=cells, p=[0.4, 0.3, 0.3])
    obs["type"] = rng.choice(["B", "T"], size=cells)
    obs["donor"] = rng.choice(batches, size=cells)
    lonely = (obs["type"] == "B") & (obs["donor"] == batches[-1]) & (obs["drug"] == "none")
    obs.loc[lonely, "drug"] = "p1"
    obs.loc[obs.index[[3, 11]], "drug"] = None
    obs.loc[obs.index[17], "type"] = None
    x = counts(cells, len(genes))
    x[x.sum(1) == 0, 0] = 1
    return ad.AnnData(sp.csr_matrix(x), obs=obs.astype("category"), var=pd.DataFrame(index=genes))


def log_values(data):
    data = data.copy()
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    return data


a = screen(60, [f"g{i}" for i in range(10)], "a", ["x", "y"])
b = screen(40, ["g7", "h1", "g2", "h0", "g0", "g5"], "b", ["y", "z"])
a.write_h5ad("a.h5ad")
b_log = log_values(b)
b_log.write_h5ad("b.h5ad")

# Both together, outer join: what the store of a and b holds, whatever its order.
both = ad.concat([log_values(a), b_log], join="outer", fill_value=0)
with h5py.File("expected.h5", "w") as f:
    f["genes"] = np.array(both.var_names, dtype="S8")
    f["cells"] = np.array(both.obs_names, dtype="S8")
    f["values"] = np.asarray(both.X.todense(), dtype=np.float64)

# Highly variable genes of the demo data: all cells, and with the treated B cells left out.
kang = ad.read_h5ad("../../../inputs/data/kang_ifnb_pbmc.h5ad")
logged = log_values(kang)
held_out = (kang.obs["perturbation"] == "IFN-beta") & (kang.obs["cell_type"] == "B cells")
table = pd.DataFrame({"gene": kang.var_names})
for name, cells, top in [("all", np.ones(kang.n_obs, bool), 300), ("training", ~held_out.values, 300), ("many", np.ones(kang.n_obs, bool), 1000)]:
    result = sc.pp.highly_variable_genes(logged[cells].copy(), n_top_genes=top, flavor="seurat", inplace=False)
    table[name] = result["highly_variable"].values.astype(int)
    table[name + "_means"] = result["means"].values
    table[name + "_dispersions"] = result["dispersions"].values
table["mean_log"] = np.asarray(logged.X.mean(0, dtype=np.float64)).ravel()
table["mean_held_out"] = np.asarray(logged.X[held_out.values & (kang.obs["donor"] == "patient101").values].mean(0, dtype=np.float64)).ravel()
table.to_csv("kang_genes.csv", index=False, float_format="%.10g", na_rep="nan")

# Mistakes.
def bad(name, change):
    data = a.copy()
    x = data.X.toarray()
    data = change(data, x) or data
    data.write_h5ad(f"bad_{name}.h5ad", compression="gzip")


def put(row, column, value):
    def change(data, x):
        x[row, column] = value
        data.X = sp.csr_matrix(x)
    return change


def scaled(data, x):
    data.X = sp.csr_matrix((x * 7.3).astype(np.float32))


def twice(data, x):
    data.var_names = ["g0", "g1", "g1"] + list(data.var_names[3:])


bad("negative", put(20, 4, -2))
bad("nan", put(21, 5, np.nan))
bad("scaled", scaled)
bad("twice", twice)
