# Tests of network.
