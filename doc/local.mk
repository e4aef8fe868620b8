# The manual page, made from -help, and the files that travel with a release.
EXTRA_DIST += .clang-format jobscripts/train.slurm jobscripts/sample-array.slurm
EXTRA_DIST += doc/demo-scores.svg
EXTRA_DIST += inputs/demo-prepare.yaml inputs/demo-train.yaml inputs/demo-sample.yaml inputs/screen-train.yaml
EXTRA_DIST += validation/screen/run validation/interferon/run
