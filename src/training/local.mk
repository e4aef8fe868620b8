# Files of the room training.
public_headers += include/perturbdiff/training.h
library_sources += src/training/adamw.c src/training/checkpoint.c src/training/checkpoint_runs.c src/training/checkpoint_runs.h src/training/checkpoint_values.c src/training/checkpoint_values.h src/training/checkpoint_write.c src/training/choose.c src/training/plan.c src/training/record.c src/training/run.c src/training/saving.c src/training/setup.c src/training/shards.c \
  src/training/rundir.c src/training/state.c src/training/step.c src/training/training_internal.h src/training/validation.c
library_sources += src/training/folds.c
