# Files of the room training.
nobase_include_HEADERS += include/perturbdiff/training.h
library_sources += src/training/adamw.c
