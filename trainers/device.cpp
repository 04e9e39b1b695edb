#include "trainers/device.h"

#include <echo/error.h>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

namespace echo {

at::Device parse_device(const std::string& text) {
  at::Device device = at::kCPU;
  try {
    device = at::Device(text);
  } catch (const c10::Error&) {
    throw ConfigError("there is no device '" + text + "'; allowed: cpu, cuda, cuda:1");
  }
  if (device.is_cpu() && device.index() > 0)
    throw ConfigError("there is no device '" + text + "': all cores together are the device cpu");
  if (device.is_cpu()) return at::kCPU;
  if (!device.is_cuda())
    throw ConfigError("the device '" + text + "' is not supported; allowed: cpu, cuda, cuda:1");
  const int64_t count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  if (count == 0) {
    throw ConfigError("the device '" + text +
                      "' needs a GPU and a build with CUDA (ECHO_CUDA=1); this one sees none; "
                      "use --device cpu");
  }
  if (device.has_index() && device.index() >= count) {
    throw ConfigError("there is no device '" + text +
                      "': the last one is cuda:" + std::to_string(count - 1));
  }
  return device;
}

}  // namespace echo
