# Files of the room network.
public_headers += include/perturbdiff/network.h
library_sources += src/network/parameters.c src/network/norm.c src/network/mlp.c src/network/attention.c src/network/time_code.c src/network/class_code.c src/network/block.c \
  src/network/denoiser_layout.c src/network/denoiser.c src/network/layers.h src/network/denoiser_layout.h
