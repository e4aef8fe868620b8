"""Inputs of tests/cli/bad_input.sh that the program itself cannot write. Run in this folder:
    python make_fixtures.py [STORE]
Made with anndata 0.12; the files are committed. STORE: a cell store of good.h5ad (perturbdiff prepare -in good.h5ad -out store.h5
-perturbation_column drug -control none -genes all); without it foreign_store.h5 is left as it is."""
import shutil
import sys

import anndata as ad
import h5py
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
write("p2_of_t", good[(good.obs["drug"] != "p2") | (good.obs["type"] == "T")].copy())
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


def repack(file, name, number):
    """The data set again, as if compressed by an HDF5 filter of this number: an optional filter that is not there is passed over, but stays in the pipeline."""
    values = file[name][...]
    del file[name]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((len(values),))
    properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(values.shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(values.dtype), space, properties).write(space, space, values)


write("foreign", good.copy())
with h5py.File("foreign.h5ad", "r+") as file:
    attributes = dict(file["X/data"].attrs)
    repack(file, "X/data", 32015)
    file["X/data"].attrs.update(attributes)
if len(sys.argv) > 1:
    shutil.copy(sys.argv[1], "foreign_store.h5")
    with h5py.File("foreign_store.h5", "r+") as file:
        repack(file, "cells/value", 32001)

missing = good.copy()
x = missing.X.toarray()
x[9, 1] = np.nan
missing.X = sp.csr_matrix(x)
write("not_a_number", missing)

mixed = good.copy()
x = np.log1p(mixed.X.toarray())
x[10, 2] = 20.5
mixed.X = sp.csr_matrix(x)
write("mixed_scales", mixed)

write("one_control", good[(good.obs["drug"] != "none") | (np.arange(good.n_obs) == 0)].copy())

empty = good.copy()
empty.obs = empty.obs.astype("category")
empty.obs["drug"] = empty.obs["drug"].cat.add_categories("p3")
write("empty_group", empty)

embedded = good.copy()
embedded.obsm["X_broken"] = good.X.toarray()[:, :3]
embedded.obsm["X_broken"][4, 1] = np.nan
write("embedded", embedded)

write("no_matrix", ad.AnnData(obs=good.obs.copy(), var=good.var.copy()))
