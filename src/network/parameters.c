/* The parameters of a shape: names of the public checkpoints, order, flags, buckets (MODEL, "Names"), starting values. */
#include "network/layers.h"
#include <stdarg.h>
#include <string.h>

/* Input width of the pretrained gene embedding that the public checkpoints carry and nothing uses. */
#define FOREIGN_EMBEDDING 5120

static void add(ParameterTable *table, PetscInt bucket, unsigned flags, PetscInt rows, PetscInt columns, const char *format, ...) __attribute__((format(printf, 6, 7)));

static void add(ParameterTable *table, PetscInt bucket, unsigned flags, PetscInt rows, PetscInt columns, const char *format, ...)
{
  va_list    arguments;
  Parameter *p = &table->item[table->count++];

  va_start(arguments, format);
  vsnprintf(p->name, sizeof p->name, format, arguments);
  va_end(arguments);
  p->offset  = table->total;
  p->rows    = rows;
  p->columns = columns;
  p->bucket  = bucket;
  p->flags   = flags;
  /* AdamW decays everything but biases. */
  const size_t length = strlen(p->name);
  if (length < 5 || strcmp(p->name + length - 5, ".bias")) p->flags |= PARAMETER_DECAY;
  table->total += parameter_size(p);
}

static void add_linear(ParameterTable *table, PetscInt bucket, unsigned flags, PetscInt out, PetscInt in, const char *prefix)
{
  add(table, bucket, flags, out, in, "%s.weight", prefix);
  add(table, bucket, flags, out, 0, "%s.bias", prefix);
}

static void add_codes(ParameterTable *table)
{
  const DenoiserShape *s = &table->shape;

  add_linear(table, 0, 0, s->hidden, 2 * s->genes, "model.x_embedder");
  add_linear(table, 0, 0, s->hidden, 2 * s->genes, "model.x_control_embedder");
  add(table, 0, 0, 1, s->hidden, "model.gene_embedding.null_emb.weight");
  add_linear(table, 0, 0, s->hidden, 2 * s->time_frequencies, "model.t_embedder.mlp.0");
  add_linear(table, 0, 0, s->hidden, s->hidden, "model.t_embedder.mlp.2");
  add_linear(table, 0, PARAMETER_CONDITIONAL, s->hidden, s->genes, "model.class_embedding.emb");
  add(table, 0, PARAMETER_UNCONDITIONAL, 1, s->hidden, "model.class_embedding.null_emb.weight");
  add(table, 0, PARAMETER_CONDITIONAL, s->perturbations + 1, s->covariate_dim, "cov_encoder.pert_encoder.weight");
  add(table, 0, PARAMETER_CONDITIONAL, s->cell_types, s->covariate_dim, "cov_encoder.celltype_encoder.weight");
  add(table, 0, PARAMETER_CONDITIONAL, s->batches, s->covariate_dim, "cov_encoder.batch_encoder.weight");
  add_linear(table, 0, PARAMETER_CONDITIONAL, s->genes, 3 * s->covariate_dim, "cov_encoder.transform");
  add_linear(table, 0, PARAMETER_UNUSED, s->hidden, FOREIGN_EMBEDDING, "model.gene_embedding.gene_embedding");
  add(table, 0, PARAMETER_UNUSED, s->hidden, 0, "model.gene_embedding.layer_norm.weight");
  add(table, 0, PARAMETER_UNUSED, s->hidden, 0, "model.gene_embedding.layer_norm.bias");
}

static void add_block(ParameterTable *table, PetscInt i)
{
  const PetscInt h = table->shape.hidden, bucket = i + 1, head = 2 * h / table->shape.heads;
  const unsigned control_mlp = bucket == table->shape.depth ? PARAMETER_UNUSED : 0;
  const struct {
    const char *name;
    PetscInt    out, in;
    unsigned    flags;
  } linear[] = {
      {"adaLN_modulation.1", 6 * h, h, 0},        {"control_adaLN_modulation.1", 6 * h, h, 0},    {"attn.qkv", 6 * h, 2 * h, 0}, {"attn.proj", 2 * h, 2 * h, 0}, {"mlp.fc1", 4 * h, h, 0},
      {"mlp.fc2", h, 4 * h, 0},                   {"control_mlp.fc1", 4 * h, h, control_mlp},     {"control_mlp.fc2", h, 4 * h, control_mlp},
  };

  add(table, bucket, 0, head, 0, "model.blocks.%d.block.attn.q_norm.weight", (int)i);
  add(table, bucket, 0, head, 0, "model.blocks.%d.block.attn.k_norm.weight", (int)i);
  for (size_t k = 0; k < sizeof linear / sizeof *linear; k++) {
    char prefix[80];
    snprintf(prefix, sizeof prefix, "model.blocks.%d.block.%s", (int)i, linear[k].name);
    add_linear(table, bucket, linear[k].flags, linear[k].out, linear[k].in, prefix);
  }
}

PetscErrorCode parametertable_create(const DenoiserShape *shape, ParameterTable *table)
{
  const PetscInt bucket = shape->depth + 1;

  PetscFunctionBeginUser;
  PetscCheck(shape->genes > 0 && shape->hidden > 0 && shape->depth > 0 && shape->heads > 0 && 2 * shape->hidden % shape->heads == 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "no denoiser with %" PetscInt_FMT " genes, hidden width %" PetscInt_FMT ", depth %" PetscInt_FMT ", %" PetscInt_FMT " heads", shape->genes, shape->hidden,
             shape->depth, shape->heads);
  PetscCall(PetscMemzero(table, sizeof *table));
  table->shape = *shape;
  PetscCall(PetscCalloc1(32 + 18 * shape->depth, &table->item));
  add_codes(table);
  for (PetscInt i = 0; i < shape->depth; i++) add_block(table, i);
  add_linear(table, bucket, 0, 2 * shape->hidden, shape->hidden, "model.final_layer.adaLN_modulation.1");
  add_linear(table, bucket, 0, shape->genes, shape->hidden, "model.final_layer.linear");
  add_linear(table, bucket, PARAMETER_UNUSED, 2 * shape->hidden, shape->hidden, "model.control_final_layer.adaLN_modulation.1");
  add_linear(table, bucket, PARAMETER_UNUSED, shape->genes, shape->hidden, "model.control_final_layer.linear");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode parametertable_destroy(ParameterTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(table->item));
  PetscCall(PetscMemzero(table, sizeof *table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const Parameter *parametertable_find(const ParameterTable *table, const char *name)
{
  for (PetscInt i = 0; i < table->count; i++)
    if (!strcmp(table->item[i].name, name)) return &table->item[i];
  return NULL;
}

PetscErrorCode linear_find(const ParameterTable *table, const char *prefix, Linear *linear)
{
  char             name[128];
  const Parameter *weight, *bias;

  PetscFunctionBeginUser;
  snprintf(name, sizeof name, "%s.weight", prefix);
  weight = parametertable_find(table, name);
  snprintf(name, sizeof name, "%s.bias", prefix);
  bias = parametertable_find(table, name);
  PetscCheck(weight && bias, PETSC_COMM_SELF, PETSC_ERR_PLIB, "no linear layer %s", prefix);
  *linear = (Linear){.in = weight->columns, .out = weight->rows, .stride = weight->columns, .weight = weight->offset, .bias = bias->offset};
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef enum { START_ZERO, START_ONE, START_XAVIER, START_NORMAL, START_SMALL_NORMAL } Start;

/* How a parameter starts (MODEL, "Start"). */
static Start start_of(const Parameter *p, PetscBool zero_head)
{
  if (strstr(p->name, "norm.weight")) return START_ONE;
  if (!p->columns || strstr(p->name, "adaLN_modulation")) return START_ZERO;
  if (strstr(p->name, "t_embedder")) return START_SMALL_NORMAL;
  if (strstr(p->name, "null_emb") || strstr(p->name, "_encoder.weight")) return START_NORMAL;
  if (zero_head && !strncmp(p->name, "model.final_layer.linear", 24)) return START_ZERO;
  return START_XAVIER;
}

PetscErrorCode parameters_start(const ParameterTable *table, uint64_t seed, PetscBool zero_head, Real *values)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < table->count; k++) {
    const Parameter   *p      = &table->item[k];
    const RandomStream stream = random_stream(seed, RANDOM_PARAMETERS, 0, (uint32_t)k, 0);
    const size_t       n      = parameter_size(p);
    const Start        start  = start_of(p, zero_head);
    Real              *x      = values + p->offset;

    if (start == START_ZERO || start == START_ONE) {
      for (size_t i = 0; i < n; i++) x[i] = start == START_ONE;
    } else if (start == START_XAVIER) {
      const Real bound = (Real)PetscSqrtReal(6. / (double)(p->rows + p->columns));
      random_uniforms(&stream, 0, n, x);
      for (size_t i = 0; i < n; i++) x[i] = bound * (2 * x[i] - 1);
    } else {
      random_normals(&stream, 0, n, x);
      if (start == START_SMALL_NORMAL)
        for (size_t i = 0; i < n; i++) x[i] *= (Real)0.02;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
