#!/bin/bash
# The way through the program on 1 and on 3 ranks: every command ends with status 0 and writes what it says; predictions do not depend
# on the number of ranks; a run stopped by its time limit or a signal and resumed equals the run that was not.
source "$(dirname "$0")/lib.sh"
labels="-perturbation_column perturbation -control control -cell_type_column cell_type -batch_column batch"
checks=$build_folder/tests
# What two runs of the same training cannot share: how long it took, and the options with the name of the folder.
unlike="state@wall_seconds .@options .@checksum"
size="-hidden 16 -depth 1 -heads 2 -covariate_dim 8 -set_size 8 -sets 6 -schedule_steps 50 -report_interval 5 -lr 5e-3 -warmup 5"

# same NAME [-relative X] FILE FILE [PATH...]: the HDF5 files hold the same but for the objects and attributes named.
same() {
  local name=$1
  shift
  if timeout 60 "$checks/h5same" "$@" >differs 2>&1; then ok "$name"; else not_ok "$name" "they differ" differs; fi
}

# there NAME FILE...: the last run ended with status 0, without a draft left, and the files are there.
there() {
  local name=$1 file missing=
  shift
  for file; do [ -s "$file" ] || missing="$missing $file"; done
  if [ "$status" -ne 0 ]; then not_ok "$name" "exit status $status" "$err"
  elif [ -n "$missing" ]; then not_ok "$name" "not written:$missing" "$err"
  elif [ -n "$(find . -name '.*.partial')" ]; then not_ok "$name" "a draft is left" "$err"
  else ok "$name"
  fi
}

quiet() {
  there "$1" "${@:2}"
  if [ -s "$err" ]; then not_ok "$1 prints nothing to standard error with -quiet" "it does" "$err"; else ok "$1 prints nothing to standard error with -quiet"; fi
}

for ranks in 1 3; do
  mkdir "ranks$ranks"
  cd "ranks$ranks" || exit 1
  on $ranks simulate -out screen.h5ad -cells 480 -genes 20 -perturbations 3 -cell_types 2 -batches 2 -effect_genes 5 -quiet
  quiet "simulate, $ranks ranks" screen.h5ad
  on $ranks prepare -in screen.h5ad -out cells.h5 $labels -genes all -holdout 'drug1|type1|*' -quiet
  quiet "prepare, $ranks ranks" cells.h5
  on $ranks embed -data cells.h5 -out embedding -kernel gaussian -quiet
  quiet "embed, $ranks ranks" embedding/embedding.h5 embedding/energy_distance.csv embedding/mmd.csv embedding/to_control.csv
  on $ranks embed -data cells.h5 -out components -principal_components 5 -statistic u -quiet
  quiet "embed in principal components, $ranks ranks" components/embedding.h5
  on $ranks embed -data cells.h5 -out landmarks -landmarks 60 -landmark_choice leverage -cell_components yes -components 3 -quiet
  quiet "embed by landmarks, $ranks ranks" landmarks/embedding.h5 landmarks/spectrum.csv landmarks/components.csv
  on $ranks train -data cells.h5 -out run $size -train_steps 30 -train_validate 'drug2|type1|*' -validation_interval 10 -quiet
  quiet "train, $ranks ranks" run/best.h5 run/checkpoint-00000030.h5 run/log.csv run/log.jsonl run/validation.csv run/options.yaml run/run.json
  on $ranks sample -checkpoint run -data cells.h5 -out predicted.h5ad -quiet
  quiet "sample, $ranks ranks" predicted.h5ad
  on $ranks baseline -data cells.h5 -method additive -out additive.h5ad -quiet
  quiet "baseline, $ranks ranks" additive.h5ad
  on $ranks evaluate -real cells.h5 -predicted model=predicted.h5ad -out scores -quiet
  quiet "evaluate, $ranks ranks" scores/scores.csv scores/summary.csv scores/deltas.csv scores/comparison.csv scores/cells.csv scores/calibration.csv scores/changes.csv scores/distances.csv
  if grep -q model "$out" && grep -q ceiling "$out"; then ok "evaluate prints its table, $ranks ranks"; else not_ok "evaluate prints its table, $ranks ranks" "no model or ceiling in it" "$out"; fi
  on $ranks report run scores landmarks -out report.html -quiet
  quiet "report, $ranks ranks" report.html
  if grep -q '</html>' report.html && grep -q '<table' report.html; then ok "the page is whole, $ranks ranks"; else not_ok "the page is whole, $ranks ranks" "no table or no end"; fi
  for file in screen.h5ad:480 cells.h5:480 embedding/embedding.h5:gaussian run:30 predicted.h5ad: additive.h5ad:; do
    on $ranks inspect "${file%%:*}" -quiet
    quiet "inspect ${file%%:*}, $ranks ranks"
    if [ "$(grep -c "^${file%%:*}[:/]" "$out")" -ge 1 ] && grep -qF -- "${file#*:}" "$out"; then ok "inspect says what ${file%%:*} is, $ranks ranks"
    else not_ok "inspect says what ${file%%:*} is, $ranks ranks" "it does not" "$out"; fi
  done
  cd ..
done

# The simulated file and the store are the same whoever wrote them.
same "simulate on 1 and 3 ranks" ranks1/screen.h5ad ranks3/screen.h5ad
same "prepare on 1 and 3 ranks" ranks1/cells.h5 ranks3/cells.h5 .@created sources/checksum
same "embed on 1 and 3 ranks" -relative 1e-10 ranks1/embedding/embedding.h5 ranks3/embedding/embedding.h5
same "embed in principal components on 1 and 3 ranks" -relative 1e-9 ranks1/components/embedding.h5 ranks3/components/embedding.h5
# One checkpoint, sampled on 1 and 3 ranks from the same folder, with the same words.
cd ranks1 || exit 1
on 1 sample -checkpoint run -data cells.h5 -out predicted.h5ad -quiet
mv predicted.h5ad one.h5ad
on 3 sample -checkpoint run -data cells.h5 -out predicted.h5ad -quiet
mv predicted.h5ad three.h5ad
same "sample on 1 and 3 ranks" -relative 1e-4 one.h5ad three.h5ad

# The options a run keeps rerun it.
sed -e "s|^out: .*|out: 'again'|" run/options.yaml >again.yaml
on 1 train again.yaml
there "options.yaml reruns the training" again/checkpoint-00000030.h5
same "the rerun equals the run" run/checkpoint-00000030.h5 again/checkpoint-00000030.h5 $unlike
cut -d, -f 1-4 run/log.csv >log1
cut -d, -f 1-4 again/log.csv >log2
if cmp -s log1 log2; then ok "the rerun's losses are those of the run"; else not_ok "the rerun's losses are those of the run" "they differ" log2; fi

# PETSc's table.
on 1 simulate -out viewed.h5ad -cells 480 -quiet -log_view
if [ "$status" -eq 0 ] && grep -q 'PETSc Performance Summary' "$out"; then ok "-log_view on the command line"; else not_ok "-log_view on the command line" "status $status" "$err"; fi
on 3 train -data cells.h5 -out viewed $size -train_steps 3 -quiet -log_view
if [ "$status" -eq 0 ] && grep -q TrainForward "$out" && grep -q 'Training:' "$out"; then ok "-log_view shows the stages of training"; else not_ok "-log_view shows the stages of training" "status $status" "$out"; fi

# Stopped by a limit or a signal and resumed, a run ends as one that was not stopped. How many steps are too many to end before they are
# stopped depends on the machine: tried in turn.
whole="$size -train_validate none -checkpoint_interval 0 -report_interval 1"
lengths="400 1600 6400 25600"

# goes_on NAME RANKS FOLDER: after a stop of a run of $steps steps.
goes_on() {
  local name=$1 ranks=$2 folder=$3 reference=whole-$2-$steps last files
  last=$(printf 'checkpoint-%08d.h5' "$steps")
  files=$(cd "$folder" 2>/dev/null && ls checkpoint-*.h5 2>/dev/null)
  if [ "$status" -eq 85 ]; then ok "$name: exit status 85"; else not_ok "$name: exit status 85" "it is $status" "$err"; fi
  if grep -q 'go on with -resume' "$err"; then ok "$name: says how to go on"; else not_ok "$name: says how to go on" "it does not" "$err"; fi
  if [ "$(echo "$files" | wc -w)" -eq 1 ] && [ "$files" != "$last" ]; then ok "$name: one checkpoint on the way"
  else not_ok "$name: one checkpoint on the way" "there is '$files'" "$err"; fi
  on "$ranks" train -data cells.h5 -out "$folder" $whole -train_steps "$steps" -resume -quiet
  there "$name: resumed" "$folder/$last"
  [ -d "$reference" ] || on "$ranks" train -data cells.h5 -out "$reference" $whole -train_steps "$steps" -quiet
  same "$name, $files of $steps steps: as not stopped" "$folder/$last" "$reference/$last" $unlike
  cut -d, -f 1-4 "$folder/log.csv" >log1
  cut -d, -f 1-4 "$reference/log.csv" >log2
  if diff log2 log1 >differs; then ok "$name: the log as that of a run not stopped"; else not_ok "$name: the log as that of a run not stopped" "they differ" differs; fi
}

limited() {
  local ranks=$1 folder=$2
  for steps in $lengths; do
    rm -rf "$folder"
    on "$ranks" train -data cells.h5 -out "$folder" $whole -train_steps "$steps" -time_limit 0:01
    [ "$status" -eq 0 ] || break
  done
}

# signalled RANKS SIGNAL FOLDER: the signal comes once the log shows steps; mpiexec hands USR1 on to its processes.
signalled() {
  local ranks=$1 signal=$2 folder=$3 launcher=() job i
  [ "$ranks" -eq 1 ] || launcher=("$MPIEXEC" --oversubscribe -n "$ranks")
  for steps in $lengths; do
    rm -rf "$folder"
    "${launcher[@]}" "$program" train -data cells.h5 -out "$folder" $whole -train_steps "$steps" >"$out" 2>"$err" </dev/null &
    job=$!
    for ((i = 0; i < 50 * seconds_a_run; i++)); do
      [ "$(cat "$folder/log.csv" 2>/dev/null | wc -l)" -gt 4 ] && break
      sleep 0.02
    done
    kill -s "$signal" "$job" 2>/dev/null
    for ((i = 0; i < 10 * seconds_a_run; i++)); do
      kill -0 "$job" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$job" 2>/dev/null
    wait "$job"
    status=$?
    [ "$status" -eq 0 ] || break
  done
}

for ranks in 1 3; do
  limited $ranks limit$ranks
  goes_on "time limit, $ranks ranks" $ranks limit$ranks
done
signalled 1 TERM terminated
goes_on "SIGTERM, 1 rank" 1 terminated
signalled 3 USR1 told
goes_on "SIGUSR1, 3 ranks" 3 told

# A newest checkpoint that is damaged is named, and the one before it used.
on 1 train -data cells.h5 -out spoilt $size -train_steps 10 -checkpoint_interval 5 -train_validate none -quiet
there "two checkpoints" spoilt/checkpoint-00000005.h5 spoilt/checkpoint-00000010.h5
printf '\253%.0s' {1..64} | dd of=spoilt/checkpoint-00000010.h5 bs=1 seek=60000 conv=notrunc 2>/dev/null
on 3 sample -checkpoint spoilt -data cells.h5 -out spoilt.h5ad
there "a damaged newest checkpoint does not stop sample" spoilt.h5ad
if [ "$(grep -c 'checkpoint-00000010.h5.*damaged' "$err")" -eq 1 ] && grep -q 'checkpoint-00000005.h5 at step 5' "$err"; then ok "the damaged checkpoint is named"
else not_ok "the damaged checkpoint is named" "it is not" "$err"; fi
finish
