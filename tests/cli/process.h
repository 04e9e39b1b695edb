#pragma once

#include <filesystem>
#include <string>

namespace echo {

struct Outcome {
  std::string output;    // stdout; with a terminal also stderr
  std::string mistakes;  // stderr
  int code = 0;          // 128 + signal where one ended it
};

// Runs a bash command in a folder, with the folder of the program under test first on PATH. With
// terminal_columns it runs on a terminal of that width.
Outcome run_bash(const std::string& command, const std::filesystem::path& folder,
                 int terminal_columns = 0);

// An empty folder, gone with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace echo
