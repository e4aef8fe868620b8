#!/bin/bash
# Tables of evaluate against those of cell-eval in tests/data/evaluate/CASE, made by make_cases.py there, on 1, 2, 3 and 4 ranks.
folder=$(cd "${srcdir:-.}" && pwd)/tests/data/evaluate
program=$(cd "${builddir:-.}" && pwd)/tests/evaluate_parity
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_btl_base_warn_component_unused=0 OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || exit 1
status=0
for case in "$folder"/*/; do
  case=$(basename "$case")
  for ranks in ${TEST_RANKS:-1 2 3 4}; do
    if timeout 60 "${MPIEXEC:-mpiexec}" --oversubscribe -n "$ranks" "$program" "$folder/$case" >out 2>err; then
      echo "ok $case on $ranks rank(s)"
    else
      echo "not ok $case on $ranks rank(s)"; grep "^not ok" out; cat err; status=1
    fi
  done
done
exit $status
