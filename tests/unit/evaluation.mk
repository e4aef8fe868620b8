# Tests of evaluation.
