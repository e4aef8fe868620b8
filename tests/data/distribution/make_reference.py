"""Numbers of numpy, scipy and scikit-learn that tests/unit/distribution_test.c compares with: python make_reference.py > reference.h"""
from itertools import combinations

import numpy
from scipy.spatial.distance import cdist, pdist
from scipy.stats import wasserstein_distance
from sklearn.linear_model import LogisticRegression

rng = numpy.random.default_rng(7)
N, M, G = 31, 24, 12


def cells(count, shift):
    x = numpy.log1p(rng.poisson(rng.gamma(2, 0.6 + shift * numpy.arange(G) / G, size=(count, G))))
    x[:, 5] = 0.25  # a gene that never varies
    return numpy.round(x, 4)


def array(name, values, kind="double", text=lambda v: repr(float(v))):
    print(f"static const {kind} {name}[] = {{{', '.join(text(v) for v in numpy.ravel(values))}}};")


def number(name, value):
    print(f"static const double {name} = {float(value)!r};")


def energy(x, y):
    return 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()


def marginal(x, y):
    return numpy.mean([wasserstein_distance(x[:, g], y[:, g]) for g in range(x.shape[1])])


def exact_p(x, y, statistic):
    both, n = numpy.vstack([x, y]), len(x)
    observed, count, larger = statistic(x, y), 0, 0
    for chosen in combinations(range(len(both)), n):
        inside = numpy.isin(numpy.arange(len(both)), chosen)
        larger += statistic(both[inside], both[~inside]) >= observed - 1e-12
        count += 1
    return larger / count


x, y = cells(N, 0), cells(M, 1)
y[:, 8] = 0
print("/* Made by tests/data/distribution/make_reference.py. */")
print(f"enum {{ N = {N}, M = {M}, G = {G}, FEW = 6 }};")
array("real", x)
array("predicted", y)
number("energy", energy(x, y))
h = numpy.median(pdist(x))


def kernel(a, b):
    return numpy.mean([numpy.exp(-cdist(a, b) ** 2 / (2 * (f * h) ** 2)) for f in (0.25, 0.5, 1, 2, 4)], axis=0).mean()


number("mmd", kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
array("wasserstein", [wasserstein_distance(x[:, g], y[:, g]) for g in range(G)])
number("zeros_real", (x == 0).mean())
number("zeros_predicted", (y == 0).mean())
number("zeros_difference", abs((x == 0).mean(0) - (y == 0).mean(0)).mean())
varies = x.std(0) > 0
number("variance_ratio", numpy.median(y.var(0, ddof=1)[varies] / x.var(0, ddof=1)[varies]))
with numpy.errstate(invalid="ignore", divide="ignore"):
    cx, cy = (numpy.nan_to_num(numpy.corrcoef(z[:, varies].T)) for z in (x, y))
upper = numpy.triu_indices(varies.sum(), 1)
number("correlation", numpy.sqrt(((cx - cy)[upper] ** 2).mean()))

few_x, few_y = x[:6], y[:6]
number("energy_exact_p", exact_p(few_x, few_y, energy))
number("wasserstein_exact_p", exact_p(few_x, few_y, marginal))

both, label = numpy.vstack([x, y]), numpy.r_[numpy.ones(N), numpy.zeros(M)]
fold = numpy.arange(N + M) % 5
decision = numpy.zeros(N + M)
for k in range(5):
    model = LogisticRegression(C=1.0, tol=1e-12, max_iter=100000, solver="newton-cholesky").fit(both[fold != k], label[fold != k])
    decision[fold == k] = model.decision_function(both[fold == k])
array("decision", decision)

# Coverage: draws of 9 cells around the real mean; the energy distance of each population to the mixture of the others.
draws = [cells(9, 0.2 * d) for d in range(6)]
array("draw", draws)
means = numpy.array([d.mean(0) for d in draws])
moves = means.max(0) > means.min(0)
for level in (50, 90):
    low, high = numpy.quantile(means, [0.5 - level / 200, 0.5 + level / 200], axis=0)
    inside = (x.mean(0) >= low) & (x.mean(0) <= high)
    number(f"coverage_{level}", inside[moves].mean())
populations = [x] + draws
far = []
for a, population in enumerate(populations):
    rest = [q for b, q in enumerate(populations) if b != a]
    across = numpy.mean([cdist(population, q).mean() for q in rest])
    within = numpy.mean([[cdist(p, q).mean() for q in rest] for p in rest])
    far.append(2 * across - cdist(population, population).mean() - within)
number("coverage_p", (1 + sum(f >= far[0] for f in far[1:])) / 7)
