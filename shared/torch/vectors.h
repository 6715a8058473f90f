// What the files of plain C share: how the compiler is to make vectors of their
// loops, and numbers of bfloat16.
#ifndef VIDEOSIM_TORCH_VECTORS_H
#define VIDEOSIM_TORCH_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORS
#endif
#define INLINE static inline __attribute__((always_inline))

// bfloat16 is the upper half of a float32.
INLINE float widen(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

// narrow rounds to nearest, ties to even. NaN stays NaN.
INLINE uint16_t narrow(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return f == f ? (uint16_t)rounded : 0x7fc0;
}

#endif
