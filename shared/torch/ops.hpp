// The operations. core.cpp includes this file, so that the compiler reads
// libtorch's headers (14 s) once and not twice.
#pragma once

#include "shim.hpp"

#include <limits>
#include <vector>

using namespace vt;

// One line an operation: the body sees its tensor arguments as a, b.
#define UNARY(name, body)                \
  vt_result vt_##name(vt_tensor a_) {    \
    return make([&] {                    \
      const at::Tensor& a = ref(a_);     \
      return body;                       \
    });                                  \
  }

#define BINARY(name, body)                          \
  vt_result vt_##name(vt_tensor a_, vt_tensor b_) { \
    return make([&] {                               \
      const at::Tensor& a = ref(a_);                \
      const at::Tensor& b = ref(b_);                \
      return body;                                  \
    });                                             \
  }

#define WITH_SCALAR(name, body)                  \
  vt_result vt_##name(vt_tensor a_, double x) {  \
    return make([&] {                            \
      const at::Tensor& a = ref(a_);             \
      return body;                               \
    });                                          \
  }

// whole is the reduction over everything, along the one over dim.
#define REDUCE(name, whole, along)                                \
  vt_result vt_##name(vt_tensor a_, int64_t dim, bool keep) {     \
    return make([&] {                                             \
      const at::Tensor& a = ref(a_);                              \
      return dim == std::numeric_limits<int64_t>::min() ? (whole) \
                                                        : (along); \
    });                                                           \
  }

extern "C" {

BINARY(add, at::add(a, b))
BINARY(sub, at::sub(a, b))
BINARY(mul, at::mul(a, b))
BINARY(div, at::div(a, b))
BINARY(minimum, at::minimum(a, b))
BINARY(maximum, at::maximum(a, b))
BINARY(matmul, at::matmul(a, b))

WITH_SCALAR(add_scalar, at::add(a, x))
WITH_SCALAR(mul_scalar, at::mul(a, x))
WITH_SCALAR(pow_scalar, at::pow(a, x))
WITH_SCALAR(eq_scalar, at::eq(a, x))
WITH_SCALAR(gt_scalar, at::gt(a, x))

UNARY(neg, at::neg(a))
UNARY(exp, at::exp(a))
UNARY(log, at::log(a))
UNARY(sqrt, at::sqrt(a))
UNARY(sigmoid, at::sigmoid(a))
UNARY(relu, at::relu(a))
UNARY(gelu, at::gelu(a, "none"))

REDUCE(sum, at::sum(a), at::sum(a, at::IntArrayRef{dim}, keep))
REDUCE(mean, at::mean(a), at::mean(a, at::IntArrayRef{dim}, keep))
REDUCE(amin, at::amin(a), at::amin(a, at::IntArrayRef{dim}, keep))
REDUCE(norm, at::linalg_vector_norm(a), at::linalg_vector_norm(a, 2, at::IntArrayRef{dim}, keep))

vt_result vt_clamp(vt_tensor a, double low, double high) {
  return make([&] { return at::clamp(ref(a), low, high); });
}

vt_result vt_where(vt_tensor condition, vt_tensor a, vt_tensor b) {
  return make([&] { return at::where(ref(condition), ref(a), ref(b)); });
}

vt_result vt_masked_fill(vt_tensor a, vt_tensor mask, double value) {
  return make([&] { return at::masked_fill(ref(a), ref(mask), value); });
}

vt_result vt_reshape(vt_tensor a, const int64_t* shape, int rank) {
  return make([&] { return at::reshape(ref(a), at::IntArrayRef(shape, rank)); });
}

vt_result vt_expand(vt_tensor a, const int64_t* shape, int rank) {
  return make([&] { return ref(a).expand(at::IntArrayRef(shape, rank)); });
}

vt_result vt_transpose(vt_tensor a, int64_t i, int64_t j) {
  return make([&] { return at::transpose(ref(a), i, j); });
}

vt_result vt_unsqueeze(vt_tensor a, int64_t dim) {
  return make([&] { return at::unsqueeze(ref(a), dim); });
}

vt_result vt_squeeze(vt_tensor a, int64_t dim) {
  return make([&] { return at::squeeze(ref(a), dim); });
}

vt_result vt_narrow(vt_tensor a, int64_t dim, int64_t start, int64_t length) {
  return make([&] { return at::narrow(ref(a), dim, start, length); });
}

vt_result vt_select(vt_tensor a, int64_t dim, int64_t index) {
  return make([&] { return at::select(ref(a), dim, index); });
}

vt_result vt_cat(const vt_tensor* parts, size_t n, int64_t dim) {
  return make([&] {
    std::vector<at::Tensor> list;
    list.reserve(n);
    for (size_t i = 0; i < n; i++) list.push_back(ref(parts[i]));
    return at::cat(list, dim);
  });
}

vt_result vt_embedding(vt_tensor table, vt_tensor ids, int64_t padding_idx) {
  return make([&] { return at::embedding(ref(table), ref(ids), padding_idx); });
}

vt_result vt_softmax(vt_tensor a, int64_t dim) {
  return make([&] { return at::softmax(ref(a), dim); });
}

vt_result vt_dropout(vt_tensor a, double p, bool training) {
  return make([&] { return at::dropout(ref(a), p, training); });
}

vt_result vt_layer_norm(vt_tensor x, vt_tensor weight, vt_tensor bias, double eps) {
  return make([&] {
    const at::Tensor& w = ref(weight);
    return at::layer_norm(ref(x), w.sizes(), w, maybe(bias), eps);
  });
}

vt_result vt_batch_norm(vt_tensor x, vt_tensor weight, vt_tensor bias, vt_tensor mean,
                        vt_tensor variance, bool training, double momentum, double eps) {
  return make([&] {
    return at::batch_norm(ref(x), maybe(weight), maybe(bias), maybe(mean), maybe(variance), training,
                          momentum, eps, false);
  });
}

vt_result vt_attention(vt_tensor q, vt_tensor k, vt_tensor v, vt_tensor mask, double dropout) {
  return make([&] {
    return at::scaled_dot_product_attention(ref(q), ref(k), ref(v), maybe(mask), dropout);
  });
}

} // extern "C"
