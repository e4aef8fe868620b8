/* The first column pair of step.csv: "bucket,parameters,...", one line a bucket. */
#ifndef VALIDATION_SCALING_SIZES_H
#define VALIDATION_SCALING_SIZES_H

#include <stdio.h>

#define MOST_BUCKETS 64

static inline int sizes_read(const char *path, size_t *size)
{
  char               line[256];
  unsigned long long n;
  int                bucket, count = 0;
  FILE              *file = fopen(path, "r");

  while (file && count < MOST_BUCKETS && fgets(line, sizeof line, file))
    if (sscanf(line, "%d,%llu", &bucket, &n) == 2 && bucket == count) size[count++] = (size_t)n;
  if (file) fclose(file);
  return count;
}

#endif
