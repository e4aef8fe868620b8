#!/usr/bin/env python3
"""cell-eval on DIR/real.h5ad and DIR/predicted.h5ad RUNS times in one process: seconds of each (the first compiles), all metrics but clustering.

    python cell_eval_time.py DIR OUT RUNS
"""
import logging
import sys
import time

from cell_eval import MetricsEvaluator

logging.disable(logging.CRITICAL)
folder, out, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(runs):
    start = time.time()
    evaluator = MetricsEvaluator(f"{folder}/predicted.h5ad", f"{folder}/real.h5ad", control_pert="control", pert_col="perturbation", outdir=out)
    evaluator.compute(profile="full", skip_metrics=["clustering_agreement"])
    print(f"cell-eval {time.time() - start:.2f} s", flush=True)
