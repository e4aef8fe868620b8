# Tests of sampling.
