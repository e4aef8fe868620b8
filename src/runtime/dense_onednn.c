/* Dense products by oneDNN: one matmul primitive for each shape, kept in a hash table, with bias, sum and activation in the kernel. */
#include "dense_private.h"

#ifdef DENSE_BY_ONEDNN
  #include <dnnl.h>
  #include <omp.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>

  #define DnnlCheck(expression)                                                                                                                                \
    do {                                                                                                                                                       \
      const dnnl_status_t dnnl_status = (expression);                                                                                                          \
      if (dnnl_status != dnnl_success) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "oneDNN: %s gave status %d", #expression, (int)dnnl_status);                    \
    } while (0)

enum { KEY_WORDS = 16, SLOTS = 4096, MOST_KERNELS = SLOTS / 2, ARGUMENTS = 5 };

/* Everything a kernel is made for, without padding so that keys compare bytewise. */
typedef struct {
  int64_t word[KEY_WORDS];
} Key;

typedef struct {
  Key              key;
  dnnl_primitive_t primitive; /* NULL: use dnnl_sgemm, matmul is slower or has its reference only */
  int              arguments;
  dnnl_exec_arg_t  argument[ARGUMENTS]; /* source, weights, destination, scratchpad, bias */
} Kernel;

/* The cache of this process. */
static struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  Kernel       *slots[SLOTS];
  int           kernels;
  void         *scratch; /* shared by all kernels: one runs at a time */
  size_t        scratch_size;
} cache;

const char *dense_backend(void)
{
  static char                 name[96];
  const dnnl_version_t *const version = dnnl_version();
  const dnnl_cpu_isa_t        isa = dnnl_get_effective_cpu_isa();
  const char                 *isa_name = isa >= dnnl_cpu_isa_avx2_vnni          ? "avx2_vnni"
                                         : isa >= dnnl_cpu_isa_avx512_core_amx  ? "avx512_core_amx"
                                         : isa >= dnnl_cpu_isa_avx512_core_bf16 ? "avx512_core_bf16"
                                         : isa >= dnnl_cpu_isa_avx512_core_vnni ? "avx512_core_vnni"
                                         : isa >= dnnl_cpu_isa_avx512_core      ? "avx512_core"
                                         : isa >= dnnl_cpu_isa_avx2             ? "avx2"
                                         : isa >= dnnl_cpu_isa_avx              ? "avx"
                                                                                : "sse41";

  if (!*name) snprintf(name, sizeof name, "oneDNN %d.%d.%d (%s)", version->major, version->minor, version->patch, isa_name);
  return name;
}

static Key key_of(const DenseProduct *p)
{
  Key     key = {{p->count, p->m, p->n, p->k, p->lda, p->ldb, p->ldc}};
  int32_t alpha, beta;

  memcpy(&alpha, &p->alpha, sizeof alpha);
  memcpy(&beta, &p->beta, sizeof beta);
  key.word[7] = (int64_t)p->stride_a;
  key.word[8] = (int64_t)p->stride_b;
  key.word[9] = (int64_t)p->stride_c;
  key.word[10] = alpha;
  key.word[11] = beta;
  key.word[12] = p->transpose_a | p->transpose_b << 1 | (p->bias != NULL) << 2;
  key.word[13] = p->activation;
  key.word[14] = omp_get_max_threads();
  return key;
}

static size_t slot_of(const Key *key)
{
  uint64_t hash = 0;

  for (int i = 0; i < KEY_WORDS; i++) {
    hash = (hash ^ (uint64_t)key->word[i]) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 29;
  }
  size_t slot = hash % SLOTS;
  while (cache.slots[slot] && memcmp(&cache.slots[slot]->key, key, sizeof *key)) slot = (slot + 1) % SLOTS;
  return slot;
}

static PetscErrorCode kernel_destroy(Kernel *kernel)
{
  for (int i = 0; i < kernel->arguments; i++) DnnlCheck(dnnl_memory_destroy(kernel->argument[i].memory));
  if (kernel->primitive) DnnlCheck(dnnl_primitive_destroy(kernel->primitive));
  return PetscFree(kernel);
}

PetscErrorCode dense_release(void)
{
  for (int s = 0; s < SLOTS; s++) {
    if (cache.slots[s]) PetscCall(kernel_destroy(cache.slots[s]));
    cache.slots[s] = NULL;
  }
  cache.kernels = 0;
  free(cache.scratch);
  cache.scratch = NULL;
  cache.scratch_size = 0;
  if (cache.stream) DnnlCheck(dnnl_stream_destroy(cache.stream));
  if (cache.engine) DnnlCheck(dnnl_engine_destroy(cache.engine));
  cache.stream = NULL;
  cache.engine = NULL;
  return PETSC_SUCCESS;
}

/* Description of count row-major matrices (rows, columns), stored transposed or not. */
static PetscErrorCode describe(dnnl_memory_desc_t *description, PetscInt count, PetscInt rows, PetscInt columns, PetscBool transposed, PetscInt ld,
                               size_t stride)
{
  const dnnl_dims_t one = {rows, columns}, one_strides = {transposed ? 1 : ld, transposed ? ld : 1};
  const dnnl_dims_t many = {count, rows, columns}, many_strides = {(dnnl_dim_t)stride, transposed ? 1 : ld, transposed ? ld : 1};

  if (count == 1)
    DnnlCheck(dnnl_memory_desc_init_by_strides(description, 2, one, dnnl_f32, one_strides));
  else
    DnnlCheck(dnnl_memory_desc_init_by_strides(description, 3, many, dnnl_f32, many_strides));
  return PETSC_SUCCESS;
}

static PetscErrorCode attributes_of(const DenseProduct *p, dnnl_primitive_attr_t *attributes)
{
  dnnl_post_ops_t post;

  DnnlCheck(dnnl_primitive_attr_create(attributes));
  DnnlCheck(dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user));
  if (p->alpha != 1) DnnlCheck(dnnl_primitive_attr_set_output_scales(*attributes, 1, 0, &p->alpha));
  DnnlCheck(dnnl_post_ops_create(&post));
  if (p->beta != 0) DnnlCheck(dnnl_post_ops_append_sum(post, p->beta));
  if (p->activation != DENSE_LINEAR)
    DnnlCheck(dnnl_post_ops_append_eltwise(post, 1, p->activation == DENSE_RELU ? dnnl_eltwise_relu : dnnl_eltwise_gelu_tanh, 0, 0));
  DnnlCheck(dnnl_primitive_attr_set_post_ops(*attributes, post));
  DnnlCheck(dnnl_post_ops_destroy(post));
  return PETSC_SUCCESS;
}

static PetscErrorCode add_argument(Kernel *kernel, int what, const dnnl_memory_desc_t *description)
{
  dnnl_exec_arg_t *argument = &kernel->argument[kernel->arguments++];

  argument->arg = what;
  DnnlCheck(dnnl_memory_create(&argument->memory, description, cache.engine, DNNL_MEMORY_NONE));
  return PETSC_SUCCESS;
}

/* Scratch for all kernels so far, on a page of its own. */
static PetscErrorCode scratch_grow(size_t size)
{
  if (size <= cache.scratch_size) return PETSC_SUCCESS;
  free(cache.scratch);
  cache.scratch_size = (size + 4095) / 4096 * 4096;
  cache.scratch = aligned_alloc(4096, cache.scratch_size);
  if (!cache.scratch) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for %zu bytes of scratch", cache.scratch_size);
  return PETSC_SUCCESS;
}

/* Gradients of weights, added to what is there: dnnl_sgemm is faster than matmul with its sum done afterwards (225 against 178 GF/s a core for 256 rows). */
static PetscBool better_by_sgemm(const DenseProduct *p) { return p->count == 1 && p->transpose_a && p->beta != 0 ? PETSC_TRUE : PETSC_FALSE; }

static PetscErrorCode kernel_create(const DenseProduct *p, const Key *key, Kernel **result)
{
  dnnl_memory_desc_t    a, b, c, bias;
  dnnl_matmul_desc_t    operation;
  dnnl_primitive_attr_t attributes;
  dnnl_primitive_desc_t description = NULL;
  const char           *kind = "ref";
  Kernel               *kernel;

  if (!cache.engine) DnnlCheck(dnnl_engine_create(&cache.engine, dnnl_cpu, 0));
  if (!cache.stream) DnnlCheck(dnnl_stream_create(&cache.stream, cache.engine, dnnl_stream_default_flags));
  PetscCall(PetscCalloc1(1, &kernel));
  kernel->key = *key;
  *result = kernel;
  if (better_by_sgemm(p)) return PETSC_SUCCESS;
  PetscCall(describe(&a, p->count, p->m, p->k, p->transpose_a, p->lda, p->stride_a));
  PetscCall(describe(&b, p->count, p->k, p->n, p->transpose_b, p->ldb, p->stride_b));
  PetscCall(describe(&c, p->count, p->m, p->n, PETSC_FALSE, p->ldc, p->stride_c));
  PetscCall(describe(&bias, 1, 1, p->n, PETSC_FALSE, p->n, 0));
  DnnlCheck(dnnl_matmul_desc_init(&operation, &a, &b, p->bias ? &bias : NULL, &c));
  PetscCall(attributes_of(p, &attributes));
  const dnnl_status_t status = dnnl_primitive_desc_create(&description, &operation, attributes, cache.engine, NULL);
  DnnlCheck(dnnl_primitive_attr_destroy(attributes));
  if (status == dnnl_success) DnnlCheck(dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &kind));
  if (status == dnnl_success && strncmp(kind, "ref", 3)) {
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    DnnlCheck(dnnl_primitive_create(&kernel->primitive, description));
    PetscCall(add_argument(kernel, DNNL_ARG_SRC, &a));
    PetscCall(add_argument(kernel, DNNL_ARG_WEIGHTS, &b));
    PetscCall(add_argument(kernel, DNNL_ARG_DST, &c));
    PetscCall(add_argument(kernel, DNNL_ARG_SCRATCHPAD, scratch));
    if (p->bias) PetscCall(add_argument(kernel, DNNL_ARG_BIAS, &bias));
    PetscCall(scratch_grow(dnnl_memory_desc_get_size(scratch)));
  }
  if (status == dnnl_success)
    DnnlCheck(dnnl_primitive_desc_destroy(description));
  else if (status != dnnl_unimplemented && status != dnnl_invalid_arguments)
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "oneDNN: matmul gave status %d", (int)status);
  return PETSC_SUCCESS;
}

static PetscErrorCode by_sgemm(const DenseProduct *p)
{
  for (PetscInt i = 0; i < p->count; i++) {
    Real *c = p->c + (size_t)i * p->stride_c;
    DnnlCheck(dnnl_sgemm(p->transpose_a ? 'T' : 'N', p->transpose_b ? 'T' : 'N', p->m, p->n, p->k, p->alpha, p->a + (size_t)i * p->stride_a, p->lda,
                         p->b + (size_t)i * p->stride_b, p->ldb, p->beta, c, p->ldc));
    dense_finish(p->m, p->n, p->bias, p->activation, c, p->ldc);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode dense_backend_product(const DenseProduct *p)
{
  const Key key = key_of(p);
  size_t    slot = slot_of(&key);

  if (!cache.slots[slot]) {
    if (cache.kernels == MOST_KERNELS) {
      PetscCall(dense_release());
      slot = slot_of(&key);
    }
    PetscCall(kernel_create(p, &key, &cache.slots[slot]));
    cache.kernels++;
  }
  Kernel *const kernel = cache.slots[slot];
  if (!kernel->primitive) return by_sgemm(p);
  void *const handles[ARGUMENTS] = {(void *)p->a, (void *)p->b, p->c, cache.scratch, (void *)p->bias};
  for (int i = 0; i < kernel->arguments; i++) DnnlCheck(dnnl_memory_set_data_handle(kernel->argument[i].memory, handles[i]));
  DnnlCheck(dnnl_primitive_execute(kernel->primitive, cache.stream, kernel->arguments, kernel->argument));
  return PETSC_SUCCESS;
}
#endif
