// The C face of libtorch that this package needs, and no more. Conventions:
//
//   - A vt_tensor is an owned handle; whoever receives one in a vt_result
//     frees it with vt_free. NULL stands for "no tensor" where an argument is
//     marked optional.
//   - Nothing throws. A failure is a message in malloc'd memory that the
//     caller frees; NULL means success. There is no error state between calls.
//   - Shapes and index lists are passed as pointer and length, dtypes as the
//     numbers of c10::ScalarType.
#ifndef VIDEOSIM_TORCH_SHIM_H
#define VIDEOSIM_TORCH_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void* vt_tensor;

typedef struct {
  vt_tensor value;
  char* error;
} vt_result;

enum { vt_max_dims = 8 };

typedef struct {
  int64_t dims[vt_max_dims];
  int32_t rank;
  int32_t dtype;
  int32_t cuda; // 1 on a CUDA device
} vt_info;

// Process and thread state: core.cpp.
char* vt_start(int threads); // on the engine's own thread
int vt_threads(void);
void vt_limit_memory(uint64_t bytes); // of tensors on the CPU, in the whole process
uint64_t vt_memory(void);             // what they hold now
void vt_trim_memory(void);            // back to the system what malloc keeps for reuse
char* vt_load_cuda(int* devices); // dlopen, then how many devices answer
char* vt_select_cuda(int index);  // of the calling thread
char* vt_seed(bool cuda, uint64_t seed);
vt_result vt_rng_state(bool cuda);
char* vt_set_rng_state(bool cuda, vt_tensor state);
bool vt_grad_enabled(void);
void vt_set_grad_enabled(bool on);

// Handles, creation and reading back: core.cpp.
void vt_free(vt_tensor* handles, size_t n);
char* vt_describe(vt_tensor t, vt_info* info);
vt_result vt_from_data(const void* data, size_t bytes, const int64_t* shape, int rank, int dtype, bool cuda);
char* vt_read(vt_tensor t, int dtype, void* out, size_t bytes);
char* vt_item(vt_tensor t, double* out);
vt_result vt_full(const int64_t* shape, int rank, double value, int dtype, bool cuda);
vt_result vt_empty(const int64_t* shape, int rank, int dtype, bool cuda);
vt_result vt_arange(int64_t n, bool cuda);
vt_result vt_to(vt_tensor t, int dtype, bool cuda);

// Beside what a GPU has queued: stream.hpp. From begin to end this thread queues on
// a stream of its own. join makes all that it queues later wait for that, and keeps
// the memory of ts until it is done with them.
typedef void* vt_aside;
char* vt_aside_begin(vt_aside* out);
char* vt_aside_end(vt_aside a);
char* vt_aside_join(vt_aside a, const vt_tensor* ts, size_t n);
void vt_aside_free(vt_aside a);

// Autograd: core.cpp.
char* vt_set_requires_grad(vt_tensor t, bool on);
bool vt_requires_grad(vt_tensor t);
char* vt_backward(vt_tensor loss);
vt_result vt_grad(vt_tensor t); // value NULL where there is none
char* vt_clear_grad(vt_tensor t);
vt_result vt_detach(vt_tensor t);

// Autocast: core.cpp. begin fills the state that end restores.
typedef struct {
  bool enabled;
  int32_t dtype;
} vt_autocast;
char* vt_autocast_begin(bool cuda, int dtype, vt_autocast* was);
void vt_autocast_end(bool cuda, vt_autocast was);

// In place: core.cpp. Each runs without recording for autograd.
char* vt_copy_(vt_tensor dst, vt_tensor src);
char* vt_fill_(vt_tensor t, double value);
char* vt_uniform_(vt_tensor t, double low, double high);
char* vt_normal_(vt_tensor t, double mean, double std);
char* vt_mul_(vt_tensor t, vt_tensor by);
char* vt_mul_scalar_(vt_tensor t, double by);
char* vt_add_(vt_tensor t, vt_tensor other, double alpha);
char* vt_addcmul_(vt_tensor t, vt_tensor a, vt_tensor b, double value);
char* vt_addcdiv_(vt_tensor t, vt_tensor a, vt_tensor b, double value);

// One step of Adam without bias correction, in one pass: adam.c, core.cpp.
typedef struct {
  double beta1, beta2, eps;
  double rate, decay; // p changes by -rate * (m / (sqrt(v) + eps) + decay * p)
  double max_norm;    // of the gradient of this tensor
  float factor;       // by which the gradient is clipped; set by vt_adam_
} vt_adam;
char* vt_adam_(vt_tensor p, vt_tensor grad, vt_tensor m, vt_tensor v, vt_adam settings);
void vt_adam_run(float* p, const float* g, float* m, float* v, int64_t n, const vt_adam* settings);

// Pointwise: ops.hpp.
vt_result vt_add(vt_tensor a, vt_tensor b);
vt_result vt_sub(vt_tensor a, vt_tensor b);
vt_result vt_mul(vt_tensor a, vt_tensor b);
vt_result vt_div(vt_tensor a, vt_tensor b);
vt_result vt_minimum(vt_tensor a, vt_tensor b);
vt_result vt_maximum(vt_tensor a, vt_tensor b);
vt_result vt_add_scalar(vt_tensor a, double x);
vt_result vt_mul_scalar(vt_tensor a, double x);
vt_result vt_pow_scalar(vt_tensor a, double x);
vt_result vt_neg(vt_tensor a);
vt_result vt_exp(vt_tensor a);
vt_result vt_log(vt_tensor a);
vt_result vt_sqrt(vt_tensor a);
vt_result vt_sigmoid(vt_tensor a);
vt_result vt_relu(vt_tensor a);
vt_result vt_gelu(vt_tensor a); // exact, by erf
vt_result vt_clamp(vt_tensor a, double low, double high);
vt_result vt_where(vt_tensor condition, vt_tensor a, vt_tensor b);
vt_result vt_masked_fill(vt_tensor a, vt_tensor mask, double value);
vt_result vt_eq_scalar(vt_tensor a, double x);
vt_result vt_gt_scalar(vt_tensor a, double x);

// Reductions: ops.hpp. A dim of INT64_MIN reduces over everything.
vt_result vt_sum(vt_tensor a, int64_t dim, bool keep);
vt_result vt_mean(vt_tensor a, int64_t dim, bool keep);
vt_result vt_amin(vt_tensor a, int64_t dim, bool keep);
vt_result vt_norm(vt_tensor a, int64_t dim, bool keep); // L2

// Shape: ops.hpp.
vt_result vt_reshape(vt_tensor a, const int64_t* shape, int rank);
vt_result vt_expand(vt_tensor a, const int64_t* shape, int rank);
vt_result vt_transpose(vt_tensor a, int64_t i, int64_t j);
vt_result vt_unsqueeze(vt_tensor a, int64_t dim);
vt_result vt_squeeze(vt_tensor a, int64_t dim);
vt_result vt_narrow(vt_tensor a, int64_t dim, int64_t start, int64_t length);
vt_result vt_select(vt_tensor a, int64_t dim, int64_t index);
vt_result vt_cat(const vt_tensor* parts, size_t n, int64_t dim);

// Networks: ops.hpp. weight, bias and mask are optional where they are last.
vt_result vt_matmul(vt_tensor a, vt_tensor b);
vt_result vt_embedding(vt_tensor table, vt_tensor ids, int64_t padding_idx);
vt_result vt_softmax(vt_tensor a, int64_t dim);
vt_result vt_dropout(vt_tensor a, double p, bool training);
vt_result vt_layer_norm(vt_tensor x, vt_tensor weight, vt_tensor bias, double eps);
vt_result vt_batch_norm(vt_tensor x, vt_tensor weight, vt_tensor bias, vt_tensor mean,
                        vt_tensor variance, bool training, double momentum, double eps);
vt_result vt_attention(vt_tensor q, vt_tensor k, vt_tensor v, vt_tensor mask, double dropout);

// Attention of sequences without padding: packed.hpp, attention.c. One job is one
// head of one sequence. Strides are in elements; half says bfloat16, not float32.
typedef struct {
  const void *q, *k, *v;
  void* out;
  int64_t length, width, stride, out_stride;
  float scale; // of the scores
  float bias;  // added to the last key's
  bool half;
} vt_attention_job;
vt_result vt_attention_packed(vt_tensor q, vt_tensor k, vt_tensor v, int64_t heads, const int64_t* lengths,
                              const float* bias, size_t sequences);
size_t vt_attention_scratch(int64_t length, int64_t width); // floats
void vt_attention_run(const vt_attention_job* job, float* scratch);

// Linear layers: packed.hpp, quantise.c. scale belongs to a weight that
// vt_quantise_ has replaced; scale, bias and add are optional.
vt_result vt_linear(vt_tensor x, vt_tensor weight, vt_tensor scale, vt_tensor bias, vt_tensor add, bool gelu);
char* vt_pack_(vt_tensor weight);
vt_result vt_quantise_(vt_tensor weight); // returns the scales
void vt_quantise_rows(const uint16_t* x, int64_t rows, int64_t width, uint8_t* q, float* scale);
void vt_finish_rows(const float* sum, const float* scale, const uint16_t* bias, const uint16_t* add, int64_t rows,
                    int64_t width, bool gelu, uint16_t* out);

// Groups of processes: dist.cpp. Calls block, at most for the timeout.
typedef void* vt_group;
typedef struct {
  const char* address; // where the ranks meet
  const char* prefix;  // of the keys there
  int64_t timeout_ms;
  int32_t port, rank, size;
  bool listen; // this rank opens the meeting point
  bool nccl;   // on the thread's current GPU; otherwise Gloo
} vt_group_config;
char* vt_group_open(const vt_group_config* config, vt_group* out);
char* vt_group_close(vt_group g);
char* vt_group_sum(vt_group g, const vt_tensor* ts, size_t n);
char* vt_group_broadcast(vt_group g, int root, const vt_tensor* ts, size_t n);
char* vt_group_gather(vt_group g, vt_tensor t, vt_tensor* out); // one a rank
char* vt_group_barrier(vt_group g);

#ifdef __cplusplus
}
#endif
#endif
