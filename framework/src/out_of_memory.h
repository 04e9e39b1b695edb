#pragma once

#include <string>

#include <c10/util/Exception.h>

namespace echo {

// LibTorch's message without the stack below it.
std::string first_line(const c10::Error& failure);

// Says so by its type on a GPU, in words on a CPU.
bool is_out_of_memory(const c10::Error& failure);

}  // namespace echo
