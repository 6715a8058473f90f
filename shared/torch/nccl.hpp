// NCCL by its C interface, which libtorch_cuda.so brings into the process. The
// few declarations below are those of nccl.h 2.x, which keeps them stable, so
// that no CUDA header is needed to build and one program serves CPU and GPU.
#pragma once

#include "dist.hpp"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <string>
#include <thread>

namespace vt::nccl {

struct Id {
  char bytes[128];
};
using Comm = struct ncclComm*;

constexpr int success = 0, in_progress = 7; // ncclResult_t
constexpr int op_sum = 0; // ncclRedOp_t

// dtype is the ncclDataType_t of a tensor's elements.
inline int dtype(const at::Tensor& t) {
  switch (t.scalar_type()) {
    case at::kByte: return 1;
    case at::kInt: return 2;
    case at::kLong: return 4;
    case at::kHalf: return 6;
    case at::kFloat: return 7;
    case at::kDouble: return 8;
    case at::kBFloat16: return 9;
    default: TORCH_CHECK(false, "nccl: cannot send elements of type ", t.scalar_type());
  }
}

struct Library {
  int (*get_unique_id)(Id*);
  int (*init_rank)(Comm*, int size, Id, int rank);
  int (*all_reduce)(const void* from, void* to, size_t n, int dtype, int op, Comm, void* stream);
  int (*broadcast)(const void* from, void* to, size_t n, int dtype, int root, Comm, void* stream);
  int (*all_gather)(const void* from, void* to, size_t n_each, int dtype, Comm, void* stream);
  int (*async_error)(Comm, int* state);
  int (*abort)(Comm);
  int (*destroy)(Comm);
  const char* (*error_string)(int);

  Library() {
    void* lib = dlopen("libnccl.so.2", RTLD_NOW | RTLD_GLOBAL);
    TORCH_CHECK(lib != nullptr, "nccl: ", dlerror());
    find(lib, "ncclGetUniqueId", get_unique_id);
    find(lib, "ncclCommInitRank", init_rank);
    find(lib, "ncclAllReduce", all_reduce);
    find(lib, "ncclBroadcast", broadcast);
    find(lib, "ncclAllGather", all_gather);
    find(lib, "ncclCommGetAsyncError", async_error);
    find(lib, "ncclCommAbort", abort);
    find(lib, "ncclCommDestroy", destroy);
    find(lib, "ncclGetErrorString", error_string);
  }

  void check(int result, const char* what) const {
    TORCH_CHECK(result == success, "nccl: ", what, ": ", error_string(result));
  }

 private:
  template <class F>
  static void find(void* lib, const char* name, F& f) {
    f = reinterpret_cast<F>(dlsym(lib, name));
    TORCH_CHECK(f != nullptr, "nccl: libnccl.so.2 has no ", name);
  }
};

// A Carrier on the calling thread's current GPU and its current stream.
class Ring : public Carrier {
 public:
  Ring(c10d::Store& store, int rank, int size, std::chrono::milliseconds timeout)
      : stream_(guard().getStream(guard().getDevice())), size_(size), timeout_(timeout) {
    Id id{};
    if (rank == 0) {
      lib_.check(lib_.get_unique_id(&id), "make an id");
      store.set("nccl/id", std::vector<uint8_t>(id.bytes, id.bytes + sizeof id.bytes));
    }
    std::vector<uint8_t> bytes = store.get("nccl/id");
    TORCH_CHECK(bytes.size() == sizeof id.bytes, "nccl: an id of ", bytes.size(), " bytes from the store");
    std::memcpy(id.bytes, bytes.data(), sizeof id.bytes);
    // NCCL itself would wait for a lost rank without end.
    std::vector<std::string> ready;
    for (int r = 0; r < size; r++) ready.push_back("nccl/ready/" + std::to_string(r));
    store.set(ready[rank], std::vector<uint8_t>{1});
    store.wait(ready, timeout);
    lib_.check(lib_.init_rank(&comm_, size, id, rank), "join");
  }

  ~Ring() override {
    if (comm_ != nullptr) lib_.destroy(comm_);
  }

  Wait sum(at::Tensor t) override {
    return start("sum", t, [=, this] {
      return lib_.all_reduce(t.data_ptr(), t.data_ptr(), t.numel(), dtype(t), op_sum, comm_, stream_.native_handle());
    });
  }

  Wait broadcast(at::Tensor t, int root) override {
    return start("broadcast", t, [=, this] {
      return lib_.broadcast(t.data_ptr(), t.data_ptr(), t.numel(), dtype(t), root, comm_, stream_.native_handle());
    });
  }

  Wait gather(at::Tensor mine, std::vector<at::Tensor> all) override {
    at::Tensor flat = at::empty({size_ * mine.numel()}, mine.options());
    Wait wait = start("gather", mine, [=, this] {
      return lib_.all_gather(mine.data_ptr(), flat.data_ptr(), mine.numel(), dtype(mine), comm_, stream_.native_handle());
    });
    return [=, this] {
      wait();
      for (int r = 0; r < size_; r++) {
        at::Tensor to = all[r];
        to.copy_(flat.narrow(0, r * mine.numel(), mine.numel()).view_as(to));
      }
    };
  }

  void barrier() override {
    sum(at::zeros({1}, at::TensorOptions().device(at::kCUDA)))();
  }

 private:
  static c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(at::kCUDA); }

  template <class F>
  Wait start(const char* what, const at::Tensor& t, F f) {
    TORCH_CHECK(comm_ != nullptr, "nccl: ", what, ": the group was given up after an earlier failure");
    TORCH_CHECK(t.is_cuda(), "nccl: ", what, ": a tensor on the CPU; this group is on the GPU");
    lib_.check(f(), what);
    return [=, this] { finish(what); };
  }

  // finish waits until the stream has done all that was asked of it.
  void finish(const char* what) {
    auto end = std::chrono::steady_clock::now() + timeout_;
    while (!stream_.query()) {
      int state = success;
      lib_.check(lib_.async_error(comm_, &state), what);
      bool late = std::chrono::steady_clock::now() > end;
      if (late || (state != success && state != in_progress)) {
        lib_.abort(std::exchange(comm_, nullptr));
        TORCH_CHECK(!late, "nccl: ", what, ": not done after ", timeout_.count(), " ms: a rank is lost or stuck");
        lib_.check(state, what);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  Library lib_;
  c10::Stream stream_;
  Comm comm_ = nullptr;
  int64_t size_;
  std::chrono::milliseconds timeout_;
};

} // namespace vt::nccl
