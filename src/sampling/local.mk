# Files of the room sampling.
public_headers += include/perturbdiff/sampling.h
library_sources += src/sampling/conditions.c src/sampling/generate.c src/sampling/reverse.c
