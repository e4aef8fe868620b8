"""Numbers of scipy and numpy that tests/unit/analyses_test.c compares with: python make_reference.py > reference.h"""
import numpy
from scipy import stats

rng = numpy.random.default_rng(11)
CELLS, CONTROLS, G = 40, 60, 30
shift = numpy.r_[numpy.full(8, 1.5), numpy.zeros(22)]
population = numpy.round(numpy.log1p(rng.poisson(1.5 + shift, size=(CELLS, G))), 4)
control = numpy.round(numpy.log1p(rng.poisson(1.5, size=(CONTROLS, G))), 4)


def array(name, values, kind="double"):
    print(f"static const {kind} {name}[] = {{{', '.join(repr(v.item()) for v in numpy.ravel(values))}}};")


print("/* Made by tests/data/analyses/make_reference.py. */")
print(f"enum {{ CELLS = {CELLS}, CONTROLS = {CONTROLS}, G = {G}, UNITS = 12 }};")
array("population", population)
array("control", control)
test = stats.mannwhitneyu(population, control, method="asymptotic", use_continuity=True)
fdr = stats.false_discovery_control(test.pvalue)
array("p_value", test.pvalue)
array("fdr", fdr)
score = -numpy.log10(test.pvalue) * numpy.sign(test.statistic - CELLS * CONTROLS / 2)
array("score", score)
sets = [[0, 1, 2, 3, 4, 20], [10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 25]]
significant = fdr < 0.05
overlap = numpy.array([significant[s].sum() for s in sets])
array("overlap", overlap, "int")
array("log_p", numpy.array([stats.hypergeom.logsf(k - 1, G, len(s), significant.sum()) for k, s in zip(overlap, sets)]))
array("enrichment", numpy.array([k / significant.sum() / (len(s) / G) for k, s in zip(overlap, sets)]))
u = [stats.mannwhitneyu(score[s], numpy.delete(score, s)).statistic for s in sets]
array("effect", numpy.array([2 * x / (len(s) * (G - len(s))) - 1 for x, s in zip(u, sets)]))

# A model of two runs and two baselines over 12 perturbations.
model = rng.normal(0.4, 0.5, size=(2, 12))
baseline = rng.normal(0, 0.5, size=(2, 12))
array("model_scores", numpy.vstack([model, baseline]))
best = baseline[numpy.argmax(baseline.mean(1))]
difference = model.mean(0) - best
array("comparison", numpy.array([model.mean(), model.mean(1).std(ddof=1), difference.mean(), stats.wilcoxon(difference, method="exact").pvalue,
                                  difference.std(ddof=0) / numpy.sqrt(12)]))
