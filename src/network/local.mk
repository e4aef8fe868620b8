# Files of the room network.
nobase_include_HEADERS += include/perturbdiff/network.h
library_sources +=
