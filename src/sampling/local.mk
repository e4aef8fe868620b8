# Files of the room sampling.
nobase_include_HEADERS += include/perturbdiff/sampling.h
library_sources += src/sampling/reverse.c
