# Files of the room evaluation.
nobase_include_HEADERS += include/perturbdiff/evaluation.h
library_sources += src/evaluation/scores.c
