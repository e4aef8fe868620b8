/* embed: permutation tests of every perturbed population against its paired control, and the witness function between them; their groups of embedding.h5 and tables.

     /tests    (T) each: population (row, -1: all batches of a perturbation and cell type together), cells, control_cells, batches, energy_distance, energy_p, energy_fdr, mmd, mmd_p, mmd_fdr
     /witness  value, cell: the witness at every treated cell tested (index in the store), tests with a population one after another; gradient (those tests, dimension of the features) */
#include "commands/commands.h"
#include "commands/embed.h"
#include <math.h>
#include <perturbdiff/evaluation/distribution.h>
#include <perturbdiff/runtime/sort.h>
#include <stdlib.h>

const OptionSpec embed_tests_options[] = {
    {"tests", VALUE_INTEGER, "0", 0, 1e6, "permutations", "Permutations of the E-test and MMD test of each population against its paired control; 0: no tests"},
    {"test_cells", VALUE_INTEGER, "2000", 2, 1e6, "cells", "Larger populations are represented in tests and witness functions by so many cells, drawn"},
    {"witness_genes", VALUE_INTEGER, "0", 0, 1e9, "genes", "Genes written for each population, ranked by the mean gradient of the witness function; 0: no witness functions"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};

/* `step` of the random numbers; memory for weights of labellings. */
enum { STEP_LABELS = 64, STEP_TEST_CELLS };
#define LABEL_MEMORY 134217728.

/* One test: some treated populations of one perturbation and cell type, in the order of their controls. */
typedef struct {
  PetscInt first, members, batches; /* in Plan.member; batches: distinct controls */
  int64_t  cells, control_cells;
} Test;

typedef struct {
  const Embed *e;
  PetscInt     tests, single; /* the first `single` have one population each */
  Test        *test;
  PetscInt    *member; /* rows of Embed.population */
  PetscInt    *control;                                     /* (groups) row of the paired control, -1: none or a control itself */
  PetscInt64   limit, permutations, genes;
  double      *result; /* (4, tests) energy, p, mmd, p */
  double      *fdr;    /* (2, tests) */
  PetscInt64  *place;  /* (single + 1) of a test's cells in value */
  double      *value, *gradient; /* witness at treated cells; (single, dimension) */
  int64_t     *cell;
} Plan;

static PetscInt64 cells_used(const Plan *p, PetscInt row) { return PetscMin(p->e->group[row].cells, p->limit); }

static PetscErrorCode find_controls(Plan *p)
{
  const CellStoreTable *t = p->e->table;
  PetscInt             *row;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(p->e->groups, &p->control));
  PetscCall(PetscMalloc1(t->populations, &row));
  for (PetscInt i = 0; i < t->populations; i++) row[i] = -1;
  for (PetscInt i = 0; i < p->e->groups; i++) row[p->e->population[i]] = i;
  for (PetscInt i = 0; i < p->e->groups; i++) {
    const PetscInt control = t->population[p->e->population[i]].control;
    p->control[i] = control >= 0 && control != p->e->population[i] ? row[control] : -1;
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void close_test(Plan *p, Test *test)
{
  PetscInt last = -1;

  for (PetscInt k = test->first; k < test->first + test->members; k++) {
    const PetscInt control = p->control[p->member[k]];
    test->cells += cells_used(p, p->member[k]);
    if (control == last) continue;
    test->control_cells += cells_used(p, control);
    test->batches++;
    last = control;
  }
}

typedef struct {
  PetscInt perturbation, cell_type, control, row;
} Sorted;

static int by_condition(const void *a, const void *b)
{
  const Sorted  *x = a, *y = b;
  const PetscInt d[4] = {x->perturbation - y->perturbation, x->cell_type - y->cell_type, x->control - y->control, x->row - y->row};

  for (int k = 0; k < 4; k++)
    if (d[k]) return d[k] < 0 ? -1 : 1;
  return 0;
}

/* A test for each treated population, then one for each perturbation and cell type seen in several. */
static PetscErrorCode list_tests(Plan *p)
{
  const PetscInt n = p->e->groups;
  Sorted        *sorted;
  PetscInt       count = 0, used;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &sorted));
  PetscCall(PetscMalloc1(2 * n, &p->test));
  PetscCall(PetscMalloc1(2 * n, &p->member));
  for (PetscInt i = 0; i < n; i++) {
    const Population *own = &p->e->table->population[p->e->population[i]];
    if (p->control[i] < 0) continue;
    p->member[count] = i;
    p->test[count] = (Test){.first = count, .members = 1};
    close_test(p, &p->test[count]);
    sorted[count++] = (Sorted){own->perturbation, own->cell_type, p->control[i], i};
  }
  p->single = p->tests = used = count;
  qsort(sorted, (size_t)count, sizeof *sorted, by_condition);
  for (PetscInt i = 0, j; i < count; i = j) {
    for (j = i + 1; j < count && sorted[j].perturbation == sorted[i].perturbation && sorted[j].cell_type == sorted[i].cell_type;) j++;
    if (j - i < 2) continue;
    p->test[p->tests] = (Test){.first = used, .members = j - i};
    for (PetscInt k = i; k < j; k++) p->member[used++] = sorted[k].row;
    close_test(p, &p->test[p->tests++]);
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode plan_create(const Embed *e, Plan *p)
{
  PetscFunctionBeginUser;
  *p = (Plan){.e = e};
  PetscCall(options_integer(e->options, "tests", &p->permutations));
  PetscCall(options_integer(e->options, "test_cells", &p->limit));
  PetscCall(options_integer(e->options, "witness_genes", &p->genes));
  PetscCall(find_controls(p));
  PetscCall(list_tests(p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode plan_destroy(Plan *p)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(p->control));
  PetscCall(PetscFree(p->test));
  PetscCall(PetscFree(p->member));
  PetscCall(PetscFree(p->result));
  PetscCall(PetscFree(p->fdr));
  PetscCall(PetscFree(p->place));
  PetscCall(PetscFree(p->value));
  PetscCall(PetscFree(p->gradient));
  PetscCall(PetscFree(p->cell));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_tests_bytes(const Embed *e, PetscInt dimension, double *bytes)
{
  Plan     p;
  double   most = 0, rows = 0;

  PetscFunctionBeginUser;
  PetscCall(plan_create(e, &p));
  for (PetscInt k = 0; k < p.tests; k++) {
    const PetscInt64 cells = p.test[k].cells + p.test[k].control_cells;
    if (p.permutations) most = PetscMax(most, permutation_bytes(cells, dimension, (PetscInt)p.permutations, LABEL_MEMORY));
    if (p.genes && k < p.single) most = PetscMax(most, witness_bytes(cells, dimension));
    if (p.permutations || (p.genes && k < p.single)) rows = PetscMax(rows, (double)cells * dimension * sizeof(double)); /* where cells are drawn */
  }
  *bytes = most + rows + (p.genes ? sizeof(double) * ((double)p.single * dimension + 2 * (double)groups_cells(e->groups, e->group)) : 0);
  PetscCall(plan_destroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Cells of a test ---- */

static uint32_t key_of(const Embed *e, PetscInt row, PetscBool pooled)
{
  const Population *own = &e->table->population[e->population[row]];
  char              text[768];

  if (!pooled) population_label(e->table, e->population[row], text, sizeof text);
  else snprintf(text, sizeof text, "%s|%s", e->table->perturbation.name[own->perturbation], e->table->cell_type.name[own->cell_type]);
  return distribution_key(text);
}

/* A population, or the cells drawn from it; drawn: rows of its own. */
static PetscErrorCode group_of(const Plan *p, PetscInt row, CellGroup *group, CellFeatures **drawn, double **values, int64_t *cell)
{
  const CellGroup   *whole = &p->e->group[row];
  const PetscInt64   used = cells_used(p, row);
  const PetscInt     d = features_dimension(whole->features);
  const RandomStream stream = random_stream(p->e->seed, RANDOM_EMBED, STEP_TEST_CELLS, key_of(p->e, row, PETSC_FALSE), 0);

  PetscFunctionBeginUser;
  *group = *whole;
  for (PetscInt64 i = 0; i < used; i++) {
    const PetscInt64 from = whole->first + (used < whole->cells ? (PetscInt64)random_permuted(&stream, (uint64_t)whole->cells, (uint64_t)i) : i);
    if (cell) cell[i] = from;
    if (used == whole->cells) continue;
    if (!i) PetscCall(PetscMalloc1((size_t)used * (size_t)d, values));
    PetscCall(features_rows(whole->features, from, 1, *values + (size_t)i * (size_t)d, d, NULL));
  }
  if (used == whole->cells) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(features_from_doubles(used, d, *values, drawn));
  *group = (CellGroup){*drawn, 0, used};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Treated groups of a control, then the control, for each control of the test; blocks are what labels are permuted in. */
static PetscErrorCode run_test(const Plan *p, PetscInt k, MPI_Comm comm)
{
  const Test    *test = &p->test[k];
  const PetscInt most = test->members + test->batches;
  const PetscBool witnessed = p->genes && k < p->single ? PETSC_TRUE : PETSC_FALSE;
  CellGroup     *group;
  CellFeatures **drawn;
  double       **values;
  PetscInt64    *treated, *cells;
  PetscInt       groups = 0, block = 0;
  int            rank;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(PetscCalloc5(most, &group, most, &drawn, most, &values, test->batches, &treated, test->batches, &cells));
  for (PetscInt i = test->first; i < test->first + test->members && !code; i++) {
    const PetscInt row = p->member[i], control = p->control[row];
    const PetscBool last = i + 1 == test->first + test->members || p->control[p->member[i + 1]] != control ? PETSC_TRUE : PETSC_FALSE;

    code = group_of(p, row, &group[groups], &drawn[groups], &values[groups], witnessed && !rank ? p->cell + p->place[k] : NULL);
    treated[block] += group[groups++].cells;
    if (code || !last) continue;
    code = group_of(p, control, &group[groups], &drawn[groups], &values[groups], NULL);
    cells[block] = treated[block] + group[groups++].cells;
    block++;
  }
  if (comm != PETSC_COMM_SELF) PetscCallAgree(comm, code);
  if (!code && p->permutations) {
    const Labels    labels = {(PetscInt)p->permutations, block, treated, cells, p->e->seed, RANDOM_EMBED, STEP_LABELS, key_of(p->e, p->member[test->first], k >= p->single ? PETSC_TRUE : PETSC_FALSE)};
    PermutationTest found = {0};

    code = permutation_test(comm, &labels, &p->e->kernel, p->e->statistic, groups, group, LABEL_MEMORY, &found);
    const double result[4] = {found.energy, found.energy_p, found.mmd, found.mmd_p};
    for (int c = 0; c < 4 && !rank; c++) p->result[(size_t)c * (size_t)p->tests + (size_t)k] = result[c];
  }
  if (!code && witnessed) {
    const size_t d = (size_t)features_dimension(group->features);
    double      *value, *gradient;

    PetscCall(PetscMalloc2(cells[0], &value, d, &gradient));
    code = witness(comm, &p->e->kernel, 1, group, 1, group + 1, value, gradient);
    if (!code && !rank) {
      PetscCall(PetscArraycpy(p->value + p->place[k], value, treated[0]));
      PetscCall(PetscArraycpy(p->gradient + (size_t)k * d, gradient, d));
    }
    PetscCall(PetscFree2(value, gradient));
  }
  if (comm != PETSC_COMM_SELF) code = error_agree(comm, code);
  for (PetscInt g = 0; g < groups; g++) {
    PetscCall(features_destroy(&drawn[g]));
    PetscCall(PetscFree(values[g]));
  }
  PetscCall(PetscFree5(group, drawn, values, treated, cells));
  PetscFunctionReturn(code);
}

/* Tests that are more than a rank's part of the work are shared by all ranks, the others dealt by cost. */
static PetscErrorCode run_tests(Plan *p)
{
  const MPI_Comm comm = p->e->comm;
  const double   dimension = features_dimension(p->e->group->features) + (double)p->permutations;
  double        *cost, all = 0;
  PetscInt       done = 0;
  Progress       progress;
  unsigned char *joint;
  PetscErrorCode code = PETSC_SUCCESS;
  Deal           deal;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(p->tests, &cost, p->tests, &joint));
  for (PetscInt k = 0; k < p->tests; k++) {
    const double cells = (double)(p->test[k].cells + p->test[k].control_cells);
    cost[k] = cells * cells * dimension;
    all += cost[k];
  }
  PetscCall(progress_begin(comm, "tests", 0, p->tests, &progress));
  for (PetscInt k = 0; k < p->tests; k++) {
    joint[k] = p->e->ranks > 1 && (p->tests < p->e->ranks || cost[k] > all / p->e->ranks);
    if (!joint[k]) continue;
    cost[k] = 0;
    PetscCall(run_test(p, k, comm));
    PetscCall(progress_late(&progress, ++done, "tests"));
  }
  if (p->tests >= p->e->ranks) {
    PetscCall(deal_create(comm, p->tests, cost, &deal));
    const double step = (double)(p->tests - done) / (double)PetscMax(1, deal.own); /* other ranks are about as far */
    for (PetscInt k = 0; k < deal.own && !code; k++) {
      if (!joint[deal.mine[k]]) code = run_test(p, deal.mine[k], PETSC_COMM_SELF);
      PetscCall(progress_late(&progress, done + step * (k + 1), "tests"));
    }
    PetscCall(deal_destroy(&deal));
    PetscCallAgree(comm, code);
  }
  PetscCall(progress_end(&progress));
  PetscCall(PetscFree2(cost, joint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Tables ---- */

static void print_names(const Plan *p, const Test *test, FILE *stream)
{
  embed_print_labels(p->e->table, &p->e->table->population[p->e->population[p->member[test->first]]], test->members > 1 ? PETSC_TRUE : PETSC_FALSE, stream);
}

static PetscErrorCode print_tests(const void *context, FILE *stream)
{
  const Plan   *p = context;
  const double *result = p->result;
  const size_t  n = (size_t)p->tests;

  fputs("perturbation,cell_type,batch,cells,control_cells,blocks,energy_distance,energy_p,energy_fdr,mmd,mmd_p,mmd_fdr,permutations\n", stream);
  for (size_t k = 0; k < n; k++) {
    print_names(p, &p->test[k], stream);
    fprintf(stream, ",%lld,%lld,%d,%.12g,%.12g,%.12g,%.12g,%.12g,%.12g,%lld\n", (long long)p->test[k].cells, (long long)p->test[k].control_cells, (int)p->test[k].batches, result[k], result[n + k],
            p->fdr[k], result[2 * n + k], result[3 * n + k], p->fdr[n + k], (long long)p->permutations);
  }
  return PETSC_SUCCESS;
}

/* Gradient along genes: that along components goes through their loadings. */
static PetscErrorCode print_witness(const void *context, FILE *stream)
{
  const Plan    *p = context;
  const Embed   *e = p->e;
  const PetscInt genes = e->table->gene.count, d = features_dimension(e->group->features), shown = (PetscInt)PetscMin(p->genes, genes);
  Ranked        *ranked; /* by modulus */
  double        *gradient;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(genes, &ranked, genes, &gradient));
  fputs("perturbation,cell_type,batch,rank,gene,gradient\n", stream);
  for (PetscInt k = 0; k < p->single; k++) {
    const double *along = p->gradient + (size_t)k * (size_t)d;
    for (PetscInt g = 0; g < genes; g++) {
      double sum = e->projected ? 0 : along[g];
      for (PetscInt c = 0; e->projected && c < d; c++) sum += along[c] * e->components.loadings[(size_t)g * (size_t)d + (size_t)c];
      gradient[g] = sum;
      ranked[g] = (Ranked){fabs(sum), g};
    }
    sort_largest_first(genes, ranked);
    for (PetscInt r = 0; r < shown; r++) {
      print_names(p, &p->test[k], stream);
      fprintf(stream, ",%d,", (int)r + 1);
      csv_field(stream, e->table->gene.name[ranked[r].index]);
      fprintf(stream, ",%.12g\n", gradient[ranked[r].index]);
    }
  }
  PetscCall(PetscFree2(ranked, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_tests(const Plan *p, hid_t file)
{
  static const char *const name[10] = {"energy_distance", "energy_p", "mmd", "mmd_p", "energy_fdr", "mmd_fdr", "population", "cells", "control_cells", "batches"};
  int64_t                 *number;
  hid_t                    where;

  PetscFunctionBeginUser;
  H5Check(where = H5Gcreate2(file, "tests", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(h5_write_attribute_int64(where, "permutations", p->permutations));
  PetscCall(h5_write_attribute_int64(where, "cells_most", p->limit));
  for (int c = 0; c < 6; c++) PetscCall(embed_write_vector(where, name[c], H5T_NATIVE_DOUBLE, p->tests, c < 4 ? p->result + c * p->tests : p->fdr + (c - 4) * p->tests));
  PetscCall(PetscMalloc1(p->tests, &number));
  for (int c = 6; c < 10; c++) {
    for (PetscInt k = 0; k < p->tests; k++) {
      const Test *test = &p->test[k];
      number[k] = c == 6 ? (test->members == 1 ? p->member[test->first] : -1) : c == 7 ? test->cells : c == 8 ? test->control_cells : test->batches;
    }
    PetscCall(embed_write_vector(where, name[c], H5T_NATIVE_INT64, p->tests, number));
  }
  PetscCall(PetscFree(number));
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode write_witness(const Plan *p, hid_t file)
{
  const PetscInt d = features_dimension(p->e->group->features);
  int            rank;
  hid_t          where;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(p->e->comm, &rank));
  H5Check(where = H5Gcreate2(file, "witness", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  PetscCall(embed_write_vector(where, "value", H5T_NATIVE_DOUBLE, p->place[p->single], p->value));
  PetscCall(embed_write_vector(where, "cell", H5T_NATIVE_INT64, p->place[p->single], p->cell));
  PetscCall(h5_write_slab(where, "gradient", H5T_NATIVE_DOUBLE, p->single, d, rank ? p->single : 0, rank ? 0 : p->single, p->gradient));
  H5Check(H5Gclose(where));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_tests(const Embed *e)
{
  Plan     p;
  PetscInt found = 0, large = 0;
  LogStage stage;

  PetscFunctionBeginUser;
  PetscCall(plan_create(e, &p));
  if ((!p.permutations && !p.genes) || !p.tests) {
    if (p.permutations || p.genes) PetscCall(log_line(e->comm, "  tests      no population has a control here"));
    PetscCall(plan_destroy(&p));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!p.permutations) p.tests = p.single;
  const size_t n = (size_t)p.tests, d = (size_t)features_dimension(e->group->features);
  PetscCall(log_stage_begin(e->comm, p.permutations ? "tests" : "witness", &stage));
  PetscCall(PetscCalloc1(4 * n, &p.result));
  PetscCall(PetscCalloc1(2 * n, &p.fdr));
  PetscCall(PetscCalloc1(p.single + 1, &p.place));
  for (PetscInt k = 0; k < p.single; k++) p.place[k + 1] = p.place[k] + p.test[k].cells;
  if (p.genes) {
    PetscCall(PetscCalloc1(p.place[p.single], &p.value));
    PetscCall(PetscCalloc1(p.place[p.single], &p.cell));
    PetscCall(PetscCalloc1((size_t)p.single * d, &p.gradient));
  }
  PetscCall(run_tests(&p));
  for (PetscInt i = 0; i < e->groups; i++) large += e->group[i].cells > p.limit;
  if (large) PetscCall(log_line(e->comm, "  note       %d population%s stood for by %lld drawn cells each (-test_cells)", (int)large, large == 1 ? " is" : "s are", (long long)p.limit));
  if (p.permutations) {
    PetscCall(sum_over_ranks(e->comm, 4 * (PetscInt64)n, MPI_DOUBLE, p.result));
    for (int c = 0; c < 2; c++) /* populations, and perturbations over all their batches, are families of tests of their own */
      for (int pooled = 0; pooled < 2; pooled++) {
        const size_t   first = pooled ? (size_t)p.single : 0;
        const PetscInt count = pooled ? p.tests - p.single : p.single;
        PetscCall(false_discovery_rates(count, p.result + (size_t)(2 * c + 1) * n + first, NULL, p.fdr + (size_t)c * n + first));
      }
    for (PetscInt k = 0; k < p.single; k++) found += p.fdr[k] < 0.05;
    PetscCall(write_tests(&p, e->draft.h5));
    PetscCall(embed_write_text(e, "tests.csv", print_tests, &p));
  }
  if (p.genes) {
    PetscCall(sum_over_ranks(e->comm, p.place[p.single], MPI_DOUBLE, p.value));
    PetscCall(sum_over_ranks(e->comm, (PetscInt64)p.single * (PetscInt64)d, MPI_DOUBLE, p.gradient));
    PetscCall(sum_over_ranks(e->comm, p.place[p.single], MPI_INT64_T, p.cell));
    PetscCall(write_witness(&p, e->draft.h5));
    PetscCall(embed_write_text(e, "witness.csv", print_witness, &p));
  }
  if (p.permutations)
    PetscCall(log_stage_end(&stage, "%d of %d populations differ from their control (E-test, %lld permutations, false discovery rate 0.05): tests.csv%s", (int)found, (int)p.single,
                            (long long)p.permutations, p.genes ? ", witness.csv" : ""));
  else PetscCall(log_stage_end(&stage, "%d populations against their control: witness.csv", (int)p.single));
  PetscCall(plan_destroy(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}
