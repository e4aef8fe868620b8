# Files of the room commands.
program_sources += src/commands/commands.h src/commands/report.c
program_sources += src/commands/train.c
program_sources += src/commands/prepare.c
program_sources += src/commands/sample.c
program_sources += src/commands/baseline.c src/commands/evaluate.c src/commands/inspect.c src/commands/inspect.h src/commands/inspect_anndata.c src/commands/inspect_machine.c src/commands/simulate.c
program_sources += src/commands/embed.c src/commands/embed.h src/commands/embed_spectrum.c src/commands/embed_write.c
program_sources += src/commands/embed_tests.c src/commands/embed_regression.c
