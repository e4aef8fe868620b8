# Files of the room commands.
program_sources += src/commands/commands.h src/commands/report.c
program_sources += src/commands/train.c
program_sources += src/commands/prepare.c
program_sources += src/commands/sample.c
