#pragma once

#include <exception>
#include <filesystem>

namespace echo {

// Names a plugin that ends the process while it is loaded. A static constructor that throws calls
// std::terminate straight through any handler, and a plugin may call exit(): while this lives, both
// end with a message that names the file, and with exit code 2. One at a time; _exit() and signals
// are not caught (`plugin check` loads in a process of its own).
class LoadWatch {
 public:
  enum class Stage { constructors, load };

  explicit LoadWatch(const std::filesystem::path& file);
  ~LoadWatch();
  LoadWatch(const LoadWatch&) = delete;
  LoadWatch& operator=(const LoadWatch&) = delete;

  void enter(Stage stage);

 private:
  std::terminate_handler before_;
};

}  // namespace echo
