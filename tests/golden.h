/* What the parts of the program tests/golden share. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <perturbdiff/diffusion.h>
#include <perturbdiff/network.h>
#include <perturbdiff/runtime.h>

/* An open golden file, this rank's sets and cells of it, and everything a step needs. */
typedef struct {
  MPI_Comm       comm;
  ProcessGrid    grid;
  CellExchange  *exchange;
  const char    *path;
  hid_t          file;
  PetscInt       sets, set_size;
  PetscInt       first, own;        /* the sets of this rank's group */
  PetscInt       first_cell, cells; /* of each set on this rank */
  size_t         own_values;        /* cells*G */
  ParameterTable table;
  Real          *parameters, *gradients;
  Real          *clean, *control, *noise, *noisy, *self_condition, *estimate, *d_estimate; /* (own,cells,G) */
  double        *step;
  PetscInt      *perturbation, *cell_type, *batch;
  unsigned char *dropped;
  NoiseSchedule  schedule;
  Denoiser      *denoiser;
  Objective     *objective;
  int            groups, failed;
} Golden;

/* A whole array as double; freed with PetscFree. User error where it is missing or of another size. Every rank reads all of it. */
PetscErrorCode golden_read(const Golden *g, const char *name, double **values, size_t *count);
PetscErrorCode golden_read_sized(const Golden *g, const char *name, size_t expected, double **values);
/* A number among the attributes of a group. User error where it is missing. */
PetscErrorCode golden_attribute(const Golden *g, const char *group, const char *name, double *value);
/* All parameters below a group. */
PetscErrorCode golden_read_parameters(const Golden *g, const char *group, Real *values);

/* Largest |ours - expected| over n values, relative to the largest of n_scale values. */
double golden_error(size_t n, const Real *ours, const double *expected, size_t n_scale, const double *scale);
/* This rank's part (own, cells, width) of all (sets, S, width). */
PetscErrorCode golden_own(const Golden *g, size_t width, const double *all, double *own);
/* The error of a (sets, S, width) array of the file of which each rank has its part. Collective. */
PetscErrorCode golden_error_own(const Golden *g, const char *name, size_t width, const Real *own, double *error);
/* The worst parameter of a group and its name. absent_is_zero: what the file does not hold must be zero here. */
PetscErrorCode golden_error_parameters(const Golden *g, const char *group, const Real *values, PetscBool absent_is_zero, double *error, char worst_name[128]);
/* Print a group's line and count it. */
PetscErrorCode golden_report(Golden *g, const char *group, double error, double tolerance, const char *where);

/* This rank's part of the file's conditional or unconditional case. */
DenoiserInput golden_input(const Golden *g, PetscBool conditional);
/* One pass forward and backward: losses of the group's sets, global loss, g->gradients summed over ranks. hidden may be NULL. Collective. */
PetscErrorCode golden_loss_and_gradients(Golden *g, const Real *parameters, PetscBool conditional, double *mse, double *energy, Real *hidden, double *total);

/* Groups of other files of the program. Collective. */
PetscErrorCode golden_check_optimizer(Golden *g, double tolerance);
PetscErrorCode golden_check_sampling(Golden *g, double tolerance);

#endif
