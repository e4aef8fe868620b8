/* What Open MPI need not look for when it starts. */
#ifndef PERTURBDIFF_RUNTIME_LAUNCH_H
#define PERTURBDIFF_RUNTIME_LAUNCH_H

/* launch_shortcuts - before MPI starts: where this process is the only one, or all ranks are on one node (by the word of Open MPI's launcher), messages go through shared memory, and the search for
   networks is left out by OMPI_MCA_pml=ob1, 0.2 s; a process alone needs no daemon either, 0.1 s (OMPI_MCA_ess_singleton_isolated=1), and no list of devices,
   0.02 s (HWLOC_COMPONENTS). What the environment sets already, stays. No errors. */
void launch_shortcuts(void);

#endif
