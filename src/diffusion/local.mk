# Files of the room diffusion.
public_headers += include/perturbdiff/diffusion.h
library_sources += src/diffusion/schedule.c src/diffusion/reverse_step.c src/diffusion/objective.c
