// Bounds on the memory of a process that serves for months. core.cpp includes
// this file.
#pragma once

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <limits>

namespace vt {

// capped bounds, before anything reads the environment, what libtorch keeps of the
// products it has computed: code made for one shape each, 0.66 MiB in oneDNN's
// cache and ideep's together. By default 1,024 each, which packed batches, almost
// all of a shape of their own, fill within a minute. 128 is more than the shapes of
// a forward pass; who sets a variable keeps its value.
inline const bool capped = [] {
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", 0);
  setenv("LRU_CACHE_CAPACITY", "128", 0);
  return true;
}();

// Bounded is libtorch's allocator on the CPU with a limit. Linux grants any
// request and kills the process that uses what it was granted; a refusal is an
// error that a smaller batch avoids. ideep asks it as well, so packed weights count;
// what MKL and oneDNN keep for themselves does not.
class Bounded final : public at::Allocator {
 public:
  at::DataPtr allocate(size_t n) override {
    TORCH_CHECK_WITH(OutOfMemoryError, held.load() + n <= most.load(), "out of memory: ", n, " bytes asked for, ",
                     held.load(), " of ", most.load(), " held");
    void* data = c10::alloc_cpu(n);
    held += malloc_usable_size(data);
    return {data, data, &release, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t n) const override { default_copy_data(to, from, n); }

  static inline std::atomic<size_t> held{0};
  static inline std::atomic<size_t> most{std::numeric_limits<size_t>::max() / 2};

 private:
  static void release(void* data) {
    held -= malloc_usable_size(data);
    c10::free_cpu(data);
  }
};

inline Bounded bounded;
inline const bool installed = (at::SetCPUAllocator(&bounded), true);

} // namespace vt
