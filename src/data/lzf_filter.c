/* HDF5 filter 32000, h5py's "lzf", for reading: chunks compressed by LibLZF (layout as h5py's lzf_filter.c). */
#include "anndata_private.h"
#include <errno.h>
#include <liblzf/lzf.h>

#define LZF_FILTER     ((H5Z_filter_t)32000)
#define LZF_LARGEST    ((size_t)1 << 31) /* a chunk beyond this is damage */
#define LZF_CHUNK_SIZE 2                 /* place of the chunk's size among the filter's values */

/* As HDF5 wants it: the bytes of the chunk, or 0 for failure. */
static size_t lzf_filter(unsigned flags, size_t count, const unsigned values[], size_t bytes, size_t *buffer_size, void **buffer)
{
  size_t size = count > LZF_CHUNK_SIZE && values[LZF_CHUNK_SIZE] ? values[LZF_CHUNK_SIZE] : *buffer_size;

  if (!(flags & H5Z_FLAG_REVERSE)) return 0; /* never written by this program */
  for (; size && size <= LZF_LARGEST; size *= 2) {
    void *plain = H5allocate_memory(size, 0);
    if (!plain) return 0;
    errno                   = 0;
    const unsigned unpacked = lzf_decompress(*buffer, (unsigned)bytes, plain, (unsigned)size);
    if (unpacked) {
      H5free_memory(*buffer);
      *buffer      = plain;
      *buffer_size = size;
      return unpacked;
    }
    H5free_memory(plain);
    if (errno != E2BIG) return 0;
  }
  return 0;
}

PetscErrorCode lzf_filter_register(void)
{
  static const H5Z_class2_t filter = {.version = H5Z_CLASS_T_VERS, .id = LZF_FILTER, .encoder_present = 0, .decoder_present = 1, .name = "lzf", .filter = lzf_filter};

  PetscFunctionBeginUser;
  if (H5Zfilter_avail(LZF_FILTER) <= 0) H5Check(H5Zregister(&filter));
  PetscFunctionReturn(PETSC_SUCCESS);
}
