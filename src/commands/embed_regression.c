/* embed: conditional mean embedding regression over the covariates of the populations, and how well it foretells each from all others. */
#include "commands/commands.h"
#include "commands/embed.h"
#include <perturbdiff/evaluation/baseline.h>

enum { REGRESSION_AUTO, REGRESSION_YES, REGRESSION_NO, POPULATIONS_LEAST = 6 };

const OptionSpec embed_regression_options[] = {
    {"regression", VALUE_CHOICE, "auto", 0, 0, "auto|yes|no", "Conditional mean embedding: how well perturbation, cell type and batch foretell a population left out; auto: from 6 populations on"},
    {"features", VALUE_PATH, "", 0, 0, "", "CSV of perturbations' features (column perturbation, then numbers): what the regression knows of perturbations"},
    {NULL, VALUE_STRING, NULL, 0, 0, NULL, NULL},
};

/* One line a population: (groups, 2) squared errors of the regression without it and of its control, MMD^2 over all pairs. */
static PetscErrorCode print_regression(const void *context, FILE *stream)
{
  const EmbedNumbers *numbers = context;
  const Embed        *e = numbers->embed;
  const double       *values = numbers->value;

  fputs("perturbation,cell_type,batch,cells,leave_one_out_error,control_error\n", stream);
  for (PetscInt i = 0; i < e->groups; i++) {
    const Population *p = &e->table->population[e->population[i]];
    embed_print_labels(e->table, p, PETSC_FALSE, stream);
    fprintf(stream, ",%lld,%.12g,", (long long)p->cells, values[2 * i]);
    if (embed_control_row(e, i) >= 0 && embed_control_row(e, i) != i) fprintf(stream, "%.12g", values[2 * i + 1]);
    fputc('\n', stream);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode embed_regression_features(Embed *e)
{
  const char *path;
  PetscInt    choice;

  PetscFunctionBeginUser;
  PetscCall(options_choice(e->options, "regression", &choice));
  PetscCall(options_string(e->options, "features", &path));
  if (*path && choice == REGRESSION_NO) PetscFunctionReturn(error_user("-features %s is for the regression, which -regression no leaves out", path));
  if (*path) PetscCall(perturbation_similarity(e->comm, path, e->table, &e->similarity));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode is_wanted(const Embed *e, PetscBool *wanted)
{
  PetscInt choice;

  PetscFunctionBeginUser;
  PetscCall(options_choice(e->options, "regression", &choice));
  *wanted = choice == REGRESSION_YES || (choice == REGRESSION_AUTO && (e->groups >= POPULATIONS_LEAST || e->similarity)) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_regression_bytes(const Embed *e, double *bytes)
{
  PetscBool wanted = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(is_wanted(e, &wanted));
  *bytes = wanted ? regression_bytes(e->grid, e->groups) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode embed_regression(const Embed *e)
{
  const CellStoreTable *t = e->table;
  const PetscInt        levels[COVARIATE_AXES] = {t->perturbation.count, t->cell_type.count, t->batch.count}, n = e->groups;
  CovariateKernel       kernel[COVARIATE_KERNELS];
  Covariates           *covariates;
  Regression            r;
  double               *values, *square, *product, ours = 0, controls = 0;
  PetscInt              compared = 0;
  PetscBool             wanted = PETSC_FALSE;
  LogStage              stage;

  PetscFunctionBeginUser;
  PetscCall(is_wanted(e, &wanted));
  if (!wanted) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(log_stage_begin(e->comm, "regression", &stage));
  PetscCall(PetscMalloc4(n, &covariates, 2 * n, &values, n, &square, n, &product));
  for (PetscInt i = 0; i < n; i++) {
    const Population *p = &t->population[e->population[i]];
    covariates[i] = (Covariates){{p->perturbation, p->cell_type, p->batch}};
  }
  const PetscInt kernels = covariate_kernels(levels, e->similarity, kernel);
  PetscCall(regression_fit(n, covariates, kernels, kernel, REGRESSION_LAMBDAS, regression_lambda, &e->gram.product, &r));
  PetscCall(blockmatrix_diagonal(&e->gram.product, square));
  PetscCall(embed_against_control(e, &e->gram.product, product));
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt control = embed_control_row(e, i);
    values[2 * i] = r.leave_one_out[i];
    values[2 * i + 1] = control >= 0 ? square[i] + square[control] - 2 * product[i] : 0;
    if (control < 0 || control == i) continue;
    compared++;
    ours += values[2 * i];
    controls += values[2 * i + 1];
  }
  PetscCall(embed_write_text(e, "cme.csv", print_regression, &(EmbedNumbers){e, values}));
  PetscCall(log_stage_end(&stage, "left out, a population is foretold by its covariates to squared MMD %.3g, a treated one to %.3g (its control: %.3g): cme.csv; shared %g perturbation, %g cell type, %g batch, ridge %g", r.error,
                          compared ? ours / compared : 0, compared ? controls / compared : 0, r.kernel.shared[0], r.kernel.shared[1], r.kernel.shared[2], r.lambda));
  PetscCall(regression_destroy(&r));
  PetscCall(PetscFree4(covariates, values, square, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}
