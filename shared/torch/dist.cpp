// Process groups: libtorch's c10d for the meeting point and for Gloo, nccl.hpp
// for NCCL. The headers in gloo/ stand in for those that libtorch's package
// lacks; see gloo/context.h.
#define USE_C10D_GLOO

#include "dist.hpp"
#include "nccl.hpp"

#include <c10/core/GradMode.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <deque>
#include <memory>
#include <string>

using namespace vt;

namespace {

using Store = c10::intrusive_ptr<c10d::Store>;
using Gloo = c10d::ProcessGroupGloo;

// new_gloo makes a group in more memory than our sizeof asks for and checks
// that the constructor, which is libtorch's, kept to it: the stand-in headers
// must not have changed the class.
c10::intrusive_ptr<c10d::Backend> new_gloo(const Store& store, int rank, int size, c10::intrusive_ptr<Gloo::Options> o) {
  constexpr size_t extra = 64;
  constexpr unsigned char mark = 0xA5;
  auto* room = static_cast<unsigned char*>(::operator new(sizeof(Gloo) + extra));
  std::memset(room + sizeof(Gloo), mark, extra);
  Gloo* g = nullptr;
  try {
    g = new (room) Gloo(store, rank, size, std::move(o));
  } catch (...) {
    ::operator delete(room);
    throw;
  }
  auto group = c10::intrusive_ptr<Gloo>::unsafe_steal_from_new(g);
  for (size_t i = 0; i < extra; i++) {
    TORCH_CHECK(room[sizeof(Gloo) + i] == mark, "this libtorch's ProcessGroupGloo is larger than its header says");
  }
  return group;
}

bool loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

class GlooCarrier : public Carrier {
 public:
  GlooCarrier(const Store& store, const vt_group_config& c, std::chrono::milliseconds timeout) {
    // Processes that meet on the loopback are on one machine. Elsewhere libtorch
    // takes GLOO_SOCKET_IFNAME, or the address of this machine's name.
    c10::intrusive_ptr<Gloo::Options> o;
    if (loopback(c.address)) {
      o = Gloo::Options::create(timeout);
      o->devices.push_back(Gloo::createDeviceForHostname(c.address));
    } else {
      o = Gloo::Options::create_default(timeout);
    }
    group_ = new_gloo(store, c.rank, c.size, std::move(o));
  }

  Wait sum(at::Tensor t) override {
    std::vector<at::Tensor> list{t};
    return wait(group_->allreduce(list));
  }

  Wait broadcast(at::Tensor t, int root) override {
    std::vector<at::Tensor> list{t};
    c10d::BroadcastOptions o;
    o.rootRank = root;
    return wait(group_->broadcast(list, o));
  }

  Wait gather(at::Tensor mine, std::vector<at::Tensor> all) override {
    std::vector<at::Tensor> in{mine};
    std::vector<std::vector<at::Tensor>> out{all};
    return wait(group_->allgather(out, in));
  }

  void barrier() override { group_->barrier()->wait(); }

 private:
  static Wait wait(c10::intrusive_ptr<c10d::Work> work) {
    return [work] { work->wait(); };
  }

  c10::intrusive_ptr<c10d::Backend> group_;
};

// A Group keeps its store: rank 0's serves the others while they meet.
struct Group {
  Store store;
  std::unique_ptr<Carrier> carrier;
  int size;
};

Group& group(vt_group g) { return *static_cast<Group*>(g); }

Store meet(const vt_group_config& c, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions o;
  o.port = static_cast<uint16_t>(c.port);
  o.isServer = c.listen;
  o.numWorkers = c.size;
  o.timeout = timeout;
  Store store = c10::make_intrusive<c10d::TCPStore>(c.address, o);
  store = c10::make_intrusive<c10d::PrefixStore>(c.prefix, store);
  store->setTimeout(timeout);
  return store;
}

// Fewer, larger messages: gradients of small tensors travel together.
constexpr size_t bucket_bytes = 25 << 20;
constexpr size_t buckets_ahead = 2; // that are filled while another travels

// in_buckets applies start, which works in place on a flat tensor, to all of
// list: to neighbours of one kind together, up to bucket_bytes.
template <class Start>
void in_buckets(std::vector<at::Tensor> list, Start start) {
  struct Bucket {
    std::vector<at::Tensor> parts;
    at::Tensor flat;
    Carrier::Wait wait;
  };
  std::deque<Bucket> moving;
  auto finish = [&] {
    Bucket b = std::move(moving.front());
    moving.pop_front();
    b.wait();
    if (b.parts.size() == 1 && b.parts[0].is_alias_of(b.flat)) return;
    int64_t at = 0;
    for (at::Tensor& p : b.parts) {
      p.copy_(b.flat.narrow(0, at, p.numel()).view(p.sizes()));
      at += p.numel();
    }
  };
  for (size_t i = 0; i < list.size();) {
    Bucket b;
    for (size_t bytes = 0; i < list.size(); i++) {
      const at::Tensor& t = list[i];
      bool fits = b.parts.empty() ||
          (t.options().type_equal(b.parts[0].options()) && bytes + t.nbytes() <= bucket_bytes);
      if (!fits) break;
      b.parts.push_back(t);
      bytes += t.nbytes();
    }
    std::vector<at::Tensor> flat;
    for (const at::Tensor& p : b.parts) flat.push_back(p.reshape({-1}));
    b.flat = flat.size() == 1 ? flat[0] : at::cat(flat);
    b.wait = start(b.flat);
    moving.push_back(std::move(b));
    if (moving.size() > buckets_ahead) finish();
  }
  while (!moving.empty()) finish();
}

std::vector<at::Tensor> tensors(const vt_tensor* handles, size_t n) {
  std::vector<at::Tensor> list;
  for (size_t i = 0; i < n; i++) list.push_back(ref(handles[i]).detach());
  return list;
}

template <class F>
char* without_grad(F f) noexcept {
  return guard([&] {
    at::NoGradGuard no_grad;
    f();
  });
}

} // namespace

extern "C" {

char* vt_group_open(const vt_group_config* c, vt_group* out) {
  return without_grad([&] {
    std::chrono::milliseconds timeout(c->timeout_ms);
    auto g = std::make_unique<Group>();
    g->store = meet(*c, timeout);
    g->size = c->size;
    if (c->nccl) {
      g->carrier = std::make_unique<nccl::Ring>(*g->store, c->rank, c->size, timeout);
    } else {
      g->carrier = std::make_unique<GlooCarrier>(g->store, *c, timeout);
    }
    g->carrier->barrier(); // from here on nobody needs the store
    *out = g.release();
  });
}

char* vt_group_close(vt_group g) {
  return guard([&] { delete &group(g); });
}

char* vt_group_sum(vt_group g, const vt_tensor* ts, size_t n) {
  return without_grad([&] {
    in_buckets(tensors(ts, n), [&](at::Tensor flat) { return group(g).carrier->sum(flat); });
  });
}

char* vt_group_broadcast(vt_group g, int root, const vt_tensor* ts, size_t n) {
  return without_grad([&] {
    in_buckets(tensors(ts, n), [&](at::Tensor flat) { return group(g).carrier->broadcast(flat, root); });
  });
}

char* vt_group_gather(vt_group g, vt_tensor t, vt_tensor* out) {
  return without_grad([&] {
    at::Tensor mine = ref(t).detach().contiguous();
    std::vector<at::Tensor> all;
    for (int i = 0; i < group(g).size; i++) all.push_back(at::empty_like(mine));
    group(g).carrier->gather(mine, all)();
    for (size_t i = 0; i < all.size(); i++) out[i] = new at::Tensor(all[i]);
  });
}

char* vt_group_barrier(vt_group g) {
  return without_grad([&] { group(g).carrier->barrier(); });
}

} // extern "C"
