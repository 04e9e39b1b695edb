#pragma once

#include <string>

#include <c10/core/Device.h>

namespace echo {

// "cpu", "cuda", "cuda:1". Throws ConfigError for anything else, and for a device that this
// machine or this build lacks.
at::Device parse_device(const std::string& text);

}  // namespace echo
