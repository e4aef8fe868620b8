#!/bin/bash
# Tables of evaluate against those of cell-eval in tests/data/evaluate/CASE, made by make_cases.py there, on 1, 2, 3 and 4 ranks. Some again with so little memory that
# the ranks of a node share the cells of a file (order with 1.2 MiB), that a few populations are read at a time (0.2), or one, row by row (0.001). Some without compression, whose rows are
# read one by one past HDF5, in chunks smaller than a row (7 values), in larger ones, and in one piece (0).
folder=$(cd "${srcdir:-.}" && pwd)/tests/data/evaluate
program=$(cd "${builddir:-.}" && pwd)/tests/evaluate_parity
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_btl_base_warn_component_unused=0 OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || exit 1
status=0
for case in "$folder"/*/; do
  case=$(basename "$case")
  case $case in order|counts|typed_counts|few) memories="0 1.2 0.2 0.001" ;; *) memories=0 ;; esac
  case $case in order|double) chunks="-1 7 0" ;; counts|typed_counts|ugly|filtered|embedded) chunks="-1 1000" ;; *) chunks=-1 ;; esac
  for ranks in ${TEST_RANKS:-1 2 3 4}; do
    for memory in $memories; do
      for chunk in $chunks; do
        [ "$memory" = 0 ] || [ "$chunk" = -1 ] || continue
        if timeout 60 "${MPIEXEC:-mpiexec}" --oversubscribe -n "$ranks" "$program" "$folder/$case" -memory "$memory" -chunk "$chunk" >out 2>err; then
          echo "ok $case on $ranks rank(s), memory $memory, chunk $chunk"
        else
          echo "not ok $case on $ranks rank(s), memory $memory, chunk $chunk"; grep "^not ok" out; cat err; status=1
        fi
      done
    done
  done
done
exit $status
