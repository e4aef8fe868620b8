/* One lock, one table of slots and the slots themselves in memory of the node; whoever misses a chunk unpacks it, the others wait for it. */
#include "data/chunk_cache.h"
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/file.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* The thread that computes and the one that fetches ahead, two chunks each, and as many that need not be given up at once. */
enum { SLOTS_A_RANK = 8, MOST_TABLES = 2, ALIGNMENT = 4096, MOST_CHUNK_BYTES = 1 << 28 };

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t  changed;
  uint64_t        uses;
  int32_t         waiting;
} Control;

typedef struct {
  int64_t  chunk; /* -1: none */
  uint64_t used;  /* number of its last use */
  int32_t  pins, ready;
} Slot;

struct ChunkCache {
  const char          *path;
  const unsigned char *file;
  size_t               file_size, slot_bytes;
  const ChunkTable    *table[MOST_TABLES];
  int64_t              first[MOST_TABLES + 1]; /* chunks of the tables before */
  int32_t              slots;
  double               share; /* of the cache's bytes that count for this rank */
  /* In the memory of the node. */
  Control       *control;
  Slot          *slot;
  int32_t       *slot_of; /* (chunks) -1: not unpacked */
  unsigned char *bytes;   /* (slots, slot_bytes) */
  MPI_Win        window;
  void          *owned;
};

/* ---- Where the chunks are ---- */

/* Shuffle and deflate in the pipeline, nothing else; foreign: the name of the first other filter. */
static PetscBool known_filters(hid_t properties, ChunkTable *table, char foreign[96])
{
  const int count = H5Pget_nfilters(properties);

  table->shuffle = table->deflate = -1;
  for (int f = 0; f < count; f++) {
    const int filter = h5_filter_name(properties, (unsigned)f, foreign, 96);
    if (filter == H5Z_FILTER_SHUFFLE && table->shuffle < 0 && table->deflate < 0) table->shuffle = f;
    else if (filter == H5Z_FILTER_DEFLATE && table->deflate < 0) table->deflate = f;
    else return PETSC_FALSE;
  }
  *foreign = '\0';
  return PETSC_TRUE;
}

static PetscErrorCode locate(hid_t dataset, ChunkTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)table->chunks, &table->at, (size_t)table->chunks, &table->size, (size_t)table->chunks, &table->skipped));
  for (int64_t c = 0; c < table->chunks; c++) {
    const hsize_t start = (hsize_t)(c * table->elements);
    unsigned      skipped = 0;
    haddr_t       at      = HADDR_UNDEF;
    hsize_t       size    = 0;
    /* A failure is a damaged index: as if the chunk were not there. */
    if (H5Dget_chunk_info_by_coord(dataset, &start, &skipped, &at, &size) < 0) at = HADDR_UNDEF;
    table->at[c]      = at == HADDR_UNDEF ? UINT64_MAX : at;
    table->size[c]    = size;
    table->skipped[c] = skipped;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode chunktable_read(hid_t dataset, hid_t type, int64_t extent, ChunkTable *table, PetscBool *readable, char foreign[96])
{
  hsize_t elements = 0;
  hid_t   properties;

  PetscFunctionBeginUser;
  *readable = PETSC_FALSE;
  *foreign = '\0';
  H5Check(properties = H5Dget_create_plist(dataset));
  if (H5Pget_layout(properties) == H5D_CHUNKED && H5Pget_chunk(properties, 1, &elements) == 1) *readable = known_filters(properties, table, foreign);
  H5Check(H5Pclose(properties));
  table->width = H5Tget_size(type);
  if (!elements || elements > MOST_CHUNK_BYTES / table->width) *readable = PETSC_FALSE;
  if (!*readable) PetscFunctionReturn(PETSC_SUCCESS);
  table->elements = (int64_t)elements;
  table->chunks   = (extent + table->elements - 1) / table->elements;
  PetscCall(locate(dataset, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode chunktable_free(ChunkTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(table->at, table->size, table->skipped));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- The cache ---- */

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static size_t head_bytes(int32_t slots, int64_t chunks)
{
  return aligned(sizeof(Control)) + aligned((size_t)slots * sizeof(Slot)) + aligned((size_t)chunks * sizeof(int32_t));
}

/* Slots that a share of bytes gives to ranks ranks. */
static int32_t slots_for(const ChunkCache *cache, double bytes, int ranks)
{
  const double  wanted = bytes / (double)cache->slot_bytes, least = (double)ranks * SLOTS_A_RANK;
  const int64_t chunks = cache->first[MOST_TABLES];

  return (int32_t)PetscMin(PetscMax(wanted, least), (double)PetscMin(PetscMax(chunks, 1), INT32_MAX));
}

/* Memory that all ranks of the node see; own memory, a rank's share of it, where there is one rank or no room for sharing. */
static PetscErrorCode allocate(MPI_Comm node, ChunkCache *cache, double bytes, unsigned char **memory, PetscBool *first)
{
  const int64_t chunks = cache->first[MOST_TABLES];
  int           ranks, rank, failed, any;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_rank(node, &rank));
  cache->slots = slots_for(cache, bytes, ranks);
  if (ranks > 1) {
    const size_t size = head_bytes(cache->slots, chunks) + (size_t)cache->slots * cache->slot_bytes;
    void        *own;
    PetscCallMPI(MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN));
    failed = MPI_Win_allocate_shared(rank ? 0 : (MPI_Aint)size, 1, MPI_INFO_NULL, node, &own, &cache->window) != MPI_SUCCESS;
    PetscCallMPI(MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, node));
    if (!any) {
      MPI_Aint extent;
      int      unit;
      PetscCallMPI(MPI_Win_shared_query(cache->window, 0, &extent, &unit, memory));
      *first = rank ? PETSC_FALSE : PETSC_TRUE;
      cache->share = (double)size / ranks;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    if (!failed) PetscCallMPI(MPI_Win_free(&cache->window));
    cache->window = MPI_WIN_NULL;
    cache->slots  = slots_for(cache, bytes / ranks, 1);
  }
  const size_t size = head_bytes(cache->slots, chunks) + (size_t)cache->slots * cache->slot_bytes;
  PetscCall(PetscMalloc(size, &cache->owned));
  cache->share = (double)size;
  *memory = cache->owned;
  *first  = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode start(ChunkCache *cache)
{
  pthread_mutexattr_t lock;
  pthread_condattr_t  changed;

  PetscFunctionBeginUser;
  memset(cache->control, 0, sizeof *cache->control);
  for (int32_t s = 0; s < cache->slots; s++) cache->slot[s] = (Slot){.chunk = -1};
  for (int64_t c = 0; c < cache->first[MOST_TABLES]; c++) cache->slot_of[c] = -1;
  int failed = pthread_mutexattr_init(&lock) || pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED) || pthread_mutex_init(&cache->control->lock, &lock);
  failed     = failed || pthread_condattr_init(&changed) || pthread_condattr_setpshared(&changed, PTHREAD_PROCESS_SHARED) || pthread_cond_init(&cache->control->changed, &changed);
  if (failed) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "the lock of the cells' cache cannot be made");
  pthread_mutexattr_destroy(&lock);
  pthread_condattr_destroy(&changed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode chunkcache_create(MPI_Comm comm, const char *path, const unsigned char *file, size_t file_size, int tables, const ChunkTable *const *table, double bytes,
                                 ChunkCache **cache)
{
  ChunkCache    *c;
  MPI_Comm       node;
  unsigned char *memory = NULL;
  PetscBool      first = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&c));
  c->path      = path;
  c->file      = file;
  c->file_size = file_size;
  c->window    = MPI_WIN_NULL;
  for (int t = 0; t < MOST_TABLES; t++) {
    const ChunkTable *one = t < tables ? table[t] : NULL;
    c->table[t]           = one;
    c->first[t + 1]       = c->first[t] + (one ? one->chunks : 0);
    if (one) c->slot_bytes = PetscMax(c->slot_bytes, aligned((size_t)one->elements * one->width));
  }
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCall(allocate(node, c, bytes, &memory, &first));
  c->control = (Control *)(void *)memory;
  c->slot    = (Slot *)(void *)(memory + aligned(sizeof(Control)));
  c->slot_of = (int32_t *)(void *)(memory + aligned(sizeof(Control)) + aligned((size_t)c->slots * sizeof(Slot)));
  c->bytes   = memory + head_bytes(c->slots, c->first[MOST_TABLES]);
  if (first) PetscCall(start(c));
  PetscCallMPI(MPI_Barrier(node));
  PetscCallMPI(MPI_Comm_free(&node));
  *cache = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double chunkcache_share(const ChunkCache *cache) { return cache ? cache->share : 0; }

PetscErrorCode chunkcache_destroy(ChunkCache **cache)
{
  PetscFunctionBeginUser;
  if (!*cache) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*cache)->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&(*cache)->window));
  PetscCall(PetscFree((*cache)->owned));
  PetscCall(PetscFree(*cache));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Unpacking. From here on no PETSc call stack: these run in the thread that fetches ahead. ---- */

/* Byte b of element i lies at b * elements + i. */
static void unshuffle(const unsigned char *restrict in, size_t elements, size_t width, unsigned char *restrict out)
{
  if (width == 2)
    for (size_t i = 0; i < elements; i++)
      for (size_t b = 0; b < 2; b++) out[2 * i + b] = in[b * elements + i];
  else if (width == 4)
    for (size_t i = 0; i < elements; i++)
      for (size_t b = 0; b < 4; b++) out[4 * i + b] = in[b * elements + i];
  else
    for (size_t i = 0; i < elements; i++)
      for (size_t b = 0; b < width; b++) out[width * i + b] = in[b * elements + i];
}

static PetscErrorCode unpack(const ChunkCache *cache, const ChunkTable *table, int64_t chunk, unsigned char *out)
{
  const size_t         size     = (size_t)table->elements * table->width;
  const uint32_t       skipped  = table->skipped[chunk];
  const PetscBool      shuffled = table->shuffle >= 0 && !(skipped >> table->shuffle & 1) ? PETSC_TRUE : PETSC_FALSE;
  const PetscBool      deflated = table->deflate >= 0 && !(skipped >> table->deflate & 1) ? PETSC_TRUE : PETSC_FALSE;
  unsigned char       *scratch  = NULL;
  PetscBool            good     = table->at[chunk] <= cache->file_size && table->size[chunk] <= cache->file_size - table->at[chunk] ? PETSC_TRUE : PETSC_FALSE;
  const unsigned char *in       = good ? cache->file + table->at[chunk] : NULL;

  if (good && deflated) {
    uLongf         length = size;
    unsigned char *plain  = shuffled ? scratch = malloc(size) : out;
    if (!plain) return PETSC_ERR_MEM;
    good = uncompress(plain, &length, in, table->size[chunk]) == Z_OK && length == size ? PETSC_TRUE : PETSC_FALSE;
    in   = plain;
  } else if (table->size[chunk] != size) good = PETSC_FALSE;
  if (good && shuffled) unshuffle(in, (size_t)table->elements, table->width, out);
  else if (good && in != out) memcpy(out, in, size);
  free(scratch);
  return good ? PETSC_SUCCESS : error_user("%s: damaged: a chunk of cells cannot be unpacked; prepare it again", cache->path);
}

/* The slot whose last use is longest ago among those nobody holds, -1 if all are held. */
static int32_t oldest(const ChunkCache *cache)
{
  int32_t found = -1;

  for (int32_t s = 0; s < cache->slots; s++)
    if (!cache->slot[s].pins && (found < 0 || cache->slot[s].used < cache->slot[found].used)) found = s;
  return found;
}

static void wait_for_change(Control *control)
{
  control->waiting++;
  pthread_cond_wait(&control->changed, &control->lock);
  control->waiting--;
}

PetscErrorCode chunkcache_pin(ChunkCache *cache, int table, int64_t chunk, int32_t *slot, const unsigned char **bytes)
{
  Control       *control = cache->control;
  const int64_t  number  = cache->first[table] + chunk;
  PetscErrorCode code    = PETSC_SUCCESS;
  int32_t        s;

  pthread_mutex_lock(&control->lock);
  /* Until the chunk is there, or a slot is free and nobody else is unpacking the chunk. */
  while ((s = cache->slot_of[number]) < 0 ? (s = oldest(cache)) < 0 : !cache->slot[s].ready) wait_for_change(control);
  Slot *own = &cache->slot[s];
  if (own->chunk != number) {
    if (own->chunk >= 0) cache->slot_of[own->chunk] = -1;
    *own                   = (Slot){.chunk = number, .pins = 1};
    cache->slot_of[number] = s;
    pthread_mutex_unlock(&control->lock);
    code = unpack(cache, cache->table[table], chunk, cache->bytes + (size_t)s * cache->slot_bytes);
    pthread_mutex_lock(&control->lock);
    own->ready = 1;
    own->pins--;
    if (code) {
      *own                   = (Slot){.chunk = -1};
      cache->slot_of[number] = -1;
    }
    if (control->waiting) pthread_cond_broadcast(&control->changed);
  }
  if (!code) {
    own->pins++;
    own->used = ++control->uses;
  }
  pthread_mutex_unlock(&control->lock);
  *slot  = s;
  *bytes = cache->bytes + (size_t)s * cache->slot_bytes;
  return code;
}

void chunkcache_unpin(ChunkCache *cache, int32_t slot)
{
  pthread_mutex_lock(&cache->control->lock);
  if (!--cache->slot[slot].pins && cache->control->waiting) pthread_cond_broadcast(&cache->control->changed);
  pthread_mutex_unlock(&cache->control->lock);
}
