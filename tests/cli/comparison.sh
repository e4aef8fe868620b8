#!/bin/bash
# One command compares predictions and baselines by cell-eval's metrics: a baseline within `evaluate` scores as its file does, on any ranks, with the ceiling and
# the score against a baseline's table.
source "$(dirname "$0")/lib.sh"
labels="-perturbation_column perturbation -control control -cell_type_column cell_type -batch_column batch"
usual="pearson_delta discrimination_score_l1 overlap_at_N precision_at_N de_direction_match de_spearman_lfc_sig de_spearman_sig roc_auc pr_auc mae"
# equal NAME A B: two texts.
equal() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "'$2', not '$3'"; fi; }
# means MODEL FILE: score and mean of cell-eval's metrics in a comparison.
means() { awk -F, -v model="$1" '/^celleval_/ && $3 == model { print $1, $8 }' "$2"; }

on 1 simulate -out screen.h5ad -cells 2400 -genes 40 -perturbations 6 -cell_types 2 -batches 2 -effect_genes 12 -quiet
# All of drug1 to drug4 in type1, but of drug4 one batch alone.
on 1 prepare -in screen.h5ad -out cells.h5 $labels -genes all -holdout 'drug1|type1|*' -holdout 'drug2|type1|*' -holdout 'drug3|type1|*' -holdout 'drug4|type1|donor1' -quiet
for method in mean_shift nearest; do on 1 baseline -data cells.h5 -method $method -out $method.h5ad -quiet; done
done_or_fail "files of baselines"
for ranks in 1 3; do
  on $ranks evaluate -real cells.h5 -predicted shift=mean_shift.h5ad,near=nearest.h5ad,near=mean_shift.h5ad -out scores$ranks -report_populations 0 -quiet
  done_or_fail "predictions and baselines, $ranks ranks"
  for pair in shift:mean_shift near:nearest near_2:mean_shift; do
    for table in results agg_results; do
      if cmp -s "scores$ranks/${pair%%:*}/type1_$table.csv" "scores$ranks/${pair##*:}/type1_$table.csv"; then ok "type1_$table.csv of ${pair%%:*} as of the baseline ${pair##*:}, $ranks ranks"
      else not_ok "type1_$table.csv of ${pair%%:*} as of the baseline ${pair##*:}, $ranks ranks" "$(diff scores$ranks/${pair%%:*}/type1_$table.csv scores$ranks/${pair##*:}/type1_$table.csv | head -n 2 | cut -c 1-200)"; fi
    done
  done
  equal "means of shift as of mean_shift, $ranks ranks" "$(means shift scores$ranks/comparison.csv)" "$(means mean_shift scores$ranks/comparison.csv)"
  missing=
  for metric in $usual; do
    for model in shift near control mean_shift perturbation_mean additive ridge nearest cme ceiling; do
      grep -q "^celleval_$metric,[a-z]*,$model,.*" scores$ranks/comparison.csv || missing="$missing $metric of $model"
    done
  done
  equal "the ten usual metrics of every row, $ranks ranks" "$missing" ""
  # One number for all perturbations has no interval over them.
  equal "no interval of de_spearman_sig, $ranks ranks" "$(awk -F, '/^celleval_de_spearman_sig/ { print $10, $11, $16 }' scores$ranks/comparison.csv | sort -u)" "nan nan nan"
done
if diff scores1/comparison.csv scores3/comparison.csv >differs; then ok "comparison.csv on 1 and 3 ranks"; else not_ok "comparison.csv on 1 and 3 ranks" "they differ" differs; fi
# Only the batch that is predicted counts: cells of drug4 in the table of the real ones.
cells=$(awk -F, '$2 == "drug4" && $1 == "shift" { print $5 }' scores1/scores.csv)
equal "real cells of a population that is predicted in one batch" "$(awk -F, '$1 == "drug4" { print $5; exit }' scores1/shift/type1_real_de.csv)" "$cells"

# A baseline's table of metrics is what -score takes.
on 1 evaluate -real cells.h5 -predicted near=nearest.h5ad -out near -baselines control -score scores1/mean_shift/type1_agg_results.csv -report_populations 0 -quiet
done_or_fail "-score against a baseline of another evaluation"
equal "the table of scores ends with their mean" "$(tail -n 1 near/type1_baseline_diff.csv | cut -d, -f 1)" avg_score

# Scores of populations are the same whether the tables of cell-eval have found their distances on the way or not, and where some have.
cases=$source_folder/tests/data/evaluate
for case in typed double order; do
  typed=$(cat "$cases/$case/options.txt" 2>/dev/null)
  for ranks in 1 3; do
    for profile in none full; do
      on $ranks evaluate -real "$cases/$case/real.h5ad" -predicted "one=$cases/$case/predicted.h5ad,two=$cases/$case/predicted.h5ad" -out $case$ranks$profile $typed -profile $profile -quiet
      done_or_fail "$case, profile $profile, $ranks ranks"
    done
    for table in scores summary deltas; do
      if diff $case${ranks}none/$table.csv $case${ranks}full/$table.csv >differs; then ok "$table.csv of $case with and without profile, $ranks ranks"
      else not_ok "$table.csv of $case with and without profile, $ranks ranks" "they differ" differs; fi
    done
  done
done
finish
