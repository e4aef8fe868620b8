#!/bin/bash
# Help and version: exit status 0, printed once on any number of ranks, and true to what README.md shows.
source "$(dirname "$0")/lib.sh"
commands="simulate prepare embed train sample baseline evaluate report inspect"

# says NAME RANKS FRAGMENTS ARGUMENT...: status 0, each fragment (parted by @) on standard output, nothing on standard error, the
# first fragment once only.
says() {
  local name=$1 ranks=$2 fragments=$3 fragment missing=
  shift 3
  on "$ranks" "$@"
  while IFS= read -r -d @ fragment; do grep -qF -- "$fragment" "$out" || missing=$fragment; done <<<"$fragments@"
  if [ "$status" -ne 0 ]; then not_ok "$name" "exit status $status" "$err"
  elif [ -n "$missing" ]; then not_ok "$name" "does not say '$missing'" "$out"
  elif [ -s "$err" ]; then not_ok "$name" "prints to standard error" "$err"
  elif [ "$(grep -cF -- "${fragments%%@*}" "$out")" -ne 1 ]; then not_ok "$name" "not printed once" "$out"
  else ok "$name"
  fi
}

refused() {
  local name=$1 fragment=$2
  shift 2
  on 1 "$@"
  if [ "$status" -eq 2 ] && [ ! -s "$out" ] && grep -qF -- "$fragment" "$err"; then ok "$name"; else not_ok "$name" "exit status $status" "$err"; fi
}

all=$(for command in $commands; do printf '@  %s ' "$command"; done)
for ranks in 1 3; do
  says "perturbdiff, $ranks ranks" "$ranks" "usage: perturbdiff COMMAND$all"
  says "help, $ranks ranks" "$ranks" "usage: perturbdiff COMMAND$all" help
  says "-version, $ranks ranks" "$ranks" "perturbdiff " -version
  says "train -help, $ranks ranks" "$ranks" "usage: perturbdiff train@-train_steps N@(default" train -help
  says "help sample, $ranks ranks" "$ranks" "usage: perturbdiff sample@-checkpoint PATH@(must be given)" help sample
done
says "-help" 1 "usage: perturbdiff COMMAND$all" -help
says "--help" 1 "usage: perturbdiff COMMAND$all" --help
says "--version" 1 "perturbdiff " --version

# Every option of the README's examples, and each command's own examples, are options of that command.
for command in $commands; do
  # From "perturbdiff COMMAND" to the end of the example, which a backquote, a bar of the shell or the line's end closes.
  shown=$(grep -ohE "perturbdiff $command( [^\`]*)?" "$source_folder/README.md" | grep -oE ' -[a-z_]+' | sort -u | tr -d ' ')
  on 1 help "$command"
  cp "$out" help.txt
  own=$(grep -E "^  .*perturbdiff $command " help.txt | grep -oE ' -[a-z_]+' | grep -vxF -e ' -n' | sort -u | tr -d ' ')
  unknown=
  for option in $shown $own; do
    [ "$option" = -n ] || grep -qE "^  ${option}( |$)" help.txt || unknown="$unknown $option"
  done
  if [ -z "$shown" ]; then not_ok "README shows an example of $command" "none found"; else ok "README shows an example of $command"; fi
  if [ -z "$unknown" ]; then ok "options shown for $command are its options"; else not_ok "options shown for $command are its options" "unknown:$unknown" help.txt; fi
  on 1 "$command" -help
  if [ "$status" -eq 0 ] && cmp -s "$out" help.txt; then ok "$command -help as help $command"; else not_ok "$command -help as help $command" "they differ" "$out"; fi
done

# Programs side by side leave each other alone: they begin and end at any time.
beside() {
  local i
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do "$program" simulate -out "beside$1.h5ad" -cells 24 -genes 8 -perturbations 2 -effect_genes 2 -quiet || echo "exit status $?"; done
}
for worker in 1 2 3; do beside $worker >beside$worker.out 2>&1 </dev/null & done
wait
cat beside*.out >"$out"
if [ -s "$out" ]; then not_ok "programs side by side" "they print" "$out"; else ok "programs side by side"; fi

refused "unknown command" "unknown command 'prepair'; did you mean 'prepare'?" prepair
refused "help of an unknown command" "unknown command 'evaluat'; did you mean 'evaluate'?" help evaluat
refused "unknown option" "unknown option 'cell'; did you mean 'cells'?" simulate -cell 5
finish
