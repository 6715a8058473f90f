// The arithmetic around a product of 8-bit integers, a file of plain C so that
// the compiler makes vectors of it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3,no-math-errno,no-trapping-math,no-signed-zeros,associative-math")
#endif

#include "shim.h"
#include "vectors.h"

VECTORS void vt_quantise_rows(const uint16_t* restrict x, int64_t rows, int64_t width, uint8_t* restrict q,
                              float* restrict scale) {
  for (int64_t r = 0; r < rows; r++, x += width, q += width) {
    // Magnitudes of bfloat16 compare like their bits.
    uint16_t top = 0;
    for (int64_t i = 0; i < width; i++) {
      uint16_t magnitude = x[i] & 0x7fff;
      top = magnitude > top ? magnitude : top;
    }
    float most = widen(top);
    float by = most > 0 ? 127 / most : 0;
    scale[r] = most / 127; // infinite or NaN where the row is: so is the result
    for (int64_t i = 0; i < width; i++) {
      // 128.5 + x/s is in 1..255.5 and positive, so that cutting is rounding.
      q[i] = (uint8_t)(int32_t)(widen(x[i]) * by + 128.5f);
    }
  }
}

// erf by W. J. Cody-like rational approximation (Eigen's coefficients for
// float32: error below 4 units in the last place on [-4, 4], beyond which erf is ±1).
INLINE float erf32(float v) {
  float x = v < -4 ? -4 : v > 4 ? 4 : v;
  float s = x * x;
  float p = -2.72614225801306e-10f;
  p = p * s + 2.77068142495902e-08f;
  p = p * s + -2.10102402082508e-06f;
  p = p * s + -5.69250639462346e-05f;
  p = p * s + -7.34990630326855e-04f;
  p = p * s + -2.95459980854025e-03f;
  p = p * s + -1.60960333262415e-02f;
  float d = -1.45660718464996e-05f;
  d = d * s + -2.13374055278905e-04f;
  d = d * s + -1.68282697438203e-03f;
  d = d * s + -7.37332916720468e-03f;
  d = d * s + -1.42647390514189e-02f;
  return x * p / d;
}

VECTORS void vt_finish_rows(const float* restrict sum, const float* restrict scale, const uint16_t* restrict bias,
                            const uint16_t* restrict add, int64_t rows, int64_t width, bool gelu,
                            uint16_t* restrict out) {
  for (int64_t r = 0; r < rows; r++, sum += width, out += width) {
    float by = scale[r];
    if (gelu) {
      for (int64_t i = 0; i < width; i++) {
        float y = sum[i] * by + widen(bias[i]);
        out[i] = narrow(0.5f * y * (1 + erf32(y * 0.70710678118654752f)));
      }
    } else if (add != NULL) {
      for (int64_t i = 0; i < width; i++) out[i] = narrow(sum[i] * by + widen(bias[i]) + widen(add[i]));
      add += width;
    } else {
      for (int64_t i = 0; i < width; i++) out[i] = narrow(sum[i] * by + widen(bias[i]));
    }
  }
}
