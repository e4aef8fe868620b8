/* Creation of a denoiser: layers found in the parameter table, all scratch laid out in one arena. */
#include "network/denoiser_layout.h"

/* Cache line, so that rows of threads do not share one. */
#define ALIGNMENT 64

static PetscErrorCode find_offset(const ParameterTable *table, const char *name, size_t *offset)
{
  const Parameter *p = parametertable_find(table, name);

  PetscFunctionBeginUser;
  PetscCheck(p, PETSC_COMM_SELF, PETSC_ERR_PLIB, "no parameter %s", name);
  *offset = p->offset;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode find_block(const ParameterTable *table, PetscInt i, Block *b)
{
  char name[96];
  const struct {
    const char *suffix;
    Linear     *linear;
  } part[] = {
      {"adaLN_modulation.1", &b->modulation[0]}, {"control_adaLN_modulation.1", &b->modulation[1]}, {"attn.qkv", &b->attention.qkv},   {"attn.proj", &b->attention.proj},
      {"mlp.fc1", &b->mlp[0].fc1},               {"mlp.fc2", &b->mlp[0].fc2},                       {"control_mlp.fc1", &b->mlp[1].fc1}, {"control_mlp.fc2", &b->mlp[1].fc2},
  };

  PetscFunctionBeginUser;
  for (size_t k = 0; k < sizeof part / sizeof *part; k++) {
    snprintf(name, sizeof name, "model.blocks.%d.block.%s", (int)i, part[k].suffix);
    PetscCall(linear_find(table, name, part[k].linear));
  }
  snprintf(name, sizeof name, "model.blocks.%d.block.attn.q_norm.weight", (int)i);
  PetscCall(find_offset(table, name, &b->attention.q_norm));
  snprintf(name, sizeof name, "model.blocks.%d.block.attn.k_norm.weight", (int)i);
  PetscCall(find_offset(table, name, &b->attention.k_norm));
  b->hidden          = table->shape.hidden;
  b->attention.heads = table->shape.heads;
  b->last            = i + 1 == table->shape.depth ? PETSC_TRUE : PETSC_FALSE;
  /* Nothing reads the control half of the last block's attention. */
  if (b->last) b->attention.proj.out = b->hidden;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Find every layer in the table. */
static PetscErrorCode find_layers(const ParameterTable *table, Denoiser *d)
{
  const DenoiserShape *s = &table->shape;
  ClassCode           *c = &d->class;

  PetscFunctionBeginUser;
  PetscCall(linear_find(table, "model.x_embedder", &d->embed[0]));
  PetscCall(linear_find(table, "model.x_control_embedder", &d->embed[1]));
  PetscCall(find_offset(table, "model.gene_embedding.null_emb.weight", &d->null_gene));
  d->time.frequencies = s->time_frequencies;
  PetscCall(linear_find(table, "model.t_embedder.mlp.0", &d->time.first));
  PetscCall(linear_find(table, "model.t_embedder.mlp.2", &d->time.second));
  c->covariate_dim = s->covariate_dim;
  c->perturbations = s->perturbations;
  c->cell_types    = s->cell_types;
  c->batches       = s->batches;
  PetscCall(find_offset(table, "cov_encoder.pert_encoder.weight", &c->perturbation));
  PetscCall(find_offset(table, "cov_encoder.celltype_encoder.weight", &c->cell_type));
  PetscCall(find_offset(table, "cov_encoder.batch_encoder.weight", &c->batch));
  PetscCall(find_offset(table, "model.class_embedding.null_emb.weight", &c->null_vector));
  PetscCall(linear_find(table, "cov_encoder.transform", &c->transform));
  PetscCall(linear_find(table, "model.class_embedding.emb", &c->embed));
  for (PetscInt i = 0; i < s->depth; i++) PetscCall(find_block(table, i, &d->block[i]));
  PetscCall(linear_find(table, "model.final_layer.adaLN_modulation.1", &d->head_modulation));
  PetscCall(linear_find(table, "model.final_layer.linear", &d->head));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  unsigned char *base;
  size_t         used;
} Arena;

static void *take_bytes(Arena *arena, size_t bytes)
{
  const size_t at = arena->used;

  arena->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return arena->base ? arena->base + at : NULL;
}

static Real *take(Arena *arena, size_t values) { return take_bytes(arena, values * sizeof(Real)); }

static void lay_out_block(Arena *arena, const Denoiser *d, BlockSaved *s)
{
  const size_t sets = (size_t)d->plan.max_sets, cells = (size_t)d->cells, rows = sets * cells, h = (size_t)d->shape.hidden, heads = (size_t)d->shape.heads;
  const size_t set_size = (size_t)d->plan.set_size, gathered = denoiser_split(&d->plan) ? sets * set_size * 2 * h : 0;

  s->tokens                = take(arena, rows * 2 * h);
  s->attended              = take(arena, rows * 2 * h);
  s->attention.qkv         = take(arena, rows * 6 * h);
  s->attention.qk          = take(arena, rows * 4 * h);
  s->attention.inverse     = take(arena, rows * 2 * heads);
  s->attention.keys        = take(arena, gathered);
  s->attention.values      = take(arena, gathered);
  s->attention.probability = take(arena, rows * heads * set_size);
  s->attention.mixed       = take(arena, rows * 2 * h);
  for (int i = 0; i < 2; i++) {
    /* Without gradients the streams' MLPs, one after the other, share their memory. */
    const PetscBool shared = i && !d->plan.with_gradient;
    s->modulation[i]       = take(arena, sets * 6 * h);
    s->normalized[i]       = take(arena, rows * h);
    s->inverse[i]          = take(arena, rows);
    s->mlp_input[i]        = take(arena, rows * h);
    s->mlp[i].hidden       = shared ? s->mlp[0].hidden : take(arena, rows * 4 * h);
    s->mlp[i].pre          = d->plan.with_gradient ? take(arena, rows * 4 * h) : NULL;
    s->mlp_output[i]       = take(arena, rows * h);
  }
}

static void lay_out_codes(Arena *arena, Denoiser *d)
{
  const size_t    sets = (size_t)d->plan.max_sets, h = (size_t)d->shape.hidden, g = (size_t)d->shape.genes, covariates = 3 * (size_t)d->shape.covariate_dim;
  ClassCodeSaved *c = &d->class_saved;

  d->code              = take(arena, sets * h);
  d->active            = take(arena, sets * h);
  d->time_saved.waves  = take(arena, sets * 2 * (size_t)d->shape.time_frequencies);
  d->time_saved.pre    = take(arena, sets * h);
  d->time_saved.hidden = take(arena, sets * h);
  c->kept              = take_bytes(arena, sets * sizeof(PetscInt));
  c->embeddings        = take(arena, sets * covariates);
  c->pre               = take(arena, sets * g);
  c->active            = take(arena, sets * g);
  c->code              = take(arena, sets * h);
  if (!d->plan.with_gradient) return;
  c->d_pre         = take(arena, sets * g);
  c->d_embeddings  = take(arena, sets * covariates);
  d->d_code        = take(arena, sets * h);
  d->d_time_hidden = take(arena, sets * h);
}

static void lay_out_scratch(Arena *arena, Denoiser *d)
{
  const size_t      sets = (size_t)d->plan.max_sets, cells = (size_t)d->cells, rows = sets * cells, h = (size_t)d->shape.hidden, heads = (size_t)d->shape.heads;
  const size_t      set_size = (size_t)d->plan.set_size, gathered = denoiser_split(&d->plan) ? sets * set_size * 2 * h : 0;
  AttentionScratch *a = &d->scratch.attention;

  d->positive           = take_bytes(arena, rows * (size_t)d->shape.genes);
  d->d_head             = take(arena, rows * (size_t)d->shape.genes);
  d->d_head_values      = take(arena, sets * 2 * h);
  a->d_mixed            = take(arena, rows * 2 * h);
  a->d_qkv              = take(arena, rows * 6 * h);
  a->d_score            = take(arena, heads * cells * set_size);
  a->d_keys             = take(arena, gathered);
  a->d_values           = take(arena, gathered);
  a->d_weight           = take(arena, (rows + PIECE_ROWS - 1) / PIECE_ROWS * 4 * h / heads);
  d->scratch.d_attended = take(arena, rows * 2 * h);
  d->scratch.d_tokens   = take(arena, rows * 2 * h);
  d->scratch.d_hidden   = take(arena, rows * 4 * h);
  for (int i = 0; i < 2; i++) {
    d->d_stream[i]             = take(arena, rows * h);
    d->scratch.d_input[i]      = take(arena, rows * h);
    d->scratch.d_output[i]     = take(arena, rows * h);
    d->scratch.d_modulation[i] = take(arena, sets * 6 * h);
  }
}

/* Lay out all arrays from base (NULL: count only); bytes taken. d->saved must have room for its blocks unless base is NULL. */
static size_t lay_out(Denoiser *d, unsigned char *base)
{
  const size_t sets = (size_t)d->plan.max_sets, rows = sets * (size_t)d->cells, h = (size_t)d->shape.hidden;
  Arena        arena = {.base = base, .used = 0};
  BlockSaved   counted;

  d->bias            = take(&arena, h);
  d->stream[0]       = take(&arena, rows * h);
  d->stream[1]       = take(&arena, rows * h);
  d->head_values     = take(&arena, sets * 2 * h);
  d->head_normalized = take(&arena, rows * h);
  d->head_inverse    = take(&arena, rows);
  d->head_input      = take(&arena, rows * h);
  lay_out_codes(&arena, d);
  for (int i = 0; i < 2; i++) d->block_input[i] = take(&arena, d->plan.with_gradient && d->plan.recompute ? (size_t)(d->shape.depth - 1) * rows * h : 0);
  for (PetscInt i = 0; i < denoiser_blocks_saved(&d->plan, d->shape.depth); i++) lay_out_block(&arena, d, base ? &d->saved[i] : &counted);
  if (d->plan.with_gradient) lay_out_scratch(&arena, d);
  return arena.used;
}

PetscInt denoiser_cells(const DenoiserPlan *plan)
{
  const PetscInt parts = PetscMax(plan->parts, 1);
  int            first, count;

  if (!plan->exchange) return (plan->set_size + parts - 1) / parts;
  cellexchange_cells(plan->exchange, cellexchange_rank(plan->exchange), &first, &count);
  return count;
}

PetscBool denoiser_split(const DenoiserPlan *plan) { return plan->parts > 1 || (plan->exchange && cellexchange_ranks(plan->exchange) > 1) ? PETSC_TRUE : PETSC_FALSE; }

PetscInt denoiser_blocks_saved(const DenoiserPlan *plan, PetscInt depth) { return plan->with_gradient && !plan->recompute ? depth : 1; }

size_t denoiser_bytes(const DenoiserShape *shape, const DenoiserPlan *plan)
{
  Denoiser d = {.shape = *shape, .plan = *plan, .cells = denoiser_cells(plan)};

  return lay_out(&d, NULL) + ALIGNMENT;
}

PetscErrorCode denoiser_create(const ParameterTable *table, const DenoiserPlan *plan, Denoiser **denoiser)
{
  Denoiser      *d;
  unsigned char *memory;
  int            first = 0, count = 0;

  PetscFunctionBeginUser;
  if (plan->exchange) cellexchange_cells(plan->exchange, cellexchange_ranks(plan->exchange) - 1, &first, &count);
  PetscCheck(!plan->exchange || first + count == plan->set_size, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "sets of %" PetscInt_FMT " cells, and an exchange for others",
             plan->set_size);
  PetscCheck(plan->exchange || plan->parts <= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "sets split over ranks without an exchange");
  PetscCall(PetscNew(&d));
  d->shape = table->shape;
  d->plan  = *plan;
  d->cells = denoiser_cells(plan);
  PetscCall(PetscCalloc2(d->shape.depth, &d->block, denoiser_blocks_saved(plan, d->shape.depth), &d->saved));
  PetscCall(find_layers(table, d));
  PetscCall(PetscMalloc1(denoiser_bytes(&d->shape, plan), &memory));
  memory_large_pages(memory, denoiser_bytes(&d->shape, plan));
  d->memory = memory;
  lay_out(d, memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) % ALIGNMENT);
  *denoiser = d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode denoiser_set_hooks(Denoiser *denoiser, const DenoiserHooks *hooks)
{
  PetscFunctionBeginUser;
  denoiser->hooks = hooks ? *hooks : (DenoiserHooks){NULL};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode denoiser_destroy(Denoiser **denoiser)
{
  PetscFunctionBeginUser;
  if (!*denoiser) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree((*denoiser)->memory));
  PetscCall(PetscFree2((*denoiser)->block, (*denoiser)->saved));
  PetscCall(PetscFree(*denoiser));
  PetscFunctionReturn(PETSC_SUCCESS);
}
