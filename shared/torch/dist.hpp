// What a group of processes can do together, whatever carries it.
#pragma once

#include "shim.hpp"

#include <chrono>
#include <functional>
#include <vector>

namespace vt {

// A Carrier moves contiguous tensors between the ranks of a group. The calls
// that return a Wait have only started; the tensor is done when Wait returns.
// Every failure is an exception, at the latest when the group's timeout ends.
class Carrier {
 public:
  using Wait = std::function<void()>;

  virtual ~Carrier() = default;
  virtual Wait sum(at::Tensor flat) = 0; // in place
  virtual Wait broadcast(at::Tensor flat, int root) = 0; // in place
  virtual Wait gather(at::Tensor mine, std::vector<at::Tensor> all) = 0;
  virtual void barrier() = 0;
};

} // namespace vt
