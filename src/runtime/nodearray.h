/* Memory of each rank of a node that the others of the node see. Free of PETSc and HDF5 (see grid.h). */
#ifndef RUNTIME_NODEARRAY_H
#define RUNTIME_NODEARRAY_H

#include <mpi.h>
#include <stddef.h>

/* of[r]: where this rank finds what rank r of the node's communicator holds, bytes[r] of it (0: of[r] is NULL). of NULL: there is none. */
typedef struct {
  int     ranks;
  void  **of;
  size_t *bytes;
} NodeArray;

/* nodearray_create - own bytes, zeros, on pages reserved now so that writing cannot fail later; the others' mapped. Where the node lacks room or the means array->of is
   NULL on all ranks of the node, which is no error. Collective on node. */
int  nodearray_create(MPI_Comm node, size_t own, NodeArray *array);
/* Not collective: what other ranks have mapped stays theirs. */
void nodearray_destroy(NodeArray *array);

#endif
