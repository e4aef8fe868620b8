#!/usr/bin/env python3
"""Statistics and exact permutation p-values of small populations by numpy and scipy, as C arrays: make_tests.py > tests.h

Two blocks (batches) of 3 + 3 and 2 + 4 cells, 20 x 15 = 300 labellings: all of them are summed, which random permutations approach. One block of 4 + 5 cells
for scipy.stats.permutation_test (exact, 126 labellings)."""
import itertools

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

rng = np.random.default_rng(7)
H = 2.5


def sums(matrix, treated, unbiased):
    a = np.zeros(len(matrix))
    a[list(treated)] = 1
    b = 1 - a
    m = matrix - np.diag(np.diag(matrix)) if unbiased else matrix
    n, k = a.sum(), b.sum()
    return a @ m @ a / (n * (n - unbiased)) + b @ m @ b / (k * (k - unbiased)) - 2 * (a @ m @ b) / (n * k)


def statistics(x, treated):
    d = cdist(x, x)
    gauss, norm = np.exp(-d * d / (2 * H * H)), np.linalg.norm(x, axis=1)
    energy = (norm[:, None] + norm[None] - d) / 2
    return [-sums(d, treated, 0), sums(gauss, treated, 0), sums(gauss, treated, 1), sums(energy, treated, 1)]


def p_values(x, labellings, observed):
    truth = statistics(x, observed)
    every = np.array([statistics(x, t) for t in labellings])
    return truth, [(every[:, k] >= truth[k] - 1e-12).mean() for k in range(len(truth))]


def show(name, values):
    print(f"static const double {name}[] = {{{', '.join(repr(float(v)) for v in np.ravel(values))}}};")


print("/* Made by make_tests.py. */")
blocked = rng.normal(size=(12, 4))
blocked[[0, 1, 2, 6, 7]] += 0.9
choices = [a + b for a in itertools.combinations(range(6), 3) for b in itertools.combinations(range(6, 12), 2)]
truth, p = p_values(blocked, choices, (0, 1, 2, 6, 7))
show("blocked_cells", blocked)
show("blocked_statistics", truth)
show("blocked_p", p)

pooled = rng.normal(size=(9, 4))
pooled[:4] += 0.8


def energy(i, j, axis=-1):
    i, j = np.asarray(i, int), np.asarray(j, int)
    d = cdist(pooled, pooled)
    return 2 * d[np.ix_(i, j)].mean() - d[np.ix_(i, i)].mean() - d[np.ix_(j, j)].mean()


test = stats.permutation_test((np.arange(4), np.arange(4, 9)), energy, permutation_type="independent", alternative="greater", n_resamples=np.inf, vectorized=False)
show("pooled_cells", pooled)
show("pooled_energy", [test.statistic, test.pvalue])
p = rng.uniform(size=12) ** 2
show("many_p", p)
show("many_fdr", stats.false_discovery_control(p))
