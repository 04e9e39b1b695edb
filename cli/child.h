#pragma once

#include <functional>
#include <string>

namespace echo::cli {

// Runs `work` in a child process, which may die without harm to this one, and calls `on_line` for
// each line that it writes to its descriptor. This process must not have computed anything yet: the
// threads of a pool are not in the child. Returns how it ended: empty for exit code 0, else "it
// died of SIGSEGV (Segmentation fault)" or "it left with exit code 3".
std::string in_child(const std::function<void(int descriptor)>& work,
                     const std::function<void(const std::string& line)>& on_line);

// To a descriptor of in_child().
void write_line(int descriptor, const std::string& line);

}  // namespace echo::cli
