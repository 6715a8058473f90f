// The folder gloo/ stands in for gloo's own headers, which libtorch's package
// leaves out although its ProcessGroupGloo.hpp includes them. That header needs
// little: gloo's types appear in it behind pointers, and as one base class of a
// helper that we never make. So the declarations here carry no size and no
// layout of anything that we touch. DESIGN.md says what is assumed.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class UnboundBuffer;
} // namespace transport

} // namespace gloo
