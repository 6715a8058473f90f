// The arithmetic of one step of Adam, a file of plain C so that the compiler
// makes vectors of it: eight numbers at a time where the CPU has AVX2. No
// instruction set here fuses multiplication and addition, so the results do
// not depend on which one is chosen.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3,no-math-errno,no-trapping-math,fp-contract=off")
#endif

#include "shim.h"

#include <math.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define VECTORS
#endif

VECTORS void vt_adam_run(float* restrict p, const float* restrict g, float* restrict m, float* restrict v, int64_t n,
                         const vt_adam* settings) {
  const float beta1 = settings->beta1, rest1 = 1 - settings->beta1;
  const float beta2 = settings->beta2, rest2 = 1 - settings->beta2;
  const float eps = settings->eps, factor = settings->factor;
  const float rate = settings->rate, decay = settings->rate * settings->decay;
  for (int64_t i = 0; i < n; i++) {
    float clipped = g[i] * factor;
    m[i] = beta1 * m[i] + rest1 * clipped;
    v[i] = beta2 * v[i] + rest2 * (clipped * clipped);
    p[i] = p[i] - decay * p[i] - rate * (m[i] / (sqrtf(v[i]) + eps));
  }
}
