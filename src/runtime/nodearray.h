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
/* The same on all nodes of comm or on none of them. Collective on comm. */
int  nodearray_create_everywhere(MPI_Comm comm, MPI_Comm node, size_t own, NodeArray *array);
/* Not collective: what other ranks have mapped stays theirs. */
void nodearray_destroy(NodeArray *array);

/* node_find - this rank's node (free it with MPI_Comm_free), and its ranks if all nodes of comm have as many and neighbours share a node; else 1. Collective. */
int node_find(MPI_Comm comm, int rank, MPI_Comm *node, int *ranks);

#endif
