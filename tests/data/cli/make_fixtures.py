"""Inputs of tests/cli/bad_input.sh that the program itself cannot write. Run in this folder:
    python make_fixtures.py
Made with anndata 0.12; the files are committed."""
import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

rng = np.random.default_rng(3)
genes = [f"g{i}" for i in range(6)]


def screen():
    """Two perturbations and control in two cell types of two donors, three cells each."""
    rows = [(p, t, d) for p in ["none", "p1", "p2"] for t in ["B", "T"] for d in ["x", "y"] for _ in range(3)]
    obs = pd.DataFrame(rows, columns=["drug", "type", "donor"], index=[f"c{i}" for i in range(len(rows))])
    x = rng.poisson(3, size=(len(rows), len(genes))).astype(np.float32)
    x[:, 0] += 1
    return ad.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=genes))


def write(name, data):
    data.obs = data.obs.astype("category")
    data.write_h5ad(f"{name}.h5ad")


good = screen()
write("good", good.copy())
write("no_cells", good[:0].copy())

zeros = good.copy()
zeros.X = sp.csr_matrix(zeros.shape, dtype=np.float32)
write("zeros", zeros)

unlabelled = good.copy()
unlabelled.obs["drug"] = pd.Series([None] * unlabelled.n_obs, index=unlabelled.obs_names, dtype=object)
write("unlabelled", unlabelled)

write("only_control", good[good.obs["drug"] == "none"].copy())
write("no_control", good[good.obs["drug"] != "none"].copy())
write("without_p2", good[good.obs["drug"] != "p2"].copy())
# Control cells share neither cell type nor donor with a perturbed cell.
write("lonely", good[((good.obs["drug"] == "none") & (good.obs["type"] == "B") & (good.obs["donor"] == "x"))
                     | ((good.obs["drug"] != "none") & (good.obs["type"] == "T") & (good.obs["donor"] == "y"))].copy())

other = good.copy()
other.var_names = ["g0", "h1", "h2", "h3", "h4", "g5"]
write("other_genes", other)

negative = good.copy()
x = negative.X.toarray()
x[7, 2] = -1
negative.X = sp.csr_matrix(x)
write("negative", negative)

infinite = good.copy()
x = infinite.X.toarray()
x[8, 3] = np.inf
infinite.X = sp.csr_matrix(x)
write("infinite", infinite)
