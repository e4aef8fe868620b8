# Files of the room diffusion.
nobase_include_HEADERS += include/perturbdiff/diffusion.h
library_sources += src/diffusion/schedule.c src/diffusion/objective.c
