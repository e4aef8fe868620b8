#!/usr/bin/env python3
"""Columns whose lists of genes end among equal fold changes, so that cell-eval's depend on an unstable sort: one a line.

    python ties.py FOLDER                       FOLDER has cell-eval's tables (live.py)
"""
import glob
import sys

import numpy as np
import pandas as pd


def significant(path):
    """Sizes of the significant fold changes of each target, descending; cell-eval compares them in single precision."""
    table = pd.read_csv(path, dtype={"target": str, "feature": str})
    table = table[table["fdr"].astype(np.float32) < np.float32(0.05)]
    return {target: np.sort(np.abs(rows["log2_fold_change"].to_numpy(dtype=np.float32)))[::-1] for target, rows in table.groupby("target")}


def cut_in_tie(size, k):
    return 0 < k < len(size) and size[k - 1] == size[k]


def tied_columns(folder):
    for path in glob.glob(f"{folder}/*real_de.csv"):
        if path.endswith("given_real_de.csv"):
            continue
        real, predicted = significant(path), significant(path.replace("real_de.csv", "pred_de.csv"))
        for target in set(real) & set(predicted):
            lists = real[target], predicted[target]
            for name, owner in (("overlap", 0), ("precision", 1)):
                for k in ("N", 50, 100, 200, 500):
                    cut = len(lists[owner]) if k == "N" else min(k, len(lists[owner]))
                    if any(cut_in_tie(size, cut) for size in lists):
                        yield f"{name}_at_{k}"


if __name__ == "__main__":
    print("\n".join(sorted(set(tied_columns(sys.argv[1])))))
