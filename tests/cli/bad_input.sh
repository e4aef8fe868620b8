#!/bin/bash
# Mistakes of the user: each ends with exit status 2 and one line that says what is wrong, where, and what to do; no trace, nothing
# left behind, on 1 and on 3 ranks.
source "$(dirname "$0")/lib.sh"
fixtures=$source_folder/tests/data/cli
prepared=$source_folder/tests/data/prepare

# refuse NAME FRAGMENTS ARGUMENT...: the program must refuse; FRAGMENTS, parted by @, must all be in its line.
workers=2 worker=0 cases=0
refuse() {
  local name=$1 fragments=$2 before ranks lines fragment
  shift 2
  cases=$((cases + 1))
  [ $((cases % workers)) -eq "$worker" ] || return
  before=$(listing)
  for ranks in 1 3; do
    on "$ranks" "$@" -quiet
    printed >"$out.seen"
    lines=$(grep -c '^perturbdiff: ' "$out.seen")
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then not_ok "$name, $ranks ranks" "still running after $seconds_a_run s" "$out.seen"
    elif [ "$status" -ne 2 ]; then not_ok "$name, $ranks ranks" "exit status $status" "$out.seen"
    elif [ "$lines" -ne 1 ] || [ "$(wc -l <"$out.seen")" -ne 1 ]; then not_ok "$name, $ranks ranks" "not one line" "$out.seen"
    elif grep -qE 'PETSC ERROR|HDF5-DIAG|Signal:|MPI_ABORT' "$out" "$err"; then not_ok "$name, $ranks ranks" "a trace" "$err"
    elif [ "$(listing)" != "$before" ]; then
      diff <(echo "$before") <(listing) >"$out.seen"
      not_ok "$name, $ranks ranks" "files left or changed" "$out.seen"
    else
      local missing=
      while IFS= read -r -d @ fragment; do grep -qF -- "$fragment" "$out.seen" || missing=$fragment; done <<<"$fragments@"
      if [ -z "$missing" ]; then ok "$name, $ranks ranks"; else not_ok "$name, $ranks ranks" "its line lacks '$missing'" "$out.seen"; fi
    fi
  done
}

# damage FILE PART: other bytes in the middle of the file, one PARTth from its beginning.
damage() {
  printf '\253%.0s' {1..64} | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") / $2)) conv=notrunc 2>/dev/null
}

# make ARGUMENT...: an input for the cases.
make() {
  on 1 "$@" -quiet
  [ "$status" -eq 0 ] && return
  not_ok "inputs of the cases: $*" "status $status" "$err"
  finish
}

labels="-perturbation_column drug -control none"
all_labels="$labels -cell_type_column type -batch_column donor"
screen_labels="-perturbation_column perturbation -control control -cell_type_column cell_type -batch_column batch"
small="-hidden 8 -depth 1 -heads 2 -covariate_dim 4 -set_size 4 -sets 3 -schedule_steps 10 -train_steps 2"
mkdir inputs
cd inputs || exit 1
make simulate -out screen.h5ad -cells 96 -genes 12 -perturbations 3 -cell_types 2 -batches 2 -effect_genes 3
make simulate -out other.h5ad -cells 96 -genes 12 -perturbations 3 -cell_types 2 -batches 2 -effect_genes 3 -seed 5
make prepare -in screen.h5ad -out cells.h5 $screen_labels -genes all -holdout 'drug1|type1|*'
make prepare -in other.h5ad -out other.h5 $screen_labels -genes all -holdout 'drug1|type1|*'
make prepare -in "$fixtures/good.h5ad" -out fixture.h5 $all_labels -genes all
make prepare -in "$fixtures/good.h5ad" -out one_type.h5 $labels -batch_column donor -genes all
make simulate -out single.h5ad -cells 16 -genes 12 -perturbations 3 -cell_types 2 -batches 2 -effect_genes 3
make prepare -in single.h5ad -out single.h5 $screen_labels -genes all
make simulate -out equal.h5ad -cells 96 -genes 1 -perturbations 3 -cell_types 2 -batches 2 -effect_genes 1
make prepare -in equal.h5ad -out equal.h5 $screen_labels -genes all
make train -data cells.h5 -out run $small
make baseline -data cells.h5 -method mean_shift -out shift.h5ad
make evaluate -real cells.h5 -predicted shift.h5ad -out scores
newest=run/checkpoint-00000002.h5
good=$fixtures/good.h5ad
cd ..

# The command line.
command_line() {
  refuse "unknown command" "unknown command 'smaple'@did you mean 'sample'" smaple
  refuse "unknown command far from any" "unknown command 'xyzzy'@perturbdiff help" xyzzy
  refuse "help of an unknown command" "unknown command 'trian'@train" help trian
  refuse "unknown option" "unknown option 'train_step'@did you mean 'train_steps'" train -data cells.h5 -out new -train_step 5
  refuse "unknown option far from any" "unknown option 'zzzzzzzzz'@-help" simulate -out new.h5ad -zzzzzzzzz 5
  refuse "option of another command" "unknown option 'method'" simulate -out new.h5ad -method control
  refuse "no value for an option" "'cells' needs a value" simulate -out new.h5ad -cells
  refuse "a word that is no option" "'surplus' is not an option" simulate -out new.h5ad surplus
  refuse "required option missing" "'-out' is missing@AnnData file to write" simulate -cells 100
  refuse "value out of range" "'sets' is 0@between 1 and" train -data cells.h5 -out new -sets 0
  refuse "grid that does not divide the ranks" "-grid_cells 7@does not divide" train -data cells.h5 -out new -grid_cells 7
  refuse "grid below zero" "'grid_cells' is -1@between 0 and" train -data cells.h5 -out new -grid_cells -1
  refuse "negative size" "'genes' is -3@between 1 and" simulate -out new.h5ad -genes -3
  refuse "value that is not a number" "'hidden' takes a number, not 'wide'" train -data cells.h5 -out new -hidden wide
  refuse "value that is not whole" "'depth' takes a whole number, not '1.5'" train -data cells.h5 -out new -depth 1.5
  refuse "not a number in words" "'lr' takes a number, not 'nan'" train -data cells.h5 -out new -lr nan
  refuse "value that is not a choice" "'method' takes control|mean_shift@not 'median'" baseline -data cells.h5 -out new.h5ad -method median
  refuse "value that is not a switch" "'resume' takes true or false, not 'perhaps'" train -data cells.h5 -out new -resume perhaps
  refuse "nothing to inspect" "inspect: nothing to look at@-machine" inspect
}

# Input files.
input_files() {
  refuse "YAML input missing" "none.yaml@no such file" train none.yaml -data cells.h5 -out new
  printf 'train:\n  steps: 3\n  stepz: 4\n' >unknown_key.yaml
  refuse "unknown YAML key" "unknown_key.yaml:3@'train_stepz'@did you mean 'train_steps'" train unknown_key.yaml -data cells.h5 -out new
  printf 'train:\n  steps: 3\n   lr: [1e-3\n' >broken.yaml
  refuse "YAML that does not parse" "broken.yaml:3@not YAML" train broken.yaml -data cells.h5 -out new
  printf 'lr: 1e-3\nsets: 2\nlr: 2e-3\n' >twice.yaml
  refuse "YAML key given twice" "twice.yaml:3@'lr'@line 1" train twice.yaml -data cells.h5 -out new
  printf 'sets: many\n' >word.yaml
  refuse "YAML value that is not a number" "word.yaml:1@'sets' takes a number" train word.yaml -data cells.h5 -out new
  printf -- '- sets\n- lr\n' >list.yaml
  refuse "YAML that is a list" "list.yaml@key: value" train list.yaml -data cells.h5 -out new
  refuse "a store as input file" "cells.h5@YAML" train cells.h5 -out new
}

# Sizes of a simulation.
simulation() {
  refuse "fewer cells than populations" "10 cells do not fill@-cells" simulate -out new.h5ad -cells 10 -perturbations 20
  refuse "more effect genes than genes" "moves 50 genes but there are 12@-effect_genes" simulate -out new.h5ad -genes 12 -effect_genes 50
  refuse "output folder missing" "none/new.h5ad@folder does not exist@mkdir -p" simulate -out none/new.h5ad -cells 200
  mkdir -p folder
  refuse "output is a folder" "folder@is a folder@name a file" simulate -out folder -cells 200
}

# AnnData files.
anndata_files() {
  head -c 20000 screen.h5ad >truncated.h5ad
  head -c 5000 /dev/urandom >noise.h5ad
  : >nothing.h5ad
  refuse "AnnData file missing" "none.h5ad@no such@check the path" prepare -in none.h5ad -out new.h5 $labels
  refuse "AnnData file truncated" "truncated.h5ad@truncated" prepare -in truncated.h5ad -out new.h5 $labels
  refuse "not HDF5" "noise.h5ad@not an HDF5 file" prepare -in noise.h5ad -out new.h5 $labels
  refuse "empty file" "nothing.h5ad@is empty" prepare -in nothing.h5ad -out new.h5 $labels
  refuse "folder instead of a file" "folder@is a folder, not a file" prepare -in folder -out new.h5 $labels
  refuse "HDF5 but not AnnData" "cells.h5@not an AnnData file" prepare -in cells.h5 -out new.h5 $labels
  refuse "foreign compression" "foreign.h5ad@'X/data' is compressed by zstd (HDF5 filter 32015)@gzip" prepare -in "$fixtures/foreign.h5ad" -out new.h5 $labels
  refuse "store of foreign compression" "foreign_store.h5@/cells/value is compressed by blosc (HDF5 filter 32001)@prepare it again" inspect "$fixtures/foreign_store.h5"
  refuse "output is an input" "screen.h5ad@one of the inputs" prepare -in screen.h5ad -out screen.h5ad $screen_labels
  refuse "the same name twice" "two inputs are called 'screen'@rename" prepare -in screen.h5ad,./screen.h5ad -out new.h5 $screen_labels
  refuse "no such column" "good.h5ad@no column 'drugs'@drug, type, donor@did you mean 'drug'" prepare -in "$good" -out new.h5 -perturbation_column drugs -control none
  refuse "no such cell type column" "no column 'celltype'@it has" prepare -in "$good" -out new.h5 $labels -cell_type_column celltype
  refuse "control label absent" "'drug' has no cells labelled 'DMSO'@it holds 'none'@'p1'" prepare -in "$good" -out new.h5 -perturbation_column drug -control DMSO
  refuse "only control cells" "nothing but the control label 'none'" prepare -in "$fixtures/only_control.h5ad" -out new.h5 $labels
  refuse "no such layer" "good.h5ad@no matrix 'layers/counts'@it has" prepare -in "$good" -out new.h5 $labels -layer layers/counts
  refuse "negative value" "negative.h5ad@cell 'c7', gene 'g2' holds -1@not negative" prepare -in "$fixtures/negative.h5ad" -out new.h5 $labels -genes all
  refuse "infinite value" "infinite.h5ad@cell 'c8', gene 'g3' holds inf@finite" prepare -in "$fixtures/infinite.h5ad" -out new.h5 $labels -genes all
  refuse "value that is not a number in a matrix" "bad_nan.h5ad@holds nan@finite" prepare -in "$prepared/bad_nan.h5ad" -out new.h5 $labels -genes all
  refuse "values of another scale" "bad_scaled.h5ad@neither counts nor log1p@-normalize none" prepare -in "$prepared/bad_scaled.h5ad" -out new.h5 $labels -genes all
  refuse "gene twice" "bad_twice.h5ad@gene 'g1' is there twice@unique" prepare -in "$prepared/bad_twice.h5ad" -out new.h5 $labels -genes all
  refuse "file without cells" "no_cells.h5ad@is empty (0 cells" prepare -in "$fixtures/no_cells.h5ad" -out new.h5 $labels
  refuse "no cells left: none labelled" "no cells left@lacks a label" prepare -in "$fixtures/unlabelled.h5ad" -out new.h5 $labels
  refuse "no cells left: all zero" "no cells left@zero" prepare -in "$fixtures/zeros.h5ad" -out new.h5 $labels -genes all
  refuse "populations without control" "no perturbed population has a control@'none' cells" prepare -in "$fixtures/lonely.h5ad" -out new.h5 $all_labels -genes all
  printf 'g0\ng0\n' >genes_twice.txt
  printf 'ACTB\nCD3\n' >genes_unknown.txt
  refuse "gene list with none of the genes" "genes_unknown.txt@none of the listed genes@'ACTB'" prepare -in "$good" -out new.h5 $labels -genes genes_unknown.txt
  refuse "gene list with one twice" "genes_twice.txt@'g0' is listed twice" prepare -in "$good" -out new.h5 $labels -genes genes_twice.txt
  refuse "gene list missing" "none.txt" prepare -in "$good" -out new.h5 $labels -genes none.txt
}

# Splits.
splits() {
  refuse "holdout that matches nothing" "'p9|B|*' matches nothing@no perturbation 'p9'@p1" prepare -in "$good" -out new.h5 $all_labels -genes all -holdout 'p9|B|*'
  refuse "holdout of a wrong form" "'p1|B|x|y'@perturbation|cell type|batch" prepare -in "$good" -out new.h5 $all_labels -genes all -holdout 'p1|B|x|y'
  refuse "everything held out" "nothing is left to train on@hold out fewer" prepare -in "$good" -out new.h5 $all_labels -genes all -holdout '*|*|*'
  printf '[zeroshot]\n"good.B" = "test"\n[fewshot."good.T"\n' >split.toml
  refuse "TOML that does not parse" "split.toml, line 3" prepare -in "$good" -out new.h5 $all_labels -genes all -split split.toml
  printf '[fewshot."good.T"]\ntest = ["p7"]\n' >unknown.toml
  refuse "TOML with an unknown perturbation" "unknown.toml, line 2@no perturbation 'p7'" prepare -in "$good" -out new.h5 $all_labels -genes all -split unknown.toml
  printf 'test: [\n' >split.yaml
  refuse "YAML split that does not parse" "split.yaml@not YAML" prepare -in "$good" -out new.h5 $all_labels -genes all -split split.yaml
  refuse "split file missing" "none.yaml" prepare -in "$good" -out new.h5 $all_labels -genes all -split none.yaml
}

# Training.
training() {
  head -c 9000 cells.h5 >truncated.h5
  cp cells.h5 damaged.h5
  damage damaged.h5 2
  refuse "store missing" "none.h5@no such@check the path" train -data none.h5 -out new $small
  refuse "store truncated" "truncated.h5@truncated" train -data truncated.h5 -out new $small
  refuse "AnnData instead of a store" "screen.h5ad@not a cell store@prepare" train -data screen.h5ad -out new $small
  refuse "store damaged" "damaged.h5: @damaged" inspect -in damaged.h5
  refuse "heads that do not divide" "-heads 3 does not divide@-hidden 8" train -data cells.h5 -out new $small -heads 3
  refuse "memory limit too small" "-memory_limit@lower -s" train -data cells.h5 -out new $small -memory_limit 1e-5
  refuse "time limit that does not parse" "-time_limit tomorrow@HH:MM:SS" train -data cells.h5 -out new $small -time_limit tomorrow
  refuse "folds without a centred head" "-train_validate folds@-denoiser_center" train -data cells.h5 -out new $small -train_validate folds
  refuse "folds of one cell type" "-train_validate folds@two cell types@has 1" train -data one_type.h5 -out new $small -train_validate folds -denoiser_center shift
  refuse "validation fraction out of range" "-train_validate 1.5@between 0 and 1" train -data cells.h5 -out new $small -train_validate 1.5
  refuse "validation pattern that matches nothing" "drug9@no perturbation" train -data cells.h5 -out new $small -train_validate 'drug9|*|*'
  refuse "all populations for validation" "nothing is left to train on@hold out fewer" train -data cells.h5 -out new $small -train_validate '*|*|*'
  refuse "no steps and no epochs" "-train_steps 0@-train_epochs" train -data cells.h5 -out new $small -train_steps 0
  refuse "unknown covariate" "-covariates: 'donor'@perturbation, cell_type, batch" train -data cells.h5 -out new $small -covariates perturbation,donor
  refuse "run folder of another run" "run@earlier run@-resume@another folder" train -data cells.h5 -out run $small
  refuse "resume with other sizes" "the run has -hidden 8, not 16@new folder" train -data cells.h5 -out run $small -resume -hidden 16
  refuse "resume with another seed" "the run has -seed 1, not 2" train -data cells.h5 -out run $small -resume -seed 2
  refuse "resume with another store" "other.h5@not those@train into a new folder" train -data other.h5 -out run $small -resume
  refuse "run folder is a file" "cells.h5@is a file where a folder is wanted" train -data cells.h5 -out cells.h5 $small
  refuse "run folder below a missing one is a file" "screen.h5ad@file" train -data cells.h5 -out screen.h5ad/run $small
}

# Sampling and baselines.
sampling() {
  cp "$newest" damaged_checkpoint.h5
  damage damaged_checkpoint.h5 10
  mkdir -p spoilt
  cp damaged_checkpoint.h5 spoilt/checkpoint-00000002.h5
  head -c 30000 "$newest" >truncated_checkpoint.h5
  sample="sample -data cells.h5 -out new.h5ad"
  refuse "checkpoint missing" "none@no such checkpoint or run folder" $sample -checkpoint none
  refuse "folder without checkpoints" "folder@no checkpoint in this folder@train" $sample -checkpoint folder
  refuse "not a checkpoint" "cells.h5@not a checkpoint" $sample -checkpoint cells.h5
  refuse "checkpoint damaged" "damaged_checkpoint.h5@damaged checkpoint@earlier" $sample -checkpoint damaged_checkpoint.h5
  refuse "no intact checkpoint in the run" "spoilt: none of its 1 checkpoints is intact@new folder" $sample -checkpoint spoilt
  refuse "checkpoint truncated" "truncated_checkpoint.h5@truncated" $sample -checkpoint truncated_checkpoint.h5
  refuse "store and checkpoint that do not belong together" "fixture.h5@genes that@run was trained on" sample -checkpoint run -data fixture.h5 -out new.h5ad
  refuse "split without populations" "-split validation: the store has no such populations@-conditions" $sample -checkpoint run -split validation
  printf 'perturbation,cell_type,batch\ndrog1,type1,donor1\n' >names.csv
  printf 'drug,cell_type,batch\ndrug1,type1,donor1\n' >column.csv
  printf 'perturbation,cell_type,batch,cells\ndrug1,type1,donor1,many\n' >cells.csv
  printf 'perturbation,cell_type,batch\ndrug1,type1,donor1\ndrug1,type1,donor1\n' >same.csv
  printf 'perturbation,cell_type,batch\ncontrol,type1,donor1\n' >control.csv
  printf 'perturbation,cell_type,batch\n"drug1,type1,donor1\n' >quote.csv
  printf 'perturbation,cell_type,batch\ndrug1,type1\n' >narrow.csv
  : >empty.csv
  refuse "conditions with an unknown name" "names.csv@perturbation 'drog1'@did you mean 'drug1'" $sample -checkpoint run -conditions names.csv
  refuse "conditions without a column" "column.csv@no column 'perturbation'" $sample -checkpoint run -conditions column.csv
  refuse "conditions with a wrong count" "cells.csv@'many' is not a whole number" $sample -checkpoint run -conditions cells.csv
  refuse "conditions given twice" "same.csv@condition 1" $sample -checkpoint run -conditions same.csv
  refuse "conditions that name the control" "control.csv@'control' is the control label" $sample -checkpoint run -conditions control.csv
  refuse "conditions with a quote left open" "quote.csv:2@a quote" $sample -checkpoint run -conditions quote.csv
  refuse "conditions with a line too short" "narrow.csv:2@2 columns where the first line has 3" $sample -checkpoint run -conditions narrow.csv
  refuse "conditions file empty" "empty.csv" $sample -checkpoint run -conditions empty.csv
  refuse "conditions file missing" "none.csv@no such file" baseline -data cells.h5 -method control -out new.h5ad -conditions none.csv
  refuse "start past the schedule" "-start_step 500@0 to 9" $sample -checkpoint run -start_step 500
  refuse "more reverse steps than there are" "-sample_steps 50@10 steps" $sample -checkpoint run -sample_steps 50
  refuse "ranks a set that do not divide the ranks" "-grid_cells 2 does not divide@give one of 1" $sample -checkpoint run -grid_cells 2
  refuse "unknown stepper" "'ts_type' takes ddim|ddpm|rk" $sample -checkpoint run -ts_type euler
  refuse "baseline of a file that is no store" "shift.h5ad@not a cell store" baseline -data shift.h5ad -method control -out new.h5ad
}

# Evaluation and report.
evaluation() {
  fixture_labels="-perturbation_column drug -control none -cell_type_column type"
  refuse "prediction missing" "none.h5ad@no such" evaluate -real cells.h5 -predicted none.h5ad -out new
  refuse "prediction without a file" "model=@no file after '='" evaluate -real cells.h5 -predicted model= -out new
  refuse "genes that differ" "other_genes.h5ad@4 of its 6 genes are not in@h1, h2, h3" evaluate -real "$good" -predicted "$fixtures/other_genes.h5ad" $fixture_labels -out new
  refuse "perturbation missing from the real cells" "'p2'@'drug'@without_p2.h5ad" evaluate -real "$fixtures/without_p2.h5ad" -predicted "$good" $fixture_labels -out new
  refuse "control label absent from the real cells" "no_control.h5ad@no control label 'none' in column 'drug'" evaluate -real "$fixtures/no_control.h5ad" -predicted "$good" $fixture_labels -out new
  refuse "predictions of control alone" "only_control.h5ad@only control cells" evaluate -real "$good" -predicted "$fixtures/only_control.h5ad" $fixture_labels -out new
  refuse "evaluation column absent" "no column 'kind'@it has" evaluate -real "$good" -predicted "$good" -perturbation_column drug -control none -cell_type_column kind -out new
  refuse "no memory for cells" "memory" evaluate -real "$good" -predicted "$good" $fixture_labels -memory 0 -out new
  refuse "negative prediction" "negative.h5ad@value -1@not negative" evaluate -real "$good" -predicted "$fixtures/negative.h5ad" $fixture_labels -out new
  pooled="-perturbation_column drug -control none -out new"
  refuse "predictions of control alone, table of means" "only_control.h5ad@only control cells" evaluate -real "$good" -predicted "$fixtures/only_control.h5ad" $pooled -profile none
  refuse "perturbation missing from the predicted cells" "without_p2.h5ad@no cells of 1 of the@'p2'" evaluate -real "$good" -predicted "$fixtures/without_p2.h5ad" $pooled
  refuse "control label absent from the predicted cells" "no_control.h5ad@no cells with the control label 'none' in column 'drug'" evaluate -real "$good" -predicted "$fixtures/no_control.h5ad" $pooled
  refuse "infinite prediction" "infinite.h5ad@finite" evaluate -real "$good" -predicted "$fixtures/infinite.h5ad" $pooled
  refuse "prediction that is not a number" "not_a_number.h5ad@value nan in row 10, column 2" evaluate -real "$good" -predicted "$fixtures/not_a_number.h5ad" $pooled
  refuse "prediction on mixed scales" "mixed_scales.h5ad@20.5@neither counts nor log" evaluate -real "$good" -predicted "$fixtures/mixed_scales.h5ad" $pooled
  refuse "real cells on mixed scales" "mixed_scales.h5ad@20.5@neither counts nor log" evaluate -real "$fixtures/mixed_scales.h5ad" -predicted "$good" $pooled
  refuse "group without cells" "empty_group.h5ad@'p3' of column 'drug' has no cells" evaluate -real "$good" -predicted "$fixtures/empty_group.h5ad" $pooled
  refuse "ceiling of one control cell" "one_control.h5ad@one control cell@-ceiling false" evaluate -real "$fixtures/one_control.h5ad" -predicted "$good" $pooled
  refuse "unknown profile" "'profile' takes full|de" evaluate -real "$good" -predicted "$good" $pooled -profile fast
  refuse "embedding absent" "X_none" evaluate -real "$good" -predicted "$good" $pooled -embedding X_none
  refuse "embedding that is not a number" "embedded.h5ad: value nan in row 5 of obsm/X_broken@finite" evaluate -real "$fixtures/embedded.h5ad" -predicted "$fixtures/embedded.h5ad" $pooled -embedding X_broken
  refuse "prediction without a matrix" "no_matrix.h5ad: no matrix X" evaluate -real "$good" -predicted "$fixtures/no_matrix.h5ad" $pooled
  refuse "second prediction that cannot be compared" "no_control.h5ad: no cells with the control label" evaluate -real "$good" -predicted a="$good",b="$fixtures/no_control.h5ad" $pooled
  refuse "second prediction without counts" "zeros.h5ad: no gene of 'p1' passes -cpm_filter" evaluate -real "$good" -predicted a="$good",b="$fixtures/zeros.h5ad" $pooled -cpm_filter 100000
  printf 'target,feature,log2_fold_change,p_value,fdr\np1,g1,1,0.1,0.1\n' >de.csv
  refuse "table of expression without a target of the second cell type" "de.csv: no rows of target 'p2'" evaluate -real "$fixtures/p2_of_t.h5ad" -predicted "$fixtures/p2_of_t.h5ad" $fixture_labels -real_de de.csv -baselines none -ceiling false -out new
  refuse "table of expression missing" "none.csv@no such" evaluate -real "$good" -predicted "$good" $pooled -real_de none.csv
  printf 'target,feature,fdr\np1,g1,0.1\n' >de.csv
  refuse "table of expression without a column" "de.csv@no column 'log2_fold_change'" evaluate -real "$good" -predicted "$good" $pooled -real_de de.csv
  printf 'target,feature,log2_fold_change,p_value,fdr\np1,g1,x,0.1,0.1\n' >de.csv
  refuse "table of expression with a text for a number" "de.csv:2@'x' in column log2_fold_change is not a number" evaluate -real "$good" -predicted "$good" $pooled -predicted_de de.csv
  printf 'target,feature,log2_fold_change,p_value,fdr\np1,g1,1,0.1,7\n' >de.csv
  refuse "table of expression with a chance above 1" "de.csv:2: fdr 7@between 0 and 1" evaluate -real "$good" -predicted "$good" $pooled -predicted_de de.csv
  printf 'statistic,mse\nmean,1\n' >agg.csv
  refuse "score against another table" "agg.csv@-profile" evaluate -real "$good" -predicted "$good" $pooled -score agg.csv
  refuse "one table of expression for two predictions" "-predicted_de@one prediction" evaluate -real "$good" -predicted a="$good",b="$good" $pooled -predicted_de de.csv
  refuse "unknown baseline" "-baselines median@mean_shift" evaluate -real cells.h5 -predicted shift.h5ad -baselines median -out new
  refuse "baselines without a store" "-baselines additive@cell store" evaluate -real "$good" -predicted "$good" $fixture_labels -baselines additive -out new
  printf 'one\tdescription\th0\tg1\ntwo\tdescription\n' >short.gmt
  printf 'one\tdescription\tg0\tg1\none\tdescription\tg1\tg2\n' >twice.gmt
  printf 'one\tdescription\tX\tY\n' >strange.gmt
  printf 'perturbation,gene,differentially_expressed\ndrug0,NOGENE,1\n' >gene.csv
  printf 'perturbation,gene\ndrug0,g0\n' >answers.csv
  printf 'perturbation,gene,differentially_expressed\ndrug0,gene0,maybe\n' >maybe.csv
  score="evaluate -real cells.h5 -predicted shift.h5ad -out new"
  refuse "gene sets missing" "none.gmt@no such file" $score -genesets none.gmt
  : >none_in_it.gmt
  refuse "gene sets of an empty file" "none_in_it.gmt: no gene sets@tabs" $score -genesets none_in_it.gmt
  refuse "gene set without genes" "short.gmt:2@'two' has no genes@tabs" $score -genesets short.gmt
  refuse "gene set twice" "twice.gmt:2@'one' is there twice (line 1)" $score -genesets twice.gmt
  refuse "gene sets of other genes" "strange.gmt@none of its 1 sets@gene names" $score -genesets strange.gmt
  refuse "gene set sizes that exclude all" "-geneset_least 20@-geneset_most 10" $score -genesets strange.gmt -geneset_least 20 -geneset_most 10
  refuse "question about an unknown gene" "gene.csv:2@gene 'NOGENE' is not among" $score -questions gene.csv
  refuse "questions without answers" "answers.csv@no column 'differentially_expressed'" $score -questions answers.csv
  refuse "question with an answer that is none" "maybe.csv:2@differentially_expressed is 'maybe'" $score -questions maybe.csv
  refuse "marginals without distribution" "-distribution_genes@add -distribution" $score -distribution_genes
  refuse "report of a folder that is none of ours" "folder: no log.csv, scores.csv or to_control.csv@train, evaluate or embed" report folder -out new.html
  refuse "report of a folder that is missing" "none: no such folder@train, evaluate or embed" report run none -out new.html
  refuse "report of nothing" "nothing to report@train, evaluate or embed" report -out new.html
  cp -r scores uneven
  echo surplus >>uneven/scores.csv
  refuse "report of a table with an uneven line" "uneven/scores.csv:@1 columns where the first line has" report uneven -out new.html
  refuse "inspect a folder that is no run" "folder: no run.json" inspect -in folder
  refuse "inspect a file that is missing" "none.h5@no such" inspect -in none.h5
}

# Embeddings.
embedding() {
  refuse "embed without a store" "none.h5@no such" embed -data none.h5 -out new
  refuse "embed an AnnData file" "screen.h5ad@cell store" embed -data screen.h5ad -out new
  refuse "unknown kernel" "'kernel' takes energy|gaussian@not 'rbf'" embed -data cells.h5 -out new -kernel rbf
  refuse "bandwidths of a kernel without" "-bandwidths@energy kernel has none" embed -data cells.h5 -out new -bandwidths 2
  refuse "bandwidth that is no number" "-bandwidths@'wide'@median" embed -data cells.h5 -out new -kernel gaussian -bandwidths 2,wide
  refuse "bandwidth of zero" "-bandwidths@'0'@above 0" embed -data cells.h5 -out new -kernel laplace -bandwidths 0
  refuse "more components than genes" "-principal_components 13@12 genes@12 at most" embed -data cells.h5 -out new -principal_components 13
  refuse "split without populations" "0 populations in the split 'validation'@two at least" embed -data cells.h5 -out new -split validation
  refuse "unbiased statistic of one cell" "-statistic u@has one cell@-statistic v" embed -data single.h5 -out new -statistic u
  refuse "more landmarks than cells" "-landmarks 10000@as many or fewer" embed -data cells.h5 -out new -landmarks 10000
  refuse "unknown choice of landmarks" "'landmark_choice' takes uniform|stratified|leverage@not 'best'" embed -data cells.h5 -out new -landmarks 9 -landmark_choice best
  refuse "unbiased statistic by landmarks" "-statistic u with -landmarks@-statistic v" embed -data cells.h5 -out new -landmarks 9 -statistic u
  refuse "cell components without landmarks" "-cell_components@needs -landmarks" embed -data cells.h5 -out new -cell_components yes
  refuse "landmarks over the memory limit" "embed needs@lower -landmarks" embed -data cells.h5 -out new -landmarks 9 -memory_limit 1e-6
  refuse "permutations below zero" "'tests' is -1@between 0 and" embed -data cells.h5 -out new -tests -1
  refuse "test of one cell a population" "'test_cells' is 1@between 2 and" embed -data cells.h5 -out new -tests 9 -test_cells 1
  refuse "unknown choice of regression" "'regression' takes auto|yes|no" embed -data cells.h5 -out new -regression maybe
  refuse "features without a regression" "-features none.csv@-regression no" embed -data cells.h5 -out new -regression no -features none.csv
  printf 'perturbation,mass\ndrug1,nan\n' >features.csv
  refuse "features for a baseline without any use of them" "-features@ridge, nearest and cme do" baseline -data cells.h5 -method control -out new.h5ad -features features.csv
  refuse "features that are not numbers" "features.csv:2: 'nan' in column mass is not a finite number" baseline -data cells.h5 -method ridge -out new.h5ad -features features.csv
  refuse "features absent" "none.csv" embed -data cells.h5 -out new -features none.csv
  refuse "embed over the memory limit" "embed needs@-memory_limit@-pair_memory" embed -data cells.h5 -out new -memory_limit 1e-6
  refuse "equal cells have no bandwidth" "median distance is 0@-bandwidths" embed -data equal.h5 -out new -kernel gaussian
  refuse "equal cells have no components" "-principal_components 1@all cells are the same" embed -data equal.h5 -out new -principal_components 1
}

# Places that cannot be written. Root may write anywhere, so that a read-only file system stands for missing rights there.
places() {
  mkdir -p locked
  if [ "$(id -u)" -ne 0 ]; then chmod a-w locked
  elif mount -t tmpfs -o ro,size=1m none locked 2>/dev/null; then mounted="$mounted $PWD/locked"
  fi
  if [ -w locked ]; then skip "no write permission" "this user may write everywhere and may not mount"
  else
    refuse "no write permission, simulate" "locked/new.h5ad@no permission to write" simulate -out locked/new.h5ad -cells 200
    refuse "no write permission, prepare" "locked/new.h5@no permission to write" prepare -in "$good" -out locked/new.h5 $labels -genes all
    refuse "no write permission, train" "locked/run@no permission to create" train -data cells.h5 -out locked/run $small
    refuse "no write permission, sample" "locked/new.h5ad@no permission to write" sample -checkpoint run -data cells.h5 -out locked/new.h5ad
    refuse "no write permission, baseline" "locked/new.h5ad@no permission to write" baseline -data cells.h5 -method control -out locked/new.h5ad
    refuse "no write permission, embed" "locked@no permission to" embed -data cells.h5 -out locked/new
    refuse "no write permission, evaluate" "locked@no permission to" evaluate -real cells.h5 -predicted shift.h5ad -out locked/scores
    refuse "no write permission, report" "locked/new.html@no permission to write" report run -out locked/new.html
  fi
  mkdir -p full
  if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=24k none full 2>/dev/null; then
    mounted="$mounted $PWD/full"
    refuse "disk full, simulate" "full/new.h5ad@no space left" simulate -out full/new.h5ad -cells 2000
    refuse "disk full, prepare" "full/new.h5@no space left" prepare -in screen.h5ad -out full/new.h5 $screen_labels -genes all
    refuse "disk full, baseline" "full/new.h5ad@no space left" baseline -data cells.h5 -method control -out full/new.h5ad
    refuse "disk full, sample" "full/new.h5ad@no space left" sample -checkpoint run -data cells.h5 -out full/new.h5ad
    [ "$worker" -ne 0 ] || no_room_for_checkpoint
    refuse "disk full, report" "full/new.html@no space left" report run scores -out full/new.html
  else skip "disk full" "only root may mount a small file system"
  fi
}

# Logs of a run stay where its checkpoint does not fit; nothing of the checkpoint does.
no_room_for_checkpoint() {
  for ranks in 1 3; do
    on "$ranks" train -data cells.h5 -out full/run $small -quiet
    printed >"$out.seen"
    if [ "$status" -eq 2 ] && [ "$(wc -l <"$out.seen")" -eq 1 ] && grep -q 'full/run/checkpoint-00000002.h5: no space left' "$out.seen" && ! ls -A full/run | grep -q checkpoint
    then ok "disk full, train, $ranks ranks"; else not_ok "disk full, train, $ranks ranks" "exit status $status, folder: $(ls -A full/run)" "$out.seen"; fi
    rm -rf full/run
  done
}

# The cases are dealt to workers, each with its own copy of the inputs, because most of a case is waiting for MPI to start.
work() {
  worker=$1 out=$out.$1 err=$err.$1 failures=0
  mkdir -p "$scratch/work$1"
  cp -r inputs/. "$scratch/work$1"
  cd "$scratch/work$1" || exit 1
  command_line
  input_files
  simulation
  anndata_files
  splits
  training
  sampling
  evaluation
  embedding
  places
  unmount
  rm -f "$out" "$err" "$out.seen"
  exit $((failures > 0))
}
for ((w = 0; w < workers; w++)); do (trap - EXIT; work "$w") >"$scratch/log$w" & done
for job in $(jobs -p); do wait "$job" || failures=$((failures + 1)); done
cat "$scratch"/log*
exit $((failures > 0))
