// Attention over sequences of different lengths without padding, a file of plain
// C so that the compiler makes vectors of it. Each sequence and head is a small
// problem of its own, in float32: 4 queries at a time against 32 keys, then 4
// rows of probabilities against 32 columns of values.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3,no-math-errno,no-trapping-math,no-signed-zeros,associative-math")
#endif

#include "shim.h"
#include "vectors.h"

enum { rows = 4, columns = 32 };

// up rounds n up to whole tiles of columns.
INLINE int64_t up(int64_t n) { return (n + columns - 1) / columns * columns; }

size_t vt_attention_scratch(int64_t length, int64_t width) {
  return (size_t)(width * up(length) + length * up(width) + rows * (width + up(length) + up(width)));
}

// tile is out[r][c] = sum over k of a[r][k] · b[k][c].
INLINE void tile(const float* restrict a, int64_t a_stride, const float* restrict b, int64_t b_stride, int64_t n,
                 float* restrict out, int64_t out_stride) {
  float sum[rows][columns] = {{0}};
  for (int64_t k = 0; k < n; k++) {
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < columns; c++) sum[r][c] += a[r * a_stride + k] * b[k * b_stride + c];
    }
  }
  for (int r = 0; r < rows; r++) memcpy(out + r * out_stride, sum[r], sizeof sum[r]);
}

// exp32 is e^x for x ≤ 0, to 2 units in the last place: x = n ln 2 + f, |f| ≤ ln 2 / 2,
// and a polynomial for e^f (Cephes' expf).
INLINE float exp32(float x) {
  x = x < -87 ? -87 : x;
  float n = (float)(int32_t)(x * 1.44269504088896341f - 0.5f);
  float f = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  int32_t power = ((int32_t)n + 127) << 23;
  float scale;
  memcpy(&scale, &power, 4);
  return (p * f * f + f + 1) * scale;
}

// softmax turns n scores into probabilities, in place. The last one gets bias.
INLINE void softmax(float* restrict s, int64_t n, float scale, float bias) {
  float most = s[n - 1] = s[n - 1] * scale + bias;
  for (int64_t j = 0; j < n - 1; j++) {
    s[j] *= scale;
    most = s[j] > most ? s[j] : most;
  }
  float sum = 0;
  for (int64_t j = 0; j < n; j++) sum += s[j] = exp32(s[j] - most);
  float by = 1 / sum;
  for (int64_t j = 0; j < n; j++) s[j] *= by;
}

INLINE void load(const void* from, bool half, int64_t n, float* restrict to) {
  if (half) {
    const uint16_t* h = from;
    for (int64_t i = 0; i < n; i++) to[i] = widen(h[i]);
  } else {
    memcpy(to, from, (size_t)n * sizeof *to);
  }
}

INLINE void store(const float* restrict from, bool half, int64_t n, void* to) {
  if (half) {
    uint16_t* h = to;
    for (int64_t i = 0; i < n; i++) h[i] = narrow(from[i]);
  } else {
    memcpy(to, from, (size_t)n * sizeof *from);
  }
}

INLINE const void* row(const void* base, int64_t i, int64_t stride, bool half) {
  return (const char*)base + i * stride * (half ? 2 : 4);
}

VECTORS void vt_attention_run(const vt_attention_job* job, float* scratch) {
  const int64_t n = job->length, d = job->width, np = up(n), dp = up(d);
  const bool half = job->half;
  float *keys = scratch, *values = keys + d * np; // (d,np) and (n,dp)
  float *q = values + n * dp, *p = q + rows * d, *out = p + rows * np;
  memset(scratch, 0, (size_t)(d * np + n * dp) * sizeof *scratch);
  for (int64_t j = 0; j < n; j++) {
    load(row(job->k, j, job->stride, half), half, d, q);
    for (int64_t e = 0; e < d; e++) keys[e * np + j] = q[e];
    load(row(job->v, j, job->stride, half), half, d, values + j * dp);
  }
  for (int64_t i = 0; i < n; i += rows) {
    const int64_t some = n - i < rows ? n - i : rows;
    for (int64_t r = 0; r < rows; r++) load(row(job->q, i + (r < some ? r : 0), job->stride, half), half, d, q + r * d);
    for (int64_t j = 0; j < np; j += columns) tile(q, d, keys + j, np, d, p + j, np);
    for (int64_t r = 0; r < rows; r++) softmax(p + r * np, n, job->scale, job->bias);
    for (int64_t e = 0; e < dp; e += columns) tile(p, np, values + e, dp, n, out + e, dp);
    for (int64_t r = 0; r < some; r++) {
      store(out + r * dp, half, d, (void*)row(job->out, i + r, job->out_stride, half));
    }
  }
}
