#!/usr/bin/env python3
"""Small AnnData pairs with awkward cells, and cell-eval's tables of them (cell-eval 0.8.2, pdex 0.3.0).

    NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" python make_cases.py DIR [CASE ...]

With AVX-512 numpy's log1p of single precision differs from the C library's in the last bit: values of counts that are equal with the one are not with the other,
and ranks move by halves.

Each case is a folder of real.h5ad, predicted.h5ad and the tables that cell-eval makes of them (all perturbations in column "perturbation", control label
"control"), as tests/evaluate_parity reads them; options.txt holds further options of both programs; files that begin with "given" are such options' inputs.
"""
import os
import sys

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp


def cells(rng, labels, genes, effects, density=0.35, levels=None):
    """log1p values; levels: only that many distinct ones, so that ties abound."""
    x = rng.gamma(1.5, 0.8, (len(labels), genes)) * (rng.random((len(labels), genes)) < density)
    for k, label in enumerate(labels):
        x[k] *= effects.get(label, np.ones(genes))
    if levels:
        x = np.round(x * levels) / levels + (x > 0) * 0.001953125
    return np.minimum(x, 11).astype(np.float32)  # values of log1p


def write(path, x, labels, names, sparse=True, categories=None):
    a = ad.AnnData(sp.csr_matrix(x) if sparse else x, obs=pd.DataFrame({"perturbation": pd.Categorical(labels, categories=categories)},
                                                                       index=[f"cell{i}" for i in range(len(labels))]),
                   var=pd.DataFrame(index=names))
    a.write_h5ad(path, compression="gzip")


def effects_of(rng, perturbations, genes, strength, share=0.3):
    return {p: np.where(rng.random(genes) < share, np.exp(rng.normal(0, strength, genes)), 1) for p in perturbations}


def ugly(rng, folder, sparse=True):
    """Ties, constant and silent genes, genes that one side alone expresses, a group of one cell, perturbations without a significant gene."""
    names = [f"G{g}" for g in range(40)] + ["strong", "lone"]
    perturbations = ["strong", "lone", "none", "Weak", "zz same", "p,quoted"]
    sizes = {"strong": 60, "lone": 1, "none": 20, "Weak": 25, "zz same": 40, "p,quoted": 33, "control": 80}
    real = effects_of(rng, ["strong", "Weak", "p,quoted"], 42, 1.5)
    predicted = {p: real[p] * np.exp(rng.normal(0, 0.4, 42)) for p in real}
    for file, effects in (("real", real), ("predicted", predicted)):
        labels = np.array([p for p in sizes for _ in range(sizes[p] + (file == "predicted") * (p != "lone") * 3)])
        rng.shuffle(labels)
        x = cells(rng, labels, 42, effects, levels=4)
        x[:, 3] = 0  # silent
        x[:, 4] = 1.25  # constant
        x[labels == "control", 5:12] = 0  # infinite fold changes, tied
        x[labels == "strong", 12:16] = 0
        x[labels == "zz same"] = x[np.flatnonzero(labels == "control")[: (labels == "zz same").sum()]]
        write(f"{folder}/{file}.h5ad", x, labels, names, sparse)


def dense(rng, folder):
    """The same in a dense matrix."""
    ugly(rng, folder, sparse=False)


def quiet(rng, folder):
    """No significant gene anywhere: metrics without a number have no column."""
    names = [f"G{g}" for g in range(25)]
    labels = np.repeat(["control", "a", "b", "c"], [30, 12, 9, 5])
    for file in ("real", "predicted"):
        write(f"{folder}/{file}.h5ad", cells(rng, labels, 25, {}), labels, names)


def two(rng, folder):
    """One perturbation: no correlation over perturbations; categories in an order of their own."""
    names = [f"G{g}" for g in range(30)]
    effects = effects_of(rng, ["a"], 30, 1.2)
    for file in ("real", "predicted"):
        labels = np.repeat(["a", "control"], [30, 50])
        write(f"{folder}/{file}.h5ad", cells(rng, labels, 30, effects), labels, names, categories=["control", "a"])


def order(rng, folder):
    """Categories that are not sorted, many weak effects, lists shorter and longer than 50."""
    names = [f"G{g}" for g in range(160)]
    perturbations = ["m", "b", "z", "a", "K"]
    effects = effects_of(rng, perturbations, 160, 0.8, share=0.8)
    for file, noise in (("real", 0), ("predicted", 0.3)):
        labels = np.array([p for k, p in enumerate(perturbations + ["control"]) for _ in range(30 + 15 * k)])
        mine = {p: effects[p] * np.exp(rng.normal(0, noise, 160)) for p in perturbations}
        write(f"{folder}/{file}.h5ad", cells(rng, labels, 160, mine, density=0.6), labels, names, categories=["z", "control", "a", "m", "K", "b"])


def counts(rng, folder):
    """Whole numbers: brought to the median of the file and log1p."""
    names = [f"G{g}" for g in range(50)]
    effects = effects_of(rng, ["a", "b", "c"], 50, 1)
    labels = np.repeat(["a", "b", "c", "control"], [40, 30, 20, 70])
    for file in ("real", "predicted"):
        depth = rng.gamma(4, 1, len(labels))[:, None]
        mean = np.stack([effects.get(p, np.ones(50)) for p in labels]) * rng.gamma(1, 2, 50)[None] * depth
        write(f"{folder}/{file}.h5ad", rng.poisson(mean).astype(np.float32), labels, names)


def filtered(rng, folder):
    """Genes below a number of counts per million are dropped."""
    order(rng, folder)
    for file in ("real", "predicted"):
        a = ad.read_h5ad(f"{folder}/{file}.h5ad")
        x = a.X.toarray()
        x[:, :60] *= (rng.random((a.n_obs, 60)) < 0.03).astype(np.float32)
        a.X = sp.csr_matrix(x)
        a.write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")
    return {"cpm_filter": 600.0}


def embedded(rng, folder):
    """Discrimination on a matrix of obsm."""
    order(rng, folder)
    for file in ("real", "predicted"):
        a = ad.read_h5ad(f"{folder}/{file}.h5ad")
        a.obsm["X_pca"] = np.asarray(a.X @ np.random.default_rng(5).normal(size=(160, 6)), dtype=np.float32)
        a.write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")
    return {"embedding": "X_pca"}


def double(rng, folder):
    """A matrix in double precision."""
    order(rng, folder)
    for file in ("real", "predicted"):
        a = ad.read_h5ad(f"{folder}/{file}.h5ad")
        a.X = sp.csr_matrix(a.X.astype(np.float64) * 1.1)
        a.write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")


def precomputed(rng, folder):
    """Tables of differential expression given: rows in another order, genes left out, false discovery rates that are not those of the cells."""
    from pdex import pdex

    order(rng, folder)
    for file, side in (("real", "real_de"), ("predicted", "predicted_de")):
        table = pdex(ad.read_h5ad(f"{folder}/{file}.h5ad"), groupby="perturbation", mode="ref", reference="control", is_log1p=True, epsilon=0.0, threads=1)
        table = table.to_pandas()
        table["fdr"] = np.minimum(1, table["fdr"] * rng.lognormal(0, 1, len(table)))
        table = table[~table["feature"].isin([f"G{g}" for g in range(0, 160, 7)])]
        table.sort_values(["target", "feature"], ascending=[False, True]).to_csv(f"{folder}/given_{side}.csv", index=False)
    return {"real_de": "given_real_de.csv", "predicted_de": "given_predicted_de.csv"}


def typed(rng, folder):
    """A set of tables for each cell type, which do not have the same perturbations; a name with a slash."""
    names = [f"G{g}" for g in range(60)]
    effects = effects_of(rng, ["a", "b", "c"], 60, 1)
    parts = [("a", "CD4+T", 25), ("b", "CD4+T", 20), ("control", "CD4+T", 40), ("a", "NK/ILC", 18), ("c", "NK/ILC", 22), ("b", "NK/ILC", 1), ("control", "NK/ILC", 30)]
    for file, noise in (("real", 0), ("predicted", 0.3)):
        rows = rng.permutation(np.repeat(np.arange(len(parts)), [n for _, _, n in parts]))
        labels, types = (np.array([parts[r][k] for r in rows]) for k in (0, 1))
        mine = {p: effects[p] * np.exp(rng.normal(0, noise, 60)) for p in effects}
        x = cells(rng, labels, 60, mine, density=0.6)
        x[types == "CD4+T", :20] *= 0.5
        obs = pd.DataFrame({"perturbation": pd.Categorical(labels), "cell_type": pd.Categorical(types)}, index=[f"cell{i}" for i in range(len(labels))])
        ad.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=names)).write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")
    return {"cell_type_column": "cell_type"}


def typed_counts(rng, folder):
    """Counts are brought to the median of their cell type."""
    typed(rng, folder)
    for file in ("real", "predicted"):
        a = ad.read_h5ad(f"{folder}/{file}.h5ad")
        depth = np.where(a.obs["cell_type"] == "CD4+T", 3, 8)[:, None] * rng.gamma(4, 0.5, (a.n_obs, 1))
        a.X = sp.csr_matrix(rng.poisson(a.X.toarray() * depth).astype(np.float32))
        a.write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")
    return {"cell_type_column": "cell_type"}


def near_control(rng, folder):
    """Weak effects on few levels of value: energy distances are small differences of large means."""
    names = [f"G{g}" for g in range(500)]
    perturbations = [f"p{k}" for k in range(7)]
    effects = effects_of(rng, perturbations, 500, 0.35, share=0.2)
    base = rng.gamma(1, 2, 500) + 3
    for file, noise in (("real", 0), ("predicted", 0.1)):
        labels = np.array([p for p in [*perturbations, "control"] for _ in range(36 if p != "control" else 90)])
        mean = np.stack([base * effects.get(p, np.ones(500)) for p in labels]) * np.exp(noise * rng.normal(size=(1, 500)))
        write(f"{folder}/{file}.h5ad", np.log1p(rng.poisson(mean) * 1.37).astype(np.float32), labels, names)


def few(rng, folder):
    """Two perturbations, fewer than ranks that share them."""
    names = [f"G{g}" for g in range(50)]
    effects = effects_of(rng, ["a", "b"], 50, 1.2)
    for file, noise in (("real", 0), ("predicted", 0.3)):
        labels = np.repeat(["a", "b", "control"], [30, 21, 50])
        write(f"{folder}/{file}.h5ad", cells(rng, labels, 50, {p: effects[p] * np.exp(rng.normal(0, noise, 50)) for p in effects}), labels, names)


def double_close(rng, folder):
    """Values of the two groups that only double precision tells apart: in single precision they would be ties."""
    names = [f"G{g}" for g in range(30)]
    effects = effects_of(rng, ["a", "b"], 30, 0.5)
    for file, noise in (("real", 0), ("predicted", 0.3)):
        labels = np.repeat(["a", "b", "control"], [25, 20, 40])
        x = cells(rng, labels, 30, {p: effects[p] * np.exp(rng.normal(0, noise, 30)) for p in effects}, density=0.7, levels=8).astype(np.float64)
        x *= 1 + 1e-9 * rng.integers(-3, 4, x.shape)
        write(f"{folder}/{file}.h5ad", x, labels, names, sparse=file == "real")


def double_counts(rng, folder):
    """Counts in double precision are normalised in double precision: 1 of 1000 and 3 of 3000 may differ in the last bit."""
    counts(rng, folder)
    for file in ("real", "predicted"):
        a = ad.read_h5ad(f"{folder}/{file}.h5ad")
        a.X = sp.csc_matrix(a.X.astype(np.float64)) if file == "real" else a.X.astype(np.float64)
        a.write_h5ad(f"{folder}/{file}.h5ad", compression="gzip")


# cell-eval keeps a metric's configuration for the rest of the process: embedded comes last.
CASES = [ugly, dense, quiet, two, order, counts, filtered, double, precomputed, typed, typed_counts, near_control, few, double_close, double_counts, embedded]
SEEDS = {case: 100 + number for number, case in enumerate([ugly, dense, quiet, two, order, counts, filtered, double, embedded, precomputed, typed, typed_counts, near_control, few, double_close, double_counts])}


def run(folder, options):
    from cell_eval import MetricsEvaluator
    from cell_eval.utils import split_anndata_on_celltype

    pairs = {None: (f"{folder}/predicted.h5ad", f"{folder}/real.h5ad")}
    if "cell_type_column" in options:
        predicted, real = (split_anndata_on_celltype(ad.read_h5ad(path), options["cell_type_column"]) for path in pairs[None])
        pairs = {cell_type: (predicted[cell_type], real[cell_type]) for cell_type in real}
    given = {ours: f"{folder}/{options[theirs]}" for ours, theirs in (("de_real", "real_de"), ("de_pred", "predicted_de")) if theirs in options}
    for prefix, (predicted, real) in pairs.items():
        evaluator = MetricsEvaluator(predicted, real, control_pert="control", pert_col="perturbation", num_threads=1, outdir=folder, prefix=prefix, **given,
                                     pdex_kwargs={"cpm_filter": options.get("cpm_filter"), "epsilon": 0.0})
        configs = {m: {"embed_key": options["embedding"]} for m in ("discrimination_score_l2", "discrimination_score_cosine")} if "embedding" in options else {}
        evaluator.compute(profile="full", metric_configs=configs, skip_metrics=["clustering_agreement"])
    with open(f"{folder}/options.txt", "w") as stream:
        stream.write("".join(f"-{k} {v} " for k, v in options.items()))


if __name__ == "__main__":
    for case in CASES:
        if len(sys.argv) > 2 and case.__name__ not in sys.argv[2:]:
            continue
        folder = f"{sys.argv[1]}/{case.__name__}"
        os.makedirs(folder, exist_ok=True)
        run(folder, case(np.random.default_rng(SEEDS[case]), folder) or {})
