#pragma once

#include <filesystem>

namespace echo {

// The folder that holds the running program's bin, lib and share: an installation or a build.
std::filesystem::path program_prefix();

}  // namespace echo
