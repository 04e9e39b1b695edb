#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace echo {

// The text of a plugin's note as key=value pairs; see echo/plugin.h.
class Fingerprint {
 public:
  explicit Fingerprint(std::string text);
  const std::string& text() const { return text_; }
  std::string get(const std::string& key) const;  // empty when absent
  std::vector<std::string> kinds() const;

 private:
  std::string text_;
  std::map<std::string, std::string> values_;
};

// What this program was built with.
const char* host_fingerprint();

// Reads the note of a shared library without opening it as one. Throws Error for anything but a
// whole ELF library of this machine with a note of Echo's: a library that is cut off would kill the
// process inside dlopen.
Fingerprint read_note(const std::filesystem::path& path);

// Throws Error that names both sides and what to do when a plugin cannot be loaded into this
// program.
void check_fingerprint(const Fingerprint& plugin, const Fingerprint& host,
                       const std::filesystem::path& path);

}  // namespace echo
