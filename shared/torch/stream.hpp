// Work beside the kernels that a GPU has queued: a stream of its own, and an event
// by which the other stream waits for it. c10 finds CUDA's part once libtorch_cuda
// is loaded, so nothing here needs CUDA's headers. core.cpp includes this file.
#pragma once

#include "shim.hpp"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>

namespace vt {

inline c10::impl::VirtualGuardImpl gpu() { return c10::impl::VirtualGuardImpl(at::kCUDA); }

// copies is this thread's stream for work beside the rest. A thread has one GPU.
inline c10::Stream copies() {
  static thread_local const c10::Stream stream = gpu().getStreamFromGlobalPool(gpu().getDevice());
  return stream;
}

struct Aside {
  c10::Stream main; // on which the thread queues everything else
  c10::Event queued{at::kCUDA};
};

inline Aside& aside(vt_aside a) { return *static_cast<Aside*>(a); }

} // namespace vt

extern "C" {

char* vt_aside_begin(vt_aside* out) {
  return vt::guard([&] {
    c10::Stream beside = vt::copies();
    auto a = std::make_unique<vt::Aside>(vt::gpu().getStream(beside.device()));
    vt::gpu().exchangeStream(beside);
    *out = a.release();
  });
}

char* vt_aside_end(vt_aside a) {
  return vt::guard([&] {
    c10::Stream beside = vt::gpu().exchangeStream(vt::aside(a).main);
    vt::aside(a).queued.record(beside);
  });
}

// The allocator gives memory of one stream back to that stream as soon as its
// tensor is freed; record_stream makes it wait for the other one's kernels.
char* vt_aside_join(vt_aside a, const vt_tensor* ts, size_t n) {
  return vt::guard([&] {
    c10::Stream main = vt::aside(a).main;
    vt::aside(a).queued.block(main);
    for (size_t i = 0; i < n; i++) {
      if (vt::ref(ts[i]).is_cuda()) vt::ref(ts[i]).record_stream(main);
    }
  });
}

void vt_aside_free(vt_aside a) { delete static_cast<vt::Aside*>(a); }

} // extern "C"
