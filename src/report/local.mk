# Files of the room report.
library_sources +=
