#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace echo::cli {

// For CLI::Option::transform(): "3,70,5", "@FILE" or "-" for the standard input.
CLI::Validator token_list();

// The ids of a text that token_list() let pass; a file may have spaces and line ends between them.
// Throws ConfigError for a file that cannot be read or holds anything else.
std::vector<int64_t> read_tokens(const std::string& text);

}  // namespace echo::cli
