/* Chunks of compressed arrays of a store, unpacked on demand into a bounded cache that the ranks of a node share. */
#ifndef DATA_CHUNK_CACHE_H
#define DATA_CHUNK_CACHE_H

#include <hdf5.h>
#include <petscsys.h>
#include <stdint.h>

/* Where the chunks of one compressed one-dimensional data set lie in the file. */
typedef struct {
  int64_t   chunks, elements; /* elements: of one chunk; the last one is stored whole too */
  size_t    width;            /* bytes of an element */
  int       shuffle, deflate; /* place of the filter in the pipeline, -1: not there */
  uint64_t *at, *size;        /* (chunks) byte address and size in the file */
  uint32_t *skipped;          /* (chunks) bit f: filter f was not applied */
} ChunkTable;

/* chunktable_read - of an open data set of extent elements; *readable is false when its filters are not shuffle and deflate: foreign then names the first other
   one, "" where it is the chunks that do not fit. Not collective. chunktable_free is safe on a zeroed table. */
PetscErrorCode chunktable_read(hid_t dataset, hid_t type, int64_t extent, ChunkTable *table, PetscBool *readable, char foreign[96]);
PetscErrorCode chunktable_free(ChunkTable *table);

typedef struct ChunkCache ChunkCache;

/* chunkcache_create - room for bytes of unpacked chunks on each node (at least eight chunks a rank, at most all chunks). file: the mapped
   file, file_size bytes of it; file, path and tables are borrowed until chunkcache_destroy. Collective, as is chunkcache_destroy (safe on NULL). */
PetscErrorCode chunkcache_create(MPI_Comm comm, const char *path, const unsigned char *file, size_t file_size, int tables, const ChunkTable *const *table, double bytes,
                                 ChunkCache **cache);
PetscErrorCode chunkcache_destroy(ChunkCache **cache);
/* Bytes of the cache, divided among the ranks of the node that share it; 0 of NULL. */
double chunkcache_share(const ChunkCache *cache);

/* chunkcache_pin - unpack a chunk, unless it is there, and keep it until chunkcache_unpin of *slot. A thread may hold two. Thread-safe;
   neither HDF5 nor MPI. Allocates only while it unpacks. User error: damaged. */
PetscErrorCode chunkcache_pin(ChunkCache *cache, int table, int64_t chunk, int32_t *slot, const unsigned char **bytes);
void           chunkcache_unpin(ChunkCache *cache, int32_t slot);

#endif
