/* A split file as a flat list of what it says, from YAML or TOML. */
#ifndef DATA_SPLIT_FILE_H
#define DATA_SPLIT_FILE_H

#include <petscsys.h>

/* One statement: path[0..depth) leads to a text, e.g. fewshot, "pbmc.B cells", test -> "IFN-beta". Members of an array are
   statements with the same path. */
enum { SPLIT_DEPTH = 4 };
typedef struct {
  char *path[SPLIT_DEPTH];
  int   depth;
  char *value;
  int   line;
} SplitStatement;

typedef struct {
  PetscInt        count, capacity;
  SplitStatement *statement;
} SplitFile;

/* Append a statement; strings are copied. */
PetscErrorCode splitfile_add(SplitFile *file, int depth, const char *const *path, const char *value, int line);
PetscErrorCode splitfile_free(SplitFile *file);

/* Parse text that came from path. Not collective. User errors with line number: does not parse; anything but tables, strings and arrays of
   strings. */
PetscErrorCode splitfile_parse_toml(const char *path, const char *text, SplitFile *file);
PetscErrorCode splitfile_parse_yaml(const char *path, const char *text, size_t length, SplitFile *file);

#endif
