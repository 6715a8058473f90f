#include "memory.hpp"
#include "ops.hpp"
#include "packed.hpp"
#include "shim.hpp"
#include "stream.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>

namespace {

const at::Generator& generator(bool cuda) { return at::globalContext().defaultGenerator(device(cuda)); }

// Writes to a leaf that requires a gradient are allowed only while nothing is
// recorded, so every in-place call runs under this.
template <class F>
char* in_place(F f) noexcept {
  return guard([&] {
    at::NoGradGuard no_grad;
    f();
  });
}

} // namespace

extern "C" {

char* vt_start(int threads) {
  return guard([&] { at::set_num_threads(threads); });
}

int vt_threads(void) { return at::get_num_threads(); }

void vt_limit_memory(uint64_t bytes) { Bounded::most = bytes; }
uint64_t vt_memory(void) { return Bounded::held; }
void vt_trim_memory(void) { malloc_trim(0); }

char* vt_load_cuda(int* devices) {
  *devices = 0;
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) return strdup(dlerror());
  return guard([&] {
    *devices = static_cast<int>(at::detail::getCUDAHooks().deviceCount());
    // cuDNN's attention, which libtorch prefers on Hopper and Blackwell, makes a
    // plan for each new number of rows and keys, in tenths of a second; batches
    // have hundreds of such pairs. The next in line takes any shape.
    at::globalContext().setSDPUseCuDNN(false);
  });
}

char* vt_select_cuda(int index) {
  return guard([&] {
    gpu().setDevice(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index)));
  });
}

char* vt_seed(bool cuda, uint64_t seed) {
  return guard([&] {
    at::Generator g = generator(cuda);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_current_seed(seed);
  });
}

vt_result vt_rng_state(bool cuda) {
  return make([&] {
    at::Generator g = generator(cuda);
    std::lock_guard<std::mutex> lock(g.mutex());
    return g.get_state();
  });
}

char* vt_set_rng_state(bool cuda, vt_tensor state) {
  return guard([&] {
    at::Generator g = generator(cuda);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(ref(state));
  });
}

bool vt_grad_enabled(void) { return c10::GradMode::is_enabled(); }
void vt_set_grad_enabled(bool on) { c10::GradMode::set_enabled(on); }

void vt_free(vt_tensor* handles, size_t n) {
  for (size_t i = 0; i < n; i++) delete static_cast<at::Tensor*>(handles[i]);
}

char* vt_describe(vt_tensor t, vt_info* info) {
  return guard([&] {
    const at::Tensor& a = ref(t);
    TORCH_CHECK(a.dim() <= vt_max_dims, "a tensor of ", a.dim(), " dimensions; at most ", vt_max_dims);
    info->rank = static_cast<int32_t>(a.dim());
    for (int64_t i = 0; i < a.dim(); i++) info->dims[i] = a.size(i);
    info->dtype = static_cast<int32_t>(a.scalar_type());
    info->cuda = a.is_cuda() ? 1 : 0;
  });
}

vt_result vt_from_data(const void* data, size_t bytes, const int64_t* shape, int rank, int dtype, bool cuda) {
  return make([&] {
    // From pinned memory the GPU copies by itself, while this thread goes on to
    // queue kernels. libtorch keeps that memory until the copy is done.
    at::Tensor t = at::empty(at::IntArrayRef(shape, rank), options(dtype, false).pinned_memory(cuda));
    TORCH_CHECK(t.nbytes() == bytes, "shape ", t.sizes(), " needs ", t.nbytes(), " bytes, got ", bytes);
    if (bytes > 0) std::memcpy(t.data_ptr(), data, bytes);
    return cuda ? t.to(options(dtype, true), /*non_blocking=*/true) : t;
  });
}

char* vt_read(vt_tensor t, int dtype, void* out, size_t bytes) {
  return guard([&] {
    at::Tensor c = ref(t).detach().to(options(dtype, false)).contiguous();
    TORCH_CHECK(c.nbytes() == bytes, "reading ", c.nbytes(), " bytes into ", bytes);
    if (bytes > 0) std::memcpy(out, c.data_ptr(), bytes);
  });
}

char* vt_item(vt_tensor t, double* out) {
  return guard([&] { *out = ref(t).item<double>(); });
}

vt_result vt_full(const int64_t* shape, int rank, double value, int dtype, bool cuda) {
  return make([&] { return at::full(at::IntArrayRef(shape, rank), value, options(dtype, cuda)); });
}

vt_result vt_empty(const int64_t* shape, int rank, int dtype, bool cuda) {
  return make([&] { return at::empty(at::IntArrayRef(shape, rank), options(dtype, cuda)); });
}

vt_result vt_arange(int64_t n, bool cuda) {
  return make([&] { return at::arange(n, at::TensorOptions().dtype(at::kLong).device(device(cuda))); });
}

vt_result vt_to(vt_tensor t, int dtype, bool cuda) {
  return make([&] {
    const at::Tensor& a = ref(t);
    if (cuda && a.is_cpu()) return a.pin_memory().to(options(dtype, true), /*non_blocking=*/true);
    return a.to(options(dtype, cuda));
  });
}

char* vt_set_requires_grad(vt_tensor t, bool on) {
  return guard([&] { ref(t).set_requires_grad(on); });
}

bool vt_requires_grad(vt_tensor t) { return ref(t).requires_grad(); }

char* vt_backward(vt_tensor loss) {
  return guard([&] { ref(loss).backward(); });
}

vt_result vt_grad(vt_tensor t) {
  const at::Tensor& g = ref(t).grad();
  if (!g.defined()) return vt_result{nullptr, nullptr};
  return make([&] { return g; });
}

char* vt_clear_grad(vt_tensor t) {
  return guard([&] { ref(t).mutable_grad().reset(); });
}

vt_result vt_detach(vt_tensor t) {
  return make([&] { return ref(t).detach(); });
}

char* vt_autocast_begin(bool cuda, int dtype, vt_autocast* was) {
  return guard([&] {
    at::DeviceType d = device(cuda).type();
    auto type = static_cast<at::ScalarType>(dtype);
    was->enabled = at::autocast::is_autocast_enabled(d);
    was->dtype = static_cast<int32_t>(at::autocast::get_autocast_dtype(d));
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(d, type != at::kFloat);
    if (type != at::kFloat) at::autocast::set_autocast_dtype(d, type);
  });
}

void vt_autocast_end(bool cuda, vt_autocast was) {
  at::DeviceType d = device(cuda).type();
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(d, was.enabled);
  at::autocast::set_autocast_dtype(d, static_cast<at::ScalarType>(was.dtype));
}

char* vt_copy_(vt_tensor dst, vt_tensor src) {
  return in_place([&] { ref(dst).copy_(ref(src)); });
}

char* vt_fill_(vt_tensor t, double value) {
  return in_place([&] { ref(t).fill_(value); });
}

char* vt_uniform_(vt_tensor t, double low, double high) {
  return in_place([&] { ref(t).uniform_(low, high); });
}

char* vt_normal_(vt_tensor t, double mean, double std) {
  return in_place([&] { ref(t).normal_(mean, std); });
}

char* vt_mul_(vt_tensor t, vt_tensor by) {
  return in_place([&] { ref(t).mul_(ref(by)); });
}

char* vt_mul_scalar_(vt_tensor t, double by) {
  return in_place([&] { ref(t).mul_(by); });
}

char* vt_add_(vt_tensor t, vt_tensor other, double alpha) {
  return in_place([&] { ref(t).add_(ref(other), alpha); });
}

char* vt_addcmul_(vt_tensor t, vt_tensor a, vt_tensor b, double value) {
  return in_place([&] { ref(t).addcmul_(ref(a), ref(b), value); });
}

char* vt_addcdiv_(vt_tensor t, vt_tensor a, vt_tensor b, double value) {
  return in_place([&] { ref(t).addcdiv_(ref(a), ref(b), value); });
}

char* vt_adam_(vt_tensor p_, vt_tensor grad_, vt_tensor m_, vt_tensor v_, vt_adam settings) {
  return in_place([&] {
    at::Tensor &p = ref(p_), &m = ref(m_), &v = ref(v_);
    at::Tensor g = ref(grad_).contiguous();
    for (const at::Tensor& t : {p, g, m, v}) {
      TORCH_CHECK(t.is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous() && t.sizes() == p.sizes(),
                  "expected contiguous float32 tensors of shape ", p.sizes(), " on the CPU, found ", t.toString(),
                  " of shape ", t.sizes());
    }
    float norm = at::linalg_vector_norm(g).item<float>();
    settings.factor = std::min(static_cast<float>(settings.max_norm) / (norm + 1e-6f), 1.0f); // NaN stays NaN
    // The iterator only shares the work out among libtorch's own threads.
    auto whole = at::TensorIteratorConfig()
                     .set_check_mem_overlap(false)
                     .resize_outputs(false)
                     .add_output(p)
                     .add_output(m)
                     .add_output(v)
                     .add_const_input(g)
                     .build();
    whole.for_each([&](char** data, const int64_t*, int64_t n) {
      vt_adam_run(reinterpret_cast<float*>(data[0]), reinterpret_cast<const float*>(data[3]),
                  reinterpret_cast<float*>(data[1]), reinterpret_cast<float*>(data[2]), n, &settings);
    });
  });
}

} // extern "C"
