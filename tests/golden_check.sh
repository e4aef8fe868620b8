#!/bin/bash
# The program against numbers of the public code and of the published model at other sizes: single and double precision, 1 to 4 ranks, all grids of them.
cores=$(nproc 2>/dev/null || echo 1)
status=0
for file in denoiser denoiser_small; do
  for ranks in ${TEST_RANKS:-1 2 3 4}; do
    threads=$((cores / ranks)); [ "$threads" -ge 1 ] || threads=1
    export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads
    for cells in 1 2 3 4; do
      [ $((ranks % cells)) = 0 ] || continue
      for program in golden golden_double; do
        echo "# $program $file on a grid of $((ranks / cells)) x $cells ranks"
        timeout "${TEST_TIMEOUT:-600}" "$MPIEXEC" --oversubscribe -n "$ranks" "$builddir/tests/$program" "$srcdir/tests/data/$file.h5" $cells || status=1
      done
    done
  done
done
# What is not a golden file is a mistake of the user: one line, status 2.
"$MPIEXEC" --oversubscribe -n 2 "$builddir/tests/golden" "$srcdir/tests/golden_check.sh" 2>/dev/null && status=1
exit $status
