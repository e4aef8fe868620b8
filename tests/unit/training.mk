# Tests of training.
