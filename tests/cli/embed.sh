#!/bin/bash
# embed as a user runs it: the same tables and the same file on 1, 2, 3, 4 and 6 ranks; kernels by their numbers; what features of perturbations are good for.
source "$(dirname "$0")/lib.sh"
labels="-perturbation_column perturbation -control control -cell_type_column cell_type -batch_column batch"
checks=$build_folder/tests

# The same lines but for numbers, which may differ by 1e-10 of the largest of their column.
same_table() {
  local differs
  differs=$(awk -F, -v OFS=, '
    function number(text) { return text ~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/ }
    NR == FNR { line[FNR] = $0; lines = FNR; for (i = 1; i <= NF; i++) if (number($i)) { v = $i < 0 ? -$i : $i + 0; if (v > most[i]) most[i] = v } next }
    { n = split(line[FNR], a, ","); if (n != NF) { print "line " FNR ": " NF " columns, not " n; exit }
      for (i = 1; i <= NF; i++) {
        if (a[i] == $i) continue
        d = a[i] - $i; if (d < 0) d = -d
        if (!number(a[i]) || !number($i) || d > 1e-10 * most[i]) { print "line " FNR ", column " i ": " a[i] " and " $i; exit } } }
    END { if (FNR != lines) print "another number of lines" }' "$2" "$3" 2>&1)
  if [ -s "$2" ] && [ -z "$differs" ]; then ok "$1"; else not_ok "$1" "${differs:-no table}"; fi
}

on 1 simulate -out screen.h5ad -cells 620 -genes 20 -perturbations 4 -cell_types 2 -batches 2 -effect_genes 5 -quiet
on 1 prepare -in screen.h5ad -out cells.h5 $labels -genes all -quiet
done_or_fail "a small screen"
tests="-tests 199 -test_cells 25 -witness_genes 5 -seed 3 -figures no -quiet"
for ranks in 1 2 3 4 6; do
  on $ranks embed -data cells.h5 -out pairs-$ranks -statistic u -cell_components no $tests
  done_or_fail "all pairs, energy kernel, $ranks ranks"
  on $ranks embed -data cells.h5 -out components-$ranks -kernel gaussian -principal_components 5 -median_cells 200 $tests
  done_or_fail "median bandwidths on principal components, $ranks ranks"
  on $ranks embed -data cells.h5 -out landmarks-$ranks -kernel laplace -bandwidths 2,5 -landmarks 60 -landmark_choice leverage -within_cells 20 -error_cells 15 -cell_components yes -components 4 $tests
  done_or_fail "landmarks, Laplace kernel, $ranks ranks"
  [ $ranks -eq 1 ] && continue
  for run in pairs components landmarks; do
    if [ "$(cd $run-1 && ls)" = "$(cd $run-$ranks && ls)" ]; then ok "$run: the same files, $ranks ranks"; else not_ok "$run: the same files, $ranks ranks" "$(cd $run-$ranks && ls | tr '\n' ' ')"; fi
    for table in $run-1/*.csv; do same_table "$run: ${table##*/} on 1 and $ranks ranks" $table $run-$ranks/${table##*/}; done
    if timeout 60 "$checks/h5same" -scale 1e-10 $run-1/embedding.h5 $run-$ranks/embedding.h5 .@command .@options >differs 2>&1; then ok "$run: embedding.h5 on 1 and $ranks ranks"
    else not_ok "$run: embedding.h5 on 1 and $ranks ranks" "they differ" differs; fi
  done
done
for table in tests witness cme energy_distance mmd to_control spectrum components; do
  if [ "$(wc -l <pairs-1/$table.csv)" -gt 3 ]; then ok "$table.csv was compared"; else not_ok "$table.csv was compared" "it has no lines"; fi
done

# A second run into the folder leaves nothing of the first.
on 1 embed -data cells.h5 -out landmarks-1 -kernel gaussian -landmarks 40 -regression no -figures no -quiet
if [ "$(cd landmarks-1 && echo *)" = "components.csv embedding.h5 mmd.csv spectrum.csv to_control.csv" ]; then ok "no table of an earlier run stays"; else not_ok "no table of an earlier run stays" "$(cd landmarks-1 && echo *)"; fi

# ---- Features. tests/data/hilbert/make_features.py: effects linear in two features of a perturbation, one cell type, one batch: a population left out is a perturbation never seen. ----
data=$source_folder/tests/data/hilbert
labels="-perturbation_column perturbation -control control"
on 1 prepare -in "$data/features.h5ad" -out features.h5 $labels -genes all -quiet
done_or_fail "a screen whose effects follow features"
# Every kernel on genes and on principal components, against direct double sums (make_kernels.py).
for components in 0 5; do
  for kernel in energy gaussian inverse_multiquadric laplace linear; do
    choices="median own"; case $kernel in energy | linear) choices=none ;; esac
    for bandwidths in $choices; do
      for statistic in v u; do
        name="$kernel kernel, $components components, bandwidths $bandwidths, statistic $statistic"
        own=; [ $bandwidths = own ] && own="-bandwidths 1.5,4"
        on 2 embed -data features.h5 -out kernel -kernel $kernel $own -principal_components $components -statistic $statistic -regression no -figures no -quiet
        worst=$(awk -F, -v key="$kernel,$components,$bandwidths,$statistic" 'NR == FNR { if ($1 "," $2 "," $3 "," $4 == key) { value[$5] = $6; if ($6 > most) most = $6 } next }
          FNR > 1 { n++; d = ($NF - value[$1]) / most; if (d < 0) d = -d; if (!($1 in value)) d = 9; if (d > worst) worst = d } END { print n == 16 ? worst + 0 : 9 }' "$data/kernels.csv" kernel/to_control.csv)
        if [ $status -eq 0 ] && awk -v w="$worst" 'BEGIN { exit !(w < 1e-6) }'; then ok "$name"; else not_ok "$name" "largest difference ${worst:-?}" "$err"; fi
      done
    done
  done
done

# The same rows under other names: seven steps round the circle for each of one, so that neighbours are no longer neighbours.
awk -F, 'NR == 1 { print; next } { name[NR - 2] = $1; value[NR - 2] = $2 "," $3 } END { n = NR - 1; for (i = 0; i < n; i++) print name[i] "," value[7 * i % n] }' "$data/features.csv" >wrong.csv
for which in none right wrong; do
  file=; [ $which = right ] && file="-features $data/features.csv"; [ $which = wrong ] && file="-features wrong.csv"
  on 2 embed -data features.h5 -out with-$which -figures no -quiet $file
  done_or_fail "embed, features: $which"
  awk -F, 'NR > 1 && $NF != "" { sum += $(NF - 1) } END { print sum }' with-$which/cme.csv >error-$which
done
less() { if awk -v a="$(cat "$2")" -v b="$(cat "$3")" -v part="$4" 'BEGIN { exit !(a > 0 && b > 0 && a < part * b) }'; then ok "$1"; else not_ok "$1" "$(cat "$2") against $(cat "$3")"; fi; }
less "left out, a perturbation is foretold by its features twice as well as without" error-right error-none 0.5
less "and by the features of others not" error-right error-wrong 0.5

on 1 prepare -in "$data/features.h5ad" -out held.h5 $labels -genes all -holdout 'p05|*|*' -holdout 'p11|*|*' -quiet
done_or_fail "two perturbations held out"
predicted=
for which in none right wrong; do
  file=; [ $which = right ] && file="-features $data/features.csv"; [ $which = wrong ] && file="-features wrong.csv"
  on 1 baseline -data held.h5 -method cme -out $which.h5ad -quiet $file
  done_or_fail "baseline cme, features: $which"
  predicted="$predicted${predicted:+,}$which=$which.h5ad"
done
on 1 evaluate -real held.h5 -predicted "$predicted" -out scores -quiet
done_or_fail "the predictions scored"
for which in none right wrong; do
  awk -F, -v model=$which 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next } $column["model"] == model && $column["score"] == "energy_distance" { print $column["mean"] }' scores/comparison.csv >scored-$which
done
less "unseen perturbations: energy distance with features half that without" scored-right scored-none 0.5
less "and half that with the features of others" scored-right scored-wrong 0.5
finish
