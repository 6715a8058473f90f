// What only serving needs: attention without padding, and linear layers with
// weights in the form in which oneDNN multiplies fastest. Their operations are
// libtorch's own, reached by name because no public header declares them.
// core.cpp includes this file.
#pragma once

#include "shim.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

namespace vt {

using Scalars = c10::List<std::optional<at::Scalar>>;
using MaybeTensor = std::optional<at::Tensor>;

template <class F>
auto named(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<F>();
}

// packed says whether vt_pack_ or vt_quantise_ has been here.
inline bool packed(const at::Tensor& weight) { return weight.is_mkldnn(); }

inline at::Tensor pack(const at::Tensor& weight) {
  static auto op = named<at::Tensor(const at::Tensor&, std::optional<c10::SymInt>)>("mkldnn::_reorder_linear_weight");
  return op.call(weight, std::nullopt);
}

inline at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias,
                                const MaybeTensor& add, bool gelu) {
  static auto unary =
      named<at::Tensor(const at::Tensor&, const at::Tensor&, const MaybeTensor&, std::string_view, Scalars,
                       std::optional<std::string_view>)>("mkldnn::_linear_pointwise");
  static auto binary = named<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const MaybeTensor&,
                                        std::string_view)>("mkldnn::_linear_pointwise", "binary");
  if (add) return binary.call(x, *add, weight, bias, "add");
  return gelu ? unary.call(x, weight, bias, "gelu", Scalars(), "none")
              : unary.call(x, weight, bias, "none", Scalars(), "");
}

// Numbers of 8 bits: an activation is 128 + round(x / s) with a scale s a row,
// a weight round(w / t) with a scale t an output, both symmetric about zero.
constexpr int64_t zero_point = 128;

// quantise replaces weight (out,in) and returns its scales (out).
inline at::Tensor quantise(at::Tensor& weight) {
  static auto prepack =
      named<at::Tensor(at::Tensor, std::optional<c10::List<int64_t>>)>("onednn::qlinear_prepack");
  at::Tensor w = weight.to(at::kFloat);
  at::Tensor scale = at::amax(at::abs(w), 1).div(127).clamp_min(1e-12);
  weight = prepack.call(at::round(w / scale.unsqueeze(1)).to(at::kChar), std::nullopt);
  return scale;
}

// quantised_linear computes x·Wᵀ in integers and the rest in float32, for x
// (rows,in) of bfloat16.
inline at::Tensor quantised_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
                                   const MaybeTensor& bias, const MaybeTensor& add, bool gelu) {
  static auto product =
      named<at::Tensor(at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor, MaybeTensor, double, int64_t,
                       std::optional<at::ScalarType>, std::string_view, Scalars, std::string_view)>("onednn::qlinear_pointwise");
  TORCH_CHECK(x.dim() == 2 && x.scalar_type() == at::kBFloat16, "expected bfloat16 rows, found ", x.toString(),
              " of shape ", x.sizes());
  at::Tensor in = x.contiguous();
  int64_t rows = in.size(0), width = in.size(1), out_width = scale.size(0);
  at::Tensor q = at::empty({rows, width}, at::kByte);
  at::Tensor row_scale = at::empty({rows}, at::kFloat);
  at::parallel_for(0, rows, 8, [&](int64_t from, int64_t to) {
    vt_quantise_rows(static_cast<const uint16_t*>(in.data_ptr()) + from * width, to - from, width,
                     q.data_ptr<uint8_t>() + from * width, row_scale.data_ptr<float>() + from);
  });
  static const at::Tensor no_zero_points = at::zeros({1}, at::kInt);
  at::Tensor sum = product.call(q, 1.0, zero_point, weight, scale, no_zero_points, std::nullopt, 1.0, 0, at::kFloat,
                                "none", Scalars(), "");
  at::Tensor out = at::empty({rows, out_width}, at::kBFloat16);
  at::Tensor b = bias ? *bias : at::zeros({out_width}, at::kBFloat16);
  at::Tensor other = add ? add->contiguous() : at::Tensor();
  auto bits = [](const at::Tensor& t) { return static_cast<uint16_t*>(t.data_ptr()); };
  at::parallel_for(0, rows, 8, [&](int64_t from, int64_t to) {
    vt_finish_rows(sum.data_ptr<float>() + from * out_width, row_scale.data_ptr<float>() + from, bits(b),
                   other.defined() ? bits(other) + from * out_width : nullptr, to - from, out_width, gelu,
                   bits(out) + from * out_width);
  });
  return out;
}

// packed_attention attends in each sequence of rows apart. q, k and v may be
// columns of a wider tensor, of equal strides. The work is shared out by head
// first, so that each thread gets sequences of all lengths.
inline at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads,
                                   const int64_t* lengths, const float* bias, int64_t sequences) {
  std::vector<int64_t> start(sequences + 1, 0);
  int64_t longest = 0;
  for (int64_t i = 0; i < sequences; i++) {
    start[i + 1] = start[i] + lengths[i];
    longest = std::max(longest, lengths[i]);
  }
  const bool half = q.scalar_type() == at::kBFloat16;
  for (const at::Tensor& t : {q, k, v}) {
    TORCH_CHECK(t.is_cpu() && t.dim() == 2 && t.stride(1) == 1 && t.stride(0) == q.stride(0) &&
                    t.sizes() == q.sizes() && t.scalar_type() == q.scalar_type() &&
                    (half || q.scalar_type() == at::kFloat),
                "expected rows of float32 or bfloat16 like ", q.sizes(), ", found ", t.toString(), " of shape ", t.sizes());
  }
  TORCH_CHECK(start[sequences] == q.size(0) && q.size(1) % heads == 0, "sequences of ", start[sequences],
              " rows in all and ", heads, " heads do not fit ", q.sizes());
  at::Tensor out = at::empty(q.sizes(), q.options());
  const int64_t width = q.size(1) / heads;
  at::parallel_for(0, heads * sequences, 1, [&](int64_t from, int64_t to) {
    std::vector<float> scratch(vt_attention_scratch(longest, width));
    for (int64_t task = from; task < to; task++) {
      const int64_t i = task % sequences, column = task / sequences * width;
      auto at = [&](const at::Tensor& t) {
        return static_cast<char*>(t.data_ptr()) + (start[i] * t.stride(0) + column) * t.element_size();
      };
      vt_attention_job job{at(q), at(k), at(v), at(out), lengths[i], width, q.stride(0), out.stride(0),
                           1 / std::sqrt(static_cast<float>(width)), bias[i], half};
      vt_attention_run(&job, scratch.data());
    }
  });
  return out;
}

} // namespace vt

extern "C" {

vt_result vt_attention_packed(vt_tensor q, vt_tensor k, vt_tensor v, int64_t heads, const int64_t* lengths,
                              const float* bias, size_t sequences) {
  return vt::make([&] {
    return vt::packed_attention(vt::ref(q), vt::ref(k), vt::ref(v), heads, lengths, bias,
                                static_cast<int64_t>(sequences));
  });
}

char* vt_pack_(vt_tensor weight) {
  return vt::guard([&] {
    at::NoGradGuard no_grad;
    vt::ref(weight) = vt::pack(vt::ref(weight).detach());
  });
}

vt_result vt_quantise_(vt_tensor weight) {
  return vt::make([&] {
    at::NoGradGuard no_grad;
    return vt::quantise(vt::ref(weight));
  });
}

vt_result vt_linear(vt_tensor x_, vt_tensor weight, vt_tensor scale, vt_tensor bias, vt_tensor add_, bool gelu) {
  return vt::make([&] {
    const at::Tensor &x = vt::ref(x_), &w = vt::ref(weight);
    auto add = vt::maybe(add_);
    if (scale != nullptr) return vt::quantised_linear(x, w, vt::ref(scale), vt::maybe(bias), add, gelu);
    if (vt::packed(w)) return vt::packed_linear(x, w, vt::maybe(bias), add, gelu);
    at::Tensor y = at::linear(x, w, vt::maybe(bias));
    if (add) return at::add(y, *add);
    return gelu ? at::gelu(y, "none") : y;
  });
}

} // extern "C"
