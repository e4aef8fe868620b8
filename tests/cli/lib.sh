# Shared by the command line tests: where the program is, runs on some ranks within a time limit, TAP lines. Sourced by bash.
: "${srcdir:=.}" "${builddir:=.}" "${MPIEXEC:=mpiexec}"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LC_ALL=C
unset SLURM_JOB_END_TIME PETSC_OPTIONS
source_folder=$(cd "$srcdir" && pwd)
build_folder=$(cd "$builddir" && pwd)
program=$build_folder/perturbdiff
seconds_a_run=${CLI_TIMEOUT:-60}
failures=0

scratch=$(mktemp -d "${TMPDIR:-/tmp}/perturbdiff-cli.XXXXXX")
mounted=
unmount() {
  local place
  for place in $mounted; do umount "$place" 2>/dev/null || umount -l "$place"; done
  mounted=
}
clean_up() {
  unmount
  chmod -R u+w "$scratch" 2>/dev/null
  rm -rf "$scratch"
}
cd "$scratch" || exit 1

ok() { printf 'ok - %s\n' "$1"; }
skip() { printf 'ok - %s # SKIP %s\n' "$1" "$2"; }
not_ok() {
  printf 'not ok - %s (%s)\n' "$1" "$2"
  failures=$((failures + 1))
  if [ -n "${3:-}" ] && [ -s "$3" ]; then head -n 12 "$3" | cut -c 1-400 | sed 's/^/#   /'; fi
}

# on RANKS ARGUMENT...: the program on so many ranks (1: without mpiexec); status is its exit status, out and err what it printed.
out=$scratch.out err=$scratch.err
on() {
  local ranks=$1
  shift
  if [ "$ranks" -eq 1 ]; then timeout -k 5 "$seconds_a_run" "$program" "$@" >"$out" 2>"$err" </dev/null
  else timeout -k 5 "$seconds_a_run" "$MPIEXEC" --oversubscribe -n "$ranks" "$program" "$@" >"$out" 2>"$err" </dev/null
  fi
  status=$?
}
trap 'clean_up; rm -f "$out" "$err"' EXIT

# What the program printed, without mpiexec's own notices, which stand between lines of dashes.
printed() { cat "$out" "$err" | sed '/^-\{20,\}$/,/^-\{20,\}$/d' | sed '/^$/d'; }

# Every file and folder with size and time, so that anything left behind or touched shows.
listing() { find . "$@" -printf '%y %p %s %T@\n' 2>/dev/null | grep -v '^d \. ' | sed 's/^\(d [^ ]*\) .*/\1/' | sort; }

# done_or_fail NAME: the last run ended with status 0.
done_or_fail() {
  if [ "$status" -eq 0 ]; then ok "$1"; else not_ok "$1" "status $status" "$err"; fi
}

finish() {
  [ "$failures" -eq 0 ] || printf '# %d failed\n' "$failures"
  exit $((failures > 0))
}
