#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace echo {

// SHA-256 as 64 hexadecimal digits. The file version throws Error when the file cannot be read.
std::string sha256(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& path);

}  // namespace echo
