/* Ranks, tests and adjusted p-values. */
#include <math.h>
#include <perturbdiff/evaluation/statistics.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>

static PetscErrorCode sort_ranked(PetscInt n, const double *x, Ranked **sorted)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, sorted));
  for (PetscInt i = 0; i < n; i++) (*sorted)[i] = (Ranked){x[i], i};
  sort_smallest_first(n, *sorted);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode average_ranks(PetscInt n, const double *x, double *rank, double *ties)
{
  Ranked *sorted;
  double  sum = 0;

  PetscFunctionBeginUser;
  PetscCall(sort_ranked(n, x, &sorted));
  for (PetscInt i = 0, j; i < n; i = j) {
    for (j = i + 1; j < n && sorted[j].value == sorted[i].value;) j++;
    const double t = (double)(j - i);
    sum += t * t * t - t;
    for (PetscInt k = i; k < j; k++) rank[sorted[k].index] = 0.5 * (double)(i + j + 1);
  }
  if (ties) *ties = sum;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double pearson_correlation(PetscInt64 n, const double *x, const double *y)
{
  double    mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  PetscBool x_varies = PETSC_FALSE, y_varies = PETSC_FALSE;

  for (PetscInt64 i = 0; i < n; i++) {
    mean_x += x[i] / (double)n;
    mean_y += y[i] / (double)n;
    if (x[i] != x[0]) x_varies = PETSC_TRUE;
    if (y[i] != y[0]) y_varies = PETSC_TRUE;
  }
  for (PetscInt64 i = 0; i < n; i++) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return x_varies && y_varies ? PetscMax(-1, PetscMin(1, xy / (sqrt(xx) * sqrt(yy)))) : NAN;
}

PetscErrorCode spearman_correlation(PetscInt n, const double *x, const double *y, double *correlation)
{
  double  *a, *b;
  PetscInt used = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &a, n, &b));
  for (PetscInt i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    a[used] = x[i];
    b[used++] = y[i];
  }
  PetscCall(average_ranks(used, a, a, NULL));
  PetscCall(average_ranks(used, b, b, NULL));
  *correlation = pearson_correlation(used, a, b);
  PetscCall(PetscFree2(a, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- hypergeometric distribution ------------------------------------------------------------------------------------------------- */

/* Extended precision: the logarithms of factorials of 20,000 are 1e5 and more, and their absolute error is the relative one of the probability. */
static long double log_choose(PetscInt n, PetscInt k) { return lgammal((long double)n + 1) - lgammal((long double)k + 1) - lgammal((long double)(n - k) + 1); }

/* Sum of P(X = j) / P(X = from) over j = from, from + step, ... to the end of the support. */
static long double sum_of_ratios(PetscInt from, int step, PetscInt total, PetscInt marked, PetscInt drawn)
{
  const PetscInt least = PetscMax(0, marked + drawn - total), most = PetscMin(marked, drawn);
  long double    sum = 1, term = 1;

  for (PetscInt j = from; j + step >= least && j + step <= most; j += step) {
    const long double up = (long double)(marked - j) * (long double)(drawn - j), down = (long double)(j + 1) * (long double)(total - marked - drawn + j + 1);
    if (step > 0)
      term *= up / down;
    else
      term *= (long double)j * (long double)(total - marked - drawn + j) / ((long double)(marked - j + 1) * (long double)(drawn - j + 1));
    sum += term;
    if (term < sum * 1e-22L) break;
  }
  return sum;
}

double hypergeometric_log_tail(PetscInt overlap, PetscInt total, PetscInt marked, PetscInt drawn)
{
  const PetscInt    least = PetscMax(0, marked + drawn - total), most = PetscMin(marked, drawn);
  const long double all = log_choose(total, drawn);

  if (overlap <= least) return 0;
  if (overlap > most) return -INFINITY;
  /* Terms fall on both sides of the mean: sum the side on which they do. */
  if ((double)overlap >= (double)marked * (double)drawn / (double)total)
    return (double)(log_choose(marked, overlap) + log_choose(total - marked, drawn - overlap) - all + logl(sum_of_ratios(overlap, 1, total, marked, drawn)));
  const PetscInt    j = overlap - 1;
  const long double below = log_choose(marked, j) + log_choose(total - marked, drawn - j) - all + logl(sum_of_ratios(j, -1, total, marked, drawn));
  return (double)log1pl(-expl(below));
}

/* ---- rank tests ------------------------------------------------------------------------------------------------------------------ */

double normal_log_tail(double z)
{
  if (z < 25) return log(0.5 * erfc(z / sqrt(2.)));
  /* Mills' ratio as a continued fraction (Abramowitz and Stegun 26.2.14); 40 terms are exact to rounding from z = 10 on. */
  double fraction = z;
  for (int k = 40; k >= 1; k--) fraction = z + k / fraction;
  return -0.5 * z * z - 0.5 * log(2 * PETSC_PI) - log(fraction);
}

void rank_sum_correlated(PetscInt n, const double *rank, double ties, PetscInt n1, const PetscInt *index, double correlation, double *effect, double *log_p)
{
  const double a = (double)n1, b = (double)(n - n1), all = (double)n;
  double       sum = 0, variance = a * b * (all + 1) / 12;

  *effect = NAN;
  *log_p = NAN;
  if (n1 < 1 || n1 >= n) return;
  for (PetscInt i = 0; i < n1; i++) sum += rank[index[i]];
  const double u = sum - a * (a + 1) / 2;
  *effect = 2 * u / (a * b) - 1;
  if (correlation > 0 && n1 > 1) {
    variance =
        asin(1) * a * b + asin(0.5) * a * b * (b - 1) + asin(correlation / 2) * a * (a - 1) * b * (b - 1) + asin((correlation + 1) / 2) * a * (a - 1) * b;
    variance /= 2 * PETSC_PI;
  }
  variance *= 1 - ties / (all * (all + 1) * (all - 1));
  *log_p = 0;
  if (!(variance > 0)) return;
  *log_p = PetscMin(0, log(2) + normal_log_tail((fabs(u - a * b / 2) - 0.5) / sqrt(variance)));
}

/* P(W+ <= w) over all choices of signs; twice the ranks are whole numbers, ties or not. */
static PetscErrorCode signed_rank_exact(PetscInt n, const double *rank, double w, double *p)
{
  const PetscInt most = n * (n + 1); /* twice the sum of all ranks */
  double        *chance, sum = 0;
  PetscInt       reach = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(most + 1, &chance));
  chance[0] = 1;
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt step = (PetscInt)lround(2 * rank[i]);
    reach += step;
    for (PetscInt s = reach; s >= 0; s--) chance[s] = 0.5 * chance[s] + (s >= step ? 0.5 * chance[s - step] : 0);
  }
  for (PetscInt s = 0; s <= (PetscInt)lround(2 * w); s++) sum += chance[s];
  *p = sum;
  PetscCall(PetscFree(chance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { SIGNED_RANK_EXACT = 100 };

PetscErrorCode signed_rank_test(PetscInt n, const double *difference, double *statistic, double *p_value)
{
  double  *size, *rank, plus = 0, ties, p = 1;
  PetscInt used = 0, numbers = 0, *place;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(n, &size, n, &rank, n, &place));
  for (PetscInt i = 0; i < n; i++) {
    numbers += !isnan(difference[i]);
    if (isnan(difference[i]) || difference[i] == 0) continue;
    place[used] = i;
    size[used++] = fabs(difference[i]);
  }
  PetscCall(average_ranks(used, size, rank, &ties));
  for (PetscInt i = 0; i < used; i++) plus += difference[place[i]] > 0 ? rank[i] : 0;
  const double m = (double)used, least = PetscMin(plus, m * (m + 1) / 2 - plus);
  if (used && used <= SIGNED_RANK_EXACT)
    PetscCall(signed_rank_exact(used, rank, least, &p));
  else if (used) {
    const double variance = m * (m + 1) * (2 * m + 1) / 24 - ties / 48;
    p = 0.5 * erfc((m * (m + 1) / 4 - least) / sqrt(2 * variance));
  }
  *statistic = numbers ? least : NAN;
  *p_value = !numbers ? NAN : used ? PetscMin(1, 2 * p) : 1;
  PetscCall(PetscFree3(size, rank, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode holm_adjust(PetscInt n, const double *p_value, double *adjusted)
{
  double  *p;
  PetscInt used = 0, *place;
  Ranked  *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &p, n, &place));
  for (PetscInt i = 0; i < n; i++) {
    if (isnan(p_value[i])) continue;
    place[used] = i;
    p[used++] = p_value[i];
  }
  for (PetscInt i = 0; i < n; i++) adjusted[i] = NAN;
  PetscCall(sort_ranked(used, p, &sorted));
  double largest = 0;
  for (PetscInt i = 0; i < used; i++) {
    largest = PetscMax(largest, (double)(used - i) * sorted[i].value);
    adjusted[place[sorted[i].index]] = PetscMin(1, largest);
  }
  PetscCall(PetscFree(sorted));
  PetscCall(PetscFree2(p, place));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ranking_areas(PetscInt n, const double *score, const unsigned char *label, double *roc, double *precision_recall)
{
  Ranked *sorted;
  double  positives = 0, hits = 0, misses = 0, under_roc = 0, average = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) positives += label[i];
  PetscCall(sort_ranked(n, score, &sorted));
  for (PetscInt end = n, begin; end > 0; end = begin) {
    double here = 0;
    for (begin = end; begin > 0 && sorted[begin - 1].value == sorted[end - 1].value; begin--) here += label[sorted[begin - 1].index];
    const double wrong = (double)(end - begin) - here;
    under_roc += wrong * (hits + here / 2);
    hits += here;
    misses += wrong;
    if (positives > 0) average += here / positives * hits / (hits + misses);
  }
  const PetscBool both = positives > 0 && positives < (double)n ? PETSC_TRUE : PETSC_FALSE;
  if (roc) *roc = both ? under_roc / (positives * ((double)n - positives)) : NAN;
  if (precision_recall) *precision_recall = both ? average : NAN;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void mean_and_deviation(PetscInt n, const double *x, double *mean, double *deviation)
{
  double   sum = 0, squares = 0;
  PetscInt used = 0;

  for (PetscInt i = 0; i < n; i++) {
    if (isnan(x[i])) continue;
    sum += x[i];
    used++;
  }
  *mean = used ? sum / (double)used : NAN;
  for (PetscInt i = 0; i < n; i++)
    if (!isnan(x[i])) squares += (x[i] - *mean) * (x[i] - *mean);
  *deviation = used > 1 ? sqrt(squares / (double)(used - 1)) : used ? 0 : NAN;
}

double quantile_of_sorted(PetscInt n, const double *sorted, double q)
{
  if (n < 1) return NAN;
  const double   at = q * (double)(n - 1);
  const PetscInt low = PetscMin((PetscInt)at, n - 1), high = PetscMin(low + 1, n - 1);
  return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}
