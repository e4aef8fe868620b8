/* The right BLAS kernels for the CPU. */
#include <perturbdiff/runtime/blas.h>
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Set for the second execution, so that there is no third. */
static const char marker[] = "PERTURBDIFF_BLAS_MENDED";

/* Idle threads of OpenBLAS look for work for 2^28 ticks after it is loaded, a tenth of a second in which they take a core from ours; now for 2^18, a tenth of a millisecond, then they sleep. */
static const char patience[] = "OPENBLAS_THREAD_TIMEOUT", ticks[] = "18";

const char *blas_core_name(void) { return openblas_get_corename(); }

/* Name of the kernels this CPU should have, NULL when those in use will do. */
#if defined(__x86_64__)
static const char *core_wanted(void)
{
  /* Kernels of OpenBLAS's x86 list without AVX2. */
  static const char *const old[] = {"Generic",   "Katmai",     "Coppermine", "Northwood",   "Prescott",  "Banias",     "Core2",
                                    "Penryn",    "Dunnington", "Nehalem",    "Atom",        "Athlon",    "Opteron",    "Opteron_SSE3",
                                    "Barcelona", "Bobcat",     "Nano",       "Sandybridge", "Bulldozer", "Piledriver", "Steamroller"};
  /* Kernels with AVX2: half the speed where the CPU has AVX-512 (measured 45 against 87 GF/s of dgemm); kept where the user asked for them. */
  static const char *const half[] = {"Haswell", "Zen", "Excavator"};
  const char *const        asked  = getenv("OPENBLAS_CORETYPE");
  int                      too_old = 0;

  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return NULL;
  const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  for (size_t i = 0; i < sizeof old / sizeof *old; i++) too_old |= !strcasecmp(blas_core_name(), old[i]);
  for (size_t i = 0; avx512 && !(asked && *asked) && i < sizeof half / sizeof *half; i++) too_old |= !strcasecmp(blas_core_name(), half[i]);
  if (!too_old) return NULL;
  if (avx512) return "SkylakeX";
  return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
}
#else
static const char *core_wanted(void) { return NULL; }
#endif

/* Before MPI knows: the launcher's word for this process's rank. */
static int first_rank(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};

  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *rank = getenv(names[i]);
    if (rank) return !strcmp(rank, "0");
  }
  return 1;
}

static void mend(char **argv, const char *wanted)
{
  const char *const asked = getenv("OPENBLAS_CORETYPE");

  if (asked && *asked && first_rank())
    fprintf(stderr, "warning: OPENBLAS_CORETYPE=%s is too old for this CPU, %s taken instead; PERTURBDIFF_KEEP_BLAS=1 keeps it\n", asked, wanted);
  if (setenv(marker, "1", 1) || setenv("OPENBLAS_CORETYPE", wanted, 1)) return;
  (void)setenv(patience, ticks, 0);
  fflush(NULL);
  execv("/proc/self/exe", argv);
  /* Not replaced: programs started from here get their own try. */
  unsetenv(marker);
}

/* What OpenBLAS itself calls when it is loaded and before a fork; not in every build. */
extern void openblas_read_env(void) __attribute__((weak));
extern int  blas_thread_shutdown_(void) __attribute__((weak));

/* Threads that are there end; new ones are begun when the number is set, with the new patience. */
static void hurry_idle_threads(void)
{
  if (getenv(patience) || !openblas_read_env || !blas_thread_shutdown_ || setenv(patience, ticks, 0)) return;
  openblas_read_env();
  (void)blas_thread_shutdown_();
}

void blas_guard(int argc, char **argv)
{
  const char *const wanted = core_wanted();

  if (wanted && argc > 0 && !getenv(marker) && !getenv("PERTURBDIFF_KEEP_BLAS")) mend(argv, wanted);
  hurry_idle_threads();
  if (!getenv("OPENBLAS_NUM_THREADS")) openblas_set_num_threads(omp_get_max_threads());
}
