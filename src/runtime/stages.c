/* The arithmetic of ranks and parts behind exchanges in stages. */
#include "runtime/stages.h"
#include <perturbdiff/runtime/grid.h>

/* Ranks that exchange directly in a stage; more where a larger prime divides the number of ranks. */
enum { RADIX = 8 };

int stages_digit(const Stages *s, int rank, int stage) { return rank / s->stride[stage] % s->radix[stage]; }

void stages_part(size_t total, int part, int parts, size_t *first, size_t *count)
{
  long long f, c;

  share_of((long long)total, part, parts, &f, &c);
  *first = (size_t)f;
  *count = (size_t)c;
}

void stages_block(const Stages *s, int rank, int upto, size_t *first, size_t *count)
{
  size_t from;

  for (int i = 0; i < upto; i++) {
    stages_part(*count, stages_digit(s, rank, i), s->radix[i], &from, count);
    *first += from;
  }
}

/* Stages for n ranks, prime factors joined while they stay within RADIX. */
static void add(Stages *s, int n)
{
  int open = 0; /* may the last stage still grow? */

  for (int prime = 2; n > 1; prime++) {
    while (n % prime == 0) {
      if (open && s->radix[s->count - 1] * prime <= RADIX) s->radix[s->count - 1] *= prime;
      else s->radix[s->count++] = prime;
      open = 1;
      n /= prime;
    }
    if ((long long)prime * prime > n && n > 1) prime = n - 1;
  }
}

Stages stages_create(int ranks, int node_ranks)
{
  Stages s = {0};

  add(&s, node_ranks);
  s.node_count = s.count;
  add(&s, ranks / node_ranks);
  for (int i = 0; i < s.count; i++) s.stride[i] = i ? s.stride[i - 1] * s.radix[i - 1] : 1;
  return s;
}
