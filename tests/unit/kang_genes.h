/* The table of tests/data/prepare/kang_genes.csv: what scanpy says of the genes of the demo data. */
#ifndef TESTS_UNIT_KANG_GENES_H
#define TESTS_UNIT_KANG_GENES_H

#include "check.h"
#include <stdlib.h>
#include <string.h>

enum { KANG_GENES = 1267, KANG_NAME = 32 };

/* cells: 0 all with 300 genes chosen, 1 without the treated B cells, 2 all with 1000 genes chosen. */
typedef struct {
  char   name[KANG_NAME];
  int    chosen[3];
  double log_mean[3], dispersion[3], mean_log, mean_held_out;
} KangGene;

static KangGene kang_gene[KANG_GENES];

static inline void kang_read(void)
{
  char  path[4096], line[1024];
  FILE *file;

  snprintf(path, sizeof path, "%s/tests/data/prepare/kang_genes.csv", getenv("srcdir") ? getenv("srcdir") : "..");
  assert_non_null(file = fopen(path, "r"));
  assert_non_null(fgets(line, sizeof line, file));
  for (int g = 0; g < KANG_GENES; g++) {
    KangGene *gene = &kang_gene[g];
    char     *next = line;
    assert_non_null(fgets(line, sizeof line, file));
    snprintf(gene->name, sizeof gene->name, "%.*s", (int)strcspn(line, ","), line);
    next += strcspn(line, ",");
    for (int c = 0; c < 3; c++) {
      gene->chosen[c]     = (int)strtol(next + 1, &next, 10);
      gene->log_mean[c]   = strtod(next + 1, &next);
      gene->dispersion[c] = strtod(next + 1, &next);
    }
    gene->mean_log      = strtod(next + 1, &next);
    gene->mean_held_out = strtod(next + 1, &next);
  }
  fclose(file);
}

#endif
