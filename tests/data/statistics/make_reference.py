"""Numbers of scipy and scikit-learn, and of exact fractions, that tests/unit/statistics_test.c compares with: python make_reference.py > reference.h"""
from fractions import Fraction
from math import comb

import numpy
from mpmath import mp, mpf
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

mp.dps = 60


def array(name, values):
    print(f"static const double {name}[] = {{{', '.join(repr(float(v)) for v in values)}}};")


def tail(k, n, marked, drawn):
    top = min(marked, drawn)
    total = sum(comb(marked, j) * comb(n - marked, drawn - j) for j in range(k, top + 1))
    return mp.log(mpf(total) / mpf(comb(n, drawn)))


cases = [(3, 20, 7, 8), (1, 20, 7, 8), (8, 20, 9, 8), (40, 2000, 150, 120), (2, 2000, 150, 120), (60, 20000, 200, 300), (150, 20000, 200, 300),
         (200, 20000, 200, 300), (5, 30000, 2000, 900), (60, 30000, 2000, 900), (61, 30000, 2000, 900), (400, 30000, 2000, 900), (250, 18080, 500, 500)]
print("/* Made by tests/data/statistics/make_reference.py. */")
print("static const struct { int overlap, total, marked, drawn; double log_tail; } hypergeometric[] = {")
for k, n, marked, drawn in cases:
    exact = tail(k, n, marked, drawn)
    scipy = stats.hypergeom.logsf(k - 1, n, marked, drawn)
    assert abs(scipy - float(exact)) < 1e-7 or float(exact) < -600, (k, n, marked, drawn, scipy, exact)
    print(f"  {{{k}, {n}, {marked}, {drawn}, {mp.nstr(exact, 20)}}},")
print("};")

rng = numpy.random.default_rng(1)
x = numpy.round(rng.normal(size=40), 1)
y = numpy.round(0.6 * x + rng.normal(size=40), 1)
array("sample_x", x)
array("sample_y", y)
print(f"static const double spearman_xy = {float(stats.spearmanr(x, y).statistic)!r};")
index = numpy.array([0, 3, 5, 8, 13, 21, 34])
rest = numpy.setdiff1d(numpy.arange(40), index)
plain = stats.mannwhitneyu(x[index], x[rest], method="asymptotic", use_continuity=True)
print(f"static const double rank_sum_p = {float(plain.pvalue)!r}, rank_sum_u = {float(plain.statistic)!r};")

# Barry, Nobel and Wright (2008) as limma's rankSumTestWithCorrelation states it, in 60 digits.
ranks = [mpf(float(r)) for r in stats.rankdata(x)]
n, n1 = mpf(40), mpf(7)
n2 = n - n1
rho = mpf("0.01")
u = sum(ranks[i] for i in index) - n1 * (n1 + 1) / 2
s2 = (mp.asin(1) * n1 * n2 + mp.asin(mpf(1) / 2) * n1 * n2 * (n2 - 1) + mp.asin(rho / 2) * n1 * (n1 - 1) * n2 * (n2 - 1)
      + mp.asin((rho + 1) / 2) * n1 * (n1 - 1) * n2) / 2 / mp.pi
counts = numpy.unique(x, return_counts=True)[1]
s2 *= 1 - sum(mpf(int(c)) * (int(c) + 1) * (int(c) - 1) for c in counts) / (n * (n + 1) * (n - 1))
z = (abs(u - n1 * n2 / 2) - mpf(1) / 2) / mp.sqrt(s2)
print(f"static const double correlated_log_p = {mp.nstr(mp.log(mp.erfc(z / mp.sqrt(2))), 20)};")
print("static const double normal_tail[][2] = {")
for z in (-3, 0, 1.5, 8, 24.9, 25.1, 38, 300):
    print(f"  {{{z}, {mp.nstr(mp.log(mp.erfc(mpf(z) / mp.sqrt(2)) / 2), 20)}}},")
print("};")

d = rng.normal(0.3, 1, size=25)
array("untied", d)
w = stats.wilcoxon(d, method="exact")
print(f"static const double untied_w = {float(w.statistic)!r}, untied_p = {float(w.pvalue)!r};")
few = numpy.array([1.0, -1.0, 2.0, 2.0, 3.0, 0.5, -0.5, 4.0, 0.0, 2.0])
array("tied", few)
nonzero = few[few != 0]
rank = stats.rankdata(abs(nonzero))
low = min(rank[nonzero > 0].sum(), rank[nonzero < 0].sum())
sums = numpy.array([sum(r for b, r in enumerate(rank) if s >> b & 1) for s in range(2 ** len(rank))])
p = min(Fraction(1), 2 * Fraction(int((sums <= low).sum()), len(sums)))
print(f"static const double tied_w = {float(low)!r}, tied_p = {float(p)!r};")
many = numpy.round(rng.normal(0.15, 1, size=150), 1)
many = many[many != 0]
array("many", many)
w = stats.wilcoxon(many, method="approx", correction=False)
print(f"static const double many_w = {float(w.statistic)!r}, many_p = {float(w.pvalue)!r};")

score = numpy.round(rng.normal(size=60), 1)
label = (score + rng.normal(size=60) > 0.3).astype(int)
array("score", score)
print(f"static const unsigned char label[] = {{{', '.join(map(str, label))}}};")
print(f"static const double roc = {float(roc_auc_score(label, score))!r}, precision_recall = {float(average_precision_score(label, score))!r};")
print(f"static const double quantile_x[] = {{{', '.join(repr(float(q)) for q in numpy.quantile(x, [0.025, 0.5, 0.975]))}}};")
