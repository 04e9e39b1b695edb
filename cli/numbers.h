#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace echo::cli {

// For CLI::Option::transform(): the value must be such a number and in the range, else the message
// says what it takes. CLI11's own conversion clamps what is too large, lets nan pass, and reads
// 000400 as octal; its CLI::Range stands in the placeholder of help and completion.
CLI::Validator whole_number(int64_t least, int64_t most);
CLI::Validator whole_number(int64_t least);  // up to 2^62, which no message names
CLI::Validator real_number(double least, double most);
CLI::Validator whole_numbers();  // "3,70,5": one or more, none negative
// "24GiB", "1.5 GB", "4096": bytes, with or without a unit; the option's value is their number.
CLI::Validator size_in_bytes();
// "50GB/s": the same, with or without "/s".
CLI::Validator bytes_per_second();
// "400T", "1.5 P": operations per second; the option's value is their number.
CLI::Validator operations_per_second();

// The numbers of a text that whole_numbers() let pass.
std::vector<int64_t> split_numbers(const std::string& text);

}  // namespace echo::cli
