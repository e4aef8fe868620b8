/* Many lists sorted side by side in the lanes of vectors. */
#include <perturbdiff/runtime/clones.h>
#include <perturbdiff/runtime/error.h>
#include <perturbdiff/runtime/sort.h>
#include <string.h>

/* Bytes of a row of keys, one of each lane; lists longer than LONGEST are sorted by themselves: the lanes of one such are 16 MiB. */
enum { ROW = 64, LONGEST = 1 << 18 };

/* A number as a whole number of the same order: of those below zero all bits but the sign are turned. Its own inverse. */
static inline int32_t ordered_int32_t(int32_t bits) { return bits ^ ((bits >> 31) & INT32_MAX); }
static inline int64_t ordered_int64_t(int64_t bits) { return bits ^ ((bits >> 63) & INT64_MAX); }

/* Merge exchange (Batcher 1968; Knuth, The Art of Computer Programming, 5.2.2, algorithm M): the keys (rows, ROW bytes) of each lane ascend. What is compared does not depend on the keys. */
#define MERGE_EXCHANGE(name, key_type)                                                       \
  VECTOR_CLONES static void name(int64_t rows, key_type *key)                                \
  {                                                                                          \
    enum { LANES = ROW / sizeof(key_type) };                                                 \
    int64_t top = 1;                                                                         \
                                                                                             \
    while (2 * top < rows) top *= 2;                                                         \
    for (int64_t p = rows > 1 ? top : 0; p > 0; p /= 2)                                      \
      for (int64_t q = top, r = 0, d = p; q >= p; d = q - p, q /= 2, r = p)                  \
        for (int64_t begin = r; begin < rows - d; begin += 2 * p)                            \
          for (int64_t i = begin; i < PetscMin(begin + p, rows - d); i++) {                  \
            key_type *const restrict x = key + i * LANES, *const restrict y = x + d * LANES; \
                                                                                             \
            _Pragma("omp simd") for (int l = 0; l < LANES; l++)                              \
            {                                                                                \
              const key_type a = x[l], b = y[l];                                             \
              x[l] = a < b ? a : b;                                                          \
              y[l] = a < b ? b : a;                                                          \
            }                                                                                \
          }                                                                                  \
  }
MERGE_EXCHANGE(merge_floats, int32_t)
MERGE_EXCHANGE(merge_doubles, int64_t)

static inline int64_t length_of(const int64_t *offset, PetscInt list) { return offset[list + 1] - offset[list]; }

/* Lists by their length, of at most `longest`, as far as they are not longer; their number. */
static PetscErrorCode order_by_length(PetscInt lists, const int64_t *offset, int64_t longest, PetscInt *order, PetscInt *count)
{
  PetscInt *next;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(longest + 2, &next));
  for (PetscInt k = 0; k < lists; k++)
    if (length_of(offset, k) <= longest) next[length_of(offset, k) + 1]++;
  for (int64_t n = 0; n <= longest; n++) next[n + 1] += next[n];
  *count = next[longest + 1];
  for (PetscInt k = 0; k < lists; k++)
    if (length_of(offset, k) <= longest) order[next[length_of(offset, k)]++] = k;
  PetscCall(PetscFree(next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lists of like length share the rows of a network; lanes that end before the longest of them are filled up with the largest key. */
#define SORT_LISTS(name, type, key_type, largest, merge, sort_one)                                               \
  PetscErrorCode name(PetscInt lists, const int64_t *offset, type *value)                                        \
  {                                                                                                              \
    enum { LANES = ROW / sizeof(key_type) };                                                                     \
    int64_t   longest = 0;                                                                                       \
    PetscInt *order, count;                                                                                      \
    key_type *key;                                                                                               \
                                                                                                                 \
    PetscFunctionBeginUser;                                                                                      \
    for (PetscInt k = 0; k < lists; k++)                                                                         \
      if (length_of(offset, k) > LONGEST) sort_one(length_of(offset, k), value + offset[k]);                     \
      else longest = PetscMax(longest, length_of(offset, k));                                                    \
    PetscCall(PetscMalloc1(lists, &order));                                                                      \
    PetscCall(PetscMalloc1(longest * LANES, &key));                                                              \
    PetscCall(order_by_length(lists, offset, longest, order, &count));                                           \
    for (PetscInt first = 0; first < count; first += LANES) {                                                    \
      const int     lanes = (int)PetscMin(LANES, count - first);                                                 \
      const int64_t rows = length_of(offset, order[first + lanes - 1]);                                          \
                                                                                                                 \
      for (int l = 0; l < LANES; l++) {                                                                          \
        const PetscInt list = l < lanes ? order[first + l] : -1;                                                 \
        const int64_t  length = l < lanes ? length_of(offset, list) : 0;                                         \
                                                                                                                 \
        for (int64_t i = 0; i < length; i++) {                                                                   \
          key_type bits;                                                                                         \
          memcpy(&bits, &value[offset[list] + i], sizeof bits);                                                  \
          key[i * LANES + l] = ordered_##key_type(bits);                                                         \
        }                                                                                                        \
        for (int64_t i = length; i < rows; i++) key[i * LANES + l] = largest;                                    \
      }                                                                                                          \
      merge(rows, key);                                                                                          \
      for (int l = 0; l < lanes; l++)                                                                            \
        for (int64_t i = 0; i < length_of(offset, order[first + l]); i++) {                                      \
          const key_type bits = ordered_##key_type(key[i * LANES + l]);                                          \
          memcpy(&value[offset[order[first + l]] + i], &bits, sizeof bits);                                      \
        }                                                                                                        \
    }                                                                                                            \
    PetscCall(PetscFree(key));                                                                                   \
    PetscCall(PetscFree(order));                                                                                 \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                          \
  }
SORT_LISTS(sort_float_lists, float, int32_t, INT32_MAX, merge_floats, sort_floats)
SORT_LISTS(sort_double_lists, double, int64_t, INT64_MAX, merge_doubles, sort_doubles)
