# Files of the room diffusion.
nobase_include_HEADERS += include/perturbdiff/diffusion.h
library_sources +=
