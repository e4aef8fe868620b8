# Command line tests.
