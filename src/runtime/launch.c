/* What Open MPI need not look for when it starts. */
#include <perturbdiff/runtime/launch.h>
#include <stdlib.h>
#include <string.h>

/* Has a launcher started this process? */
static int launched(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "OMPI_MCA_ess", "PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "PMI_FD", "SLURM_PROCID", "ALPS_APP_PE", "PALS_RANKID"};

  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i])) return 1;
  return 0;
}

void launch_shortcuts(void)
{
  const char *const all = getenv("OMPI_COMM_WORLD_SIZE"), *const here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  const int         alone = !launched();

  /* A refusal costs time only. */
  if (alone || (all && here && !strcmp(all, here))) (void)setenv("OMPI_MCA_pml", "ob1", 0);
  if (!alone) return;
  (void)setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  /* All such processes of a user would have one session folder, which the first to end takes from the others: they make none, and what keeps a file there, shared
     file pointers, is not for a process alone. */
  (void)setenv("OMPI_MCA_orte_create_session_dirs", "0", 0);
  (void)setenv("OMPI_MCA_sharedfp", "^sm", 0);
  /* Nor does a process alone choose cores by their way to devices, for which displays and the PCI bus would be asked. */
  (void)setenv("HWLOC_COMPONENTS", "-gl,-opencl,-pci,-linuxio", 0);
}
