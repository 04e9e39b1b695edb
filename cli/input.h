#pragma once

#include <string>

namespace echo::cli {

// All of a file, or of the standard input for "-". `name` calls it in messages, as "--tokens @ids".
// Throws ConfigError for what cannot be read.
std::string read_input(const std::string& file, const std::string& name);

}  // namespace echo::cli
