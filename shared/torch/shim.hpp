// What core.cpp and ops.hpp share: handles to at::Tensor, exceptions to text.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "shim.h"

namespace vt {

inline at::Tensor& ref(vt_tensor t) { return *static_cast<at::Tensor*>(t); }

inline std::optional<at::Tensor> maybe(vt_tensor t) {
  return t == nullptr ? std::nullopt : std::optional<at::Tensor>(ref(t));
}

inline at::Device device(bool cuda) { return cuda ? at::Device(at::kCUDA) : at::Device(at::kCPU); }

inline at::TensorOptions options(int dtype, bool cuda) {
  return at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)).device(device(cuda));
}

// guard runs f and returns what went wrong as text, NULL if nothing did.
template <class F>
char* guard(F f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const c10::Error& e) {
    return strdup(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}

// make runs f, which returns a tensor, and hands the tensor out as a handle.
template <class F>
vt_result make(F f) noexcept {
  vt_result r{nullptr, nullptr};
  r.error = guard([&] { r.value = new at::Tensor(f()); });
  return r;
}

} // namespace vt
