#!/usr/bin/env python3
"""Write the AnnData files that tests/unit/anndata_read_mpi.c reads, with the anndata that is installed.

    python make_fixtures.py [FOLDER]     (default: the folder of this script)

Each version writes its own files; the prefix of a file's name says which one wrote it. The files kept here were written by

    v06_*   anndata 0.6.22   h5py 2.10.0   Python 3.8    pip install anndata==0.6.22 'pandas<1.0' 'numpy<1.20' 'scipy<1.6' 'h5py<3'
    v07_*   anndata 0.7.8    h5py 3.6.0    Python 3.8    pip install anndata==0.7.8 'pandas<1.4' 'numpy<1.22' 'scipy<1.8' 'h5py<3.7'
    v08_*   anndata 0.8.0    h5py 3.11.0   Python 3.8    pip install anndata==0.8.0 'pandas<1.6' 'numpy<1.24'
    v010_*  anndata 0.10.9   h5py 3.14.0   Python 3.9    pip install anndata==0.10.9 'numpy<2' 'pandas<2.3'
    v012_*  anndata 0.12.19  h5py 3.16.0   Python 3.11   pip install anndata==0.12.19

All files hold the same 12 x 7 matrix of small whole numbers (row 5 empty), in every matrix of the file; matrices of booleans
hold where it is not 0. `raw` holds it with one more gene that is 0 everywhere.
"""
import os
import sys
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

warnings.simplefilter("ignore")
try:
    from importlib.metadata import version
    VERSION = tuple(int(part) for part in version("anndata").split(".")[:2])
except ImportError:
    VERSION = tuple(int(part) for part in anndata.__version__.split(".")[:2])
PREFIX = "v%d%d_" % VERSION if VERSION[0] else "v0%d_" % VERSION[1]
FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
CELLS, GENES = 12, 7


def known_matrix():
    i, j = np.meshgrid(np.arange(CELLS), np.arange(GENES), indexing="ij")
    matrix = np.where((i * i + 3 * j) % 4 == 0, i + 2 * j + 1, 0)
    matrix[5] = 0
    return matrix


def columns():
    i = np.arange(CELLS)
    code = np.where(i % 4 == 3, -1, i % 4)
    frame = pd.DataFrame(index=["cell_%d" % k for k in i])
    frame["perturbation"] = pd.Categorical.from_codes(code, ["control", "IFN-\u03b2", "drug b"])
    frame["plate"] = pd.Categorical.from_codes(i % 2, [30, 5])
    frame["barcode"] = ["b%02d" % ((k * 5) % 12) for k in i]
    frame["donor"] = (i * 5) % 3 - 1
    frame["dose"] = np.array([0.1, 2.5, 10.0, np.nan])[i % 4]
    frame["dose32"] = np.array([0.1, 2.5, 10.0, np.nan], "float32")[i % 4]
    frame["treated"] = i % 2 == 1
    if VERSION >= (0, 9):
        frame["passage"] = pd.array([pd.NA if k % 3 == 2 else k % 3 + 4 for k in i], dtype="Int64")
        frame["cycling"] = pd.array([pd.NA if k % 3 == 2 else k % 3 == 1 for k in i], dtype="boolean")
    return frame


def genes():
    return pd.DataFrame({"mean": known_matrix().mean(0)}, index=["gene_%d" % j if j != 3 else "HLA-\u03b6" for j in range(GENES)])


def make(matrix, every_column=False):
    extra = {"dtype": matrix.dtype} if VERSION < (0, 9) else {}
    obs = columns() if every_column else columns()[["perturbation"]]
    return anndata.AnnData(matrix, obs=obs, var=genes(), **extra)


def save(data, name, **options):
    path = os.path.join(FOLDER, PREFIX + name + ".h5ad")
    data.write_h5ad(path, **options) if hasattr(data, "write_h5ad") else data.write(path, **options)
    print(os.path.getsize(path), path)
    return path


def with_raw(data):
    wide = np.hstack([known_matrix(), np.zeros((CELLS, 1), int)]).astype("float32")
    names = list(data.var_names) + ["extra"]
    extra = {"dtype": wide.dtype} if VERSION < (0, 9) else {}
    data.raw = anndata.AnnData(sp.csr_matrix(wide), obs=data.obs[[]].copy(), var=pd.DataFrame(index=names), **extra)
    return data


def plain():
    known = known_matrix().astype("float32")
    save(with_raw(make(sp.csr_matrix(known))), "csr_raw")
    path = save(make(known, every_column=True), "dense")
    if VERSION >= (0, 12):
        # write_h5ad makes categories of strings; as nullable strings they are written only one by one.
        anndata.settings.allow_write_nullable_strings = True
        guide = pd.array([pd.NA if k % 4 == 3 else "g%02d" % ((k * 5) % 12) for k in range(CELLS)], dtype="string")
        with h5py.File(path, "r+") as file:
            anndata.io.write_elem(file["obs"], "guide", guide)
            file["obs"].attrs["column-order"] = list(file["obs"].attrs["column-order"]) + ["guide"]
    if VERSION != (0, 10):
        save(make(known), "dense_lzf", compression="lzf")
    if VERSION in [(0, 6), (0, 10)]:
        save(make(sp.csr_matrix(known.astype("float64"))), "csr_gzip", compression="gzip")
    if VERSION >= (0, 7):
        save(make(sp.csc_matrix(known)), "csc")


def layers():
    """One matrix of every type and form in layers and obsm."""
    known = known_matrix()
    data = make(known.astype("float64"))
    for kind in ["float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]:
        data.layers[kind] = known.astype(kind)
    save(data, "dense_types")
    data = make(sp.csc_matrix(known.astype("int32")))
    for kind in ["int8", "float64", "bool"]:
        data.layers[kind] = sp.csr_matrix(known.astype(kind))
        data.layers["csc_" + kind] = sp.csc_matrix(known.astype(kind))
    save(data, "sparse_types")

    data = make(sp.csr_matrix((CELLS, GENES), dtype="float32"))
    data.var["highly_variable"] = True
    data.obsm["X_hvg"] = known.astype("float32")
    data.obsm["sparse"] = sp.csr_matrix(known.astype("float32"))
    data.obsm["scores"] = pd.DataFrame(known, index=data.obs_names, columns=["score %d" % j for j in range(GENES)])
    data.obsm["five"] = known[:, :5].astype("float32")
    data.uns["X_five_names"] = np.array(["a", "b"])
    save(data, "obsm")


def disorder():
    """Entries of a row in descending order, one of them in two parts, zeros kept, 64-bit indices; small chunks."""
    known = known_matrix().astype("float32")
    indptr, indices, values = [0], [], []
    for row in known:
        for j in reversed(range(GENES)):
            if row[j] > 1:
                indices += [j, j]
                values += [row[j] - 1, 1]
            elif row[j] == 1 or j % 3 == 0:
                indices.append(j)
                values.append(row[j])
        indptr.append(len(indices))
    path = save(make(sp.csr_matrix(known)), "disorder")
    transposed = sp.csr_matrix((values, indices, indptr), shape=known.shape).tocoo(copy=False)
    with h5py.File(path, "r+") as file:
        for name, contents in [("indptr", np.array(indptr, "int64")), ("indices", np.array(indices, "int64")), ("data", np.array(values, "float32"))]:
            del file["X"][name]
            file["X"].create_dataset(name, data=contents, chunks=(5,), compression="lzf", shuffle=True)
        # The same in columns: by column, rows descending, the two parts side by side.
        order = np.lexsort((-transposed.row, transposed.col))
        group = file["layers"].create_group("csc")
        for name, value in file["X"].attrs.items():
            group.attrs[name] = value
        group.attrs["encoding-type"] = "csc_matrix"
        pointers = np.concatenate([[0], np.cumsum(np.bincount(transposed.col, minlength=GENES))])
        for name, contents in [("indptr", pointers), ("indices", transposed.row[order]), ("data", transposed.data[order])]:
            group.create_dataset(name, data=contents)
        # Dense, chunked so that neither rows nor columns are whole in a chunk.
        dense = file["layers"].create_dataset("chunked", data=known, chunks=(5, 3), compression="gzip", shuffle=True, fletcher32=True)
        dense.attrs["encoding-type"], dense.attrs["encoding-version"] = "array", "0.2.0"
        dense = file["layers"].create_dataset("big_endian", data=known.astype(">f8"))
        dense.attrs["encoding-type"], dense.attrs["encoding-version"] = "array", "0.2.0"


plain()
if VERSION >= (0, 12):
    layers()
    disorder()
